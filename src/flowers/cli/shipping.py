"""flowers export | predict: a saved model proved in other formats, and at work."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from flowers.cli import options
from flowers.cli.options import say
from flowers.errors import InputError, PhotoError, WorldError
from flowers.quiet import quiet

if TYPE_CHECKING:
    from flowers.ship.predictor import Prediction

NAMES = ("keras", "savedmodel", "onnx", "litert", "litert-int8", "openvino", "all")


@click.command()
@click.argument("model", default="models/flowers.keras", type=click.Path(path_type=Path))
@click.option(
    "--format",
    "formats",
    multiple=True,
    default=("all",),
    show_default=True,
    type=click.Choice(NAMES),
    help="Of the files to write beside MODEL; may be given several times.",
)
@click.option(
    "--data",
    "source",
    default=None,
    help="Where the photos are that MODEL was trained on.  [default: where they were]",
)
@options.folder
def export(model: Path, formats: tuple[str, ...], source: str | None, data: Path) -> None:
    """Write MODEL in other formats, each proved on all test photos by its own runtime.

    A file that disagrees with MODEL is not written, and the exit code is 3.
    """
    with quiet():
        from flowers.ship import export as exports

    exported = exports.run(model, formats, source, data=data, say=say)
    click.echo(exported.as_text())
    if exported.refused:
        names = ", ".join(name for name, _ in exported.refused)
        raise WorldError(
            "every format to agree with the Keras model",
            f"{names} below the gate",
            "Nothing was written for it; use another format.",
        )


@click.command()
@click.argument("photos", nargs=-1, required=True, type=click.Path(path_type=Path))
@options.model
@click.option(
    "--csv", "table", type=click.Path(path_type=Path), help="Also write the answers as CSV here."
)
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
@click.option(
    "--tta",
    "views",
    default=1,
    show_default=True,
    type=click.IntRange(1, 16),
    help="Looks at each photo that are averaged (test-time augmentation).",
)
def predict(
    photos: tuple[Path, ...], model: Path, table: Path | None, as_json: bool, views: int
) -> None:
    """Say what is on each of PHOTOS (files or folders).

    The model may be a .keras, .tflite or .onnx file. The last two answer at once.
    """
    from flowers import files
    from flowers.data import listing

    with quiet():
        from flowers.ship.predictor import Predictor

        predictor = Predictor.load(model, views)
    paths = [path for photo in photos for path in listing.photos_at(photo)]
    width = max((len(str(path)) for path in paths), default=0)
    found: list[tuple[str, Prediction]] = []
    refused = 0
    for path, answer in predictor.predict_many(paths):
        if isinstance(answer, PhotoError):
            refused += 1
            say(f"{path}: {answer}")
            continue
        found.append((str(path), answer))
        if as_json:
            click.echo(json.dumps({"path": str(path), **answer.as_dict()}, ensure_ascii=False))
        else:
            click.echo(line(f"{path}:".ljust(width + 1), answer))
    if table:
        files.write_text(table, as_csv(found, predictor.card.labels))
        say(f"wrote {table}")
    if refused:
        raise InputError(
            "photos", f"{refused} of {len(paths)} files that are none", "See the lines above."
        )


def line(path: str, answer: Prediction) -> str:
    """One photo's row of the table: the answer in words, then the likeliest classes."""
    likeliest = ", ".join(f"{name} {share:.1%}" for name, share in list(answer.scores.items())[:3])
    return f"{path} {answer.as_text()}  ({likeliest})"


def as_csv(found: Sequence[tuple[str, Prediction]], labels: Sequence[str]) -> str:
    """A row a photo: the answer, the probability of each class in the order of `labels`."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(
        ["path", "answer", "label", "probability", "names", "known", "novelty", *labels]
    )
    for path, answer in found:
        facts = answer.as_dict()
        known = "" if answer.known is None else str(answer.known).lower()
        row = [path, facts["answer"], answer.label, answer.probability, "|".join(answer.names)]
        row += [known, "" if answer.novelty is None else answer.novelty]
        writer.writerow([*row, *(answer.scores[label] for label in labels)])
    return text.getvalue()
