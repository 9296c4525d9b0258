"""Training in phases, resumed after a kill: the head, the last stage, everything."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np

from flowers.config import THAW, Config, Phase
from flowers.errors import InputError
from flowers.model.classifier import Classifier
from flowers.progress import progress
from flowers.train import checkpoint, hosts, memory
from flowers.train.batches import Batches, ReadViews
from flowers.train.checkpoint import State
from flowers.train.inputs import Feed
from flowers.train.interruption import Interruption
from flowers.train.optimizer import optimizer
from flowers.train.replicas import ONE, Accuracy, EpochLoss, Replicas

Watch = Callable[[dict], bool]  # sees each epoch's row; True abandons the run


class DivergenceError(InputError):
    """The loss is no finite number: the rate is too high."""


class AbandonedError(Exception):
    """Whoever watched the run had seen enough of it."""


@dataclass(frozen=True)
class Samples:
    """Which photos train and which validate, and what they are.

    labels: int [N] of every photo; train and validation: photo numbers; classes: how many.
    """

    labels: np.ndarray
    train: np.ndarray
    validation: np.ndarray
    classes: int

    def class_weights(self) -> np.ndarray:
        """1 for every class, or inverse frequencies (mean 1 a photo) when one class has more
        than 1.5 times the photos of another."""
        counts = np.bincount(self.labels[self.train], minlength=self.classes)
        if counts.min() == 0 or counts.max() <= 1.5 * counts.min():
            return np.ones(self.classes)
        return counts.sum() / (self.classes * counts)


def train(
    classifier: Classifier,
    samples: Samples,
    config: Config,
    feed: Callable[[Phase], Feed],
    saved: Path,
    say: Callable[[str], None],
    watch: Watch | None = None,
    replicas: Replicas = ONE,
) -> list[dict]:
    """Runs the phases of `config` on `classifier`, in place, from where `saved` stands.

    Args:
        classifier: its weights change.
        samples: the photos.
        config: phases, views, smoothing, seed.
        feed: gives a phase's input: features of the frozen part, or photos.
        saved: the checkpoint's file; written after every epoch.
        say: receives one line a phase.
        watch: sees the row of every epoch, with the validation's share of its seconds as
            validation_seconds, and may end the run.
        replicas: the devices that learn together.

    Returns:
        One dict an epoch: phase, epoch, loss, accuracy, val_loss, val_accuracy, rate, seconds.

    Raises:
        InputError: the phases narrow, or the devices cannot share a batch.
        DivergenceError: the loss became infinite (the rate is too high).
        AbandonedError: `watch` ended the run.
        WorldError: the checkpoint cannot be written, or the processes differ.
    """
    order = [THAW.index(phase.thaw) for phase in config.phases]
    if order != sorted(order):
        raise InputError(
            "phases that thaw more and more (head, stage, all)",
            ", ".join(phase.thaw for phase in config.phases),
            "Put them in that order.",
        )
    state = checkpoint.load(saved) or State()
    _require_even(config.phases, replicas)
    where = f"{saved.name} {state.phase} {state.epoch} {state.done}"
    hosts.agree(replicas.processes, where, "Start all of them with the same options and packages.")
    if state.epoch:
        name = config.phases[state.phase].name
        say(f"resuming: phase {name!r} after epoch {state.epoch}")
    for number in range(state.phase, len(config.phases)):
        if number > state.phase:
            state = State(phase=number, history=state.history)
        _run(classifier, number, samples, config, feed, state, saved, say, watch, replicas)
    return state.history


def _run(classifier, number, samples, config, feed, state, saved, say, watch, replicas) -> None:
    """One phase: `state` goes in as it was saved and comes out ended."""
    phase: Phase = config.phases[number]
    tail = classifier.tail(phase.thaw)
    if state.done:
        tail.set_weights(state.best)
        classifier.absorb(tail)
        return
    source, started = feed(phase), time.monotonic()
    begin = tail.get_weights()
    while True:
        try:
            _learn(tail, phase, number, samples, config, source, state, saved, watch, replicas)
            break
        except Exception as error:
            if replicas.processes > 1 or not memory.exhausted(error):
                raise  # the others would go on with the larger batch
            phase = memory.smaller(phase)
            say(f"{phase.name}: the memory is too small; going on with batches of {phase.batch}")
            tail.set_weights(begin)
    tail.set_weights(state.best)
    source.fold(tail)
    classifier.absorb(tail)
    state.best, state.done = tail.get_weights(), True
    if replicas.writes:
        checkpoint.save(saved, state)
    best = next(
        row
        for row in state.history
        if row["phase"] == phase.name and row["epoch"] == state.best_epoch
    )
    say(
        f"{phase.name}: {state.epoch} epochs in {time.monotonic() - started:.0f} s, "
        f"validation accuracy {best['val_accuracy']:.3f} at epoch {state.best_epoch}"
    )


def _learn(tail, phase, number, samples, config, source, state, saved, watch, replicas) -> None:
    """The epochs of a phase, from where `state` stands."""
    parts = _batches(phase, number, samples, config, source.read, state.epoch, replicas)
    losses = [EpochLoss(len(part.photos), phase.batch, replicas) for part in parts]
    with replicas.scope():
        tail = replicas.twin(tail)
        _compile(tail, phase, len(parts[0]), config, state)
        interruption = Interruption()
        kept = saved if replicas.writes else None
        keeper = _Keeper(phase, number, config.seed, state, kept, losses, interruption, watch)
        if not keeper.ended():  # a kill may have come between the last epoch and the phase's end
            with keeper.bar, interruption:
                tail.fit(
                    parts[0],
                    validation_data=parts[1],
                    initial_epoch=state.epoch,
                    epochs=phase.epochs,
                    callbacks=[keeper],
                    shuffle=False,
                    verbose=0,
                )


def _compile(tail, phase, steps, config, state) -> None:
    """Gives the tail its optimizer, loss and metric, and of a begun phase the state it was in."""
    tail.compile(
        optimizer=optimizer(phase, steps, config.weight_decay),
        loss=keras.losses.CategoricalCrossentropy(label_smoothing=config.label_smoothing),
        metrics=[Accuracy(name="accuracy")],
    )
    if state.epoch:
        tail.set_weights(state.weights)
        tail.optimizer.build(tail.trainable_variables)
        for variable, value in zip(tail.optimizer.variables, state.optimizer, strict=True):
            variable.assign(value)


def _batches(phase, number, samples: Samples, config: Config, read: ReadViews, epoch, replicas):
    """The phase's training and validation batches. Full training draws new views each epoch."""
    whole = phase.thaw in ("all", "scratch")
    views = 1 if whole else config.views
    photos = np.tile(samples.train, views)
    view = np.repeat(np.arange(views), len(samples.train)) + whole
    common = {"labels": samples.labels, "batch": phase.batch, "replicas": replicas}
    seed = config.seed * 1000 + number
    return (
        Batches(
            read,
            photos,
            view,
            class_weights=samples.class_weights(),
            seed=seed,
            epoch=epoch,
            **common,
        ),
        Batches(
            read,
            samples.validation,
            np.zeros(len(samples.validation), int),
            class_weights=np.ones(samples.classes),
            seed=None,
            **common,
        ),
    )


