"""A folder of painted photos: whole, by many painters, and left alone once it is right."""

import errno
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from flowers.data import painted, painted_set, photos
from flowers.errors import InputError, WorldError


def contents(folder):
    return {
        path.relative_to(folder).as_posix(): (path.read_bytes(), path.stat().st_mtime_ns)
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_a_folder_holds_what_was_asked_for(tmp_path):
    folder = painted_set.write(tmp_path / "sets" / "painted", per_class=2, seed=5, size=48)
    names = {f"{label}/{label}-000{n}.jpg" for label in painted.LABELS for n in (1, 2)}
    assert set(contents(folder)) == names | {painted_set.RECORD}
    for name in names:
        with Image.open(folder / name) as image:
            assert (image.format, image.size) == ("JPEG", (48, 48))
    assert [path.name for path in folder.parent.glob(".*")] == [".painted.lock"]


def test_a_photo_in_the_folder_is_the_painted_one(tmp_path):
    first = painted_set.write(tmp_path / "first", per_class=2, size=64)
    for number in range(2):
        photo = photos.read(first / "tulip" / f"tulip-000{number + 1}.jpg", size=64)
        loss = np.abs(photo.astype(float) - painted.paint("tulip", number, 64)).mean()
        assert loss < 6  # of JPEG
    other = painted_set.write(tmp_path / "other", per_class=2, seed=1, size=64)
    assert not {bytes_ for bytes_, _ in contents(first).values()} & {
        bytes_ for bytes_, _ in contents(other).values()
    }


def test_the_same_settings_leave_the_folder_alone(tmp_path, monkeypatch):
    folder = painted_set.write(tmp_path / "set", per_class=1, size=32)
    before = contents(folder)
    monkeypatch.setattr(painted, "paint", None)
    assert painted_set.write(folder, per_class=1, size=32) == folder
    assert contents(folder) == before


def test_other_settings_paint_the_folder_anew(tmp_path):
    folder = painted_set.write(tmp_path / "set", per_class=2, size=32)
    painted_set.write(folder, per_class=1, size=40)
    assert len(contents(folder)) == len(painted.LABELS) + 1
    with Image.open(folder / "rose" / "rose-0001.jpg") as image:
        assert image.size == (40, 40)
    assert {path.name for path in tmp_path.iterdir()} == {"set", ".set.lock"}


def test_a_folder_with_other_things_in_it_is_left_as_it_is(tmp_path):
    (tmp_path / "rose").mkdir()
    (tmp_path / "rose" / "mine.jpg").write_bytes(b"a photo of mine")
    before = contents(tmp_path)
    with pytest.raises(InputError, match="Name another folder"):
        painted_set.write(tmp_path, per_class=1, size=32)
    assert contents(tmp_path) == before


@pytest.mark.parametrize("per_class", [0, 100_001])
def test_a_senseless_number_of_photos_is_refused(tmp_path, per_class):
    with pytest.raises(InputError, match="1 to 100,000 photos"):
        painted_set.write(tmp_path / "set", per_class=per_class)
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_leaves_no_folder(tmp_path, monkeypatch):
    def fail(label, seed, size):
        if seed:
            raise OSError(errno.ENOSPC, "No space left on device")
        return np.zeros((size, size, 3), np.uint8)

    monkeypatch.setattr(painted, "paint", fail)
    with pytest.raises(WorldError, match="disk is full"):
        painted_set.write(tmp_path / "set", per_class=2, size=32)
    assert {path.name for path in tmp_path.iterdir()} == {".set.lock"}


def test_a_killed_painter_leaves_nothing_that_counts(tmp_path):
    folder = tmp_path / "set"
    code = (
        "import sys; from flowers.data import painted_set as s; s.write(sys.argv[1], 5000, size=32)"
    )
    with subprocess.Popen([sys.executable, "-c", code, folder]) as painter:
        while not any(tmp_path.glob(".set.*.partial/daisy/*.jpg")):
            assert painter.poll() is None
            time.sleep(0.02)
        painter.kill()
    assert not folder.exists()
    painted_set.write(folder, per_class=1, size=32)
    assert len(contents(folder)) == len(painted.LABELS) + 1
    assert {path.name for path in tmp_path.iterdir()} == {"set", ".set.lock"}


def children():
    """Numbers of the processes that this one has started and that still run."""
    listed = Path(f"/proc/self/task/{os.getpid()}/children").read_text()
    return {int(number) for number in listed.split()}


def test_several_painters_paint_what_one_does(tmp_path, monkeypatch):
    alone = painted_set.write(tmp_path / "alone", per_class=3, size=24)
    monkeypatch.setattr(painted_set, "WORTH", 15)
    monkeypatch.setattr(painted_set, "cores", lambda: 3)
    monkeypatch.setattr(painted, "paint", None)  # this process paints nothing
    together = painted_set.write(tmp_path / "together", per_class=3, size=24)
    pictures = [{name: one for name, (one, _) in contents(f).items()} for f in (alone, together)]
    assert pictures[0] == pictures[1]


def test_what_stands_in_a_painters_way_is_said_here(tmp_path):
    with painted_set._painters(2) as free:
        painter = free.get()
        with pytest.raises(WorldError, match=r"rose\.jpg.*Not a directory"):
            (tmp_path / "file").write_bytes(b"")
            painter.save((str(tmp_path / "file" / "rose.jpg"), "rose", 0, 16))
        painter.save((str(tmp_path / "rose.jpg"), "rose", 0, 16))
    assert (tmp_path / "rose.jpg").is_file()


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="looks into /proc")
def test_a_killed_painter_is_noticed_and_no_other_stays(tmp_path, monkeypatch):
    monkeypatch.setattr(painted_set, "cores", lambda: 2)
    before = children()

    def kill():
        while not any(tmp_path.glob(".set.*.partial/daisy/*.jpg")):
            time.sleep(0.01)
        os.kill(max(children() - before), signal.SIGKILL)

    killer = threading.Thread(target=kill)
    killer.start()
    with pytest.raises(WorldError, match="exit code -9"):
        painted_set.write(tmp_path / "set", per_class=400, size=64)
    killer.join()
    assert children() == before
    assert {path.name for path in tmp_path.iterdir()} == {".set.lock"}
