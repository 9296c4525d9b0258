"""The search for a better configuration, from the photos to what it is worth."""

from __future__ import annotations

import gc
import hashlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import keras
import numpy as np
import optuna
from optuna.trial import TrialState

from flowers import files, pipeline
from flowers.config import Config
from flowers.data import catalogue as catalogues
from flowers.data.prepared import Photos
from flowers.errors import InputError, WorldError
from flowers.judge.folds import Gain, gain
from flowers.model import weights as weight_files
from flowers.train import device, features, recipe
from flowers.train.space import Space
from flowers.tuning import study as studies
from flowers.tuning import trials
from flowers.tuning.trials import Task

Say = Callable[[str], None]
ATTEMPTS = 3  # how often workers that were killed are started anew


@dataclass(frozen=True)
class Search:
    """How to search.

    trials: how many there are in the end; a search that goes on does what is missing.
    workers: processes at work at once.
    storage: SQLite file. Searches over other photos or another base may share it.
    folds: over which the best is compared with the base, 0 for not at all.
    fixed_phases: whether the phases stay as they are.
    """

    trials: int
    storage: Path
    workers: int = 1
    folds: int = 5
    fixed_phases: bool = False


@dataclass(frozen=True)
class Tuned:
    """What a search found.

    config: the best one; accuracy and default_accuracy: of it and of the base, on the validation
    photos that chose it. finished, stopped: trials to their end and before. gain: against the
    base on photos that chose nothing; None where nothing is better or it was not asked for.
    """

    config: Config
    changes: tuple[str, ...]
    accuracy: float
    default_accuracy: float
    finished: int
    stopped: int
    gain: Gain | None

    def as_text(self) -> str:
        """The result in a few lines."""
        lines = [
            f"best of {self.finished + self.stopped} trials ({self.stopped} stopped early): "
            f"validation accuracy {self.accuracy:.3f}, the default {self.default_accuracy:.3f}",
            "nothing beat the default" if not self.changes else "; ".join(self.changes),
        ]
        if self.gain:
            lines.append(f"against the default: {self.gain.sentence}")
        return "\n".join(lines)


def run(
    prepared: Photos,
    config: Config,
    search: Search,
    *,
    data: Path = Path("data"),
    room: int | None = None,
    say: Say = print,
) -> Tuned:
    """Searches near a configuration, and compares the best with it.

    Trials are judged on the validation photos. The comparison then trains both configurations
    on folds of the training photos and tests each on the fold left out, so that it rests on
    photos that chose nothing; test photos are not looked at.

    Args:
        prepared: the photos.
        config: the base; what stands open in it is settled by weights and machine.
        search: how to search.
        data: folder for caches.
        room: bytes that all caches may take, as `prepared` was made with.
        say: receives a line a trial.

    Raises:
        InputError: the storage is no such file, or no trial came to an end.
        WorldError: another search is at work on the storage, or workers die again and again.
    """
    machine = device.find(config.precision)
    weights = weight_files.find(config.weights, config.backbone, say=say)
    base = recipe.settle(config, pretrained=weights.path is not None, machine=machine)
    space = Space(base, search.fixed_phases)
    catalogue = prepared.catalogue
    text = f"{base} {space.choices} {catalogue.key()} {catalogue.usable['split'].tolist()}"
    name = hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()[:16]
    storage = search.storage.absolute()
    task = Task(space, prepared.source, catalogue, data, storage, name, search.trials, room)
    prepared = trials.shared(prepared, space)
    with files.locked(search.storage, patience=1), studies.opened(task.storage, task.name) as study:
        for _ in range(ATTEMPTS):
            studies.take_up(study, space)
            missing = search.trials - studies.count(study)
            if missing <= 0:
                break
            say(f"searching: {missing} of {search.trials} trials, in {search.storage}")
            if search.workers == 1:
                trials.search(study, task, prepared, say)
            else:
                trials.start(task, min(search.workers, missing))
        else:
            if studies.count(study) < search.trials:
                raise WorldError(
                    "workers that search to the end",
                    f"workers that were killed, {ATTEMPTS} times",
                    "Use fewer --workers if memory is short; the same command goes on.",
                )
        found = _result(study, space, prepared, search.folds, data, say)
    # what was settled for this machine stays open for the next
    return replace(found, config=replace(found.config, precision=config.precision))


def _result(
    study: optuna.Study, space: Space, prepared: Photos, folds: int, data: Path, say: Say
) -> Tuned:
    finished = [trial for trial in study.trials if trial.state == TrialState.COMPLETE]
    if not finished:
        raise InputError(
            "a trial that comes to its end",
            "none: each diverged",
            "Look at the photos and at the rates of the phases.",
        )
    best = max(finished, key=lambda trial: (trial.value, -trial.number))
    default = max(
        (trial.value for trial in finished if trial.user_attrs.get("default")), default=float("nan")
    )
    found = space.configuration(best.params)
    changes = _changes(space.default(), best.params)
    measured = None
    if folds and changes:
        measured = _compare(study, prepared, (space.base, found), folds, data, say)
    return Tuned(
        found,
        changes,
        best.value,
        default,
        len(finished),
        studies.count(study, (TrialState.PRUNED,)),
        measured,
    )


def _changes(usual: dict, chosen: dict) -> tuple[str, ...]:
    """What is other than in the base, in words."""

    def word(value: str | float) -> str:
        return value if isinstance(value, str) else f"{value:.3g}"

    return tuple(
        f"{name} {word(value)}" + (f" (default {word(usual[name])})" if name in usual else "")
        for name, value in chosen.items()
        if usual.get(name) != value
    )


def _compare(
    study: optuna.Study,
    prepared: Photos,
    configs: tuple[Config, Config],
    folds: int,
    data: Path,
    say: Say,
) -> Gain:
    """Trains both configurations on the same folds of the training photos."""
    accuracies: list[list[float]] = [[], []]
    for fold in range(folds):
        for number, config in enumerate(configs):
            text = f"{config} fold {fold} of {folds}"
            key = hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()[:16]
            if key not in study.user_attrs:
                study.set_user_attr(key, _fold(prepared, config, fold, folds, data))
            accuracies[number].append(study.user_attrs[key])
        first, second = (own[-1] for own in accuracies)
        say(f"fold {fold + 1} of {folds}: the default {first:.3f}, the best {second:.3f}")
    return gain(*accuracies)


def _fold(prepared: Photos, config: Config, fold: int, folds: int, data: Path) -> float:
    """The accuracy on one fold of the training photos of a network trained on the others."""
    catalogue = prepared.catalogue
    learned, truth = catalogue.rows("train"), catalogue.label_ids
    parts = catalogues.folds(catalogue, folds, seed=config.seed)[learned]
    tested = learned[parts == fold]
    if not len(tested):
        raise InputError(
            f"training photos for {folds} folds", f"{len(learned)}", "Lower --folds, or use 0."
        )
    trained = pipeline.fit(
        prepared,
        config,
        data=data,
        say=lambda line: None,
        rows=(learned[parts != fold], catalogue.rows("validation")),
        augmented=learned,
    )
    thaw = config.phases[-1].thaw
    tail, right = trained.classifier.tail(thaw), 0
    for start in range(0, len(tested), features.BATCH):
        batch = tested[start : start + features.BATCH]
        outputs = features.forward(tail, trained.inputs.before(thaw, batch))
        right += int(np.sum(outputs.argmax(axis=1) == truth[batch]))
    trained.checkpoint.unlink(missing_ok=True)
    keras.utils.clear_session()
    gc.collect()
    return right / len(tested)
