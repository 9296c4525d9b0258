"""Fault 17: what schemathesis makes of the page's own description, sent to a real server."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path

from faults import tools
from faults.outcome import Outcome
from faults.page import serving

# A photo that nobody can read is answered with 422, though the description cannot tell it apart.
# A form that is wrong in another way and too large as well may be refused for its size, with 413.
_SETTINGS = """[checks.positive_data_acceptance]
expected-statuses = ["2xx", 422]
[checks.negative_data_rejection]
expected-statuses = ["4xx", 503]
"""


def requests(model: Path, seconds: float) -> Outcome:
    """Requests that fit /openapi.json and such as do not, to `flowers serve`, for as long.

    First the edges of what is described, then whatever comes to its mind. Each answer must have a
    status, a type, headers and a form that the description names, be no 5xx, and carry the security
    headers; what fits is accepted, and what does not is refused.
    """
    outcome, cases = Outcome(), []
    with serving(model) as server, tempfile.TemporaryDirectory(prefix="flowers-faults-") as place:
        Path(place, "schemathesis.toml").write_text(_SETTINGS)
        address = f"http://127.0.0.1:{server.port}/openapi.json"
        edges = (
            "run",
            "--phases",
            "examples,coverage",
            "--max-time",
            str(max(10, round(seconds / 10))),
        )
        for mode in (edges, ("fuzz", "--max-time", str(max(1, round(seconds))))):
            cases.append(_ask(mode, address, Path(place), outcome))
        gone = server.process.poll() is not None or not server.healthy()
        outcome.expect(not gone, "the server is gone")
        outcome.expect(gone or server.answers(), "no photo is looked at afterwards")
    outcome.figures = f"schemathesis: {cases[0]:,} requests at the edges, {cases[1]:,} others"
    return outcome


def _ask(mode: tuple[str, ...], address: str, place: Path, outcome: Outcome) -> int:
    """Runs schemathesis; how many requests it sent. What it found is noted."""
    told = place / f"{mode[0]}.json"
    command = [sys.executable, "-m", "schemathesis.cli", *mode, "--continue-on-failure"]
    command += ["--request-timeout", "60"]  # of a machine that has other work as well
    command += ["--report-json-path", str(told), "--no-color", address]
    done = subprocess.run(
        command,
        env=tools.environment() | {"SCHEMATHESIS_HOOKS": "faults.api_hooks"},
        cwd=place,
        capture_output=True,
        text=True,
        errors="replace",
    )
    report = json.loads(told.read_text("utf-8")) if told.exists() else {}
    cases = report.get("test_cases", {}).get("generated", 0)
    found = [
        f"{each['title']} ({each['count']}): {', '.join(each['operations'])}"
        for each in report.get("failures", [])
    ]
    found += [f"{str(each)[:500]}" for each in report.get("errors", [])]
    if found:  # the requests themselves stand in what it prints alone
        found[-1] += f"\n{done.stdout.partition(' FAILURES ')[2][:4000]}"
    if done.returncode and not found:
        found = [f"schemathesis ended with {done.returncode}: {(done.stdout + done.stderr)[-300:]}"]
    elif not cases:
        found = ["schemathesis asked nothing"]
    outcome.tries += cases
    outcome.failures += found
    return cases
