"""Prediction sets: as many names as it takes to hold the truth as often as was asked for.

Source: Romano, Sesia and Candès, "Classification with valid and adaptive coverage", NeurIPS 2020
(APS); Angelopoulos, Bates, Malik and Jordan, "Uncertainty sets for image classifiers using
conformal prediction", ICLR 2021 (RAPS). Both draw a random number a photo, between counting the
probability of a name itself (1) and not (0). Here it is always 0: the same photo gives the same
set every time, and the likeliest name is always in it. A score without chance in it is as valid:
the guarantee asks only that validation and new photos are scored alike.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields

import numpy as np

from flowers.errors import InputError
from flowers.judge.held_out import checked, require_enough
from flowers.judge.intervals import Interval, wilson

COVERAGE = 0.95
KEPT_SETS = 6  # of the most frequent ones, for the report


@dataclass(frozen=True)
class PredictionSets:
    """Turns probabilities into sets of names. Fitted by `fit`."""

    coverage: float  # the share of new photos whose truth is to be in the set
    threshold: float  # names are added while the score stays at or below it
    penalty: float  # RAPS: added to the score for each name past `free`; 0 is APS
    free: int  # names without a penalty

    def sets(self, probabilities: np.ndarray) -> np.ndarray:
        """Which names are in each photo's set: bool [N, C], at least one a row.

        Args:
            probabilities: float [N, C], calibrated as those of `fit` were.
        """
        probabilities = np.asarray(probabilities, dtype=np.float64)
        members = scores(probabilities, self.penalty, self.free) <= self.threshold
        members[np.arange(len(members)), probabilities.argmax(axis=1)] = True  # NaN or rounding
        return members

    def as_dict(self) -> dict:
        """The four numbers: ready for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping) -> PredictionSets:
        """Reads what `as_dict` wrote; keys it does not know are left alone.

        Raises:
            InputError: a part is missing or is no number.
        """
        try:
            return cls(
                coverage=float(values["coverage"]),
                threshold=float(values["threshold"]),
                penalty=float(values["penalty"]),
                free=int(values["free"]),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise _unreadable("prediction sets as `flowers train` writes them", error) from error


@dataclass(frozen=True)
class CommonSet:
    """A set of more than one name and how many photos got it; `held` of them rightly."""

    names: tuple[str, ...]
    photos: int
    held: int


@dataclass(frozen=True)
class SetsReport:
    """How prediction sets do on photos they were not fitted on."""

    asked: float  # coverage asked for
    photos: int
    held: int  # photos whose truth is in the set
    coverage: float  # held / photos
    coverage_interval: Interval  # Wilson
    mean_size: float
    sizes: tuple[int, ...]  # photos with 1, 2, ... C names
    held_by_size: tuple[int, ...]  # of these, how many hold the truth
    by_class: tuple[tuple[str, float | None], ...]  # coverage of each class
    common: tuple[CommonSet, ...]  # sets of two and more, most frequent first

    def as_dict(self) -> dict:
        """The numbers as dicts and lists: ready for JSON."""
        values = asdict(self)
        values["common"] = [{**part, "names": list(part["names"])} for part in values["common"]]
        values["by_class"] = [list(pair) for pair in values["by_class"]]
        return values | {name: list(values[name]) for name in ("sizes", "held_by_size")}

    @classmethod
    def from_dict(cls, values: Mapping) -> SetsReport:
        """Reads what `as_dict` wrote; keys it does not know are left alone.

        Raises:
            InputError: a part is missing or has another form.
        """
        try:
            known = {field.name: values[field.name] for field in fields(cls)}
            return cls(
                **known
                | {
                    "coverage_interval": Interval(**known["coverage_interval"]),
                    "sizes": tuple(known["sizes"]),
                    "held_by_size": tuple(known["held_by_size"]),
                    "by_class": tuple((name, share) for name, share in known["by_class"]),
                    "common": tuple(
                        CommonSet(tuple(part["names"]), part["photos"], part["held"])
                        for part in known["common"]
                    ),
                }
            )
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise _unreadable("prediction sets as `flowers evaluate` writes them", error) from error


def fit(
    truth: np.ndarray,
    probabilities: np.ndarray,
    labels: Sequence[str],
    coverage: float = COVERAGE,
    penalty: float = 0.0,
    free: int = 1,
) -> PredictionSets:
    """Learns from validation photos how long the lists of names must be.

    Args:
        truth: int [N]; every class at least once.
        probabilities: float [N, C], calibrated, rows sum to 1.
        labels: the C names, for the messages.
        coverage: share of new photos whose set is to hold the truth. A model that is right more
            often than this gets sets of one name, and holds more than was asked for.
        penalty: 0 for APS, above for RAPS: long sets become rarer, and sets of two more frequent.
        free: names without a penalty.

    Raises:
        InputError: what `require_enough` and `checked` refuse; a coverage that is not between 0
            and 1, or so high that validation has too few photos to learn it from.
    """
    truth, probabilities = checked(truth, probabilities)
    require_enough(truth, labels)
    if not 0 < coverage < 1:
        raise InputError("a coverage between 0 and 1", f"{coverage}", "Ask for 0.95, for example.")
    of_truth = scores(probabilities, penalty, free)[np.arange(len(truth)), truth]
    # the finite-sample quantile: of n + 1 photos, the new one among them, `coverage` lie below
    rank = int(np.ceil((len(truth) + 1) * coverage - 1e-9))
    if rank > len(truth):
        needed = int(np.ceil(coverage / (1 - coverage) - 1e-9))
        raise InputError(
            f"at least {needed} validation photos for a coverage of {coverage:g}",
            f"{len(truth)}",
            "Add photos, or ask for a lower coverage.",
        )
    return PredictionSets(coverage, float(np.sort(of_truth)[rank - 1]), penalty, free)


def scores(probabilities: np.ndarray, penalty: float, free: int) -> np.ndarray:
    """How far down the list each name stands: float [N, C], 0 for the likeliest.

    The probability of all names before it, and `penalty` for each place past `free`.
    """
    order = np.argsort(-probabilities, axis=1, kind="stable")
    sorted_ = np.take_along_axis(probabilities, order, axis=1)
    before = np.cumsum(sorted_, axis=1) - sorted_
    before[:, 0] = 0.0
    places = np.arange(1, probabilities.shape[1] + 1)
    ranked = before + penalty * np.maximum(places - free, 0)
    found = np.empty_like(ranked)
    np.put_along_axis(found, order, ranked, axis=1)
    return found


def measure(
    fitted: PredictionSets, truth: np.ndarray, probabilities: np.ndarray, labels: Sequence[str]
) -> SetsReport:
    """Counts how often the sets hold the truth, on photos they were not fitted on.

    Args:
        fitted: of `fit`.
        truth: int [N].
        probabilities: float [N, C], calibrated as those of `fit` were.
        labels: the C names.

    Raises:
        InputError: what `checked` refuses.
    """
    truth, probabilities = checked(truth, probabilities)
    members = fitted.sets(probabilities)
    holds, size = members[np.arange(len(truth)), truth], members.sum(axis=1)
    by_class = [holds[truth == index] for index in range(len(labels))]
    held = int(holds.sum())
    return SetsReport(
        asked=fitted.coverage,
        photos=len(truth),
        held=held,
        coverage=held / len(truth),
        coverage_interval=wilson(held, len(truth)),
        mean_size=float(size.mean()),
        sizes=tuple(np.bincount(size, minlength=len(labels) + 1)[1:].tolist()),
        held_by_size=tuple(np.bincount(size[holds], minlength=len(labels) + 1)[1:].tolist()),
        by_class=tuple(
            (str(label), float(part.mean()) if len(part) else None)
            for label, part in zip(labels, by_class, strict=True)
        ),
        common=_common(members, holds, labels),
    )


def words(
    labels: Sequence[str], members: np.ndarray, probabilities: np.ndarray | None = None
) -> str:
    """One photo's set as a reader says it: "rose", "rose or tulip", "daisy, rose or tulip".

    Args:
        labels: the C names.
        members: bool [C].
        probabilities: float [C]: the likeliest name first; in the order of `labels` without.
    """
    indices = np.flatnonzero(members)
    if probabilities is not None:
        indices = indices[np.argsort(-np.asarray(probabilities)[indices], kind="stable")]
    names = [str(labels[index]) for index in indices]
    return " or ".join(filter(None, [", ".join(names[:-1]), *names[-1:]]))


def _common(members: np.ndarray, holds: np.ndarray, labels: Sequence[str]) -> tuple[CommonSet, ...]:
    several = members.sum(axis=1) > 1
    kinds, place, counts = np.unique(
        members[several], axis=0, return_inverse=True, return_counts=True
    )
    held = np.bincount(place.ravel(), weights=holds[several], minlength=len(kinds))
    order = np.argsort(-counts, kind="stable")[:KEPT_SETS]
    return tuple(
        CommonSet(
            tuple(str(labels[index]) for index in np.flatnonzero(kinds[kind])),
            int(counts[kind]),
            int(held[kind]),
        )
        for kind in order
    )


def _unreadable(expected: str, error: Exception) -> InputError:
    return InputError(
        expected,
        f"one in which a part is missing or has another form ({error})",
        "Run the command again to write it anew.",
    )
