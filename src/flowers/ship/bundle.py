"""flowers.keras: Keras' own archive, with what else the model knows packed into it.

Keras reads the members of the archive that it knows by name and leaves others alone, so the file
opens with plain `keras.models.load_model`, and the novelty score travels with the weights it
belongs to.
"""

from __future__ import annotations

import io
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from flowers import files
from flowers.errors import InputError
from flowers.judge.novelty import Novelty

if TYPE_CHECKING:
    import keras

NOVELTY = "flowers/novelty.npz"  # a member of the archive


def save(model: keras.Model, path: Path, novelty: Novelty | None = None) -> Path:
    """Writes a model and its novelty score as one .keras file, atomically.

    Args:
        model: the classifier, calibrated.
        path: ends in .keras.
        novelty: fitted on this very model's features; None leaves the member out.
    """
    with files.atomic(path) as temporary:
        model.save(temporary)
        if novelty is not None:
            with zipfile.ZipFile(temporary, "a") as archive:
                archive.writestr(NOVELTY, _packed(novelty))
    return path


def load_novelty(path: Path) -> Novelty | None:
    """The novelty score of a .keras file; None where it has none.

    Raises:
        InputError: the file is no archive, or the arrays in it are not those of a score.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            if NOVELTY not in archive.namelist():
                return None
            packed = archive.read(NOVELTY)
        with np.load(io.BytesIO(packed), allow_pickle=False) as arrays:
            return Novelty.from_arrays(dict(arrays))
    except (zipfile.BadZipFile, ValueError, OSError) as error:
        raise InputError(
            f"a Keras model with its novelty score in {path}",
            f"a file that cannot be read ({error})",
            "Copy it again, or train again.",
        ) from error


def _packed(novelty: Novelty) -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, **novelty.as_arrays())
    return buffer.getvalue()
