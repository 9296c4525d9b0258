"""Scaling, backbone, global average pooling and dense head in one model that can be cut in two."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import keras
from keras import layers

from flowers.config import Config, check_backbone
from flowers.errors import InputError
from flowers.model import backbone as backbones
from flowers.model.backbone import Backbone

POOL = "pool"  # the layer whose output the dense head reads


@dataclass(frozen=True)
class Classifier:
    """A model from photos to probabilities that can be cut where its last stage begins.

    `model` maps raw RGB `[B, size, size, 3]`, 0-255, to `[B, classes]`, float32, rows sum to 1.
    """

    model: keras.Model
    backbone: Backbone

    def trunk(self, thaw: str) -> keras.Model | None:
        """The part before what learns: its output is a constant of the photo.

        Args:
            thaw: "head" cuts after the pooling, "stage" before the last stage, "all" and
                "scratch" nowhere (None). Before a stage that begins with 1x1 convolutions of
                stride 2, only every second row and column is ever read, so only these are put
                out: a quarter.
        """
        if thaw in ("all", "scratch"):
            return None
        if thaw == "head":
            feature = self.model.get_layer(POOL).output
        else:
            feature = self.model.get_layer(self.backbone.cut).output
            if self.backbone.strided:
                feature = feature[:, ::2, ::2]
        return keras.Model(self.model.input, feature, name="trunk")

    def watched(self, thaw: str) -> keras.Model:
        """The trunk with a second output: what it saw at the cut, float32 [B, channels].

        That is the whole of the feature map that feeds the last stage, averaged over the photo;
        from it `judge.novelty` learns what photos of the classes look like.
        """
        trunk, seen = self.trunk(thaw), self.model.get_layer(self.backbone.cut).output
        seen = layers.GlobalAveragePooling2D(dtype="float32", name="seen")(seen)
        return keras.Model(trunk.input, [trunk.output, seen], name="watched")

    def levels(self) -> keras.Model:
        """From photos to what the model says and sees of them, in one pass.

        Its outputs: "probabilities" [B, classes], and each of the backbone's levels [B, channels],
        averaged over the photo, float32.
        """
        seen = {
            name: layers.GlobalAveragePooling2D(dtype="float32", name=f"seen_{name}")(
                self.model.get_layer(layer).output
            )
            for name, layer in self.backbone.levels.items()
        }
        outputs = {"probabilities": self.model.output, **seen}
        return keras.Model(self.model.input, outputs, name="levels")

    def tail(self, thaw: str) -> keras.Model:
        """The part that learns, from the trunk's output on; only from scratch BatchNorm does too.

        `trainable = False` on each BatchNormalization is the only way that holds its moving
        statistics in `fit` (keras-team/keras#20285). Compile it afterwards. What it learned
        reaches the model through `absorb`.
        """
        if thaw in ("all", "scratch"):
            tail = self.model
        elif thaw == "stage" and self.backbone.strided:
            tail = self._compact_tail()
        else:
            layer = self.model.get_layer(POOL if thaw == "head" else self.backbone.cut)
            tail = keras.Model(layer.output, self.model.output, name="tail")
        for layer in tail.layers:
            held = isinstance(layer, layers.BatchNormalization) and thaw != "scratch"
            layer.trainable = not held
        return tail

    def between(self) -> keras.Model:
        """The last stage alone: from the output of `trunk("stage")` to the pooled features."""
        if self.backbone.strided:
            tail = self._compact_tail()
            return keras.Model(tail.input, tail.get_layer(POOL).output, name="stage")
        cut, pool = (self.model.get_layer(name).output for name in (self.backbone.cut, POOL))
        return keras.Model(cut, pool, name="stage")

    def absorb(self, tail: keras.Model) -> None:
        """Copies the weights of a tail into the model, layer by layer."""
        for layer in tail.layers:
            if layer.weights:
                self.model.get_layer(layer.name).set_weights(layer.get_weights())

    def _compact_tail(self) -> keras.Model:
        """A copy of the tail that reads every second row and column at stride 1: equal outputs."""
        cut = self.model.get_layer(self.backbone.cut).output
        tail = keras.Model(cut, self.model.output)

        def copy(layer: layers.Layer) -> layers.Layer:
            settings = layer.get_config()
            if layer.name in self.backbone.strided:
                settings["strides"] = (1, 1)
            return type(layer).from_config(settings)

        reduced = keras.Input(cut[:, ::2, ::2].shape[1:], dtype=cut.dtype)
        compact = keras.models.clone_model(tail, input_tensors=reduced, clone_function=copy)
        compact.set_weights(tail.get_weights())
        return compact


def build(
    classes: int,
    *,
    size: int = 224,
    backbone: str = "resnet50",
    weights: Path | None = None,
    head: tuple[int, ...] = (256, 128, 64),
    dropout: float = 0.2,
    precision: str = "float32",
    seed: int = 0,
) -> Classifier:
    """Builds the classifier of the design card.

    Args:
        classes: how many, at least 2.
        size: side of the square photos, px.
        backbone: name of the backbone (model.backbone.find).
        weights: file of backbone weights; None leaves the seeded random start.
        head: units of the dense layers before the softmax.
        dropout: share of a dense layer's outputs silenced in training.
        precision: dtype policy of the computations; the softmax is always float32.
        seed: of every random initial weight.

    Raises:
        InputError: fewer than two classes, photos too small for the backbone, or weights that
            do not fit.
    """
    check_backbone(backbone, size)
    found = backbones.find(backbone)
    if classes < 2:
        raise InputError("at least two classes", str(classes), "Bring photos of a second class.")
    keras.utils.set_random_seed(seed)
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(precision)
    try:
        photos = keras.Input((size, size, 3), name="photo")  # RGB, 0-255
        features = found.build(photos, weights, seed)  # [B, h, w, channels]
        x = layers.GlobalAveragePooling2D(name=POOL)(features)  # [B, channels]
        for number, units in enumerate(head, 1):
            x = layers.Dense(units, activation="relu", name=f"dense_{number}")(x)
            x = layers.Dropout(dropout, seed=seed + number, name=f"dropout_{number}")(x)
        probabilities = layers.Dense(
            classes, activation="softmax", dtype="float32", name="probabilities"
        )(x)
    finally:
        keras.config.set_dtype_policy(before)
    return Classifier(keras.Model(photos, probabilities, name="flowers"), found)


def configured(classes: int, config: Config, weights: Path | None, precision: str) -> Classifier:
    """`build` with the numbers of a configuration, but with these weights and this precision."""
    return build(
        classes,
        size=config.size,
        backbone=config.backbone,
        weights=weights,
        head=config.head,
        dropout=config.dropout,
        precision=precision,
        seed=config.seed,
    )


def fingerprint(model: keras.Model) -> str:
    """A short hash of a model's weights: equal weights, equal fingerprint."""
    digest = hashlib.sha256()
    for weight in model.get_weights():
        digest.update(str(weight.shape).encode())
        digest.update(weight.tobytes())
    return digest.hexdigest()[:16]
