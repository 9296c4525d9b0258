"""The command `flowers`: parses, calls, prints. TensorFlow is imported only where it is used."""

from __future__ import annotations

import logging
import os
import signal
import sys
from typing import NoReturn

import click

from flowers import __version__
from flowers.cli import judging, photos, serving, shipping, training
from flowers.cli.options import say
from flowers.errors import FlowersError, InputError, WorldError


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="flowers")
@click.option("--debug", is_flag=True, help="Show the traceback of an error.")
def flowers(debug: bool) -> None:
    """A folder of photos in; a classifier its owner can trust, explain and ship out."""


for command in (
    *(photos.get, photos.check, training.train, training.tune),
    *(judging.evaluate, judging.compare, judging.explain, judging.similar, judging.audit),
    *(shipping.export, shipping.predict, serving.serve),
):
    flowers.add_command(command)


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
        say(message)
        _leave(code)


def _leave(code: int) -> NoReturn:
    """Ends the process now, where TensorFlow was at work.

    An error in the middle of training leaves an iterator behind whose destructor, run while Python
    shuts down, can wait for a thread that waits for Python: the process would never end.
    """
    if not {"tensorflow", "jax"} & sys.modules.keys():
        sys.exit(code)
    logging.shutdown()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


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
            extra = next((name for name in ("serve", "tune") if name in sys.argv), "train,export")
            extra = "jax" if error.name == "jax" else extra  # what KERAS_BACKEND asks for
            remedy = f"Install them: pip install 'flowers[{extra}]'."
            return str(InputError(needed, str(error), remedy)), 2
        case MemoryError():
            remedy = "Close programs, or use a smaller --size."
            return str(WorldError("enough memory", "none is left", remedy)), 3
        case OSError():
            needed = "files that can be read and written"
            return str(WorldError(needed, str(error), "Check the disk and the path.")), 3
    kind = type(error).__name__
    return f"A fault of flowers itself: {kind}: {error}. `flowers --debug ...` shows where.", 1
