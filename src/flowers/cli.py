"""The command `flowers`: parses, calls, prints. TensorFlow is imported only where it is used."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sys
from dataclasses import replace
from pathlib import Path

import click

from flowers import __version__
from flowers.config import DEFAULT, phases
from flowers.errors import FlowersError, InputError, PhotoError, WorldError

SOURCE_HELP = (
    "auto | kaggle | mirror | painted | a folder of class folders | a zip or tgz. "
    "auto takes the first that is there or reachable."
)


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="flowers")
@click.option("--debug", is_flag=True, help="Show the traceback of an error.")
def flowers(debug: bool) -> None:
    """A folder of photos in; a classifier its owner can trust, explain and ship out."""


@flowers.command()
@click.argument("source", default="auto")
@click.option(
    "--data",
    default="data",
    type=click.Path(path_type=Path),
    show_default=True,
    help="Folder for downloads.",
)
@click.option("--seed", default=DEFAULT.seed, show_default=True, help="Of painted photos.")
def get(source: str, data: Path, seed: int) -> None:
    """Get photos: SOURCE is auto, kaggle, mirror, painted, a folder, a zip or a tgz."""
    from flowers.data import sources

    found = sources.get(source, data, seed=seed)
    _say(found.reason)
    click.echo(found.folder)


@flowers.command()
@click.argument("source", default="auto")
@click.option(
    "--data",
    default="data",
    type=click.Path(path_type=Path),
    show_default=True,
    help="Folder for downloads.",
)
@click.option("--csv", type=click.Path(path_type=Path), help="Write the catalogue here.")
@click.option("--seed", default=DEFAULT.seed, show_default=True, help="Of the split.")
def check(source: str, data: Path, csv: Path | None, seed: int) -> None:
    """List all that is wrong with a set of photos, in one pass."""
    from flowers.data import catalogue, findings, sources

    found = sources.get(source, data, seed=seed)
    _say(found.reason)
    listed = catalogue.build(found.folder, seed=seed, shares=DEFAULT.shares)
    click.echo(findings.as_text(findings.findings(listed)))
    if csv:
        click.echo(f"catalogue: {listed.save(csv)}")
    catalogue.require_trainable(listed)


@flowers.command()
@click.option("--data", "source", default="auto", show_default=True, help=SOURCE_HELP)
@click.option(
    "--weights",
    default=DEFAULT.weights,
    show_default=True,
    help="auto | imagenet | none | a file: of the backbone.",
)
@click.option(
    "--out",
    "model",
    default="models/flowers.keras",
    show_default=True,
    type=click.Path(path_type=Path),
    help="The model file to write.",
)
@click.option(
    "--data-dir",
    "data",
    default="data",
    show_default=True,
    type=click.Path(path_type=Path),
    help="Folder for downloads and caches.",
)
@click.option("--seed", default=DEFAULT.seed, show_default=True, help="Of everything random.")
@click.option("--size", default=DEFAULT.size, show_default=True, help="Side of the photos, px.")
@click.option(
    "--backbone",
    default=DEFAULT.backbone,
    show_default=True,
    help="resnet50 | miniature (for trying out).",
)
@click.option(
    "--phases",
    default=None,
    metavar="NAMES",
    help="Comma-separated: head, stage, all. Default: head,stage; on a GPU also all.",
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
@click.option("--folds", default=0, metavar="K", help="Also cross-validate over K folds.")
def train(source: str, model: Path, data: Path, folds: int, **choices: object) -> None:
    """Photos in, a measured model out: get, check, train, judge, save."""
    if model.suffix != ".keras":
        raise InputError("a model file ending in .keras", str(model), "Correct --out.")
    with _quiet():
        from flowers import pipeline

    names, epochs, rate = (choices.pop(name) for name in ("phases", "epochs", "rate"))
    if names or epochs or rate:
        choices["phases"] = phases(names or "head,stage", epochs, rate)
    config = replace(DEFAULT, **choices)
    command = " ".join(["flowers", *sys.argv[1:]])
    outcome = pipeline.run(
        source, config, data=data, model=model, say=_say, command=command, folds=folds
    )
    click.echo(outcome.as_text())


@flowers.command()
@click.argument("model", default="models/flowers.keras", type=click.Path(path_type=Path))
@click.option("--data", "source", default="auto", show_default=True, help=SOURCE_HELP)
@click.option(
    "--data-dir",
    "data",
    default="data",
    show_default=True,
    type=click.Path(path_type=Path),
    help="Folder for downloads and caches.",
)
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
    with _quiet():
        from flowers import evaluation

    outcome = evaluation.evaluate(model, source, data=data, folder=folder, say=_say)
    click.echo(outcome.as_text())


@flowers.command()
@click.argument("photos", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option(
    "--model", default="models/flowers.keras", show_default=True, type=click.Path(path_type=Path)
)
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
def predict(photos: tuple[Path, ...], model: Path, as_json: bool) -> None:
    """Say what is on each of PHOTOS (files or folders)."""
    from flowers.data import listing
    from flowers.ship.predictor import Predictor

    paths = [path for photo in photos for path in listing.photos_at(photo)]
    with _quiet():
        predictor = Predictor.load(model)
    refused = 0
    for path, answer in predictor.predict_many(paths):
        if isinstance(answer, PhotoError):
            refused += 1
            _say(f"{path}: {answer}")
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


def main() -> None:
    """Runs the command. Exit codes: 0, 2 for the user's input, 3 for the world."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    for signal_number in (signal.SIGTERM, getattr(signal, "SIGHUP", signal.SIGTERM)):
        signal.signal(signal_number, signal.default_int_handler)  # stop as Ctrl-C does
    try:
        flowers.main(standalone_mode=False)
    except (Exception, KeyboardInterrupt) as error:
        if "--debug" in sys.argv:
            raise
        message, code = _explained(error)
        _say(message)
        sys.exit(code)


def _explained(error: BaseException) -> tuple[str, int]:
    """The message and the exit code of an error."""
    match error:
        case FlowersError():
            return str(error), error.exit_code
        case click.ClickException():
            usage = (
                f"\nTry `{error.ctx.command_path} --help`." if getattr(error, "ctx", None) else ""
            )
            return error.format_message() + usage, 2
        case KeyboardInterrupt() | click.Abort():
            return "Stopped. What was finished is kept; the same command goes on from there.", 3
        case ImportError():
            needed = "every package that this command needs"
            remedy = "Install them: pip install 'flowers[train]'."
            return str(InputError(needed, str(error), remedy)), 2
        case MemoryError():
            remedy = "Close programs, or use a smaller --size."
            return str(WorldError("enough memory", "none is left", remedy)), 3
        case OSError():
            needed = "files that can be read and written"
            return str(WorldError(needed, str(error), "Check the disk and the path.")), 3
    kind = type(error).__name__
    return f"A fault of flowers itself: {kind}: {error}. `flowers --debug ...` shows where.", 1


def _say(line: str) -> None:
    click.echo(line, err=True)


@contextlib.contextmanager
def _quiet():
    """Silences what TensorFlow's C++ prints while it is imported; errors still come through."""
    sys.stderr.flush()
    kept = os.dup(2)
    try:
        with Path(os.devnull).open("wb") as nowhere:
            os.dup2(nowhere.fileno(), 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
