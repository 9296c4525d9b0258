"""What the learning part eats in each phase: photos, or features of the frozen part."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import keras
import numpy as np

from flowers import files
from flowers.config import Config, Phase
from flowers.data.augment import augment, shifted
from flowers.model.classifier import Classifier, fingerprint
from flowers.progress import progress
from flowers.train import features
from flowers.train.batches import ReadViews
from flowers.train.features import Features


@dataclass(frozen=True, eq=False)
class Feed:
    """What a phase reads, and how it was standardised.

    The head learns from features of mean 0 and deviation 1: with raw ones, large and all
    positive, it learns far worse (0.55 against 0.80 on painted flowers from a random start).

    mean, deviation: float32 [channels], or None where nothing was changed.
    """

    read: ReadViews
    mean: np.ndarray | None = None
    deviation: np.ndarray | None = None

    def fold(self, tail: keras.Model) -> None:
        """Moves the standardisation into the tail's first dense layer, in place.

        Afterwards the tail gives for raw features what it gave for standardised ones.
        """
        if self.mean is None:
            return
        dense = next(layer for layer in tail.layers if isinstance(layer, keras.layers.Dense))
        kernel, bias = dense.get_weights()  # [channels, units], [units]
        kernel = kernel / self.deviation[:, None]
        dense.set_weights([kernel, bias - self.mean @ kernel])


@dataclass(frozen=True, eq=False)
class Inputs:
    """Photos and the features computed from them, for one classifier.

    classifier: the frozen parts are taken from it before they learn.
    pixels: uint8 [N, size, size, 3], RGB.
    key: the pixels' name; equal keys, equal pixels.
    train: numbers of the training photos; the only ones that standardise the features.
    augmented: photo numbers that get `config.views` views; every photo has its first.
    folder: of the feature cache.
    say: receives a line about what was computed.
    """

    classifier: Classifier
    pixels: np.ndarray
    key: str
    train: np.ndarray
    augmented: np.ndarray
    config: Config
    folder: Path
    say: Callable[[str], None]

    def feed(self, phase: Phase) -> Feed:
        """The input of a phase; computes and keeps the features it needs."""
        if phase.thaw in ("all", "scratch"):
            return Feed(
                lambda photos, views, epoch: self.photos(photos, views + epoch * (views > 0))
            )
        if phase.thaw == "stage":
            stores = self._stage_features
            return Feed(lambda photos, views, epoch: _by_view(stores, photos, views))
        pooled = self._pooled()
        learned = pooled[0][1][self.train]
        mean, deviation = learned.mean(axis=0), learned.std(axis=0)
        deviation = np.maximum(deviation, 1e-3 * deviation.max() + 1e-6)  # dead channels stay quiet
        places = [_places(numbers, len(self.pixels)) for numbers, _ in pooled]

        def read(photos: np.ndarray, views: np.ndarray, epoch: int) -> np.ndarray:
            out = np.empty((len(photos), pooled[0][1].shape[1]), np.float32)
            for view in np.unique(views):
                chosen = views == view
                out[chosen] = pooled[view][1][places[view][photos[chosen]]]
            return (out - mean) / deviation

        return Feed(read, mean, deviation)

    def photos(self, photos: np.ndarray, views: np.ndarray | int) -> np.ndarray:
        """uint8 [B, size, size, 3]: the photos themselves (view 0) or seeded augmentations."""
        out = np.array(self.pixels[photos])
        views = np.broadcast_to(views, photos.shape)
        changed = np.flatnonzero(views)
        if len(changed) and self.config.augmentation != "none":
            vary = {"photo": augment, "crop": shifted}[self.config.augmentation]
            seeds = (self.config.seed << 48) + (views[changed] << 32) + photos[changed]
            out[changed] = vary(out[changed], seeds)
        return out

    def _views(self) -> list[np.ndarray]:
        """The photo numbers of each view."""
        return [np.arange(len(self.pixels))] + [self.augmented] * (self.config.views - 1)

    @cached_property
    def _stage_features(self) -> list[Features]:
        """Feature maps at the cut, one store a view."""
        trunk = self.classifier.trunk("stage")
        watched = self.classifier.watched("stage")
        stores = [
            features.compute(
                watched,
                lambda photos, view=view: self.photos(photos, view),
                numbers,
                self.folder,
                f"stage {self._key(trunk)} view {view}",
                f"features, view {view + 1} of {self.config.views}",
            )
            for view, numbers in enumerate(self._views())
        ]
        total = files.amount(sum(store.bytes for store in stores))
        self.say(f"features of the frozen part: {total} in {self.folder}")
        return stores

    def at_cut(self, photos: np.ndarray | None = None) -> np.ndarray:
        """What the network sees before its last stage, averaged: float32 [n, channels].

        Args:
            photos: int [n], numbers of photos; all when left out.
        """
        photos = np.arange(len(self.pixels)) if photos is None else photos
        stores = self._stage_features if self._thaws("stage") else self._pooled_stores
        return stores[0].read_beside(photos).astype(np.float32)

    def levels(self) -> dict[str, np.ndarray] | None:
        """What the network sees in the training photos, averaged over each: float32 [n, channels].

        The key "conv4" is the output before the last stage, "conv5" the last. Call it after
        training: the last stage is the one that has learned. None where earlier stages have
        learned as well, so that nothing of it was kept.
        """
        if self._thaws("all") or self._thaws("scratch"):
            return None
        if not self._thaws("stage"):
            last = self._pooled_stores[0].read(self.train).astype(np.float32)
            return {"conv4": self.at_cut(self.train), "conv5": last}
        store, between = self._stage_features[0], self.classifier.between()
        last = []
        with progress(None, "what it has learned to see", total=len(self.train)) as bar:
            for start in range(0, len(self.train), features.BATCH):
                batch = store.read(self.train[start : start + features.BATCH])
                last.append(features.forward(between, batch))
                bar.update(len(batch))
        return {"conv4": self.at_cut(self.train), "conv5": np.concatenate(last)}

    def _thaws(self, part: str) -> bool:
        return any(phase.thaw == part for phase in self.config.phases)

    def _pooled(self) -> list[tuple[np.ndarray, np.ndarray]]:
        """Per view (photo numbers, pooled features float32 [R, channels]), held in memory."""
        return [
            (numbers, store.read(numbers).astype(np.float32))
            for numbers, store in zip(self._views(), self._pooled_stores, strict=True)
        ]

    @cached_property
    def _pooled_stores(self) -> list[Features]:
        """Pooled features, one store a view."""
        if self._thaws("stage"):
            between = self.classifier.between()
            stores = self._stage_features
            key = f"{self._key(self.classifier.trunk('stage'))} {fingerprint(between)}"
            source = [(between, store.read) for store in stores]
        else:
            trunk = self.classifier.trunk("head")
            key = self._key(trunk)
            watched = self.classifier.watched("head")
            source = [
                (watched, lambda photos, view=view: self.photos(photos, view))
                for view in range(self.config.views)
            ]
        return [
            features.compute(
                model,
                read,
                numbers,
                self.folder,
                f"pooled {key} view {view}",
                f"pooled features, view {view + 1} of {self.config.views}",
            )
            for view, (numbers, (model, read)) in enumerate(zip(self._views(), source, strict=True))
        ]

    def _key(self, trunk) -> str:
        """Everything the features depend on but the photos' numbers and the view."""
        return f"{self.key} {fingerprint(trunk)} {trunk.compute_dtype} seed {self.config.seed}"


def _by_view(stores: list[Features], photos: np.ndarray, views: np.ndarray) -> np.ndarray:
    out = np.empty((len(photos), *stores[0].shape), np.float16)
    for view in np.unique(views):
        out[views == view] = stores[view].read(photos[views == view])
    return out


def _places(numbers: np.ndarray, photos: int) -> np.ndarray:
    """For each photo its row among `numbers`."""
    places = np.full(photos, -1)
    places[numbers] = np.arange(len(numbers))
    return places
