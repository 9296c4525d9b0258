"""Heat maps: which parts of a photo speak for a class.

Grad-CAM (Selvaraju et al., "Grad-CAM: visual explanations from deep networks via gradient-based
localization", ICCV 2017) without a gradient tape. After the pooling the head is piecewise linear,
so the gradient of a class's score with respect to the pooled features is a product of its kernels
and ReLU masks: a few small matrix products that any runtime can do.

Two things are not as in the paper, because a head that was trained to be sure is flat where it is
sure: there a gradient says little, and often the reverse. It is averaged over the way from no
features to the photo's (Sattarzadeh et al., "Integrated Grad-CAM", ICASSP 2021). And the score is
the log-odds of the class, log(p / (1 - p)), since a softmax looks at differences of logits alone.
So a map adds up to what the features add to the log-odds. docs/heat-maps.md shows the difference.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import keras
import numpy as np
from keras import layers, ops

from flowers.errors import InputError
from flowers.model.classifier import POOL
from flowers.progress import progress
from flowers.train.features import once

BATCH = 32  # photos a forward pass
STEPS = 16  # on the way from no features to the photo's; the middles of as many equal parts
PATH = tuple((step + 0.5) / STEPS for step in range(STEPS))
AT_THE_PHOTO = (1.0,)  # the gradient of the paper
TINY = 1e-30  # keeps 0 / 0 from being NaN where the other classes have no probability at all


@dataclass(frozen=True, eq=False)
class Explanation:
    """What speaks for and against one class in one photo.

    label: number of the class; probability: what the model gave it; evidence: float32 [h, w], in
    units of the log-odds: it adds up to what the features add to the log-odds of the class.
    """

    label: int
    probability: float
    evidence: np.ndarray

    @property
    def heat(self) -> np.ndarray:
        """float32 [h, w], at least 0: what speaks for the class."""
        return np.maximum(self.evidence, 0)


def heat_model(model: keras.Model) -> keras.Model:
    """A model from a photo to (probabilities [B, C], heat map of the top class [B, h, w]).

    It consists of plain Keras layers and operations, so that it saves, reloads in safe mode and
    exports. It shares the layers of `model` and holds a copy of the head's kernels: build it
    after training and calibration.

    Raises:
        InputError: `model` is not a pooling followed by dense layers with ReLU and a softmax.
    """
    evidence = evidence_model(model)
    heat = ops.relu(evidence.outputs[1])
    return keras.Model(model.input, [evidence.outputs[0], heat], name="heat")


def evidence_model(model: keras.Model, path: Sequence[float] = PATH) -> keras.Model:
    """As `heat_model`, with what speaks against the class as well, below 0.

    path: shares of the photo's features at which the gradient is taken.
    """
    probabilities = model.output
    # not one_hot, which LiteRT refuses
    chosen = ops.cast(probabilities >= ops.max(probabilities, axis=-1, keepdims=True), "float32")
    evidence = _evidence(model, chosen, path)
    return keras.Model(model.input, [probabilities, evidence], name="evidence")


def class_evidence_model(model: keras.Model, path: Sequence[float] = PATH) -> keras.Model:
    """As `evidence_model`, but for the class asked for: (photo, int32 [B]) are its inputs."""
    asked = keras.Input((), dtype="int32", name="class_number")
    numbers = np.arange(model.output.shape[-1], dtype=np.int32)
    chosen = ops.cast(ops.equal(ops.expand_dims(asked, -1), numbers), "float32")
    outputs = [model.output, _evidence(model, chosen, path)]
    return keras.Model([model.input, asked], outputs, name="class_evidence")


def explain(model: keras.Model, photo: np.ndarray, class_index: int | None = None) -> Explanation:
    """The heat map of one photo, for its top class or the class asked for.

    Args:
        model: the classifier, as `model.classifier` builds it.
        photo: uint8 [S, S, 3], RGB, of the model's size.
        class_index: number of the class; None takes the most probable.

    Raises:
        InputError: a photo of another shape, no such class, or see `heat_model`.
    """
    asked = None if class_index is None else np.array([class_index])
    return explain_all(model, np.asarray(photo)[None], asked)[0]


def explain_all(
    model: keras.Model, photos: np.ndarray, classes: np.ndarray | None = None
) -> tuple[Explanation, ...]:
    """The heat maps of many photos: one model is built for all of them.

    Args:
        model: the classifier.
        photos: uint8 [N, S, S, 3].
        classes: int [N], the class to explain in each photo; None takes each one's most probable.

    Raises:
        InputError: as `explain`.
    """
    size, count = tuple(model.input.shape[1:]), model.output.shape[-1]
    if photos.shape[1:] != size:
        raise InputError(
            f"photos of shape {size}", f"shape {photos.shape[1:]}", "Resize them to the model's."
        )
    if classes is None:
        asking, inputs = evidence_model(model), [photos]
    else:
        classes = np.asarray(classes, np.int32)
        if ((classes < 0) | (classes >= count)).any():
            raise InputError(
                f"a class number from 0 to {count - 1}",
                f"{classes.min()} to {classes.max()}",
                "Name one of the model's classes.",
            )
        asking, inputs = class_evidence_model(model), [photos, classes]
    found: list[Explanation] = []
    size = min(BATCH, len(photos))

    run = once if len(photos) <= size else _compiled
    with progress(None, "heat maps", total=len(photos)) as bar:
        while len(found) < len(photos):
            # the last photo fills up the last batch: one shape is compiled once
            rows = np.minimum(np.arange(len(found), len(found) + size), len(photos) - 1)
            parts = [part[rows] for part in inputs]
            probabilities, maps = run(asking, *parts)
            labels = probabilities.argmax(1) if classes is None else parts[1]
            found += [
                Explanation(int(label), float(shares[label]), evidence)
                for label, shares, evidence in zip(labels, probabilities, maps, strict=True)
            ]
            bar.update(size)
    return tuple(found[: len(photos)])


def _compiled(model: keras.Model, *inputs: np.ndarray) -> list[np.ndarray]:
    """All outputs over one batch, by a graph that is compiled for the first and kept."""
    return model.predict_on_batch(list(inputs) if len(inputs) > 1 else inputs[0])


def _evidence(
    model: keras.Model, chosen: keras.KerasTensor, path: Sequence[float]
) -> keras.KerasTensor:
    """float32 [B, h, w] for the class of each photo, from `chosen` [B, C], one 1 a row."""
    head = _head(model)
    features = ops.cast(model.get_layer(POOL).input, "float32")
    pooled = ops.cast(model.get_layer(POOL).output, "float32")
    points = [pooled * float(share) for share in path]
    reached = [ops.stack(points, axis=1)]  # [B, K, channels]
    for layer in head:
        reached.append(ops.cast(layer(reached[-1]), "float32"))  # [B, K, units]
    gradient = _log_odds_gradient(reached[-1], ops.expand_dims(chosen, 1))
    for layer, entered in zip(reversed(head), reversed(reached[:-1]), strict=True):
        if entered is reached[0]:  # what follows is linear: it can be averaged first
            gradient = ops.mean(gradient, axis=1)
        gradient = _back(layer)(gradient)  # [B, K, inputs], at last [B, channels]
        if entered is not reached[0]:  # a ReLU lets it through where its output is positive
            gradient = gradient * ops.cast(entered > 0, "float32")
    height, width, channels = features.shape[1:]
    # the pooling is a mean: each position passes on 1/(h w) of the gradient
    alpha = ops.expand_dims(gradient / (height * width), -1)  # [B, channels, 1]
    flat = ops.reshape(features, (-1, height * width, channels))
    return ops.reshape(ops.matmul(flat, alpha), (-1, height, width))


def _log_odds_gradient(
    probabilities: keras.KerasTensor, chosen: keras.KerasTensor
) -> keras.KerasTensor:
    """Of log(p / (1 - p)) by the logits: 1 for the class, minus the others' shares of 1 - p."""
    others = (1 - chosen) * probabilities
    return chosen - others / (ops.sum(others, axis=-1, keepdims=True) + TINY)


