"""What the notebooks share: their photos and weights, their folder, how small their pictures are.

Variables settle it, so that one notebook serves Jupyter, Colab and the tests:

    FLOWERS_DATA      what `flowers train --data` takes; `auto` where it is not set
    FLOWERS_WEIGHTS   what `flowers train --weights` takes; `auto` where it is not set
    FLOWERS_SIGNS     hand signs for lesson 6, such as signs:PATH; downloaded where it is not set
    FLOWERS_CIFAR10   CIFAR-10 for lesson 7, such as cifar10:PATH; likewise
    FLOWERS_OTHERS    a folder of photos of other things; painted grounds where it is not set
    FLOWERS_LESSONS   the folder for data/ and models/; the notebook's own where it is not set
"""

from __future__ import annotations

import contextlib
import io
import logging
import os
import platform
import textwrap
from dataclasses import dataclass, replace
from importlib import metadata
from pathlib import Path

import matplotlib
import numpy as np
import seaborn
from matplotlib.figure import Figure
from PIL import Image

from flowers.config import DEFAULT, HEAD, LAST_STAGE, Config, phases, usual, usual_phases
from flowers.data import painted, sources
from flowers.data.prepared import Photos
from flowers.data.sources import Source
from flowers.errors import InputError, WorldError
from flowers.judge.figures import BLUE, GREEN, INK, ORANGE, SKY
from flowers.quiet import quiet

PAINTED = 60  # photos a class, where they are painted: enough to learn from, few enough to wait for
# Epochs and peak rate of networks that learn from nothing: fifty steps bear no high rate.
_FROM_NOTHING = {"signs": (2, 3e-4), "cifar10": (8, 0.03)}
_DPI = 88  # px an inch: 4.8 inches are legible and weigh 5 to 30 kB
_COLOURS = 64  # of a chart's palette
_PACKAGES = ("flowers", "keras", "numpy", "pandas", "scikit-learn", "matplotlib")


@dataclass(frozen=True)
class Lesson:
    """What one notebook runs on.

    source: what `data.sources.get` takes.
    weights: what `model.weights.find` takes.
    home: the folder below which everything is written.
    """

    source: str
    weights: str
    home: Path

    @property
    def data(self) -> Path:
        """For photos and caches."""
        return self.home / "data"

    @property
    def model(self) -> Path:
        """The file that training leaves."""
        return self.home / "models" / "flowers.keras"

    def say(self, text: object) -> None:
        """Prints a text; files are named as seen from `home`."""
        print(str(text).replace(f"{self.home.absolute()}{os.sep}", ""))

    def photos(self, name: str = "flowers") -> Source:
        """The photos asked for, or what can be had of them: see `data.sources.get`.

        Args:
            name: "flowers", or the set that a notebook would rather have: "signs", "cifar10". The
                variable FLOWERS_SIGNS or FLOWERS_CIFAR10 may say where it is. Where it cannot be
                had, flowers stand in.
        """
        asked = os.environ.get(f"FLOWERS_{name.upper()}") or name
        if name != "flowers":
            with contextlib.suppress(WorldError):
                return sources.get(asked, self.data)
        return sources.get(self.source, self.data, per_class=PAINTED)

    def config(self, source: Source, like: str = "flowers") -> Config:
        """The recipe for these photos.

        Real ones get the project's own. Painted ones, which stand in for them where nothing can
        be downloaded, get a small one: few epochs, and float32, so that the figures are the same
        on every machine.

        Args:
            source: what `photos` gave.
            like: the set whose network is wanted: "flowers", "signs" or "cifar10".
        """
        own = usual(source.name, usual(like).backbone)
        if like == "flowers":
            own = replace(own, weights=self.weights)
        if source.name != "painted":
            return own
        small = replace(own, precision="float32")
        if like != "flowers":
            epochs, rate = _FROM_NOTHING[like]
            phase = replace(phases(usual_phases(own))[0], epochs=epochs, rate=rate, batch=32)
            return replace(small, phases=(phase,))
        weights = "none" if self.weights == "auto" else self.weights  # the network is not there
        short = (replace(HEAD, epochs=15), replace(LAST_STAGE, epochs=2, rate=5e-5))
        return replace(small, size=96, weights=weights, views=2, phases=short)

    def trained(self, prepared: Photos, config: Config) -> Path:
        """The file that lesson 2 leaves; trained now where it is missing or knows other photos.

        Args:
            prepared: the photos.
            config: what `config` gave; another backbone's file has the backbone's name.
        """
        from flowers import pipeline  # Keras takes seconds, and the first lesson trains nothing
        from flowers.ship import card as cards

        usual_one = config.backbone == DEFAULT.backbone
        path = self.model if usual_one else self.model.with_stem(config.backbone)
        with contextlib.suppress(InputError):
            card = cards.load(path)
            if (card.catalogue, card.size) == (prepared.catalogue.key(), config.size):
                return path
        silent = {"say": lambda line: None, "export": False}  # lesson 5 exports it
        pipeline.run(prepared, config, data=self.data, model=path, **silent)
        return path

    def others(self, prepared: Photos, size: int) -> np.ndarray:
        """Photos that show none of the classes: those of FLOWERS_OTHERS, or painted grounds.

        Args:
            prepared: photos of the classes, which may not be among them.
            size: px of a side.

        Returns:
            uint8 [N, size, size, 3], RGB.
        """
        if folder := os.environ.get("FLOWERS_OTHERS"):
            from flowers.judge import refusal

            known = prepared.catalogue.table["sha256"], prepared.catalogue.labels
            return refusal.read_strangers(Path(folder), size, *known, self.say)
        return np.stack([painted.ground(seed, size) for seed in range(PAINTED)])


