"""flowers serve: the page and the REST API."""

from __future__ import annotations

import contextlib
import ipaddress
from pathlib import Path
from typing import TYPE_CHECKING

import click

from flowers.cli.options import say
from flowers.errors import InputError
from flowers.quiet import quiet

if TYPE_CHECKING:
    from flask import Flask

    from flowers.ship.predictor import Predictor
    from flowers.web.similar_photos import SimilarPhotos

_ENDINGS = (".int8.tflite", ".tflite", ".onnx")
LIGHTEST_FIRST = tuple(Path("models", f"flowers{ending}") for ending in _ENDINGS)
TRAINED = Path("models", "flowers.keras")


@click.command()
@click.argument("model", required=False, type=click.Path(path_type=Path))
@click.option("--host", default="127.0.0.1", show_default=True, help="0.0.0.0: for other machines.")
@click.option("--port", default=8000, show_default=True, type=click.IntRange(0, 65535))
@click.option(
    "--similar/--no-similar",
    default=None,
    help="Show visitors training photos like theirs.  [default: where --host is this machine]",
)
def serve(model: Path | None, host: str, port: int, similar: bool | None) -> None:
    """Show the page and the REST API of MODEL.

    By default the first of models/flowers.int8.tflite, .tflite, .onnx and .keras that is there and
    of the present model; an exported model starts at once and needs no TensorFlow.
    """
    import logging

    from flowers.web.server import serve as run

    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(message)s")
    path = model or lightest()
    with quiet() if path.suffix == ".keras" else contextlib.nullcontext():
        app, line = _application(path, host, similar)
    if line:
        say(line)
    run(app, host, port, started=lambda address: say(f"{path} at {address} (Ctrl-C stops it)"))


def lightest() -> Path:
    """The first of `LIGHTEST_FIRST` that the present model's card knows, else the model itself."""
    from flowers.ship import card as cards

    return next((path for path in LIGHTEST_FIRST if cards.describes(path)), TRAINED)


def _application(path: Path, host: str, similar: bool | None) -> tuple[Flask, str]:
    """The page and its API, and what to say of similar photos.

    It alone holds the opened model: what a caller held as well could not be let go.
    """
    from flowers.web.app import create_app
    from flowers.web.pool import Opener

    opener = Opener(path)
    predictor = opener()
    found, line = _similar(path, predictor, similar, host)
    again = opener if opener.several else None
    alone = found is not None and similar is None  # shown because nobody else can ask
    hosts = {"localhost", "127.0.0.1", "::1", host} if alone else None
    return create_app(predictor, similar=found, open_again=again, hosts=hosts), line


def _similar(
    path: Path, predictor: Predictor, wanted: bool | None, host: str
) -> tuple[SimilarPhotos | None, str]:
    """The training photos to show, None where they are not to be or cannot be; and what to say.

    Raises:
        InputError: they are wanted, and there are none.
    """
    if wanted is False or (wanted is None and not _of_this_machine(host)):
        return None, ""
    from flowers.web.similar_photos import SimilarPhotos

    try:
        found = SimilarPhotos.of(path, predictor)
    except InputError as error:
        if wanted:
            raise
        return None, f"no similar photos: expected {error.expected}, received {error.received}"
    return found, f"similar photos from {found.root} are shown (not with --no-similar)"


def _of_this_machine(host: str) -> bool:
    """Whether what listens at `host` is out of other machines' reach."""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
