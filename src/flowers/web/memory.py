"""Memory of this process: how much it holds, and giving back what it no longer uses."""

from __future__ import annotations

import contextlib
import ctypes
import os
import sys
from pathlib import Path

_DONTNEED = 4  # of madvise(2) on Linux
_MMAP_THRESHOLD = -3  # of mallopt(3): from this size on, a piece of memory is one of its own
_LARGE = 1024 * 1024  # bytes


def resident() -> int | None:
    """Bytes that the process holds; None where the system does not tell."""
    try:
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    except (OSError, ValueError, IndexError):
        return None
    return pages * os.sysconf("SC_PAGE_SIZE")


def keep_little() -> None:
    """Has large pieces of memory go back to the system as soon as they are freed, if it can.

    The GNU C library learns from the first large piece to keep those up to 32 MB: a page that
    refuses uploads of 8 MB holds 20 MB more afterwards, and 1 to 5 MB so. Reading a photo takes
    up to a tenth longer.
    """
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).mallopt(_MMAP_THRESHOLD, _LARGE)


def give_back() -> None:
    """Hands freed memory to the system, where the C library can.

    The GNU one keeps what a large photo took: 60 to 160 MB for 25 megapixels, for good. Told by
    its settings to keep nothing, it takes four times as long over such a photo.
    """
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)


def let_go(path: Path) -> None:
    """Lets go of the pages of a file that is mapped into this process; what is used comes back.

    A model of 40 MB stays mapped, and counted, long after its weights were copied out of it.
    """
    if sys.platform != "linux":  # elsewhere the system takes them when it needs them
        return
    name = str(path.resolve())
    with contextlib.suppress(OSError, AttributeError, ValueError):
        library = ctypes.CDLL(None, use_errno=True)
        for line in Path("/proc/self/maps").read_text(encoding="utf-8").splitlines():
            pages, rights, *_, mapped = line.split(maxsplit=5)
            if mapped == name and "w" not in rights:
                start, end = (int(edge, 16) for edge in pages.split("-"))
                library.madvise(ctypes.c_void_p(start), ctypes.c_size_t(end - start), _DONTNEED)
