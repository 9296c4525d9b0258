"""A LiteRT model's convolutions in 8 bits: a third of the memory, more than twice as fast.

Weights are int8, each output channel with a scale of its own; the runtime rounds what comes in,
with a scale for each photo, and adds up in integers. No ranges are fixed beforehand, so a photo
unlike those that were measured is not clipped. All that follows the pooling, the head, the novelty
score and the heat map, stays in float32: a hundredth of the arithmetic.

Three steps keep the answers: channels are brought to like size, weights are rounded together
instead of each by itself, and what the mean patch loses all the same goes into the bias. And the
first layers, which read few channels and whose errors pass through all others, stay in float32.
docs/int8.md says what each step is worth.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from flowers.ship import rounding
from flowers.ship.equalising import equalised
from flowers.ship.litert import Convolution, Opened
from flowers.ship.patches import Reading, moments

FLOAT_FIRST = 10  # the first tenth of the convolutions stays in float32


Rule = Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]  # as `rounding.compensated`


def to_int8(model: bytes, photos: np.ndarray) -> bytes:
    """The model with most of its convolutions in int8.

    Args:
        model: a LiteRT model in float32, from photos float32 [B, S, S, 3].
        photos: uint8 [N, S, S, 3] from the training split.
    """
    return rounded(equalised(model, photos), photos, rounding.compensated)


def rounded(model: bytes, photos: np.ndarray, rule: Rule) -> bytes:
    """The model with kernels rounded by `rule`, as it is otherwise; arguments as `to_int8`."""
    opened = Opened(model)
    chosen = list(enumerate(opened.convolutions()))
    chosen = chosen[len(chosen) // FLOAT_FIRST :]
    readings = {number: _reading(opened, convolution) for number, convolution in chosen}
    read = moments(model, list(readings.values()), photos)
    for number, convolution in chosen:
        kernel, seen = opened.floats(convolution.kernel), read[readings[number]]
        flat = kernel.reshape(len(kernel), -1)  # [outputs, h * w * channels]
        scales = rounding.scales(flat)
        whole = rule(flat, scales, seen.second)
        lost = flat - whole * scales[:, None]
        # what the mean patch loses all the same
        opened.store(convolution.bias, opened.floats(convolution.bias) + lost @ seen.mean)
        opened.store_rounded(number, whole.reshape(kernel.shape), scales)
    return opened.packed()


def _reading(opened: Opened, convolution: Convolution) -> Reading:
    high, wide = opened.floats(convolution.kernel).shape[1:3]
    return Reading(convolution.read, (high, wide), convolution.stride)
