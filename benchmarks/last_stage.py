"""The last stage trained from kept features, beside `fit` with the stages below frozen, and whole.

    .venv/bin/python benchmarks/last_stage.py --steps 20

All three train the same network on the same photos with the same optimizer in the same precision;
what differs is what a step has to compute. Random weights: speed does not depend on them. Each
round is an epoch of `--steps` steps; a first one, in which the step is compiled, is not counted.
Computing the features happens once; it stands beside, as `flowers train` does it: with the frozen
part's BatchNorm inside its convolutions, and what novelty needs put out as well. The part that
learns is never folded, here or there.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from pathlib import Path

import interleaved
from interleaved import Row

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
CLASSES = 5


def main() -> None:
    """Prints a table."""
    arguments = _arguments()
    with tempfile.TemporaryDirectory(prefix="last-stage-") as work:
        interleaved.finish(run(arguments, Path(work)), arguments)


def run(arguments: argparse.Namespace, work: Path) -> list[Row]:
    """Photos a second of each."""
    import numpy as np

    from flowers.model.folding import folded
    from flowers.train import device, features

    precision = device.find(arguments.precision).precision
    count = arguments.steps * arguments.batch
    random = np.random.default_rng(0)
    photos = random.integers(0, 256, (count, arguments.size, arguments.size, 3), np.uint8)
    labels, rows = random.integers(0, CLASSES, count), np.arange(count)
    kept = _classifier(arguments, precision)
    trunk = folded(kept.watched("stage"))
    features.forward_all(trunk, photos[: features.BATCH])  # compiles
    started = time.perf_counter()
    store = features.compute(
        trunk, lambda chosen: photos[chosen], rows, work, "benchmark", "features"
    )
    spent = time.perf_counter() - started
    frozen, whole = _classifier(arguments, precision), _classifier(arguments, precision)
    learning = _learning(frozen)
    for layer in frozen.model.layers:  # what is usual: `fit` on the whole, its lower stages frozen
        layer.trainable = layer.name in learning
    sides = {
        "kept": _epoch(kept.tail("stage"), store.read, labels, arguments),
        "frozen": _epoch(frozen.model, lambda chosen: photos[chosen], labels, arguments),
        "whole": _epoch(whole.tail("all"), lambda chosen: photos[chosen], labels, arguments),
    }
    for side in sides.values():
        side()  # compiles
    found = interleaved.measure(sides, arguments.rounds)
    note = (
        f"Photos a second, {precision}, batches of {arguments.batch} at {arguments.size} px. "
        f"The features were computed at {count / spent:.1f} photos a second, once, by the folded "
        "frozen part."
    )
    first = ("from kept features", "fit, stages below frozen")
    second = ("from kept features", "fit, nothing frozen")
    return [
        Row("last stage", "/s", first, found["kept"], found["frozen"], ("at least", 2.0), note),
        Row("last stage", "/s", second, found["kept"], found["whole"], ("at least", 4.0), note),
    ]


def _classifier(arguments: argparse.Namespace, precision: str):
    from flowers.model import classifier

    return classifier.build(
        CLASSES, size=arguments.size, backbone=arguments.backbone, precision=precision
    )


def _learning(classifier) -> set[str]:
    """The layers that learn in the last stage's phase."""
    tail = classifier.tail("stage")
    return {layer.name for layer in tail.layers if layer.trainable} - {classifier.backbone.cut}


def _epoch(model, read, labels, arguments: argparse.Namespace):
    """A side: trains one epoch, gives photos a second."""
    import keras
    import numpy as np

    from flowers.config import LAST_STAGE
    from flowers.train.batches import Batches
    from flowers.train.optimizer import optimizer

    batches = Batches(
        lambda photos, views, epoch: read(photos),
        np.arange(len(labels)),
        np.zeros(len(labels), int),
        labels,
        np.ones(CLASSES),
        arguments.batch,
        seed=0,
    )
    model.compile(
        optimizer=optimizer(LAST_STAGE, 100 * arguments.steps, 1e-4),
        loss=keras.losses.CategoricalCrossentropy(),
    )

    def side() -> float:
        started = time.perf_counter()
        model.fit(batches, epochs=1, shuffle=False, verbose=0)
        return len(labels) / (time.perf_counter() - started)

    return side


def _arguments() -> argparse.Namespace:
    parser = interleaved.parser(__doc__, rounds=3)
    parser.add_argument("--steps", type=int, default=20, help="of a round")
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--size", type=int, default=224, help="px of a side")
    parser.add_argument("--backbone", default="resnet50", help="or miniature")
    parser.add_argument("--precision", default="auto", help="of all three")
    return parser.parse_args()


if __name__ == "__main__":
    main()
