"""The process that fuzzes the model loader: `python -m faults.fuzz_models CORPUS [options]`.

Each input is a whole model file; how it begins tells its kind. It comes with a card that vouches
for it, or its hash alone would refuse it before anything looks at it.
"""

from __future__ import annotations

import gc
import io
import json
import os
import random
import sys
import tempfile
import zipfile
from pathlib import Path
from types import ModuleType

import atheris

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"

with atheris.instrument_imports(include=["flowers", "h5py"]):
    import h5py  # noqa: F401
    import keras
    from keras.src.saving import saving_lib, serialization_lib

    from faults import models, opener, small_model
    from flowers.ship import contents, predictor  # noqa: F401


def watch(module: ModuleType) -> None:
    """Counts the branches of a module that was imported before."""
    for value in list(vars(module).values()):
        if getattr(value, "__module__", "") != module.__name__:
            continue
        for part in vars(value).values() if isinstance(value, type) else (value,):
            if hasattr(part, "__code__"):
                atheris.instrument_func(part)


class Place:
    """The folder where each input becomes a model file with its card."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def attempt(self, content: bytes) -> None:
        """Opens a file and asks it about a photo: an answer or a refusal, nothing else."""
        path = self.folder / models.named(content)
        path.write_bytes(content)
        small_model.describe(self.folder)
        try:
            came = opener.answer(path)
        finally:
            path.unlink()
            keras.backend.clear_session()
            gc.collect()
        if "failed" in came:
            raise AssertionError(came["failed"])


def change(content: bytes, largest: int, seed: int) -> bytes:
    """libFuzzer's own changes; of an archive mostly to one of its members, packed again."""
    chance = random.Random(seed)
    if content.startswith(b"PK") and chance.random() < 0.9:
        try:
            return _archive(content, chance)[:largest]
        except (zipfile.BadZipFile, ValueError, NotImplementedError, OSError, EOFError):
            pass
    return atheris.Mutate(content, largest)


def _archive(content: bytes, chance: random.Random) -> bytes:
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        if sum(member.file_size for member in archive.infolist()) > 2_000_000:
            raise ValueError("too large to be changed")
        members = {name: archive.read(name) for name in archive.namelist()}
    name = chance.choice(sorted(members))
    if name.endswith(".json") and chance.random() < 0.6:
        members[name] = _settings(members[name], chance)
    else:
        members[name] = atheris.Mutate(members[name], len(members[name]) + 64)
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for each, part in members.items():
            archive.writestr(each, part)
    return buffer.getvalue()


def _settings(content: bytes, chance: random.Random) -> bytes:
    """JSON with one of its values replaced by another of its values, or by an odd one."""
    whole = json.loads(content)
    places = list(_places(whole))
    if not places:
        return content
    inside, key = chance.choice(places)
    other, name = chance.choice(places)
    odd = (None, True, -1, 0, 2**31, 1e308, "", [], {}, [[]], "a" * 300, other[name])
    inside[key] = chance.choice((*odd, *[other[name]] * len(odd)))
    return json.dumps(whole).encode()


def _places(value: object, deep: int = 30):
    """Every place of a value within JSON: what holds it, and its key there."""
    if isinstance(value, dict | list) and deep:
        for key in list(value) if isinstance(value, dict) else range(len(value)):
            yield value, key
            yield from _places(value[key], deep - 1)


if __name__ == "__main__":
    for watched in (zipfile, saving_lib, serialization_lib):
        watch(watched)
    with tempfile.TemporaryDirectory(prefix="flowers-faults-") as made:
        atheris.Setup(sys.argv, Place(Path(made)).attempt, custom_mutator=change)
        atheris.Fuzz()
