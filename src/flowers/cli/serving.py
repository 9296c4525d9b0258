"""flowers serve: the page and the REST API."""

from __future__ import annotations

import contextlib
from pathlib import Path

import click

from flowers.cli.options import say
from flowers.quiet import quiet

_ENDINGS = (".int8.tflite", ".tflite", ".onnx")
LIGHTEST_FIRST = tuple(Path("models", f"flowers{ending}") for ending in _ENDINGS)
TRAINED = Path("models", "flowers.keras")


@click.command()
@click.argument("model", required=False, type=click.Path(path_type=Path))
@click.option("--host", default="127.0.0.1", show_default=True, help="0.0.0.0: for other machines.")
@click.option("--port", default=8000, show_default=True, type=click.IntRange(0, 65535))
def serve(model: Path | None, host: str, port: int) -> None:
    """Show the page and the REST API of MODEL.

    By default the first that is there of models/flowers.int8.tflite, .tflite, .onnx and .keras;
    an exported model starts at once and needs no TensorFlow.
    """
    import logging

    from flowers.ship.predictor import Predictor
    from flowers.web.app import create_app
    from flowers.web.server import serve as run

    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(message)s")
    path = model or next((path for path in LIGHTEST_FIRST if path.is_file()), TRAINED)
    with quiet() if path.suffix == ".keras" else contextlib.nullcontext():
        app = create_app(Predictor.load(path))
    run(app, host, port, started=lambda address: say(f"{path} at {address} (Ctrl-C stops it)"))
