"""A small model, good and broken photos, and a look at what the processes import."""

import shutil
from pathlib import Path

import pytest

from scored import write_model

OFFLINE = Path(__file__).parents[1] / "offline" / "sitecustomize.py"
WATCH = """
import importlib.abc, os, pathlib, runpy, sys
runpy.run_path({offline!r})
class Watch(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name in ("tensorflow", "keras"):
            pathlib.Path({folder!r}, f"{{name}}-{{os.getpid()}}").touch()
sys.meta_path.insert(0, Watch())
"""


@pytest.fixture(scope="session")
def model(tmp_path_factory) -> Path:
    """flowers.onnx with its card."""
    return write_model(tmp_path_factory.mktemp("colours"))


@pytest.fixture(scope="session")
def pictures(small_folder, tmp_path_factory) -> Path:
    """36 shapes, 1 photo of nothing that the model knows and 4 files that are broken photos."""
    from PIL import Image

    folder = tmp_path_factory.mktemp("pictures") / "photos"
    shutil.copytree(small_folder, folder)
    (folder / "circle" / "a note.jpg").write_text("no photo")
    (folder / "circle" / "empty.png").touch()
    whole = (folder / "square" / "square_00.jpg").read_bytes()
    (folder / "square" / "cut.jpg").write_bytes(whole[: len(whole) // 2])
    (folder / "triangle" / "ünder 100 % #1?.jpg").write_bytes(whole)
    (folder / "triangle" / "gone.jpg").symlink_to("nowhere.jpg")
    Image.new("RGB", (40, 40), "white").save(folder / "white.png")
    (folder / "notes.txt").write_text("not meant as a photo")
    return folder


@pytest.fixture
def watched(tmp_path) -> tuple[dict, Path]:
    """(environment, folder): in it a file appears for each process that imports TensorFlow."""
    folder, code = tmp_path / "imported", tmp_path / "watch"
    folder.mkdir()
    code.mkdir()
    text = WATCH.format(offline=str(OFFLINE), folder=str(folder))
    (code / "sitecustomize.py").write_text(text, "utf-8")
    source = str(Path(__file__).parents[2] / "src")
    return {"PYTHONPATH": f"{code}:{source}"}, folder
