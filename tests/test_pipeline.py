"""The main job on small photos with the miniature backbone: what it leaves, and what it refuses."""

import json
import shutil
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from flowers import evaluation, files, pipeline
from flowers.config import Config, Phase, phases, usual
from flowers.data import photos, prepared
from flowers.errors import InputError
from flowers.judge.assessment import NONE
from flowers.ship.predictor import Predictor

CONFIG = Config.tiny(
    phases=(
        Phase("head", thaw="head", epochs=4, rate=0.03, batch=8),
        Phase("last stage", thaw="stage", epochs=6, rate=0.01, batch=8, patience=6),
    )
)


@pytest.fixture(scope="module")
def job(small_folder, tmp_path_factory):
    """One run of the main job, and the lines it said."""
    folder = tmp_path_factory.mktemp("job")
    lines = []
    outcome = pipeline.run(
        str(small_folder),
        CONFIG,
        data=folder / "data",
        model=folder / "models" / "flowers.keras",
        export=False,
        say=lines.append,
        command="flowers train",
    )
    return outcome, lines


def test_leaves_a_model_a_card_and_a_report(job):
    outcome, lines = job
    card = files.read_json(outcome.model.with_suffix(".json"))
    assert card["labels"] == ["circle", "square", "triangle"]
    assert card["sha256"] == files.sha256(outcome.model)
    names = {path.name for path in outcome.folder.iterdir()}
    assert names == {
        "report.html",
        "report.json",
        "predictions.csv",
        "history.csv",
        "catalogue.csv",
        "similar.npz",
    }
    html = (outcome.folder / "report.html").read_text("utf-8")
    assert "photos it had never seen" in html
    assert "<script" not in html and "http://" not in html.replace("http://www.w3.org", "")
    said = "\n".join(lines)
    assert "at least 20 validation photos" in said  # too few to calibrate on, and told so
    assert card["temperature"] == 1 and card["sets"] is None and card["threshold"] is None
    for word in ("photos:", "catalogue:", "pixels:", "network:", "head:", "last stage:"):
        assert word in said
    assert "test accuracy" in outcome.as_text()


def test_without_an_export_there_is_the_model_alone(job):
    outcome, _ = job
    assert not files.read_json(outcome.model.with_suffix(".json"))["files"]
    assert not list(outcome.model.parent.glob("*.tflite"))


def test_its_figures_agree_with_one_another(job):
    outcome, _ = job
    table = pd.read_csv(outcome.folder / "predictions.csv")
    catalogue = pd.read_csv(outcome.folder / "catalogue.csv", keep_default_na=False)
    assert sorted(table["path"]) == sorted(catalogue["path"][catalogue["split"] == "test"])
    report = json.loads((outcome.folder / "report.json").read_text())
    assert report["accuracy"] == pytest.approx(table["correct"].mean())
    assert report["photos"] == len(table) == outcome.report.photos
    assert outcome.report.accuracy >= 0.6  # three colours; chance is a third


def test_a_fresh_process_gives_the_same_probabilities(job, small_folder):
    outcome, _ = job
    code = (
        "import sys, json, pathlib; from flowers.ship.predictor import Predictor\n"
        "predictor = Predictor.load(sys.argv[1])\n"
        "pairs = predictor.predict_many(sys.argv[2:])\n"
        "print(json.dumps([answer.scores for _, answer in pairs]))"
    )
    table = pd.read_csv(outcome.folder / "predictions.csv")
    paths = [str(small_folder / path) for path in table["path"]]
    done = subprocess.run(
        [sys.executable, "-c", code, str(outcome.model), *paths],
        capture_output=True,
        text=True,
        check=True,
    )
    for scores, (_, row) in zip(json.loads(done.stdout), table.iterrows(), strict=True):
        for label, probability in scores.items():
            assert probability == pytest.approx(row[f"p_{label}"], abs=1e-5)


def test_predicts_from_paths_bytes_and_many(job, small_folder):
    outcome, _ = job
    predictor = Predictor.load(outcome.model)
    path = next((small_folder / "circle").iterdir())
    one = predictor.predict(path)
    assert one.scores == predictor.predict(path.read_bytes()).scores
    assert next(iter(one.scores)) == one.label and sum(one.scores.values()) == pytest.approx(1)
    bad = outcome.model  # no photo
    (_, first), (_, refused), (_, last) = predictor.predict_many([path, bad, path])
    assert first.label == last.label == one.label
    assert isinstance(refused, photos.PhotoError)


def test_evaluates_the_test_photos_again_with_the_same_result(job, small_folder, tmp_path):
    outcome, _ = job
    again = evaluation.evaluate(
        outcome.model,
        str(small_folder),
        data=tmp_path,
        folder=tmp_path / "again",
        effort=NONE,
        say=lambda _: 0,
    )
    assert again.report.correct == outcome.report.correct
    assert again.report.photos == outcome.report.photos


