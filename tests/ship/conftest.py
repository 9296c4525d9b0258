"""A small trained model in every format, exported once for all tests of this folder."""

import shutil
from pathlib import Path

import keras
import numpy as np
import pytest

from flowers import files
from flowers.data import catalogue as catalogues
from flowers.data import photos
from flowers.judge import novelty as novelties
from flowers.judge.novelty import Recipe
from flowers.judge.sets import PredictionSets
from flowers.model import classifier
from flowers.ship import bundle, export
from flowers.ship.card import Card
from shipped import Shipped

# few photos: much shrinkage, or directions in which they do not vary at all would count most
RECIPES = (Recipe("conv4", 1.5, 16, 0.3), Recipe("conv5", 0.5, 20, 0.3))


@pytest.fixture(scope="session")
def trained(small_folder, once) -> tuple[Path, Path]:
    """(flowers.keras with its card and catalogue, its photos): what `flowers train` leaves."""
    return once("trained", lambda place: (_train(small_folder, place), small_folder))


def _train(folder: Path, place: Path) -> Path:
    listed = catalogues.build(folder)
    pixels = np.stack([photos.read(listed.root / path, 32) for path in listed.usable["path"]])
    truth = listed.label_ids
    built = classifier.build(3, size=32, backbone="miniature", head=(16, 8), dropout=0.0)
    built.model.compile(keras.optimizers.Adam(0.01), "sparse_categorical_crossentropy")
    built.model.fit(pixels.astype(np.float32), truth, epochs=25, batch_size=12, verbose=0)
    seen = built.levels().predict_on_batch(pixels)
    levels = {name: seen[name] for name in ("conv4", "conv5")}
    score = novelties.fit(levels, truth, levels, 0.9, RECIPES)
    model = bundle.save(built.model, place / "flowers.keras", score)
    Card(
        labels=listed.labels,
        size=32,
        sha256=files.sha256(model),
        catalogue=listed.key(),
        settings={"weights": "none", "versions": {"keras": keras.__version__}},
        metrics={"photos": 6, "accuracy": 1.0, "accuracy_interval": {"low": 0.6, "high": 1.0}},
        sets=PredictionSets(coverage=0.95, threshold=0.5, penalty=0.0, free=1),
        threshold=1.02 * score.threshold,  # no photo lies exactly on it
    ).save(model)
    listed.save(place / "flowers" / "catalogue.csv")
    return model


@pytest.fixture(scope="session")
def shipped(trained, once) -> Shipped:
    """The model in every format; copy the folder before changing it."""
    model, folder = trained

    def export_all(place: Path) -> Shipped:
        shutil.copytree(model.parent, place / "models")
        lines: list[str] = []
        made = export.run(
            place / "models" / model.name,
            ["all"],
            str(folder),
            data=place / "data",
            say=lines.append,
        )
        return Shipped(place / "models", made, lines, folder)

    return once("shipped", export_all)
