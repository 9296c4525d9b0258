"""Heat maps: which parts of a photo speak for a class, and whether the maps point at what matters.

Grad-CAM (Selvaraju et al., "Grad-CAM: visual explanations from deep networks via gradient-based
localization", ICCV 2017) without a gradient tape. After the pooling the head is piecewise linear,
so the gradient of a class's logit with respect to the pooled features is a product of its kernels
and ReLU masks: a few small matrix products that any runtime can do.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass

import keras
import numpy as np
from keras import layers, ops
from PIL import Image, ImageFilter

from flowers.errors import InputError
from flowers.judge.intervals import Interval, bootstrap
from flowers.model.classifier import POOL
from flowers.progress import progress

BATCH = 32  # photos a forward pass
BLUR = 10  # sides of a photo to one standard deviation of the blur

Predict = Callable[[np.ndarray], np.ndarray]  # uint8 [B, S, S, 3] -> probabilities [B, C]


@dataclass(frozen=True, eq=False)
class Explanation:
    """What speaks for one class in one photo.

    label: number of the class; probability: what the model gave it; heat: float32 [h, w], at
    least 0, in units of the logit: without its ReLU the map would add up to what the features
    add to the logit of the class.
    """

    label: int
    probability: float
    heat: np.ndarray


def heat_model(model: keras.Model) -> keras.Model:
    """A model from a photo to (probabilities [B, C], heat map of the top class [B, h, w]).

    It consists of plain Keras layers and operations, so that it saves, reloads in safe mode and
    exports. It shares the layers of `model` and holds a copy of the head's kernels: build it
    after training and calibration.

    Raises:
        InputError: `model` is not a pooling followed by dense layers with ReLU and a softmax.
    """
    probabilities = model.output
    # not one_hot, which LiteRT refuses
    chosen = ops.cast(probabilities >= ops.max(probabilities, axis=-1, keepdims=True), "float32")
    return keras.Model(model.input, [probabilities, _heat(model, chosen)], name="heat")


def class_heat_model(model: keras.Model) -> keras.Model:
    """As `heat_model`, but for the class that is asked for: (photo, int32 [B]) are its inputs."""
    asked = keras.Input((), dtype="int32", name="class_number")
    numbers = np.arange(model.output.shape[-1], dtype=np.int32)
    chosen = ops.cast(ops.equal(ops.expand_dims(asked, -1), numbers), "float32")
    outputs = [model.output, _heat(model, chosen)]
    return keras.Model([model.input, asked], outputs, name="class_heat")


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
        heat, inputs = heat_model(model), [photos]
    else:
        classes = np.asarray(classes, np.int32)
        if ((classes < 0) | (classes >= count)).any():
            raise InputError(
                f"a class number from 0 to {count - 1}",
                f"{classes.min()} to {classes.max()}",
                "Name one of the model's classes.",
            )
        heat, inputs = class_heat_model(model), [photos, classes]
    found: list[Explanation] = []
    size = min(BATCH, len(photos))
    with progress(None, "heat maps", total=len(photos)) as bar:
        while len(found) < len(photos):
            # the last photo fills up the last batch: one shape is compiled once
            rows = np.minimum(np.arange(len(found), len(found) + size), len(photos) - 1)
            parts = [part[rows] for part in inputs]
            probabilities, heats = heat.predict_on_batch(parts if len(parts) > 1 else parts[0])
            labels = probabilities.argmax(1) if classes is None else parts[1]
            found += [
                Explanation(int(label), float(shares[label]), heat_map)
                for label, shares, heat_map in zip(labels, probabilities, heats, strict=True)
            ]
            bar.update(size)
    return tuple(found[: len(photos)])


@dataclass(frozen=True)
class Gain:
    """How much better the maps do than another order: mean over the photos and its interval."""

    mean: float
    interval: Interval


@dataclass(frozen=True)
class Curves:
    """What removing (or adding) cells in three orders does to the probability of the class.

    Each curve holds the mean probability after each step, each area its mean over the steps
    (trapezoids, 0 to 1). Gains are positive where the maps do better: after deletion less
    probability is left, after insertion more is there.
    """

    maps: tuple[float, ...]
    blob: tuple[float, ...]
    chance: tuple[float, ...]
    maps_area: float
    blob_area: float
    chance_area: float
    over_blob: Gain
    over_chance: Gain


@dataclass(frozen=True)
class Faithful:
    """Whether heat maps point at what matters, against a centred blob and a random order.

    shares: of the cells that are removed or added, one a step, from 0 to 1.
    passes: photos that went through the model for it.
    """

    photos: int
    passes: int
    shares: tuple[float, ...]
    deletion: Curves
    insertion: Curves

    def as_dict(self) -> dict:
        """All of it as plain numbers and lists, for JSON."""
        return asdict(self)


def faithful(
    predict: Predict,
    photos: np.ndarray,
    explanations: Sequence[Explanation],
    *,
    steps: int = 10,
    seed: int = 0,
) -> Faithful:
    """Deletion and insertion scores of heat maps, with paired bootstrap intervals.

    Source: Petsiuk et al., "RISE: randomized input sampling for explanation of black-box models",
    BMVC 2018. Cells of the map's own resolution are replaced by a blurred photo, the hottest
    first (deletion), or brought back into it (insertion), and the probability of the explained
    class is followed. The same is done in the order of a blob in the middle of the photo, since
    that is where photographers put things, and in a random order. Equal heat is ordered at random.

    It costs `len(photos) * (2 + 6 * (steps - 1))` forward passes.

    Args:
        predict: probabilities of a batch of photos.
        photos: uint8 [N, S, S, 3], at least 2.
        explanations: N, as `explain_all` gives them.
        steps: in how many steps all cells go.
        seed: of the random order and the bootstrap.

    Raises:
        InputError: fewer than two photos, or not between 2 steps and as many as there are cells.
    """
    heats = np.stack([explanation.heat for explanation in explanations])
    cells = heats[0].size
    if len(photos) < 2 or len(photos) != len(heats) or not 2 <= steps <= cells:
        raise InputError(
            f"at least two photos, a heat map of each, and 2 to {cells} steps",
            f"{len(photos)} photos, {len(heats)} heat maps, {steps} steps",
            "Pass more photos, or fewer steps.",
        )
    random = np.random.default_rng(seed)
    importance = [heats, np.broadcast_to(_blob(heats.shape[1:]), heats.shape), np.zeros_like(heats)]
    ranks = np.stack([_ranks(part, random) for part in importance])  # [3, N, h, w], 0 goes first
    counts = np.round(np.linspace(0, cells, steps + 1)).astype(int)
    labels = np.array([explanation.label for explanation in explanations])
    # [2, 3, N, steps + 1]: deletion and insertion, three orders
    left = _follow(predict, photos, labels, ranks, counts)
    shares = counts / cells
    passes = len(photos) * (2 + 6 * (steps - 1))
    deletion, insertion = (
        _curves(left[number], shares, better, seed) for number, better in enumerate((-1, 1))
    )
    return Faithful(len(photos), passes, tuple(shares.tolist()), deletion, insertion)


def _follow(
    predict: Predict, photos: np.ndarray, labels: np.ndarray, ranks: np.ndarray, counts: np.ndarray
) -> np.ndarray:
    """float [2, 3, N, steps + 1]: the class's probability after each deletion and insertion."""
    size, side = photos.shape[1:3], ranks.shape[2:]
    # which cell each row and column of pixels lies in
    rows, columns = (np.arange(s) * h // s for s, h in zip(size, side, strict=True))
    left = np.empty((2, len(ranks), len(photos), len(counts)))

    def changed() -> Iterator[tuple[tuple, np.ndarray]]:
        for number, photo in enumerate(photos):
            blurred = _blur(photo)
            yield (0, slice(None), number, 0), photo
            yield (0, slice(None), number, -1), blurred
            for order, rank in enumerate(ranks[:, number]):
                for step, count in enumerate(counts[1:-1], 1):
                    hottest = (rank < count)[rows][:, columns, None]
                    yield (0, order, number, step), np.where(hottest, blurred, photo)
                    yield (1, order, number, step), np.where(hottest, photo, blurred)

    total = len(photos) * (2 + 2 * len(ranks) * (len(counts) - 2))
    with progress(None, "deletion, insertion", total=total) as bar:
        for places, batch in _batches(changed()):
            found = predict(batch)
            for place, row in zip(places, found, strict=True):
                left[place] = row[labels[place[2]]]
            bar.update(len(batch))
    left[1, ..., 0], left[1, ..., -1] = left[0, ..., -1], left[0, ..., 0]
    return left


def _batches(items: Iterator[tuple[tuple, np.ndarray]]) -> Iterator[tuple[list, np.ndarray]]:
    places, photos = [], []
    for place, photo in items:
        places.append(place)
        photos.append(photo)
        if len(photos) == BATCH:
            yield places, np.stack(photos)
            places, photos = [], []
    if photos:
        yield places, np.stack(photos)


def _curves(left: np.ndarray, shares: np.ndarray, better: int, seed: int) -> Curves:
    """Curves and areas of three orders, from float [3, N, steps + 1]."""
    areas = np.trapezoid(left, shares, axis=-1)  # [3, N]
    gains = []
    for other in areas[1:]:
        gain = better * (areas[0] - other)
        gains.append(Gain(float(gain.mean()), bootstrap(np.mean, gain, seed=seed)))
    curves = [tuple(curve) for curve in left.mean(1).tolist()]
    return Curves(*curves, *areas.mean(1).tolist(), *gains)


def _ranks(importance: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """int [N, h, w]: 0 for each photo's most important cell; ties are broken at random."""
    flat = importance.reshape(len(importance), -1)
    order = np.lexsort((random.random(flat.shape), -flat))
    ranks = np.empty_like(order)
    np.put_along_axis(ranks, order, np.arange(flat.shape[1])[None], axis=1)
    return ranks.reshape(importance.shape)


def _blob(side: Sequence[int]) -> np.ndarray:
    """float [h, w]: the nearer to the middle, the larger."""
    down, across = (np.linspace(-1, 1, length) for length in side)
    return -(down[:, None] ** 2 + across**2)


def _blur(photo: np.ndarray) -> np.ndarray:
    """The photo so blurred that its colours and little else are left."""
    radius = len(photo) / BLUR
    return np.asarray(Image.fromarray(photo).filter(ImageFilter.GaussianBlur(radius)))


def _heat(model: keras.Model, chosen: keras.KerasTensor) -> keras.KerasTensor:
    """Grad-CAM of the chosen logit: float32 [B, h, w], from `chosen` [B, C], one 1 a row."""
    head = _head(model)
    gradient = chosen
    for layer, below in zip(reversed(head), [*reversed(head[:-1]), None], strict=True):
        kernel = layer.get_weights()[0]  # [inputs, units]
        # a layer and not a constant: as a constant the kernel would stand in config.json as text
        back = layers.Dense(
            len(kernel),
            use_bias=False,
            kernel_initializer="zeros",  # nothing random is drawn
            dtype="float32",
            name=f"back_{layer.name}",
        )
        gradient = back(gradient)  # [B, inputs]
        back.set_weights([kernel.T])
        back.trainable = False
        if below is not None:  # its ReLU lets the gradient through where its output is positive
            gradient = gradient * ops.cast(below.output > 0, "float32")
    features = ops.cast(model.get_layer(POOL).input, "float32")
    height, width, channels = features.shape[1:]
    # the pooling is a mean: each position passes on 1/(h w) of the gradient
    alpha = ops.expand_dims(gradient / (height * width), -1)  # [B, channels, 1]
    flat = ops.reshape(features, (-1, height * width, channels))
    return ops.reshape(ops.relu(ops.matmul(flat, alpha)), (-1, height, width))


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
