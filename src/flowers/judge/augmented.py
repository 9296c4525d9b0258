"""Test-time augmentation: a photo is shown in several views, and the answers are averaged."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from flowers.data.augment import augment
from flowers.judge.intervals import Interval, wilson
from flowers.progress import progress

VIEWS = 4  # the photo, its mirror image and two mild crops
MILD = 0.5  # of the variation that training sees
BATCH = 32  # photos a forward pass
SMALLEST = 1e-12  # a probability of 0 in one view must not silence all the others

Predict = Callable[[np.ndarray], np.ndarray]  # uint8 [B, S, S, 3] -> probabilities [B, C]


@dataclass(frozen=True, eq=False)
class Gain:
    """What showing each photo in several views gains, and what it costs. Intervals hold at 95 %.

    plain, averaged: probabilities of one view and of all, float64 [N, C].
    """

    views: int
    truth: np.ndarray  # int [N]
    plain: np.ndarray
    averaged: np.ndarray
    accuracy: float
    accuracy_interval: Interval  # Wilson
    averaged_accuracy: float
    averaged_interval: Interval  # Wilson
    repaired: int  # photos that only the views get right: one of the two counts of McNemar's test
    spoiled: int  # photos that only the single view gets right: the other
    cost: float  # seconds with all views / seconds with one, measured

    def as_dict(self) -> dict:
        """The numbers without the arrays: ready for JSON."""
        return {
            "views": self.views,
            "photos": len(self.truth),
            "accuracy": self.accuracy,
            "accuracy_interval": vars(self.accuracy_interval),
            "averaged_accuracy": self.averaged_accuracy,
            "averaged_interval": vars(self.averaged_interval),
            "repaired": self.repaired,
            "spoiled": self.spoiled,
            "cost": self.cost,
        }


def view(photos: np.ndarray, number: int) -> np.ndarray:
    """One way of looking at photos: uint8 [B, S, S, 3] in and out.

    View 0 is the photo, 1 its mirror image, the others mild crops in slightly different light.
    A view is the same for every photo, so an answer depends neither on the batch nor on chance.
    """
    if number == 0:
        return photos
    if number == 1:
        return np.ascontiguousarray(photos[:, :, ::-1])
    return augment(photos, np.full(len(photos), number), MILD)


def predict(
    model: Predict, photos: np.ndarray, views: int = VIEWS, *, logarithms: bool = False
) -> np.ndarray:
    """Probabilities averaged over views: float64 [B, C], rows sum to 1.

    Args:
        model: probabilities of a batch.
        photos: uint8 [B, S, S, 3], RGB: one batch.
        views: how many; 1 is the model's own answer. The cost grows in proportion.
        logarithms: the geometric mean in place of the arithmetic one.
    """
    if views < 1:
        raise ValueError(f"Expected at least one view. Received: {views}.")
    answers = [_probabilities(model, view(photos, number)) for number in range(views)]
    return _mean(answers, logarithms)


def gain(
    model: Predict,
    photos: np.ndarray,
    truth: np.ndarray,
    views: int = VIEWS,
    *,
    logarithms: bool = False,
    rows: np.ndarray | None = None,
) -> Gain:
    """Measures what the views gain on photos whose class is known.

    Args:
        model: probabilities of a batch.
        photos: uint8 [M, S, S, 3], RGB.
        truth: int [N], the class of each photo measured.
        views: how many, at least 2; N x views forward passes in all.
        logarithms: see `predict`.
        rows: int [N], which of `photos` to measure; all when left out.
    """
    rows = np.arange(len(photos)) if rows is None else np.asarray(rows)
    truth = np.asarray(truth)
    if views < 2 or len(rows) != len(truth) or not len(rows):
        raise ValueError(
            "Expected two or more views and one truth a photo. "
            f"Received: {views} views, {len(rows)} photos, {len(truth)} truths."
        )
    plain, averaged, seconds, seconds_plain = [], [], 0.0, 0.0
    with progress(None, "views of photos", total=len(rows)) as bar:
        for start in range(0, len(rows), BATCH):
            batch = photos[rows[start : start + BATCH]]
            began = time.perf_counter()
            answers = [_probabilities(model, view(batch, 0))]
            alone = time.perf_counter() - began
            answers += [_probabilities(model, view(batch, number)) for number in range(1, views)]
            if start or len(rows) <= BATCH:  # the first batch may compile the model
                seconds_plain += alone
                seconds += time.perf_counter() - began
            plain.append(answers[0])
            averaged.append(_mean(answers, logarithms))
            bar.update(len(batch))
    cost = seconds / max(seconds_plain, 1e-9)
    return _summary(views, truth, np.concatenate(plain), np.concatenate(averaged), cost)


def _summary(
    views: int, truth: np.ndarray, plain: np.ndarray, averaged: np.ndarray, cost: float
) -> Gain:
    before, after = plain.argmax(1) == truth, averaged.argmax(1) == truth
    return Gain(
        views=views,
        truth=truth,
        plain=plain,
        averaged=averaged,
        accuracy=float(before.mean()),
        accuracy_interval=wilson(int(before.sum()), len(truth)),
        averaged_accuracy=float(after.mean()),
        averaged_interval=wilson(int(after.sum()), len(truth)),
        repaired=int((after & ~before).sum()),
        spoiled=int((before & ~after).sum()),
        cost=cost,
    )


def _probabilities(model: Predict, photos: np.ndarray) -> np.ndarray:
    return np.asarray(model(photos), dtype=np.float64)


def _mean(answers: list[np.ndarray], logarithms: bool) -> np.ndarray:
    """float64 [B, C] from the answers to the views, each [B, C]."""
    if not logarithms:
        return np.mean(answers, axis=0)
    mean = np.exp(np.mean(np.log(np.maximum(answers, SMALLEST)), axis=0))
    return mean / mean.sum(axis=1, keepdims=True)
