"""The command `flowers serve` with an exported model, as people run it."""

import json
import urllib.error
import urllib.request

import lite
import pytest


def ask(address: str, photo: bytes) -> dict:
    """The answer of the server at `address` to one photo."""
    headers = {"Content-Type": "image/jpeg"}
    request = urllib.request.Request(f"{address}api/predict", photo, headers, method="POST")
    with urllib.request.urlopen(request, timeout=20) as response:
        assert response.status == 200
        (answer,) = json.load(response)["predictions"]
    return answer


def called(address: str, host: str) -> int:
    """The status of the server's answer to a request that calls it `host`."""
    request = urllib.request.Request(f"{address}livez", headers={"Host": host})
    try:
        with urllib.request.urlopen(request, timeout=20) as response:
            return response.status
    except urllib.error.HTTPError as error:
        return error.code


def test_it_serves_an_exported_model_and_never_imports_tensorflow(serve, photo):
    command = serve()
    answer = ask(command.address, photo)
    assert len(answer["heat"]) == 4 and len(answer["similar"]) == 5
    for path in ("", "api"):
        with urllib.request.urlopen(command.address + path) as response:
            assert response.status == 200
    said = command.stop()
    assert command.process.returncode == 0
    imported = {
        line.rsplit("|", 1)[1].strip().split(".")[0] for line in said if "import time" in line
    }
    assert "flask" in imported and not imported & lite.HEAVY


@pytest.mark.parametrize(
    ("options", "count", "otherwise"),
    [
        (("--no-similar",), 0, 200),
        (("--host", "0.0.0.0"), 0, 200),
        (("--host", "0.0.0.0", "--similar"), 5, 200),
        (("--host", "localhost"), 5, 421),
    ],
)
def test_training_photos_are_shown_to_this_machine_or_where_asked_for(
    serve, photo, options, count, otherwise
):
    """`otherwise`: the answer to somebody who calls this machine by a name of theirs."""
    command = serve(*options)
    assert called(command.address, "evil.example") == otherwise
    assert len(ask(command.address, photo)["similar"]) == count
    said = "".join(line for line in command.stop() if "import time" not in line)
    assert ("are shown (not with --no-similar)" in said) == (count > 0)


def test_a_model_that_is_not_there_is_said(run_flowers):
    done = run_flowers("serve", "nowhere.tflite")
    assert done.code == 2 and "nowhere.tflite" in done.stderr and "Traceback" not in done.stderr


def test_similar_photos_that_are_asked_for_and_not_there_are_said(exported, run_flowers, tmp_path):
    for path in exported.parent.glob("flowers.*"):
        (tmp_path / path.name).write_bytes(path.read_bytes())
    done = run_flowers("serve", "flowers.tflite", "--similar")
    assert done.code == 2 and "flowers/similar.npz. Received: no such file" in done.stderr
