"""Where a set of photos comes from: Kaggle, the mirror, a folder, an archive, or the painter."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import requests

from flowers.data import archives, caltech, cifar, kaggle_set, mirror, published, signs
from flowers.data.folders import class_root, count, there
from flowers.data.kaggle_set import KaggleSet
from flowers.data.mirror import Mirror
from flowers.data.published import Published
from flowers.errors import FlowersError, InputError, WorldError

Origins = Callable[[Sequence[str]], Sequence[str]]  # paths below the root -> origins, "" unknown
_NAMED = {"signs": signs, "cifar10": cifar, "caltech101": caltech}


@dataclass(frozen=True)
class Source:
    """A set of photos that is on this disk."""

    name: str  # kaggle | mirror | folder | archive | painted | signs | cifar10 | caltech101
    folder: Path  # holds one folder a class
    reason: str  # one line for the user: what was chosen and why
    only: tuple[str, ...] = ()  # the class folders to take; all of them when empty
    origins: Origins | None = None  # from paths, what belongs together besides look-alikes


@dataclass(frozen=True)
class Places:
    """Where on the network sets are looked for."""

    kaggle: KaggleSet = field(default_factory=KaggleSet)
    mirror: Mirror = field(default_factory=Mirror)
    signs: Published = signs.PUBLISHED
    cifar10: Published = cifar.PUBLISHED
    caltech101: Published = caltech.PUBLISHED


PLACES = Places()


def get(
    source: str | os.PathLike = "auto",
    folder: str | os.PathLike = Path("data"),
    *,
    seed: int = 0,
    per_class: int = 200,
    online_within: float = 10.0,
    places: Places = PLACES,
) -> Source:
    """Makes a set of photos available and says which and why.

    `auto` takes the first that is on the disk or can be reached, in this order: the Kaggle set,
    the mirror, the folder `flowers` below `folder`, painted photos. Downloads and painted photos
    go below `folder`; the Kaggle set goes to kagglehub's own cache (KAGGLEHUB_CACHE).

    Args:
        source: auto, kaggle, mirror, painted, signs, cifar10, caltech101, or the path of a folder
            of class folders, of a .zip, .tar, .tgz or .tar.gz archive of one, or of an HDF5 file
            of hand signs. "signs:PATH", "cifar10:PATH" and "caltech101:PATH" take the set from
            there instead of downloading it.
        folder: where sets are kept.
        seed: of the painted photos.
        per_class: painted photos a class.
        online_within: seconds after which a network that has not answered counts as absent.
        places: where Kaggle and the mirror are.

    Raises:
        InputError: there is no such source, or it holds no two class folders.
        WorldError: it cannot be reached, downloaded or written.
    """
    folder = Path(folder)
    if source == "auto":
        return _auto(folder, seed, per_class, online_within, places)
    if source == "kaggle":
        if found := _old_kaggle(folder, places.kaggle):
            return found
        return _new_kaggle(places.kaggle, _Probe(places.kaggle.probe, online_within))
    if source == "mirror":
        if found := _old_mirror(folder):
            return found
        return _new_mirror(folder, places.mirror, _Probe(places.mirror.url, online_within))
    if source == "painted":
        return _painted(folder, seed, per_class, "as asked")
    name, _, place = str(source).partition(":")
    if name in _NAMED:
        return _named(name, place, folder, places, online_within)
    path = Path(source).expanduser()
    if path.is_dir() and str(source):
        root = class_root(path)
        return Source("folder", root, f"folder: {count(root)} in {root}")
    if path.is_file():
        return _named("signs", path, folder) if signs.is_hdf5(path) else _archive(path, folder)
    raise InputError(
        "auto, kaggle, mirror, painted, signs, cifar10, caltech101, or the path of a folder or "
        "archive of photos",
        f"{str(source)!r}, and there is no such file or folder",
        "Correct the path, or leave it out: `auto` takes what it finds.",
    )


def _auto(folder: Path, seed: int, per_class: int, within: float, places: Places) -> Source:
    if found := _old_kaggle(folder, places.kaggle):
        return found
    # Both are asked at once: the time limit is for the decision, not for each of them.
    probes = _Probe(places.kaggle.probe, within), _Probe(places.mirror.url, within)
    try:
        return _new_kaggle(places.kaggle, probes[0])
    except FlowersError as error:
        no_kaggle = error
    try:
        found = _old_mirror(folder) or _new_mirror(folder, places.mirror, probes[1])
        return replace(found, reason=f"{found.reason}, since Kaggle failed ({no_kaggle.received})")
    except FlowersError as error:
        no_mirror = error
    if all(isinstance(error, _SilenceError) for error in (no_kaggle, no_mirror)):
        why = f"no network was reachable within {within:g} s"
    else:
        why = f"Kaggle failed ({no_kaggle.received}) and the mirror too ({no_mirror.received})"
    if root := there(folder / "flowers"):
        return Source("folder", root, f"folder: {count(root)} in {root}, since {why}")
    return _painted(folder, seed, per_class, f"since {why}")


def _old_kaggle(folder: Path, kaggle: KaggleSet) -> Source | None:
    """The set in kagglehub's cache, or as somebody unpacked it by hand."""
    root = there(kaggle_set.cached(kaggle)) or there(folder / "kaggle")
    return root and Source("kaggle", root, f"kaggle: {count(root)} were found in {root}")


