"""Weights as integers, so that what a layer answers changes least.

Rounding each weight to its nearest step is not best: what matters is the layer's answer to the
patches it reads, whose values go up and down together. So the columns are rounded one after the
other, and what one loses is made up for by those that are still to come (Frantar et al., "GPTQ:
accurate post-training quantization for generative pre-trained transformers", ICLR 2023).
"""

from __future__ import annotations

import numpy as np

LARGEST = 127  # of an int8 weight; -128 is left out, so that both signs reach as far
_DAMPING = 0.01  # of the mean variance, added to each: photos are few, and some values never vary
_BLOCK = 128  # columns between two updates of all that follow: large products are faster


def scales(weights: np.ndarray) -> np.ndarray:
    """float32 [outputs]: a step for each output, from weights float [outputs, ...]."""
    largest = np.abs(weights).reshape(len(weights), -1).max(axis=1)
    return np.maximum(largest / LARGEST, 1e-12).astype(np.float32)


def nearest(weights: np.ndarray, steps: np.ndarray) -> np.ndarray:
    """int8 [outputs, d]: each weight of float [outputs, d] by itself, in its output's steps."""
    return np.clip(np.round(weights / steps[:, None]), -LARGEST, LARGEST).astype(np.int8)


def compensated(weights: np.ndarray, steps: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Integers whose answers to what the layer reads are near those of the weights.

    Args:
        weights: float [outputs, d].
        steps: float [outputs], of `scales`.
        second: float [d, d], mean products of the values the layer reads.

    Returns:
        int8 [outputs, d].
    """
    order = np.argsort(-np.diag(second), kind="stable")  # what counts most is rounded first
    spread = _spread(second[np.ix_(order, order)])
    if spread is None:  # nothing was read: nothing tells one rounding from another
        return nearest(weights, steps)
    left = weights[:, order].astype(np.float32)
    rounded = np.empty(weights.shape, np.int8)
    for start in range(0, len(order), _BLOCK):
        stop = min(start + _BLOCK, len(order))
        lost = np.empty((len(left), stop - start), np.float32)
        for column in range(start, stop):
            found = nearest(left[:, column : column + 1], steps)[:, 0]
            lost[:, column - start] = (left[:, column] - found * steps) / spread[column, column]
            left[:, column:stop] -= np.outer(lost[:, column - start], spread[column, column:stop])
            rounded[:, order[column]] = found
        left[:, stop:] -= lost @ spread[start:stop, stop:]
    return rounded


def _spread(second: np.ndarray) -> np.ndarray | None:
    """float32 [d, d], upper: how the loss of one column is spread over the later ones."""
    exact = second.astype(np.float64)
    mean = np.trace(exact) / len(exact)
    if not mean > 0:
        return None
    exact[np.diag_indices_from(exact)] += _DAMPING * mean
    return np.linalg.cholesky(np.linalg.inv(exact)).T.astype(np.float32)
