"""Phases, seeds, held BatchNorm, and runs that were killed: on the miniature backbone."""

import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import keras
import numpy as np
import pytest

from flowers.config import Config, Phase
from flowers.errors import InputError
from flowers.model import classifier as classifiers
from flowers.train import checkpoint, optimizer, training
from flowers.train.inputs import Inputs
from flowers.train.training import Samples

CLASSES = 3


class Killed(BaseException):
    """Stands for a kill: nothing may catch it."""


@pytest.fixture(scope="module")
def photos():
    """60 photos of 32 px, noise with a tint of red, green or blue: the class."""
    random = np.random.default_rng(3)
    labels = np.arange(60) % CLASSES
    pixels = random.integers(0, 150, (60, 32, 32, 3))
    for photo, label in zip(pixels, labels, strict=True):
        photo[..., label] += 60
    return pixels.astype(np.uint8), labels


def run(photos, folder, config=None, say=lambda line: None, augmented=None, room=None):
    config = config or Config.tiny()
    pixels, labels = photos
    built = classifiers.build(
        CLASSES, size=32, backbone="miniature", head=config.head, seed=config.seed
    )
    train = np.arange(45)
    augmented = train if augmented is None else augmented
    inputs = Inputs(built, pixels, "pixels", train, augmented, config, folder / "cache", say, room)
    samples = Samples(labels, train, np.arange(45, 60), CLASSES)
    history = training.train(built, samples, config, inputs.feed, folder / "run.npz", say)
    return built, history


class Whole(NamedTuple):
    """A run that nothing disturbed: what it made, its folder, its checkpoint after each save."""

    model: keras.Model
    history: list[dict]
    folder: Path
    saved: list[bytes]

    def leave(self, folder, saves):
        """Fills a folder with what a kill after so many saves would have left."""
        shutil.copytree(self.folder / "cache", folder / "cache")
        (folder / "run.npz").write_bytes(self.saved[saves - 1])


@pytest.fixture(scope="module")
def whole(photos, tmp_path_factory):
    folder, saved, write = tmp_path_factory.mktemp("whole"), [], checkpoint.save

    def kept(path, state):
        write(path, state)
        saved.append(path.read_bytes())

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(checkpoint, "save", kept)
        built, history = run(photos, folder)
    return Whole(built.model, history, folder, saved)


@pytest.mark.parametrize(("thaw", "rate"), [("head", 0.03), ("stage", 0.01), ("all", 0.003)])
def test_learns_in_each_phase(photos, tmp_path, thaw, rate):
    phase = Phase("only", thaw=thaw, epochs=20, rate=rate, batch=8, patience=20)
    _, history = run(photos, tmp_path, Config.tiny(phases=(phase,)))
    assert history[-1]["loss"] < history[0]["loss"]
    assert max(row["val_accuracy"] for row in history) >= 0.8


def test_two_runs_give_the_same_numbers(photos, whole, tmp_path):
    second, repeated = run(photos, tmp_path)
    assert classifiers.fingerprint(whole.model) == classifiers.fingerprint(second.model)
    for row, again in zip(whole.history, repeated, strict=True):
        assert {**row, "seconds": 0} == {**again, "seconds": 0}


def test_keeping_views_of_other_photos_changes_nothing(photos, whole, tmp_path):
    """Folds share one cache; the photos that are not trained on must not leak through it."""
    second, _ = run(photos, tmp_path, augmented=np.arange(60))
    assert classifiers.fingerprint(whole.model) == classifiers.fingerprint(second.model)


@pytest.mark.parametrize("room", [0, 3_000, 1_000_000])
def test_features_beyond_the_room_change_nothing(photos, whole, tmp_path, room):
    second, streamed = run(photos, tmp_path, room=room)
    assert [row["val_loss"] for row in streamed] == [row["val_loss"] for row in whole.history]
    assert classifiers.fingerprint(whole.model) == classifiers.fingerprint(second.model)
    on_disk = sum(path.stat().st_size - 128 for path in tmp_path.glob("cache/*/*.npy"))
    assert on_disk <= room


