"""flowers.keras: Keras' own archive, with what else the model knows packed into it.

Keras reads the members of the archive that it knows by name and leaves others alone, so the file
opens with plain `keras.models.load_model`, and the novelty score travels with the weights it
belongs to.
"""

from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path

import keras
import numpy as np

from flowers import files
from flowers.errors import InputError
from flowers.judge.novelty import Novelty
from flowers.ship import contents
from flowers.ship.card import Card
from flowers.ship.contents import NOVELTY

# Settings that came after Keras 3.13, which refuses those it does not know, with the values at
# which leaving them out says the same. Colab has 3.13.
NEWER = {
    "input_axes": None,
    "output_axes": None,
    "renorm": False,
    "renorm_clipping": None,
    "renorm_momentum": 0.99,
}


def save(model: keras.Model, path: Path, novelty: Novelty | None = None) -> Path:
    """Writes a model and its novelty score as one .keras file, atomically.

    Args:
        model: the classifier, calibrated.
        path: ends in .keras.
        novelty: fitted on this very model's features; None leaves the member out.
    """
    with (
        files.atomic(path) as temporary,
        files.beside(path.with_name(f"saved-{path.name}")) as saved,
    ):
        model.save(saved)
        with zipfile.ZipFile(saved) as source, zipfile.ZipFile(temporary, "w") as target:
            for member in source.infolist():
                content = source.read(member)
                target.writestr(member, _plain(content) if _is_config(member) else content)
            if novelty is not None:
                target.writestr(NOVELTY, _packed(novelty))
    return path


def read(path: Path) -> keras.Model:
    """The classifier of a .keras file; what it holds is looked at before Keras sees it.

    Raises:
        InputError: it is no Keras model, or one that holds what a classifier does not need.
    """
    contents.require_harmless(path)
    try:
        return keras.saving.load_model(path, compile=False, safe_mode=True)
    except (ValueError, OSError, TypeError, KeyError, AttributeError, ImportError) as error:
        raise InputError(
            f"a Keras model in {path}", str(error).split("\n")[0][:200], "Train it again."
        ) from error


def load(path: Path, card: Card) -> keras.Model:
    """The classifier of a .keras file: uint8 or float [B, size, size, 3] to [B, classes].

    Raises:
        InputError: it is no Keras model, or its shapes are not those of its card.
    """
    model = read(path)
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


def _is_config(member: zipfile.ZipInfo) -> bool:
    return member.filename == "config.json"


def _plain(config: bytes) -> bytes:
    """config.json without the settings that older versions of Keras do not know."""

    def without(value: object) -> object:
        if isinstance(value, dict):
            kept = {k: v for k, v in value.items() if k not in NEWER or v != NEWER[k]}
            return {k: without(v) for k, v in kept.items()}
        return [without(part) for part in value] if isinstance(value, list) else value

    return json.dumps(without(json.loads(config))).encode()


def _packed(novelty: Novelty) -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, **novelty.as_arrays())
    return buffer.getvalue()
