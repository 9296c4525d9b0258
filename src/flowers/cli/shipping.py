"""flowers predict: a saved model at work."""

from __future__ import annotations

import json
from pathlib import Path

import click

from flowers.cli import options
from flowers.cli.options import quiet, say
from flowers.errors import InputError, PhotoError


@click.command()
@click.argument("photos", nargs=-1, required=True, type=click.Path(path_type=Path))
@options.model
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
def predict(photos: tuple[Path, ...], model: Path, as_json: bool) -> None:
    """Say what is on each of PHOTOS (files or folders)."""
    from flowers.data import listing
    from flowers.ship.predictor import Predictor

    paths = [path for photo in photos for path in listing.photos_at(photo)]
    with quiet():
        predictor = Predictor.load(model)
    refused = 0
    for path, answer in predictor.predict_many(paths):
        if isinstance(answer, PhotoError):
            refused += 1
            say(f"{path}: {answer}")
        elif as_json:
            facts = {"path": str(path), "label": answer.label, "probability": answer.probability}
            click.echo(json.dumps({**facts, "scores": answer.scores}, ensure_ascii=False))
        else:
            others = ", ".join(f"{name} {p:.1%}" for name, p in list(answer.scores.items())[1:3])
            click.echo(f"{path}: {answer.label} {answer.probability:.1%} ({others})")
    if refused:
        raise InputError(
            "photos", f"{refused} of {len(paths)} files that are none", "See the lines above."
        )