def _new_kaggle(kaggle: KaggleSet, probe: _Probe) -> Source:
    probe.require("Kaggle")
    root = class_root(kaggle_set.fetch(kaggle))
    return Source("kaggle", root, f"kaggle: {count(root)} were downloaded ({kaggle.title})")


def _old_mirror(folder: Path) -> Source | None:
    root = there(folder / "mirror" / "flower_photos")
    return root and Source("mirror", root, f"mirror: {count(root)} were found in {root}")


def _new_mirror(folder: Path, place: Mirror, probe: _Probe) -> Source:
    probe.require("the mirror")
    root = mirror.fetch(place, folder / "mirror" / "flower_photos")
    return Source("mirror", root, f"mirror: {count(root)} were downloaded")


def _archive(path: Path, folder: Path) -> Source:
    def arrange(archive: Path, temporary: Path) -> None:
        class_root(archives.unpack(archive, temporary / "unpacked"), archive)  # or nothing is kept

    root = class_root(published.unpack(path, folder, arrange))
    return Source("archive", root, f"archive: {count(root)} from {path}, unpacked in {root}")


def _named(
    name: str,
    place: str | Path,
    folder: Path,
    places: Places = PLACES,
    within: float = 10.0,
) -> Source:
    """One of the sets that are known by name: from `place`, as it was downloaded, or downloaded."""
    known = _NAMED[name]
    if place:
        path = Path(place).expanduser()
        root, how = known.take(path, folder), f"taken from {path}"
    elif root := there(folder / name):
        how = f"found in {root}"
    else:
        publisher: Published = getattr(places, name)
        _Probe(publisher.url, within).require(publisher.host)
        published.fetch(publisher, folder / name, known.arrange)
        root, how = class_root(folder / name), f"downloaded from {publisher.host}"
    known.require(root)
    origins = signs.people if name == "signs" else None
    reason = f"{name}: {count(root, known.CLASSES)}, {how}"
    return Source(name, root, reason, known.CLASSES, origins)


def _painted(folder: Path, seed: int, per_class: int, why: str) -> Source:
    from flowers.data import painted_set  # numpy and Pillow, for nobody else here

    root = painted_set.write(folder / "painted", per_class=per_class, seed=seed)
    return Source("painted", root, f"painted: {count(root)} were painted, {why}")


# --- the network -----------------------------------------------------------------------------


class _SilenceError(WorldError):
    """Nobody answered, right or wrong."""


class _Probe:
    """Asks once, in a thread, whether anybody answers: looking up a name may hang for minutes."""

    def __init__(self, url: str, within: float):
        self._within, self._deadline = within, time.monotonic() + within
        self._problem = f"no answer within {within:g} s"
        self._thread = threading.Thread(target=self._ask, args=(url,), daemon=True)
        self._thread.start()

    def require(self, name: str) -> None:
        """Waits for an answer, whatever it says, within the limit.

        Raises:
            WorldError: there was none.
        """
        self._thread.join(max(0.0, self._deadline - time.monotonic()))
        if self._problem:
            raise _SilenceError(
                f"an answer from {name}",
                self._problem,
                "Check the connection, or choose another source, such as `--data painted`.",
            )

    def _ask(self, url: str) -> None:
        try:
            requests.head(url, timeout=self._within, allow_redirects=False).close()
            self._problem = ""
        except (requests.RequestException, OSError, ValueError):
            self._problem = "no connection"
