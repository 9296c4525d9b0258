"""How strong a training signal reaches each layer: the norm of the gradient by depth."""

from __future__ import annotations

import keras
import numpy as np

from flowers.model.resnet import convolutions

_RATE = 1024.0  # so large that the step stands out of the weights' rounding, and exact to divide by


def norms(model: keras.Model, photos: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """The norm of the loss's gradient with respect to the kernel of each convolution.

    One step of plain gradient descent moves the weights by the rate times the gradient, so the
    gradient is read off the weights, on any backend. The model keeps its weights, and loses
    its compilation.

    Args:
        model: a network of `model.resnet`, or a classifier on one; its output is a softmax.
        photos: [B, size, size, 3], one batch.
        labels: int [B].

    Returns:
        float64 [L], from the first convolution to the last; shortcuts' projections are left out.
    """
    weights = model.get_weights()
    layers = convolutions(model)
    before = [keras.ops.convert_to_numpy(layer.kernel).astype(np.float64) for layer in layers]
    model.compile(optimizer=keras.optimizers.SGD(_RATE), loss="categorical_crossentropy")
    model.train_on_batch(photos, np.eye(model.output_shape[-1], dtype=np.float32)[labels])
    after = [keras.ops.convert_to_numpy(layer.kernel).astype(np.float64) for layer in layers]
    model.set_weights(weights)
    moves = zip(before, after, strict=True)
    return np.array([np.linalg.norm(old - new) / _RATE for old, new in moves])
