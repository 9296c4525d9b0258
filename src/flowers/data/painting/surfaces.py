"""Petals, florets and caps as curved surfaces in space, and their colours."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

GOLDEN = np.pi * (3 - np.sqrt(5))  # radians from one floret to the next

Knots = tuple[tuple[float, float], ...]


@dataclass(frozen=True)
class Surface:
    """K patches of one kind: `xyz` and `rgb` (0-1) are [K, U, V, 3], U along and V across."""

    xyz: np.ndarray
    rgb: np.ndarray
    grain: Callable | None = None  # (u [N, 1] in 0..1, v [1, M] in -1..1) -> brightness [N, M]
    gloss: float = 0.0  # share of the light mirrored
    glow: float = 0.35  # share of the light let through
    sheer: bool = False  # hairs too fine to hide what is behind them
    under: bool = False  # seen from below only


def mix(a, b, share):
    """Goes from `a` to `b` as `share` goes from 0 to 1."""
    return a + (b - a) * share


def colour(*levels: float) -> np.ndarray:
    """RGB 0-255 as an array of 0-1."""
    return np.array(levels) / 255


def unit(vector) -> np.ndarray:
    """The vector at length 1."""
    return np.asarray(vector) / np.linalg.norm(vector)


@functools.cache
def grid(along: int, across: int) -> tuple[np.ndarray, np.ndarray]:
    """u [along, 1] from 0 to 1 and v [1, across] from -1 to 1, float32."""
    u, v = np.linspace(0, 1, along), np.linspace(-1, 1, across)
    return u[:, None].astype(np.float32), v[None].astype(np.float32)


def directions(rng, count: int, jitter: float = 0.3, start: float = 0.0) -> np.ndarray:
    """Angles around the axis, about evenly spaced: [count]."""
    return (np.arange(count) + start + jitter * rng.uniform(-0.5, 0.5, count)) * 2 * np.pi / count


def inclines(rng, count: int, first, last, *, along: int = 12, jitter: float = 0.1) -> np.ndarray:
    """Angles above the horizontal that change evenly along each blade: [count, along] radians."""
    first = np.reshape(first, (-1, 1)) + jitter * rng.uniform(-1, 1, (count, 1))
    last = np.reshape(last, (-1, 1)) + jitter * rng.uniform(-1, 1, (count, 1))
    return mix(first, last, np.linspace(0, 1, along))


def blades(
    angles, reach, width, slopes, outline: Knots, *, across=7, base=0.0, tip=0.0, wrap=0.0, cup=0.0,
    twist=0.0,
) -> np.ndarray:  # fmt: skip
    """Blades that grow out of the axis: [K, U, across, 3].

    Args:
        angles, reach, width: [K] direction around the axis, length, half width.
        slopes: [K, U] radians above the horizontal along the blade.
        outline: (place along the blade 0-1, share of the width).
        base: distance from the axis at which they begin.
        tip: how much shorter they are at their sides, as a share of the length.
        wrap: 1 bends a blade around the axis, 0 leaves it flat.
        cup: how far its sides rise, as a share of its width.
        twist: slope of the blade across its width, at its tip.
    """
    u, v = grid(slopes.shape[1], across)
    step = np.reshape(reach, (-1, 1, 1)) * (1 - tip * np.abs(v) ** 2.6) / (len(u) - 1)
    step = np.where(u > 0, step, 0)
    slope = slopes[:, :, None]
    side = np.reshape(width, (-1, 1, 1)) * np.interp(u, *np.transpose(outline)) * v
    lift = np.reshape(cup, (-1, 1, 1)) * np.abs(side * v)
    radial = np.cumsum(np.cos(slope) * step, axis=1) + np.reshape(base, (-1, 1, 1))
    height = np.cumsum(np.sin(slope) * step, axis=1) + np.reshape(twist, (-1, 1, 1)) * side * u
    height, radial = height + lift * np.cos(slope), radial - lift * np.sin(slope)
    bend = np.clip(wrap * side / np.maximum(radial, 0.03), -2.6, 2.6)
    x, y = radial * np.cos(bend), radial * np.sin(bend) + (1 - wrap) * side
    cosine, sine = np.cos(angles)[:, None, None], np.sin(angles)[:, None, None]
    return np.stack([x * cosine - y * sine, x * sine + y * cosine, height], -1)


def tint(rng, xyz, inner, outer, *, power: float = 1.0, jitter: float = 0.06) -> np.ndarray:
    """Colours from `inner` to `outer` along each blade, each blade a little lighter or darker."""
    count, along, across, _ = xyz.shape
    shade = 1 + jitter * rng.uniform(-1, 1, (count, 1, 1, 1))
    share = np.linspace(0, 1, along)[None, :, None, None] ** power
    return mix(inner, outer, share) * shade * np.ones((1, 1, across, 1))


def joined(first: Surface, *others: Surface) -> Surface:
    """Several surfaces of one kind and grid as one."""
    parts = (first, *others)
    xyz, rgb = (np.concatenate([getattr(p, name) for p in parts]) for name in ("xyz", "rgb"))
    return replace(first, xyz=xyz, rgb=rgb)


def cap(radius: float, height: float, rgb, *, lowered: float = 0.0) -> Surface:
    """A cap over the axis; with a negative height it hangs below."""
    u, v = grid(7, 25)
    x, y = radius * u * np.cos(np.pi * v), radius * u * np.sin(np.pi * v)
    xyz = np.stack([x, y, height * (1 - u**2) - lowered + 0 * v], -1)[None]
    return Surface(xyz, rgb + 0 * xyz, under=height < 0)


def florets(rng, count, radius, height, size, colours, bump=1.0) -> Surface:
    """Bumps on a dome in the spiral of Vogel (1979); colours: (share of the radius, RGB) knots."""
    share = np.sqrt((np.arange(count) + 0.5) / count)
    angle = GOLDEN * np.arange(count)
    cosine, sine = np.cos(angle)[:, None, None], np.sin(angle)[:, None, None]
    across = np.linspace(-1, 1, 4)
    u, v = across[:, None], across[None]
    hill = bump * (1 - u**2) * (1 - v**2)
    out = share[:, None, None]
    x = radius * out * cosine + size * (u * cosine - v * sine)
    y = radius * out * sine + size * (u * sine + v * cosine)
    z = height * (1 - out**2) + size * hill * rng.uniform(0.7, 1.3, (count, 1, 1))
    xyz = np.stack([x, y, z], -1)
    knots, values = zip(*colours, strict=True)
    rgb = np.stack([np.interp(share, knots, level) for level in np.transpose(values)], -1)
    rgb = (rgb * rng.uniform(0.85, 1.15, (count, 1)))[:, None, None]
    return Surface(xyz, rgb * (0.55 + 0.6 * hill[..., None] / bump), glow=0.1)


def stripes(count: int, depth: float) -> Callable:
    """Dark lines along a blade."""
    return lambda u, v: 1 - depth * (0.5 + 0.5 * np.cos(np.pi * count * v)) * (1 - 0.3 * u)


def veins(count: int, depth: float) -> Callable:
    """A light midrib, and side veins that leave it slantwise."""
    return lambda u, v: (
        1
        - depth * np.maximum(0, 4 * np.cos(2 * np.pi * count * (u - 0.25 * np.abs(v))) - 3)
        - depth * (1 - np.exp(-((v / 0.06) ** 2)))
    )


_GREENS = ((66, 104, 40), (92, 128, 52), (52, 92, 58), (104, 122, 60))


def leaf_green(rng) -> np.ndarray:
    """A green of leaves: RGB, 0-1."""
    return colour(*between(rng, _GREENS)) * rng.uniform(0.8, 1.2)


def between(rng, colours) -> np.ndarray:
    """A colour somewhere between two of the list, in the list's units."""
    first, second = rng.integers(len(colours), size=2)
    return mix(np.array(colours[first], float), np.array(colours[second], float), rng.random())
