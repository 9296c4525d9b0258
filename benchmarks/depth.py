"""Why shortcuts: plain against residual networks of two depths, on CIFAR-10.

Two drawings and their numbers: the norm of the gradient by depth at the start of training, and
how loss and accuracy go on a part of the training photos (He et al. 2015, figure 6: more layers
make a plain network worse, on its own training photos too, and a residual one better). The
networks train on the engine of `flowers train`; a run that was stopped goes on.

    .venv/bin/python benchmarks/depth.py --data cifar10:FILE --photos 10000 --epochs 6 --out docs
"""

from __future__ import annotations

import argparse
import os
from dataclasses import replace
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
GRADIENT_BATCHES = 4  # averaged, each of 128 photos


def main() -> None:
    """Trains, measures, draws."""
    arguments = _arguments()
    import numpy as np

    from flowers import files, pipeline
    from flowers.config import ONE_CYCLE, usual
    from flowers.judge import figures_depth

    phase = replace(ONE_CYCLE, epochs=arguments.epochs, patience=arguments.epochs)
    names = [f"{kind}{depth}" for depth in arguments.depths for kind in ("plain", "resnet")]
    settings = {
        name: replace(usual(arguments.data, name), seed=arguments.seed, phases=(phase,))
        for name in names
    }
    prepared = pipeline.prepare(arguments.data, settings[names[0]], data=arguments.cache)
    train, validation = (prepared.catalogue.rows(part) for part in ("train", "validation"))
    order = np.random.default_rng(arguments.seed).permutation(train)
    train = np.sort(order[: arguments.photos])
    flow = {name: _gradients(config, prepared, train) for name, config in settings.items()}
    _draw(figures_depth.gradient_flow(flow), arguments.out / "gradient-flow.png")
    histories = {}
    for name, config in settings.items():
        fitted = pipeline.fit(prepared, config, data=arguments.cache, rows=(train, validation))
        histories[name] = fitted.history
        _draw(figures_depth.curves(histories), arguments.out / "plain-and-residual.png")
    numbers = {
        "photos": len(train),
        "phase": str(phase),
        "gradient norms": {name: [float(f"{v:.3g}") for v in row] for name, row in flow.items()},
        "history": {
            name: table[["loss", "accuracy", "val_loss", "val_accuracy", "seconds"]]
            .round(4)
            .to_dict("list")
            for name, table in histories.items()
        },
    }
    files.write_json(arguments.out / "depth.json", numbers)
    for name, table in histories.items():
        last = table.iloc[-1]
        print(
            f"{name}: training loss {last['loss']:.3f}, accuracy {last['accuracy']:.3f}; "
            f"validation accuracy {last['val_accuracy']:.3f}"
        )


def _gradients(config, prepared, train):
    """float64 [L]: the gradient's norm in each convolution of a fresh network."""
    import numpy as np

    from flowers.judge import gradients
    from flowers.model import classifier

    classes = len(prepared.catalogue.labels)
    built = classifier.build(
        classes, size=config.size, backbone=config.backbone, head=config.head, seed=config.seed
    )
    labels, found = prepared.catalogue.label_ids, []
    for batch in (
        np.random.default_rng(0)
        .permutation(train)[: 128 * GRADIENT_BATCHES]
        .reshape(GRADIENT_BATCHES, -1)
    ):
        asked = gradients.of_kernels(built.model, prepared.pixels[batch], labels[batch])
        found.append(gradients.norms(asked))
    return np.mean(found, axis=0)


def _draw(figure, path: Path) -> None:
    from flowers import files

    with files.atomic(path) as temporary:
        figure.savefig(temporary, dpi=150)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", default="cifar10")
    parser.add_argument("--photos", type=int, default=10_000, help="of the training photos")
    parser.add_argument("--epochs", type=int, default=6)
    parser.add_argument("--depths", type=int, nargs="+", default=[20, 56])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--cache", type=Path, default=Path("data"))
    parser.add_argument("--out", type=Path, default=Path("docs"))
    return parser.parse_args()


if __name__ == "__main__":
    main()
