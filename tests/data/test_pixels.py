"""The pixel cache: decoded once, in the catalogue's order, whole or not there."""

import shutil
import subprocess
import sys
import threading
from collections import namedtuple
from pathlib import Path

import numpy as np
import pytest

from flowers.data import catalogue as catalogues
from flowers.data import parallel, photos, pixels
from flowers.errors import InputError, WorldError


@pytest.fixture
def folder(small_folder, tmp_path) -> Path:
    """A copy of the small set that a test may spoil."""
    return Path(shutil.copytree(small_folder, tmp_path / "shapes"))


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_every_row_is_the_photo_that_the_reader_reads(folder, tmp_path):
    (folder / "circle" / "broken.jpg").write_bytes(b"\xff\xd8\xff")
    built = catalogues.build(folder)
    cached = pixels.cache(built, 24, tmp_path / "cache")
    assert cached.shape == (36, 24, 24, 3) and cached.dtype == np.uint8
    assert isinstance(cached, np.memmap) and not cached.flags.writeable
    for index, path in enumerate(built.usable["path"]):
        assert np.array_equal(cached[index], photos.read(folder / path, 24))


def test_the_cache_is_reused_and_no_photo_is_opened_again(folder, tmp_path, monkeypatch):
    built = catalogues.build(folder)
    first = pixels.cache(built, 20, tmp_path / "cache")
    monkeypatch.setattr(photos, "load", lambda *_: pytest.fail("opened a photo"))
    again = pixels.cache(built, 20, tmp_path / "cache")
    assert np.array_equal(first, again)
    assert names(tmp_path / "cache") == [
        f".pixels-{built.key()}-20.npy.lock",
        f"pixels-{built.key()}-20.npy",
    ]


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_memory_of_what_was_read_is_given_back_and_it_can_be_read_again(tmp_path):
    np.save(tmp_path / "pixels.npy", np.full((200, 224, 224, 3), 7, np.uint8))  # 30 MB
    kept = np.load(tmp_path / "pixels.npy", mmap_mode="r")

    def mapped() -> int:
        """MB of files in the memory of this process."""
        lines = Path("/proc/self/status").read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("RssFile")) // 1024

    before, total = mapped(), int(kept.sum(dtype=np.int64))
    assert mapped() > before + 20
    pixels.release(kept)
    assert mapped() < before + 10
    assert int(kept.sum(dtype=np.int64)) == total
    pixels.release(np.zeros(3, np.uint8))  # an array in memory is left alone


def test_another_size_or_another_set_has_a_cache_of_its_own(folder, tmp_path):
    built = catalogues.build(folder)
    assert pixels.cache(built, 16, tmp_path / "cache").shape[1] == 16
    assert pixels.cache(built, 18, tmp_path / "cache").shape[1] == 18
    (folder / "circle" / "circle_00.jpg").unlink()
    assert len(pixels.cache(catalogues.build(folder), 16, tmp_path / "cache")) == 35
    assert len([name for name in names(tmp_path / "cache") if name[0] != "."]) == 3


@pytest.mark.parametrize("length", [0, 50, 2_000])
def test_a_cache_that_is_not_whole_is_made_again(folder, tmp_path, length):
    built = catalogues.build(folder)
    whole = np.array(pixels.cache(built, 16, tmp_path / "cache"))
    path = tmp_path / "cache" / f"pixels-{built.key()}-16.npy"
    path.write_bytes(path.read_bytes()[:length])
    assert np.array_equal(pixels.cache(built, 16, tmp_path / "cache"), whole)


def test_a_photo_that_vanished_or_changed_is_named_and_nothing_is_left(folder, tmp_path):
    built = catalogues.build(folder)
    path = folder / "square" / "square_05.jpg"
    content = path.read_bytes()
    path.write_bytes(content + b"edited")
    with pytest.raises(InputError, match=r"square_05\.jpg.*has changed since"):
        pixels.cache(built, 16, tmp_path / "cache")
    path.unlink()
    with pytest.raises(InputError, match=r"square_05\.jpg.*no such file"):
        pixels.cache(built, 16, tmp_path / "cache")
    assert all(name.endswith(".lock") for name in names(tmp_path / "cache"))
    path.write_bytes(content)
    assert len(pixels.cache(built, 16, tmp_path / "cache")) == 36


