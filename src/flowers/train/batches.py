"""Shuffled batches in an order that seed and epoch alone decide: a resumed run repeats it."""

from __future__ import annotations

from collections.abc import Callable

import keras
import numpy as np

from flowers.train.replicas import ONE, Replicas

# photo numbers int [B], views int [B], epoch -> network input [B, ...]
ReadViews = Callable[[np.ndarray, np.ndarray, int], np.ndarray]


class Batches(keras.utils.PyDataset):
    """(input, one-hot labels, weights) for `fit`.

    Args:
        read: gives the network input of photos and views.
        photos: int [S], the photo of each sample.
        views: int [S], its view; 0 is the photo itself.
        labels: int [N], the label of every photo.
        class_weights: float [classes].
        batch: samples a step.
        seed: of the shuffling; None keeps the order (validation).
        epoch: the one to begin with.
        replicas: devices that share a batch. They share evenly, so a batch that they cannot is
            repeated; the repetitions have no label and weigh nothing, the first rows as much as
            all of them. A process reads its own rows only.
    """

    def __init__(
        self,
        read: ReadViews,
        photos: np.ndarray,
        views: np.ndarray,
        labels: np.ndarray,
        class_weights: np.ndarray,
        batch: int,
        seed: int | None,
        epoch: int = 0,
        replicas: Replicas = ONE,
    ):
        # With one thread Keras leaves reading ahead to tf.data, whose tuner keeps an ended epoch
        # waiting until its own next turn, up to a minute later. Under JAX there is no tf.data, and
        # with two threads Keras takes up batches where building the model had left off (3.15).
        threads = 2 if keras.backend.backend() == "tensorflow" else 1
        super().__init__(workers=threads, max_queue_size=4)
        self.read, self.photos, self.views = read, photos, views
        self.labels, self.class_weights = labels, class_weights
        self.batch, self.seed, self.epoch = batch, seed, epoch
        self.replicas = replicas
        self._shuffle()

    def __len__(self) -> int:
        return -(-len(self.photos) // self.batch)

    def __getitem__(self, number: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        chosen = self._order[number * self.batch : (number + 1) * self.batch]
        copies = self.replicas.copies(len(chosen))
        once = np.arange(copies * len(chosen)) < len(chosen)
        mine = self.replicas.part(len(once))
        chosen, once = np.tile(chosen, copies)[mine], once[mine]
        photos = self.photos[chosen]
        labels = self.labels[photos]
        one_hot = np.eye(len(self.class_weights), dtype=np.float32)[labels] * once[:, None]
        weights = (self.class_weights[labels] * (copies * once)).astype(np.float32)
        return self.read(photos, self.views[chosen], self.epoch), one_hot, weights

    def on_epoch_end(self) -> None:
        self.epoch += 1
        self._shuffle()

    def _shuffle(self) -> None:
        order = np.arange(len(self.photos))
        if self.seed is not None:
            np.random.default_rng([self.seed, self.epoch]).shuffle(order)
        self._order = order
