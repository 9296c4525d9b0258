"""The form that answers at once: training leaves it with its proof, and `predict` opens it."""

import shutil
import sys
import threading

import numpy as np
import pytest

from flowers import files, results
from flowers.data import catalogue as catalogues
from flowers.data import photos, pixels
from flowers.data.prepared import Photos
from flowers.data.sources import Source
from flowers.errors import InputError, WorldError
from flowers.ship import card as cards
from flowers.ship import export, formats, proof, runtimes
from flowers.ship.predictor import MANY, Predictor
from shipped import FILES


@pytest.fixture
def fresh(trained, tmp_path):
    """A model as training has just saved it: no other form of it, and its photos."""
    model, folder = trained
    shutil.copytree(model.parent, tmp_path / "models")
    listed = catalogues.load(tmp_path / "models" / "flowers" / "catalogue.csv", root=folder)
    source = Source("folder", folder, "")
    decoded = pixels.cache(listed, 32, tmp_path / "cache")
    return tmp_path / "models" / model.name, Photos(source, listed, decoded)


@pytest.fixture
def models(shipped, tmp_path):
    """The model in every format, to be changed."""
    return shutil.copytree(shipped.folder, tmp_path / "models") / "flowers.keras"


def names(folder):
    return {path.name for path in folder.iterdir() if path.suffix != ".lock"}


# --- written by training ---------------------------------------------------------------------


def test_it_is_proved_by_its_own_runtime_on_a_few_test_photos(fresh, monkeypatch):
    model, prepared = fresh
    monkeypatch.setattr(export, "FEW", 4)
    lines = []
    results.write_quick(model, prepared, lines.append)
    assert names(model.parent) == {"flowers.keras", "flowers.json", "flowers", "flowers.tflite"}
    row = cards.load(model.with_suffix(".tflite")).files["flowers.tflite"]
    assert row["photos"] == 4 and row["agreement"] == 1 and row["difference"] < 1e-4
    assert row["heat"] > 0.9999 and row["features"] > 0.9999 and row["known"] == 1
    assert row["start"] > 0 and row["latency"] > 0
    (line,) = lines
    assert "flowers.tflite" in line and "4 test photos" in line


def test_the_card_keeps_the_forms_it_has(models, shipped):
    listed = catalogues.load(models.with_suffix("") / "catalogue.csv", root=shipped.photos)
    decoded = np.stack([photos.read(listed.root / path, 32) for path in listed.usable["path"]])
    export.quick(models, decoded, listed.rows("test"), listed.label_ids)
    card = cards.load(models.with_suffix(".tflite"))
    assert set(card.files) == set(FILES) and card == cards.load(models)


def wrong(*_, **__):
    raise InputError("a graph that litert can hold", "another one", "Choose another format.")


def broken(*_, **__):
    raise RuntimeError("the converter has a fault")


@pytest.mark.parametrize(
    ("place", "name", "fault", "words"),
    [
        (formats.Converter, "write", wrong, "Received: another one"),
        (formats.Converter, "write", broken, "RuntimeError"),
        (export.trial, "run", broken, "RuntimeError"),
        (proof.Row, "shortfalls", lambda *_: ["same answer 50.00%"], "same answer 50.00%"),
    ],
)
def test_what_stands_in_its_way_is_said_and_ends_nothing(
    fresh, monkeypatch, place, name, fault, words
):
    model, prepared = fresh
    before, lines = model.with_suffix(".json").read_bytes(), []
    monkeypatch.setattr(place, name, fault)
    results.write_quick(model, prepared, lines.append)
    (line,) = lines
    assert words in line and f"flowers export {model} --format litert" in line
    assert model.with_suffix(".json").read_bytes() == before
    assert names(model.parent) == {"flowers.keras", "flowers.json", "flowers"}
    assert cards.load(model)


def test_it_asks_for_space_first(fresh, monkeypatch):
    def full(folder, needed, what):
        raise WorldError(f"{needed} free", "less", "Free some space.")

    model, prepared = fresh
    monkeypatch.setattr(files, "require_space", full)
    with pytest.raises(WorldError, match="Free some space"):
        export.quick(model, prepared.pixels, np.arange(3), prepared.catalogue.label_ids)


# --- opened by `predict` ---------------------------------------------------------------------


