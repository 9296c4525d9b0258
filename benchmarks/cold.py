"""How long a command takes from nothing, and how much memory, beside `import tensorflow`.

    .venv/bin/python benchmarks/cold.py --model models/flowers.keras

`flowers --help` is asked, and where a model is named `flowers predict` about one photo: as it is by
default, by the int8 export beside the model where there is one, and by the model itself. Each is a
process of its own. A first round is not counted: in it modules are compiled to bytecode, into a
folder of the benchmark's own, and files come into the operating system's cache.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from pathlib import Path

import engines
import interleaved
import predicting
import sample
from interleaved import Row

COMMAND = (sys.executable, "-c", "from flowers.cli import main; main()")
BYTECODE = Path(__file__).resolve().parent / "work" / "bytecode"
TENSORFLOW = (sys.executable, "-c", "import tensorflow")


def main() -> None:
    """Prints a table."""
    arguments = _arguments()
    interleaved.finish(run(arguments), arguments)


def run(arguments: argparse.Namespace) -> list[Row]:
    """Time and memory of each command beside the import."""
    with tempfile.TemporaryDirectory(prefix="cold-") as name:
        work = Path(name)
        photo = (arguments.photo or sample.paths(None, work, 5)[0]).resolve()
        if arguments.backbone and not arguments.model:
            arguments.model = predicting.exported(work / "made", arguments)
        commands = {"flowers --help": (*COMMAND, "--help"), **_asked(photo, arguments.model, work)}
        commands["import tensorflow"] = TENSORFLOW
        memory: dict[str, list[float]] = {name: [] for name in commands}
        environment = _environment()

        def side(name: str) -> float:
            seconds, megabytes = interleaved.peak(commands[name], work, environment)
            memory[name].append(megabytes)
            return seconds

        for name, command in commands.items():
            seconds, _ = interleaved.peak(command, work, environment)
            interleaved.say(f"{name}: {seconds:.2f} s, not counted")
        found = interleaved.measure(
            {name: lambda name=name: side(name) for name in commands}, arguments.rounds
        )
    *ours, theirs = commands
    rows = []
    for name in ours:
        names = (name, theirs)
        rows.append(Row(f"{name}, time", "s", names, found[name], found[theirs]))
        held = tuple(memory[name]), tuple(memory[theirs])
        rows.append(Row(f"{name}, peak memory", "MB", names, *held))
    return rows


def _environment() -> dict[str, str]:
    """Bytecode is kept for all commands alike, whatever the user's settings are.

    Where Python is told to write none, an installed TensorFlow may have its own beside it while
    the project would be compiled anew each time.
    """
    kept = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    return kept | {"PYTHONPYCACHEPREFIX": str(BYTECODE)}


def _asked(photo: Path, model: Path | None, work: Path) -> dict[str, tuple[str, ...]]:
    """`flowers predict` in a folder whose models/ is that of the model, in several ways."""
    if model is None:
        return {}
    if model.name != "flowers.keras":
        raise SystemExit(f"expected a model called flowers.keras; received {model}")
    (work / "models").symlink_to(model.resolve().parent)
    asked = (*COMMAND, "predict", str(photo))
    commands = {"flowers predict": asked}
    for name, file in (("int8", "flowers.int8.tflite"), (".keras", model.name)):
        if (work / "models" / file).is_file():
            commands[f"flowers predict, {name}"] = (*asked, "--model", f"models/{file}")
    return commands


def _arguments() -> argparse.Namespace:
    parser = interleaved.parser(__doc__, rounds=7)
    parser.add_argument("--model", type=Path, help="flowers.keras with its exports beside it")
    parser.add_argument("--backbone", help="of a model to make; without either only --help")
    parser.add_argument("--size", type=int, default=224, help="px of a side, of that one")
    parser.add_argument("--photo", type=Path, help="a real or painted one when left out")
    found = parser.parse_args()
    found.engines = (engines.DEFAULT, engines.INT8)  # what the model that is made has beside it
    return found


if __name__ == "__main__":
    main()
