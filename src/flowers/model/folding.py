"""A network that no longer learns, with each BatchNorm inside the convolution before it.

A BatchNorm whose statistics are held multiplies every channel and adds to it: that is a convolution
with other weights (Jacob et al. 2018, section 3.2). Keras computes it as steps of their own, which
read and write every feature map twice more, and on a CPU with fast products that is the larger part
of the time (benchmarks/NOTES.md).
"""

from __future__ import annotations

from collections import Counter

import keras
import numpy as np
from keras import layers


def folded(model: keras.Model) -> keras.Model:
    """A copy that answers the same as `model` in inference, but for rounding, and faster.

    Only a BatchNorm that alone reads a convolution without an activation is folded, where both
    are called once; any other stays. The copy keeps its weights when the model learns on.

    Args:
        model: a functional model; its names and its outputs' order are kept.
    """
    inside = _foldable(model)
    norms = {before: norm for norm, before in inside.items()}

    def call(layer: layers.Layer, *args, **kwargs):
        return args[0] if layer.name in inside else layer(*args, **kwargs)

    def copy(layer: layers.Layer) -> layers.Layer:
        settings = layer.get_config()
        if layer.name in norms:
            settings["use_bias"] = True
        return type(layer).from_config(settings)

    new = keras.models.clone_model(model, clone_function=copy, call_function=call)
    for layer in new.layers:
        if layer.weights:
            own = model.get_layer(layer.name)
            norm = norms.get(layer.name)
            layer.set_weights(_weights(own, model.get_layer(norm)) if norm else own.get_weights())
    return new


def _foldable(model: keras.Model) -> dict[str, str]:
    """The names of the BatchNorms that can be folded, each with that of its convolution."""
    # a layer may stand in other models too: only what it reads in this one counts
    nodes = [node for nodes in model._nodes_by_depth.values() for node in nodes]
    readers = Counter(id(tensor) for node in nodes for tensor in node.input_tensors)
    readers.update(id(tensor) for tensor in model.outputs)
    calls = Counter(id(node.operation) for node in nodes)
    found = {}
    for node in nodes:
        if not isinstance(node.operation, layers.BatchNormalization):
            continue
        (tensor,) = node.input_tensors
        before = tensor._keras_history.operation
        plain = type(before) is layers.Conv2D and before.activation is keras.activations.linear
        once = readers[id(tensor)] == calls[id(before)] == calls[id(node.operation)] == 1
        if plain and once and before in model.layers:
            found[node.operation.name] = before.name
    return found


def _weights(convolution: layers.Conv2D, norm: layers.BatchNormalization) -> list[np.ndarray]:
    """Kernel [height, width, in, out] and bias [out] of both together."""
    kernel, *bias = convolution.get_weights()
    mean, variance = np.asarray(norm.moving_mean), np.asarray(norm.moving_variance)
    scale = (np.asarray(norm.gamma) if norm.scale else 1.0) / np.sqrt(variance + norm.epsilon)
    shift = np.asarray(norm.beta) if norm.center else 0.0
    return [kernel * scale, (sum(bias) - mean) * scale + shift]