def _require_even(phases: tuple[Phase, ...], replicas: Replicas) -> None:
    """Refuses batches that would have to be repeated all the time, which gains nothing."""
    for phase in phases:
        if phase.batch % replicas.count:
            fitting = [n for n in range(1, replicas.count) if phase.batch % n == 0]
            raise InputError(
                "batches that the devices share evenly",
                f"batches of {phase.batch} in phase {phase.name!r} and {replicas.count} devices",
                f"Use {', '.join(map(str, fitting))} devices, or another batch in --config.",
            )


class _Keeper(keras.callbacks.Callback):
    """After every epoch: keeps the best weights, saves the state, decides whether to go on."""

    def __init__(
        self,
        phase: Phase,
        number: int,
        seed: int,
        state: State,
        saved: Path | None,
        losses: list[EpochLoss],
        interruption: Interruption,
        watch: Watch | None = None,
    ):
        super().__init__()
        self.phase, self.number, self.seed = phase, number, seed
        self.state, self.saved = state, saved
        self.loss, self.validation_loss = losses
        self.interruption, self.watch = interruption, watch
        state.phase = number
        self.bar = progress(
            None,
            f"training the {phase.name}",
            total=(phase.epochs - state.epoch) * self.loss.steps,
            unit="step",
        )

    def ended(self) -> bool:
        waited = self.state.epoch - self.state.best_epoch
        return self.state.epoch >= self.phase.epochs or waited >= self.phase.patience

    def on_epoch_begin(self, epoch: int, logs: dict | None = None) -> None:
        self.started = time.monotonic()
        # Dropout's random state is a function of the epoch: a resumed run drops the same units.
        for layer in self.model.layers:
            if isinstance(layer, keras.layers.Dropout) and layer.rate > 0:
                words = [self.seed, self.number, epoch, layer.seed]
                state = np.random.SeedSequence(words).generate_state(2)
                layer.seed_generator.state.assign(state.astype("uint32"))

    def on_train_batch_end(self, batch: int, logs: dict | None = None) -> None:
        self.bar.update()
        self.interruption.check()
        self.loss.note(batch, logs)

    def on_test_batch_end(self, batch: int, logs: dict | None = None) -> None:
        self.validation_loss.note(batch, logs)

    def on_test_begin(self, logs: dict | None = None) -> None:
        self.validating = time.monotonic()

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        row = {name: float(value) for name, value in (logs or {}).items()}
        row["loss"] = self.loss.corrected(row["loss"])
        row["val_loss"] = self.validation_loss.corrected(row["val_loss"])
        if not all(math.isfinite(value) for value in row.values()):
            raise DivergenceError(
                f"a finite loss in phase {self.phase.name!r}",
                f"loss {row.get('loss')} in epoch {epoch + 1} at rate {self.phase.rate:g}",
                "Lower the learning rate; the last finite checkpoint was kept.",
            )
        state = self.state
        state.epoch = epoch + 1
        ended = time.monotonic()  # validation comes last
        rate = float(keras.ops.convert_to_numpy(self.model.optimizer.learning_rate))
        state.history.append(
            {
                "phase": self.phase.name,
                "epoch": state.epoch,
                **row,
                "rate": rate,
                "seconds": round(ended - self.started, 2),
            }
        )
        state.weights = self.model.get_weights()
        if row["val_loss"] < state.best_loss:
            state.best, state.best_loss, state.best_epoch = (
                state.weights,
                row["val_loss"],
                epoch + 1,
            )
        state.optimizer = [
            keras.ops.convert_to_numpy(variable) for variable in self.model.optimizer.variables
        ]
        self.model.stop_training = self.ended()
        if self.saved is not None:
            checkpoint.save(self.saved, state)
        self.bar.set_postfix(validation=f"{row['val_accuracy']:.3f}")
        validating = {"validation_seconds": round(ended - self.validating, 2)}
        if self.watch is not None and self.watch(state.history[-1] | validating):
            raise AbandonedError
