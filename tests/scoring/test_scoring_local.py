"""The local engine: one row a photo, whatever happens to photos, processes and disks."""

import contextlib
import hashlib
import multiprocessing
import os
import resource
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import psutil
import pytest
from click.testing import CliRunner

from bucket import Bucket, serving
from flowers import files
from flowers.cli import shipping
from flowers.errors import InputError, PhotoError, WorldError
from flowers.scoring import job, local, sources, stores
from flowers.scoring.plan import Plan
from flowers.scoring.rows import Scorer
from flowers.scoring.shards import Shards
from flowers.ship.predictor import Predictor
from scored import manifest, table, write_model

OFFLINE = Path(__file__).parents[1] / "offline" / "sitecustomize.py"
POISON = """
import os, runpy
runpy.run_path({offline!r})
from flowers.data import photos
load = photos.load
def deadly(path, *limits):
    if os.path.basename(path) == "poison.jpg":
        os.kill(os.getpid(), 9)
    return load(path, *limits)
photos.load = deadly
"""
SMALL = ("--shard", "10", "--batch", "4", "--workers", "2")


def expected(model: Path, paths: list[str]) -> dict[str, tuple]:
    """path -> (label, set, error) by the predictor itself."""
    predictor, rows = Predictor.load(model), {}
    for path in paths:
        try:
            answer = predictor.predict(path)
            rows[path] = (answer.label, list(answer.names), None)
        except PhotoError as error:
            rows[path] = (None, None, error.received)
        except Exception as error:
            rows[path] = (None, None, error.received)
    return rows


def test_every_photo_becomes_one_row(model, pictures, tmp_path, run_flowers, watched):
    environment, imported = watched
    out = tmp_path / "scores"
    done = run_flowers("predict", pictures, "--model", model, "--out", out, *SMALL, env=environment)
    assert done.code == 0, done.stderr
    rows = table(out)
    paths = [row["path"] for row in rows]
    assert len(rows) == 42 and paths == sorted(set(paths), key=os.fsencode)
    answers = {row["path"]: (row["label"], row["set"], row["error"]) for row in rows}
    assert answers == expected(model, paths)
    for row in rows:
        place = Path(row["path"])
        whole = hashlib.sha256(place.read_bytes()).hexdigest() if place.exists() else None
        assert row["sha256"] == whole
        if row["error"] is None:
            assert sum(row["probabilities"]) == pytest.approx(1, abs=1e-5)
            assert row["known"] == (row["novelty"] <= 1.5)
    errors = {Path(row["path"]).name: row["error"] for row in rows if row["error"]}
    assert errors == {
        "a note.jpg": "a text",
        "empty.png": "an empty file",
        "cut.jpg": "a truncated JPEG photo",
        "gone.jpg": "a broken link",
    }
    assert [row["path"] for row in rows if row["known"] is False] == [str(pictures / "white.png")]
    lines = done.stdout.splitlines()
    assert lines[0] == f"42 photos in 5 shards: {out}"
    counts = {line.split()[0]: line.split()[-1] for line in lines[1:6]}
    assert counts == {"circle": "12", "square": "13", "triangle": "12", "none": "1", "broken": "4"}
    assert "images a second" in lines[-1]
    assert list(imported.iterdir()) == []  # neither TensorFlow nor Keras in any process


def test_another_model_or_other_photos_are_noticed(model, pictures, tmp_path):
    photos, out = tmp_path / "photos", tmp_path / "scores"
    shutil.copytree(pictures / "circle", photos)

    def again(model: Path = model, views: int = 1, shard: int | None = None) -> job.Outcome:
        plan = Plan(model, views, workers=1)
        return job.run([str(photos)], out, plan, shard=shard, say=lambda line: None)

    again(shard=8)
    before = {path.name: path.read_bytes() for path in out.glob("shard-*.parquet")}
    other = write_model(tmp_path / "other", weight=3.0)
    for changed, words in (
        ({"model": other}, r"another one \(flowers.onnx"),
        ({"model": Path("nowhere.onnx")}, "no such file"),
        ({"model": Path("flowers.keras")}, "flowers export"),
        ({"views": 2}, "--tta 1, as in"),
        ({"shard": 9}, "--shard 8, as in"),
    ):
        with pytest.raises(InputError, match=words):
            again(**changed)
    (photos / "circle_00.jpg").rename(photos / "new_00.jpg")
    shutil.copy(photos / "circle_01.jpg", photos / "new_01.jpg")
    with pytest.raises(InputError, match="15 photos: 2 new, 1 no longer there"):
        again()
    assert {path.name: path.read_bytes() for path in out.glob("shard-*.parquet")} == before
    (photos / "new_00.jpg").rename(photos / "circle_00.jpg")
    (photos / "new_01.jpg").unlink()
    assert again().scored == 0


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--out", "scores", "--json"), "--out alone"),
        (("--out", "scores", "--ray-address", "auto"), "--engine ray"),
        (("--engine", "ray"), "--out"),
        (("--out", "scores", "--model", "nowhere.tflite"), "no such file"),
    ],
)
def test_options_that_do_not_fit_are_refused(pictures, tmp_path, options, words, monkeypatch):
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(shipping.predict, [str(pictures), *options])
    assert isinstance(done.exception, InputError) and words in str(done.exception)
    assert list(tmp_path.iterdir()) == []


