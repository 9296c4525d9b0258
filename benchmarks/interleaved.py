"""What the benchmarks share: sides measured in turn (A B A B), and rows that say how they compare.

One after the other and again: what else the machine does then falls on both sides alike. A median
stands for each side; the spread is (largest - smallest) / median.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

TIDYING = 10  # seconds that a stopped process has to remove what it made
MARK = "@answer "  # before a worker's answers: libraries print on stdout as they like


@dataclass(frozen=True)
class Row:
    """One thing measured on two sides, in turn.

    ours and theirs: a value a round, in `unit`; names: of the two sides. target: "at most" or "at
    least", and what ours / theirs of the medians has to reach; None where nothing was promised.
    missed: ours did not do what is timed, so that no ratio can reach the target. given: theirs was
    not measured: a limit, or what others have published.
    """

    what: str
    unit: str
    names: tuple[str, str]
    ours: tuple[float, ...]
    theirs: tuple[float, ...]
    target: tuple[str, float] | None = None
    note: str = ""
    missed: bool = False
    given: bool = False

    @property
    def ratio(self) -> float:
        """Ours / theirs, of the medians."""
        return statistics.median(self.ours) / (statistics.median(self.theirs) or float("nan"))

    @property
    def met(self) -> bool | None:
        """Whether the target is reached; None without one."""
        if self.target is None:
            return None
        if self.missed:
            return False
        kind, bound = self.target
        return self.ratio <= bound if kind == "at most" else self.ratio >= bound

    def as_dict(self) -> dict:
        """Every value, and what they come to, ready for JSON."""
        sides = {}
        for name, values in zip(self.names, (self.ours, self.theirs), strict=True):
            found = {"values": [float(f"{value:.6g}") for value in values]}
            sides[name] = found | {"median": statistics.median(values), "spread": spread(values)}
        if self.given:
            sides[self.names[1]]["given"] = True
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


def measure(
    sides: Mapping[str, Callable[[], float]],
    rounds: int,
    after: Callable[[], object] = lambda: None,
) -> dict[str, tuple[float, ...]]:
    """Asks each side in turn, and all of them again: name -> a value a round.

    after: called after each round, to keep what is measured so far: a later one may fail.
    """
    found: dict[str, list[float]] = {name: [] for name in sides}
    for number in range(rounds):
        for name, side in sides.items():
            found[name].append(side())
            say(f"round {number + 1} of {rounds}: {name} {found[name][-1]:.4g}")
        after()
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


# Starts a command and waits for it: prints seconds, peak resident kilobytes and how it ended to the
# descriptor it is given. Linux counts the memory of whoever starts a process as that process's own
# peak (the old image's high-water mark is carried over exec), hence this small one in between:
# without site and subprocess it holds about 10 MB, as much as any Python does.
LAUNCHER = """
import os, sys, time
report, command = int(sys.argv[1]), sys.argv[2:]
os.set_inheritable(report, False)
started = time.perf_counter()
process = os.posix_spawnp(command[0], command, os.environ)
_, status, usage = os.wait4(process, 0)
spent = time.perf_counter() - started
ended = os.waitstatus_to_exitcode(status)
os.write(report, f"{spent} {usage.ru_maxrss} {ended}".encode())
"""


def peak(
    command: Sequence[str],
    folder: Path | None = None,
    environment: Mapping[str, str] | None = None,
) -> tuple[float, float]:
    """Runs a command to its end, in `folder`: (seconds, peak resident memory in MB)."""
    read, write = os.pipe()
    launcher = [sys.executable, "-I", "-S", "-c", LAUNCHER, str(write), *command]
    with os.fdopen(read) as report:
        try:
            done = subprocess.run(
                launcher,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                text=True,
                cwd=folder,
                env=environment,
                pass_fds=[write],
            )
        finally:
            os.close(write)
        seconds, kilobytes, ended = report.read().split() or (0, 0, done.returncode)
    if int(ended):
        raise SystemExit(f"{command} ended with {ended}:\n{done.stderr}")
    return float(seconds), int(kilobytes) / 1024


def finished(command: Sequence[str], seconds: float | None = None) -> tuple[int | None, str]:
    """How a command ended, None where it was stopped after `seconds`, and what it printed.

    It has a session of its own: whatever ends this one's wait ends all that it has started.
    """
    with subprocess.Popen(
        list(command), stdout=subprocess.PIPE, text=True, start_new_session=True
    ) as process:
        try:
            text, _ = process.communicate(timeout=seconds)
            return process.returncode, text
        except subprocess.TimeoutExpired:
            return None, ""
        finally:
            for sign in (signal.SIGINT, signal.SIGKILL):  # first as Ctrl-C does: it tidies up
                if process.poll() is None:
                    os.killpg(process.pid, sign)
                    with contextlib.suppress(subprocess.TimeoutExpired):
                        process.wait(TIDYING)


def stop_when_asked() -> None:
    """Lets a request to end, or a closed terminal, end what was started as well."""
    for sign in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(sign) is not signal.SIG_IGN:  # as under nohup
            signal.signal(sign, lambda number, frame: sys.exit(128 + number))


# --- words -----------------------------------------------------------------------------------


def say(line: str) -> None:
    """One line of progress, on stderr."""
    print(f"{time.strftime('%H:%M:%S')} {line}", file=sys.stderr, flush=True)


def table(rows: Iterable[Mapping]) -> str:
    """Rows, as `Row.as_dict` gives them, as a Markdown table."""
    lines = ["| what | ours | beside | ratio | target |", "|---|---|---|---|---|"]
    notes: list[str] = []
    for row in rows:
        cells = [f"{name}: {_told(side, row['unit'])}" for name, side in row["sides"].items()]
        target = "{} {:.4g}".format(*row["target"]) if row["target"] else ""
        verdict = {True: ": reached", False: ": **not reached**", None: ""}[row["met"]]
        ratio = number(row["ratio"])
        lines.append(f"| {row['what']} | {' | '.join(cells)} | {ratio} | {target}{verdict} |")
        if row["note"] and row["note"] not in notes:
            notes.append(row["note"])
    return "\n".join([*lines, *(f"\n{note}" for note in notes)]) + "\n"


def _told(side: Mapping, unit: str) -> str:
    """The median and how far the values lie apart; of one value that is not known."""
    value = f"{number(side['median'])} {unit}".rstrip()
    if side.get("given"):
        return value
    apart = f"spread {side['spread']:.0%}" if len(side["values"]) > 1 else "one run"
    return f"{value} ({apart})"


def number(value: float) -> str:
    """Three significant digits, without an exponent."""
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def parser(words: str, rounds: int) -> argparse.ArgumentParser:
    """The options that every script has."""
    made = argparse.ArgumentParser(description=words.split("\n")[0])
    made.add_argument("--rounds", type=int, default=rounds, help="of A B")
    made.add_argument("--json", type=Path, help="file for the rows")
    return made


def write(rows: Sequence[Row], arguments: argparse.Namespace) -> list[dict]:
    """The rows, written where they were asked for; a script may do so whenever it has some."""
    found = [row.as_dict() for row in rows]
    if arguments.json:
        arguments.json.parent.mkdir(parents=True, exist_ok=True)
        arguments.json.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
    return found


def finish(rows: Sequence[Row], arguments: argparse.Namespace) -> None:
    """Prints the rows as a table, and writes them where they were asked for."""
    print(table(write(rows, arguments)))
