"""Whole trainings on one device: the three phases of the main job, and CIFAR-10 from scratch.

What `flowers train` does, with photos, features and augmentation on the device. Needs no more than
Keras and NumPy.
"""

from __future__ import annotations

import argparse
import time

import interleaved
import keras
import numpy as np
from interleaved import Row
from on_device import Kept, around, compiled

from flowers.config import EVERYTHING, HEAD, LAST_STAGE, PAPER, Phase
from flowers.model import classifier as classifiers
from flowers.model.folding import folded
from flowers.train.device import Device

AUGMENTATION = {"zoom": 0.3, "light": 0.2}  # much as data.augment does
CIFAR_EPOCHS = 200
PAPERS = 0.9125  # ResNet-20 on CIFAR-10, He et al. 2015


class Best(keras.callbacks.Callback):
    """Keeps the weights of the epoch with the lowest validation loss, and stops after it."""

    def __init__(self, tail: keras.Model, patience: int):
        super().__init__()
        self.tail, self.patience = tail, patience
        self.loss, self.weights, self.epoch = np.inf, tail.get_weights(), 0

    def on_epoch_end(self, epoch: int, logs: dict) -> None:
        if logs["val_loss"] < self.loss:
            self.loss, self.weights, self.epoch = logs["val_loss"], self.tail.get_weights(), epoch
        self.model.stop_training = epoch - self.epoch >= self.patience


def run(photos, labels, split, machine: Device, arguments: argparse.Namespace) -> list[Row]:
    """Trains, prints where the time went; gives all of it, and the accuracy on the test photos."""
    train = cifar if arguments.job == "cifar" else three
    rows = {part: np.flatnonzero(split == part) for part in ("train", "validation", "test")}
    spent, accuracy = train(photos, labels, rows, machine, arguments)
    total = sum(spent.values())  # without answering for the test photos
    for name, seconds in spent.items():
        print(f"- {name}: {seconds:.1f} s")
    print(f"- in all: {total:.1f} s from decoded photos to the final model\n")
    job = arguments.job + (", painted photos" if arguments.photos is None else "")
    names, beside = ("here", "He et al."), PAPERS
    if arguments.job != "cifar":
        names, beside = ("here", "chance"), float(np.bincount(labels).max() / len(labels))
    longest = max(spent, key=spent.get)
    return [
        Row(
            f"{job}: from decoded photos to the final model", "s",
            ("in all", f"of that {longest}"), (total,), (spent[longest],),
        ),
        Row(
            f"{job}: accuracy on {len(rows['test']):,} test photos", "",
            names, (accuracy,), (beside,),
        ),
    ]  # fmt: skip


def three(photos, labels, rows, machine: Device, arguments) -> tuple[dict[str, float], float]:
    """Head, last stage, everything: seconds of each part, and the accuracy."""
    spent: dict[str, float] = {}
    clock = _Clock(spent)
    built = classifiers.build(
        int(labels.max()) + 1,
        size=photos.shape[1],
        backbone=arguments.backbone,
        weights=arguments.weights,
        precision=machine.precision,
    )
    whole = machine.gpu and not arguments.eager
    kept = Kept(photos, dtype=machine.precision)
    numbers = np.arange(len(photos), dtype=np.int32)
    size = {"batch_size": arguments.batch, "verbose": 0}
    trunk = folded(built.trunk("stage"))  # it does not learn: its BatchNorm costs nothing
    plain = around(trunk, kept).predict(numbers, **size)
    varied = around(trunk, kept, always=True, **AUGMENTATION).predict(rows["train"], **size)
    features = np.concatenate([plain, varied]).astype(np.float16)
    del plain, varied
    # what the learning part reads: photos as they are, then the training photos' second view
    truth = np.concatenate([labels, labels[rows["train"]]])
    second = len(photos) + np.arange(len(rows["train"]))
    learning = np.concatenate([rows["train"], second]).astype(np.int32)
    clock("features of the frozen part")

    pooled = folded(built.between()).predict(features, **size).astype(np.float32)
    mean, deviation = pooled[rows["train"]].mean(0), pooled[rows["train"]].std(0)
    deviation = np.maximum(deviation, 1e-3 * deviation.max() + 1e-6)
    tail = built.tail("head")
    _fit(tail, tail, (pooled - mean) / deviation, truth, learning, rows, HEAD, whole, arguments)
    _fold(tail, mean, deviation)
    built.absorb(tail)
    clock("the head")

    tail = built.tail("stage")
    model = around(tail, Kept(features, dtype=machine.precision))
    every = np.arange(len(features), dtype=np.int32)
    _fit(model, tail, every, truth, learning, rows, LAST_STAGE, whole, arguments)
    built.absorb(tail)
    clock("the last stage")

    tail = built.tail("all")
    model = around(tail, kept, **AUGMENTATION)
    _fit(model, tail, numbers, labels, rows["train"], rows, EVERYTHING, whole, arguments)
    clock("everything")
    answers = around(built.model, kept).predict(rows["test"].astype(np.int32), **size)
    return spent, float((answers.argmax(1) == labels[rows["test"]]).mean())


