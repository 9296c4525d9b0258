"""A search: its trials, what a kill leaves, several workers, and what the best is worth."""

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import optuna
import pytest
from sqlalchemy.exc import SQLAlchemyError

from flowers import config_file, files, pipeline
from flowers.config import Config, Phase
from flowers.data import prepared as preparation
from flowers.errors import InputError, WorldError
from flowers.files import locked
from flowers.judge.folds import gain
from flowers.train.space import Space
from flowers.tuning import search, study, trials
from flowers.tuning.search import Search

CONFIG = Config.tiny(phases=(Phase("head", "head", 2, 0.003, 16),), views=1)
BOTH = Config.tiny()


@pytest.fixture(scope="module")
def photos(small_folder, tmp_path_factory):
    """36 photos of shapes, ready, and the folder of their caches."""
    data = tmp_path_factory.mktemp("data")
    return preparation.prepare(str(small_folder), CONFIG, data=data, say=lambda line: None), data


@pytest.fixture(scope="module")
def done(photos, tmp_path_factory):
    """A search of 4 trials, compared over 2 folds; its storage and what it said."""
    prepared, data = photos
    storage, lines = tmp_path_factory.mktemp("search") / "tune.sqlite3", []
    settings = Search(4, storage, folds=2, fixed_phases=True)
    return search.run(prepared, CONFIG, settings, data=data, say=lines.append), storage, lines


@pytest.fixture
def storage(done, tmp_path):
    """A copy of the storage of that search, to go on with."""
    return shutil.copy(done[1], tmp_path / "tune.sqlite3")


def opened(storage):
    """The one study in a storage."""
    (summary,) = optuna.get_all_study_summaries(f"sqlite:///{storage}")
    return study.opened(storage, summary.study_name)


def test_the_default_is_tried_first_and_the_best_is_the_best(done):
    tuned, storage, lines = done
    with opened(storage) as found:
        tried = found.get_trials()
    assert [trial.number for trial in tried] == [0, 1, 2, 3]
    assert tried[0].params == pytest.approx(Space(CONFIG, True).default())
    values = [trial.value for trial in tried if trial.state == optuna.trial.TrialState.COMPLETE]
    assert tuned.accuracy == max(values) and tuned.default_accuracy == values[0]
    assert tuned.finished + tuned.stopped == 4
    assert sum(line.startswith("trial ") for line in lines) == 4
    assert tuned.as_text().startswith("best of 4 trials")


def test_leaves_no_checkpoint_behind(done, photos):
    assert not list((photos[1] / "cache").glob("run-*.npz"))


def test_goes_on_where_it_stood(done, photos, storage):
    tuned, _, _ = done
    prepared, data = photos
    again, lines = [], []
    for count in (4, 5):
        settings = Search(count, storage, folds=0, fixed_phases=True)
        again.append(search.run(prepared, CONFIG, settings, data=data, say=lines.append))
    assert again[0].config == tuned.config and again[0].finished == tuned.finished
    assert sum(line.startswith("trial ") for line in lines) == 1
    assert again[1].finished + again[1].stopped == 5


def test_a_trial_that_was_killed_is_done_again(photos, storage):
    prepared, data = photos
    with opened(storage) as found:
        killed = found.ask()
        Space(CONFIG, True).suggest(killed)
        parameters = killed.params
    settings = Search(5, storage, folds=0, fixed_phases=True)
    tuned = search.run(prepared, CONFIG, settings, data=data, say=lambda line: None)
    assert tuned.finished + tuned.stopped == 5
    with opened(storage) as found:
        states = [trial.state.name for trial in found.get_trials()]
        again = found.get_trials()[-1]
    assert states[4] == "FAIL" and again.params == parameters


def test_the_best_is_compared_on_photos_that_chose_nothing(photos, storage, monkeypatch):
    prepared, data = photos
    with opened(storage) as found:
        model = found.get_trials()[0]
        best = model.params | {"label_smoothing": 0.0, "rate_1_head": 0.01}
        found.add_trial(
            optuna.trial.create_trial(
                value=2.0, params=best, distributions=model.distributions, intermediate_values={}
            )
        )
    learned, fit = [], pipeline.fit

    def watched(*given, **settings):
        learned.append((given[1], *settings["rows"]))
        return fit(*given, **settings)

    monkeypatch.setattr(pipeline, "fit", watched)
    settings, lines = Search(5, storage, folds=2, fixed_phases=True), []
    tuned = search.run(prepared, CONFIG, settings, data=data, say=lines.append)
    assert tuned.config.phases[0].rate == 0.01 and len(tuned.changes) >= 1
    assert [line[:11] for line in lines if line.startswith("fold")] == [
        "fold 1 of 2",
        "fold 2 of 2",
    ]
    assert "against the default: " in tuned.as_text() and tuned.gain.sentence in tuned.as_text()
    # both learn from the same photos of the training set, and choose their epoch by the same
    catalogue = prepared.catalogue
    train, validation = (set(catalogue.rows(name)) for name in ("train", "validation"))
    assert [config == tuned.config for config, _, _ in learned] == [False, True] * 2
    for (_, first, _), (_, second, chosen_by) in (learned[:2], learned[2:]):
        assert set(first) == set(second) < train and set(chosen_by) == validation
    assert set(learned[0][1]) | set(learned[2][1]) == train
    monkeypatch.setattr(pipeline, "fit", None)  # what has been compared is not trained again
    again = search.run(prepared, CONFIG, settings, data=data, say=lambda line: None)
    assert again.gain == tuned.gain


