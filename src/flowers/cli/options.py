"""Options that several commands share, and how all of them talk."""

from __future__ import annotations

from pathlib import Path

import click

SOURCE_HELP = (
    "auto | kaggle | mirror | painted | signs | cifar10 | caltech101 (or signs:PATH and so on) | "
    "a folder of class folders | a zip or tgz. auto takes the first flowers that are there or "
    "reachable."
)

source = click.option("--data", "source", default="auto", show_default=True, help=SOURCE_HELP)
downloads = click.option(
    "--data-dir",
    "data",
    default="data",
    type=click.Path(path_type=Path),
    show_default=True,
    help="Folder for downloads.",
)
folder = click.option(
    "--data-dir",
    "data",
    default="data",
    show_default=True,
    type=click.Path(path_type=Path),
    help="Folder for downloads and caches.",
)
weights = click.option(
    "--weights",
    default=None,
    help="auto | imagenet | none | a file: of the backbone.  [default: auto; none from scratch]",
)
others = click.option(
    "--others",
    default=None,
    type=click.Path(path_type=Path),
    help="A folder of photos of other things: measures how many are refused.",
)
model = click.option(
    "--model", default="models/flowers.keras", show_default=True, type=click.Path(path_type=Path)
)


def say(line: str) -> None:
    """One line for people: on stderr, so that stdout holds results alone."""
    click.echo(line, err=True)
