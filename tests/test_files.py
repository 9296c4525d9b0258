"""What is written is the old or the new, whatever happens while it is written."""

from __future__ import annotations

import os
import random
import resource
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from flowers import files
from flowers.errors import InputError, WorldError

PARTIAL = ".report.json.999999999.partial.json"  # what a process left that is long gone


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def run(code: str, *arguments: object, limit: int | None = None) -> subprocess.CompletedProcess:
    """Runs Python in its own process, where no file may grow past `limit` bytes."""

    def lower() -> None:
        if limit is not None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)

    command = [sys.executable, "-c", textwrap.dedent(code), *map(str, arguments)]
    return subprocess.run(command, preexec_fn=lower, capture_output=True, text=True, timeout=60)


# --- one file --------------------------------------------------------------------------------


def test_a_file_appears_whole_with_its_folders(tmp_path):
    path = files.write_json(tmp_path / "a" / "b" / "report.json", {"accuracy": 0.94, "name": "ü"})
    assert files.read_json(path) == {"accuracy": 0.94, "name": "ü"}
    assert names(path.parent) == ["report.json"]
    assert files.sha256(files.write_bytes(tmp_path / "x", b"abc")).startswith("ba7816bf")


def test_the_temporary_name_ends_as_the_file_does(tmp_path):
    with files.atomic(tmp_path / "flowers.weights.h5") as temporary:
        assert temporary.name.endswith(".weights.h5")
        assert temporary.parent == tmp_path
        temporary.write_bytes(b"x")


def test_an_error_while_writing_keeps_the_old_file(tmp_path):
    path = files.write_text(tmp_path / "report.json", "old")
    with pytest.raises(KeyError), files.atomic(path) as temporary:
        temporary.write_text("half of the n")
        raise KeyError
    with pytest.raises(ValueError, match="JSON"):
        files.write_json(path, float("nan"))
    assert path.read_text() == "old"
    assert names(tmp_path) == ["report.json"]


def test_kills_at_random_moments_leave_the_old_file_or_the_new_one(tmp_path):
    code = """
        import sys
        from flowers import files
        print(flush=True)
        number = 0
        while True:
            number += 1
            files.write_text(sys.argv[1], f"{number % 10}" * 300_000)
    """
    path = tmp_path / "numbers.txt"
    chance = random.Random(3)
    for _ in range(12):
        command = [sys.executable, "-c", textwrap.dedent(code), str(path)]
        with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
            process.stdout.readline()
            time.sleep(chance.uniform(0, 0.05))
            process.kill()
        if path.exists():
            text = path.read_text()
            assert len(text) == 300_000 and len(set(text)) == 1
    files.write_text(path, "the next run")
    assert names(tmp_path) == ["numbers.txt"]


def test_a_full_disk_is_named_and_the_old_file_stays(tmp_path):
    path = files.write_text(tmp_path / "report.json", "old")
    code = """
        import sys
        from flowers import files
        files.write_bytes(sys.argv[1], bytes(200_000))
    """
    done = run(code, path, limit=100_000)
    assert "WorldError: Expected to write" in done.stderr and str(path) in done.stderr
    assert path.read_text() == "old"
    assert names(tmp_path) == ["report.json"]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
def test_no_space_left_on_the_device_has_a_remedy(tmp_path):
    with (
        pytest.raises(WorldError, match="The disk is full: free some space") as caught,
        files.atomic(tmp_path / "report.json"),
        Path("/dev/full").open("wb", 0) as full,
    ):
        full.write(b"x")
    assert caught.value.exit_code == 3
    assert names(tmp_path) == []


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="this system has no /proc")
def test_a_folder_that_cannot_be_written_is_named():
    # /proc refuses root as well, which file modes do not
    with pytest.raises(WorldError, match="/proc/self/flowers"):
        files.write_text("/proc/self/flowers/report.json", "x")


def test_a_file_where_a_folder_is_needed_is_named(tmp_path):
    (tmp_path / "models").write_text("I am a file")
    for write in (
        lambda: files.write_text(tmp_path / "models" / "report.json", "x"),
        lambda: files.atomic_folder(tmp_path / "models" / "set").__enter__(),
        lambda: files.locked(tmp_path / "models" / "set").__enter__(),
    ):
        with pytest.raises(WorldError, match=r"models/(report.json|set)"):
            write()
    assert (tmp_path / "models").read_text() == "I am a file"


def test_too_many_open_files_has_its_own_remedy(tmp_path):
    code = """
        import os, resource, sys
        from flowers import files
        resource.setrlimit(resource.RLIMIT_NOFILE, (len(os.listdir("/dev/fd")) + 1,) * 2)
        kept = []
        try:
            while True:
                kept.append(open(os.devnull))
        except OSError:
            files.write_text(sys.argv[1], "x")
    """
    assert "ulimit -n" in run(code, tmp_path / "report.json").stderr


def test_the_next_write_sweeps_what_the_dead_left_and_nothing_else(tmp_path):
    (tmp_path / PARTIAL).write_text("half")
    (tmp_path / ".set.999999999.partial").mkdir()
    (tmp_path / ".set.999999999.partial" / "1.jpg").write_text("half")
    living = f".other.{os.getppid()}.partial"  # of a process that still runs
    mine = ["photo.999999999.partial", ".hidden", living]
    for name in mine:
        (tmp_path / name).write_text("mine")
    files.write_text(tmp_path / "report.json", "new")
    assert names(tmp_path) == sorted([*mine, "report.json"])


