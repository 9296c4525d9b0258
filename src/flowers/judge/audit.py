"""Which photos may lie in the wrong folder, as a list that a person can act on.

Each photo is judged by a classifier that has not seen it, and confident learning (Northcutt, Jiang
and Chuang, "Confident learning: estimating uncertainty in dataset labels", Journal of Artificial
Intelligence Research 70, 2021) estimates how many labels are wrong.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np
import pandas as pd
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

from flowers.data import labels as label_files
from flowers.errors import InputError
from flowers.judge.intervals import Interval, wilson

FOLDS = 5
# Of the covariance, towards a sphere. Measured with 5 % of the labels of 3,670 flowers flipped: at
# 0.05 to 0.3 about 94 % of the flips are found; the fewest clean photos are accused at 0.1.
SHRINKAGE = 0.1
PLANTED = 0.05  # of the labels are flipped to test an audit


@dataclass(frozen=True)
class Issue:
    """A photo whose label looks wrong."""

    path: str
    label: str  # what it is filed as
    suggested_label: str  # what it looks like
    score: float  # probability of its label: 0 surely wrong, 1 surely right
    probability: float  # of the suggested label


@dataclass(frozen=True)
class Audit:
    """What an audit found. Intervals hold at 95 %."""

    labels: tuple[str, ...]
    counts: tuple[int, ...]  # photos of each label
    agreement: float  # share of the labels that the classifiers would have given as well
    agreement_interval: Interval  # Wilson
    issues: tuple[Issue, ...]  # worst first

    @property
    def photos(self) -> int:
        """How many photos were looked at."""
        return sum(self.counts)

    def as_table(self) -> pd.DataFrame:
        """The issues with the columns of labels.csv, worst first, the actions left open."""
        rows = [asdict(issue) | {"action": ""} for issue in self.issues]
        return pd.DataFrame(rows, columns=list(label_files.COLUMNS))


@dataclass(frozen=True)
class Planted:
    """How many planted errors an audit finds. Intervals hold at 95 % (Wilson).

    A photo whose label was wrong to begin with counts among the clean ones, so that the share
    accused is an upper bound.
    """

    flipped: int  # labels that were replaced by another at random
    found: int  # of these
    clean: int  # labels that were left alone
    accused: int  # of these
    corrected: int  # of those found, where the suggestion is the label before

    @property
    def found_share(self) -> float:
        """Share of the planted errors that the audit flags."""
        return self.found / self.flipped

    @property
    def found_interval(self) -> Interval:
        """Of `found_share`."""
        return wilson(self.found, self.flipped)

    @property
    def accused_share(self) -> float:
        """Share of the labels left alone that the audit flags."""
        return self.accused / self.clean

    @property
    def accused_interval(self) -> Interval:
        """Of `accused_share`."""
        return wilson(self.accused, self.clean)


def find_issues(
    features: np.ndarray,
    labels: np.ndarray,
    folds: np.ndarray,
    names: Sequence[str],
    paths: Sequence[str],
) -> Audit:
    """Finds the labels that look wrong.

    Args:
        features: float [N, D], what the backbone sees in each photo, averaged over the photo. It
            must not have been trained on these labels, or it repeats their mistakes.
        labels: int [N], 0 to C - 1.
        folds: int [N]; look-alikes in one fold, as `data.catalogue.folds` gives.
        names: the C labels.
        paths: the N paths, as the catalogue has them.

    Raises:
        InputError: fewer than two classes, a class that is not in two folds, features that are
            not finite.
    """
    labels, folds = np.asarray(labels), np.asarray(folds)
    if not len(features) == len(labels) == len(folds) == len(paths):
        raise ValueError(
            "Expected one feature vector, label, fold and path a photo. Received: "
            f"{len(features)}, {len(labels)}, {len(folds)} and {len(paths)}."
        )
    _check(features, labels, folds, names)
    probabilities = out_of_fold(features, labels, folds)
    agree = int((probabilities.argmax(1) == labels).sum())
    score = probabilities[np.arange(len(labels)), labels]
    looks_like = suggestions(labels, probabilities)
    wrong = np.flatnonzero(flag(labels, probabilities))
    issues = (
        Issue(
            path=str(paths[row]),
            label=names[labels[row]],
            suggested_label=names[looks_like[row]],
            score=float(score[row]),
            probability=float(probabilities[row, looks_like[row]]),
        )
        for row in wrong[np.argsort(score[wrong], kind="stable")]
    )
    return Audit(
        labels=tuple(names),
        counts=tuple(np.bincount(labels, minlength=len(names)).tolist()),
        agreement=agree / len(labels),
        agreement_interval=wilson(agree, len(labels)),
        issues=tuple(issues),
    )


def plant(features: np.ndarray, labels: np.ndarray, folds: np.ndarray, *, seed: int = 0) -> Planted:
    """Tests the audit on these photos: flips `PLANTED` of the labels and counts what it finds.

    Args:
        features, labels, folds: as `find_issues` takes them; each class in at least two folds.
        seed: of the flips.
    """
    labels = np.asarray(labels)
    classes, random = labels.max() + 1, np.random.default_rng(seed)
    rows = random.choice(len(labels), max(1, round(PLANTED * len(labels))), replace=False)
    flipped = labels.copy()
    flipped[rows] = (labels[rows] + random.integers(1, classes, len(rows))) % classes
    probabilities = out_of_fold(features, flipped, folds)
    flagged = flag(flipped, probabilities)
    right = suggestions(flipped, probabilities)[rows] == labels[rows]
    found = int(flagged[rows].sum())
    return Planted(
        flipped=len(rows),
        found=found,
        clean=len(labels) - len(rows),
        accused=int(flagged.sum()) - found,
        corrected=int((flagged[rows] & right).sum()),
    )


def out_of_fold(features: np.ndarray, labels: np.ndarray, folds: np.ndarray) -> np.ndarray:
    """Probabilities of each photo from a classifier that was trained on the other folds.

    Linear discriminant analysis: it rests on class means and one covariance, which a few wrong
    labels hardly move, and is solved in one step.

    Args:
        features: float [N, D].
        labels: int [N], 0 to C - 1; each class in at least two folds.
        folds: int [N].

    Returns:
        float64 [N, C], rows sum to 1.
    """
    features = np.asarray(features, dtype=np.float32)
    probabilities = np.zeros((len(labels), labels.max() + 1))
    for fold in np.unique(folds):
        held_out = folds == fold
        classifier = LinearDiscriminantAnalysis(solver="lsqr", shrinkage=SHRINKAGE)
        classifier.fit(features[~held_out], labels[~held_out])
        rows = np.ix_(held_out, classifier.classes_)
        probabilities[rows] = classifier.predict_proba(features[held_out])
    return probabilities


def flag(labels: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
    """Which labels look wrong: bool [N].

    The confident joint says how many labels are wrong; flagged are as many photos, those whose own
    label is least probable. Of the rules of cleanlab this one accuses fewest clean photos while it
    finds more than 90 % of planted errors; a fixed threshold does as well on one set of features
    and fails on another.

    Args:
        labels: int [N], 0 to C - 1.
        probabilities: float [N, C], out of fold.
    """
    from cleanlab.filter import find_label_issues  # seconds to import, needed only here

    # one process: cleanlab would fork, and a process that runs TensorFlow must not be forked
    return find_label_issues(labels, probabilities, filter_by="low_self_confidence", n_jobs=1)


def suggestions(labels: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
    """The likeliest class other than the label: int [N]. Takes what `flag` does."""
    others = np.array(probabilities)
    others[np.arange(len(labels)), labels] = -1
    return others.argmax(1)


def _check(
    features: np.ndarray, labels: np.ndarray, folds: np.ndarray, names: Sequence[str]
) -> None:
    if len(names) < 2 or len(np.unique(labels)) < 2:
        raise InputError(
            "photos of at least two classes",
            f"{len(labels)} photos of {len(np.unique(labels))}",
            "Name a folder with one folder of photos for each class.",
        )
    lone = [names[one] for one in range(len(names)) if len(np.unique(folds[labels == one])) < 2]
    if lone:
        raise InputError(
            "two or more photos of each class that are no look-alikes",
            f"fewer of {', '.join(lone)}",
            "Add photos to these classes, or take the classes out.",
        )
    if not np.isfinite(features).all():
        raise InputError(
            "features that are numbers",
            f"{int((~np.isfinite(features).all(axis=1)).sum())} photos with NaN or infinity",
            "Use other weights; the cache of features may be damaged, too: remove it.",
        )
