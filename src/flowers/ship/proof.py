"""An export is a claim: how far a file's answers lie from the Keras model's, and its gate."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace

import numpy as np

from flowers.files import amount
from flowers.ship.runtimes import Outputs
from flowers.ship.trial import Trial


@dataclass(frozen=True)
class Gate:
    """What a format must reach to be written.

    agreement: least share of photos with the same top class; difference: most that any
    probability may be off; loss: most accuracy it may lose, as a share.
    """

    agreement: float
    difference: float
    loss: float


SAME = Gate(agreement=0.995, difference=0.01, loss=0.005)  # formats that compute in float32
# Rounded to 8 bits a few photos on the border change sides, so accuracy counts and not agreement.
ROUNDED = Gate(agreement=0.0, difference=0.05, loss=0.005)


@dataclass(frozen=True)
class Row:
    """One file beside the Keras model, over the whole test split.

    agreement: share of photos with the same top class; difference: the largest of any probability;
    accuracy: share that is right; novelty: the largest relative difference of the score; known:
    share of photos with the same verdict "one of the classes" or "none of them" (both None without
    a novelty score); heat: mean cosine of the two heat maps, 1 where they are the same, of photos
    with the same top class; features: mean cosine of the features less their mean over the photos,
    as similar photos are found by (None where there are none); plain: accuracy with int8 arithmetic
    of older instructions (None where the format is no int8).
    """

    format: str
    photos: int
    agreement: float
    difference: float
    accuracy: float
    novelty: float | None
    known: float | None
    heat: float
    bytes: int
    start: float  # seconds from the start of the process to the first answer
    latency: float  # seconds for one photo, the median
    rate: float  # photos a second, many at once
    memory: int  # bytes, the most that the process held
    plain: float | None = None
    plain_difference: float | None = None
    features: float | None = None

    def as_dict(self) -> dict:
        """The numbers, ready for JSON."""
        return asdict(self)

    def shortfalls(self, gate: Gate, accuracy: float) -> list[str]:
        """In what it stays below its gate, in words; empty when it passes.

        Args:
            gate: of its format.
            accuracy: the Keras model's on the same photos.
        """
        found = []
        if self.agreement < gate.agreement:
            found.append(f"same answer {self.agreement:.2%}, gate {gate.agreement:.1%}")
        differences = {
            "": self.difference,
            " without the newest instructions": self.plain_difference,
        }
        for how, difference in differences.items():
            # written so that NaN fails
            if difference is not None and not difference <= gate.difference:
                found.append(f"probabilities off by {difference:.4f}{how}, gate {gate.difference}")
        accuracies = {"": self.accuracy, " without the newest instructions": self.plain}
        for how, share in accuracies.items():
            if share is not None and share < accuracy - gate.loss - 1e-9:
                lost = 100 * (accuracy - share)
                found.append(f"accuracy lower by {lost:.2f} points{how}, gate {100 * gate.loss:g}")
        return found


def compare(
    format: str,
    reference: Outputs,
    trial: Trial,
    truth: np.ndarray,
    threshold: float | None,
    size: int,
) -> Row:
    """One format's row.

    Args:
        format: its name.
        reference: the Keras model's outputs for the same photos.
        trial: the format's.
        truth: int [N], the photos' classes.
        threshold: novelty above it is none of the classes; None where there is no score.
        size: of the file, in bytes.
    """
    outputs = trial.outputs
    ours, theirs = (part["probabilities"].argmax(axis=1) for part in (outputs, reference))
    same = ours == theirs
    novelty = known = None
    if threshold is not None and "novelty" in reference:
        novelty = float(np.abs(outputs["novelty"] / reference["novelty"] - 1).max())
        verdicts = [part["novelty"] <= threshold for part in (outputs, reference)]
        known = float((verdicts[0] == verdicts[1]).mean())
    return Row(
        format=format,
        photos=len(truth),
        agreement=float(same.mean()),
        difference=largest_difference(outputs, reference),
        accuracy=float((ours == truth).mean()),
        novelty=novelty,
        known=known,
        heat=_likeness(outputs["heat"][same], reference["heat"][same]),
        bytes=size,
        start=round(trial.start, 3),
        latency=round(trial.latency, 5),
        rate=round(trial.rate, 2),
        memory=trial.memory,
        features=_features_likeness(outputs, reference),
    )


def with_plain(row: Row, reference: Outputs, outputs: Outputs, truth: np.ndarray) -> Row:
    """The row with what the same file answers without the CPU's newest int8 instructions."""
    accuracy = float((outputs["probabilities"].argmax(axis=1) == truth).mean())
    return replace(row, plain=accuracy, plain_difference=largest_difference(outputs, reference))


def largest_difference(outputs: Outputs, reference: Outputs) -> float:
    """Of any probability of any photo; 1 where one of them is no number."""
    apart = np.abs(outputs["probabilities"].astype(np.float64) - reference["probabilities"])
    return float(np.nan_to_num(apart, nan=1.0, posinf=1.0).max())


def _features_likeness(outputs: Outputs, reference: Outputs) -> float | None:
    if "features" not in outputs.keys() & reference.keys():
        return None
    mean = reference["features"].mean(axis=0)  # common to all photos: it tells none apart
    return _likeness(outputs["features"] - mean, reference["features"] - mean)


def _likeness(maps: np.ndarray, others: np.ndarray) -> float:
    """Mean cosine of rows or heat maps [N, ...]: 1 where they are the same; without empty ones."""
    if not len(maps):
        return 0.0
    flat, other = (part.reshape(len(part), -1).astype(np.float64) for part in (maps, others))
    lengths = np.linalg.norm(flat, axis=1) * np.linalg.norm(other, axis=1)
    shown = lengths > 1e-12
    if not shown.any():
        return 1.0
    return float(((flat * other).sum(axis=1)[shown] / lengths[shown]).mean())


def as_text(rows: Sequence[Row]) -> str:
    """The rows as a table for the screen."""
    head = ("format", "same answer", "difference", "accuracy", "novelty off", "same verdict")
    head += ("heat map", "features", "size", "start", "one photo", "photos/s", "memory")
    lines = [head]
    for row in rows:
        lines.append(
            (
                row.format,
                f"{row.agreement:.2%}",
                f"{row.difference:.1e}",
                f"{row.accuracy:.4f}",
                "-" if row.novelty is None else f"{row.novelty:.1e}",
                "-" if row.known is None else f"{row.known:.2%}",
                f"{row.heat:.4f}",
                "-" if row.features is None else f"{row.features:.4f}",
                amount(row.bytes),
                f"{row.start:.2f} s",
                f"{1000 * row.latency:.1f} ms",
                f"{row.rate:.1f}",
                amount(row.memory),
            )
        )
        if row.plain is not None:
            plain = [""] * len(head)
            plain[:4] = ("  no VNNI", "", f"{row.plain_difference:.1e}", f"{row.plain:.4f}")
            lines.append(tuple(plain))
    widths = [max(len(line[column]) for line in lines) for column in range(len(head))]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if column == 0 else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    )
