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
from flowers.data.pixels import Streamed
from flowers.model.classifier import Classifier, fingerprint
from flowers.model.folding import folded
from flowers.progress import progress
from flowers.train import features
from flowers.train.batches import ReadViews
from flowers.train.features import Features
from flowers.train.moments import moments
from flowers.train.replicas import ONE, Replicas

HELD = 1_000_000_000  # bytes of pooled features that are held in memory; beyond, they are read


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
    room: bytes that features may take on disk, None for any number; beyond it they stream.
    replicas: devices that compute features, each its part.
    """

    classifier: Classifier
    pixels: np.ndarray | Streamed
    key: str
    train: np.ndarray
    augmented: np.ndarray
    config: Config
    folder: Path
    say: Callable[[str], None]
    room: int | None = None
    replicas: Replicas = ONE

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
        parts = range(0, len(self.train), features.SHARD)
        mean, deviation = moments(
            lambda: (pooled(self.train[n : n + features.SHARD], 0) for n in parts)
        )
        deviation = np.maximum(deviation, 1e-3 * deviation.max() + 1e-6)  # dead channels stay quiet

        def read(photos: np.ndarray, views: np.ndarray, epoch: int) -> np.ndarray:
            out = np.empty((len(photos), len(mean)), np.float32)
            for view in np.unique(views):
                chosen = views == view
                out[chosen] = pooled(photos[chosen], view)
            return (out - mean) / deviation

        return Feed(read, mean, deviation)

    def photos(self, photos: np.ndarray, views: np.ndarray | int) -> np.ndarray:
        """uint8 [B, size, size, 3]: the photos themselves (view 0) or seeded augmentations."""
        out = np.array(self.pixels[photos])
        views = np.broadcast_to(views, photos.shape)
        changed = np.flatnonzero(views)
        if len(changed) and self.config.augmentation != "none":
            seeds = (self.config.seed << 48) + (views[changed] << 32) + photos[changed]
            if self.config.augmentation == "crop":
                out[changed] = shifted(out[changed], seeds)
            else:
                strength = self.config.augmentation_strength
                out[changed] = augment(out[changed], seeds, strength)
        return out

    def _views(self) -> list[np.ndarray]:
        """The photo numbers of each view."""
        return [np.arange(len(self.pixels))] + [self.augmented] * (self.config.views - 1)

    @cached_property
    def _stage_features(self) -> list[Features]:
        """Feature maps at the cut, one store a view."""
        trunk = self.classifier.trunk("stage")
        watched = folded(self.classifier.watched("stage"))
        stores = [
            features.compute(
                watched,
                lambda photos, view=view: self.photos(photos, view),
                numbers,
                self.folder,
                f"stage {self._key(trunk)} {self._view_key(view)}",
                f"features, view {view + 1} of {self.config.views}",
                room,
                self.replicas,
            )
            for (view, numbers), room in zip(
                enumerate(self._views()), self._rooms("stage"), strict=True
            )
        ]
        total = files.amount(sum(store.bytes for store in stores))
        absent = sum(len(store.photos) - store.kept for store in stores)
        streamed = f"; {absent:,} rows beyond --cache-gb are computed whenever they are needed"
        streamed = streamed if absent else ""
        self.say(f"features of the frozen part: {total} in {self.folder}{streamed}")
        return stores

    def before(self, thaw: str, photos: np.ndarray) -> np.ndarray:
        """What a trained `classifier.tail(thaw)` takes for photos, int [B], as they are."""
        if thaw in ("all", "scratch"):
            return self.photos(photos, 0)
        stores = self._stage_features if thaw == "stage" else self._pooled_stores
        return stores[0].read(photos).astype(np.float32)

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
        store, between = self._stage_features[0], folded(self.classifier.between())
        last = []
        with progress(None, "what it has learned to see", total=len(self.train)) as bar:
            for start in range(0, len(self.train), features.BATCH):
                batch = store.read(self.train[start : start + features.BATCH])
                last.append(features.forward(between, batch))
                bar.update(len(batch))
        return {"conv4": self.at_cut(self.train), "conv5": np.concatenate(last)}

    def _thaws(self, part: str) -> bool:
        return any(phase.thaw == part for phase in self.config.phases)

    def _pooled(self) -> Callable[[np.ndarray, int], np.ndarray]:
        """Gives pooled features, float32 [B, channels], of photos, int [B], in one view."""
        stores = self._pooled_stores
        rows = sum(len(store.photos) for store in stores)
        streamed = any(store.kept < len(store.photos) for store in stores)
        if streamed or 4 * rows * stores[0].shape[0] > HELD:
            return lambda photos, view: stores[view].read(photos).astype(np.float32)
        held = [store.read(store.photos).astype(np.float32) for store in stores]
        places = [_places(store.photos, len(self.pixels)) for store in stores]
        return lambda photos, view: held[view][places[view][photos]]

    def _rooms(self, part: str) -> list[int | None]:
        """Bytes for each view's features: pooled ones first, which are small, then the stage's."""
        rows = [len(numbers) for numbers in self._views()]
        if self.room is None:
            return [None] * len(rows)
        left, rooms = self.room, {}
        for name in ("head", "stage"):
            if not self._thaws(name):
                continue
            small = name == "head" and self._thaws("stage")
            model = self.classifier.between() if small else self.classifier.watched(name)
            needs = [count * features.row_bytes(model) for count in rows]
            rooms[name] = []
            for need in needs:
                rooms[name].append(min(need, left))
                left -= rooms[name][-1]
        return rooms.get(part, [0] * len(rows))

    @cached_property
    def _pooled_stores(self) -> list[Features]:
        """Pooled features, one store a view."""
        if self._thaws("stage"):
            between = self.classifier.between()
            stores = self._stage_features
            key = f"{self._key(self.classifier.trunk('stage'))} {fingerprint(between)}"
            quick = folded(between)
            source = [(quick, store.read) for store in stores]
        else:
            trunk = self.classifier.trunk("head")
            key = self._key(trunk)
            watched = folded(self.classifier.watched("head"))
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
                f"pooled {key} {self._view_key(view)}",
                f"pooled features, view {view + 1} of {self.config.views}",
                room,
                self.replicas,
            )
            for view, (numbers, room, (model, read)) in enumerate(
                zip(self._views(), self._rooms("head"), source, strict=True)
            )
        ]

    def _key(self, trunk) -> str:
        """Everything the features depend on but the photos' numbers and the view."""
        kind = f"{trunk.compute_dtype} folded"
        return f"{self.key} {fingerprint(trunk)} {kind} seed {self.config.seed}"

    def _view_key(self, view: int) -> str:
        """What a view's pixels depend on besides; the photo itself on nothing."""
        kind, strength = self.config.augmentation, self.config.augmentation_strength
        usual = (kind, strength) == ("photo", 1.0)
        return f"view {view}" + ("" if usual or view == 0 else f" {kind} {strength:g}")


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
