"""Light, and the depth buffer that surfaces are drawn into.

A surface is a coarse grid of points. It is lit there, then stretched linearly until there is at
least one sample for every cell of a buffer finer than the picture; in each cell the nearest sample
stays. Depth then gives soft shadows between petals, after Luft, Colditz and Deussen 2006, "Image
enhancement by unsharp masking the depth buffer".
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from PIL import Image

from flowers.data.painting.surfaces import Surface, unit

_CLOSENESS = 1.1  # samples of a surface along one cell; below, holes show
_BATCH = 40_000  # samples in work at once, so that they stay in the processor's cache
_PRODUCT = 250_000  # multiplications in one matrix product: OpenBLAS splits above 262,144
_FAR = 2.0  # picture widths: depths beyond are cut off


@dataclass(frozen=True)
class Light:
    """A sun and a sky: `way` is the unit vector towards the sun, the colours are RGB, 1 = white."""

    way: np.ndarray
    sun: np.ndarray
    sky: np.ndarray


def _lit(surface: Surface, light: Light) -> np.ndarray:
    """The colours under the light: Lambert on both sides, and some light from behind."""
    normal = np.cross(np.gradient(surface.xyz, axis=1), np.gradient(surface.xyz, axis=2))
    normal /= np.linalg.norm(normal, axis=-1, keepdims=True) + 1e-12
    normal *= np.where(normal[..., 2:] < 0, -1, 1)
    facing = normal @ light.way
    through = 0.5 * surface.glow * (1 - 0.5 * np.abs(facing))
    front = np.maximum(np.maximum(0.25 * facing + 0.25, facing), 0)  # softened past the edge
    front = (front * (1 - 0.5 * surface.glow) + through)[..., None]
    dome = 0.62 + 0.19 * normal[..., 1:2] + 0.19 * normal[..., 2:]
    mirror = np.maximum(normal @ unit(light.way + np.array([0, 0, 1])), 0)[..., None] ** 20
    rgb = surface.rgb.astype(np.float32) * (light.sun * front + light.sky * dome)
    return rgb + surface.gloss * mirror * light.sun if surface.gloss else rgb


def _spread(lengths: np.ndarray) -> np.ndarray:
    """Places on a grid, in its units, that are evenly spaced over segments of these lengths."""
    ends = np.append(0, np.cumsum(lengths))
    count = max(2, int(ends[-1] * _CLOSENESS + 1.6))
    return np.interp(np.linspace(0, ends[-1], count), ends, np.arange(len(ends)))


def _weights(place: np.ndarray, count: int) -> np.ndarray:
    """The matrix [N, count] that interpolates `count` values linearly at N places."""
    return np.maximum(0, 1 - np.abs(place[:, None] - np.arange(count))).astype(np.float32)


def _stretched(field: np.ndarray, u: np.ndarray, v: np.ndarray) -> Iterator:
    """Interpolates [6, K, U, V] at places u and v: pieces [6, k, n, V'], and which rows they are.

    No matrix product is so large that a library would split it among threads: the photos are
    split among them, and threads that wait for each other cost more than they bring.
    """
    _, count, along, across = field.shape
    up, over = _weights(u, along), _weights(v, across)
    if along * across <= 16:  # small patches: both directions in one product
        both = (up[:, None, :, None] * over[:, None]).reshape(-1, along * across).T
        flat, some = field.reshape(6, count, -1), max(1, _PRODUCT // both.size)
        for first in range(0, count, some):
            piece = flat[:, first : first + some] @ both
            yield piece.reshape(6, -1, len(u), len(v)), slice(None)
        return
    wide, some = field @ over.T, max(1, _PRODUCT // (along * len(v)))
    for first in range(0, len(u), some):
        rows = slice(first, first + some)
        yield up[rows] @ wide, rows


class Canvas:
    """A depth buffer: each cell holds 16 bits of depth above 24 bits of colour."""

    def __init__(self, size: int, fineness: float):
        self.size, self.cells = size, round(size * fineness)
        self.buffer = np.zeros(self.cells**2, "<u8")
        self.mist = np.zeros((2, self.cells**2), np.float32)  # hairs: how many, how bright
        self.used = False

    def draw(self, surface: Surface, light: Light) -> None:
        """Adds a surface given in camera space."""
        place = np.moveaxis(surface.xyz, -1, 0) * np.reshape([1, -1, 1], (3, 1, 1, 1))
        place[:2] = (place[:2] + 0.5) * self.cells
        place[2] = (np.clip(place[2], -_FAR, _FAR) + _FAR) * (65535 / (2 * _FAR))
        low, high = place[:2].min((2, 3)), place[:2].max((2, 3))
        near = ((high > 0) & (low < self.cells)).all(0)
        if not near.any():
            return
        self.used = True
        whole = bool((low > 0).all() and (high < self.cells).all())
        colour = np.moveaxis(np.clip(_lit(surface, light) * 255, 0, 255), -1, 0)
        field = np.concatenate([place, colour]).astype(np.float32)[:, near]
        along = np.hypot(*np.diff(field[:2], axis=2)).max(2)  # [K, U - 1] cells
        across = np.hypot(*np.diff(field[:2], axis=3)).max(1)  # [K, V - 1]
        some = max(1, int(_BATCH / (along.sum(1).max() * across.sum(1).max() + 1)))
        for first in range(0, field.shape[1], some):  # neighbours are of about the same size
            part = slice(first, first + some)
            u, v = _spread(along[part].max(0)), _spread(across[part].max(0))
            if surface.grain is not None:
                above, beside = u / along.shape[1], v / across.shape[1] * 2 - 1
                tone = surface.grain(above[:, None].astype("f4"), beside[None].astype("f4"))
                tone = np.minimum(tone, 1)
            for samples, rows in _stretched(field[:, part], u, v):
                if surface.grain is not None:
                    samples[3:] *= tone[rows]
                self._drop(samples.reshape(6, -1), whole, surface.sheer)

    def _drop(self, samples: np.ndarray, whole: bool, sheer: bool) -> None:
        """Puts samples [6, N] (x, y, depth, red, green, blue) where they are the nearest."""
        if not whole:
            inside = (samples[:2].min(0) >= 0) & (samples[:2].max(0) < self.cells)
            samples = samples[:, inside]
        where = samples[1].astype(np.intp)
        where *= self.cells
        where += samples[0].astype(np.intp)
        if sheer:
            np.add.at(self.mist[0], where, np.float32(1))
            np.add.at(self.mist[1], where, samples[4])
            return
        key = np.zeros((samples.shape[1], 8), np.uint8)
        for channel in range(3):
            key[:, channel] = samples[3 + channel]
        key.view("<u2")[:, 2] = samples[2]
        np.maximum.at(self.buffer, where, key.view("<u8")[:, 0])

    def layer(self, scale: float, way: np.ndarray) -> np.ndarray:
        """The picture [size, size, 4]: float32 RGBA, 0-255, colours multiplied by alpha.

        Args:
            scale: radius of a flower in picture widths, the measure of the shadows.
            way: unit vector towards the sun.
        """
        depth = self.buffer.view("<u2").reshape(self.cells, self.cells, 4)[..., 2]
        rgba = self.buffer.view("<u4")[::2].copy().view(np.uint8)
        rgba[3::4] = (depth.reshape(-1) > 0) * np.uint8(255)
        image = Image.frombytes("RGBa", depth.shape, rgba.tobytes())
        picture = np.asarray(image.resize((self.size, self.size), Image.BILINEAR), np.float32)
        alpha = picture[..., 3:]  # a pixel nearly covered counts as covered: closes pin holes
        picture = picture * (np.minimum(alpha * 1.2, 255) / np.maximum(alpha, 1))
        place = np.arange(self.size) * self.cells // self.size
        nearest = depth[place][:, place]  # and of the next cell, should this one be a pin hole
        place = np.minimum(place + 1, self.cells - 1)
        nearest = np.maximum(nearest, depth[place][:, place]).astype(np.float32)
        picture[..., :3] *= _shadows(nearest * (2 * _FAR / 65535), scale, way)[..., None]
        if self.mist.any():
            self._add_mist(picture)
        return picture

    def _add_mist(self, picture: np.ndarray) -> None:
        planes = self.mist.reshape(2, self.cells, self.cells)
        size = (self.size, self.size)
        count, bright = (np.asarray(Image.fromarray(p).resize(size, Image.BOX)) for p in planes)
        # A hair is one cell wide here; its true width is a share of the picture's.
        cover = 1 - np.exp(-1.1 * count * self.cells / 448)
        picture *= 1 - cover[..., None]
        picture[..., :3] += (cover * bright / np.maximum(count, 1e-3))[..., None]
        picture[..., 3] += cover * 255


def _shadows(depth: np.ndarray, scale: float, way: np.ndarray) -> np.ndarray:
    """Light that reaches each pixel, 0-1, from how much nearer its surroundings are."""
    mask, size, shade = (depth > 0).astype(np.float32), len(depth), np.zeros_like(depth)
    for reach, weight, shift in ((0.3, 0.4, 0.0), (0.1, 0.8, 0.0), (0.13, 0.7, 0.16)):
        around = _soften(depth, reach * scale) / (_soften(mask, reach * scale) + 1e-3)
        if shift:  # what stands towards the sun shades what lies behind it
            step = shift * scale * size
            around = np.roll(around, (round(step * way[1]), round(-step * way[0])), (0, 1))
        shade += weight * np.maximum(around - depth, 0)
    return np.where(depth > 0, np.exp(-2.0 * np.minimum(shade / scale, 0.7)), 1)


def _soften(values: np.ndarray, reach: float) -> np.ndarray:
    """Blurs float32 [N, N] over `reach` picture widths, by shrinking and enlarging."""
    full, small = values.shape, max(4, round(1 / reach))
    if small >= len(values) // 2:
        return values
    image = Image.fromarray(values[::2, ::2]).resize((small, small), Image.BILINEAR)
    return np.asarray(image.resize(full, Image.BILINEAR))