def cifar(photos, labels, rows, machine: Device, arguments) -> tuple[dict[str, float], float]:
    """ResNet-20 as in the paper, on all training photos; the last epoch is what is measured."""
    spent: dict[str, float] = {}
    clock = _Clock(spent)
    built = classifiers.build(
        int(labels.max()) + 1,
        size=photos.shape[1],
        backbone="resnet20",
        head=(),
        dropout=0.0,
        precision=machine.precision,
    )
    kept = Kept(photos, dtype=machine.precision)
    learning = np.concatenate([rows["train"], rows["validation"]]).astype(np.int32)
    epochs, batch = arguments.epochs or CIFAR_EPOCHS, min(PAPER.batch, len(learning))
    whole = len(learning) // batch * batch
    total = epochs * (whole // batch)
    steps = keras.optimizers.schedules.PiecewiseConstantDecay(
        [total // 2, total * 3 // 4], [PAPER.rate, PAPER.rate / 10, PAPER.rate / 100]
    )
    optimizer = keras.optimizers.SGD(steps, momentum=0.9, weight_decay=1e-4 / (1 - 0.9))
    optimizer.exclude_from_weight_decay(var_names=["bias", "gamma", "beta"])
    model = around(built.tail("scratch"), kept, shift=4)
    compiled(model, optimizer, machine.gpu and not arguments.eager, arguments.together)
    random = np.random.default_rng(0)
    for epoch in range(epochs):
        chosen = random.permutation(learning)[:whole]  # one shape, compiled once
        model.fit(chosen, labels[chosen], batch_size=batch, shuffle=False, verbose=0)
        if epoch % 20 == 0:
            interleaved.say(f"epoch {epoch + 1} of {epochs}: {clock.so_far():.0f} s")
    clock(f"{epochs} epochs")
    asked = rows["test"].astype(np.int32)
    answers = around(built.model, kept).predict(asked, batch_size=arguments.batch, verbose=0)
    return spent, float((answers.argmax(1) == labels[rows["test"]]).mean())


def _fit(model, tail, inputs, truth, learning, rows, phase: Phase, whole: bool, arguments) -> None:
    """One phase; `tail` ends with its best weights."""
    epochs = arguments.epochs or phase.epochs
    total = epochs * -(-len(learning) // phase.batch)
    warm = max(1, round(total * phase.warmup))
    rate = keras.optimizers.schedules.CosineDecay(
        0.0, max(1, total - warm), warmup_target=phase.rate, warmup_steps=warm
    )
    optimizer = keras.optimizers.AdamW(rate, weight_decay=1e-4)
    optimizer.exclude_from_weight_decay(var_names=["bias"])
    compiled(model, optimizer, whole, arguments.together)
    best = Best(tail, phase.patience)
    model.fit(
        inputs[learning],
        truth[learning],
        batch_size=phase.batch,
        epochs=epochs,
        validation_data=(inputs[rows["validation"]], truth[rows["validation"]]),
        validation_batch_size=arguments.batch,
        callbacks=[best],
        verbose=0,
    )
    tail.set_weights(best.weights)


def _fold(tail: keras.Model, mean: np.ndarray, deviation: np.ndarray) -> None:
    """Moves the standardisation of the features into the first dense layer."""
    dense = next(layer for layer in tail.layers if isinstance(layer, keras.layers.Dense))
    kernel, bias = dense.get_weights()
    kernel = kernel / deviation[:, None]
    dense.set_weights([kernel, bias - mean @ kernel])


class _Clock:
    """Notes how long each part took since the one before."""

    def __init__(self, spent: dict[str, float]):
        self.spent, self.since = spent, time.perf_counter()

    def so_far(self) -> float:
        return time.perf_counter() - self.since

    def __call__(self, part: str) -> None:
        self.spent[part], self.since = self.so_far(), time.perf_counter()