def test_pooled_features_need_not_be_held_in_memory(photos, whole, tmp_path, monkeypatch):
    monkeypatch.setattr("flowers.train.inputs.HELD", 0)
    second, _ = run(photos, tmp_path)
    assert classifiers.fingerprint(whole.model) == classifiers.fingerprint(second.model)


def test_another_seed_gives_other_numbers(photos, whole, tmp_path):
    other, _ = run(photos, tmp_path, Config.tiny(seed=1))
    assert classifiers.fingerprint(whole.model) != classifiers.fingerprint(other.model)


@pytest.mark.parametrize("saves", range(1, 8))
def test_a_kill_after_any_save_changes_nothing(photos, whole, tmp_path, saves):
    """Five epochs in two phases make seven saves: one an epoch and one a phase's end."""
    assert len(whole.saved) == 7
    whole.leave(tmp_path, saves)
    lines = []
    resumed, rows = run(photos, tmp_path, say=lines.append)
    assert any("resuming" in line for line in lines)
    assert classifiers.fingerprint(resumed.model) == classifiers.fingerprint(whole.model)
    assert [row["val_loss"] for row in rows] == [row["val_loss"] for row in whole.history]


def test_batch_norm_holds_its_statistics(photos, tmp_path):
    phase = Phase("everything", thaw="all", epochs=2, rate=1e-2, batch=8)
    built, _ = run(photos, tmp_path, Config.tiny(phases=(phase,)))
    fresh = classifiers.build(CLASSES, size=32, backbone="miniature", head=(16, 8))
    for name in ("conv2_bn", "conv4_bn", "conv5_bn"):
        for ours, start in zip(
            built.model.get_layer(name).get_weights(),
            fresh.model.get_layer(name).get_weights(),
            strict=True,
        ):
            np.testing.assert_array_equal(ours, start)
    moved = built.model.get_layer("conv2_conv").get_weights()[0]
    assert not np.array_equal(moved, fresh.model.get_layer("conv2_conv").get_weights()[0])


@pytest.fixture(scope="module")
def scratch():
    """Four epochs from random weights with shifts and mirrors, by gradient descent."""
    phase = Phase(
        *("from scratch", "scratch", 4, 0.05, 16), patience=4, optimizer="sgd", schedule="steps"
    )
    return Config.tiny(phases=(phase,), head=(), augmentation="crop", views=1, weight_decay=1e-3)


@pytest.fixture(scope="module")
def whole_scratch(photos, scratch, tmp_path_factory):
    return run(photos, tmp_path_factory.mktemp("scratch"), scratch)


def test_from_scratch_batch_norm_learns(whole_scratch):
    built, history = whole_scratch
    assert history[-1]["loss"] < history[0]["loss"]
    gamma, _, mean, _ = built.model.get_layer("conv4_bn").get_weights()
    assert (gamma != 1).all() and (mean != 0).all()
    assert [row["rate"] for row in history] == pytest.approx([0.05, 0.05, 0.005, 0.0005])


@pytest.mark.parametrize("saves", [1, 3])
def test_a_kill_from_scratch_changes_nothing(
    photos, scratch, whole_scratch, tmp_path, monkeypatch, saves
):
    """The crops of an epoch depend on seed and epoch, so the resumed run draws the same."""
    undisturbed, _ = whole_scratch
    write, count = checkpoint.save, 0

    def killed_after(path, state):
        nonlocal count
        write(path, state)
        count += 1
        if count == saves:
            raise Killed

    with monkeypatch.context() as patched:
        patched.setattr(checkpoint, "save", killed_after)
        with pytest.raises(Killed):
            run(photos, tmp_path / "killed", scratch)
    resumed, _ = run(photos, tmp_path / "killed", scratch)
    assert classifiers.fingerprint(resumed.model) == classifiers.fingerprint(undisturbed.model)


def test_each_epoch_draws_other_crops_of_the_same_photos(photos, scratch, tmp_path):
    pixels, _ = photos
    built = classifiers.build(CLASSES, size=32, backbone="miniature", head=())
    train = np.arange(45)
    inputs = Inputs(built, pixels, "pixels", train, train, scratch, tmp_path, lambda line: None)
    read = inputs.feed(scratch.phases[0]).read
    ones = np.ones(45, int)
    first, again, next_epoch = (read(train, ones, epoch) for epoch in (0, 0, 1))
    np.testing.assert_array_equal(first, again)
    changed = (first != next_epoch).any(axis=(1, 2, 3))
    assert changed.mean() > 0.9
    np.testing.assert_array_equal(read(train, 0 * ones, 1), pixels[:45])


