"""What the benchmarks share: sides measured in turn (A B A B), and rows that say how they compare.

One after the other and again: what else the machine does then falls on both sides alike. A median
stands for each side; the spread is (largest - smallest) / median.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

MARK = "@answer "  # before a worker's answers: libraries print on stdout as they like


@dataclass(frozen=True)
class Row:
    """One thing measured on two sides, in turn.

    ours and theirs: a value a round, in `unit`; names: of the two sides. target: "at most" or "at
    least", and what ours / theirs of the medians has to reach; None where nothing was promised.
    """

    what: str
    unit: str
    names: tuple[str, str]
    ours: tuple[float, ...]
    theirs: tuple[float, ...]
    target: tuple[str, float] | None = None
    note: str = ""

    @property
    def ratio(self) -> float:
        """Ours / theirs, of the medians."""
        return statistics.median(self.ours) / (statistics.median(self.theirs) or float("nan"))

    @property
    def met(self) -> bool | None:
        """Whether the target is reached; None without one."""
        if self.target is None:
            return None
        kind, bound = self.target
        return self.ratio <= bound if kind == "at most" else self.ratio >= bound

    def as_dict(self) -> dict:
        """Every value, and what they come to, ready for JSON."""
        sides = {}
        for name, values in zip(self.names, (self.ours, self.theirs), strict=True):
            found = {"values": [float(f"{value:.6g}") for value in values]}
            sides[name] = found | {"median": statistics.median(values), "spread": spread(values)}
        return {
            "what": self.what,
            "unit": self.unit,
            "sides": sides,
            "ratio": self.ratio,
            "target": list(self.target) if self.target else None,
            "met": self.met,
            "note": self.note,
        }


def spread(values: Sequence[float]) -> float:
    """(largest - smallest) / median."""
    return (max(values) - min(values)) / (abs(statistics.median(values)) or 1.0)


def measure(sides: Mapping[str, Callable[[], float]], rounds: int) -> dict[str, tuple[float, ...]]:
    """Asks each side in turn, and all of them again: name -> a value a round."""
    found: dict[str, list[float]] = {name: [] for name in sides}
    for number in range(rounds):
        for name, side in sides.items():
            found[name].append(side())
            say(f"round {number + 1} of {rounds}: {name} {found[name][-1]:.4g}")
    return {name: tuple(values) for name, values in found.items()}


def timed(function: Callable[[], object], times: int = 1) -> Callable[[], float]:
    """A side whose value is the seconds of one call, averaged over `times` calls."""

    def side() -> float:
        started = time.perf_counter()
        for _ in range(times):
            function()
        return (time.perf_counter() - started) / times

    return side


# --- processes -------------------------------------------------------------------------------


class Worker:
    """A process of its own that holds one side: a script with `serve` at its end.

    Two runtimes in one process would share threads and memory.
    """

    def __init__(self, command: Sequence[str], environment: Mapping[str, str] | None = None):
        self._process = subprocess.Popen(
            list(command),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL if not os.environ.get("BENCH_DEBUG") else None,
            text=True,
            env=dict(environment) if environment is not None else None,
        )
        self.first = self._answer()  # what it says once it is ready

    def ask(self, question: Mapping) -> dict:
        """Its answer; other workers are idle meanwhile."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(question) + "\n")
        self._process.stdin.flush()
        return self._answer()

    def close(self) -> None:
        """Ends the process."""
        self._process.communicate()

    def _answer(self) -> dict:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if line.startswith(MARK):
                return json.loads(line.removeprefix(MARK))
        return {"error": f"ended with {self._process.wait()}"}


def serve(answer: Callable[[dict], dict], first: dict) -> None:
    """In a worker: says that it is ready, then answers each question that comes."""
    print(MARK + json.dumps(first), flush=True)
    for line in sys.stdin:
        print(MARK + json.dumps(answer(json.loads(line))), flush=True)


def peak(command: Sequence[str], folder: Path | None = None) -> tuple[float, float]:
    """Runs a command to its end, in `folder`: (seconds, peak resident memory in MB)."""
    started = time.perf_counter()
    process = subprocess.Popen(
        list(command), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, cwd=folder
    )
    assert process.stderr is not None
    with process.stderr:
        errors = process.stderr.read()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{command} ended with {process.returncode}:\n{errors}")
    return time.perf_counter() - started, usage.ru_maxrss / 1024


# --- words -----------------------------------------------------------------------------------


def say(line: str) -> None:
    """One line of progress, on stderr."""
    print(f"{time.strftime('%H:%M:%S')} {line}", file=sys.stderr, flush=True)


def table(rows: Iterable[Mapping]) -> str:
    """Rows, as `Row.as_dict` gives them, as a Markdown table."""
    lines = ["| what | ours | beside | ratio | target |", "|---|---|---|---|---|"]
    notes: list[str] = []
    for row in rows:
        cells = [
            f"{name}: {number(side['median'])} {row['unit']} (spread {side['spread']:.0%})"
            for name, side in row["sides"].items()
        ]
        target = "{} {:.4g}".format(*row["target"]) if row["target"] else ""
        verdict = {True: ": reached", False: ": **not reached**", None: ""}[row["met"]]
        ratio = number(row["ratio"])
        lines.append(f"| {row['what']} | {' | '.join(cells)} | {ratio} | {target}{verdict} |")
        if row["note"] and row["note"] not in notes:
            notes.append(row["note"])
    return "\n".join([*lines, *(f"\n{note}" for note in notes)]) + "\n"


def number(value: float) -> str:
    """Three significant digits, without an exponent."""
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def parser(words: str, rounds: int) -> argparse.ArgumentParser:
    """The options that every script has."""
    made = argparse.ArgumentParser(description=words.split("\n")[0])
    made.add_argument("--rounds", type=int, default=rounds, help="of A B")
    made.add_argument("--json", type=Path, help="file for the rows")
    return made


def finish(rows: Sequence[Row], arguments: argparse.Namespace) -> None:
    """Prints the rows as a table, and writes them where they were asked for."""
    found = [row.as_dict() for row in rows]
    if arguments.json:
        arguments.json.parent.mkdir(parents=True, exist_ok=True)
        arguments.json.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
    print(table(found))
