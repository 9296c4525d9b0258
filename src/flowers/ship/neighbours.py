"""similar.npz: what the model saw in its training photos, kept beside it to find similar ones."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

import numpy as np

from flowers import files
from flowers.errors import InputError
from flowers.judge.similar import Similar

NAME = "similar.npz"

Neighbours = tuple[Similar, tuple[str, ...]]  # the search, and each photo's label in its order


def save(folder: Path, sha256: str, search: Similar, labels: tuple[str, ...]) -> Path:
    """Keeps the training photos' features, to find similar ones later.

    Args:
        folder: of the report.
        sha256: of the model that saw them, as its card has it.
        search: the training photos.
        labels: the class of each, in the order of `search.paths`.
    """
    buffer = io.BytesIO()
    text = "\0".join(labels).encode("utf-8", "surrogateescape")
    np.savez(
        buffer, model=np.array(sha256), labels=np.frombuffer(text, np.uint8), **search.arrays()
    )
    return files.write_bytes(folder / NAME, buffer.getvalue())


def load(folder: Path, sha256: str) -> Neighbours:
    """What `save` kept for the model of this hash.

    Raises:
        InputError: there is no such file, it is damaged, or it is of another model, as where
            training was killed between the model and this file.
    """
    path = folder / NAME
    if not path.is_file():
        raise InputError(
            f"the features of the training photos in {path}",
            "no such file",
            "Keep the folder beside the model, or train again.",
        )
    try:
        content = io.BytesIO(path.read_bytes())  # np.load leaves a damaged file open
        with np.load(content, allow_pickle=False) as arrays:
            values = dict(arrays)
        seen_by = str(values.pop("model"))
        labels = values.pop("labels").tobytes().decode("utf-8", "surrogateescape").split("\0")
    except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
        raise _damaged(path, str(error)) from error
    if seen_by != sha256:
        raise _damaged(path, f"features that another model saw ({seen_by[:12]})")
    search = Similar.from_arrays(values)
    if len(labels) != len(search.paths):
        raise _damaged(path, f"{len(labels)} labels of {len(search.paths)} photos")
    return search, tuple(labels)


def find(folder: Path, sha256: str) -> Neighbours | None:
    """As `load`, but None where there is no such file.

    Raises:
        InputError: the file is damaged, or of another model.
    """
    return load(folder, sha256) if (folder / NAME).is_file() else None


def _damaged(path: Path, reason: str) -> InputError:
    return InputError(
        f"the features of training photos in {path}", reason, "Remove it, or train again."
    )