def test_decay_beside_momentum_is_the_papers_term_in_the_loss():
    """Decoupled and divided by 1 - momentum, decay shrinks weights as an L2 term does."""
    phase = Phase("one", "scratch", 1, 0.05, 8, patience=1, optimizer="sgd", schedule="steps")
    ends = []
    for ours in (True, False):
        kernel = keras.Variable(np.full(3, 2.0, np.float32), name="kernel")
        if ours:
            chosen = optimizer.optimizer(phase, 150, 0.02)
        else:
            rate = optimizer.schedule(phase, 150)
            chosen = keras.optimizers.SGD(rate, momentum=optimizer.MOMENTUM)
        chosen.build([kernel])
        for _ in range(150):
            gradient = 0 * kernel if ours else 0.02 * kernel
            chosen.apply([keras.ops.convert_to_tensor(gradient)], [kernel])
        ends.append(keras.ops.convert_to_numpy(kernel))
    assert 0.5 < ends[0][0] < 1.5, "from 2"
    np.testing.assert_allclose(*ends, rtol=0.1)


def test_early_stopping_returns_to_the_best_epoch(photos, tmp_path):
    phase = Phase("head", thaw="head", epochs=60, rate=0.2, batch=4, patience=2)
    built, history = run(photos, tmp_path, Config.tiny(phases=(phase,), label_smoothing=0.0))
    losses = [row["val_loss"] for row in history]
    best = int(np.argmin(losses))
    assert len(history) == best + 3 < 60
    pixels, labels = photos
    outputs = built.model.predict_on_batch(pixels[45:])
    picked = np.clip(outputs[np.arange(15), labels[45:]], 1e-7, 1)
    assert -np.log(picked).mean() == pytest.approx(losses[best], abs=2e-3)


def test_classes_weigh_the_same_when_they_are_unbalanced():
    labels = np.array([0] * 30 + [1] * 10)
    samples = Samples(labels, np.arange(40), np.arange(0), 2)
    np.testing.assert_allclose(samples.class_weights(), [40 / 60, 40 / 20])
    even = Samples(labels, np.r_[0:12, 30:40], np.arange(0), 2)
    np.testing.assert_array_equal(even.class_weights(), [1, 1])


def test_phases_must_not_narrow(photos, tmp_path):
    head, stage = Config.tiny().phases
    with pytest.raises(InputError, match="head, stage, all"):
        run(photos, tmp_path, Config.tiny(phases=(stage, head)))


def test_an_infinite_loss_stops_and_keeps_the_last_finite_checkpoint(photos, whole, tmp_path):
    whole.leave(tmp_path, 7)
    before = (tmp_path / "run.npz").read_bytes()

    # the same checkpoint and one phase more, in which the loss is not a number
    config = Config.tiny(label_smoothing=float("nan"))
    longer = replace(config, phases=(*config.phases, replace(config.phases[1], thaw="all")))
    with pytest.raises(InputError, match="Lower the learning rate"):
        run(photos, tmp_path, longer)
    assert (tmp_path / "run.npz").read_bytes() == before


def test_a_checkpoint_that_cannot_be_read_is_none(tmp_path):
    path = tmp_path / "run.npz"
    assert checkpoint.load(path) is None
    path.write_bytes(b"PK\x03\x04 cut short")
    assert checkpoint.load(path) is None


def test_training_needs_no_tensorflow_by_name():
    """train/ and model/ use Keras alone, so that another backend can run them."""
    code = (
        "import ast, pathlib, flowers.train as t, flowers.model as m\n"
        "for package in (t, m):\n"
        "    for path in pathlib.Path(package.__file__).parent.glob('*.py'):\n"
        "        if path.name == 'device.py': continue\n"
        "        assert 'import tensorflow' not in path.read_text(), path\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
