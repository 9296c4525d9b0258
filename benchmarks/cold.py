"""How long a command takes from nothing, and how much memory, beside `import tensorflow`.

    .venv/bin/python benchmarks/cold.py --model models/flowers.int8.tflite

`flowers --help` is asked, and `flowers predict` about one photo where a model is named; each in a
process of its own. The files lie in the operating system's cache after the first round.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

import interleaved
import sample
from interleaved import Row

COMMAND = (sys.executable, "-c", "from flowers.cli import main; main()")
TENSORFLOW = (sys.executable, "-c", "import tensorflow")


def main() -> None:
    """Prints a table."""
    arguments = _arguments()
    interleaved.finish(run(arguments), arguments)


def run(arguments: argparse.Namespace) -> list[Row]:
    """Time and memory of each command beside the import."""
    with tempfile.TemporaryDirectory(prefix="cold-") as work:
        photo = arguments.photo or sample.paths(None, Path(work), 5)[0]
        commands = {"flowers --help": (*COMMAND, "--help")}
        if arguments.model:
            asked = ("predict", str(photo), "--model", str(arguments.model))
            commands[f"flowers predict, {arguments.model.suffixes[0]}"] = (*COMMAND, *asked)
        commands["import tensorflow"] = TENSORFLOW
        memory: dict[str, list[float]] = {name: [] for name in commands}

        def side(name: str) -> float:
            seconds, megabytes = interleaved.peak(commands[name])
            memory[name].append(megabytes)
            return seconds

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


def _arguments() -> argparse.Namespace:
    parser = interleaved.parser(__doc__, rounds=7)
    parser.add_argument("--model", type=Path, help="an exported model; without it only --help")
    parser.add_argument("--photo", type=Path, help="a real or painted one when left out")
    return parser.parse_args()


if __name__ == "__main__":
    main()
