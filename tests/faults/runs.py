"""Faults 2 and 3: `flowers train` killed at random times, and asked to stop."""

from __future__ import annotations

import contextlib
import csv
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from faults.outcome import Outcome

CODE = "from flowers.cli import main; main()"
TOY = ("--backbone", "miniature", "--size", "32", "--phases", "head,stage", "--epochs", "40")
RESNET50 = ("--phases", "head,stage", "--epochs", "2", "--views", "1")
STOP = 10.0  # seconds within which a run ends when it is asked to


def kills(count: int, data: Path, settings: tuple[str, ...] = TOY, seed: int = 0) -> Outcome:
    """Kills a run `count` times at random moments, and lets it go on each time.

    A run is started anew when it has come to its end. Its test photos' answers must be those of
    the run that nobody disturbs, digit by digit; no start may have lost more than an epoch.
    """
    outcome, chance = Outcome(), random.Random(seed)
    with tempfile.TemporaryDirectory(prefix="flowers-faults-") as place:
        whole = Path(place, "whole")
        started = time.monotonic()
        code, said = _run(whole, data, settings)
        length = time.monotonic() - started
        outcome.expect(code == 0, said[-300:])
        expected = _answers(whole)
        outcome.expect(bool(expected), "the undisturbed run answered nothing")
        # what is cached is part of what may be killed, so the disturbed run begins with nothing
        disturbed, done, killed = Path(place, "disturbed"), 0, 0
        while killed < count or disturbed.exists():
            limit = chance.uniform(0, 1.1) * length if killed < count else None
            before = _epochs(disturbed)
            code, said = _run(disturbed, data, settings, limit)
            if code == -signal.SIGKILL:
                killed += 1
                after = _epochs(disturbed)
                # an epoch that had been saved before this start must still be there, unless the
                # kill came when all was done and the checkpoint was no longer needed
                kept = after >= before or _answers(disturbed) == expected
                outcome.expect(kept, f"{before} epochs were saved, then {after}")
                continue
            done += 1
            outcome.expect(code == 0, f"exit code {code}: {said[-300:]}")
            same = code == 0 and _answers(disturbed) == expected
            outcome.expect(same, "other answers than those of the undisturbed run")
            left = [p.name for p in disturbed.rglob("*") if ".partial" in p.name]
            outcome.expect(not left, f"left: {left}")
            shutil.rmtree(disturbed)
    outcome.figures = f"{killed} kills over {done} runs of {length:.0f} s"
    return outcome


def stops(count: int, data: Path) -> Outcome:
    """Asks a run to stop, by SIGTERM and SIGINT, at random moments: it ends within 10 s, code 3."""
    outcome, chance, slowest = Outcome(), random.Random(1), 0.0
    settings = (*TOY[:-1], "4000")
    for number in range(count):
        with tempfile.TemporaryDirectory(prefix="flowers-faults-") as place:
            process = _start(Path(place), data, settings)
            time.sleep(chance.uniform(1, 15))
            process.send_signal((signal.SIGTERM, signal.SIGINT)[number % 2])
            asked = time.monotonic()
            try:
                said = process.communicate(timeout=60)[1]
            except subprocess.TimeoutExpired:
                process.kill()
                said = process.communicate()[1] + "it never ended"
            took = time.monotonic() - asked
            slowest = max(slowest, took)
            quiet = "Traceback" not in said
            right = took < STOP and process.returncode == 3 and quiet
            outcome.expect(right, f"{took:.1f} s, code {process.returncode}: {said[-200:]}")
    outcome.figures = f"the slowest took {slowest:.1f} s"
    return outcome


def _start(place: Path, data: Path, settings: tuple[str, ...]) -> subprocess.Popen:
    place.mkdir(exist_ok=True)
    command = [sys.executable, "-c", CODE, "train", "--data", str(data), *settings]
    return subprocess.Popen(
        command,
        cwd=place,
        env=os.environ | {"FLOWERS_PROGRESS": "off", "TF_CPP_MIN_LOG_LEVEL": "3"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        # in the background of a shell, Ctrl-C would be ignored
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )


def _run(
    place: Path, data: Path, settings: tuple[str, ...], limit: float | None = None
) -> tuple[int, str]:
    """Exit code and what was said; killed when `limit` seconds are up."""
    process = _start(place, data, settings)
    try:
        said = process.communicate(timeout=limit)[1]
    except subprocess.TimeoutExpired:
        process.kill()
        said = process.communicate()[1]
    return process.returncode, said


def _epochs(place: Path) -> int:
    """How many epochs the checkpoint knows; 0 where there is none."""
    from flowers.train import checkpoint

    for path in (place / "data" / "cache").glob("run-*.npz"):
        with contextlib.suppress(OSError):
            state = checkpoint.load(path)
            return len(state.history) if state else -1
    return 0


def _answers(place: Path) -> list[dict[str, str]]:
    """What the finished run said of its test photos; nothing where it has not come so far."""
    table = place / "models" / "flowers" / "predictions.csv"
    if not table.exists():
        return []
    with table.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))
