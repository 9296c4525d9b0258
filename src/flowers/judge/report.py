"""How often a classifier is right, with intervals: numbers only, no drawing, no files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields

import numpy as np
import pandas as pd

from flowers.errors import InputError
from flowers.judge.intervals import Interval, percentiles, redraw, wilson

KEPT_MISTAKES = 48  # what a page can show; predictions.csv names every one
KEPT_PAIRS = 10


@dataclass(frozen=True)
class ClassScore:
    """How one class fares. A figure is None where it has no meaning (no photo, no prediction)."""

    label: str
    photos: int  # that are of this class
    predicted: int  # that were called this class
    correct: int  # both
    precision: float | None  # correct / predicted
    precision_interval: Interval | None  # Wilson
    recall: float | None  # correct / photos
    recall_interval: Interval | None  # Wilson
    f1: float | None  # harmonic mean of the two
    f1_interval: Interval | None  # bootstrap


@dataclass(frozen=True)
class ConfusedPair:
    """Photos of `truth` that were called `predicted`."""

    truth: str
    predicted: str
    count: int


@dataclass(frozen=True)
class Mistake:
    """One photo with a wrong answer; `probability` is what the wrong label was given."""

    path: str
    truth: str
    predicted: str
    probability: float


@dataclass(frozen=True)
class Report:
    """What `evaluate` measures. Intervals hold at 95 %."""

    labels: tuple[str, ...]
    photos: int
    correct: int
    accuracy: float
    accuracy_interval: Interval  # Wilson
    top2_accuracy: float  # the truth is among the two likeliest labels
    top2_interval: Interval  # Wilson
    macro_f1: float  # mean over the classes that occur in the truth or the predictions
    macro_f1_interval: Interval  # bootstrap
    nll: float  # mean of -log(probability of the truth), in nats
    classes: tuple[ClassScore, ...]
    confusion: tuple[tuple[int, ...], ...]  # [truth][predicted], photos
    confused: tuple[ConfusedPair, ...]  # most frequent first
    mistakes: tuple[Mistake, ...]  # most confident first

    def as_dict(self) -> dict:
        """The report as dicts, lists, strings and finite numbers: ready for JSON."""
        return _plain(asdict(self))

    @classmethod
    def from_dict(cls, values: Mapping) -> Report:
        """Reads what `as_dict` wrote; keys it does not know are left alone.

        Raises:
            InputError: a part is missing or has another form.
        """
        try:
            parts = {field.name: values[field.name] for field in fields(cls)}
            for name in ("accuracy_interval", "top2_interval", "macro_f1_interval"):
                parts[name] = Interval(**parts[name])
            return cls(
                **parts
                | {
                    "labels": tuple(parts["labels"]),
                    "classes": tuple(_class_score(score) for score in parts["classes"]),
                    "confusion": tuple(tuple(row) for row in parts["confusion"]),
                    "confused": tuple(ConfusedPair(**pair) for pair in parts["confused"]),
                    "mistakes": tuple(Mistake(**mistake) for mistake in parts["mistakes"]),
                }
            )
        except (KeyError, TypeError, AttributeError) as error:
            raise InputError(
                "a report as `flowers evaluate` writes it",
                f"one in which a part is missing or has another form ({error})",
                "Run `flowers evaluate` again to write it anew.",
            ) from error


def evaluate(
    truth: np.ndarray,
    probabilities: np.ndarray,
    labels: Sequence[str],
    paths: Sequence[str] | None = None,
    seed: int = 0,
) -> Report:
    """Compares predictions with the truth.

    Args:
        truth: int [N], the index of each photo's true label.
        probabilities: float [N, C], rows sum to 1.
        labels: the C names, in the order of the columns.
        paths: N names of the photos, for the list of mistakes; their numbers when left out.
        seed: of the bootstrap draws behind the intervals of F1.

    Raises:
        InputError: no photos, shapes that do not fit, probabilities that are not finite or do not
            sum to 1 within 0.001, a truth that is not the index of a label.
    """
    truth, probabilities, labels, paths = _checked(truth, probabilities, labels, paths)
    predicted = probabilities.argmax(axis=1)
    confusion = confusion_matrix(truth, predicted, len(labels))
    photos, correct = len(truth), int(np.trace(confusion))
    # a stable sort, so that ties count the same label as the prediction does
    best_two = np.argsort(-probabilities, axis=1, kind="stable")[:, :2]
    in_two = int((best_two == truth[:, None]).any(axis=1).sum())
    of_truth = probabilities[np.arange(photos), truth]

    def scores(drawn_truth: np.ndarray, drawn_predicted: np.ndarray) -> np.ndarray:
        drawn = f1_scores(confusion_matrix(drawn_truth, drawn_predicted, len(labels)))
        return np.append(drawn, np.nanmean(drawn))

    draws = redraw(scores, (truth, predicted), seed, 1000)  # [1000, C + 1]; the last is macro
    return Report(
        labels=labels,
        photos=photos,
        correct=correct,
        accuracy=correct / photos,
        accuracy_interval=wilson(correct, photos),
        top2_accuracy=in_two / photos,
        top2_interval=wilson(in_two, photos),
        macro_f1=float(np.nanmean(f1_scores(confusion))),
        macro_f1_interval=percentiles(draws[:, -1]),
        nll=float(-np.log(np.clip(of_truth, 1e-12, 1)).mean()),
        classes=_class_scores(confusion, labels, draws),
        confusion=tuple(tuple(row) for row in confusion.tolist()),
        confused=_confused_pairs(confusion, labels),
        mistakes=_mistakes(truth, predicted, probabilities, labels, paths),
    )


def predictions_table(
    truth: np.ndarray,
    probabilities: np.ndarray,
    labels: Sequence[str],
    paths: Sequence[str] | None = None,
) -> pd.DataFrame:
    """One row a photo: path, label, predicted, probability, correct, and `p_<class>` a class.

    Takes and raises what `evaluate` does. The prefix keeps a class called "path" apart from
    the column of that name.
    """
    truth, probabilities, labels, paths = _checked(truth, probabilities, labels, paths)
    predicted = probabilities.argmax(axis=1)
    table = pd.DataFrame(
        {
            "path": paths,
            "label": [labels[index] for index in truth],
            "predicted": [labels[index] for index in predicted],
            "probability": probabilities.max(axis=1),
            "correct": predicted == truth,
        }
    )
    columns = pd.DataFrame(probabilities, columns=[f"p_{label}" for label in labels])
    return pd.concat([table, columns], axis=1)


def confusion_matrix(truth: np.ndarray, predicted: np.ndarray, classes: int) -> np.ndarray:
    """Counts photos: int [classes, classes], the truth down and the prediction across."""
    cells = np.bincount(truth * classes + predicted, minlength=classes**2)
    return cells.reshape(classes, classes)


def f1_scores(confusion: np.ndarray) -> np.ndarray:
    """F1 of each class, float [C]; NaN for a class that neither occurs nor is predicted."""
    correct = np.diagonal(confusion)
    total = confusion.sum(axis=0) + confusion.sum(axis=1)
    return np.where(total > 0, 2 * correct / np.maximum(total, 1), np.nan)


def _class_scores(
    confusion: np.ndarray, labels: tuple[str, ...], draws: np.ndarray
) -> tuple[ClassScore, ...]:
    f1 = f1_scores(confusion)
    scores = []
    for index, label in enumerate(labels):
        photos, predicted = int(confusion[index].sum()), int(confusion[:, index].sum())
        correct = int(confusion[index, index])
        known = not np.isnan(f1[index])
        scores.append(
            ClassScore(
                label=label,
                photos=photos,
                predicted=predicted,
                correct=correct,
                precision=correct / predicted if predicted else None,
                precision_interval=wilson(correct, predicted) if predicted else None,
                recall=correct / photos if photos else None,
                recall_interval=wilson(correct, photos) if photos else None,
                f1=float(f1[index]) if known else None,
                f1_interval=percentiles(draws[:, index]) if known else None,
            )
        )
    return tuple(scores)


def _confused_pairs(confusion: np.ndarray, labels: tuple[str, ...]) -> tuple[ConfusedPair, ...]:
    wrong = confusion - np.diag(np.diagonal(confusion))
    order = np.argsort(-wrong, axis=None, kind="stable")[:KEPT_PAIRS]
    cells = [divmod(int(cell), len(labels)) for cell in order]
    return tuple(
        ConfusedPair(labels[row], labels[column], int(wrong[row, column]))
        for row, column in cells
        if wrong[row, column]
    )


def _mistakes(
    truth: np.ndarray,
    predicted: np.ndarray,
    probabilities: np.ndarray,
    labels: tuple[str, ...],
    paths: list[str],
) -> tuple[Mistake, ...]:
    confidence = probabilities.max(axis=1)
    wrong = np.flatnonzero(truth != predicted)
    wrong = wrong[np.argsort(-confidence[wrong], kind="stable")][:KEPT_MISTAKES]
    return tuple(
        Mistake(paths[i], labels[truth[i]], labels[predicted[i]], float(confidence[i]))
        for i in wrong.tolist()
    )


def _checked(
    truth: np.ndarray,
    probabilities: np.ndarray,
    labels: Sequence[str],
    paths: Sequence[str] | None,
) -> tuple[np.ndarray, np.ndarray, tuple[str, ...], list[str]]:
    """The four as arrays, tuple and list, or an InputError that names what does not fit."""
    truth, labels = np.asarray(truth), tuple(str(label) for label in labels)
    if truth.ndim != 1 or truth.size == 0 or truth.dtype.kind not in "iu":
        raise InputError(
            "a list of at least one label index",
            f"{truth.dtype} of shape {truth.shape}",
            "Evaluate on at least one labelled photo.",
        )
    probabilities = np.asarray(probabilities, dtype=np.float64)
    photos, classes = len(truth), len(labels)
    paths = [str(number) for number in range(photos)] if paths is None else [str(p) for p in paths]
    remedy = "Pass the predictions of the same photos, in the same order, from one model."
    if classes < 2 or len(set(labels)) != classes:
        raise InputError("two or more different labels", f"{list(labels)}", remedy)
    if probabilities.shape != (photos, classes) or len(paths) != photos:
        raise InputError(
            f"probabilities of shape ({photos}, {classes}) and {photos} paths",
            f"shape {probabilities.shape} and {len(paths)} paths",
            remedy,
        )
    sums = probabilities.sum(axis=1)
    bad = np.flatnonzero(
        ~(np.abs(sums - 1) <= 1e-3) | (probabilities < -1e-3).any(axis=1)
    )  # NaN fails too
    if len(bad):
        raise InputError(
            "probabilities that sum to 1",
            f"{len(bad)} photos where they do not, the first {paths[bad[0]]} "
            f"({sums[bad[0]]:.4g} in all)",
            "Pass softmax outputs, not logits; a model that answers NaN must be trained again.",
        )
    if truth.min() < 0 or truth.max() >= classes:
        raise InputError(
            f"label indices from 0 to {classes - 1}",
            f"{truth.min()} to {truth.max()}",
            remedy,
        )
    return truth.astype(np.int64), probabilities, labels, paths


def _class_score(values: Mapping) -> ClassScore:
    names = ("precision_interval", "recall_interval", "f1_interval")
    intervals = {name: Interval(**values[name]) if values[name] else None for name in names}
    return ClassScore(**{**values, **intervals})


def _plain(value: object) -> object:
    """Tuples become lists, as JSON reads them back."""
    if isinstance(value, dict):
        return {key: _plain(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(part) for part in value]
    return value
