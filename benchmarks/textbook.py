"""Training here against training by the textbook, on the same photos, for the same epochs.

The textbook is the transfer-learning guide of Keras: `image_dataset_from_directory`, `fit` on the
frozen network with a new head, then `fit` again with the last stage thawed. Both train the same
network from the same weights on the same split and are scored on the same test photos; each starts
from JPEG files with empty caches, in a process of its own, one after the other.

    .venv/bin/python benchmarks/textbook.py --data DIR --weights FILE --photos 1200 --epochs 5
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
SIZE, BATCH = 224, 32


def main() -> None:
    """Runs both in processes of their own and prints one JSON object."""
    arguments = _arguments()
    if arguments.only:
        run = {"ours": ours, "textbook": textbook}[arguments.only]
        print(json.dumps(run(arguments, Path(arguments.work))))
        return
    with tempfile.TemporaryDirectory(prefix="textbook-") as work:
        lay_out(arguments.data, arguments.photos, Path(work))
        rows = {}
        for name in ("ours", "textbook"):
            command = [sys.executable, __file__, *sys.argv[1:], "--only", name, "--work", work]
            started = time.perf_counter()
            done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
            rows[name] = json.loads(done.stdout.splitlines()[-1])
            rows[name]["process_s"] = round(time.perf_counter() - started, 1)
    ratio = rows["ours"]["seconds"] / rows["textbook"]["seconds"]
    print(json.dumps({**rows, "ratio": round(ratio, 3), "photos": arguments.photos}, indent=2))


def lay_out(source: Path, photos: int, work: Path) -> None:
    """Links a subset of the photos, the same number a class, into work/all and into
    work/{train,validation,test} by the split that both use."""
    from flowers.data import catalogue as catalogues

    classes = sorted(entry for entry in source.iterdir() if entry.is_dir())
    for folder in classes:
        (work / "all" / folder.name).mkdir(parents=True)
        for photo in sorted(folder.iterdir())[: photos // len(classes)]:
            (work / "all" / folder.name / photo.name).symlink_to(photo.resolve())
    for row in catalogues.build(work / "all").usable.itertuples():
        target = work / row.split / row.path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.symlink_to((work / "all" / row.path).resolve())


def ours(arguments: argparse.Namespace, work: Path) -> dict:
    """The main job's training: catalogue, pixels, features, head, last stage."""
    from dataclasses import replace

    from flowers import pipeline
    from flowers.config import DEFAULT, phases
    from flowers.train import features

    chosen = tuple(
        replace(phase, patience=arguments.epochs)
        for phase in phases("head,stage", epochs=arguments.epochs)
    )
    config = replace(DEFAULT, weights=str(arguments.weights), phases=chosen, views=1)
    started = time.perf_counter()
    prepared = pipeline.prepare(str(work / "all"), config, data=work / "data", say=_log)
    trained = pipeline.fit(prepared, config, data=work / "data", say=_log)
    seconds = time.perf_counter() - started
    rows = prepared.catalogue.rows("test")
    outputs = features.over(trained.classifier.model, prepared.pixels, rows, "test photos")
    right = outputs.argmax(axis=1) == prepared.catalogue.label_ids[rows]
    shutil.rmtree(work / "data")
    return {"seconds": round(seconds, 1), "test_accuracy": round(float(right.mean()), 4)}


def textbook(arguments: argparse.Namespace, work: Path) -> dict:
    """The guide: a frozen ResNet50 with a new head, then its last stage thawed at a low rate."""
    import keras
    from keras import layers

    keras.utils.set_random_seed(0)
    common = {"image_size": (SIZE, SIZE), "batch_size": BATCH}
    started = time.perf_counter()
    train, validation, test = (
        keras.utils.image_dataset_from_directory(
            work / name, shuffle=name == "train", verbose=False, **common
        )
        for name in ("train", "validation", "test")
    )
    base = keras.applications.ResNet50(include_top=False, weights=str(arguments.weights))
    base.trainable = False
    photos = keras.Input((SIZE, SIZE, 3))
    x = base(keras.applications.resnet50.preprocess_input(photos), training=False)
    x = layers.GlobalAveragePooling2D()(x)
    for units in (256, 128, 64):
        x = layers.Dropout(0.2)(layers.Dense(units, activation="relu")(x))
    model = keras.Model(photos, layers.Dense(len(train.class_names), activation="softmax")(x))
    for rate, thawed in ((1e-3, False), (arguments.textbook_rate, True)):
        base.trainable = thawed
        for layer in base.layers:
            last = layer.name.startswith("conv5") and not layer.name.endswith("_bn")
            layer.trainable = thawed and last
        model.compile(
            keras.optimizers.Adam(rate), "sparse_categorical_crossentropy", metrics=["accuracy"]
        )
        model.fit(train, validation_data=validation, epochs=arguments.epochs, verbose=2)
    seconds = time.perf_counter() - started
    _, accuracy = model.evaluate(test, verbose=0)
    return {"seconds": round(seconds, 1), "test_accuracy": round(float(accuracy), 4)}


def _log(line: str) -> None:
    print(line, file=sys.stderr)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", type=Path, required=True, help="folder of class folders")
    parser.add_argument("--weights", default="imagenet", help="of the backbone: a file or imagenet")
    parser.add_argument("--photos", type=int, default=1200, help="how many, over all classes")
    parser.add_argument("--epochs", type=int, default=5, help="of each of the two phases")
    parser.add_argument("--textbook-rate", type=float, default=1e-4, help="for the thawed stage")
    parser.add_argument("--only", choices=("ours", "textbook"), help=argparse.SUPPRESS)
    parser.add_argument("--work", help=argparse.SUPPRESS)
    return parser.parse_args()


if __name__ == "__main__":
    main()
