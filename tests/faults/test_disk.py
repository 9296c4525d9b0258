"""Fault 5: the whole command on a disk that is full, or that may not be written."""

import hashlib
import os
import resource
import signal
import subprocess
import sys
from pathlib import Path

import pytest

TINY = ("--backbone", "miniature", "--size", "32", "--phases", "head", "--epochs", "1")
CODE = "from flowers.cli import main; main()"


def flowers(*arguments, cwd, largest: int | None = None) -> subprocess.CompletedProcess:
    """The command in a process that may write no file larger than `largest` bytes."""

    def lower() -> None:
        if largest is not None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (largest, largest))
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)

    command = [sys.executable, "-c", CODE, *map(str, arguments)]
    return subprocess.run(
        command, cwd=cwd, preexec_fn=lower, capture_output=True, text=True, env=os.environ
    )


def fingerprints(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.suffix != ".lock"
    }


def test_a_full_disk_ends_each_command_with_a_remedy_and_leaves_what_was(small_folder, tmp_path):
    (tmp_path / "labels.csv").write_text("path,label\n")
    photo = next(small_folder.rglob("*.jpg"))
    before = fingerprints(tmp_path)
    for arguments in (
        ("check", small_folder, "--csv", "labels.csv"),
        ("get", "painted"),
        ("train", "--data", small_folder, *TINY),
    ):
        done = flowers(*arguments, cwd=tmp_path, largest=1_000)
        assert done.returncode == 3, done.stderr
        assert "Traceback" not in done.stderr and "Expected to write" in done.stderr
        assert fingerprints(tmp_path) == before, arguments
        assert not [path for path in tmp_path.rglob("*") if ".partial" in path.name]
    assert photo.is_file()


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="this system has no /proc")
@pytest.mark.parametrize(
    "arguments",
    [
        ("check", "{photos}", "--csv", "/proc/self/catalogue.csv"),
        ("get", "painted", "--data-dir", "/proc/self/data"),
        ("train", "--data", "{photos}", "--data-dir", "/proc/self/data", *TINY),
        ("train", "--data", "{photos}", "--out", "/proc/self/flowers.keras", *TINY),
        ("predict", "{photo}", "--model", "{model}", "--csv", "/proc/self/answers.csv"),
    ],
    ids=lambda arguments: " ".join(arguments[:2]),
)
def test_a_folder_that_cannot_be_written_is_named(small_folder, sound, run_here, arguments):
    """/proc refuses root as well, which file modes do not."""
    names = {"photos": small_folder, "model": sound / "flowers.tflite"}
    names["photo"] = next(small_folder.rglob("*.jpg"))
    done = run_here(*(part.format(**names) for part in arguments))
    assert done.code == 3, done.stderr
    assert "/proc/self" in done.stderr and "Traceback" not in done.stderr
    assert any(
        remedy in done.stderr for remedy in ("Name a folder", "name a folder", "Check the disk")
    )
