"""Fault 1 and 5: what is saved is the old or the new, whatever happens while it is saved."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import os
import random
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

from faults.outcome import Outcome
from faults.saver import KINDS, Kind, Unpacked

TESTS = Path(__file__).resolve().parents[1]
CALLS = ("write", "pwrite64", "fsync", "rename")
FULL = {"write": "ENOSPC", "pwrite64": "ENOSPC", "fsync": "EIO", "rename": "EACCES"}
PATIENCE = 120.0  # seconds: a save takes less than one
ENDLESS = 400  # calls of one kind in one save: more would be a mistake here


class Saver:
    """The process of `faults.saver` for one kind."""

    def __init__(self, name: str, folder: Path, said: TextIO):
        self.said = said  # a pipe would fill up
        self.kind: Kind = KINDS[name](folder)
        path = os.pathsep.join([str(TESTS), os.environ.get("PYTHONPATH", "")])
        self.process = subprocess.Popen(
            [sys.executable, "-m", "faults.saver", name, str(folder)],
            env=os.environ | {"PYTHONPATH": path},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.said,
            text=True,
        )
        assert self.process.stdout.readline() == "ready\n", self.last()

    def last(self) -> str:
        """The end of what it printed."""
        self.said.seek(0)
        return self.said.read()[-500:]

    def start(self, order: str) -> int:
        """The number of the child that carries out an order."""
        self.process.stdin.write(order + "\n")
        self.process.stdin.flush()
        return int(self.process.stdout.readline())

    def ended(self) -> int:
        """The exit code of the child; waits for its end, but not for ever."""
        ready, _, _ = select.select([self.process.stdout], [], [], PATIENCE)
        assert ready, f"a save hangs: {self.last()}"
        return int(self.process.stdout.readline())

    def once(self, edition: int, tracer: tuple[str, ...] = ()) -> tuple[int, str]:
        """Saves one edition, under strace with these options: exit code, what strace noted."""
        child = self.start(f"once {edition}")
        _wait_for(lambda: _state(child) in "Tt")
        if not tracer:
            os.kill(child, signal.SIGCONT)
            return self.ended(), ""
        command = ["strace", "-f", "-qq", "-o", "/dev/stderr", *tracer, "-p", str(child)]
        with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as strace:
            _wait_for(lambda: _status(child, "TracerPid") != "0")
            os.kill(child, signal.SIGCONT)
            code = self.ended()
            return code, strace.communicate(timeout=30)[1]


@contextlib.contextmanager
def saver(name: str) -> Iterator[tuple[Saver, Path]]:
    """A saver, and the folder it saves to."""
    with (
        tempfile.TemporaryDirectory(prefix="flowers-faults-") as place,
        tempfile.TemporaryFile("w+") as said,
    ):
        folder = Path(place, "models")
        folder.mkdir()
        running = Saver(name, folder, said)
        try:
            yield running, folder
        finally:
            running.process.stdin.close()
            running.process.wait(300)
            running.process.stdout.close()


def kills(count: int, seed: int = 0, names: tuple[str, ...] = tuple(KINDS)) -> Outcome:
    """Kills a saving process `count` times, at random moments, over all kinds in turn."""
    outcome, chance = Outcome(), random.Random(seed)
    for number, name in enumerate(names):
        with saver(name) as (running, folder):
            running.once(0)
            for _ in range(count // len(names) + (number < count % len(names))):
                child = running.start("loop")
                time.sleep(chance.uniform(0.0, 0.12))
                os.kill(child, signal.SIGKILL)
                running.ended()
                _judge(outcome, running, folder, f"{name}, killed")
    outcome.figures = f"{len(names)} kinds of files"
    return outcome


@functools.cache
def can_trace() -> bool:
    """Whether strace is there and may trace and tamper."""
    if shutil.which("strace") is None:
        return False
    command = ["strace", "-f", "-qq", "-e", "inject=fsync:error=EIO", "true"]
    return subprocess.run(command, capture_output=True).returncode == 0


def kth(share: float, names: tuple[str, ...] = tuple(KINDS)) -> Outcome:
    """Lets every K-th write, fsync and rename of a save fail, and kills the process at each."""
    outcome = Outcome()
    step = max(1, round(1 / share))
    for name in names:
        with saver(name) as (running, folder):
            running.once(0)
            for call in CALLS:
                for what in (f"error={FULL[call]}", "signal=KILL"):
                    _each(outcome, running, folder, name, call, what, step)
    outcome.figures = f"every {'' if step == 1 else f'{step}th '}call of {len(names)} kinds"
    return outcome


def _each(
    outcome: Outcome, running: Saver, folder: Path, name: str, call: str, what: str, step: int
) -> None:
    for number in range(1, ENDLESS, step):
        edition = 1 - max(running.kind.there(), default=1)
        before = _fingerprints(folder)
        options = ("-e", f"trace={call}", "-e", f"inject={call}:{what}:when={number}")
        code, noted = running.once(edition, options)
        said = f"{name}: {what} at {call} {number}"
        if "INJECTED" not in noted and code == 0:
            return  # this save has no such call any more
        if what.startswith("error"):
            outcome.expect(
                code == 3, f"{said}: exit code {code} {running.last() if code == 1 else ''}"
            )
            # what fails when the new one has its name already can only leave the new one; and who
            # unpacks an archive anew removes the folder that stands in its place
            same = _fingerprints(folder) == before
            fine = same or edition in running.kind.there() or name == "archive"
            outcome.expect(fine, f"{said}: neither what was there is left, nor the new")
        else:
            outcome.expect(code == -signal.SIGKILL, f"{said}: exit code {code}")
        _judge(outcome, running, folder, said)
    raise AssertionError(f"{name}: more than {ENDLESS} calls of {call}")


def _judge(outcome: Outcome, running: Saver, folder: Path, said: str) -> None:
    """The old or the new is there; and the next save leaves it, whole, and nothing besides."""
    try:
        there = running.kind.there()
        # something was there; but who unpacks anew removes what stands in its place
        right = there <= {0, 1} and (bool(there) or isinstance(running.kind, Unpacked))
        outcome.expect(right, f"{said}: something else is left, or nothing: {there}")
    except Exception as error:
        outcome.expect(False, f"{said}: {type(error).__name__}: {str(error)[:200]}")
    code, _ = running.once(0)
    left = [path.name for path in folder.rglob("*") if ".partial" in path.name]
    try:
        again = running.kind.there()
    except Exception as error:
        again = f"{type(error).__name__}: {str(error)[:200]}"
    outcome.expect(
        code == 0 and not left and again == {0},
        f"{said}: the next save ends with {code}, {again}, {left}",
    )


def _fingerprints(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def _state(process: int) -> str:
    return _status(process, "State")[:1]


def _status(process: int, key: str) -> str:
    lines = Path(f"/proc/{process}/status").read_text().splitlines()
    return next(line.split()[1] for line in lines if line.startswith(f"{key}:"))


def _wait_for(true, seconds: float = 20.0) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, "it did not come to pass"
        time.sleep(0.001)