def test_a_trial_that_falls_behind_is_stopped(done, photos, storage):
    prepared, data = photos
    with opened(storage) as found:
        ahead = dict.fromkeys(range(1, 30), 2.0) | {10_001: 2.0, 10_002: 2.0}
        model = found.get_trials()[0]
        for _ in range(study.UNPRUNED):  # better than anything can be
            found.add_trial(
                optuna.trial.create_trial(
                    value=2.0,
                    params=model.params,
                    distributions=model.distributions,
                    intermediate_values=ahead,
                )
            )
    lines = []
    settings = Search(4 + study.UNPRUNED + 1, storage, folds=0, fixed_phases=True)
    tuned = search.run(prepared, CONFIG, settings, data=data, say=lines.append)
    assert lines[-1].endswith("stopped early") and tuned.stopped == done[0].stopped + 1
    assert not list((data / "cache").glob("run-*.npz"))


def test_a_rate_that_diverges_is_one_bad_trial(photos, tmp_path, monkeypatch):
    prepared, data = photos
    tried = []

    def sometimes(trial, *rest):
        tried.append(trial.number)
        if trial.number == 0:
            raise trials.DivergenceError("a finite loss", "inf", "Lower the rate.")
        return 0.5

    monkeypatch.setattr(trials, "_try", sometimes)
    settings = Search(2, tmp_path / "tune.sqlite3", folds=0, fixed_phases=True)
    tuned = search.run(prepared, CONFIG, settings, data=data, say=lambda line: None)
    assert tried == [0, 1] and (tuned.finished, tuned.stopped) == (1, 1)


def test_workers_share_one_storage(small_folder, tmp_path, run_flowers, run_here):
    arguments = ("--data", small_folder, "--backbone", "miniature", "--size", "32")
    arguments += ("--epochs", "2", "--weights", "none", "--phases", "head", "--views", "1")
    arguments += ("--folds", "0", "--trials", "4", "--workers", "2")
    done = run_flowers("tune", *arguments, timeout=600)
    assert done.code == 0, done.stderr
    numbers = {line.split()[1] for line in done.stderr.splitlines() if line.startswith("trial ")}
    assert numbers == {"0:", "1:", "2:", "3:"}
    storage = tmp_path / "data" / "tune.sqlite3"
    ended = [optuna.trial.TrialState.COMPLETE, optuna.trial.TrialState.PRUNED]
    assert len(set().union(*(processes(storage, state) for state in ended))) == 2
    assert done.stdout.startswith("best of 4 trials")
    text = (tmp_path / "best.toml").read_text("utf-8")
    assert text.startswith("# best of 4 trials")
    assert config_file.read(tmp_path / "best.toml")["phases"][0].thaw == "head"
    again = run_here("tune", *arguments)
    assert again.stdout == done.stdout and "trial " not in again.stderr
    trained = run_here("train", "--data", small_folder, "--config", "best.toml", "--no-export")
    assert trained.code == 0, trained.stderr
    settings = files.read_json(tmp_path / "models" / "flowers.json")["settings"]
    best = config_file.read(tmp_path / "best.toml")
    assert settings["label smoothing"] == best["label_smoothing"] and settings["size"] == "32 px"
    assert f"at {best['phases'][0].rate:g}, batch" in settings["phases"][0]


