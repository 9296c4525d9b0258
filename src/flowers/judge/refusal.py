"""How well the novelty score keeps the classes and refuses other things: numbers only."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path, PurePosixPath

import numpy as np
from scipy.stats import rankdata

from flowers.data import others as other_photos
from flowers.errors import InputError
from flowers.judge.intervals import Interval, bootstrap, wilson

BARS = 40  # of the histogram

Say = Callable[[str], None]


@dataclass(frozen=True)
class Refusal:
    """Photos of the classes, and of other things where there are any, against the threshold.

    Without photos of other things `others` is 0 and what is said of them None or empty.
    """

    threshold: float
    flowers: int
    flowers_kept: int  # at or below the threshold
    kept: float  # their share
    kept_interval: Interval  # Wilson
    others: int
    others_accepted: int  # other things taken for one of the classes: at or below the threshold
    accepted: float | None
    accepted_interval: Interval | None  # Wilson
    auroc: float | None  # chance that another thing scores higher than a flower; 0.5 is guessing
    auroc_interval: Interval | None  # bootstrap
    edges: tuple[float, ...]  # of the histogram's bars; the last bar also holds what lies beyond
    flower_counts: tuple[int, ...]
    other_counts: tuple[int, ...]

    def as_dict(self) -> dict:
        """The numbers as dicts and lists: ready for JSON."""
        values = asdict(self)
        return values | {
            name: list(values[name]) for name in ("edges", "flower_counts", "other_counts")
        }

    @classmethod
    def from_dict(cls, values: Mapping) -> Refusal:
        """Reads what `as_dict` wrote; keys it does not know are left alone.

        Raises:
            InputError: a part is missing or has another form.
        """
        try:
            known = {field.name: values[field.name] for field in fields(cls)}
            for name in ("kept_interval", "accepted_interval", "auroc_interval"):
                known[name] = Interval(**known[name]) if known[name] else None
            for name in ("edges", "flower_counts", "other_counts"):
                known[name] = tuple(known[name])
            return cls(**known)
        except (KeyError, TypeError, ValueError) as error:
            raise InputError(
                "a refusal as `flowers evaluate` writes it",
                f"one in which a part is missing or has another form ({error})",
                "Run `flowers evaluate` again to write it anew.",
            ) from error


def measure(
    flowers: np.ndarray, threshold: float, others: np.ndarray | None = None, seed: int = 0
) -> Refusal:
    """Counts on which side of the threshold photos fall.

    Args:
        flowers: float [N], novelty of photos of the classes that nothing was fitted on.
        threshold: of the fitted score.
        others: float [M], novelty of photos of other things; None where there are none.
        seed: of the bootstrap draws.

    Raises:
        InputError: no photos of the classes, or scores that are not finite.
    """
    flowers = np.asarray(flowers, dtype=np.float64)
    others = np.asarray([] if others is None else others, dtype=np.float64)
    if flowers.size == 0 or not (np.isfinite(flowers).all() and np.isfinite(others).all()):
        raise InputError(
            "finite novelty scores of at least one photo",
            f"{flowers.size} and {others.size} scores"
            + (", some of them NaN or infinite" if flowers.size else ""),
            "Measure on at least one photo, with a model that answers numbers.",
        )
    kept, accepted = int((flowers <= threshold).sum()), int((others <= threshold).sum())
    scores = np.append(flowers, others)
    strange = np.arange(len(scores)) >= len(flowers)
    least = min(0.0, float(scores.min()))
    most = max(threshold + 0.5 * abs(threshold), float(np.quantile(scores, 0.98)), least + 1e-6)
    edges = np.linspace(least, most, BARS + 1)
    counts = [np.histogram(np.minimum(part, most), edges)[0] for part in (flowers, others)]
    return Refusal(
        threshold=float(threshold),
        flowers=len(flowers),
        flowers_kept=kept,
        kept=kept / len(flowers),
        kept_interval=wilson(kept, len(flowers)),
        others=len(others),
        others_accepted=accepted,
        accepted=accepted / len(others) if len(others) else None,
        accepted_interval=wilson(accepted, len(others)) if len(others) else None,
        auroc=auroc(scores, strange) if len(others) else None,
        auroc_interval=bootstrap(auroc, scores, strange, seed=seed) if len(others) else None,
        edges=tuple(edges.tolist()),
        flower_counts=tuple(counts[0].tolist()),
        other_counts=tuple(counts[1].tolist()) if len(others) else (),
    )


def auroc(scores: np.ndarray, strange: np.ndarray) -> float:
    """Chance that a strange photo scores higher than one that is not; equal scores count half.

    Source: Mann and Whitney 1947; the area under the ROC curve. NaN where one kind is missing.

    Args:
        scores: float [N].
        strange: bool [N].
    """
    above = int(strange.sum())
    below = len(strange) - above
    if not above or not below:
        return float("nan")
    ranks = rankdata(scores)[strange].sum()
    return float((ranks - above * (above + 1) / 2) / (above * below))


def require_strangers(
    others: Mapping[str, str], flowers: Collection[str], labels: Collection[str]
) -> None:
    """Refuses a set of photos that are to be refused when flowers are among them.

    Args:
        others: SHA-256 of each photo by its path, relative to the set's folder.
        flowers: SHA-256 of the photos of the classes.
        labels: the names of the classes.

    Raises:
        InputError: no photos, a photo that is also a photo of a class, or a folder that is
            called like a class.
    """
    if not others:
        raise InputError(
            "photos of things that belong to none of the classes",
            "none",
            "Name a folder with at least one such photo, or leave it out.",
        )
    flowers, names = set(flowers), {str(label).casefold() for label in labels}
    same = [path for path, digest in others.items() if digest in flowers]
    filed = [
        path
        for path in others
        if {part.casefold() for part in PurePosixPath(path).parts[:-1]} & names
    ]
    for paths, what in (
        (same, "are photos of the classes themselves"),
        (filed, "lie in a folder that is called like a class"),
    ):
        if paths:
            raise InputError(
                f"photos that show none of {', '.join(map(str, labels))}",
                f"{len(paths):,} of {len(others):,} {what}, the first {paths[0]}",
                "Take them out: what is to be refused must not be one of the classes.",
            )


def read_strangers(
    folder: Path, size: int, flowers: Collection[str], labels: Collection[str], say: Say
) -> np.ndarray:
    """Photos that show none of the classes: uint8 [N, size, size, 3].

    Args:
        folder: of photos in any arrangement.
        size: of the model's photos, px.
        flowers: SHA-256 of the photos of the classes.
        labels: the names of the classes.
        say: receives a line about what was found.

    Raises:
        InputError: no photos, or photos of the classes among them.
    """
    found = other_photos.read(folder, size)
    require_strangers(found.digests, flowers, labels)
    say(f"photos of other things: {len(found.pixels):,}, {found.refused} left out")
    return found.pixels
