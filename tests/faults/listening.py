"""Who a process talks to: every address it calls, whether or not that can be reached."""

from __future__ import annotations

import os
import re
import subprocess
import tempfile
from pathlib import Path

from faults.saves import can_trace

OFFLINE = str(Path(__file__).resolve().parents[1] / "offline")
ADDRESS = re.compile(r"sin6?_addr|inet_addr|inet_pton")
HERE = re.compile(r'"127\.|"::1"|"0\.0\.0\.0"')


def calls(command: list[str], home: Path) -> tuple[subprocess.CompletedProcess, list[str] | None]:
    """Runs a command: how it ended, and each call to another machine (None without strace).

    A name that is looked up shows as well, as a call to the machine's name server. The command
    runs with a cable plugged in: unplugged, as tests are, nobody would try to talk.
    """
    paths = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    variables = {key: value for key, value in os.environ.items() if key != "CI"}
    variables["PYTHONPATH"] = os.pathsep.join(path for path in paths if path != OFFLINE)
    variables["HOME"] = str(home)
    run = {"capture_output": True, "text": True, "errors": "replace", "env": variables}
    if not can_trace():
        return subprocess.run(command, **run), None
    with tempfile.TemporaryDirectory(prefix="flowers-faults-") as place:
        log = Path(place, "log")
        watch = ["strace", "-f", "--seccomp-bpf", "-qq", "-e", "trace=connect,sendto,sendmsg"]
        done = subprocess.run([*watch, "-o", str(log), *command], **run)
        lines = log.read_text(errors="replace").splitlines() if log.exists() else []
    return done, [line for line in lines if ADDRESS.search(line) and not HERE.search(line)]
