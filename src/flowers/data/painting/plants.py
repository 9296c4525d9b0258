"""How each species stands: its leaves, its stem, and a vase to put it in."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from flowers.data.painting import heads
from flowers.data.painting.grounds import MUTED, PETALS
from flowers.data.painting.surfaces import (
    Knots,
    Surface,
    between,
    blades,
    directions,
    grid,
    inclines,
    leaf_green,
    stripes,
    tint,
    veins,
)


@dataclass(frozen=True)
class Habit:
    """How a species stands: its head, its leaves, its stem; lengths in radii of the head."""

    head: Callable[[np.random.Generator], list[Surface]]
    leaves: int
    reach: float  # of a leaf
    width: float  # of a leaf, half
    outline: Knots  # of a leaf
    slopes: tuple[float, float]  # of a leaf, radians above the horizontal
    cup: float  # of a leaf
    node: float  # how far below the head the leaves grow
    stem: float  # half width
    low: float  # where the stem meets the head, below its middle
    nods: bool  # turns to the viewer
    grain: Callable
    views: tuple[float, float, float]  # shares seen from above, tilted, from the side


def _teeth(shape: Callable, count: int, depth: float) -> Knots:
    """An outline with teeth that point to the tip."""
    places = np.linspace(0, 1, 4 * count + 1)
    ramp = 1 - depth * (1 - np.arange(4 * count + 1) % 4 / 3)
    return tuple((float(x), float(shape(x) * y) + 0.02) for x, y in zip(places, ramp, strict=True))


HABITS = {
    "daisy": Habit(
        heads.daisy, 6, 1.0, 0.13, ((0, 0.3), (0.4, 0.45), (0.75, 1), (0.92, 0.8), (1, 0.2)),
        (1.0, 0.2), 0.3, 1.8, 0.05, 0.12, True, veins(7, 0.1), (0.36, 0.34, 0.30),
    ),
    "dandelion": Habit(
        heads.dandelion, 8, 2.0, 0.32, _teeth(lambda x: (0.3 + 0.7 * x) * (1 - x**6), 7, 0.6),
        (0.5, -0.3), 0.25, 1.9, 0.055, 0.12, True, veins(7, 0.1), (0.36, 0.34, 0.30),
    ),
    "rose": Habit(
        heads.rose, 7, 1.25, 0.42, _teeth(lambda x: np.sin(np.pi * x**0.8), 8, 0.16),
        (0.35, -0.35), 0.3, 0.55, 0.07, 0.12, True, veins(8, 0.1), (0.36, 0.38, 0.26),
    ),
    "sunflower": Habit(
        heads.sunflower, 5, 1.5, 0.62,
        ((0, 0.06), (0.12, 0.1), (0.16, 0.8), (0.35, 1), (0.7, 0.55), (1, 0.03)),
        (0.4, -0.7), 0.2, 0.8, 0.085, 0.12, True, veins(6, 0.1), (0.36, 0.34, 0.30),
    ),
    "tulip": Habit(
        heads.tulip, 3, 3.0, 0.36, ((0, 0.6), (0.3, 1), (0.7, 0.7), (1, 0.03)),
        (1.35, 0.75), 0.9, 2.7, 0.085, 0.8, False, stripes(9, 0.08), (0.13, 0.35, 0.52),
    ),
}  # fmt: skip


def leaves(rng, habit: Habit) -> Surface:
    """The leaves of one plant, around its axis."""
    count, green = habit.leaves - int(rng.integers(0, 3)), leaf_green(rng)
    along = max(12, len(habit.outline))
    xyz = blades(
        directions(rng, count, 0.7, rng.random()),
        habit.reach * rng.uniform(0.75, 1.15, count),
        habit.width * rng.uniform(0.85, 1.15, count),
        inclines(rng, count, *habit.slopes, along=along, jitter=0.25),
        habit.outline, cup=habit.cup, twist=rng.uniform(-0.25, 0.25, count), base=0.08,
    )  # fmt: skip
    rgb = tint(rng, xyz, green * 0.85, green, jitter=0.2)
    return Surface(xyz, rgb, habit.grain, gloss=0.25, glow=0.3)


def stem(curve: np.ndarray, width: float, rgb) -> Surface:
    """A tube along a quadratic Bezier curve [3, 3] in camera space, as seen from the front."""
    t, v = np.linspace(0, 1, 14)[:, None], np.linspace(-1, 1, 5)[:, None]
    line = (1 - t) ** 2 * curve[0] + 2 * t * (1 - t) * curve[1] + t**2 * curve[2]
    along = np.gradient(line, axis=0)
    side = np.stack([-along[:, 1], along[:, 0], 0 * along[:, 0]], -1)
    side /= np.linalg.norm(side, axis=-1, keepdims=True) + 1e-6
    bulge = np.sqrt(1 - v**2) * [0, 0, width]
    xyz = (line[:, None] + v * width * side[:, None] + bulge)[None]
    return Surface(xyz, rgb + 0 * xyz, gloss=0.1)


def vase(rng, mouth: np.ndarray) -> Surface:
    """The front of a vase in camera space, below its mouth."""
    u, v = grid(16, 9)
    neck, belly = rng.uniform(0.05, 0.08), rng.uniform(0.08, 0.16)
    shape = ((0, neck), (0.15, neck - 0.01), (0.5, belly), (0.8, 0.8 * belly), (1, 0.06))
    radius = np.interp(u, *np.transpose(shape))
    xyz = np.stack([
        radius * v, -0.34 * u + 0 * v, 0.1 + radius * np.sqrt(1 - v**2)
    ], -1)[None] + mouth  # fmt: skip
    tone = between(rng, (*MUTED, PETALS[2])) / 255 * rng.uniform(0.8, 1.3)
    return Surface(xyz, tone + 0 * xyz, gloss=0.5, glow=0.1)
