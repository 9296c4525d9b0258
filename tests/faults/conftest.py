"""What the tests of the faults share."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

from faults import listening, small_model

TESTS = Path(__file__).resolve().parents[1]


class Written(NamedTuple):
    """A small model in every format, written by a process of its own, and whom that called."""

    folder: Path
    home: Path
    calls: list[str] | None  # None where it cannot be seen


@pytest.fixture(scope="session")
def written(once: Callable) -> Written:
    """Exports a small model; each file is described by the card."""
    return once("written", _write)


def _write(place: Path) -> Written:
    folder, home = place / "models", place / "home"
    home.mkdir()
    code = f"import sys; sys.path.insert(0, {str(TESTS)!r})\nfrom pathlib import Path\n"
    code += "from faults import small_model; small_model.write(Path(sys.argv[1]))"
    done, calls = listening.calls([sys.executable, "-c", code, str(folder)], home)
    assert done.returncode == 0, done.stderr
    assert {path.name for path in folder.iterdir()} >= set(small_model.NAMES)
    return Written(folder, home, calls)


@pytest.fixture(scope="session")
def sound(written: Written) -> Path:
    """The folder of that model; copy it before changing it."""
    return written.folder
