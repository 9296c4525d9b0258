"""Accuracy over folds: how much the result depends on which photos were the test photos."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from flowers.judge.intervals import Interval


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
