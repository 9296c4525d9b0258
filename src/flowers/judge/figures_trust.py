"""Drawings of how sure a model is: takes arrays, returns a Figure, in the look of figures.py."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter

from flowers.judge.figures import BLUE, FAINT, INK, ORANGE, PALE, WIDTH, _dress, _figure, _strip

FEW = 5  # photos below which a share is not drawn: it would be noise
SMALL = 9  # points

# Of each bin: photos, their mean top probability, the share that is right; None in empty bins.
Bins = tuple[Sequence[int], Sequence[float | None], Sequence[float | None]]


def reliability(
    edges: Sequence[float],
    before: Bins,
    after: Bins,
    intervals: Sequence[tuple[float, float] | None],
) -> Figure:
    """How sure it was against how often it was right, and how many photos that rests on.

    Bins of fewer than five photos are left out of the upper picture.

    Args:
        edges: B + 1 ends of the bins of the top probability.
        before: the B bins of the model as it was trained.
        after: those of the calibrated model.
        intervals: of each bin the ends of the interval of the calibrated share, or None.
    """
    figure = _figure(WIDTH, 5.6)
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    for axes in (upper, lower):
        _dress(axes)
        axes.grid(axis="y", color=FAINT, linewidth=0.8)
    used = np.flatnonzero(np.asarray(before[0]) + np.asarray(after[0]))
    start = max(0.0, float(edges[used[0] if len(used) else 0]) - 0.05)
    upper.plot([start, 1], [start, 1], color=INK, linewidth=1, linestyle=":", zorder=1)
    photos, confidence, _ = (np.array(part, dtype=float) for part in after)
    ends = np.array([pair or (np.nan, np.nan) for pair in intervals], dtype=float)
    drawn = photos >= FEW
    upper.vlines(confidence[drawn], *ends[drawn].T, color=PALE, linewidth=4, zorder=2)
    _points(upper, before, ORANGE, "s", "as trained")
    _points(upper, after, BLUE, "o", "calibrated")
    upper.plot([], [], color=INK, linewidth=1, linestyle=":", label="as sure as it is right")
    upper.set_ylabel("how often it was right")
    upper.set_ylim(0, 1.03)
    upper.legend(loc="lower right", frameon=False, fontsize=SMALL)
    lower.stairs(photos, edges, color=BLUE, fill=True, alpha=0.35)
    lower.stairs(photos, edges, color=BLUE, linewidth=1.2)
    lower.stairs(np.array(before[0], float), edges, color=ORANGE, linewidth=1.4, linestyle="--")
    lower.set_ylabel("photos")
    lower.set_xlabel("how sure it was: its highest probability")
    lower.yaxis.set_major_locator(MaxNLocator(3, integer=True))
    upper.set_xlim(start, 1.02)
    for axis in (upper.xaxis, upper.yaxis):
        axis.set_major_formatter(_percent())
    return figure


def set_sizes(sizes: Sequence[int], held: Sequence[int]) -> Figure:
    """How many photos got one name, two names, and so on; how many of these hold the truth.

    Args:
        sizes: photos with 1, 2, ... names.
        held: of these, those whose truth is among the names.
    """
    last = max((number for number, photos in enumerate(sizes, 1) if photos), default=1)
    rows = np.arange(last)
    photos, inside = np.array(sizes[:last]), np.array(held[:last])
    figure = _figure(WIDTH, 0.46 * last + 1.25)
    axes = figure.subplots()
    _dress(axes)
    axes.barh(rows, inside, color=BLUE, height=0.62, label="the truth is among them")
    axes.barh(rows, photos - inside, left=inside, color=ORANGE, height=0.62, label="it is not")
    for row, total in zip(rows, photos, strict=True):
        axes.annotate(
            f"{total:,}", (total, row), (4, 0), textcoords="offset points", va="center", color=INK
        )
    names = [f"{number} name{'s' if number > 1 else ''}" for number in range(1, last + 1)]
    axes.set_yticks(rows, names)
    axes.set_ylim(last - 0.5, -0.5)
    axes.set_xlim(0, max(int(photos.max(initial=0)), 1) * 1.14)
    axes.set_xlabel("photos")
    axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
    axes.grid(axis="x", color=FAINT, linewidth=0.8)
    figure.legend(loc="outside upper center", ncols=2, frameon=False, fontsize=SMALL)
    _strip(axes, "y")
    return figure


def novelty(
    edges: Sequence[float],
    flowers: Sequence[int],
    others: Sequence[int],
    threshold: float,
    name: str = "photos of the classes",
) -> Figure:
    """How unlike the training photos photos are, and where the line is drawn.

    Args:
        edges: B + 1 ends of the bars; the last bar also holds what lies beyond.
        flowers: B counts of photos of the classes.
        others: B counts of photos of other things, or none.
        threshold: what lies to the right of it is called none of the classes.
        name: what to call photos of the classes.
    """
    figure = _figure(WIDTH, 3.8)
    axes = figure.subplots()
    _dress(axes)
    for counts, colour, line, label in (
        (others, ORANGE, "--", "other things"),
        (flowers, BLUE, "-", name),
    ):
        if len(counts):
            share = np.asarray(counts, dtype=float) / max(sum(counts), 1)
            axes.stairs(share, edges, color=colour, fill=True, alpha=0.35)
            axes.stairs(share, edges, color=colour, linewidth=1.5, linestyle=line, label=label)
    top = axes.get_ylim()[1] * 1.12
    axes.set_ylim(0, top)
    axes.set_xlim(edges[0], edges[-1])
    axes.axvline(threshold, color=INK, linewidth=1.5)
    for text, side, shift in (("taken for one of them", "right", -5), ("none of them", "left", 5)):
        axes.annotate(
            text,
            (threshold, top),
            (shift, -4),
            textcoords="offset points",
            ha=side,
            va="top",
            fontsize=SMALL,
            color=INK,
        )
    axes.yaxis.set_major_formatter(_percent())
    axes.yaxis.set_major_locator(MaxNLocator(5))
    axes.set_ylabel("share of the photos")
    axes.set_xlabel("novelty: 1 is a typical photo of the classes")
    axes.grid(axis="y", color=FAINT, linewidth=0.8)
    figure.legend(loc="outside upper center", ncols=2, frameon=False, fontsize=SMALL)
    return figure


def _points(axes: Axes, bins: Bins, colour: str, marker: str, label: str) -> None:
    """A mark a bin, as large as the number of its photos; a faint line leads the eye."""
    photos, confidence, accuracy = (np.array(part, dtype=float) for part in bins)
    drawn = photos >= FEW
    area = 18 + 170 * photos[drawn] / max(photos.sum(), 1)
    axes.plot(confidence[drawn], accuracy[drawn], color=colour, linewidth=1, alpha=0.5, zorder=2)
    axes.scatter(
        confidence[drawn], accuracy[drawn], area, color=colour, marker=marker, label=label, zorder=3
    )


def _percent() -> PercentFormatter:
    return PercentFormatter(1, decimals=0, symbol="\N{NO-BREAK SPACE}%")