def begin() -> Lesson:
    """Prints versions and device, makes pictures small, and reads the variables."""
    with quiet():  # imported here, and not by whoever needs it first
        import keras

        from flowers.train import device

        machine = device.find()
    logging.getLogger("tensorflow").setLevel("ERROR")  # it counts how often graphs are traced
    packages = (*_PACKAGES, keras.backend.backend())
    versions = [f"{name} {metadata.version(name)}" for name in packages]
    said = f"Python {platform.python_version()}, {', '.join(versions)}"
    print(textwrap.fill(said, 80, break_on_hyphens=False))
    print(f"{machine.name}, {os.cpu_count()} cores, {machine.precision}")
    seaborn.set_palette([BLUE, ORANGE, GREEN, SKY, INK])
    matplotlib.rcParams.update({"axes.spines.top": False, "axes.spines.right": False})
    _show_small()
    home = os.environ.get("FLOWERS_LESSONS")
    return Lesson(
        source=os.environ.get("FLOWERS_DATA") or "auto",
        weights=os.environ.get("FLOWERS_WEIGHTS") or "auto",
        home=Path(home).absolute() if home else Path(),
    )


def picture(figure: Figure) -> tuple[str, bytes]:
    """A figure as a small file: its MIME type, and its bytes.

    A figure with photos in it becomes a JPEG, a chart a PNG of 64 colours.
    """
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=_DPI, bbox_inches="tight", facecolor="white")
    image = Image.open(buffer).convert("RGB")
    small = io.BytesIO()
    if any(axes.images for axes in figure.axes):
        image.save(small, "JPEG", quality=72, optimize=True)
        return "image/jpeg", small.getvalue()
    image.quantize(_COLOURS, dither=Image.Dither.NONE).save(small, "PNG", optimize=True)
    return "image/png", small.getvalue()


def _show_small() -> None:
    """Lets a notebook show every figure as `picture` makes it; does nothing outside one."""
    from IPython import get_ipython

    shell = get_ipython()
    if shell is None:
        return
    from matplotlib_inline import backend_inline

    backend_inline.configure_inline_support(shell, "inline")  # else it replaces what follows
    for kind in ("image/png", "image/jpeg"):
        formatter = shell.display_formatter.formatters[kind]
        formatter.for_type(Figure, lambda figure, kind=kind: dict([picture(figure)]).get(kind))
