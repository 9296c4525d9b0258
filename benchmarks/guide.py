"""Training as the transfer-learning guide of Keras does it: the textbook's side of textbook.py."""

from __future__ import annotations

import argparse
import time
from pathlib import Path

ROOM = 0.5  # of the memory that is free, for decoded photos


def train(arguments: argparse.Namespace, work: Path) -> dict:
    """The guide: a frozen ResNet50 with a new head, then its last stage thawed at a low rate."""
    import keras

    keras.utils.set_random_seed(0)
    reached: list[float] = []
    stopped: list[float] = []
    started = time.perf_counter()

    def look(epoch: int, logs: dict) -> None:
        if arguments.target is None or stopped:
            return
        if logs["val_accuracy"] >= arguments.target:
            reached.append(time.perf_counter() - started)
            model.stop_training = True

    def tire(batch: int, logs: dict) -> None:
        spent = time.perf_counter() - started
        if arguments.target is not None and spent > arguments.longest and not stopped:
            stopped.append(spent)
            model.stop_training = True

    (learned, validation, test), classes, cached = _sets(arguments, work)
    base, model = _network(arguments, classes)
    for rate, thawed in ((1e-3, False), (arguments.textbook_rate, True)):
        if reached or stopped or (thawed and "stage" not in arguments.phases):
            break
        base.trainable = thawed
        for layer in base.layers:
            last = layer.name.startswith("conv5") and not layer.name.endswith("_bn")
            layer.trainable = thawed and last
        model.compile(
            keras.optimizers.Adam(rate), "sparse_categorical_crossentropy", metrics=["accuracy"]
        )
        watching = keras.callbacks.LambdaCallback(on_epoch_end=look, on_train_batch_end=tire)
        model.fit(
            learned,
            validation_data=validation,
            epochs=arguments.epochs,
            shuffle=False,  # the set shuffles itself; Keras warns of the default, which it ignores
            verbose=2,
            callbacks=[watching],
        )
    seconds = stopped[0] if stopped else time.perf_counter() - started
    _, accuracy = model.evaluate(test, verbose=0)
    how = f"{arguments.phases} of {arguments.epochs} epochs each at most, float32, {cached}"
    return told(seconds, reached, float(accuracy), how, bool(stopped))


def _sets(arguments: argparse.Namespace, work: Path) -> tuple[list, int, str]:
    """The guide's three sets, how many classes there are, and whether photos are held decoded.

    Files are shuffled before they are decoded, and what is held then anew in each epoch.
    """
    import keras
    import tensorflow as tf

    names = ("train", "validation", "test")
    plain = [
        keras.utils.image_dataset_from_directory(
            work / name,
            image_size=(arguments.size,) * 2,
            batch_size=None,
            shuffle=name == "train",
            seed=0,
            verbose=False,
        )
        for name in names
    ]
    photos = sum(len(one.file_paths) for one in plain[:2])
    fits = photos * arguments.size**2 * 3 * 4 <= ROOM * _free_memory()
    made = []
    for name, one in zip(names, plain, strict=True):
        if fits and name != "test":
            one = one.cache()
        if fits and name == "train":
            one = one.shuffle(8 * arguments.batch)  # as many as image_dataset_from_directory takes
        made.append(one.batch(arguments.batch).prefetch(tf.data.AUTOTUNE))
    cached = "cached in memory" if fits else "decoded anew in each epoch, as memory is short"
    return made, len(plain[0].class_names), f"photos {cached}"


def _free_memory() -> float:
    """Bytes that can be had; none where the system does not tell."""
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
    except OSError:
        return 0.0
    told = next((line.split()[1] for line in lines if line.startswith("MemAvailable:")), 0)
    return 1024 * float(told)


def _network(arguments: argparse.Namespace, classes: int):
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


def told(
    seconds: float, reached: list[float], accuracy: float, how: str, stopped: bool = False
) -> dict:
    """until: seconds to the target, or all of them where it was not reached or there is none."""
    return {
        "seconds": round(seconds, 2),
        "until": round(reached[0] if reached else seconds, 2),
        "reached": bool(reached),
        "stopped": stopped,
        "test_accuracy": round(accuracy, 4),
        "how": how,
    }
