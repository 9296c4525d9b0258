"""What the tests of the page share: a small model in a file, an application, a server process."""

import io
import os
import re
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import lite
import numpy as np
import psutil
import pytest
from flask.testing import FlaskClient
from PIL import Image

from flowers import files
from flowers.data import painted, photos
from flowers.ship.card import Card
from flowers.web.app import create_app
from flowers.web.service import SimilarPhoto

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests" / "data"))  # the zoo of odd files

# what a host runs: `gunicorn --config ...`
PROCFILE = (ROOT / "Procfile").read_text(encoding="utf-8").partition(": ")[2]
MEASURED = {"photos": 150, "accuracy": 0.92, "accuracy_interval": {"low": 0.865, "high": 0.954}}


def jpeg(photo: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(photo).save(buffer, "JPEG", quality=90)
    return buffer.getvalue()


@pytest.fixture(scope="session")
def photo() -> bytes:
    """A painted rose as a JPEG file."""
    return jpeg(painted.paint("rose", 6, 160))


@pytest.fixture(scope="session")
def model_file(once: Callable) -> Path:
    """A .tflite of a network with random weights, five flowers at 32 px, and its card."""
    return once("served", _convert)


def _convert(folder: Path) -> Path:
    import keras
    import tensorflow as tf

    from flowers.model import classifier

    keras.utils.set_random_seed(1)
    model = classifier.build(5, size=32, backbone="miniature", head=(16, 8)).model
    path = folder / "flowers.tflite"
    path.write_bytes(tf.lite.TFLiteConverter.from_keras_model(model).convert())
    hashes = {path.name: {"sha256": files.sha256(path)}}
    Card(painted.LABELS, 32, "0" * 64, "painted", metrics=MEASURED, files=hashes).save(path)
    return path


@pytest.fixture(scope="session")
def predictor(model_file: Path):
    return lite.load(model_file)


@pytest.fixture
def client(predictor) -> FlaskClient:
    return create_app(predictor).test_client()


@pytest.fixture
def client_with_similar(predictor) -> FlaskClient:
    """An application that is given similar photos: always the same daisy."""
    found = [SimilarPhoto("daisy", 0.87654321, jpeg(painted.paint("daisy", 2, 64)))]
    return create_app(predictor, similar=lambda _: found).test_client()


@pytest.fixture(scope="session")
def exported(small_folder: Path, once: Callable) -> Path:
    """models/flowers.tflite of the shipped graph of a network with random weights, and what
    `flowers train` leaves of its training photos; copy the folder before changing it."""
    return once("exported", lambda place: _export(small_folder, place))


def _export(small_folder: Path, place: Path) -> Path:
    from flowers import results
    from flowers.data import catalogue as catalogues
    from flowers.model import classifier
    from flowers.ship import formats, graph, neighbours

    path, work = place / "models" / "flowers.tflite", place / "work"
    path.parent.mkdir()
    work.mkdir()
    built = classifier.build(3, size=32, backbone="miniature", head=(16, 8))
    formats.Converter(graph.build(built.model), [], work).write(formats.find("litert"), path)
    listed = catalogues.build(small_folder)
    learned = listed.usable["path"].iloc[listed.rows("train")]
    pixels = np.stack([photos.read(listed.root / each, 32) for each in learned])
    seen = results.neighbours(listed, built.levels().predict_on_batch(pixels))
    neighbours.save(path.with_suffix(""), "0" * 64, *seen)
    listed.save(path.with_suffix("") / "catalogue.csv")
    hashes = {path.name: {"sha256": files.sha256(path)}}
    Card(listed.labels, 32, "0" * 64, listed.key(), files=hashes).save(path)
    return path


@dataclass
class Command:
    """`flowers serve` as a process, and what it said of itself until it was ready."""

    process: subprocess.Popen
    address: str
    said: list[str]

    def stop(self) -> list[str]:
        """Ends it by a signal, and gives all that it said."""
        self.process.terminate()
        return self.said + self.process.communicate(timeout=20)[1].splitlines()


@pytest.fixture(scope="module")
def serve(exported: Path) -> Iterator:
    """Runs `flowers serve` beside an exported model: `serve("--no-similar")`."""
    processes = []

    def run(*arguments: str) -> Command:
        process = subprocess.Popen(
            [
                *(sys.executable, "-X", "importtime"),
                *("-c", "from flowers.cli import main; main()", "serve", "--port", "0", *arguments),
            ],
            cwd=exported.parents[1],  # the model is found by itself
            env=os.environ | {"PYTHONUNBUFFERED": "1"},
            stderr=subprocess.PIPE,
            text=True,
        )
        processes.append(process)
        said = []
        for line in iter(process.stderr.readline, ""):
            said.append(line)
            if found := re.search(r"tflite at (http\S+)", line):
                return Command(process, found[1], said)
        raise AssertionError("".join(each for each in said if "import time" not in each))

    yield run
    for process in processes:
        if process.poll() is None:
            process.kill()
        process.communicate()


@dataclass
class Served:
    """A server process and where it answers."""

    process: subprocess.Popen
    host: str
    port: int
    temporary: Path  # the folder in which it would put temporary files

    @property
    def address(self) -> str:
        return f"http://{self.host}:{self.port}/"

    def resident(self) -> int:
        """Bytes of memory that it and its processes hold."""
        process = psutil.Process(self.process.pid)
        return sum(each.memory_info().rss for each in [process, *process.children()])

    def stop(self) -> str:
        """Ends it as a host does, and gives what it printed at its end."""
        self.process.terminate()
        return self.process.communicate(timeout=20)[0].strip()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture(scope="session")
def start(model_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator:
    """Starts server processes: `start()`, `start(seconds)` or `start(gunicorn=True)`."""
    processes = []

    def run(*arguments, gunicorn: bool = False) -> Served:
        temporary = tmp_path_factory.mktemp("temporary")
        variables = {"TMPDIR": str(temporary), "FLOWERS_MODEL": str(model_file)}
        command = [sys.executable, lite.__file__, model_file, *map(str, arguments)]
        if gunicorn:
            command = [sys.executable, "-m", *PROCFILE.split(), "lite:create()"]
            variables["PORT"] = str(free_port())
            path = [str(Path(lite.__file__).parent), os.environ.get("PYTHONPATH", "")]
            variables["PYTHONPATH"] = os.pathsep.join(path)
        process = subprocess.Popen(
            command,
            env=os.environ | variables,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT if gunicorn else subprocess.DEVNULL,
            text=True,
        )
        processes.append(process)
        if gunicorn:
            lines = iter(process.stdout.readline, "")
            port = next(line.rsplit(":", 1)[1].split()[0] for line in lines if "Listening" in line)
            return Served(process, "127.0.0.1", int(port), temporary)
        host, port = process.stdout.readline().strip("/\n").removeprefix("http://").split(":")
        return Served(process, host, int(port), temporary)

    yield run
    for process in processes:
        if process.poll() is None:
            process.kill()
        process.communicate()


@pytest.fixture(scope="module")
def served(start) -> Served:
    return start()
