"""Loads the large libraries: silences what they print about themselves, and saves a second."""

from __future__ import annotations

import contextlib
import gc
import os
import sys
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keeps back what C and C++ write to the standard error; Python's errors still come through.

    TensorFlow greets its reader with eight lines about processors and drivers. It also makes a
    million objects that stay: Python would look through them again and again for garbage, which
    takes a quarter of the time that the import does.
    """
    sys.stderr.flush()
    kept, collecting = os.dup(2), gc.isenabled()
    gc.disable()
    try:
        with Path(os.devnull).open("wb") as nowhere:
            os.dup2(nowhere.fileno(), 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        if collecting:
            gc.enable()