def test_a_full_disk_is_noticed_before_anything_is_written(folder, tmp_path, monkeypatch):
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(9, 9, 1_000))
    with pytest.raises(WorldError, match="the decoded photos"):
        pixels.cache(catalogues.build(folder), 64, tmp_path / "cache")
    assert all(name.endswith(".lock") for name in names(tmp_path / "cache"))


def test_a_set_without_usable_photos_is_refused(tmp_path):
    (tmp_path / "rose").mkdir()
    with pytest.raises(InputError, match="usable photos"):
        pixels.cache(catalogues.build(tmp_path), 16, tmp_path / "cache")


def test_of_several_processes_one_decodes_and_the_others_wait(folder, tmp_path):
    catalogues.build(folder).save(tmp_path / "catalogue.csv")
    code = """if True:
        import sys
        from flowers.data import catalogue, photos, pixels
        opened, load = [], photos.load
        photos.load = lambda *given: opened.append(1) or load(*given)
        cached = pixels.cache(catalogue.load(sys.argv[1]), 32, sys.argv[2])
        print(len(opened), int(cached.astype(int).sum()))
    """
    command = [sys.executable, "-c", code, tmp_path / "catalogue.csv", tmp_path / "cache"]
    running = [
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for _ in range(3)
    ]
    ended = [process.communicate(timeout=60) for process in running]
    assert all(process.returncode == 0 for process in running), ended
    opened, sums = zip(*(out.split() for out, _ in ended), strict=True)
    assert sorted(map(int, opened)) == [0, 0, 36] and len(set(sums)) == 1


# --- the workers beneath ----------------------------------------------------------------------


def test_results_come_in_order_and_only_a_few_ahead():
    asked = []

    def items():
        for number in range(10_000):
            asked.append(number)
            yield number

    results = parallel.ordered(lambda number: number * 2, items())
    assert [next(results) for _ in range(5)] == [0, 2, 4, 6, 8]
    assert len(asked) < 500
    results.close()


def test_so_many_workers_so_far_ahead():
    asked, threads = [], set()

    def note(number: int) -> int:
        threads.add(threading.get_ident())
        return number

    results = parallel.ordered(note, (asked.append(n) or n for n in range(100)), 1, ahead=5)
    assert [next(results) for _ in range(3)] == [0, 1, 2]
    assert len(asked) == 7 and len(threads) == 1
    assert list(results) == list(range(3, 100))


def test_an_error_in_a_worker_reaches_the_consumer():
    def fail(number: int) -> int:
        if number == 3:
            raise InputError("a number but 3", "3", "Leave it out.")
        return number

    results = parallel.ordered(fail, range(100))
    assert [next(results) for _ in range(3)] == [0, 1, 2]
    with pytest.raises(InputError):
        next(results)


@pytest.mark.parametrize("kept", [0, 5, 35])
def test_what_does_not_fit_is_decoded_when_it_is_read(folder, tmp_path, kept):
    built = catalogues.build(folder)
    whole = pixels.cache(built, 16, tmp_path / "whole")
    streamed = pixels.cache(built, 16, tmp_path / "cache", room=kept * 16 * 16 * 3 + 700)
    assert len(streamed.kept) == kept and streamed.nbytes == kept * 16 * 16 * 3
    assert streamed.shape == whole.shape and len(streamed) == 36
    order = np.random.default_rng(0).permutation(36)
    for key in (order, order[:0], slice(None), slice(3, 7), 0, 35, -1, np.int64(4)):
        assert np.array_equal(streamed[key], whole[key]), key
    on_disk = sum(path.stat().st_size for path in (tmp_path / "cache").glob("*.npy"))
    assert on_disk <= kept * 16 * 16 * 3 + 700


def test_room_enough_is_as_no_limit_and_a_whole_cache_is_used(folder, tmp_path):
    built = catalogues.build(folder)
    assert isinstance(pixels.cache(built, 16, tmp_path, room=36 * 16 * 16 * 3), np.memmap)
    assert isinstance(pixels.cache(built, 16, tmp_path, room=0), np.memmap)


def test_a_photo_that_changed_is_named_when_it_is_read(folder, tmp_path):
    built = catalogues.build(folder)
    streamed = pixels.cache(built, 16, tmp_path / "cache", room=0)
    (folder / "circle" / "circle_03.jpg").write_bytes(b"another")
    streamed[:3]
    with pytest.raises(InputError, match=r"circle_03\.jpg"):
        streamed[:8]
