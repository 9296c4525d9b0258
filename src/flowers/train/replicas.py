"""Several devices that learn as one: each takes its part of every batch."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras

from flowers import files


@dataclass(frozen=True, eq=False)
class Replicas:
    """Devices that hold the same weights and share each batch; one where nothing else is said.

    The result is that of one device but for rounding: every device takes as many rows, dropout
    silences what it would have silenced, BatchNorm measures the whole batch.

    names: of this process's devices, as `keras.device` takes them.
    processes: how many take part, each with as many devices, and `process`, which this one is.
    scope: in which a model is built, compiled, given its weights and trained.
    index: within a step, which device asks; None where the backend shows the whole batch.
    """

    names: tuple[str, ...] = ("",)
    processes: int = 1
    process: int = 0
    scope: Callable[[], contextlib.AbstractContextManager] = contextlib.nullcontext
    index: Callable[[], Any] | None = None

    @property
    def count(self) -> int:
        """How many devices share a batch."""
        return len(self.names) * self.processes

    @property
    def writes(self) -> bool:
        """Whether this process is the one that writes checkpoints and results."""
        return self.process == 0

    def copies(self, rows: int) -> int:
        """How often so many rows must be repeated until the devices can share them evenly.

        The whole batch is repeated, not a few rows of it, so that BatchNorm measures the same. No
        device gets more rows than one device alone would have had.
        """
        return self.count // math.gcd(rows, self.count)

    def part(self, rows: int) -> slice:
        """The rows of a batch, with its repetitions, that this process reads."""
        each = rows // self.processes
        return slice(self.process * each, (self.process + 1) * each)

    @contextlib.contextmanager
    def locked(self, path: Path, say: Callable[[str], None]) -> Iterator[None]:
        """Holds the lock of `path`; of several processes one takes it for all of them.

        Raises:
            WorldError: others take too long, or the folder cannot be written.
        """
        lock = files.locked(path, files.LONGEST, say) if self.writes else contextlib.nullcontext()
        with lock:
            yield

    def twin(self, tail: keras.Model) -> keras.Model:
        """A copy of a tail, of the same weights, that lives on all devices; `tail` where one does.

        Layers keep their names, so that `Classifier.absorb` and a checkpoint fit both.
        """
        if self.count == 1:
            return tail
        with self.scope():
            copy = keras.models.clone_model(tail, clone_function=self._copied)
            copy.set_weights(tail.get_weights())
        return copy

    def _copied(self, layer: keras.layers.Layer) -> keras.layers.Layer:
        settings = layer.get_config()
        if self.index is not None:
            if isinstance(layer, keras.layers.Dropout):
                return PartDropout(self.index, self.count, **settings)
            if isinstance(layer, keras.layers.BatchNormalization) and layer.trainable:
                settings["synchronized"] = True
        return type(layer).from_config(settings)


ONE = Replicas()


class PartDropout(keras.layers.Dropout):
    """Dropout of one device's rows as one device would drop them among the rows of all.

    Args:
        index: gives the device's number within a step.
        count: how many devices there are.
    """

    def __init__(self, index: Callable[[], Any], count: int, **settings: Any):
        super().__init__(**settings)
        self.index, self.count = index, count

    def call(self, inputs: Any, training: bool = False) -> Any:
        """Draws for the rows of all devices, [B x count, ...], and takes its own."""
        if not training or self.rate == 0:
            return inputs
        rows = keras.ops.shape(inputs)[0]
        whole = keras.ops.ones((rows * self.count, *inputs.shape[1:]), inputs.dtype)
        scale = keras.random.dropout(whole, self.rate, seed=self.seed_generator)
        start = self.index() * rows
        return inputs * scale[start : start + rows]


class Accuracy(keras.metrics.CategoricalAccuracy):
    """Of the rows that have a label: repeated ones have none."""

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> Any:
        """Counts rows, whatever they weigh in the loss."""
        return super().update_state(y_true, y_pred, keras.ops.sum(y_true, axis=-1))


class EpochLoss:
    """Takes out of an epoch's loss what a repeated last batch weighs too much.

    Keras' running mean over batches counts rows, and the repetitions with them.

    Args:
        rows: of the epoch.
        batch: rows of a batch.
        replicas: which share them.
    """

    def __init__(self, rows: int, batch: int, replicas: Replicas):
        self.steps = -(-rows // batch)
        self.before = (self.steps - 1) * batch  # rows of all batches but the last
        self.last = rows - self.before
        self.copies, self.usual = replicas.copies(self.last), replicas.copies(batch)
        self.earlier = 0.0

    def note(self, step: int, logs: Mapping[str, Any] | None) -> None:
        """Keeps the mean before the last batch."""
        if self.copies != self.usual and step == self.steps - 2:
            self.earlier = float((logs or {})["loss"])

    def corrected(self, mean: float) -> float:
        """The mean in which every row counts once."""
        if self.copies == self.usual:
            return mean
        before, repeated = self.usual * self.before, self.copies * self.last
        last = ((before + repeated) * mean - before * self.earlier) / repeated
        return (self.before * self.earlier + self.last * last) / (self.before + self.last)
