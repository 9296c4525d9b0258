"""flowers export | predict: a saved model proved in other formats, and at work."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from flowers.cli import options, serving
from flowers.cli.options import say
from flowers.errors import InputError, PhotoError, WorldError
from flowers.quiet import quiet

if TYPE_CHECKING:
    from flowers.ship.predictor import Prediction, Predictor

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
@click.argument("photos", metavar="SOURCE...", nargs=-1, required=True)
@click.option(
    "--model",
    default=None,
    type=click.Path(path_type=Path),
    help="[default: models/flowers.keras, or the same in a quicker form beside it; with --out the "
    "first exported one there]",
)
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
@click.option(
    "--out",
    default=None,
    type=click.Path(path_type=Path),
    help="Folder for Parquet shards: for many photos. The same command goes on after a crash.",
)
@click.option(
    "--engine",
    default="local",
    show_default=True,
    type=click.Choice(["local", "ray"]),
    help="With --out: processes of this machine, or Ray Data.",
)
@click.option("--ray-address", "address", default=None, help="HOST:PORT of a Ray cluster, or auto.")
@click.option(
    "--shard", default=None, type=click.IntRange(1), help="Photos of a shard.  [default: 1000]"
)
@click.option(
    "--batch",
    default=64,
    show_default=True,
    type=click.IntRange(1),
    help="Photos that a worker is given at a time.",
)
@click.option(
    "--workers", default=None, type=click.IntRange(1), help="Processes.  [default: one a core]"
)
def predict(
    photos: tuple[str, ...],
    model: Path | None,
    out: Path | None,
    engine: str,
    address: str | None,
    shard: int | None,
    **choices: Any,
) -> None:
    """Say what is on each photo of SOURCE: files or folders.

    The model may be a .keras, .tflite or .onnx file. The last two answer at once, and one of them
    is taken by default where `flowers train` or `flowers export` has left it.

    With --out, for millions of photos: SOURCE is a folder, a glob in quotes, a list file (a path or
    URI a line), or the URI of a bucket or folder (s3://bucket/photos). A table of shards is
    written, a row a photo: path, sha256, label, probabilities, set, novelty, known, error.
    """
    if out is None:
        if engine != "local" or address or shard:
            raise InputError(
                "--out with --engine, --ray-address or --shard", "none", "Name a folder: --out DIR."
            )
        _a_few(photos, model, choices)
        return
    if choices["table"] or choices["as_json"]:
        raise InputError("--out alone", "--csv or --json as well", "Leave one of them out.")
    if address and engine != "ray":
        raise InputError("--engine ray with --ray-address", engine, "Add --engine ray.")
    from flowers.scoring import job
    from flowers.scoring.plan import Plan

    plan = Plan(
        model=model or serving.lightest(),
        views=choices["views"],
        workers=choices["workers"],
        batch=choices["batch"],
        address=address,
    )
    click.echo(job.run(photos, out, plan, engine=engine, shard=shard, say=say).as_text())


def _a_few(photos: Sequence[str], model: Path | None, choices: Mapping[str, Any]) -> None:
    """A line, an object or a row of CSV for each photo."""
    from flowers import files
    from flowers.data import listing

    paths = [path for photo in photos for path in listing.photos_at(photo)]
    predictor = _opened(model, choices["views"], len(paths))
    width = max((len(str(path)) for path in paths), default=0)
    found: list[tuple[str, Prediction]] = []
    refused = 0
    for path, answer in predictor.predict_many(paths):
        if isinstance(answer, PhotoError):
            refused += 1
            say(f"{path}: {answer}")
            continue
        found.append((str(path), answer))
        if choices["as_json"]:
            click.echo(json.dumps({"path": str(path), **answer.as_dict()}, ensure_ascii=False))
        else:
            click.echo(line(f"{path}:".ljust(width + 1), answer))
    if table := choices["table"]:
        files.write_text(table, as_csv(found, predictor.card.labels))
        say(f"wrote {table}")
    if refused:
        raise InputError(
            "photos", f"{refused} of {len(paths)} files that are none", "See the lines above."
        )


def _opened(model: Path | None, views: int, count: int) -> Predictor:
    """The model that was named; else the usual one, in the form that answers soonest."""
    with quiet():
        from flowers.ship.predictor import Predictor

        if model is not None:
            return Predictor.load(model, views, count=count)
        predictor, opened = Predictor.load_quickest(serving.TRAINED, views, count)
    if opened == serving.TRAINED:
        say(f"{opened}, with TensorFlow; `flowers export --format litert` makes it answer at once")
    return predictor


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
