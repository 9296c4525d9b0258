"""Faults 12 and 13: a rate without sense, a batch that does not fit."""

from dataclasses import replace

import numpy as np
import pytest

from flowers.config import Config, Phase
from flowers.errors import InputError, WorldError
from flowers.model import classifier as classifiers
from flowers.train import checkpoint, memory, training
from flowers.train.inputs import Inputs
from flowers.train.training import Samples

PHASE = Phase("head", thaw="head", epochs=2, rate=0.03, batch=16)


@pytest.fixture(scope="module")
def photos():
    random = np.random.default_rng(3)
    return random.integers(0, 256, (40, 32, 32, 3), np.uint8), np.arange(40) % 2


def run(photos, folder, phase, lines):
    pixels, labels = photos
    config = Config.tiny(phases=(phase,))
    built = classifiers.build(2, size=32, backbone="miniature", head=(8,))
    train = np.arange(30)
    inputs = Inputs(built, pixels, "pixels", train, train, config, folder, lines.append)
    samples = Samples(labels, train, np.arange(30, 40), 2)
    history = training.train(built, samples, config, inputs.feed, folder / "run.npz", lines.append)
    return built, history


class ResourceExhaustedError(Exception):
    """What TensorFlow raises when the memory of a GPU is full."""


@pytest.mark.parametrize("fits", [4, 0])
def test_a_batch_that_does_not_fit_is_made_smaller_and_said_so(photos, tmp_path, monkeypatch, fits):
    make, batches = training._batches, []

    def full_above(phase, *arguments):
        batches.append(phase.batch)
        if phase.batch > fits:
            raise ResourceExhaustedError("OOM when allocating tensor with shape[16,2048]")
        return make(phase, *arguments)

    monkeypatch.setattr(training, "_batches", full_above)
    lines = []
    if not fits:
        with pytest.raises(WorldError, match="CUDA_VISIBLE_DEVICES"):
            run(photos, tmp_path, PHASE, lines)
        assert batches == [16, 8, 4, 2, 1]
        return
    _, history = run(photos, tmp_path, PHASE, lines)
    assert batches == [16, 8, 4] and len(history) == 2
    assert [line for line in lines if "batches of 4" in line]


def test_an_error_of_another_kind_is_not_taken_for_a_full_memory(photos, tmp_path, monkeypatch):
    def broken(*_):
        raise ZeroDivisionError

    monkeypatch.setattr(training, "_batches", broken)
    with pytest.raises(ZeroDivisionError):
        run(photos, tmp_path, PHASE, [])
    assert memory.exhausted(ResourceExhaustedError("x")) and not memory.exhausted(KeyError("x"))


def test_a_senseless_rate_stops_or_leaves_finite_weights(photos, tmp_path):
    with pytest.raises(InputError, match="rate"):
        replace(PHASE, rate=1e6)
    wild = replace(PHASE, thaw="all", name="everything")
    object.__setattr__(wild, "rate", 1e6)
    try:
        built, history = run(photos, tmp_path, wild, [])
    except InputError as error:
        assert "finite" in error.expected
        kept = checkpoint.load(tmp_path / "run.npz") if (tmp_path / "run.npz").exists() else None
        assert kept is None or all(np.isfinite(weight).all() for weight in kept.best)
    else:
        assert all(np.isfinite(weight).all() for weight in built.model.get_weights())
        assert all(np.isfinite(row["val_loss"]) for row in history)
