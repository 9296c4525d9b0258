"""Accuracy over folds: how much a result, or a gain, depends on which photos were tested."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from flowers.judge.intervals import Interval

SURE = 0.05  # below this p value a difference is called real


@dataclass(frozen=True)
class Folds:
    """Accuracies of the folds, their mean, and the mean's 95 % interval (Student's t)."""

    accuracies: tuple[float, ...]
    mean: float
    interval: Interval


def summarise(accuracies: Sequence[float]) -> Folds:
    """The folds' accuracies as mean and interval.

    The folds share training photos, so the interval is a little too narrow (Bengio and
    Grandvalet 2004); it is still the honest companion of a single split's figure.

    Args:
        accuracies: one a fold, 0 to 1; at least two.
    """
    values = np.asarray(accuracies, float)
    mean, error = float(values.mean()), float(values.std(ddof=1) / np.sqrt(len(values)))
    reach = float(stats.t.ppf(0.975, len(values) - 1)) * error
    low, high = max(0.0, mean - reach), min(1.0, mean + reach)
    return Folds(tuple(float(value) for value in values), mean, Interval(low, high))


@dataclass(frozen=True)
class Gain:
    """By how much one recipe is more accurate than another, on the same folds.

    differences: second less first, one a fold; mean and its 95 % interval; p: the chance of so
    large a mean in either direction if both were equally good.
    """

    differences: tuple[float, ...]
    mean: float
    interval: Interval
    p: float

    @property
    def sentence(self) -> str:
        """The result in words."""
        low, high = 100 * self.interval.low, 100 * self.interval.high
        proved = self.p < SURE
        verdict = "a real difference" if proved else "no difference is shown"
        return (
            f"{100 * self.mean:+.2f} points over {len(self.differences)} folds (95 % interval "
            f"{low:+.2f} to {high:+.2f}, p = {self.p:.2g}): {verdict}"
        )


def gain(first: Sequence[float], second: Sequence[float]) -> Gain:
    """Compares two recipes fold by fold: the corrected resampled t test.

    Source: Nadeau and Bengio, "Inference for the generalization error", Machine Learning 52, 2003.
    Folds share training photos, so the plain t test finds differences that are not there; its
    variance is enlarged by (test photos / training photos), which in k folds is 1 / (k - 1).

    Args:
        first, second: accuracies of the two recipes on the same folds, 0 to 1; at least two.
    """
    differences = np.asarray(second, float) - np.asarray(first, float)
    k, mean = len(differences), float(differences.mean())
    error = float(np.sqrt((1 / k + 1 / (k - 1)) * differences.var(ddof=1)))
    reach = float(stats.t.ppf(0.975, k - 1)) * error
    if error == 0:
        p = 1.0 if mean == 0 else 0.0
    else:
        p = float(2 * stats.t.sf(abs(mean) / error, k - 1))
    values = tuple(float(value) for value in differences)
    return Gain(values, mean, Interval(mean - reach, mean + reach), p)
