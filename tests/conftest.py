"""What tests share: a small real set of photos, the real command, the data beside the project."""

import importlib
import os
import pickle
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import matplotlib
import numpy as np
import pytest
from PIL import Image, ImageDraw

from flowers import cli, files

# Not through MPLBACKEND: the kernels of the notebooks inherit the environment, and need their own.
matplotlib.use("Agg")

ROOT = Path(__file__).resolve().parents[1]
SHAPES = {"circle": (200, 60, 60), "square": (60, 170, 80), "triangle": (70, 90, 210)}
# The files that take longest: they come first, or one of them would be left to one process at the
# end while the others have nothing to do.
LONGEST = (
    *("test_pipeline.py", "test_replicas.py", "test_training.py", "test_scoring_ray.py"),
    *("test_tuning.py", "test_cli.py", "test_benchmarks.py", "test_benchmark_training.py"),
    *("test_sources.py", "test_export.py"),
    *("test_saves.py", "test_models.py", "test_classifier.py", "test_folding.py", "test_resnet.py"),
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Puts the longest files first; the order within a file, and of the others, stays."""
    places = {name: place for place, name in enumerate(LONGEST)}
    items.sort(key=lambda item: places.get(item.path.name, len(LONGEST)))


class Run(NamedTuple):
    """How one run of the command ended."""

    code: int
    stdout: str
    stderr: str


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of real photos and weights beside the repository; skips where there is none."""
    folder = ROOT.parent / "shared"
    if not (folder / "data").is_dir():
        pytest.skip("the real photos are not beside the repository (../shared)")
    return folder


@pytest.fixture(scope="session")
def once(tmp_path_factory: pytest.TempPathFactory) -> Callable:
    """Makes something dear once for all processes of this run of the suite.

    `once("models", make)` calls `make(folder)` with a new folder and gives back what it returned,
    in whichever process that was; what it returns is pickled, and the folder stays where it is.
    """
    base = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        base = base.parent  # the folder that all workers share

    def made(name: str, make: Callable[[Path], object]) -> object:
        folder, result = base / "once" / name, base / "once" / f"{name}.pickle"
        with files.locked(folder):
            if not result.exists():
                shutil.rmtree(folder, ignore_errors=True)  # whoever made it failed in the middle
                folder.mkdir()
                files.write_bytes(result, pickle.dumps(make(folder)))
        return pickle.loads(result.read_bytes())

    return made


@pytest.fixture(scope="session")
def small_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of 3 classes with 12 JPEGs each, easy to tell apart; copy it before changing it.

    A shape in its class's colour, somewhere on a mottled grey ground, so that no two
    photos are near-duplicates. 60 to 90 px a side.
    """
    return _shapes(tmp_path_factory.mktemp("small") / "shapes", 12)


@pytest.fixture(scope="session")
def larger_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """As `small_folder`, with 60 photos a class: enough to calibrate on."""
    return _shapes(tmp_path_factory.mktemp("larger") / "shapes", 60)


def _shapes(folder: Path, count: int) -> Path:
    random = np.random.default_rng(7)
    for shape in SHAPES:
        (folder / shape).mkdir(parents=True)
        for number in range(count):
            _draw(shape, random).save(folder / shape / f"{shape}_{number:02}.jpg", quality=92)
    return folder


def _draw(shape: str, random: np.random.Generator) -> Image.Image:
    width, height = (int(side) for side in random.integers(60, 91, 2))
    grey = random.integers(60, 196, (4, 4, 1)) + random.integers(-12, 13, (4, 4, 3))
    ground = Image.fromarray(grey.astype(np.uint8))
    photo = ground.resize((width, height), Image.Resampling.BICUBIC)
    radius = int(random.integers(16, 24))
    x, y = (int(random.integers(radius, side - radius + 1)) for side in (width, height))
    colour = tuple(int(c) for c in np.clip(SHAPES[shape] + random.integers(-25, 26, 3), 0, 255))
    pen = ImageDraw.Draw(photo)
    if shape == "circle":
        pen.ellipse((x - radius, y - radius, x + radius, y + radius), fill=colour)
    elif shape == "square":
        pen.rectangle((x - radius, y - radius, x + radius, y + radius), fill=colour)
    else:
        pen.polygon(
            ((x, y - radius), (x - radius, y + radius), (x + radius, y + radius)), fill=colour
        )
    return photo


@pytest.fixture(scope="module")
def imported():
    """Imports a script of benchmarks/ as a module: `imported("reading")`."""
    folder = ROOT / "benchmarks"
    sys.path.insert(0, str(folder))
    before = set(sys.modules)
    yield importlib.import_module
    sys.path.remove(str(folder))
    for name in set(sys.modules) - before:
        if (folder / f"{name}.py").is_file():
            del sys.modules[name]


@pytest.fixture
def run_flowers(tmp_path: Path):
    """Runs the installed `flowers` command: `run_flowers("check", folder)` gives a `Run`.

    Args of the function it returns:
        *arguments: what stands after `flowers`; each is turned into text.
        cwd: the folder to run in; the test's own empty one by default.
        env: variables to add to the environment, or to remove (None).
        timeout: seconds after which the test fails.
    """

    def run(*arguments, cwd=None, env=None, timeout=120) -> Run:
        variables = os.environ | {"MPLBACKEND": "Agg", "PYTHONIOENCODING": "utf-8"} | (env or {})
        done = subprocess.run(
            [Path(sys.executable).with_name("flowers"), *map(str, arguments)],
            cwd=cwd or tmp_path,
            env={name: value for name, value in variables.items() if value is not None},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            encoding="utf-8",
            timeout=timeout,
        )
        return Run(done.returncode, done.stdout, done.stderr)

    return run


@pytest.fixture
def run_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture):
    """As `run_flowers`, in this very process: without the seconds that a new one takes to import
    TensorFlow. For what a command says and leaves, where a fresh process is not the point."""

    def run(*arguments, cwd=None) -> Run:
        monkeypatch.chdir(cwd or tmp_path)
        monkeypatch.setattr(sys, "argv", ["flowers", *map(str, arguments)])
        monkeypatch.setattr(cli, "_leave", sys.exit)  # which otherwise ends the process for good
        handlers = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGHUP)}
        capfd.readouterr()
        code = 0
        try:
            cli.main()
        except SystemExit as end:
            code = end.code
        finally:
            for number, handler in handlers.items():
                signal.signal(number, handler)
        return Run(code, *capfd.readouterr())

    return run
