"""How accuracy falls as photos get worse: takes numbers, returns a Figure."""

from __future__ import annotations

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from flowers.judge.figures import BLUE, FAINT, INK, PALE, PAPER, WIDTH
from flowers.judge.robustness import Robustness

COLUMNS = 2  # small drawings side by side: legible on a phone


def curves(result: Robustness) -> Figure:
    """A small drawing for each corruption: accuracy over strength, with its interval.

    The dashed line is the accuracy on the same photos as they are.
    """
    names = result.corruptions
    rows = -(-len(names) // COLUMNS)
    figure = Figure(
        figsize=(WIDTH, 1.55 * rows + 0.7), dpi=150, layout="constrained", facecolor=PAPER
    )
    grid = figure.subplots(rows, COLUMNS, sharex=True, sharey=True, squeeze=False)
    for axes in grid.flat[len(names) :]:
        axes.set_axis_off()
    for axes, name in zip(grid.flat, names, strict=False):
        _dress(axes)
        scores = result.of(name)
        strengths = [score.strength for score in scores]
        axes.axhline(
            result.clean.accuracy,
            color=INK,
            linestyle=(0, (4, 3)),
            linewidth=1,
            label="photos as they are",
        )
        axes.fill_between(
            strengths,
            [score.interval.low for score in scores],
            [score.interval.high for score in scores],
            color=PALE,
            alpha=0.55,
            linewidth=0,
            label="95 % interval",
        )
        axes.plot(
            strengths,
            [score.accuracy for score in scores],
            color=BLUE,
            marker=".",
            label="made worse",
        )
        axes.set_title(name, fontsize=10, color=INK, loc="left", pad=4)
        axes.grid(axis="y", color=FAINT, linewidth=0.8)
    first = grid.flat[0]
    first.set_ylim(0, 1.02)
    first.set_yticks((0, 0.5, 1))
    first.set_xticks((1, 2, 3, 4, 5))
    first.yaxis.set_major_formatter(PercentFormatter(1, decimals=0, symbol="\N{NO-BREAK SPACE}%"))
    figure.supxlabel("strength", fontsize=10, color=INK)
    handles, labels = first.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=3, frameon=False, fontsize=9)
    return figure


def _dress(axes: Axes) -> None:
    """The house's look: dark ink, faint lines, no box."""
    axes.tick_params(colors=INK, labelsize=10, length=0)
    axes.set_axisbelow(True)
    for side, spine in axes.spines.items():
        spine.set(visible=side in ("left", "bottom"), color=FAINT)
