"""A small model of five flowers in every format, with a card that describes each file."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from flowers.data import painted
from flowers.ship import card as cards
from flowers.ship.card import Card

SIZE = 32
NAMES = (
    *("flowers.keras", "flowers.tflite", "flowers.onnx", "flowers.savedmodel"),
    "flowers.openvino.xml",
)


def build(seed: int = 1, dead: bool = False, size: int = SIZE):
    """The network with random weights; a dead one answers with what is no number."""
    from flowers.model import classifier

    built = classifier.build(5, size=size, backbone="miniature", head=(16, 8), seed=seed).model
    if dead:
        last = built.layers[-1]
        last.set_weights([np.full_like(part, np.nan) for part in last.get_weights()])
    return built


def write(folder: Path, model=None, names: tuple[str, ...] = NAMES) -> Path:
    """Writes the files named of `model` (a small one), and flowers.json; returns the folder."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    from flowers.ship import bundle, formats, graph

    folder.mkdir(parents=True, exist_ok=True)
    model = build() if model is None else model
    work = folder / ".work"
    work.mkdir()
    photos = np.random.default_rng(0).integers(0, 256, (8, *model.input_shape[1:]), np.uint8)
    converter = formats.Converter(graph.build(model), photos, work)
    for wanted in formats.FORMATS:
        target = folder / f"flowers{wanted.ending}"
        if target.name == "flowers.keras":
            bundle.save(model, target)
        elif target.name in names:
            converter.write(wanted, target)
    describe(folder, size=model.input_shape[1])
    return folder


def describe(folder: Path, **changes: object) -> Path:
    """Writes a card that describes whatever model files lie in a folder."""
    places = [path for path in sorted(folder.iterdir()) if path.name.startswith("flowers.")]
    hashes = {
        path.name: {"sha256": cards.fingerprint(path)}
        for path in places
        if path.suffix not in (".json", ".bin")
    }
    known = hashes.get("flowers.keras", {"sha256": "0" * 64})["sha256"]
    facts = {"labels": painted.LABELS, "size": SIZE, "sha256": known, "catalogue": "painted"}
    return Card(**{**facts, **changes}, files=hashes).save(folder / "flowers.keras")
