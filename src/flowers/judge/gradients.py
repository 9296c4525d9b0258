"""How strongly, and how consistently, each layer of a network is asked to change."""

from __future__ import annotations

from collections.abc import Sequence

import keras
import numpy as np

from flowers.model.resnet import convolutions

_RATE = 1024.0  # so large that the step stands out of the weights' rounding, and exact to divide by


def of_kernels(model: keras.Model, photos: np.ndarray, labels: np.ndarray) -> list[np.ndarray]:
    """The gradient of the loss with respect to the kernel of each convolution.

    One step of plain gradient descent moves the weights by the rate times the gradient, so the
    gradient is read off the weights, on any backend. BatchNorm uses the statistics of these photos,
    as in training. The model keeps its weights, and loses its compilation.

    Args:
        model: a network of `model.resnet`, or a classifier on one; its output is a softmax.
        photos: [B, size, size, 3], one batch.
        labels: int [B].

    Returns:
        One float64 array a convolution, from the first to the last; shortcuts' projections are
        left out (`model.resnet.convolutions`).
    """
    weights = model.get_weights()
    layers = convolutions(model)
    before = [keras.ops.convert_to_numpy(layer.kernel).astype(np.float64) for layer in layers]
    # Eagerly: for a single step, tracing a deep network takes longer than the step.
    descent = keras.optimizers.SGD(_RATE)
    model.compile(optimizer=descent, loss="categorical_crossentropy", run_eagerly=True)
    model.train_on_batch(photos, np.eye(model.output_shape[-1], dtype=np.float32)[labels])
    after = [keras.ops.convert_to_numpy(layer.kernel).astype(np.float64) for layer in layers]
    model.set_weights(weights)
    return [(old - new) / _RATE for old, new in zip(before, after, strict=True)]


def norms(gradients: Sequence[np.ndarray]) -> np.ndarray:
    """How strong a signal reaches each layer: the norm of each gradient, float64 [L]."""
    return np.array([np.linalg.norm(gradient) for gradient in gradients])


def agreement(one: Sequence[np.ndarray], other: Sequence[np.ndarray]) -> np.ndarray:
    """The cosine between the gradients of two batches, layer by layer: float64 [L], -1 to 1.

    Near 1 both batches ask for the same change; near 0 the gradient is noise, and steps along it
    lead nowhere ("shattered gradients", Balduzzi et al. 2017, arXiv 1702.08591).
    """
    products = [np.vdot(a, b) for a, b in zip(one, other, strict=True)]
    return np.array(products) / np.maximum(norms(one) * norms(other), 1e-30)