def _back(layer: layers.Dense) -> layers.Dense:
    """The way back through a dense layer: its kernel transposed."""
    kernel = layer.get_weights()[0]  # [inputs, units]
    # a layer and not a constant: as a constant the kernel would stand in config.json as text
    back = layers.Dense(
        len(kernel),
        use_bias=False,
        kernel_initializer="zeros",  # nothing random is drawn
        dtype="float32",
        name=f"back_{layer.name}",
    )
    back.build((None, kernel.shape[1]))
    back.set_weights([kernel.T])
    back.trainable = False
    return back


def _head(model: keras.Model) -> list[layers.Dense]:
    """The dense layers after the pooling, from the pooling on."""
    try:
        after = keras.Model(model.get_layer(POOL).output, model.output).layers[1:]
    except ValueError:
        after = []
    dense = [layer for layer in after if isinstance(layer, layers.Dense)]
    forms = [keras.activations.serialize(layer.activation) for layer in dense]
    others = [x for x in after if not isinstance(x, layers.Dense | layers.Dropout)]
    if not dense or others or forms != ["relu"] * (len(dense) - 1) + ["softmax"]:
        raise InputError(
            f"a layer called {POOL}, then dense layers with ReLU and a softmax",
            ", ".join(layer.name for layer in after) or f"no layer called {POOL}",
            "Pass a classifier that `flowers train` has saved.",
        )
    return dense
