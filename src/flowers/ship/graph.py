"""The graph that ships: one photo in; probabilities, novelty, heat map and features out.

It consists of plain Keras layers and operations, so that it saves, reloads in safe mode and turns
into ONNX and LiteRT as it is. Nothing beside it is needed: scaling lies inside, and a calibrated
classifier stays calibrated.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

import keras
import numpy as np
from keras import layers, ops

from flowers.errors import InputError
from flowers.judge.explain import heat_model
from flowers.judge.novelty import Level, Novelty
from flowers.model import backbone as backbones
from flowers.model.classifier import POOL

SMALLEST = 1e-24  # of a squared length: judge.novelty's 1e-12, squared; float32 still holds it


def build(model: keras.Model, novelty: Novelty | None = None) -> keras.Model:
    """The shipped graph of a classifier.

    It shares the classifier's layers and holds a copy of the head's kernels: build it after
    training and calibration.

    Args:
        model: a classifier as `model.classifier` builds it, calibrated.
        novelty: fitted on this very model's features; without it there is no such output.

    Returns:
        A model from photos [B, S, S, 3], RGB, 0-255 (uint8 or float32) to a dict of float32:
        "probabilities" [B, C], "novelty" [B] as `Novelty.score` gives it, "heat" [B, h, w] of the
        top class as `judge.explain` gives it, and "features" [B, D], what the head reads: the
        last level of the backbone averaged over the photo, on which `judge.similar` searches.

    Raises:
        InputError: the model is not such a classifier, or the novelty is of another model.
    """
    probabilities, heat = heat_model(model).outputs
    features = ops.cast(model.get_layer(POOL).output, "float32")
    outputs = {"probabilities": probabilities, "heat": heat, "features": features}
    if novelty is not None:
        outputs["novelty"] = _score(_pooled(model, novelty.levels), novelty)
    return keras.Model(model.input, outputs, name="flowers")


def _pooled(model: keras.Model, levels: Collection[str]) -> dict[str, keras.KerasTensor]:
    """The outputs of the backbone's levels, averaged over the photo: level -> float32 [B, D].

    Raises:
        InputError: the model's backbone is none of ours, or has no such level.
    """
    known = backbones.recognise(model).levels
    if not set(levels) <= set(known):
        raise InputError(
            f"a novelty score of the levels {', '.join(known)}",
            f"one of {', '.join(levels)}",
            "Use the novelty score of this very model, or train again.",
        )
    found = {}
    for level in levels:
        feature = ops.cast(model.get_layer(known[level]).output, "float32")
        average = layers.GlobalAveragePooling2D(dtype="float32", name=f"average_{level}")
        found[level] = average(feature)
    return found


def _score(features: Mapping[str, keras.KerasTensor], novelty: Novelty) -> keras.KerasTensor:
    """`Novelty.score` [B] from features level -> [B, D]."""
    total = 0.0
    for name, level in novelty.levels.items():
        if features[name].shape[-1] != len(level.mean):
            raise InputError(
                f"a novelty score on {features[name].shape[-1]} features of {name}",
                f"one on {len(level.mean)}",
                "Use the novelty score of this very model, or train again.",
            )
        total = total + level.weight * _distance(features[name], level, name)
    contrast = novelty.contrast
    strength = ops.sqrt(ops.sum(ops.square(features[contrast.level]), axis=-1))
    return total / ops.power(ops.clip(strength, contrast.low, contrast.high), contrast.slope)


def _distance(features: keras.KerasTensor, level: Level, name: str) -> keras.KerasTensor:
    """`Level.distance` [B] from features [B, D].

    The squared distance to every class mean c is |z|^2 - 2 z.c + |c|^2: two small matrix products.
    In float32 that is safe here: the directions z are whitened, so that what is taken away is no
    larger than what is left, and the mean of all photos is taken away before.
    """
    centres, projection, variance = (
        part.astype(np.float64) for part in (level.centres, level.projection, level.variance)
    )
    means = centres @ projection  # [C, K]
    raised = ops.power(ops.maximum(features, 0.0), level.power)
    length = ops.sum(ops.square(raised), axis=-1, keepdims=True)
    x = _subtract(raised / ops.sqrt(ops.maximum(length, SMALLEST)), level.mean, name)  # [B, D]
    z = _product(x, projection, None, f"{name}_directions")  # [B, K]
    inside = _product(z, -2 * means.T, (means**2).sum(axis=1), f"{name}_classes")
    inside += ops.sum(ops.square(z), axis=-1, keepdims=True)  # [B, C]
    if level.rest == 0:
        return ops.min(inside, axis=-1)
    # what is left of the length beyond the K directions, rounded to no less than nothing
    left = (centres**2).sum(axis=1) - means**2 @ variance  # [C]
    beyond = _product(x, -2 * centres.T, left, f"{name}_length")
    beyond += _product(z, 2 * (means * variance).T, None, f"{name}_length_inside")
    beyond += ops.sum(ops.square(x), axis=-1, keepdims=True)
    beyond -= _product(ops.square(z), variance[:, None], None, f"{name}_spread")  # [B, C]
    return ops.min(inside + level.rest * ops.relu(beyond), axis=-1)


def _product(
    x: keras.KerasTensor, kernel: np.ndarray, bias: np.ndarray | None, name: str
) -> keras.KerasTensor:
    """x @ kernel + bias, float32: a layer, since a constant would stand in config.json as text."""
    layer = layers.Dense(
        kernel.shape[1],
        use_bias=bias is not None,
        kernel_initializer="zeros",
        dtype="float32",
        trainable=False,
        name=f"novelty_{name}",
    )
    outputs = layer(x)
    layer.set_weights([part.astype(np.float32) for part in (kernel, bias) if part is not None])
    return outputs


def _subtract(x: keras.KerasTensor, mean: np.ndarray, name: str) -> keras.KerasTensor:
    """x - mean [D], float32, by the one plain layer that does it: a bare normalization."""
    layer = layers.BatchNormalization(
        center=False,
        scale=False,
        epsilon=0.0,
        dtype="float32",
        trainable=False,
        name=f"novelty_{name}_mean",
    )
    outputs = layer(x)
    layer.set_weights([mean.astype(np.float32), np.ones(len(mean), np.float32)])
    return outputs