def test_killed_and_started_again_it_ends_with_one_row_a_photo(model, tmp_path, run_flowers):
    whole = Path(__file__).with_name("conftest.py").read_bytes()  # a broken photo is fast to score
    for number in range(900):
        (tmp_path / f"{number:05}.jpg").write_bytes(whole)
    out = tmp_path / "scores"
    arguments = ("predict", tmp_path / "*.jpg", "--model", model, "--out", out, "--shard", "50")
    command = [Path(sys.executable).with_name("flowers"), *map(str, arguments), "--batch", "5"]
    for wanted in (1, 4):
        process = subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.DEVNULL)
        while len(list(out.glob("shard-*.parquet"))) < wanted and process.poll() is None:
            time.sleep(0.001)
        workers = psutil.Process(process.pid).children(recursive=True)
        process.kill()
        process.wait()
        _, alive = psutil.wait_procs(workers, timeout=20)
        assert not alive  # workers do not outlive the command
    finished = {path: path.stat().st_mtime_ns for path in out.glob("shard-*.parquet")}
    assert 4 <= len(finished) < 18
    damaged = min(finished)
    damaged.write_bytes(damaged.read_bytes()[:-9])
    done = run_flowers(*arguments)
    assert done.code == 0 and f"{len(finished) - 1} of 18 shards are done" in done.stderr
    assert f"{damaged} is damaged" in done.stderr
    paths = [row["path"] for row in table(out)]
    assert paths == sorted(map(str, tmp_path.glob("*.jpg")))
    assert all(path.stat().st_mtime_ns == finished[path] for path in set(finished) - {damaged})
    assert not list(out.glob(".*partial*"))


def wanted(pictures: Path) -> list[tuple[int, str]]:
    return list(enumerate(map(str, sorted(pictures.rglob("*.jpg")))))


def kill_workers() -> None:
    for worker in multiprocessing.active_children():
        with contextlib.suppress(ProcessLookupError):  # it has just ended
            os.kill(worker.pid, signal.SIGKILL)


def test_a_worker_that_is_killed_is_replaced(model, pictures):
    said: list[str] = []
    tables = local.run(Plan(model, workers=2, batch=3), wanted(pictures), said.append)
    rows = next(tables).to_pylist()
    kill_workers()
    for found in tables:
        rows += found.to_pylist()
    assert [row["number"] for row in rows] == [number for number, _ in wanted(pictures)]
    assert said == ["A worker process ended; its photos are scored again."]


def test_a_photo_that_ends_its_worker_is_a_row(model, pictures, tmp_path, run_flowers):
    folder, code = tmp_path / "photos", tmp_path / "code"
    shutil.copytree(pictures, folder, symlinks=True)
    for place in ("circle", "square"):
        shutil.copy(folder / place / f"{place}_00.jpg", folder / place / "poison.jpg")
    code.mkdir()
    (code / "sitecustomize.py").write_text(POISON.format(offline=str(OFFLINE)), "utf-8")
    path = os.pathsep.join([str(code), str(Path(local.__file__).parents[2])])
    arguments = ("predict", folder, "--model", model, *SMALL, "--out", tmp_path / "scores")
    done = run_flowers(*arguments, env={"PYTHONPATH": path})
    assert done.code == 0, done.stderr
    rows = {row["path"]: row for row in table(tmp_path / "scores")}
    assert len(rows) == 44
    said = "a photo that ends the process that reads it"
    assert {Path(path).name for path, row in rows.items() if row["error"] == said} == {"poison.jpg"}
    assert sum(row["error"] == said for row in rows.values()) == 2
    assert sum(row["error"] is None for row in rows.values()) == 38


@pytest.mark.parametrize(("out_of_reach", "ends"), [((1, 3), False), ((3, 4, 5), True)])
def test_photos_out_of_reach_are_rows_while_others_are_not(
    model, pictures, monkeypatch, out_of_reach, ends
):
    """Ended where what was in reach before is no more."""
    photos = [photo for photo in wanted(pictures) if photo[0] >= 2][:6]
    read, gone = sources.read, {photos[place][1] for place in out_of_reach}
    down = threading.Event()

    def failing(path, *arguments):
        if path in gone or down.is_set():
            if ends:
                down.set()
            raise WorldError(f"to read {path}", "Input/output error", "Try again.")
        return read(path, *arguments)

    monkeypatch.setattr(sources, "read", failing)
    scorer = Scorer.load(model, views=1, threads=1, roots={})
    if ends:
        with pytest.raises(WorldError, match="Input/output error"):
            scorer.rows(photos)
        return
    rows = scorer.rows(photos).to_pylist()
    assert [row["error"] == "Input/output error" for row in rows] == [
        place in out_of_reach for place in range(6)
    ]
    assert all(row["label"] is None for row in rows if row["path"] in gone)


