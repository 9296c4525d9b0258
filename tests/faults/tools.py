"""What `make tools` installs, beside the project's own packages and not among them.

Each process that needs it finds it on its path; in this one nothing of it is imported, so that the
tests run with what requirements.lock holds and nothing else.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

TESTS = Path(__file__).resolve().parents[1]
PLACE = Path(sys.prefix, "tools")


def installed(package: str) -> bool:
    """Whether a package is there, by the name that it is imported by."""
    return (PLACE / package).is_dir()


def environment() -> dict[str, str]:
    """The variables of a process that finds the tools, our experiments and the project."""
    paths = (str(PLACE), str(TESTS), os.environ.get("PYTHONPATH", ""))
    return os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, paths))}
