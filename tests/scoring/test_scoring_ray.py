"""Ray Data scores as the local engine does; what Ray cannot do is said."""

import os
import pickle
import socket

import pytest
from pyarrow.fs import FSSpecHandler, PyFileSystem

from flowers.scoring import on_ray
from scored import table


def test_ray_writes_the_same_rows(model, pictures, tmp_path, run_flowers, watched):
    environment, imported = watched
    command = ("predict", pictures, "--model", model, "--shard", 15, "--batch", 4, "--workers", 2)
    assert run_flowers(*command, "--out", tmp_path / "local").code == 0
    done = run_flowers(
        *command, "--out", tmp_path / "ray", "--engine", "ray", env=environment, timeout=300
    )
    assert done.code == 0, done.stderr
    assert "42 photos in 3 shards" in done.stdout and "Traceback" not in done.stderr
    here, there = table(tmp_path / "local"), table(tmp_path / "ray")
    for rows in (here, there):
        for row in rows:
            row["probabilities"] = pytest.approx(row["probabilities"], abs=1e-6)
            row["novelty"] = row["novelty"] and pytest.approx(row["novelty"], abs=1e-6)
    assert [row["path"] for row in here] == [row["path"] for row in there]
    assert [{**row, "probabilities": 0, "novelty": 0} for row in here] == [
        {**row, "probabilities": 0, "novelty": 0} for row in there
    ]
    assert list(imported.iterdir()) == []  # neither TensorFlow nor Keras in any process


@pytest.mark.parametrize(
    "path", ["a/b c.jpg", "s3://garden/ü#1?.jpg", "_x.tar.gz", os.fsdecode(b"\xff@7.png"), "a//b"]
)
def test_any_path_survives_as_a_name(path):
    name = on_ray._named(12, path)
    assert on_ray._meant(name) == (12, path)
    assert name.count("/") == 1 and not name.endswith(".gz")


def test_ray_reads_what_it_can_and_nothing_of_the_rest(pictures):
    opened = pickle.loads(pickle.dumps(on_ray._Photos(str(pictures.parent), ())))
    store = PyFileSystem(FSSpecHandler(opened))
    place = "photos/circle/circle_00.jpg"
    for path, content in ((place, (pictures.parent / place).read_bytes()), ("nowhere.jpg", b"")):
        with store.open_input_stream(on_ray._named(0, path)) as stream:
            assert stream.read() == content


def test_a_cluster_that_does_not_answer(model, pictures, tmp_path, run_flowers):
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{nobody.getsockname()[1]}"
        done = run_flowers(
            *("predict", pictures, "--model", model, "--out", tmp_path / "scores"),
            *("--engine", "ray", "--ray-address", address),
            timeout=300,
        )
    assert done.code == 3 and f"a Ray cluster at {address}" in done.stderr
    assert "Traceback" not in done.stderr
