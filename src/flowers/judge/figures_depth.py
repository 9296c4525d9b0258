"""What depth does to plain and to residual networks: takes numbers, returns a Figure.

Names begin with "plain" or "resnet" and end in the depth. Plain is orange, residual blue; the
deeper of two is the solid line.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter

from flowers.judge.figures import BLUE, FAINT, INK, ORANGE, PAPER, WIDTH

_LINES = ("-", (0, (4, 2)), (0, (1, 1.5)))  # from the deepest on


def gradient_flow(norms: Mapping[str, Sequence[float]]) -> Figure:
    """The gradient's norm in each layer, on a logarithmic scale.

    Args:
        norms: name -> one norm a convolution, first to last; see `judge.gradients.norms`.
    """
    figure = _figure(3.4)
    axes = figure.subplots()
    _dress(axes)
    for name, row in norms.items():
        place = np.linspace(0, 1, len(row))  # so that depths can be compared
        axes.plot(place, np.asarray(row, float), label=_called(name), **_style(name, list(norms)))
    axes.set_yscale("log")
    axes.set_xticks([0, 1], ["first layer", "last layer"])
    axes.set_ylabel("norm of the gradient")
    axes.grid(axis="y", color=FAINT, linewidth=0.8)
    figure.legend(loc="outside upper center", ncols=2, frameon=False, fontsize=9)
    return figure


def curves(histories: Mapping[str, pd.DataFrame]) -> Figure:
    """Loss on the training photos and accuracy on those held out, over the epochs.

    Args:
        histories: name -> one row an epoch with the columns loss and val_accuracy.
    """
    figure = _figure(5.0)
    upper, lower = figure.subplots(2, 1, sharex=True)
    for axes, column in ((upper, "loss"), (lower, "val_accuracy")):
        _dress(axes)
        for name, table in histories.items():
            epochs = np.arange(1, len(table) + 1)
            label = _called(name) if axes is upper else None
            style = _style(name, list(histories))
            axes.plot(epochs, table[column].to_numpy(float), marker=".", label=label, **style)
        axes.grid(axis="y", color=FAINT, linewidth=0.8)
    upper.set_ylabel("loss, training photos")
    lower.set_ylabel("accuracy, photos held out")
    lower.yaxis.set_major_formatter(PercentFormatter(1, decimals=0, symbol="\N{NO-BREAK SPACE}%"))
    lower.xaxis.set_major_locator(MaxNLocator(integer=True))
    lower.set_xlabel("epoch")
    figure.legend(loc="outside upper center", ncols=2, frameon=False, fontsize=9)
    return figure


def _called(name: str) -> str:
    """ "plain56" as "plain, 56 layers"."""
    kind, depth = re.fullmatch(r"(\D+)(\d+)", name).groups()
    return f"{'residual' if kind == 'resnet' else kind}, {depth} layers"


def _style(name: str, names: Sequence[str]) -> dict[str, object]:
    depths = sorted({int(re.search(r"\d+", one)[0]) for one in names}, reverse=True)
    place = depths.index(int(re.search(r"\d+", name)[0]))
    colour = ORANGE if name.startswith("plain") else BLUE
    return {"color": colour, "linestyle": _LINES[min(place, len(_LINES) - 1)], "linewidth": 1.8}


def _figure(height: float) -> Figure:
    return Figure(figsize=(WIDTH, height), dpi=150, layout="constrained", facecolor=PAPER)


def _dress(axes: Axes) -> None:
    """The house's look: dark ink, faint lines, no box."""
    axes.tick_params(colors=INK, labelsize=10, length=0)
    axes.set_axisbelow(True)
    for side, spine in axes.spines.items():
        spine.set(visible=side in ("left", "bottom"), color=FAINT)
