"""flowers train: photos in, a measured model out."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import click

from flowers import files
from flowers.cli import options
from flowers.cli.options import say
from flowers.config import DEFAULT, MODEL_SPACE, phases, set_name, usual, usual_phases
from flowers.errors import InputError
from flowers.quiet import quiet


@click.command()
@options.source
@options.weights
@click.option(
    "--out",
    "model",
    default=None,
    type=click.Path(path_type=Path),
    help="The model file to write.  [default: models/flowers.keras, or signs.keras and so on]",
)
@options.folder
@click.option("--seed", default=DEFAULT.seed, show_default=True, help="Of everything random.")
@click.option(
    "--size", default=None, type=int, help="Side of the photos, px.  [default: 224, 64 or 32]"
)
@click.option(
    "--backbone",
    default=None,
    help="resnet50 (pretrained) | resnet50-scratch | resnet20, 32, 44, 56, 110 | plain20 and so on "
    "| miniature (for trying out).  [default: resnet50; signs resnet50-scratch; cifar10 resnet20]",
)
@click.option(
    "--phases",
    default=None,
    metavar="NAMES",
    help="Comma-separated: head, stage, all; or scratch, cycle, paper. Default: head,stage; on a "
    "GPU also all; networks from scratch have one phase.",
)
@click.option("--epochs", default=None, type=click.IntRange(1), help="Of every phase, at most.")
@click.option(
    "--rate",
    default=None,
    type=click.FloatRange(0, 1, min_open=True, max_open=True),
    help="Peak learning rate of the last phase.",
)
@click.option(
    "--views",
    default=None,
    type=click.IntRange(1),
    help="Kept of a training photo: itself and augmented ones.  [default: 2; 3 without weights]",
)
@click.option(
    "--precision",
    default=DEFAULT.precision,
    show_default=True,
    help="auto | float32 | mixed_bfloat16 | mixed_float16.",
)
@click.option(
    "--labels",
    default=None,
    type=click.Path(path_type=Path),
    help="A labels.csv of `flowers audit`, with your decisions.",
)
@options.others
@click.option("--folds", default=0, metavar="K", help="Also cross-validate over K folds.")
def train(
    source: str,
    model: Path | None,
    data: Path,
    folds: int,
    labels: Path | None,
    others: Path | None,
    **choices: object,
) -> None:
    """Photos in, a measured model out: get, check, train, judge, save."""
    model = model or Path("models") / f"{set_name(source)}.keras"
    if model.suffix != ".keras":
        raise InputError("a model file ending in .keras", str(model), "Correct --out.")
    names, epochs, rate = (choices.pop(name) for name in ("phases", "epochs", "rate"))
    chosen = {name: value for name, value in choices.items() if value is not None}
    config = replace(usual(source, choices["backbone"]), **chosen)
    if names or epochs or rate:
        config = replace(config, phases=phases(names or usual_phases(config), epochs, rate))
    files.require_space(model.parent, MODEL_SPACE, "the model and its report")
    # before Keras is imported, which costs seconds: what is wrong with the photos is said at once
    from flowers.data import prepared

    ready = prepared.prepare(source, config, data=data, labels=labels, say=say)
    with quiet():
        from flowers import pipeline

    outcome = pipeline.run(
        ready,
        config,
        data=data,
        model=model,
        folds=folds,
        others=others,
        say=say,
        command=" ".join(["flowers", *sys.argv[1:]]),
    )
    click.echo(outcome.as_text())
