"""Fuzzing that watches which code runs (atheris, on libFuzzer), in a process of its own.

`make tools` installs it, on Linux with an x86-64 processor; elsewhere the experiments fall back
to what hypothesis spoils. What ends the process, a crash, a hang or too much memory, is a failure:
the bytes that did it are kept, and the fuzzing goes on in a new process.
"""

from __future__ import annotations

import hashlib
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from faults import tools
from faults.outcome import Outcome

PATIENCE = 180.0  # seconds that a process gets besides its own: for imports and for its last try
MOST_FAILURES = 10


@dataclass(frozen=True)
class Target:
    """What is fuzzed: the module whose process does it, and where its limits are.

    module: run as `python -m`; seconds: of one try; megabytes: of the process; largest: bytes of an
    input; slice: seconds after which a new process takes over, since what is tried may leak.
    """

    module: str
    seconds: int
    megabytes: int
    largest: int
    slice: float


def fuzz(target: Target, seconds: float, seeds: Iterable[bytes], keep: Path) -> Outcome:
    """Runs a target until the time is up; every input that ends its process is kept.

    Args:
        target: what is fuzzed.
        seconds: for how long.
        seeds: what the first inputs are.
        keep: the folder that receives what was found, as target-hash.bin.
    """
    outcome, end, covered = Outcome(), time.monotonic() + seconds, (0, 0)
    with tempfile.TemporaryDirectory(prefix="flowers-faults-") as place:
        corpus, found = Path(place, "corpus"), Path(place, "found")
        corpus.mkdir()
        found.mkdir()
        for seed in seeds:
            (corpus / hashlib.sha1(seed).hexdigest()).write_bytes(seed)
        while (left := end - time.monotonic()) >= 1 and len(outcome.failures) < MOST_FAILURES:
            code, said = _run(target, round(min(left, target.slice)) or 1, corpus, found)
            tried, reached = _figures(said)
            outcome.tries += tried
            covered = max(covered, reached)
            if code:
                outcome.failures.append(_kept(target, code, said, found, keep))
                if not tried:  # it does not even begin
                    break
        grown = sum(1 for _ in corpus.iterdir())
    outcome.figures = (
        f"atheris: {covered[0]:,} branches and {covered[1]:,} features reached, "
        f"{grown:,} inputs kept for what they reach"
    )
    return outcome


def _run(target: Target, seconds: int, corpus: Path, found: Path) -> tuple[str, str]:
    """One process: how it failed ("" when it did not), and what it said."""
    options = {
        "max_total_time": seconds,
        "timeout": target.seconds,
        "rss_limit_mb": target.megabytes,
        "max_len": target.largest,
        "artifact_prefix": f"{found}{os.sep}",
        "print_final_stats": 1,
    }
    settings = [f"-{name}={value}" for name, value in options.items()]
    process = subprocess.Popen(
        [sys.executable, "-m", target.module, str(corpus), *settings],
        env=tools.environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    )
    try:
        said = process.communicate(timeout=seconds + PATIENCE)[0]
    except subprocess.TimeoutExpired:
        process.kill()
        return "it hung", process.communicate()[0]
    return f"exit code {process.returncode}" if process.returncode else "", said


def _figures(said: str) -> tuple[int, tuple[int, int]]:
    """Tries, and the most branches and features that they reached, from libFuzzer's lines."""
    tries = re.findall(r"^(?:#|stat::number_of_executed_units: +)(\d+)", said, re.MULTILINE)
    reached = re.findall(r"cov: (\d+) ft: (\d+)", said)
    return max(map(int, tries), default=0), max(
        ((int(branches), int(features)) for branches, features in reached), default=(0, 0)
    )


def _kept(target: Target, code: str, said: str, found: Path, keep: Path) -> str:
    """Keeps what ended a process; a line about it."""
    names = []
    for path in sorted(found.iterdir()):
        content = path.read_bytes()
        path.unlink()
        keep.mkdir(exist_ok=True)
        name = f"{target.module.rpartition('.')[2]}-{hashlib.sha1(content).hexdigest()[:12]}.bin"
        (keep / name).write_bytes(content)
        names.append(f"{name} ({path.name.partition('-')[0]})")
    reasons = re.findall(r"^(?:\w+\.)*\w*(?:Error|Exception|ERROR)\b.*", said, re.MULTILINE)
    words = reasons[-1] if reasons else "; ".join(said.strip().splitlines()[-3:])
    return f"{code}: {', '.join(names) or 'nothing kept'}: {words[:300]}"
