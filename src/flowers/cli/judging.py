"""flowers evaluate: how good a saved model is."""

from __future__ import annotations

from pathlib import Path

import click

from flowers.cli import options
from flowers.cli.options import quiet, say


@click.command()
@click.argument("model", default="models/flowers.keras", type=click.Path(path_type=Path))
@options.source
@options.folder
@click.option(
    "--out",
    "folder",
    default=None,
    type=click.Path(path_type=Path),
    help="Folder of the report.  [default: MODEL without its ending, -evaluation]",
)
def evaluate(model: Path, source: str, data: Path, folder: Path | None) -> None:
    """Measure MODEL on photos it has not seen: report.html, report.json, predictions.csv.

    On the photos it was trained on these are its test photos; of other photos all are taken
    but those that it has seen.
    """
    with quiet():
        from flowers import evaluation

    outcome = evaluation.evaluate(model, source, data=data, folder=folder, say=say)
    click.echo(outcome.as_text())
