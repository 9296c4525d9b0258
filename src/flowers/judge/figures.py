"""Every drawing: takes arrays, returns a Figure. Measures nothing, writes nothing.

Figures are made without pyplot's list of open windows, so nothing leaks and no backend is
chosen. They are 4.8 inches wide where they can be: at 10 points the text is still legible when a
phone shrinks them to 350 px. Right is blue, wrong is orange: a pair that colour-blind eyes tell
apart, and that differs in lightness when printed in grey.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
import seaborn
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter

BLUE, ORANGE, GREEN, SKY = "#0173b2", "#de8f05", "#029e73", "#56b4e9"  # seaborn's "colorblind"
PALE = "#9ccbe6"  # blue that leaves dark lines on it legible
INK, FAINT, PAPER = "#22303c", "#d9dee3", "#ffffff"
WIDTH = 4.8  # inches
ANNOTATED = 12  # classes up to which a count fits into each cell of a confusion matrix


def printable(text: object, longest: int = 0) -> str:
    """A name from outside as one line that is safe to show: no control or direction marks.

    Args:
        text: what to show; its str() is used.
        longest: characters to keep, with an ellipsis in the middle; 0 keeps all.
    """
    hidden = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}
    line = "".join("\ufffd" if unicodedata.category(c) in hidden else c for c in str(text))
    if longest and len(line) > longest:
        head = longest // 2
        line = f"{line[:head]}…{line[len(line) - (longest - head - 1) :]}"
    return line


def gallery(photos: Sequence[np.ndarray], captions: Sequence[str], columns: int = 4) -> Figure:
    """Photos in rows, each with its caption below.

    Args:
        photos: uint8 [N, S, S, 3], or N arrays [H, W, 3]; RGB.
        captions: N texts; a line break starts a second line.
        columns: photos in a row.
    """
    return _grid(photos, captions, columns, frame=FAINT)


def mistakes(photos: Sequence[np.ndarray], captions: Sequence[str], columns: int = 3) -> Figure:
    """A gallery of wrong answers, framed in the colour of mistakes. Takes what `gallery` does."""
    return _grid(photos, captions, columns, frame=ORANGE)


def confusion(matrix: np.ndarray, labels: Sequence[str]) -> Figure:
    """Truth down, prediction across: what is right in blue, what is wrong in orange.

    The shade is the share of the row, so that small classes are judged like large ones.

    Args:
        matrix: int [C, C], photos of truth [row] that were called [column].
        labels: the C names.
    """
    counts = np.asarray(matrix)
    classes = len(counts)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    side = float(np.clip(0.62 * classes + 1.3, 3.6, 10))
    figure = _figure(max(side, WIDTH), side)
    axes = figure.subplots()
    diagonal = np.eye(classes, dtype=bool)
    texts = np.where(counts > 0, counts.astype(str), "·")
    worst = max(float(shares[~diagonal].max(initial=0)), 0.08)  # a lone slip stays pale
    # seaborn chooses white or dark digits by itself on blue; on orange white is too faint
    for hidden, colour, top, digits in (
        (~diagonal, BLUE, 1.0, {}),
        (diagonal, ORANGE, worst, {"color": INK}),
    ):
        seaborn.heatmap(
            shares,
            mask=hidden,
            cmap=seaborn.blend_palette([PAPER, colour], as_cmap=True),
            vmin=0,
            vmax=top,
            annot=texts if classes <= ANNOTATED else None,
            fmt="",
            annot_kws={"fontsize": 11} | digits,
            linewidths=1.5 if classes <= ANNOTATED else 0,
            linecolor=PAPER,
            cbar=False,
            square=True,
            rasterized=classes > 30,
            xticklabels=False,
            yticklabels=False,
            ax=axes,
        )
    _dress(axes)
    names = [_label(label, 16) for label in labels]
    size = float(np.clip(300 / classes, 4, 10))
    axes.set_xticks(np.arange(classes) + 0.5, names, rotation=45, ha="right", fontsize=size)
    axes.set_yticks(np.arange(classes) + 0.5, names, rotation=0, fontsize=size)
    for text in axes.texts:
        text.set_fontweight("bold" if text.get_text() != "·" else "normal")
    axes.set_xlabel("the model said")
    axes.set_ylabel("the photo shows")
    _strip(axes, "all")
    return figure


def per_class(
    labels: Sequence[str],
    values: Sequence[float | None],
    lows: Sequence[float | None],
    highs: Sequence[float | None],
    what: str = "share of its photos that were found",
) -> Figure:
    """One bar a class with its interval as a line; classes without a value stay empty.

    Args:
        labels: C names, drawn from top to bottom.
        values: C shares, 0 to 1, or None.
        lows: C lower ends of the intervals, or None.
        highs: C upper ends.
        what: what a share is of: the text of the axis.
    """
    value, low, high = (np.array(list(part), dtype=float) for part in (values, lows, highs))
    rows = np.arange(len(labels))
    figure = _figure(WIDTH, 0.42 * len(labels) + 0.9)
    axes = figure.subplots()
    _dress(axes)
    axes.barh(rows, np.nan_to_num(value), color=PALE, height=0.62)
    known = ~np.isnan(value) & ~np.isnan(low) & ~np.isnan(high)
    axes.hlines(rows[known], low[known], high[known], color=INK, linewidth=1.8)
    axes.plot(value[known], rows[known], "o", color=INK, markersize=4)
    for row in rows:
        text = "no photos" if np.isnan(value[row]) else f"{100 * value[row]:.0f}\N{NO-BREAK SPACE}%"
        axes.text(1.02, row, text, va="center", transform=axes.get_yaxis_transform())
    axes.set_yticks(rows, [_label(label, 18) for label in labels])
    axes.set_ylim(len(labels) - 0.5, -0.5)
    axes.set_xlim(0, 1)
    axes.xaxis.set_major_formatter(PercentFormatter(1, decimals=0, symbol="\N{NO-BREAK SPACE}%"))
    axes.set_xlabel(what)
    axes.grid(axis="x", color=FAINT, linewidth=0.8)
    _strip(axes, "y")
    return figure


def learning_curves(history: pd.DataFrame) -> Figure:
    """Accuracy and loss over the epochs of all phases, one below the other.

    Args:
        history: one row an epoch in the order they ran; columns phase, epoch, loss, accuracy,
            val_loss, val_accuracy and rate. A missing value leaves a gap.
    """
    figure = _figure(WIDTH, 5.0)
    upper, lower = figure.subplots(2, 1, sharex=True)
    epochs = np.arange(1, len(history) + 1)
    for axes, name in ((upper, "accuracy"), (lower, "loss")):
        _dress(axes)
        train = pd.to_numeric(history[name]).to_numpy(float)
        held_out = pd.to_numeric(history[f"val_{name}"]).to_numpy(float)
        axes.plot(epochs, train, color=ORANGE, linestyle="--", marker=".", label="training photos")
        axes.plot(epochs, held_out, color=BLUE, marker=".", label="photos held out")
        axes.set_ylabel(name)
        axes.grid(axis="y", color=FAINT, linewidth=0.8)
    phases = history["phase"].astype(str).to_numpy()
    starts = [i for i in range(len(phases)) if i == 0 or phases[i] != phases[i - 1]]
    for start in starts:
        for axes in (upper, lower):
            axes.axvline(start + 0.5, color=FAINT, linewidth=1, zorder=0)
        upper.annotate(
            _label(phases[start], 22),
            (start + 0.5, 1),
            xycoords=("data", "axes fraction"),
            xytext=(3, 3),
            textcoords="offset points",
            fontsize=9,
        )
    upper.yaxis.set_major_formatter(PercentFormatter(1, decimals=0, symbol="\N{NO-BREAK SPACE}%"))
    upper.legend(loc="lower right", frameon=False, fontsize=9)
    lower.set_xlabel("epoch")
    lower.xaxis.set_major_locator(MaxNLocator(integer=True))
    lower.set_xlim(0.5, max(len(history), 1) + 0.5)
    return figure


def class_counts(labels: Sequence[str], counts: Mapping[str, Sequence[int]]) -> Figure:
    """How many photos each class has, stacked by part (train, validation, test).

    Args:
        labels: C names, drawn from top to bottom.
        counts: for each part its C numbers, drawn from left to right.
    """
    rows = np.arange(len(labels))
    figure = _figure(WIDTH, 0.42 * len(labels) + 1.3)
    axes = figure.subplots()
    _dress(axes)
    left = np.zeros(len(labels))
    colours = seaborn.color_palette([BLUE, SKY, ORANGE, GREEN], len(counts))
    for (part, numbers), colour in zip(counts.items(), colours, strict=True):
        axes.barh(rows, numbers, left=left, height=0.62, color=colour, label=_label(part, 20))
        left = left + np.asarray(numbers)
    for row, total in zip(rows, left, strict=True):
        axes.annotate(
            f"{total:,.0f}", (total, row), (4, 0), textcoords="offset points", va="center"
        )
    axes.set_yticks(rows, [_label(label, 18) for label in labels])
    axes.set_ylim(len(labels) - 0.5, -0.5)
    axes.set_xlim(0, max(left.max(initial=0), 1) * 1.14)
    axes.set_xlabel("photos")
    axes.grid(axis="x", color=FAINT, linewidth=0.8)
    figure.legend(loc="outside upper center", ncols=len(counts), frameon=False, fontsize=9)
    _strip(axes, "y")
    return figure


def _grid(
    photos: Sequence[np.ndarray], captions: Sequence[str], columns: int, frame: str
) -> Figure:
    if len(photos) != len(captions):
        raise ValueError(
            f"Expected one caption a photo. Received: {len(photos)} photos, "
            f"{len(captions)} captions."
        )
    columns = max(1, min(columns, len(photos)))
    rows = max(1, -(-len(photos) // columns))
    lines = max((str(caption).count("\n") + 1 for caption in captions), default=1)
    cell = WIDTH / 3 if columns > 2 else WIDTH / 2
    figure = _figure(cell * columns, (cell + 0.19 * lines) * rows)
    grid = figure.subplots(rows, columns, squeeze=False)
    for axes in grid.flat[len(photos) :]:
        axes.set_axis_off()
    for axes, photo, caption in zip(grid.flat, photos, captions, strict=False):
        _dress(axes)
        axes.imshow(photo)
        axes.set_xticks([])
        axes.set_yticks([])
        for spine in axes.spines.values():
            spine.set(visible=True, color=frame, linewidth=2)
        text = "\n".join(_label(line, 26) for line in str(caption).split("\n"))
        axes.set_xlabel(text, fontsize=9, labelpad=3)
    return figure


def _figure(width: float, height: float) -> Figure:
    return Figure(figsize=(width, height), dpi=150, layout="constrained", facecolor=PAPER)


def _dress(axes: Axes) -> None:
    """The common look: dark ink, faint lines, no box."""
    axes.set_facecolor(PAPER)
    axes.tick_params(colors=INK, labelsize=10, length=0)
    axes.xaxis.label.set(color=INK, size=10)
    axes.yaxis.label.set(color=INK, size=10)
    axes.set_axisbelow(True)
    for side, spine in axes.spines.items():
        spine.set(visible=side in ("left", "bottom"), color=FAINT)


def _strip(axes: Axes, which: str) -> None:
    """Takes away the lines that bars or cells make needless."""
    for side, spine in axes.spines.items():
        if which == "all" or side == "bottom":
            spine.set_visible(False)


def _label(text: object, longest: int) -> str:
    """A name for a drawing; a dollar sign must not start a formula."""
    return printable(text, longest).replace("$", r"\$")
