"""What a LiteRT model's convolutions read: the moments of their patches over photos."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from flowers.ship.litert import flows

PLACES = 128  # of a photo that are looked at in each layer: neighbours tell little more


@dataclass(frozen=True)
class Reading:
    """Which patches a convolution reads: `window` cells of a tensor, `stride` apart."""

    tensor: int
    window: tuple[int, int]
    stride: int


@dataclass(frozen=True, eq=False)
class Moments:
    """Of the d = h * w * channels values of a patch, in the order of the kernel's weights.

    mean: float64 [d]; second: float32 [d, d], the mean of their products.
    """

    mean: np.ndarray
    second: np.ndarray


def moments(
    model: bytes, readings: Sequence[Reading], photos: np.ndarray
) -> dict[Reading, Moments]:
    """The moments of what each convolution reads, over photos and places drawn with seed 0.

    Args:
        model: a LiteRT model in float32, from photos float32 [B, S, S, 3].
        readings: several convolutions may share one.
        photos: uint8 [N, S, S, 3].
    """
    random = np.random.default_rng(0)
    sums, products, counts = {}, {}, {}
    for tensor_of in flows(model, photos, "what convolutions read"):
        for reading in dict.fromkeys(readings):
            seen = _drawn(tensor_of(reading.tensor)[0], reading, random)
            sums[reading] = sums.get(reading, 0.0) + seen.sum(axis=0, dtype=np.float64)
            products[reading] = products.get(reading, np.float32(0)) + seen.T @ seen
            counts[reading] = counts.get(reading, 0) + len(seen)
    return {
        reading: Moments(sums[reading] / count, products[reading] / np.float32(count))
        for reading, count in counts.items()
    }


def _drawn(layer: np.ndarray, reading: Reading, random: np.random.Generator) -> np.ndarray:
    """float32 [n, d]: at most PLACES patches of one photo's layer, [h, w, channels]."""
    (high, wide), stride = reading.window, reading.stride
    edges = [(high // 2, high // 2), (wide // 2, wide // 2), (0, 0)]
    padded = np.pad(layer, edges)
    rows, columns = (padded.shape[0] - high) // stride + 1, (padded.shape[1] - wide) // stride + 1
    places = random.permutation(rows * columns)[:PLACES]
    down, across = places // columns * stride, places % columns * stride
    cells = [padded[down + row, across + column] for row in range(high) for column in range(wide)]
    return np.concatenate(cells, axis=1)
