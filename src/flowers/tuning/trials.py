"""Trials, one after another in this process, or in several at once."""

from __future__ import annotations

import gc
import multiprocessing
import os
import signal
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import keras
import optuna
from optuna.trial import TrialState

from flowers import files, pipeline
from flowers.config import Config
from flowers.data import prepared as preparation
from flowers.data.catalogue import Catalogue
from flowers.data.prepared import Photos
from flowers.data.sources import Source
from flowers.errors import FlowersError, WorldError
from flowers.train.space import Space
from flowers.train.training import AbandonedError, DivergenceError
from flowers.tuning.study import COUNTED, count, opened

Say = Callable[[str], None]


@dataclass(frozen=True)
class Task:
    """What a worker needs, small enough to hand over."""

    space: Space
    source: Source
    catalogue: Catalogue
    data: Path
    storage: Path
    name: str
    trials: int
    room: int | None = None


def shared(prepared: Photos, space: Space) -> Photos:
    """The photos with the room of one trial.

    Each strength of augmentation has its features, and so has each choice of phases: those of the
    head are of the whole network, those of the last stage of what lies before it.
    """
    kinds = space.strengths * len(space.choices)
    room = prepared.room
    return prepared if room is None else replace(prepared, room=room // kinds)


def start(task: Task, workers: int) -> None:
    """Searches in several processes; comes back when all have ended."""
    context = multiprocessing.get_context("spawn")  # a fork of TensorFlow hangs
    threads = str(max(1, (os.cpu_count() or 1) // workers))
    own = {
        "FLOWERS_PROGRESS": "off",
        "OMP_NUM_THREADS": threads,
        "TF_NUM_INTRAOP_THREADS": threads,
        "TF_NUM_INTEROP_THREADS": threads,
        "TF_FORCE_GPU_ALLOW_GROWTH": "true",
    }
    before = dict(os.environ)
    os.environ.update({name: value for name, value in own.items() if name not in before})
    processes = [context.Process(target=_work, args=(task, n)) for n in range(workers)]
    try:
        for process in processes:
            process.start()
        for process in processes:
            process.join()
    except KeyboardInterrupt:
        raise WorldError(
            "to finish the search",
            "an interruption",
            "The finished trials are kept: the same command goes on from there.",
        ) from None
    finally:
        for process in processes:
            if process.is_alive():
                process.terminate()
                process.join()
        for name in own.keys() - before.keys():
            del os.environ[name]
    if any(process.exitcode > 0 for process in processes):
        raise WorldError(
            "workers that search to the end",
            "one that stopped with the message above",
            "Do what it says; the finished trials are kept: the same command goes on.",
        )


def _work(task: Task, number: int) -> None:
    """A worker: opens the photos and the storage, and searches until enough is found."""
    for stop in (signal.SIGINT, signal.SIGTERM):
        signal.signal(stop, signal.SIG_DFL)  # the parent says what is to be said

    def say(line: str) -> None:
        print(line, file=sys.stderr, flush=True)

    try:
        size = task.space.base.size
        prepared = preparation.decode(task.source, task.catalogue, size, task.data, task.room)
        with opened(task.storage, task.name, seed=number) as study:
            search(study, task, shared(prepared, task.space), say)
    except FlowersError as error:
        say(f"worker {number + 1}: {error}")
        sys.exit(error.exit_code)


def search(study: optuna.Study, task: Task, prepared: Photos, say: Say) -> None:
    """Trials until there are enough; those that others have begun count."""
    parent = multiprocessing.parent_process()
    while parent is None or parent.is_alive():
        with files.locked(task.storage.with_name(f"{task.storage.name}.next")):
            if count(study, (*COUNTED, TrialState.RUNNING)) >= task.trials:
                return
            trial = study.ask()
            trial.set_user_attr("process", os.getpid())
        config = task.space.suggest(trial)
        try:
            value = _try(trial, prepared, config, task.data)
        except (AbandonedError, DivergenceError) as error:
            study.tell(trial, state=TrialState.PRUNED)
            why = "diverged" if isinstance(error, DivergenceError) else "stopped early"
            say(f"trial {trial.number}: {why}")
            continue
        finally:
            keras.utils.clear_session()
            gc.collect()
        study.tell(trial, value)
        say(f"trial {trial.number}: {value:.3f}, the best so far {study.best_value:.3f}")


def _try(trial: optuna.Trial, prepared: Photos, config: Config, data: Path) -> float:
    """The validation accuracy of the epoch that is kept; every epoch is reported."""
    order = [phase.name for phase in config.phases]

    def watch(row: dict) -> bool:
        # so that trials are compared at the same epoch of the same phase
        trial.report(row["val_accuracy"], 10_000 * order.index(row["phase"]) + row["epoch"])
        return trial.should_prune()

    trained = pipeline.fit(prepared, config, data=data, say=lambda line: None, watch=watch)
    trained.checkpoint.unlink(missing_ok=True)
    last = trained.history[trained.history["phase"] == order[-1]]
    return float(last.loc[last["val_loss"].idxmin(), "val_accuracy"])