def test_the_quickest_float32_form_is_opened(models):
    assert Predictor.load_quickest(models)[1].name == "flowers.tflite"
    models.unlink()  # it need not be there
    assert Predictor.load_quickest(models)[1].name == "flowers.tflite"


@pytest.mark.parametrize("fault", ["changed", "of another model", "gone", "no runtime"])
def test_what_is_not_the_models_is_passed_over(models, monkeypatch, fault):
    lite = models.with_suffix(".tflite")
    if fault == "changed":
        lite.write_bytes(lite.read_bytes()[:-1] + b"x")
    elif fault == "of another model":
        values = files.read_json(models.with_suffix(".json"))
        del values["files"]["flowers.tflite"]
        files.write_json(models.with_suffix(".json"), values)
        assert not cards.describes(lite)
    elif fault == "gone":
        lite.unlink()
    else:
        monkeypatch.setitem(sys.modules, "ai_edge_litert.interpreter", None)
    assert Predictor.load_quickest(models)[1].name == "flowers.onnx"
    models.with_suffix(".onnx").unlink()
    predictor, opened = Predictor.load_quickest(models)
    assert opened == models and predictor.card == cards.load(models)


def test_a_model_that_was_copied_in_without_its_card_is_not_answered_for(models):
    content = bytearray(models.read_bytes())
    content[len(content) // 2] ^= 1
    models.write_bytes(content)
    with pytest.raises(InputError, match="changed or damaged"):
        Predictor.load_quickest(models)


def test_its_answers_are_the_models(models, shipped):
    own, (quick, _) = Predictor.load(models), Predictor.load_quickest(models)
    for path in sorted(shipped.photos.rglob("*.jpg"))[::7]:
        mine, other = quick.predict(path), own.predict(path)
        assert mine.scores == pytest.approx(other.scores, abs=1e-4)
        assert (mine.label, mine.names, mine.known) == (other.label, other.names, other.known)


# --- many photos -----------------------------------------------------------------------------


@pytest.fixture
def folder(shipped, tmp_path):
    """More photos than are begun at once, a file that is none among them, in an order."""
    text = tmp_path / "note.jpg"
    text.write_text("no photo")
    paths = [*sorted(shipped.photos.rglob("*.jpg")), text] * 4
    return [paths[n] for n in np.random.default_rng(0).permutation(len(paths))]


@pytest.mark.parametrize("name", ["flowers.tflite", "flowers.onnx"])
def test_many_photos_keep_their_order_whatever_looks_at_them(models, folder, monkeypatch, name):
    monkeypatch.setattr(runtimes.parallel, "cores", lambda: 2)
    path = models.with_name(name)
    lone, many = Predictor.load(path), Predictor.load(path, count=MANY)
    assert len(many.others) == (name == "flowers.tflite")
    expected = {path: lone.predict(path).scores for path in set(folder) if path.stem != "note"}
    found = list(many.predict_many(folder))
    assert [path for path, _ in found] == folder
    for path, answer in found:
        if path.stem == "note":
            assert "a text" in answer.received
        else:
            assert answer.scores == pytest.approx(expected[path], abs=1e-5)


def test_one_core_opens_one_model(models, monkeypatch):
    monkeypatch.setattr(runtimes.parallel, "cores", lambda: 1)
    assert not Predictor.load(models.with_suffix(".tflite"), count=MANY).others


@pytest.mark.parametrize("count", [1, MANY])
def test_no_more_photos_are_held_than_a_few_dozen(models, folder, monkeypatch, count):
    monkeypatch.setattr(runtimes.parallel, "cores", lambda: 2)
    taken = []

    def endless():
        while True:
            taken.append(folder[len(taken) % len(folder)])
            yield taken[-1]

    answers = Predictor.load(models.with_suffix(".tflite"), count=count).predict_many(endless())
    next(answers)
    assert len(taken) <= 100
    answers.close()
    assert not [thread for thread in threading.enumerate() if "ThreadPool" in thread.name]


def test_a_file_that_is_not_there_ends_it(models):
    predictor = Predictor.load(models.with_suffix(".tflite"), count=MANY)
    with pytest.raises(InputError, match="nowhere"):
        list(predictor.predict_many(["nowhere.jpg"]))
