"""flowers evaluate | compare | explain | similar | audit: how far to trust a saved model."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import click

from flowers.cli import options
from flowers.cli.options import say
from flowers.config import DEFAULT
from flowers.errors import InputError
from flowers.quiet import quiet


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
@options.others
@click.option(
    "--quick",
    is_flag=True,
    help="Leave out what takes minutes: photos made worse, several views, heat maps put to the "
    "test.",
)
@click.option(
    "--photos",
    "worse",
    default=100,
    show_default=True,
    type=click.IntRange(0),
    help="How many photos are made worse: 31 forward passes each.",
)
@click.option(
    "--maps",
    default=40,
    show_default=True,
    type=click.IntRange(0),
    help="How many heat maps are put to the test: 57 forward passes each.",
)
@click.option(
    "--tta",
    "views",
    default=4,
    show_default=True,
    type=click.IntRange(0, 16),
    help="Views of a photo that are averaged, to see what that gains (test-time augmentation).",
)
def evaluate(
    model: Path,
    source: str,
    data: Path,
    folder: Path | None,
    others: Path | None,
    quick: bool,
    **counts: int,
) -> None:
    """Measure MODEL on photos it has not seen: report.html, report.json, predictions.csv.

    On the photos it was trained on these are its test photos; of other photos all are taken
    but those that it has seen.
    """
    with quiet():
        from flowers import evaluation
        from flowers.judge import assessment

    outcome = evaluation.evaluate(
        model,
        source,
        data=data,
        folder=folder,
        others=others,
        effort=assessment.NONE if quick else assessment.Effort(**counts),
        say=say,
    )
    click.echo(outcome.as_text())


@click.command()
@click.argument("first", type=click.Path(path_type=Path))
@click.argument("second", type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="The numbers as JSON.")
def compare(first: Path, second: Path, as_json: bool) -> None:
    """Is one of two models better? FIRST and SECOND name models, their folders or predictions.csv.

    Both must have been measured on the same photos. The test is McNemar's: it looks at the photos
    on which only one of the two is right.
    """
    from flowers.judge import comparison

    names = (first.stem, second.stem) if first.stem != second.stem else (str(first), str(second))
    tables = [comparison.read_predictions(place) for place in (first, second)]
    found = comparison.compare_tables(*tables, names)
    click.echo(json.dumps(found.as_dict(), ensure_ascii=False) if as_json else found.as_text())


@click.command()
@click.argument("photos", nargs=-1, required=True, type=click.Path(path_type=Path))
@options.model
@click.option("--class", "label", default=None, help="What to look for.  [default: its answer]")
@click.option(
    "--out",
    "folder",
    default=Path(),
    type=click.Path(path_type=Path),
    help="Folder for the pictures.  [default: this one]",
)
def explain(photos: tuple[Path, ...], model: Path, label: str | None, folder: Path) -> None:
    """Show what in each of PHOTOS speaks for a class: writes PHOTO-why.png."""
    from flowers.data import listing

    paths = [path for photo in photos for path in listing.photos_at(photo)]
    with quiet():
        from flowers import answers

        opened = answers.Model.load(model)
    for path in paths:
        target = folder / f"{path.stem}-why.png"
        found = answers.write_why(opened, path, target, label)
        click.echo(f"{path}: {opened.card.labels[found.label]} {found.probability:.1%}: {target}")


@click.command()
@click.argument("photo", type=click.Path(path_type=Path))
@options.model
@click.option("--count", default=5, show_default=True, type=click.IntRange(1), help="How many.")
def similar(photo: Path, model: Path, count: int) -> None:
    """List the training photos that are most like PHOTO."""
    with quiet():
        from flowers import answers

        opened = answers.Model.load(model)
    for found in answers.similar(opened, photo, count):
        click.echo(f"{found.similarity:.3f}  {found.label}  {found.path}")


@click.command()
@click.argument("source", default="auto")
@options.weights
@options.folder
@click.option(
    "--out",
    default=Path("labels.csv"),
    type=click.Path(path_type=Path),
    help="The table to write; a gallery, .html, goes beside it.  [default: labels.csv]",
)
@click.option("--seed", default=DEFAULT.seed, show_default=True, help="Of the folds.")
@click.option("--plant", is_flag=True, help="Also flip 5 % of the labels and count those found.")
def audit(source: str, weights: str | None, data: Path, out: Path, seed: int, plant: bool) -> None:
    """Find labels of SOURCE that look wrong: labels.csv to edit, and a gallery to look through.

    Write relabel, remove or keep into the last column, then run `flowers train --labels
    labels.csv`. Your photos stay where they are, as they are.
    """
    if out.suffix != ".csv":
        raise InputError("a table ending in .csv", str(out), "Correct --out.")
    with quiet():
        from flowers import auditing

    config = replace(DEFAULT, weights=weights or DEFAULT.weights, seed=seed)
    found = auditing.run(source, config, data=data, out=out, plant=plant, say=say)
    click.echo(f"{len(found.audit.issues):,} of {found.audit.photos:,} labels look wrong")
    if found.planted:
        planted = found.planted
        click.echo(
            f"planted: {planted.found} of {planted.flipped} flipped labels found "
            f"({planted.found_share:.1%}), {planted.accused_share:.1%} of the others accused"
        )
    click.echo(f"table:   {found.table}\ngallery: {found.gallery}")
