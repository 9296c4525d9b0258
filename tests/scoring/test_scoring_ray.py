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
import pyarrow as pa
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


def ended(process, folder):
    """What it printed, and that it and all that it started is gone."""
    while not (folder / "calls").exists() and process.poll() is None:
        time.sleep(0.05)
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
    said = ended(process, seen)
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
    shutil.copy(photos / "circle_00.jpg", photos / "circle_03 poison.jpg")
    asked = (photos, "--model", model, "--shard", 3, "--batch", 1, "--workers", 1)
    process = scored_by_mortals(seen, *asked, "--out", out)
    said = ended(process, seen)
    assert process.returncode == 0, said
    assert len(re.findall(r"ended again and again; \d photos are scored here", said)) == 1
    assert "Traceback" not in said and "Deprecation" not in said
    fatal = [actor for actor, photo in calls(seen) if "poison" in photo]
    assert len(set(fatal)) == len(fatal) == 1 + RETRIES
    # Ray goes on behind it
    last, paths = max(photo for _, photo in calls(seen)), sorted(map(str, photos.iterdir()))
    assert on_ray._meant(last) == (len(paths) - 1, paths[-1])
    done = run_flowers("predict", *asked, "--out", tmp_path / "local")
    assert done.code == 0
    rows, expected = table(out), table(tmp_path / "local")
    assert [row["path"] for row in rows] == paths
    assert [row["label"] for row in rows] == [row["label"] for row in expected]


def numbered(pictures):
    """Photos with their places, as an engine gets them."""
    return list(enumerate(str(path) for path in sorted((pictures / "circle").iterdir())))


@pytest.mark.parametrize("given", [0, 3, 12])
def test_where_actors_die_no_row_is_lost_or_given_twice(model, pictures, given):
    photos, plan, asked = numbered(pictures)[:12], Plan(model, workers=1, batch=1), []

    def dying_once(rest):
        asked.append([number for number, _ in rest])
        for number, _ in rest[:given] if len(asked) == 1 else rest:
            yield pa.table({"number": [number]})
        if len(asked) == 1:
            raise ray.exceptions.OutOfMemoryError("it took too much")

    rows = on_ray._in_spite_of_deaths(plan, photos, 1, dying_once, lambda line: None)
    assert [number for part in rows for number in part["number"].to_pylist()] == list(range(12))
    behind = list(range(given + local.AHEAD, 12))
    assert asked == [list(range(12)), *([behind] if behind else [])]


class Unborn(ray.exceptions.ActorDiedError):
    """Of an actor that could not begin."""

    actor_init_failed = True


@pytest.mark.parametrize(("begun", "asks"), [(True, RETRIES), (False, 1)])
def test_actors_that_cannot_live_end_it(model, pictures, begun, asks):
    photos, plan, asked = numbered(pictures), Plan(model, workers=1, batch=1), []

    def dying(rest):
        asked.append(len(rest))
        raise ray.exceptions.ActorDiedError() if begun else Unborn()
        yield

    rows = on_ray._in_spite_of_deaths(plan, photos, 1, dying, lambda line: None)
    given, step = [], local.AHEAD
    with pytest.raises(ray.exceptions.ActorDiedError):
        for part in rows:
            given += part["path"].to_pylist()
    # what was scored here in between is not lost
    assert given == [path for _, path in photos[: (asks - 1) * step]]
    assert asked == [len(photos) - number * step for number in range(asks)]
