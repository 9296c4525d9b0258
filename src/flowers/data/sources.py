"""Where a set of photos comes from: Kaggle, the mirror, a folder, an archive, or the painter."""

from __future__ import annotations

import os
import threading
import time
from dataclasses import dataclass, field, replace
from pathlib import Path

import requests

from flowers import files
from flowers.data import archives, kaggle_set, mirror
from flowers.data.kaggle_set import KaggleSet
from flowers.data.mirror import Mirror
from flowers.errors import FlowersError, InputError, WorldError

_PHOTOS = frozenset(
    (".jpg", ".jpeg", ".jpe", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff", ".mpo")
)
_CLUTTER = ("__MACOSX", "@eaDir")
_DEEPEST = 6  # folders within folders that are gone through to the class folders
_SHAPE = "at least two class folders, <class>/<photo>, in"


@dataclass(frozen=True)
class Source:
    """A set of photos that is on this disk."""

    name: str  # kaggle | mirror | folder | archive | painted
    folder: Path  # holds one folder a class
    reason: str  # one line for the user: what was chosen and why


@dataclass(frozen=True)
class Places:
    """Where on the network sets are looked for."""

    kaggle: KaggleSet = field(default_factory=KaggleSet)
    mirror: Mirror = field(default_factory=Mirror)


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
        source: auto, kaggle, mirror, painted, or the path of a folder of class folders or of a
            .zip, .tar, .tgz or .tar.gz archive of one.
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
    path = Path(source).expanduser()
    if path.is_dir() and str(source):
        root = class_root(path)
        return Source("folder", root, f"folder: {_count(root)} in {root}")
    if path.is_file():
        return _archive(path, folder)
    raise InputError(
        "auto, kaggle, mirror, painted, or the path of a folder or archive of photos",
        f"{str(source)!r}, and there is no such file or folder",
        "Correct the path, or leave it out: `auto` takes what it finds.",
    )


def class_root(folder: str | os.PathLike) -> Path:
    """The folder that holds the class folders: `folder`, or what it is nested in.

    Goes down through single folders, as in flowers/flowers/. A class folder has at least one file
    in it; hidden files and what systems leave behind do not count.

    Raises:
        InputError: there is no such folder, or it holds fewer than two class folders.
    """
    return _class_root(Path(folder), str(folder))


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
    if root := _there(folder / "flowers"):
        return Source("folder", root, f"folder: {_count(root)} in {root}, since {why}")
    return _painted(folder, seed, per_class, f"since {why}")


def _old_kaggle(folder: Path, kaggle: KaggleSet) -> Source | None:
    """The set in kagglehub's cache, or as somebody unpacked it by hand."""
    root = _there(kaggle_set.cached(kaggle)) or _there(folder / "kaggle")
    return root and Source("kaggle", root, f"kaggle: {_count(root)} were found in {root}")


def _new_kaggle(kaggle: KaggleSet, probe: _Probe) -> Source:
    probe.require("Kaggle")
    root = class_root(kaggle_set.fetch(kaggle))
    return Source("kaggle", root, f"kaggle: {_count(root)} were downloaded ({kaggle.title})")


def _old_mirror(folder: Path) -> Source | None:
    root = _there(folder / "mirror" / "flower_photos")
    return root and Source("mirror", root, f"mirror: {_count(root)} were found in {root}")


def _new_mirror(folder: Path, place: Mirror, probe: _Probe) -> Source:
    probe.require("the mirror")
    root = mirror.fetch(place, folder / "mirror" / "flower_photos")
    return Source("mirror", root, f"mirror: {_count(root)} were downloaded")


def _archive(path: Path, folder: Path) -> Source:
    archives.kind(path)
    target = folder / "archives" / f"{path.name.split('.')[0][:80]}-{files.sha256(path)[:12]}"
    with files.locked(target):
        if not target.is_dir():
            with files.atomic_folder(target) as temporary:
                unpacked = archives.unpack(path, temporary / "unpacked")
                _class_root(unpacked, str(path))  # or nothing is kept
    root = class_root(target)
    return Source("archive", root, f"archive: {_count(root)} from {path}, unpacked in {root}")


def _painted(folder: Path, seed: int, per_class: int, why: str) -> Source:
    from flowers.data import painted  # numpy and Pillow, for nobody else here

    root = painted.write(folder / "painted", per_class=per_class, seed=seed)
    return Source("painted", root, f"painted: {_count(root)} were painted, {why}")


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


# --- folders ---------------------------------------------------------------------------------


def _there(folder: Path | None) -> Path | None:
    """The class root in `folder`, if there is one."""
    try:
        return class_root(folder) if folder else None
    except InputError:
        return None


def _class_root(folder: Path, shown: str) -> Path:
    """`class_root`, with the name in the messages that the user knows it by."""
    if not folder.is_dir():
        received = "a file" if folder.exists() else "no such folder"
        raise InputError(f"{_SHAPE} {shown}", received, "Correct the path.")
    for photos_only in (True, False):
        root, classes = _deepest(folder, photos_only, _DEEPEST)
        if len(classes) > 1:
            return root
    if classes:
        received = f"one class folder only, {classes[0].name}"
        remedy = "Add a folder of photos of something else: a classifier needs two classes."
    elif parts := [part for part in _folders(root) if len(_classes(part)) > 1]:
        received = f"no class folder, but sets of them in {' and '.join(p.name for p in parts)}"
        remedy = f"Name one of them, such as {parts[0].name}."
    elif found := _files(root):
        received = f"no class folder, but {len(found):,} files"
        remedy = "Put the photos of each class into a folder of its own, named after the class."
    else:
        received = "no class folder with a file in it"
        remedy = "Put the photos of each class into a folder of its own, named after the class."
    raise InputError(f"{_SHAPE} {shown}", received, remedy)


def _deepest(folder: Path, photos_only: bool, depth: int) -> tuple[Path, list[Path]]:
    """The folder with the class folders and these, or what comes nearest to it."""
    classes = _classes(folder, photos_only)
    nested = [inner for inner in _folders(folder) if _folders(inner)]
    if len(classes) < 2 and len(nested) == 1 and depth:
        below, found = _deepest(nested[0], photos_only, depth - 1)
        if len(found) > len(classes):
            return below, found
    return folder, classes


def _classes(folder: Path, photos_only: bool = False) -> list[Path]:
    """Folders with a file in them, or with one whose name ends as a photo's does."""
    return [
        inner
        for inner in _folders(folder)
        if any(path.suffix.lower() in _PHOTOS or not photos_only for path in _files(inner))
    ]


def _folders(folder: Path) -> list[Path]:
    return [path for path in _visible(folder) if path.is_dir()]


def _files(folder: Path) -> list[Path]:
    return [path for path in _visible(folder) if path.is_file()]


def _visible(folder: Path) -> list[Path]:
    try:
        paths = sorted(folder.iterdir())
    except OSError as error:
        raise InputError(
            f"a folder that may be read at {folder}", str(error.strerror), "Change its permissions."
        ) from error
    return [path for path in paths if not path.name.startswith(".") and path.name not in _CLUTTER]


def _count(root: Path) -> str:
    """How many photos and classes a folder of class folders has, in words."""
    classes = _classes(root)
    return f"{sum(len(_files(inner)) for inner in classes):,} photos of {len(classes)} classes"
