"""What the notebooks share: where they take photos from, how small their pictures are."""

import importlib.util
import io
from pathlib import Path

import matplotlib.pyplot as plt
import nbformat
import numpy as np
import pytest
from PIL import Image

from flowers import files, lesson, pipeline
from flowers.config import Config, Phase, usual
from flowers.data.sources import Source
from flowers.errors import InputError

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture
def execute():
    """The module that rewrites the committed notebooks."""
    spec = importlib.util.spec_from_file_location("execute", ROOT / "notebooks" / "execute.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_variables_settle_what_a_notebook_runs_on(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("FLOWERS_DATA", "my/photos")
    monkeypatch.setenv("FLOWERS_WEIGHTS", "my/weights.h5")
    monkeypatch.setenv("FLOWERS_LESSONS", str(tmp_path))
    here = lesson.begin()
    assert (here.source, here.weights) == ("my/photos", "my/weights.h5")
    assert here.model == tmp_path / "models" / "flowers.keras"
    assert "keras" in capsys.readouterr().out
    here.say(f"in {here.data}/cache")
    assert capsys.readouterr().out == "in data/cache\n"


def test_without_variables_a_notebook_writes_beside_itself(monkeypatch):
    monkeypatch.delenv("FLOWERS_LESSONS")
    here = lesson.begin()
    assert (here.source, here.weights) == ("auto", "auto")
    assert here.data == Path("data")


def test_offline_the_photos_are_painted_and_the_recipe_is_small(tmp_path, monkeypatch):
    monkeypatch.setattr(lesson, "PAINTED", 2)
    here = lesson.Lesson("auto", "auto", tmp_path)
    source = here.photos()
    assert source.name == "painted"
    assert len(list(source.folder.rglob("*.jpg"))) == 10
    small = here.config(source)
    assert (small.size, small.precision, small.weights) == (96, "float32", "none")
    assert here.config(Source("folder", tmp_path, "")) == Config(weights="auto")


def test_flowers_stand_in_for_hand_signs_that_cannot_be_had(tmp_path, monkeypatch):
    monkeypatch.setattr(lesson, "PAINTED", 2)
    here = lesson.Lesson("auto", "auto", tmp_path)
    painted = here.photos("signs")
    assert painted.name == "painted"
    config = here.config(painted, like="signs")
    assert (config.backbone, config.size) == ("resnet50-scratch", 64)
    assert [phase.epochs for phase in config.phases] == [2]
    signs = Source("signs", tmp_path, "")
    assert here.config(signs, like="signs") == usual("signs")
    assert here.config(Source("cifar10", tmp_path, ""), like="cifar10") == usual("cifar10")


def test_later_lessons_find_the_model_of_lesson_2_or_train_it(tmp_path, monkeypatch):
    monkeypatch.setattr(lesson, "PAINTED", 7)
    here = lesson.Lesson("auto", "none", tmp_path)
    config = Config.tiny(phases=(Phase("head", thaw="head", epochs=1, rate=0.01, batch=16),))
    prepared = pipeline.prepare(here.photos(), config, data=here.data, say=lambda line: None)
    made = here.trained(prepared, config)
    assert made == tmp_path / "models" / "miniature.keras"
    before = made.stat().st_mtime_ns
    assert here.trained(prepared, config).stat().st_mtime_ns == before
    card = files.read_json(made.with_suffix(".json"))
    files.write_json(made.with_suffix(".json"), card | {"catalogue": "of other photos"})
    assert here.trained(prepared, config).stat().st_mtime_ns > before
    assert here.others(prepared, 32).shape == (7, 32, 32, 3)


def test_other_things_may_be_named_and_may_not_be_flowers(tmp_path, monkeypatch, small_folder):
    monkeypatch.setattr(lesson, "PAINTED", 3)
    here = lesson.Lesson("auto", "none", tmp_path)
    painted = here.photos()
    quiet = {"data": here.data, "say": lambda line: None}
    prepared = pipeline.prepare(painted, Config.tiny(), **quiet)
    monkeypatch.setenv("FLOWERS_OTHERS", str(small_folder))
    assert here.others(prepared, 32).shape == (36, 32, 32, 3)
    monkeypatch.setenv("FLOWERS_OTHERS", str(painted.folder))
    with pytest.raises(InputError):
        here.others(prepared, 32)


@pytest.mark.parametrize(("photo", "kind"), [(True, "image/jpeg"), (False, "image/png")])
def test_pictures_weigh_little(photo, kind):
    figure, axes = plt.subplots(figsize=(4.8, 3.6))
    if photo:
        axes.imshow(np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8))
    else:
        axes.plot(range(9))
    mime, content = lesson.picture(figure)
    plt.close(figure)
    assert mime == kind
    assert len(content) < 60_000
    assert Image.open(io.BytesIO(content)).format in kind.upper()


def test_a_notebook_is_written_without_what_differs_from_run_to_run(execute):
    printed = [nbformat.v4.new_output("stream", name="stdout", text=text) for text in "ab"]
    cell = nbformat.v4.new_code_cell("print()", outputs=printed, execution_count=1)
    cell.metadata = {"execution": {"iopub.status.busy": "now"}, "tags": ["kept"]}
    book = nbformat.v4.new_notebook(cells=[cell])
    book.metadata = {"language_info": {"name": "python", "version": "3.11.7"}}
    tidied = execute.tidied(book)
    assert tidied.cells[0].metadata == {"tags": ["kept"]}
    assert [output.text for output in tidied.cells[0].outputs] == ["ab"]
    assert "3.11.7" not in nbformat.writes(tidied)
    assert execute.tidied(tidied) == tidied
