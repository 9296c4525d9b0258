"""flowers.keras: Keras' own archive, with what else the model knows packed into it.

Keras reads the members of the archive that it knows by name and leaves others alone, so the file
opens with plain `keras.models.load_model`, and the novelty score travels with the weights it
belongs to.
"""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

import keras
import numpy as np

from flowers import files
from flowers.errors import InputError
from flowers.judge.novelty import Novelty
from flowers.ship.card import Card

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


def load(path: Path, card: Card) -> keras.Model:
    """The classifier of a .keras file: uint8 or float [B, size, size, 3] to [B, classes].

    Raises:
        InputError: it is no Keras model, or its shapes are not those of its card.
    """
    try:
        model = keras.saving.load_model(path, compile=False, safe_mode=True)
    except (ValueError, OSError, TypeError) as error:
        raise InputError(
            f"a Keras model in {path}", str(error).split("\n")[0][:200], "Train it again."
        ) from error
    expected = ((None, card.size, card.size, 3), (None, len(card.labels)))
    if (model.input_shape, model.output_shape) != expected:
        raise InputError(
            f"a model from {expected[0]} to {expected[1]}",
            f"{model.input_shape} to {model.output_shape} in {path}",
            "Keep a model and its card together.",
        )
    return model


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
