"""flowers train: photos in, a measured model out. flowers tune: photos in, a better recipe out."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import click

from flowers import config_file, files
from flowers.cli import options
from flowers.cli.options import say
from flowers.config import (
    MODEL_SPACE,
    VIEWS,
    VIEWS_FROM_RANDOM,
    Config,
    adjusted,
    phases,
    set_name,
    usual,
    usual_phases,
)
from flowers.errors import InputError
from flowers.profile import Clock
from flowers.quiet import quiet
from flowers.train import hosts

RECIPE = (
    options.source,
    options.weights,
    click.option(
        "--config",
        "config_path",
        default=None,
        metavar="FILE",
        type=click.Path(path_type=Path),
        help="Settings in TOML, as `flowers tune` writes them; options given here come first.",
    ),
    options.folder,
    click.option(
        "--seed",
        default=None,
        type=click.IntRange(0, 32_767),
        help="Of everything random.  [default: 0]",
    ),
    click.option(
        "--size", default=None, type=int, help="Side of the photos, px.  [default: 224, 64 or 32]"
    ),
    click.option(
        "--backbone",
        default=None,
        help="resnet50 (pretrained) | resnet50-scratch | resnet20, 32, 44, 56, 110 | plain20 and "
        "so on | miniature (for trying out).  [default: resnet50; signs resnet50-scratch; cifar10 "
        "resnet20]",
    ),
    click.option(
        "--phases",
        default=None,
        metavar="NAMES",
        help="Comma-separated: head, stage, all; or scratch, cycle, paper. Default: head,stage; on "
        "a GPU also all; networks from scratch have one phase.",
    ),
    click.option("--epochs", default=None, type=click.IntRange(1), help="Of every phase, at most."),
    click.option(
        "--rate",
        default=None,
        type=click.FloatRange(0, 1, min_open=True, max_open=True),
        help="Peak learning rate of the last phase.",
    ),
    click.option(
        "--views",
        default=None,
        type=click.IntRange(1),
        help="Kept of a training photo: itself and augmented ones.  "
        f"[default: {VIEWS}; {VIEWS_FROM_RANDOM} without weights]",
    ),
    click.option(
        "--precision",
        default=None,
        help="auto | float32 | mixed_bfloat16 | mixed_float16.  [default: auto]",
    ),
    click.option(
        "--labels",
        default=None,
        type=click.Path(path_type=Path),
        help="A labels.csv of `flowers audit`, with your decisions.",
    ),
)
cache_gb = click.option(
    "--cache-gb",
    default=None,
    metavar="GB",
    type=click.FloatRange(0),
    help="Disk that decoded photos and features may take; beyond it they are computed whenever "
    "they are needed, with the same result.  [default: as much as they need]",
)


def _number(context: click.Context, parameter: click.Parameter, value: str) -> int | None:
    """How many devices --devices means, None for all."""
    if value == "all":
        return None
    if value.isdecimal() and int(value) > 0:
        return int(value)
    raise InputError("devices as a number or all", repr(value), "Correct --devices.")


DEVICES = (
    click.option(
        "--devices",
        default="1",
        callback=_number,
        show_default=True,
        metavar="all|N",
        help="How many GPUs of this machine learn, each a part of every batch; without a GPU, how "
        "many CPU devices the backend shows.",
    ),
    click.option(
        "--coordinator",
        envvar="KERAS_DISTRIBUTION_JOB_ADDRESSES",
        show_envvar=True,
        metavar="HOST:PORT",
        help="Train across hosts (JAX backend): where process 0 runs. See docs/scale.md.",
    ),
    click.option(
        "--processes",
        envvar="KERAS_DISTRIBUTION_NUM_PROCESSES",
        show_envvar=True,
        type=int,
        help="How many processes take part, usually one a host.",
    ),
    click.option(
        "--process",
        envvar="KERAS_DISTRIBUTION_PROCESS_ID",
        show_envvar=True,
        type=int,
        help="Which of them this one is, from 0; process 0 judges and writes.",
    ),
)


def recipe(command: Callable) -> Callable:
    """Gives a command the options that decide what is trained on, and how."""
    for option in reversed(RECIPE):
        command = option(command)
    return command


def several(command: Callable) -> Callable:
    """Gives a command the options that decide which devices learn together."""
    for option in reversed(DEVICES):
        command = option(command)
    return command


def configured(
    source: str,
    config_path: Path | None,
    names: str | None,
    epochs: int | None,
    rate: float | None,
    **choices: object,
) -> Config:
    """The configuration: the usual one, then what the file says, then what the options say.

    Args:
        source: what `--data` was given.
        config_path: of a TOML file, or None.
        names: of the phases, as `--phases` has them.
        epochs: of every phase.
        rate: of the last phase.
        choices: fields of `Config`; None where an option was left out.

    Raises:
        InputError: the file or a value cannot be used.
    """
    given = config_file.read(config_path) if config_path else {}
    given |= {name: value for name, value in choices.items() if value is not None}
    config = replace(usual(source, given.get("backbone")), **given)
    if names or (config.phases is None and (epochs or rate)):
        return replace(config, phases=phases(names or usual_phases(config), epochs, rate))
    if config.phases and (epochs or rate):
        return replace(config, phases=adjusted(config.phases, epochs, rate))
    return config


@click.command()
@recipe
@cache_gb
@click.option(
    "--out",
    "model",
    default=None,
    type=click.Path(path_type=Path),
    help="The model file to write.  [default: models/flowers.keras, or signs.keras and so on]",
)
@several
@options.others
@click.option("--folds", default=0, metavar="K", help="Also cross-validate over K folds.")
@click.option(
    "--export/--no-export",
    default=True,
    show_default=True,
    help="Also write the form (.tflite) with which `flowers predict` answers at once.",
)
@click.option("--profile", is_flag=True, help="Say at the end where the time went.")
def train(
    source: str,
    model: Path | None,
    data: Path,
    folds: int,
    labels: Path | None,
    cache_gb: float | None,
    others: Path | None,
    devices: int | None,
    coordinator: str | None,
    processes: int | None,
    process: int | None,
    export: bool,
    profile: bool,
    **choices: object,
) -> None:
    """Photos in, a measured model out: get, check, train, judge, save."""
    model = model or Path("models") / f"{set_name(source)}.keras"
    if model.suffix != ".keras":
        raise InputError("a model file ending in .keras", str(model), "Correct --out.")
    group = hosts.hosts(coordinator, processes, process)
    if group is not None and folds:
        raise InputError("cross-validation on one host", "several", "Leave out --folds.")
    config = configured(source, names=choices.pop("phases"), **choices)
    files.require_space(model.parent, MODEL_SPACE, "the model and its report")
    # before Keras is imported, which costs seconds: what is wrong with the photos is said at once
    from flowers.data import prepared

    clock, room = Clock(), None if cache_gb is None else int(cache_gb * 1e9)
    with clock.during("reading"):
        ready = prepared.prepare(source, config, data=data, labels=labels, room=room, say=say)
    with clock.during("starting"):
        with quiet():
            from flowers import pipeline
            from flowers.train import device
        replicas = device.several(devices, group, data, say)
    outcome = pipeline.run(
        ready,
        config,
        data=data,
        model=model,
        folds=folds,
        others=others,
        replicas=replicas,
        export=export,
        say=say,
        command=" ".join(["flowers", *sys.argv[1:]]),
        clock=clock,
    )
    if outcome is not None:
        click.echo(outcome.as_text())
    if profile:
        click.echo(f"\n{clock.profile().as_text()}")


@click.command()
@recipe
@cache_gb
@click.option("--trials", default=30, show_default=True, type=click.IntRange(1))
@click.option(
    "--workers",
    default=1,
    show_default=True,
    type=click.IntRange(1, 64),
    help="Processes that search at once, on one storage.",
)
@click.option(
    "--storage",
    default=None,
    type=click.Path(path_type=Path),
    help="SQLite file of the search; the same command goes on from it.  [default: tune.sqlite3 "
    "in --data-dir]",
)
@click.option(
    "--out",
    default="best.toml",
    show_default=True,
    type=click.Path(path_type=Path),
    help="The best configuration, for `flowers train --config`.",
)
@click.option(
    "--folds",
    default=5,
    show_default=True,
    metavar="K",
    help="Over which the best is compared with the default; 0 leaves that out.",
)
def tune(
    source: str,
    data: Path,
    labels: Path | None,
    cache_gb: float | None,
    trials: int,
    workers: int,
    storage: Path | None,
    out: Path,
    folds: int,
    **choices: object,
) -> None:
    """Photos in, a better configuration out: searches rates, smoothing, dropout, augmentation."""
    fixed = choices["phases"] is not None
    config = configured(source, names=choices.pop("phases"), **choices)
    if out.suffix != ".toml":
        raise InputError("a configuration file ending in .toml", str(out), "Correct --out.")
    if folds == 1 or folds < 0:
        raise InputError("at least two folds, or 0 for none", str(folds), "Correct --folds.")
    from flowers.data import prepared

    room = None if cache_gb is None else int(cache_gb * 1e9)
    ready = prepared.prepare(source, config, data=data, labels=labels, room=room, say=say)
    with quiet():
        from flowers.tuning import search as searches

    search = searches.Search(
        trials=trials,
        workers=workers,
        storage=storage or data / "tune.sqlite3",
        folds=folds,
        fixed_phases=fixed,
    )
    tuned = searches.run(ready, config, search, data=data, room=room, say=say)
    config_file.write(out, tuned.config, tuned.as_text())
    click.echo(tuned.as_text())
    say(f"written: {out}; train with it: flowers train --config {out}")