def test_reading_says_what_is_missing_or_broken(tmp_path):
    with pytest.raises(InputError, match="no such file"):
        files.read_json(tmp_path / "none.json")
    (tmp_path / "broken.json").write_bytes(b"\xff{")
    with pytest.raises(InputError, match="JSON in"):
        files.read_json(tmp_path / "broken.json")


def test_space_is_asked_for_before_it_is_used(tmp_path):
    files.require_space(tmp_path / "not" / "yet", 1, "a photo")
    with pytest.raises(WorldError, match=r"1,000,000,000,000 MB free in .* for the pixels"):
        files.require_space(tmp_path, 10**18, "the pixels")


# --- a folder --------------------------------------------------------------------------------


def test_a_folder_appears_whole(tmp_path):
    with files.atomic_folder(tmp_path / "a" / "set") as temporary:
        (temporary / "rose").mkdir()
        (temporary / "rose" / "1.jpg").write_bytes(b"x")
        assert not (tmp_path / "a" / "set").exists()
    assert (tmp_path / "a" / "set" / "rose" / "1.jpg").read_bytes() == b"x"
    assert names(tmp_path / "a") == ["set"]


def test_an_empty_folder_is_filled_and_a_full_one_is_kept(tmp_path):
    (tmp_path / "set").mkdir()
    with files.atomic_folder(tmp_path / "set") as temporary:
        (temporary / "1.jpg").write_bytes(b"first")
    with (
        pytest.raises(WorldError, match="something else has that name"),
        files.atomic_folder(tmp_path / "set") as temporary,
    ):
        (temporary / "1.jpg").write_bytes(b"second")
    assert (tmp_path / "set" / "1.jpg").read_bytes() == b"first"


def test_an_error_leaves_no_folder(tmp_path):
    with pytest.raises(KeyError), files.atomic_folder(tmp_path / "set") as temporary:
        (temporary / "1.jpg").write_bytes(b"x")
        raise KeyError
    assert names(tmp_path) == []


def test_a_leftover_with_our_own_process_number_does_not_leak_into_the_folder(tmp_path):
    leftover = tmp_path / f".set.{os.getpid()}.partial"
    leftover.mkdir()
    (leftover / "stranger.jpg").write_bytes(b"x")
    with files.atomic_folder(tmp_path / "set") as temporary:
        (temporary / "1.jpg").write_bytes(b"x")
    assert names(tmp_path / "set") == ["1.jpg"]


def test_kills_at_random_moments_leave_a_whole_folder_or_none(tmp_path):
    code = """
        import shutil, sys
        from pathlib import Path
        from flowers import files
        folder = Path(sys.argv[1])
        print(flush=True)
        while True:
            with files.atomic_folder(folder) as temporary:
                for number in range(20):
                    (temporary / f"{number}.jpg").write_bytes(bytes(1000))
            gone = folder.with_name("gone")
            folder.rename(gone)
            shutil.rmtree(gone)
    """
    chance = random.Random(4)
    for _ in range(8):
        command = [sys.executable, "-c", textwrap.dedent(code), str(tmp_path / "set")]
        with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
            process.stdout.readline()
            time.sleep(chance.uniform(0, 0.05))
            process.kill()
        if (tmp_path / "set").exists():
            photos = list((tmp_path / "set").iterdir())
            assert len(photos) == 20 and all(photo.stat().st_size == 1000 for photo in photos)
            (tmp_path / "set").rename(tmp_path / "seen")
            for photo in (tmp_path / "seen").iterdir():
                photo.unlink()
            (tmp_path / "seen").rmdir()
        if (tmp_path / "gone").exists():
            for photo in (tmp_path / "gone").iterdir():
                photo.unlink()
            (tmp_path / "gone").rmdir()
    files.write_text(tmp_path / "next.txt", "run")
    assert names(tmp_path) == ["next.txt"]


# --- a lock ----------------------------------------------------------------------------------


def test_eight_processes_make_it_once(tmp_path):
    code = """
        import os, sys, time
        from pathlib import Path
        from flowers import files
        made, log = Path(sys.argv[1]), Path(sys.argv[2])
        with files.locked(made):
            if not made.exists():
                with log.open("a") as file:
                    file.write(f"{os.getpid()}\\n")
                time.sleep(0.05)
                files.write_text(made, "made")
        assert made.read_text() == "made"
    """
    command = [sys.executable, "-c", textwrap.dedent(code)]
    command += [str(tmp_path / "cache"), str(tmp_path / "log")]
    processes = [subprocess.Popen(command) for _ in range(8)]
    assert [process.wait(60) for process in processes] == [0] * 8
    assert len((tmp_path / "log").read_text().split()) == 1


def test_a_lock_falls_with_its_process_and_patience_ends(tmp_path):
    code = """
        import sys, time
        from flowers import files
        with files.locked(sys.argv[1]):
            print(flush=True)
            time.sleep(60)
    """
    command = [sys.executable, "-c", textwrap.dedent(code), str(tmp_path / "cache")]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        process.stdout.readline()
        with (
            pytest.raises(WorldError, match="another process to finish"),
            files.locked(tmp_path / "cache", patience=0.1),
        ):
            pass
        process.kill()
    with files.locked(tmp_path / "cache", patience=5):
        assert names(tmp_path) == [".cache.lock"]