@pytest.mark.parametrize("count", [1, 9])
def test_nothing_in_reach_ends_it_soon(model, pictures, monkeypatch, count):
    asked = []

    def failing(path, *arguments):
        asked.append(path)
        raise WorldError(f"to read {path}", "Input/output error", "Try again.")

    monkeypatch.setattr(sources, "read", failing)
    scorer = Scorer.load(model, views=1, threads=1, roots={})
    with pytest.raises(WorldError, match="Input/output error"):
        scorer.rows(wanted(pictures)[:count])
    assert len(asked) == min(count, 3)


def test_workers_that_are_always_killed_end_it_in_words(model, pictures):
    stop = threading.Event()

    def kill() -> None:
        while not stop.wait(0.002):
            kill_workers()

    killer = threading.Thread(target=kill)
    killer.start()
    try:
        with pytest.raises(WorldError, match=r"ended 4 times over each of .*a note.*, .*, "):
            list(local.run(Plan(model, workers=1), wanted(pictures), lambda line: None))
    finally:
        stop.set()
        killer.join()


def test_a_disk_that_fills_in_mid_shard_keeps_the_finished_ones(
    model, pictures, tmp_path, monkeypatch
):
    out = tmp_path / "scores"
    write, made = Shards.write, []

    def full(self, shard, rows):
        if shard < 2:
            made.append(shard)
            return write(self, shard, rows)
        limit = resource.getrlimit(resource.RLIMIT_FSIZE)
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (100, limit[1]))
        try:
            return write(self, shard, rows)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limit)

    plan = Plan(model, workers=1, batch=10)
    with monkeypatch.context() as patched:
        patched.setattr(Shards, "write", full)
        with pytest.raises(WorldError, match="shard-0000002"):
            job.run([str(pictures)], out, plan, shard=10, say=lambda line: None)
    assert len(list(out.glob("shard-*.parquet"))) == len(made) == 2 and not list(
        out.glob(".*partial*")
    )
    outcome = job.run([str(pictures)], out, plan, say=lambda line: None)
    assert (outcome.scored, outcome.tally.photos, len(table(out))) == (22, 42, 42)


def test_two_runs_do_not_share_a_folder(model, pictures, tmp_path, monkeypatch):
    monkeypatch.setattr(job, "PATIENCE", 0.1)
    with files.locked(tmp_path / "_manifest.json"), pytest.raises(WorldError, match="still at it"):
        job.run([str(pictures)], tmp_path, Plan(model), say=print)


def test_a_folder_of_other_tables_is_left_alone(model, pictures, tmp_path):
    (tmp_path / "mine.parquet").write_bytes(b"mine")
    with pytest.raises(Exception, match="Name another --out"):
        job.run([str(pictures)], tmp_path, Plan(model), say=print)
    assert (tmp_path / "mine.parquet").read_bytes() == b"mine"


def test_a_bucket_is_scored_and_its_secrets_are_kept(
    model, pictures, tmp_path, run_flowers, monkeypatch
):
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setattr(stores, "PAUSE", 0.001)
    objects = {
        f"photos/{path.relative_to(pictures).as_posix()}": path.read_bytes()
        for path in sorted(pictures.rglob("*.[jp]*g"))
        if path.exists()
    }
    denied, out = "photos/circle/circle_03.jpg", tmp_path / "scores"
    with serving(Bucket(objects, denied={denied})) as bucket:
        command = ("predict", bucket.uri("photos"), "--model", model, *SMALL, "--out")
        done = run_flowers(*command, out)
        assert done.code == 0, done.stderr
        rows = {row["path"]: row for row in table(out)}
        assert set(rows) == {f"s3://garden/{key}" for key in objects}
        refused = rows.pop(f"s3://garden/{denied}")
        assert refused["error"] == "a photo that may not be read" and refused["sha256"] is None
        here = expected(model, [str(pictures / path.split("/", 4)[4]) for path in rows])
        assert [(row["label"], row["set"], row["error"]) for row in rows.values()] == [
            *here.values()
        ]
        assert manifest(out)["sources"] == ["s3://garden/photos"]
        for path in out.iterdir():
            assert b"secret" not in path.read_bytes()
        # alone in the last shard it is a row as well
        bucket.denied = {max(objects)}
        done = run_flowers(*command, tmp_path / "alone", "--shard", len(objects) - 1)
        assert done.code == 0, done.stderr
        rows = table(tmp_path / "alone")
        assert len(rows) == len(objects) and rows[-1]["error"] == "a photo that may not be read"
        # no right to list, then none to read
        bucket.denied = {""}
        done = run_flowers(*command, tmp_path / "unlisted")
        assert done.code == 3 and "to list s3://garden/photos" in done.stderr
        assert "secret" not in done.stderr + done.stdout
        bucket.denied = set(objects)
        done = run_flowers(*command, tmp_path / "denied")
        assert done.code == 3 and "all 10 of shard 0 are denied" in done.stderr
