"""Robustness on the report's page: the curves, what the photos look like, the numbers."""

from __future__ import annotations

import numpy as np

from flowers.judge import figures_robustness
from flowers.judge.page import between, percent
from flowers.judge.parts import Photo, Photos, Picture, Section, Table
from flowers.judge.robustness import CORRUPTIONS, Robustness, corrupt

EXAMPLE = 3  # the strength that the example photos show: the middle one


def section(result: Robustness, example: np.ndarray | None = None) -> Section:
    """The section of the page.

    Args:
        result: what was measured.
        example: uint8 [H, W, 3], a photo to show under each corruption; none when left out.
    """
    lead = (
        f"{result.photos:,} test photos, each made worse in {len(result.corruptions)} ways at five "
        f"strengths. As they are it is right on {percent(result.clean.accuracy)}; over all that "
        f"was done to them on {percent(result.mean)} "
        f"(95 % interval {between(result.mean_interval)})."
    )
    parts = [Picture(figures_robustness.curves(result), _alt(result))]
    if example is not None:
        parts.append(Photos(_examples(result, example)))
    return Section("robustness", "How it copes with poor photos", lead, (*parts, table(result)))


def table(result: Robustness) -> Table:
    """One row a corruption: its five accuracies with the amounts, and their mean."""
    rows = []
    for name in result.corruptions:
        scores = result.of(name)
        mean = sum(score.accuracy for score in scores) / len(scores)
        cells = ((f"{100 * score.accuracy:.0f}", score.amount) for score in scores)
        rows.append((name, *cells, f"{100 * mean:.0f}"))
    columns = ("% right at strength", "1", "2", "3", "4", "5", "mean")
    return Table(columns, tuple(rows))


def _examples(result: Robustness, example: np.ndarray) -> tuple[Photo, ...]:
    cards = [
        Photo(
            example,
            "a test photo as it is",
            ("as it is", f"{percent(result.clean.accuracy)} right"),
        )
    ]
    for one in CORRUPTIONS:
        if one.name in result.corruptions:
            worse = corrupt(example[None], one, EXAMPLE, np.array([0]))[0]
            score = result.of(one.name)[EXAMPLE - 1]
            lines = (f"{one.name}, strength {EXAMPLE}", f"{percent(score.accuracy)} right")
            cards.append(Photo(worse, f"the same photo: {one.name}, {score.amount}", lines))
    return tuple(cards)


def _alt(result: Robustness) -> str:
    ends = ", ".join(
        f"{name} {percent(result.of(name)[-1].accuracy)}" for name in result.corruptions
    )
    return (
        "Accuracy over the strength of each corruption. "
        f"As they are {percent(result.clean.accuracy)}; at strength 5: {ends}."
    )
