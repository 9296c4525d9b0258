"""Training here against training by the textbook, on the same photos, for the same epochs.

The textbook is the transfer-learning guide of Keras: `image_dataset_from_directory`, `fit` on the
frozen network with a new head, then `fit` again with the last stage thawed. Both train the same
network from the same weights on the same split and are scored on the same test photos; each starts
from JPEG files with empty caches, in a process of its own, in turn.

    .venv/bin/python benchmarks/textbook.py --data DIR --weights FILE --photos 1200 --epochs 5
    .venv/bin/python benchmarks/textbook.py --phases head              # only the frozen network
    .venv/bin/python benchmarks/textbook.py --target 0.92 --epochs 12  # the time to that accuracy

With --target the time is the one at which the validation accuracy first reached it. The textbook
stops there; where it never does, its whole time stands for it, and the ratio is an upper bound.
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

import interleaved
import sample
from interleaved import Row

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
SIDES = ("ours", "textbook")


def main() -> None:
    """Runs both in processes of their own, in turn, and prints a table."""
    arguments = _arguments()
    if arguments.only:
        side = {"ours": ours, "textbook": textbook}[arguments.only]
        print(json.dumps(side(arguments, Path(arguments.work))))
        return
    with tempfile.TemporaryDirectory(prefix="textbook-") as work:
        source = sample.folder(arguments.data, Path(work), arguments.photos)
        lay_out(source, arguments.photos, Path(work))
        done: dict[str, list[dict]] = {name: [] for name in SIDES}

        def side(name: str) -> float:
            done[name].append(_process(name, work))
            return done[name][-1]["seconds"]

        interleaved.measure(
            {name: lambda name=name: side(name) for name in SIDES}, arguments.rounds
        )
    interleaved.finish(rows(done, arguments), arguments)


def rows(done: dict[str, list[dict]], arguments: argparse.Namespace) -> list[Row]:
    """Wall time, or the time to the target; and the accuracy on the test photos."""

    def values(key: str) -> tuple[tuple[float, ...], tuple[float, ...]]:
        ours, theirs = (tuple(run[key] for run in done[name]) for name in SIDES)
        return ours, theirs

    epochs, names = arguments.epochs, ("flowers", "Keras' guide")
    recipe = f"{arguments.phases} of {epochs} epochs each, {arguments.photos:,} photos"
    alone = arguments.phases == "head" and arguments.target is None
    bound = ("at most", 1 / epochs + 0.05) if alone else None
    made = [Row(f"training from JPEG files ({recipe})", "s", names, *values("seconds"), bound)]
    if arguments.target is not None:
        never = [name for name in SIDES if not all(run["reached"] for run in done[name])]
        note = f"Not reached by {' and '.join(never)}: their whole time." if never else ""
        what = f"time to {arguments.target} on the validation photos"
        made[0] = Row(what, "s", names, *values("until"), ("at most", 0.2), note)
    return [*made, Row("accuracy on the test photos", "", names, *values("test_accuracy"))]


def _process(name: str, work: str) -> dict:
    command = [sys.executable, __file__, *sys.argv[1:], "--only", name, "--work", work]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


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
        for phase in phases(arguments.phases, epochs=arguments.epochs)
    )
    config = replace(
        DEFAULT,
        weights=str(arguments.weights),
        phases=chosen,
        views=1,
        size=arguments.size,
        backbone=arguments.backbone,
        precision=arguments.precision,
    )
    reached: list[float] = []
    started = time.perf_counter()

    def watch(row: dict) -> bool:
        if arguments.target is not None and row["val_accuracy"] >= arguments.target:
            reached.append(time.perf_counter() - started)
        return False

    prepared = pipeline.prepare(str(work / "all"), config, data=work / "data", say=_log)
    trained = pipeline.fit(prepared, config, data=work / "data", say=_log, watch=watch)
    seconds = time.perf_counter() - started
    rows = prepared.catalogue.rows("test")
    outputs = features.over(trained.classifier.model, prepared.pixels, rows, "test photos")
    right = outputs.argmax(axis=1) == prepared.catalogue.label_ids[rows]
    shutil.rmtree(work / "data")
    return _told(seconds, reached, float(right.mean()))


def textbook(arguments: argparse.Namespace, work: Path) -> dict:
    """The guide: a frozen ResNet50 with a new head, then its last stage thawed at a low rate."""
    import keras

    keras.utils.set_random_seed(0)
    common = {"image_size": (arguments.size,) * 2, "batch_size": arguments.batch}
    reached: list[float] = []
    started = time.perf_counter()

    def look(epoch: int, logs: dict) -> None:
        if arguments.target is not None and logs["val_accuracy"] >= arguments.target:
            reached.append(time.perf_counter() - started)
            model.stop_training = True

    train, validation, test = (
        keras.utils.image_dataset_from_directory(
            work / name, shuffle=name == "train", verbose=False, **common
        )
        for name in ("train", "validation", "test")
    )
    base, model = _guide(arguments, len(train.class_names))
    for rate, thawed in ((1e-3, False), (arguments.textbook_rate, True)):
        if reached or (thawed and "stage" not in arguments.phases):
            break
        base.trainable = thawed
        for layer in base.layers:
            last = layer.name.startswith("conv5") and not layer.name.endswith("_bn")
            layer.trainable = thawed and last
        model.compile(
            keras.optimizers.Adam(rate), "sparse_categorical_crossentropy", metrics=["accuracy"]
        )
        watching = keras.callbacks.LambdaCallback(on_epoch_end=look)
        model.fit(
            train,
            validation_data=validation,
            epochs=arguments.epochs,
            shuffle=False,  # the set shuffles itself; Keras warns of the default, which it ignores
            verbose=2,
            callbacks=[watching],
        )
    seconds = time.perf_counter() - started
    _, accuracy = model.evaluate(test, verbose=0)
    return _told(seconds, reached, float(accuracy))


def _guide(arguments: argparse.Namespace, classes: int):
    """The backbone and the classifier as the guide builds them."""
    import keras
    from keras import layers

    photos = keras.Input((arguments.size, arguments.size, 3))
    if arguments.backbone == "miniature":  # for trying the script out
        from flowers.model import backbone as backbones

        features = backbones.find("miniature").build(photos, None, 0)
        base = keras.Model(photos, features)
        x = base(photos, training=False)
    else:
        weights = None if str(arguments.weights) == "none" else str(arguments.weights)
        base = keras.applications.ResNet50(include_top=False, weights=weights)
        x = base(keras.applications.resnet50.preprocess_input(photos), training=False)
    base.trainable = False
    x = layers.GlobalAveragePooling2D()(x)
    for units in (256, 128, 64):
        x = layers.Dropout(0.2)(layers.Dense(units, activation="relu")(x))
    return base, keras.Model(photos, layers.Dense(classes, activation="softmax")(x))


def _told(seconds: float, reached: list[float], accuracy: float) -> dict:
    return {
        "seconds": round(seconds, 2),
        "until": round(reached[0] if reached else seconds, 2),
        "reached": bool(reached),
        "test_accuracy": round(accuracy, 4),
    }


def _log(line: str) -> None:
    print(line, file=sys.stderr)


def _arguments() -> argparse.Namespace:
    parser = interleaved.parser(__doc__, rounds=2)
    parser.add_argument("--data", type=Path, help="folder of class folders")
    parser.add_argument("--weights", default="imagenet", help="of the backbone: a file or imagenet")
    parser.add_argument("--photos", type=int, default=1200, help="how many, over all classes")
    parser.add_argument("--phases", default="head,stage", choices=("head", "head,stage"))
    parser.add_argument("--epochs", type=int, default=5, help="of each phase")
    parser.add_argument("--target", type=float, help="measure the time to this accuracy")
    parser.add_argument("--precision", default="auto", help="of ours; the guide's is float32")
    parser.add_argument("--textbook-rate", type=float, default=1e-4, help="for the thawed stage")
    parser.add_argument("--batch", type=int, default=32, help="of the textbook")
    parser.add_argument("--size", type=int, default=224, help="px of a side")
    parser.add_argument("--backbone", default="resnet50", choices=("resnet50", "miniature"))
    parser.add_argument("--only", choices=SIDES, help=argparse.SUPPRESS)
    parser.add_argument("--work", help=argparse.SUPPRESS)
    return parser.parse_args()


if __name__ == "__main__":
    main()
