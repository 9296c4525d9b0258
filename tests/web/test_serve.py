"""The command `flowers serve` with an exported model, as people run it."""

import os
import re
import subprocess
import sys
import urllib.request

import lite
import pytest

from flowers import files
from flowers.data import painted
from flowers.ship import formats, graph
from flowers.ship.card import Card


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """A .tflite of the shipped graph of a network with random weights, and its card."""
    from flowers.model import classifier

    folder = tmp_path_factory.mktemp("exported")
    model = classifier.build(5, size=32, backbone="miniature", head=(16, 8)).model
    path, work = folder / "models" / "flowers.tflite", folder / "work"
    path.parent.mkdir()
    work.mkdir()
    formats.Converter(graph.build(model), [], work).write(formats.find("litert"), path)
    hashes = {path.name: {"sha256": files.sha256(path)}}
    Card(painted.LABELS, 32, "0" * 64, "painted", files=hashes).save(path)
    return path


def test_it_serves_an_exported_model_and_never_imports_tensorflow(exported, photo):
    process = subprocess.Popen(
        [
            *(sys.executable, "-X", "importtime"),
            *("-c", "from flowers.cli import main; main()", "serve", "--port", "0"),
        ],
        cwd=exported.parents[1],  # the model is found by itself
        env=os.environ | {"PYTHONUNBUFFERED": "1"},
        stderr=subprocess.PIPE,
        text=True,
    )
    seen = []
    for line in iter(process.stderr.readline, ""):
        seen.append(line)
        if found := re.search(r"tflite at (http\S+)", line):
            break
    request = urllib.request.Request(
        f"{found[1]}api/predict", photo, {"Content-Type": "image/jpeg"}, method="POST"
    )
    with urllib.request.urlopen(request, timeout=20) as response:
        assert response.status == 200 and b'"heat":[[' in response.read()
    for path in ("", "api", "examples/tulip.jpg"):
        with urllib.request.urlopen(found[1] + path) as response:
            assert response.status == 200
    process.terminate()
    seen += process.communicate(timeout=20)[1].splitlines()
    assert process.returncode == 0
    imported = {
        line.rsplit("|", 1)[1].strip().split(".")[0] for line in seen if "import time" in line
    }
    assert "flask" in imported and not imported & lite.HEAVY


def test_a_model_that_is_not_there_is_said(run_flowers):
    done = run_flowers("serve", "nowhere.tflite")
    assert done.code == 2 and "nowhere.tflite" in done.stderr and "Traceback" not in done.stderr
