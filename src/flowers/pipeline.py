"""The main job as one function that notebooks and the command line share."""

from __future__ import annotations

import gc
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pandas as pd

from flowers import files, results, verdict
from flowers.config import DEFAULT, MODEL_SPACE, Config
from flowers.data import catalogue as catalogues
from flowers.data import pixels
from flowers.data.prepared import Photos, prepare
from flowers.errors import InputError, WorldError
from flowers.judge import refusal, seen
from flowers.judge.folds import Folds, summarise
from flowers.model import classifier as classifiers
from flowers.model import weights as weight_files
from flowers.model.weights import Weights
from flowers.profile import Clock
from flowers.results import Outcome
from flowers.train import checkpoint, device, features, hosts, recipe, training
from flowers.train.inputs import Inputs
from flowers.train.replicas import ONE, Replicas
from flowers.train.trained import Trained
from flowers.train.training import AbandonedError, DivergenceError, Samples, Watch

Say = Callable[[str], None]


def run(
    source: str | Photos = "auto",
    config: Config = DEFAULT,
    *,
    data: Path = Path("data"),
    model: Path = Path("models/flowers.keras"),
    folds: int = 0,
    labels: Path | None = None,
    others: Path | None = None,
    replicas: Replicas = ONE,
    export: bool = True,
    say: Say = print,
    command: str = "",
    clock: Clock | None = None,
) -> Outcome | None:
    """Photos in, a measured model out: get, check, train, judge, save.

    Args:
        source: see `data.sources.get`; or photos that are prepared, with their labels.
        config: the recipe.
        data: folder for downloads and caches.
        model: the file to write; flowers.json and a folder flowers/ with the report go beside it.
        folds: how many parts to cross-validate over besides, 0 for none.
        labels: a labels.csv as `flowers audit` writes it, with a person's decisions.
        others: a folder of photos that show none of the classes: measures how many are refused.
        replicas: the devices that learn together (`train.device.several`).
        export: also write the form with which `flowers predict` answers at once.
        say: receives a line for every step.
        command: shown in the report as the way to repeat it.
        clock: learns where the time goes.

    Returns:
        What was measured; None in a process that only helped to train.

    Raises:
        InputError: the photos or the settings cannot be used.
        WorldError: disk, network or an interruption stands in the way; the same call resumes.
    """
    files.require_space(model.parent, MODEL_SPACE, "the model and its report")
    prepared, clock = source, clock or Clock()
    if isinstance(source, str):
        with clock.during("reading"):
            prepared = prepare(source, config, data=data, labels=labels, say=say)
    how = {"data": data, "replicas": replicas, "say": say, "clock": clock}
    with replicas.locked(model, say):  # one at a time: two runs would mix their files
        with clock.during("evaluation"):
            outcome, resumed_from = _run(prepared, config, model, folds, others, command, how)
        if outcome is None:
            return None
        if export:
            _make_room(prepared)  # the converter takes as much as training did
            with clock.during("exporting"):
                results.write_quick(model, prepared, say)
        resumed_from.unlink(missing_ok=True)
    return outcome


def _run(
    prepared: Photos,
    config: Config,
    model: Path,
    folds: int,
    others: Path | None,
    command: str,
    how: Mapping[str, Any],
) -> tuple[Outcome | None, Path]:
    """What came of it, and the checkpoint from which an interrupted run would go on.

    `how`: data, replicas, say and clock, as `fit` and `cross_validate` take them.
    """
    replicas, say = how["replicas"], how["say"]
    strangers = None
    if others:
        known = prepared.catalogue.table["sha256"], prepared.catalogue.labels
        strangers = refusal.read_strangers(others, config.size, *known, say)
    everywhere = np.arange(len(prepared.pixels)) if folds else None  # one cache for all folds
    trained = fit(prepared, config, augmented=everywhere, **how)
    _make_room(prepared)
    hosts.part(replicas.processes, say)
    if not replicas.writes:
        return None, trained.checkpoint  # this process only helped to train
    learned = prepared.catalogue.rows("train")
    levels = seen.learned(trained.inputs, trained.classifier, prepared.pixels, learned)
    trusted = verdict.trust(prepared, trained, levels, say=say)
    shown = {"model": model, "command": command, "others": strangers}
    outcome = verdict.judge(prepared, trained, trusted, levels, **shown)
    if folds:
        measured = cross_validate(prepared, config, folds, **how)
        outcome = verdict.judge(prepared, trained, trusted, levels, folds=measured, **shown)
    return outcome, trained.checkpoint


def _make_room(prepared: Photos) -> None:
    """Gives back memory that only what came before needed."""
    gc.collect()
    pixels.release(prepared.pixels)


