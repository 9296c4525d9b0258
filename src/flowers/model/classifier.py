"""Scaling, backbone, global average pooling and dense head in one model that can be cut in two."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import keras
from keras import layers

from flowers.errors import InputError
from flowers.model import backbone as backbones

POOL = "pool"  # the layer whose output the dense head reads


@dataclass(frozen=True)
class Classifier:
    """A model from photos to probabilities, and the layer where its last stage begins.

    `model` maps raw RGB `[B, size, size, 3]`, 0-255, to `[B, classes]`, float32, rows sum to 1.
    """

    model: keras.Model
    cut: str

    def split(self, thaw: str) -> tuple[keras.Model | None, keras.Model]:
        """The model as (trunk, tail), sharing its weights: the tail learns, the trunk does not.

        Args:
            thaw: "head" cuts after the pooling, "stage" before the last stage, "all" nowhere
                (the trunk is None).
        """
        if thaw == "all":
            return None, self.model
        feature = self.model.get_layer(POOL if thaw == "head" else self.cut).output
        return (
            keras.Model(self.model.input, feature, name="trunk"),
            keras.Model(feature, self.model.output, name="tail"),
        )

    def between(self) -> keras.Model:
        """The last stage alone: from the feature map at the cut to the pooled features."""
        return keras.Model(
            self.model.get_layer(self.cut).output, self.model.get_layer(POOL).output, name="stage"
        )


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
    found = backbones.find(backbone)
    if classes < 2:
        raise InputError("at least two classes", str(classes), "Bring photos of a second class.")
    if size < found.smallest:
        raise InputError(
            f"photos of at least {found.smallest} px for {backbone}", f"{size} px", "Raise --size."
        )
    keras.utils.set_random_seed(seed)
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(precision)
    try:
        photos = keras.Input((size, size, 3), name="photo")  # RGB, 0-255
        features = found.build(photos, weights)  # [B, h, w, channels]
        x = layers.GlobalAveragePooling2D(name=POOL)(features)  # [B, channels]
        for number, units in enumerate(head, 1):
            x = layers.Dense(units, activation="relu", name=f"dense_{number}")(x)
            x = layers.Dropout(dropout, seed=seed + number, name=f"dropout_{number}")(x)
        probabilities = layers.Dense(
            classes, activation="softmax", dtype="float32", name="probabilities"
        )(x)
    finally:
        keras.config.set_dtype_policy(before)
    return Classifier(keras.Model(photos, probabilities, name="flowers"), found.cut)


def thaw(classifier: Classifier, part: str) -> None:
    """Lets `part` of the model learn and holds the rest; BatchNorm is always held.

    `trainable = False` on each BatchNormalization is the only way that holds its moving
    statistics in `fit` (keras-team/keras#20285); the model must be compiled afterwards.
    """
    _, tail = classifier.split(part)
    learning = {id(layer) for layer in tail.layers}
    for layer in classifier.model.layers:
        held = isinstance(layer, layers.BatchNormalization)
        layer.trainable = id(layer) in learning and not held


def fingerprint(model: keras.Model) -> str:
    """A short hash of a model's weights: equal weights, equal fingerprint."""
    digest = hashlib.sha256()
    for weight in model.get_weights():
        digest.update(str(weight.shape).encode())
        digest.update(weight.tobytes())
    return digest.hexdigest()[:16]
