"""A network that no longer learns, with each BatchNorm inside the convolution before it.

A BatchNorm whose statistics are held multiplies every channel and adds to it: that is a convolution
with other weights (Jacob et al. 2018, section 3.2). Keras computes it as steps of their own, which
read and write every feature map twice more, and on a CPU with fast products that is the larger part
of the time (benchmarks/NOTES.md).
"""

from __future__ import annotations

import keras
import numpy as np
from keras import layers


def folded(model: keras.Model) -> keras.Model:
    """A copy that answers the same as `model` in inference, but for rounding, and faster.

    Only a BatchNorm that alone reads a convolution without an activation is folded; any other
    stays. The copy keeps its weights when the model learns on.

    Args:
        model: a functional model; its names and its outputs' order are kept.
    """
    inside = _foldable(model)

    def call(layer: layers.Layer, *args, **kwargs):
        return args[0] if layer.name in inside else layer(*args, **kwargs)

    def copy(layer: layers.Layer) -> layers.Layer:
        settings = layer.get_config()
        if any(before.name == layer.name for before in inside.values()):
            settings["use_bias"] = True
        return type(layer).from_config(settings)

    new = keras.models.clone_model(model, clone_function=copy, call_function=call)
    norms = {before.name: model.get_layer(name) for name, before in inside.items()}
    for layer in new.layers:
        if layer.name in norms:
            layer.set_weights(_weights(model.get_layer(layer.name), norms[layer.name]))
        elif layer.weights:
            layer.set_weights(model.get_layer(layer.name).get_weights())
    return new


def _foldable(model: keras.Model) -> dict[str, layers.Conv2D]:
    """The convolution before each BatchNorm that can go into it, by the BatchNorm's name."""
    read = [tensor for layer in model.layers for tensor in _inputs(layer, model)]
    found = {}
    for layer in model.layers:
        if not isinstance(layer, layers.BatchNormalization):
            continue
        (tensor,) = _inputs(layer, model)
        before = tensor._keras_history.operation
        alone = sum(other is tensor for other in (*read, *model.outputs)) == 1
        plain = type(before) is layers.Conv2D and before.activation is keras.activations.linear
        if alone and plain and before in model.layers:
            found[layer.name] = before
    return found


def _inputs(layer: layers.Layer, model: keras.Model) -> list:
    """The tensors that a layer reads within `model`; it may stand in other models too."""
    within = {id(node) for nodes in model._nodes_by_depth.values() for node in nodes}
    nodes = [node for node in layer._inbound_nodes if id(node) in within]
    return [tensor for node in nodes for tensor in node.input_tensors]


def _weights(convolution: layers.Conv2D, norm: layers.BatchNormalization) -> list[np.ndarray]:
    """Kernel [height, width, in, out] and bias [out] of both together."""
    kernel, *bias = convolution.get_weights()
    mean, variance = np.asarray(norm.moving_mean), np.asarray(norm.moving_variance)
    scale = (np.asarray(norm.gamma) if norm.scale else 1.0) / np.sqrt(variance + norm.epsilon)
    shift = np.asarray(norm.beta) if norm.center else 0.0
    return [kernel * scale, (sum(bias) - mean) * scale + shift]
