"""What an HDF5 file may hold: looked at before anything is read from it.

A file of arrays can point to other files, or declare an array of a terabyte in a kilobyte: readers
follow the one and allocate the other.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from flowers.errors import InputError

if TYPE_CHECKING:
    import h5py

_DEEPEST = 40  # groups within groups; Keras needs five
_RATIO = 20  # bytes of arrays for one of the file; weights are near 1, with compression near 2
_FREE = 1_000_000  # bytes of arrays before the ratio counts


def require_plain(source: Path | BinaryIO, name: str | Path, size: int) -> None:
    """Refuses a file with anything but arrays that lie in the file itself.

    Args:
        source: a path or an opened file.
        name: what to call it in a message.
        size: bytes of the file.

    Raises:
        InputError: links, arrays kept elsewhere, arrays far larger than the file, or a damaged
            file.
    """
    import h5py  # comes with Keras

    try:
        with h5py.File(source, "r") as file:
            total = sum(_bytes(file, name, set(), _DEEPEST))
    except (OSError, RuntimeError, KeyError, ValueError) as error:
        raise _refusal(name, f"a damaged one ({str(error)[:120]})") from error
    if total > max(_FREE, _RATIO * size):
        raise _refusal(name, f"{total / 1e6:,.0f} MB of arrays declared in {size / 1e6:,.3g} MB")


def _bytes(group: h5py.Group, name: str | Path, seen: set[int], deep: int) -> list[int]:
    """Bytes of every array below a group; a group that is met again is not entered."""
    import h5py

    if deep == 0:
        raise _refusal(name, f"more than {_DEEPEST} groups within each other")
    sizes = []
    for key in group:
        if not isinstance(group.get(key, getlink=True), h5py.HardLink):
            raise _refusal(name, f"the link {key[:80]!a} to another place or file")
        member = group[key]
        place = h5py.h5o.get_info(member.id).addr
        if isinstance(member, h5py.Group):
            if place not in seen:
                seen.add(place)
                sizes += _bytes(member, name, seen, deep - 1)
        elif isinstance(member, h5py.Dataset):
            if member.is_virtual or member.external:
                raise _refusal(name, f"the array {key[:80]!a} that is kept in another file")
            sizes.append(member.size * member.dtype.itemsize if member.shape is not None else 0)
    return sizes


def _refusal(name: str | Path, received: str) -> InputError:
    return InputError(
        f"an HDF5 file of plain arrays in {name}",
        received,
        "Use the file as its publisher offers it; do not open this one with anything else.",
    )
