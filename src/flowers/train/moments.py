"""Mean and deviation of more rows than memory holds, to the numbers that numpy gives for all."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np


def moments(parts: Callable[[], Iterator[np.ndarray]]) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation of each column.

    numpy adds the rows of an array one after another, in the array's own precision. The same is
    done here across parts, so the result is that of `mean(axis=0)` and `std(axis=0)` of all rows.

    Args:
        parts: gives the rows part by part, float32 [b, channels] in C order; is asked twice.

    Returns:
        float32 [channels], twice.
    """
    count, total = _sum(parts())
    mean = total / np.float32(count)

    def squares() -> Iterator[np.ndarray]:
        for part in parts():
            difference = part - mean
            yield difference * difference

    _, spread = _sum(squares())
    return mean, np.sqrt(spread / np.float32(count))


def _sum(parts: Iterator[np.ndarray]) -> tuple[int, np.ndarray]:
    """How many rows there are, and their sum."""
    count, total = 0, None
    for part in parts:
        rows = part if total is None else np.concatenate([total[None], part])
        count, total = count + len(part), np.add.reduce(rows, axis=0)
    return count, total
