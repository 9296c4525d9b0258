"""A process that saves what the software saves, to be killed at it.

`python -m faults.saver KIND FOLDER` imports everything once. For each line on its standard input it
forks a child, says the child's number, and when the child has ended its exit code (negative: the
signal). "loop" saves edition after edition until it is killed; "once N" stops itself, so that a
tracer can be attached, then saves edition N. A child only reads variables, for which TensorFlow
needs none of the threads that a fork leaves behind.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import shutil
import signal
import sys
import threading
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
from tqdm import tqdm

from flowers import files
from flowers.errors import InputError, WorldError
from flowers.ship.card import Card

LINES = 4_000  # of a table
CARD = Card(labels=("old", "new"), size=32, sha256="", catalogue="photos")


class Kind:
    """One thing that is saved: edition 0 and edition 1 of it, and which of them is there."""

    def __init__(self, folder: Path):
        self.folder = folder

    def prepare(self) -> None:
        """Whatever takes time and is no part of a save."""

    def save(self, edition: int) -> None:
        raise NotImplementedError

    def there(self) -> set[int]:
        """The editions that are there, none where nothing is; raises when one is neither.

        There is more than one only where several files make the thing, each whole for itself.
        """
        raise NotImplementedError


class Table(Kind):
    """A catalogue, a labels.csv, a report: a text."""

    def save(self, edition: int) -> None:
        files.write_text(self.folder / "catalogue.csv", f"{edition} rose.jpg,rose\n" * LINES)

    def there(self) -> set[int]:
        if not (self.folder / "catalogue.csv").exists():
            return set()
        lines = (self.folder / "catalogue.csv").read_text().splitlines()
        assert len(lines) == LINES and len(set(lines)) == 1
        return {int(lines[0][0])}


class Cache(Kind):
    """The decoded pixels of a set, as one array."""

    def save(self, edition: int) -> None:
        from flowers.data import photos, pixels

        listed = self.catalogue
        target = self.folder / "pixels.npy"
        pixels._write(listed[edition], target, (12, 32, 32, 3), photos.LIMITS)

    def prepare(self) -> None:
        from PIL import Image

        from flowers.data import catalogue

        self.catalogue = []
        for edition in range(2):
            root = self.folder.parent / f"photos {edition}"
            for number in range(12):
                path = root / ("rose" if number % 2 else "tulip") / f"{number}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                random = np.random.default_rng(number)
                noise = random.integers(0, 256, (32, 32, 3), np.uint8) // 2 * 2 + edition
                Image.fromarray(noise).save(path)
            self.catalogue.append(catalogue.build(root))

    def there(self) -> set[int]:
        if not (self.folder / "pixels.npy").exists():
            return set()
        (edition,) = np.unique(np.load(self.folder / "pixels.npy") % 2)
        return {int(edition)}


class Checkpoint(Kind):
    """Where a run stands after an epoch."""

    def save(self, edition: int) -> None:
        from flowers.train import checkpoint

        arrays = [np.full((64, 64), edition, np.float32) for _ in range(12)]
        state = checkpoint.State(0, 1, arrays, arrays, arrays, history=[{"edition": edition}])
        checkpoint.save(self.folder / "run.npz", state)

    def there(self) -> set[int]:
        from flowers.train import checkpoint

        if not (self.folder / "run.npz").exists():
            return set()
        state = checkpoint.load(self.folder / "run.npz")
        edition = state.history[0]["edition"]
        assert all((array == edition).all() for array in (*state.best, *state.weights))
        return {edition}


class Shard(Kind):
    """Features of the frozen part."""

    def save(self, edition: int) -> None:
        from flowers.train import features

        features._write(self.folder / "00000.npy", np.full((128, 400), edition, np.float32))

    def there(self) -> set[int]:
        if not (self.folder / "00000.npy").exists():
            return set()
        (edition,) = np.unique(np.load(self.folder / "00000.npy"))
        return {int(edition)}


class Model(Kind):
    """flowers.keras and its card, which must belong together at any moment."""

    def prepare(self) -> None:
        from flowers.model import classifier

        self.models = [
            classifier.build(2, size=32, backbone="miniature", head=(8,), seed=edition).model
            for edition in range(2)
        ]

    def save(self, edition: int) -> None:
        from flowers.ship import bundle
        from flowers.ship import card as cards

        path = self.folder / "flowers.keras"
        with files.beside(path) as made:  # as verdict.judge does
            bundle.save(self.models[edition], made)
            card = replace(CARD, sha256=files.sha256(made), catalogue=str(edition))
            with cards.replacing(path, card):
                files.publish(made, path)

    def there(self) -> set[int]:
        from flowers.ship import card as cards
        from flowers.ship import contents

        path = self.folder / "flowers.keras"
        if not path.exists():
            return set()
        contents.require_harmless(path)
        with zipfile.ZipFile(path) as archive:
            assert archive.testzip() is None
        return {int(cards.load(path).catalogue)}


class Export(Kind):
    """A LiteRT file and a SavedModel folder beside their model, under one card."""

    def prepare(self) -> None:
        self.made = []
        for edition in range(2):
            place = self.folder.parent / f"made {edition}"
            (place / "flowers.savedmodel" / "variables").mkdir(parents=True, exist_ok=True)
            for number in range(6):
                inner = place / "flowers.savedmodel" / "variables" / str(number)
                inner.write_bytes(bytes([edition]) * 20_000)
            (place / "flowers.tflite").write_bytes(bytes([edition]) * 300_000)
            self.made.append(place)

    def save(self, edition: int) -> None:
        from flowers.ship import card as cards
        from flowers.ship import export

        model = self.folder / "flowers.keras"
        rows = {}
        if cards.path_of(model).exists():
            rows = dict(cards._card(files.read_json(cards.path_of(model)), model).files)
        for name in ("flowers.tflite", "flowers.savedmodel"):
            made = self.made[edition] / name
            rows[name] = {"sha256": cards.fingerprint(made)}
            with cards.replacing(model, replace(CARD, files=dict(rows))):
                export._publish(made, self.folder / name)

    def there(self) -> set[int]:
        from flowers.ship import card as cards

        files.sweep(self.folder)  # brings back a folder that was on its way out
        found = []
        for name in ("flowers.tflite", "flowers.savedmodel"):
            if (path := self.folder / name).exists():
                cards.load(path)  # compares the hash
                parts = [path] if path.is_file() else [p for p in path.rglob("*") if p.is_file()]
                (edition,) = {byte for part in parts for byte in part.read_bytes()}
                found.append(edition)
        return set(found)


class Trained(Kind):
    """A model, then the form that answers at once: what the card describes is of one edition."""

    def prepare(self) -> None:
        for edition in range(2):
            made = self.folder.parent / f"made {edition}" / "flowers.tflite"
            made.parent.mkdir(exist_ok=True)
            made.write_bytes(bytes([edition]) * 300_000)

    def save(self, edition: int) -> None:
        from flowers.ship import card as cards
        from flowers.ship import export

        model, rows = self.folder / "flowers.keras", {}
        made = self.folder.parent / f"made {edition}" / "flowers.tflite"
        for path in (model, model.with_suffix(".tflite")):  # as pipeline.run does
            with files.beside(path) as new:
                new.write_bytes(bytes([edition]) * 300_000)
                rows[path.name] = {"sha256": files.sha256(new)}
                sha256 = rows[model.name]["sha256"]
                known = {name: row for name, row in rows.items() if name != model.name}
                card = replace(CARD, sha256=sha256, catalogue=str(edition), files=known)
                with cards.replacing(model, card):
                    files.publish(new, path) if path == model else export._publish(made, path)

    def there(self) -> set[int]:
        from flowers.ship import card as cards

        model = self.folder / "flowers.keras"
        if not model.exists():
            return set()
        card = cards.load(model)
        assert set(model.read_bytes()) == {int(card.catalogue)}
        form = model.with_suffix(".tflite")
        with contextlib.suppress(InputError):  # one that the card does not know is passed over
            if form.exists() and cards.load(form):
                assert set(form.read_bytes()) == {int(card.catalogue)}
        return {int(card.catalogue)}


class Unpacked(Kind):
    """A folder of photos out of an archive, or none."""

    def prepare(self) -> None:
        self.archive = self.folder.parent / "set.zip"
        with zipfile.ZipFile(self.archive, "w") as packed:
            for number in range(30):
                packed.writestr(f"rose/{number}.jpg", bytes([number]) * 5_000)

    def save(self, edition: int) -> None:
        from flowers.data import archives

        shutil.rmtree(self.folder / "set", ignore_errors=True)
        archives.unpack(self.archive, self.folder / "set")

    def there(self) -> set[int]:
        folder = self.folder / "set" / "rose"
        # `save` removes the folder of the run before; while it does, it is no longer the set's
        if not folder.exists() or len(list(folder.iterdir())) < 30:
            return set()
        for number in range(30):
            assert (folder / f"{number}.jpg").read_bytes() == bytes([number]) * 5_000
        return {0}


KINDS: dict[str, type[Kind]] = {
    "table": Table,
    "pixels": Cache,
    "checkpoint": Checkpoint,
    "features": Shard,
    "model": Model,
    "export": Export,
    "trained": Trained,
    "archive": Unpacked,
}


NEEDED = {  # what a child would otherwise import on its own, each time
    "table": (),
    "pixels": ("flowers.data.pixels",),
    "checkpoint": ("flowers.train.checkpoint",),
    "features": ("flowers.train.features",),
    "model": ("flowers.ship.bundle",),
    "export": ("flowers.ship.export",),
    "trained": ("flowers.ship.export",),
    "archive": ("flowers.data.archives",),
}


def _in_child(work: Callable[[], None]) -> int:
    child = os.fork()
    if child:
        return child
    try:
        # the lock of tqdm is one for parent and children: a killed child would keep it for good
        tqdm.set_lock(threading.RLock())
        work()
        os._exit(0)
    except (InputError, WorldError) as error:
        os._exit(error.exit_code)
    except BaseException as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr, flush=True)
        os._exit(1)


def main(name: str, folder: str) -> None:
    """Reads orders until its input ends."""
    kind = KINDS[name](Path(folder))
    for module in NEEDED[name]:
        importlib.import_module(module)
    kind.prepare()
    print("ready", flush=True)

    def loop() -> None:
        edition = 0
        while True:
            kind.save(edition)
            edition = 1 - edition

    for line in sys.stdin:
        order, _, edition = line.strip().partition(" ")

        def once(edition: str = edition) -> None:
            os.kill(os.getpid(), signal.SIGSTOP)
            kind.save(int(edition))

        child = _in_child(loop if order == "loop" else once)
        print(child, flush=True)
        _, status = os.waitpid(child, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