def test_evaluates_other_photos_but_none_it_has_seen(job, small_folder, tmp_path):
    outcome, _ = job
    other = tmp_path / "other"
    shutil.copytree(small_folder, other)
    random = np.random.default_rng(5)
    from PIL import Image

    for number in range(4):
        noise = random.integers(0, 256, (40, 40, 3)).astype(np.uint8)
        Image.fromarray(noise).save(other / "circle" / f"new-{number}.png")
    again = evaluation.evaluate(
        outcome.model,
        str(other),
        data=tmp_path,
        folder=tmp_path / "report",
        effort=NONE,
        say=lambda _: 0,
    )
    assert again.report.photos == outcome.report.photos + 4
    seen = pd.read_csv(outcome.folder / "catalogue.csv", keep_default_na=False)
    train_only = tmp_path / "train only"
    for path in seen["path"][seen["split"] == "train"]:
        (train_only / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(small_folder / path, train_only / path)
    with pytest.raises(InputError, match="not learned from"):
        evaluation.evaluate(outcome.model, str(train_only), data=tmp_path, say=lambda _: 0)
    (train_only / "circle").rename(train_only / "ellipse")
    with pytest.raises(InputError, match="ellipse"):
        evaluation.evaluate(outcome.model, str(train_only), data=tmp_path, say=lambda _: 0)


def test_cross_validates_every_photo_once(small_folder, tmp_path):
    config = Config.tiny(phases=(Phase("head", thaw="head", epochs=1, rate=0.03, batch=8),))
    prepared = pipeline.prepare(str(small_folder), config, data=tmp_path, say=lambda _: 0)
    folds = pipeline.cross_validate(prepared, config, 3, data=tmp_path, say=lambda _: 0)
    assert len(folds.accuracies) == 3
    assert folds.interval.low <= folds.mean <= folds.interval.high
    assert folds.mean == pytest.approx(np.mean(folds.accuracies))
    with pytest.raises(InputError, match="two folds"):
        pipeline.cross_validate(prepared, config, 1, data=tmp_path)


@pytest.mark.parametrize("damage", ["another content", "no card", "no model", "other labels"])
def test_opens_no_model_that_is_not_the_cards(job, tmp_path, damage):
    model = tmp_path / "flowers.keras"
    card = tmp_path / "flowers.json"
    shutil.copy(job[0].model, model)
    shutil.copy(job[0].model.with_suffix(".json"), card)
    if damage == "another content":
        model.write_bytes(model.read_bytes()[:-1] + b"x")
    elif damage == "no card":
        card.unlink()
    elif damage == "no model":
        model.unlink()
    else:
        values = files.read_json(card)
        files.write_json(card, values | {"labels": ["one", "two"]})
    with pytest.raises(InputError):
        Predictor.load(model)


def test_the_real_network_goes_the_whole_way(small_folder, tmp_path):
    """ResNet50 at 64 px, both phases, from its structured random start."""
    config = Config(
        size=64,
        weights="none",
        views=1,
        phases=(
            Phase("head", thaw="head", epochs=20, rate=1e-3, batch=8, patience=20),
            Phase("last stage", thaw="stage", epochs=1, rate=1e-5, batch=12),
        ),
    )
    outcome = pipeline.run(
        str(small_folder), config, data=tmp_path, model=tmp_path / "m.keras", say=lambda _: 0
    )
    assert Predictor.load_quickest(outcome.model)[1] == tmp_path / "m.tflite"
    history = pd.read_csv(outcome.folder / "history.csv")
    head = history[history["phase"] == "head"]
    assert head["loss"].iloc[-1] < head["loss"].iloc[0]
    assert head["val_accuracy"].max() > 0.5  # three classes
    assert list(history["phase"].unique()) == ["head", "last stage"]
    assert Predictor.load(outcome.model).card.size == 64


def test_a_network_from_scratch_goes_the_whole_way_on_a_set_that_comes_split(
    small_folder, tmp_path
):
    """A thin ResNet of 8 layers by gradient descent, with crops and flips, judged on test/."""
    for path in sorted(small_folder.glob("*/*.jpg")):
        part = "test" if path.stem.endswith(("_00", "_01", "_02")) else "train"
        target = tmp_path / "set" / part / path.parent.name / path.name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, target)
    phase = replace(phases("cycle")[0], epochs=12, rate=0.05, batch=8, patience=12)
    config = replace(usual("set", "resnet8"), phases=(phase,), precision="float32")
    outcome = pipeline.run(
        str(tmp_path / "set"), config, data=tmp_path, model=tmp_path / "m.keras", say=lambda _: 0
    )
    assert outcome.report.photos == 9
    assert outcome.report.accuracy >= 0.6  # three colours; chance is a third
    table = pd.read_csv(outcome.folder / "predictions.csv")
    assert table["path"].str.startswith("test/").all()
    predictor, opened = Predictor.load_quickest(outcome.model)
    assert opened == tmp_path / "m.tflite"
    answer = predictor.predict(tmp_path / "set" / table["path"].iloc[0])
    assert predictor.card.size == 32 and answer.label == table["predicted"].iloc[0]
    assert predictor.card.settings["augmentation"] == "crop"


@pytest.mark.parametrize(
    ("settings", "words"),
    [({"size": 28}, "at least 32 px"), ({"backbone": "resnet21"}, "6n . 2 layers")],
)
def test_what_cannot_be_built_is_refused_before_photos_are_fetched(tmp_path, settings, words):
    with pytest.raises(InputError, match=words):
        config = replace(usual("cifar10"), **settings)
        pipeline.run("cifar10", config, data=tmp_path / "data", model=tmp_path / "m.keras")
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize("room", [0, 150_000])
def test_a_cache_that_is_too_small_changes_no_answer(job, small_folder, tmp_path, room):
    """36 photos of 32 px are 110 kB, their features 100 kB more."""
    lines, data = [], tmp_path / "data"
    ready = prepared.prepare(str(small_folder), CONFIG, data=data, room=room, say=lines.append)
    model = tmp_path / "models" / "flowers.keras"
    outcome = pipeline.run(ready, CONFIG, data=data, model=model, export=False, say=lines.append)
    assert sum("--cache-gb" in line for line in lines) == 2
    for name in ("predictions.csv", "history.csv"):
        tables = (pd.read_csv(folder / name) for folder in (job[0].folder, outcome.folder))
        first, second = (table.drop(columns="seconds", errors="ignore") for table in tables)
        pd.testing.assert_frame_equal(first, second)
    arrays = [path.stat().st_size - 128 for path in (data / "cache").rglob("*.npy")]
    assert sum(arrays) <= room
