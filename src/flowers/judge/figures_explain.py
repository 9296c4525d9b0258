"""Drawings of heat maps and of similar photos. Takes arrays, returns a Figure; measures nothing.

In an overlay the photo is grey and every colour is heat, so that a red flower is not taken for a
hot place. The colours are inferno: their lightness rises evenly, so they read the same with any
colour vision. Each map is scaled to its own hottest place: colours compare places
within one photo, never two photos.
"""

from __future__ import annotations

from collections.abc import Sequence

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter
from PIL import Image

from flowers.judge.faithfulness import Curves, Faithful
from flowers.judge.figures import BLUE, FAINT, INK, ORANGE, PAPER, WIDTH, printable

STRENGTH = 0.7  # share of the heat's colour, and not of the photo, in the hottest place
PERCENT = PercentFormatter(1, decimals=0, symbol="\N{NO-BREAK SPACE}%")


def overlay(photo: np.ndarray, heat: np.ndarray, strength: float = STRENGTH) -> np.ndarray:
    """The photo in grey with its heat in colour: uint8 [H, W, 3].

    Args:
        photo: uint8 [H, W, 3], RGB.
        heat: float [h, w], at least 0; scaled to its own maximum. All zero leaves plain grey.
        strength: 0 to 1, how much of the hottest place is colour and not photo.
    """
    height, width = photo.shape[:2]
    top = float(heat.max())
    scaled = np.asarray(heat, np.float32) / (top if top > 0 else 1)
    smooth = Image.fromarray(scaled).resize((width, height), Image.Resampling.BICUBIC)
    grey = np.asarray(Image.fromarray(photo).convert("L"), np.float32) / 255
    return np.round(255 * _blend(np.asarray(smooth), grey, strength)).astype(np.uint8)


def explanation(
    photo: np.ndarray, heat: np.ndarray, label: str, probability: float, strength: float = STRENGTH
) -> Figure:
    """A photo, the same photo under its heat map, and what the colours mean.

    Args:
        photo: uint8 [H, W, 3], RGB.
        heat: float [h, w], at least 0.
        label: the class that the heat speaks for.
        probability: what the model gave it, 0 to 1.
        strength: see `overlay`.
    """
    below = 0.45  # inches for the legend
    height = WIDTH / 2 * photo.shape[0] / photo.shape[1] + 0.2 + below
    figure = _figure(WIDTH, height)
    sides = figure.subplots(1, 2)
    name = _label(label, 22)
    captions = (f"{name}, {100 * probability:.0f}\N{NO-BREAK SPACE}%", f"what speaks for {name}")
    for axes, pixels, caption in zip(
        sides, (photo, overlay(photo, heat, strength)), captions, strict=True
    ):
        _show(axes, pixels, caption, FAINT)
    # the colours as they look over a photo of medium grey
    levels = np.linspace(0, 1, 256)[None]
    legend = figure.add_axes((0.53, 0.07 / height, 0.44, 0.14 / height))
    legend.set_in_layout(False)
    legend.imshow(_blend(levels, np.full_like(levels, 0.5), strength), aspect="auto")
    legend.set_axis_off()
    figure.get_layout_engine().set(rect=(0, below / height, 1, 1 - below / height))
    for place, text, side in ((0.53, "nothing", "left"), (0.97, "most in this photo", "right")):
        words = figure.text(place, 0.26 / height, text, fontsize=9, color=INK, ha=side)
        words.set_in_layout(False)
    return figure


def faithfulness(measured: Faithful) -> Figure:
    """What happens to the probability as pixels are removed, and as they are brought back.

    Args:
        measured: what `faithfulness.faithful` gave.
    """
    figure = _figure(WIDTH, 5.0)
    panels = figure.subplots(2, 1, sharex=True, sharey=True)
    for axes, curves, verb in zip(
        panels,
        (measured.deletion, measured.insertion),
        ("turned grey", "brought back"),
        strict=True,
    ):
        _curves(axes, measured.shares, curves)
        axes.set_ylabel("probability")
        axes.set_title(f"The hottest places are {verb} first", fontsize=10, color=INK, loc="left")
    panels[0].legend(frameon=False, fontsize=9)
    panels[0].yaxis.set_major_formatter(PERCENT)
    panels[1].xaxis.set_major_formatter(PERCENT)
    panels[1].set_xlabel("share of the photo")
    panels[1].tick_params(axis="x", pad=7)  # clear of the 0 % beside it
    panels[1].set_xlim(0, 1)
    panels[1].set_ylim(0, 1)
    return figure


def neighbours(
    photo: np.ndarray, similar: Sequence[np.ndarray], captions: Sequence[str], columns: int = 3
) -> Figure:
    """A photo, framed in blue, and those most similar to it.

    Args:
        photo: uint8 [H, W, 3], RGB.
        similar: the k photos, the most similar first.
        captions: 1 + k texts, that of the photo first; a line break starts a second line.
        columns: photos in a row.
    """
    photos = [photo, *similar]
    if len(photos) != len(captions):
        raise ValueError(
            f"Expected one caption a photo. Received: {len(photos)} photos, "
            f"{len(captions)} captions."
        )
    rows = -(-len(photos) // columns)
    lines = max(str(caption).count("\n") + 1 for caption in captions)
    cell = WIDTH / columns if columns <= 3 else WIDTH / 3
    figure = _figure(cell * columns, (cell + 0.19 * lines) * rows)
    grid = figure.subplots(rows, columns, squeeze=False).flat
    for axes in grid[len(photos) :]:
        axes.set_axis_off()
    for number, (axes, pixels) in enumerate(zip(grid, photos, strict=False)):
        text = "\n".join(_label(line, 26) for line in str(captions[number]).split("\n"))
        _show(axes, pixels, text, BLUE if number == 0 else FAINT)
    return figure


def _blend(level: np.ndarray, grey: np.ndarray, strength: float) -> np.ndarray:
    """float [H, W, 3], 0 to 1: the colour of each level, 0 to 1, over grey, 0 to 1.

    The share of colour rises with the level, so that a photo stays clear where nothing speaks.
    """
    level = np.clip(level, 0, 1)
    colour = matplotlib.colormaps["inferno"](level)[..., :3]
    share = strength * np.sqrt(level)[..., None]
    return (1 - share) * grey[..., None] + share * colour


def _curves(axes: Axes, shares: Sequence[float], curves: Curves) -> None:
    for curve, name, look in (
        (curves.maps, "heat map", {"color": BLUE, "marker": "."}),
        (curves.blob, "middle first", {"color": ORANGE, "linestyle": "--"}),
        (curves.chance, "elsewhere", {"color": INK, "linestyle": ":"}),
    ):
        axes.plot(shares, curve, label=name, **look)
    _dress(axes)
    axes.grid(axis="y", color=FAINT, linewidth=0.8)


def _show(axes: Axes, pixels: np.ndarray, caption: str, frame: str) -> None:
    _dress(axes)
    axes.imshow(pixels)
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set(visible=True, color=frame, linewidth=2)
    axes.set_xlabel(caption, fontsize=9, labelpad=3)


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


def _label(text: object, longest: int) -> str:
    """A name for a drawing; a dollar sign must not start a formula."""
    return printable(text, longest).replace("$", r"\$")
