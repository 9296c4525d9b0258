"""The trials of a search in one SQLite file, which several processes share."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import optuna
from optuna.trial import TrialState

from flowers import files
from flowers.errors import InputError
from flowers.train.space import Space

COUNTED = (TrialState.COMPLETE, TrialState.PRUNED)
UNPRUNED = 5  # trials that always run to their end: the median of fewer says little
PATIENCE = 100  # seconds that a process waits for the file while another writes


@contextlib.contextmanager
def opened(path: Path, name: str, seed: int = 0) -> Iterator[optuna.Study]:
    """The study in the storage, made where it is missing.

    Args:
        path: the SQLite file.
        name: of the study in it.
        seed: of what is tried.

    Raises:
        InputError: the file is something else.
        WorldError: it cannot be written.
    """
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    with files.world(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.open("ab").close()  # says in our words what cannot be written
    try:
        storage = optuna.storages.RDBStorage(
            f"sqlite:///{path}", engine_kwargs={"connect_args": {"timeout": PATIENCE}}
        )
    except Exception as error:  # of SQLAlchemy or alembic, which stay unnamed here
        raise InputError(
            f"a search that `flowers tune` keeps in {path}",
            str(error).splitlines()[0],
            "Name another file with --storage, or remove this one.",
        ) from error
    try:
        study = optuna.create_study(
            study_name=name,
            storage=storage,
            direction="maximize",
            load_if_exists=True,
            pruner=optuna.pruners.MedianPruner(n_startup_trials=UNPRUNED, n_warmup_steps=1),
        )
        # a search that goes on must not try again what it has tried
        seed = 1000 * seed + len(study.get_trials(deepcopy=False))
        study.sampler = optuna.samplers.TPESampler(seed=seed)
        yield study
    finally:
        storage.remove_session()
        storage.engine.dispose()


def take_up(study: optuna.Study, space: Space) -> None:
    """Puts back what a killed worker was at, and the base before everything else."""
    for trial in study.get_trials(states=(TrialState.RUNNING,)):
        study.tell(trial.number, state=TrialState.FAIL)
        if trial.params:
            study.enqueue_trial(trial.params, user_attrs=trial.user_attrs)
    alive = (*COUNTED, TrialState.WAITING)
    if not any(trial.user_attrs.get("default") for trial in study.get_trials(states=alive)):
        study.enqueue_trial(space.default(), user_attrs={"default": True})


def count(study: optuna.Study, states: tuple[TrialState, ...] = COUNTED) -> int:
    """How many trials are in one of the states."""
    return len(study.get_trials(deepcopy=False, states=states))
