"""The mirror: the archive of the TensorFlow tutorials, unpacked with the Kaggle set's names."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

from flowers import download, files
from flowers.data import archives
from flowers.errors import InputError, WorldError


@dataclass(frozen=True)
class Mirror:
    """An archive of the same five flowers on an open server; most photos are Kaggle's too."""

    url: str = (
        "https://storage.googleapis.com/download.tensorflow.org/example_images/flower_photos.tgz"
    )
    sha256: str | None = None  # not published; what came is noted in source.json and compared
    size_limit: int = 1_000_000_000  # bytes; it has about 230 MB
    least: int = 500  # photos a class: the smallest, daisy, has 633
    attempts: int = 4
    # Names in the archive and ours, so that labels agree with the Kaggle set.
    classes: tuple[tuple[str, str], ...] = (
        ("daisy", "daisy"),
        ("dandelion", "dandelion"),
        ("roses", "rose"),
        ("sunflowers", "sunflower"),
        ("tulips", "tulip"),
    )


def fetch(mirror: Mirror, photos: Path) -> Path:
    """Makes the folder `photos` of class folders, which appears whole or not at all.

    The archive's SHA-256 is noted in source.json beside it and compared with what an earlier
    download noted there; the archive itself is not kept.

    Raises:
        WorldError: the download fails, or what comes is damaged, too little, or another edition.
    """
    with files.locked(photos):
        if not photos.is_dir() or not any(photos.iterdir()):
            try:
                _attempt(mirror, photos)
            except InputError:  # damaged on its way, where no hash could tell: once more
                _again(mirror, photos)
    return photos


def _again(mirror: Mirror, photos: Path) -> None:
    try:
        _attempt(mirror, photos)
    except InputError as error:
        raise WorldError(
            f"the photos of {mirror.url}",
            f"{error.received}, twice",
            "Try again later, or choose another source, such as `--data painted`.",
        ) from error


def _attempt(mirror: Mirror, photos: Path) -> None:
    archive = download.fetch(
        mirror.url,
        photos.with_suffix(".tgz"),
        sha256=mirror.sha256,
        size_limit=mirror.size_limit,
        attempts=mirror.attempts,
    )
    try:
        with files.atomic_folder(photos) as temporary:
            _sort(mirror, archives.unpack(archive, temporary / "unpacked"), temporary)
            _note(mirror, archive, photos.with_name("source.json"), temporary)
    finally:
        archive.unlink(missing_ok=True)


def _sort(mirror: Mirror, unpacked: Path, temporary: Path) -> None:
    """Moves the classes to `temporary` under our names, and the licence; removes the rest."""
    first = mirror.classes[0][0]
    root = next((path.parent for path in unpacked.glob(f"**/{first}")), unpacked)
    for old, new in mirror.classes:
        count = _photos(root / old)
        if count < mirror.least:
            raise WorldError(
                f"at least {mirror.least} photos of each class from {mirror.url}",
                f"{count} of {new}",
                "This is not the set we know: choose another source.",
            )
        (root / old).rename(temporary / new)
    for path in root.iterdir():  # the licence, with the photographers' names
        if path.is_file():
            path.rename(temporary / path.name)
    shutil.rmtree(unpacked)


def _note(mirror: Mirror, archive: Path, record: Path, temporary: Path) -> None:
    """Notes what came in `record`, after comparing it with what came the last time."""
    seen = {"url": mirror.url, "sha256": files.sha256(archive), "bytes": archive.stat().st_size}
    before = files.read_json(record) if record.is_file() else seen
    if before.get("url") == mirror.url and before.get("sha256") != seen["sha256"]:
        raise WorldError(
            f"the archive of the last download, SHA-256 {before.get('sha256')}",
            f"another one from {mirror.url}, SHA-256 {seen['sha256']}",
            f"If you trust the new edition, remove {record} and try again.",
        )
    photos = {new: _photos(temporary / new) for _, new in mirror.classes}
    files.write_json(record, seen | {"photos": photos})


def _photos(folder: Path) -> int:
    return len(list(folder.glob("*.jpg")))
