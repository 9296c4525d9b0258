"""Photos held out of training, with what a model said of them: are they fit to learn from?"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from flowers.errors import InputError

FEWEST = 20  # photos: below this a temperature or a quantile is a guess


def checked(truth: np.ndarray, probabilities: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The two as int64 [N] and float64 [N, C].

    Raises:
        InputError: no photos, shapes that do not fit, a truth that is no column, probabilities
            that are not finite or do not sum to 1 within 0.001.
    """
    truth, probabilities = np.asarray(truth), np.asarray(probabilities, dtype=np.float64)
    shapes = f"{truth.dtype} {truth.shape} and probabilities {probabilities.shape}"
    fits = truth.ndim == 1 and truth.dtype.kind in "iu" and probabilities.ndim == 2
    if not fits or truth.size == 0 or len(truth) != len(probabilities):
        raise InputError(
            "one label index and one row of probabilities for each of at least one photo",
            shapes,
            "Pass the labels and the predictions of the same photos.",
        )
    if truth.min() < 0 or truth.max() >= probabilities.shape[1]:
        raise InputError(
            f"label indices from 0 to {probabilities.shape[1] - 1}",
            f"{truth.min()} to {truth.max()}",
            "Pass the predictions of a model that was trained on these classes.",
        )
    wrong = ~(np.abs(probabilities.sum(axis=1) - 1) <= 1e-3) | (probabilities < -1e-3).any(axis=1)
    if wrong.any():
        raise InputError(
            "probabilities that sum to 1",
            f"{wrong.sum()} photos where they do not",
            "Pass softmax outputs, not logits; a model that answers NaN must be trained again.",
        )
    return truth.astype(np.int64), probabilities


def require_enough(truth: np.ndarray, labels: Sequence[str]) -> None:
    """Refuses validation photos that are too few to learn from how sure to be.

    Args:
        truth: int [N].
        labels: the names of the classes.

    Raises:
        InputError: fewer than 20 photos, or a class without any.
    """
    if len(truth) < FEWEST:
        raise InputError(
            f"at least {FEWEST} validation photos to learn from how sure to be",
            f"{len(truth)}",
            "Add photos, or give validation a larger share.",
        )
    missing = [str(label) for index, label in enumerate(labels) if not (truth == index).any()]
    if missing:
        raise InputError(
            "validation photos of every class",
            f"none of {', '.join(missing)}",
            "Add photos of it, at least seven a class, so that the split can give it some.",
        )