def fit(
    prepared: Photos,
    config: Config,
    *,
    data: Path = Path("data"),
    say: Say = print,
    rows: tuple[np.ndarray, np.ndarray] | None = None,
    augmented: np.ndarray | None = None,
    watch: Watch | None = None,
    clock: Clock | None = None,
    replicas: Replicas = ONE,
) -> Trained:
    """Trains a classifier in phases, resuming where an interrupted call with the same photos and
    settings stood.

    Args:
        prepared: the photos.
        config: the recipe.
        data: folder for caches and checkpoints.
        say: receives a line a phase.
        rows: (training, validation) photo numbers; the catalogue's split when left out.
        augmented: photo numbers whose augmented views are kept; the training photos when left
            out. Folds share one cache by keeping them for all photos.
        watch: sees the row of every epoch and may end the run; what it ended, or what diverged
            under its eyes, is not resumed.
        clock: learns where the time goes.
        replicas: the devices that learn together.

    Raises:
        InputError, WorldError, AbandonedError: see `train.training.train`.
    """
    catalogue = prepared.catalogue
    train, validation = rows or (catalogue.rows("train"), catalogue.rows("validation"))
    clock = clock or Clock()
    with clock.during("starting"):
        inputs, weights = open_network(
            prepared, config, train, augmented=augmented, data=data, replicas=replicas, say=say
        )
    built, config = inputs.classifier, inputs.config
    key = f"{config} {catalogue.key()} {catalogue.labels} {classifiers.fingerprint(built.model)}"
    name = checkpoint.name(key, catalogue.label_ids, train, validation)
    saved = data / "cache" / name
    samples = Samples(catalogue.label_ids, train, validation, len(catalogue.labels))
    with replicas.locked(saved, say), clock.during("checkpoints"):
        history = _train(inputs, samples, saved, say, watch, clock)
    final = classifiers.configured(len(catalogue.labels), config, None, "float32")
    final.model.set_weights(built.model.get_weights())
    return Trained(final, config, weights, pd.DataFrame(history), inputs, saved)


def _train(
    inputs: Inputs,
    samples: Samples,
    saved: Path,
    say: Say,
    watch: Watch | None,
    clock: Clock,
) -> list[dict]:
    """All phases, with what may end them early; a run that `watch` ended is not resumed."""
    built, config, replicas = inputs.classifier, inputs.config, inputs.replicas
    feed, told = clock.timed("features", inputs.feed), clock.watching(watch)
    try:
        with hosts.together(replicas.processes):
            return training.train(built, samples, config, feed, saved, say, told, replicas)
    except (AbandonedError, DivergenceError):
        if watch is not None:
            saved.unlink(missing_ok=True)
        raise
    except KeyboardInterrupt:
        raise WorldError(
            "to finish training",
            "an interruption",
            "The last finished epoch is kept: the same command goes on from there.",
        ) from None


def open_network(
    prepared: Photos,
    config: Config,
    train: np.ndarray,
    *,
    augmented: np.ndarray | None = None,
    data: Path = Path("data"),
    say: Say = print,
    replicas: Replicas = ONE,
) -> tuple[Inputs, Weights]:
    """A classifier with its starting weights, and what it can be fed with.

    Args:
        prepared: the photos.
        config: what stands open in it is settled by weights and machine.
        train: numbers of the training photos.
        augmented: see `fit`.
        data: folder for caches.
        say: receives a line about the network.
        replicas: devices that compute features, each its part.

    Raises:
        InputError: the weights do not fit.
    """
    machine = device.find(config.precision)
    weights = weight_files.find(config.weights, config.backbone, say=say)
    say(f"network: {config.backbone}, {weights.description}; {machine.name}, {machine.precision}")
    config = recipe.settle(config, pretrained=weights.path is not None, machine=machine)
    classes = len(prepared.catalogue.labels)
    inputs = Inputs(
        classifiers.configured(classes, config, weights.path, config.precision),
        prepared.pixels,
        key=f"{prepared.catalogue.key()} {config.size}",
        train=train,
        augmented=train if augmented is None else augmented,
        config=config,
        folder=data / "cache",
        say=say,
        room=prepared.room,
        replicas=replicas,
    )
    return inputs, weights


def cross_validate(
    prepared: Photos,
    config: Config,
    k: int,
    *,
    data: Path = Path("data"),
    say: Say = print,
    clock: Clock | None = None,
    replicas: Replicas = ONE,
) -> Folds:
    """Trains k times; each time another k-th of the photos is the test set.

    Of the rest, one 2k-th of all photos validates. Look-alikes stay together.
    """
    if k < 2:
        raise InputError("at least two folds", str(k), "Correct --folds.")
    halves = catalogues.folds(prepared.catalogue, 2 * k, seed=config.seed)
    truth = prepared.catalogue.label_ids
    accuracies = []
    for fold in range(k):
        say(f"fold {fold + 1} of {k}")
        test, validation = halves // 2 == fold, halves == (2 * fold + 2) % (2 * k)
        rows = np.flatnonzero(~test & ~validation), np.flatnonzero(validation)
        chosen = {"rows": rows, "augmented": np.arange(len(truth))}
        trained = fit(
            prepared, config, **chosen, data=data, replicas=replicas, say=say, clock=clock
        )
        tested = np.flatnonzero(test)
        outputs = features.over(trained.classifier.model, prepared.pixels, tested, "test photos")
        accuracies.append(float((outputs.argmax(1) == truth[tested]).mean()))
        trained.checkpoint.unlink(missing_ok=True)
        del trained
        keras.utils.clear_session()  # Keras keeps every fold's graphs: 0.3 GB each
        gc.collect()
    return summarise(accuracies)