def test_what_a_killed_worker_leaves_is_searched_anew(small_folder, tmp_path):
    arguments = ["tune", "--data", str(small_folder), "--backbone", "miniature", "--size", "32"]
    arguments += ["--epochs", "2", "--weights", "none", "--phases", "head", "--views", "1"]
    arguments += ["--folds", "0", "--trials", "6", "--workers", "2"]
    code, storage = "from flowers.cli import main; main()", tmp_path / "data" / "tune.sqlite3"
    with (tmp_path / "said").open("w") as said:
        command = [sys.executable, "-c", code, *arguments]
        process = subprocess.Popen(command, cwd=tmp_path, stderr=said, stdout=said)
    with process:
        while len(at_work := processes(storage, RUNNING)) < 2 and process.poll() is None:
            time.sleep(0.05)
        os.kill(min(at_work), signal.SIGKILL)
    text = (tmp_path / "said").read_text()
    assert process.returncode == 0, text
    assert sum(line.startswith("searching: ") for line in text.splitlines()) == 2
    with opened(storage) as found:
        assert (study.count(found), study.count(found, (RUNNING,))) == (6, 0)
    assert processes(storage, optuna.trial.TrialState.FAIL) == {min(at_work)}


RUNNING = optuna.trial.TrialState.RUNNING


def processes(storage, state):
    """Those whose trials are in a state."""
    try:
        with opened(storage) as found:
            tried = found.get_trials(states=(state,))
    except (InputError, ValueError, SQLAlchemyError, optuna.exceptions.OptunaError):
        return set()  # it is being made
    return {trial.user_attrs["process"] for trial in tried if "process" in trial.user_attrs}


def test_the_command_hands_over_what_it_was_asked_for(small_folder, run_here, monkeypatch):
    asked = []

    def searched(prepared, config, settings, **rest):
        asked.append((config, settings))
        raise InputError("a search", "none", "It was only asked for.")

    monkeypatch.setattr(search, "run", searched)
    tiny = ("--data", small_folder, "--backbone", "miniature", "--size", "32", "--epochs", "2")
    assert run_here("tune", *tiny).code == 2
    more = ("--folds", "3", "--trials", "7", "--workers", "2", "--phases", "head")
    assert run_here("tune", *tiny, *more, "--storage", "other.sqlite3").code == 2
    (usual, first), (head, second) = asked
    assert first == Search(30, Path("data/tune.sqlite3"), workers=1, folds=5)
    assert second == Search(7, Path("other.sqlite3"), workers=2, folds=3, fixed_phases=True)
    assert [phase.epochs for phase in usual.phases] == [2, 2]
    assert [phase.thaw for phase in head.phases] == ["head"]


def test_only_one_search_is_at_work_on_a_storage(photos, tmp_path):
    prepared, data = photos
    storage = tmp_path / "tune.sqlite3"
    with locked(storage), pytest.raises(WorldError, match="another process"):
        search.run(prepared, CONFIG, Search(1, storage), data=data)


def test_a_storage_that_is_something_else_is_refused(photos, tmp_path):
    prepared, data = photos
    storage = tmp_path / "tune.sqlite3"
    storage.write_bytes(b"\xff\xd8\xff no database" * 100)
    before = storage.read_bytes()
    with pytest.raises(InputError, match="--storage"):
        search.run(prepared, CONFIG, Search(1, storage), data=data)
    assert storage.read_bytes() == before


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("--out", "best.json"), 2),
        (("--folds", "1"), 2),
        (("--trials", "0"), 2),
        (("--workers", "0"), 2),
        (("--config", "nowhere.toml"), 2),
    ],
)
def test_refuses_in_words(run_here, small_folder, arguments, code):
    done = run_here("tune", "--data", small_folder, *arguments)
    assert done.code == code and done.stderr.strip() and "Traceback" not in done.stderr


def test_the_space_holds_its_default_and_keeps_what_is_fixed():
    space = Space(BOTH)
    assert space.configuration(space.default()) == BOTH
    fixed = Space(BOTH, fixed_phases=True)
    assert fixed.choices == ("head,stage",) and "phases" not in fixed.default()
    scratch = Config.tiny(phases=(Phase("s", "scratch", 2, 0.1),), head=(), augmentation="crop")
    assert set(Space(scratch).default()) == {"rate_1_scratch", "label_smoothing"}
    trial = optuna.trial.FixedTrial(space.default() | {"phases": "head"})
    assert [phase.thaw for phase in space.suggest(trial).phases] == ["head"]


def test_a_gain_is_tested_with_the_folds_in_mind():
    found = gain([0.90, 0.91, 0.92, 0.93], [0.92, 0.92, 0.95, 0.95])
    # differences 2, 1, 3, 2 points: variance 2/3, enlarged by 1/3 of what four folds would have
    assert found.mean == pytest.approx(0.02)
    error = (2 / 3 * (1 / 4 + 1 / 3)) ** 0.5 / 100
    assert found.interval.high - found.mean == pytest.approx(3.182446 * error, rel=1e-5)
    assert found.p == pytest.approx(0.0497, abs=2e-3) and "+2.00 points" in found.sentence
    assert gain([0.9, 0.9], [0.9, 0.9]).p == 1 and gain([0.8, 0.8], [0.9, 0.9]).p == 0
