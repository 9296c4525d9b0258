"""Whether one model is better than another, on the same photos."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.stats import binomtest

from flowers.errors import InputError
from flowers.judge.intervals import Interval, bootstrap

SURE = 0.05  # below this p value a difference is called real
NAMES = ("the first model", "the second model")


@dataclass(frozen=True)
class Comparison:
    """Two models on the same photos: McNemar's test in its exact form.

    Source: McNemar, "Note on the sampling error of the difference between correlated proportions
    or percentages", Psychometrika 12, 1947. Photos that both models get right, or both wrong, do
    not tell them apart; of the others, each model should win half by chance.
    """

    names: tuple[str, str]
    photos: int
    both_right: int
    only_a: int  # photos that only the first model gets right
    only_b: int
    both_wrong: int
    accuracy_a: float
    accuracy_b: float
    difference: float  # accuracy of the second less that of the first
    difference_interval: Interval  # paired bootstrap, 95 %
    p: float  # chance of so uneven a split of the disputed photos if both were equally good

    @property
    def sentence(self) -> str:
        """The result in words."""
        points = f"{100 * abs(self.difference):.1f} points"
        disputed = self.only_a + self.only_b
        if not disputed:
            return f"Both models are right and wrong on the same {self.photos:,} photos."
        if self.only_a == self.only_b:
            return (
                "Both models are right equally often, but not on the same photos "
                f"({self.only_a:,} each)."
            )
        better, worse = self.names if self.difference < 0 else self.names[::-1]
        split = f"{max(self.only_a, self.only_b):,} to {min(self.only_a, self.only_b):,}"
        if self.p < SURE:
            return (
                f"{better[:1].upper()}{better[1:]} is better than {worse} by {points}: of the "
                f"{disputed:,} photos on which only one is right, it wins {split}, which chance "
                f"alone does in {_chance(self.p)}."
            )
        return (
            f"No difference is shown: {better} leads by {points}, but of the {disputed:,} photos "
            f"on which only one is right it wins {split}, which chance alone does in "
            f"{_chance(self.p)}. More test photos would tell."
        )

    def as_text(self) -> str:
        """The sentence and the table behind it, for a terminal."""
        first, second = self.names
        low, high = self.difference_interval.low, self.difference_interval.high
        return (
            f"{self.sentence}\n\n"
            f"{first}: {self.accuracy_a:.3f}   {second}: {self.accuracy_b:.3f}   "
            f"difference {self.difference:+.3f} (95 % interval {low:+.3f} to {high:+.3f})\n"
            f"both right {self.both_right:,}, only {first} {self.only_a:,}, "
            f"only {second} {self.only_b:,}, both wrong {self.both_wrong:,}; "
            f"McNemar p = {self.p:.3g}"
        )

    def as_dict(self) -> dict:
        """The numbers and the sentence: ready for JSON."""
        return asdict(self) | {"names": list(self.names), "sentence": self.sentence}

    @classmethod
    def from_dict(cls, values: Mapping) -> Comparison:
        """Reads what `as_dict` wrote; keys it does not know are left alone.

        Raises:
            InputError: a part is missing or has another form.
        """
        try:
            known = {field.name: values[field.name] for field in fields(cls)}
            first, second = known["names"]
            interval = Interval(**known["difference_interval"])
            return cls(**known | {"names": (first, second), "difference_interval": interval})
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise InputError(
                "a comparison as `flowers compare` writes it",
                f"one in which a part is missing or has another form ({error})",
                "Run `flowers compare` again to write it anew.",
            ) from error


def mcnemar(
    truth: np.ndarray,
    predicted_a: np.ndarray,
    predicted_b: np.ndarray,
    names: tuple[str, str] = NAMES,
    seed: int = 0,
) -> Comparison:
    """Compares two models' answers on the same photos.

    Args:
        truth: [N] labels or their indices.
        predicted_a: [N] what the first model said.
        predicted_b: [N] what the second said.
        names: what to call the two.
        seed: of the bootstrap draws behind the interval.

    Raises:
        InputError: no photos, or lists of different length.
    """
    truth, first, second = (np.asarray(part) for part in (truth, predicted_a, predicted_b))
    if truth.ndim != 1 or not len(truth) or not truth.shape == first.shape == second.shape:
        raise InputError(
            "the answers of two models to the same photos, at least one",
            f"{truth.shape} labels, {first.shape} and {second.shape} answers",
            "Evaluate both models on the same test photos.",
        )
    right_a, right_b = first == truth, second == truth
    only_a, only_b = int((right_a & ~right_b).sum()), int((right_b & ~right_a).sum())
    gains = right_b.astype(float) - right_a
    return Comparison(
        names=names,
        photos=len(truth),
        both_right=int((right_a & right_b).sum()),
        only_a=only_a,
        only_b=only_b,
        both_wrong=int((~right_a & ~right_b).sum()),
        accuracy_a=float(right_a.mean()),
        accuracy_b=float(right_b.mean()),
        difference=float(gains.mean()),
        difference_interval=bootstrap(np.mean, gains, seed=seed),
        p=float(binomtest(only_a, only_a + only_b).pvalue) if only_a + only_b else 1.0,
    )


def compare_tables(
    predictions_a: pd.DataFrame,
    predictions_b: pd.DataFrame,
    names: tuple[str, str] = NAMES,
    seed: int = 0,
) -> Comparison:
    """Compares two predictions.csv, row by row of the same photo, in whatever order they stand.

    Args:
        predictions_a: with the columns path, label, predicted.
        predictions_b: the same of the other model.
        names: what to call the two.
        seed: of the bootstrap draws behind the interval.

    Raises:
        InputError: a column is missing, a photo stands twice, the photos differ, or a photo has
            another label in one of them.
    """
    first, second = (
        _by_path(table, name)
        for table, name in zip((predictions_a, predictions_b), names, strict=True)
    )
    apart = sorted(set(first.index) ^ set(second.index))
    if apart:
        raise InputError(
            "the same photos in both tables",
            f"{len(apart):,} photos that stand in only one of them, the first {apart[0]}",
            "Evaluate both models on the same test photos.",
        )
    second = second.loc[first.index]
    other = np.flatnonzero((first["label"] != second["label"]).to_numpy())
    if len(other):
        path = first.index[other[0]]
        raise InputError(
            "the same label for a photo in both tables",
            f"{len(other):,} photos with two, the first {path}: {first['label'][path]} and "
            f"{second['label'][path]}",
            "Evaluate both models anew, with the same labels.",
        )
    truth, answers = first["label"].to_numpy(), first["predicted"].to_numpy()
    return mcnemar(truth, answers, second["predicted"].to_numpy(), names, seed)


def read_predictions(place: Path) -> pd.DataFrame:
    """The predictions.csv of a model, of its folder, or the file itself.

    Raises:
        InputError: there is none, or it is no table.
    """
    path = place
    if place.suffix == ".keras":
        path = place.with_suffix("") / "predictions.csv"
    elif place.is_dir():
        path = place / "predictions.csv"
    try:
        return pd.read_csv(path, keep_default_na=False, dtype=str)
    except (OSError, ValueError) as error:
        raise InputError(
            f"a table of predictions at {path}",
            "no such file" if isinstance(error, FileNotFoundError) else str(error).strip(),
            "Name a model that `flowers train` made, or a predictions.csv.",
        ) from error


def _by_path(table: pd.DataFrame, name: str) -> pd.DataFrame:
    missing = [column for column in ("path", "label", "predicted") if column not in table]
    if missing:
        raise InputError(
            f"the columns path, label and predicted in the predictions of {name}",
            f"no {' and no '.join(missing)}",
            "Pass a predictions.csv as `flowers evaluate` writes it.",
        )
    texts = table[["path", "label", "predicted"]].astype(str)
    twice = texts["path"][texts["path"].duplicated()]
    if len(twice):
        raise InputError(
            f"one row a photo in the predictions of {name}",
            f"{len(twice):,} photos that stand there again, the first {twice.iloc[0]}",
            "Pass a predictions.csv as `flowers evaluate` writes it.",
        )
    return texts.set_index("path")


def _chance(p: float) -> str:
    """A p value in words that need no statistics: "3 of 100 cases"."""
    if p < 0.001:
        return "fewer than 1 of 1,000 cases"
    return f"{1000 * p:.0f} of 1,000 cases" if p < 0.0095 else f"{100 * p:.0f} of 100 cases"
