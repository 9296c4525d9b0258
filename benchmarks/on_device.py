"""Photos kept on the device, and their augmentation there: layers for any Keras backend."""

from __future__ import annotations

import keras
import numpy as np
from keras import ops


class Kept(keras.layers.Layer):
    """An array on the device; from numbers int32 [B] to its rows [B, ...].

    A step is then told four bytes a photo, and nothing else crosses the bus.
    """

    def __init__(self, rows: np.ndarray, **settings: object):
        super().__init__(trainable=False, **settings)
        self.rows = self.add_weight(
            shape=rows.shape,
            dtype=str(rows.dtype),
            initializer="zeros",
            trainable=False,
            autocast=False,  # or all rows would be cast in every step
            name="rows",
        )
        self.rows.assign(rows)

    def call(self, numbers):
        """The rows of these numbers, in the layer's compute dtype."""
        found = ops.take(ops.convert_to_tensor(self.rows), numbers, axis=0)
        return ops.cast(found, self.compute_dtype)

    def compute_output_shape(self, shape: tuple) -> tuple:
        """[B, ...]."""
        return (*shape, *self.rows.shape[1:])


class Augment(keras.layers.Layer):
    """Photos [B, S, S, 3], 0-255: mirrored, cropped or shifted, brighter or darker, at random.

    Cropping is two small matrix products a photo (linear interpolation is a matrix of hat
    functions), so that it compiles everywhere and runs where convolutions run.

    zoom: share of the side that is cropped away, at most; shift: px by which the photo moves, at
    most; what moves in is grey; light: relative change of brightness and contrast, at most;
    always: also outside of training.
    """

    def __init__(
        self,
        zoom: float = 0.0,
        shift: int = 0,
        light: float = 0.0,
        *,
        always: bool = False,
        seed: int = 0,
        **settings: object,
    ):
        super().__init__(trainable=False, **settings)
        self.zoom, self.shift, self.light, self.always = zoom, shift, light, always
        self.random = keras.random.SeedGenerator(seed)

    def call(self, photos, training: bool = False):
        """The photos varied in training, as they are else."""
        if not (training or self.always):
            return photos
        count, size = ops.shape(photos)[0], photos.shape[1]
        centred = ops.cast(photos, self.compute_dtype) - 128
        down, across = self._hats(count, size, False), self._hats(count, size, True)
        varied = ops.einsum("bih,bhwc->biwc", down, centred)
        varied = ops.einsum("bjw,biwc->bijc", across, varied)
        if self.light:
            change = self._uniform((count, 2, 1, 1, 1), 1 - self.light, 1 + self.light)
            change = ops.cast(change, self.compute_dtype)
            varied = varied * change[:, 0] + 128 * (change[:, 1] - 1)
        return ops.clip(varied + 128, 0, 255)

    def _hats(self, count, size: int, mirrored: bool):
        """[B, S, S]: from every row of the crop to the rows that it lies between."""
        scale = 1 - self._uniform((count, 1), 0.0, self.zoom)
        middle = (size - 1) / 2
        places = (ops.arange(size, dtype="float32") - middle)[None]  # [1, S]
        if mirrored:
            side = ops.where(self._uniform((count, 1), -1.0, 1.0) < 0, -1.0, 1.0)
            places = places * side
        room = (1 - scale) * middle
        moved = room * self._uniform((count, 1), -1.0, 1.0)
        if self.shift:
            moved = moved + ops.round(self._uniform((count, 1), -self.shift, self.shift))
        places = places * scale + middle + moved  # [B, S]
        rows = ops.arange(size, dtype="float32")[None, None]
        hats = ops.maximum(0.0, 1 - ops.abs(places[..., None] - rows))
        return ops.cast(hats, self.compute_dtype)

    def _uniform(self, shape: tuple, low: float, high: float):
        return keras.random.uniform(shape, low, high, dtype="float32", seed=self.random)


def around(inner: keras.Model, kept: Kept, **augmentation: float) -> keras.Model:
    """From photo numbers to what `inner` says of the rows, augmented if it is told how."""
    numbers = keras.Input((), dtype="int32", name="number")
    rows = kept(numbers)
    if augmentation:
        rows = Augment(**augmentation, dtype=kept.dtype_policy)(rows)
    return keras.Model(numbers, inner(rows))


def compiled(model: keras.Model, optimizer, whole: bool, together: int = 1) -> None:
    """Compiles for `fit`; whole: the step as one program; together: steps that run as one."""
    model.compile(
        optimizer=optimizer,
        loss="sparse_categorical_crossentropy",
        metrics=["accuracy"],
        jit_compile=whole,
        steps_per_execution=together,
    )
