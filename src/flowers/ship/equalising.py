"""Channels brought to like size before they are rounded, without changing any answer.

The runtime rounds all channels of a layer's input with one scale, so a single loud channel leaves
few steps for the others. Where one convolution feeds others through a ReLU, a channel can be made
s times quieter in the first and its weights s times larger in the next: max(x, 0) / s is
max(x / s, 0). With s = sqrt(largest input / largest weight) both are rounded about as finely.

Sources: Nagel et al., "Data-free quantization through weight equalization and bias correction",
ICCV 2019; Xiao et al., "SmoothQuant", ICML 2023, for weighing inputs against weights.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from flowers.ship.litert import Convolution, Opened, flows

_FAINTEST = 1e-3  # of the loudest: channels below it, often all zero, count as this loud


def equalised(model: bytes, photos: np.ndarray) -> bytes:
    """The same function of a photo, with convolutions that round better.

    Args:
        model: a LiteRT model in float32, from photos float32 [B, S, S, 3].
        photos: uint8 [N, S, S, 3] from the training split.
    """
    opened = Opened(model)
    pairs = list(_pairs(opened))
    loudest: dict[int, np.ndarray] = {}
    for tensor_of in flows(model, photos, "how loud channels are"):
        for first, _ in pairs:
            now = tensor_of(first.written).max(axis=(0, 1, 2))
            loudest[first.written] = np.maximum(loudest.get(first.written, now), now)
    for first, readers in pairs:
        weights = [np.abs(opened.floats(reader.kernel)).max(axis=(0, 1, 2)) for reader in readers]
        scale = _scale(loudest[first.written], np.max(weights, axis=0))  # [channels]
        kernel = opened.floats(first.kernel) / scale[:, None, None, None]
        opened.store(first.kernel, kernel)
        opened.store(first.bias, opened.floats(first.bias) / scale)
        for reader in readers:
            opened.store(reader.kernel, opened.floats(reader.kernel) * scale)
    return opened.packed()


def _pairs(opened: Opened) -> Iterator[tuple[Convolution, list[Convolution]]]:
    """Convolutions with a ReLU that are read by convolutions alone, and these."""
    convolutions = opened.convolutions()
    for first in convolutions:
        readers = [other for other in convolutions if other.read == first.written]
        if first.relu and readers and opened.readers(first.written) == len(readers):
            yield first, readers


def _scale(inputs: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """float [channels], with a geometric mean of 1: how much quieter each channel becomes."""
    loud, large = (np.maximum(x, _FAINTEST * max(x.max(), 1e-12)) for x in (inputs, weights))
    scale = np.sqrt(loud / large)
    return scale / np.exp(np.log(scale).mean())
