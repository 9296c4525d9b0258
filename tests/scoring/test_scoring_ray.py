"""Ray Data scores as the local engine does; what Ray cannot do is said."""

import os
import pickle
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
import ray
from pyarrow.fs import FSSpecHandler, PyFileSystem

from flowers.scoring import local, on_ray
from flowers.scoring.plan import RETRIES, Plan
from scored import table

MORTAL = Path(__file__).with_name("mortal.py")


def scored_by_mortals(folder, *arguments, env=None):
    """The command with actors that can be killed, under way; what they did stands in `folder`."""
    return subprocess.Popen(
        [sys.executable, MORTAL, folder, "predict", *map(str, arguments), "--engine", "ray"],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, **(env or {})},
    )


def ended(process):
    """What it printed, and that it and all that it started is gone."""
    started = psutil.Process(process.pid).children(recursive=True)
    try:
        said, _ = process.communicate(timeout=300)
    finally:
        process.kill()
    _, alive = psutil.wait_procs(started, timeout=20)
    assert not alive
    return said


def calls(folder):
    """(process, first photo) of every piece of work, as it was begun."""
    return [line.split(" ", 1) for line in (folder / "calls").read_text().splitlines()]


def test_ray_writes_the_same_rows_though_an_actor_is_killed(
    model, pictures, tmp_path, run_flowers, watched
):
    environment, imported = watched
    environment = environment | {"RAY_ADDRESS": "127.0.0.1:1"}  # not asked for: Ray starts here
    seen, here, there = tmp_path / "seen", tmp_path / "local", tmp_path / "ray"
    sizes = ("--model", model, "--shard", 15, "--batch", 4, "--workers", 2)
    assert run_flowers("predict", pictures, *sizes, "--out", here).code == 0
    seen.mkdir()
    (seen / "trap").touch()
    process = scored_by_mortals(seen, pictures, *sizes, "--out", there, env=environment)
    caught = seen / "caught"
    while not (caught.exists() and caught.read_text()) and process.poll() is None:
        time.sleep(0.01)
    killed = caught.read_text()
    os.kill(int(killed), signal.SIGKILL)
    said = ended(process)
    assert process.returncode == 0, said
    assert "42 photos in 3 shards" in said and "Traceback" not in said
    assert "Deprecation" not in said
    here, there = table(here), table(there)
    for rows in (here, there):
        for row in rows:
            row["probabilities"] = pytest.approx(row["probabilities"], abs=1e-6)
            row["novelty"] = row["novelty"] and pytest.approx(row["novelty"], abs=1e-6)
    assert [row["path"] for row in here] == [row["path"] for row in there]
    assert [{**row, "probabilities": 0, "novelty": 0} for row in here] == [
        {**row, "probabilities": 0, "novelty": 0} for row in there
    ]
    lost = [photo for actor, photo in calls(seen) if actor == killed][-1]
    again = [actor for actor, photo in calls(seen) if photo == lost]
    assert len(again) == 2 and again[0] == killed != again[1]
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


def test_a_photo_that_kills_every_actor_is_scored_here(model, pictures, tmp_path, run_flowers):
    photos, seen, out = tmp_path / "photos", tmp_path / "seen", tmp_path / "scores"
    seen.mkdir()
    shutil.copytree(pictures / "circle", photos, symlinks=True)
    shutil.copy(photos / "circle_00.jpg", photos / "the poison.jpg")
    asked = (photos, "--model", model, "--shard", 3, "--batch", 1, "--workers", 1)
    process = scored_by_mortals(seen, *asked, "--out", out)
    said = ended(process)
    assert process.returncode == 0, said
    assert len(re.findall(r"A worker of Ray ended 4 times; \d photos are scored here", said)) == 1
    assert "Traceback" not in said and "Deprecation" not in said
    fatal = [actor for actor, photo in calls(seen) if "poison" in photo]
    assert len(set(fatal)) == len(fatal) == 1 + RETRIES
    done = run_flowers("predict", *asked, "--out", tmp_path / "local")
    assert done.code == 0
    assert [row["path"] for row in table(out)] == sorted(str(path) for path in photos.iterdir())
    assert [row["label"] for row in table(out)] == [
        row["label"] for row in table(tmp_path / "local")
    ]


def test_actors_that_die_of_one_photo_after_the_other_end_it(model, pictures):
    photos = list(enumerate(str(path) for path in sorted((pictures / "circle").iterdir())))
    plan, asked, lines = Plan(model, workers=1, batch=1), [], []

    def dying(rest):
        asked.append(len(rest))
        raise ray.exceptions.ActorDiedError
        yield

    rows = on_ray._in_spite_of_deaths(plan, photos, 1, dying, lines.append)
    given, step = [], local.AHEAD
    with pytest.raises(ray.exceptions.ActorDiedError):
        for part in rows:
            given += part["path"].to_pylist()
    # what was scored here in between is not lost
    assert given == [path for _, path in photos[: (RETRIES - 1) * step]]
    assert asked == [len(photos) - number * step for number in range(RETRIES)]
    assert [line.split("; ")[1][:2] for line in lines] == [f"{step} "] * (RETRIES - 1)
