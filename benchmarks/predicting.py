"""Answers about one photo and about a folder: every export here, beside the bare runtimes.

    .venv/bin/python benchmarks/predicting.py --model models/flowers.keras

The model's exports lie beside it (`flowers export`). Without a model, one with random weights is
exported for the occasion: speed does not depend on weights. Every engine is a process of its own,
asked in turn; each answers from JPEG files. Ours give novelty, heat map and features as well, the
bare runtimes probabilities alone. A few engines are there at a time, always beside the default:
all of them together would need 17 GB.
"""

from __future__ import annotations

import argparse
import math
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import engines
import interleaved
import sample
from interleaved import Row, Worker

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
PEERS = Path(__file__).resolve().parent / "work" / "peers" / "bin" / "python"
NAMES = (*engines.OURS, *engines.BARE)
CLASSES = ("daisy", "dandelion", "rose", "sunflower", "tulip")
TOGETHER = 6  # engines that are there at a time, the default among them
ALLOWED = 0.005  # of accuracy, that int8 may cost: the gate of the export
UNKNOWN = (
    "What int8 costs in accuracy was not measured, so nothing is asked of its speed: "
    "name a model with --model that `flowers export` has proved."
)
ASKED = {"one": ("one photo", "s"), "many": ("a folder", "/s")}

# of engines that were there together: "one" and "many" -> engine -> a value a round
Figures = Mapping[str, Mapping[str, tuple[float, ...]]]


def main() -> None:
    """Prints a table of all engines, and how ours compare."""
    arguments = _arguments()
    if arguments.worker:
        work(arguments)
        return
    with tempfile.TemporaryDirectory(prefix="predicting-") as place:
        if arguments.model is None:
            arguments.model = exported(Path(place) / "models", arguments)
        if set(arguments.engines) & set(engines.TORCH):
            arguments.weights = unpacked(arguments.model, Path(place) / "weights.npz")
        photos = sample.paths(arguments.data, Path(place), arguments.photos)
        found, absent = measure(
            arguments.engines, lambda name: _command(name, photos, arguments), arguments.rounds
        )
    print(as_text(found, absent))
    interleaved.finish(rows(found, absent, arguments.model), arguments)


# --- measuring -------------------------------------------------------------------------------


class Engine:
    """One engine in a process of its own. When that fails, `why` says how, and the others go on."""

    def __init__(self, command: list[str]):
        self._worker = Worker(command)
        self.why: str | None = self._worker.first.get("error")

    def ask(self, what: str) -> float:
        """Its figure; not a number once it has failed."""
        if self.why is None:
            try:
                answer = self._worker.ask({"what": what})
            except OSError as error:  # it ended while nobody asked
                answer = {"error": f"ended: {error}"}
            self.why = answer.get("error")
        return math.nan if self.why else answer["value"]

    def close(self) -> None:
        """Ends the process."""
        self._worker.close()


def measure(
    names: list[str], command: Callable[[str], list[str]], rounds: int
) -> tuple[list[Figures], dict[str, str]]:
    """What each group of engines did, and why an engine is absent."""
    found, absent = [], {}
    for group in groups(names):
        figures, gone = _together({name: command(name) for name in group}, rounds)
        found.append(figures)
        absent |= gone
    return found, absent


def groups(names: list[str]) -> list[list[str]]:
    """Engines that are there at a time: the default in each group, the others in equal parts."""
    others = [name for name in names if name != engines.DEFAULT]
    count = max(1, -(-len(others) // (TOGETHER - 1)))
    return [[engines.DEFAULT, *others[number::count]] for number in range(count)]


def _together(commands: Mapping[str, list[str]], rounds: int) -> tuple[Figures, dict[str, str]]:
    """Starts engines, asks them in turn, and ends them."""
    started = {name: Engine(command) for name, command in commands.items()}
    asked = {
        (what, name): lambda what=what, engine=engine: engine.ask(what)
        for what in ASKED
        for name, engine in started.items()
        if engine.why is None
    }
    values = interleaved.measure(asked, rounds)
    for engine in started.values():
        engine.close()
    there = [name for name, engine in started.items() if engine.why is None]
    figures = {what: {name: values[what, name] for name in there} for what in ASKED}
    return figures, {name: engine.why for name, engine in started.items() if engine.why}


# --- telling ---------------------------------------------------------------------------------


def rows(found: list[Figures], absent: Mapping[str, str], model: Path) -> list[Row]:
    """What `flowers predict` does beside every bare float32 engine, and int8 beside it.

    Each beside the default of its own group. The 3 % are asked of the fastest bare engine alone.
    """
    note = " ".join(f"{name} is absent, because: {why}." for name, why in absent.items())
    gate, made = _gate(model), []
    for what in ASKED:
        bare = _bare(found, what, note)
        if bare:
            slower = what == "one"  # seconds: the more of them beside another, the worse
            target = ("at most", 1.03) if slower else ("at least", 1 / 1.03)
            hardest = (max if slower else min)(bare, key=lambda row: row.ratio)
            made += [replace(row, target=target) if row is hardest else row for row in bare]
        made += _int8(found, what, note, known=bool(gate))
    return made + gate


def _bare(found: list[Figures], what: str, note: str) -> list[Row]:
    words, unit = ASKED[what]
    return [
        Row(words, unit, (engines.DEFAULT, name), there[engines.DEFAULT], values, None, note)
        for there in (figures[what] for figures in found)
        for name, values in there.items()
        if name in engines.BARE and engines.DEFAULT in there
    ]


def _int8(found: list[Figures], what: str, note: str, known: bool) -> list[Row]:
    """The int8 file beside the default; known: whether what it costs in accuracy was measured."""
    words, unit = ASKED[what]
    target = ("at most", 1 / 1.8) if what == "one" else ("at least", 1.8)
    target, note = (target, note) if known else (None, f"{UNKNOWN} {note}".strip())
    pair = (engines.INT8, engines.DEFAULT)
    return [
        Row(words, unit, pair, *(figures[what][name] for name in pair), target, note)
        for figures in found
        if set(pair) <= set(figures[what])
    ]


def _gate(model: Path) -> list[Row]:
    """Accuracy of the int8 file beside the model, as the export has measured it."""
    from flowers.ship import card as cards

    if not cards.path_of(model).is_file():
        return []
    measured = cards.load(model).files
    names = (model.with_suffix(".int8.tflite").name, model.name)
    known = [measured.get(name, {}).get("accuracy") for name in names]
    if not all(isinstance(value, float) for value in known):
        return []
    values = ((100 * value,) for value in known)
    note = "Accuracy on all test photos, as `flowers export` measured it; 0.5 points are allowed."
    return [Row("accuracy", "%", names, *values, ("at least", 1 - ALLOWED / known[1]), note)]


def as_text(found: list[Figures], absent: Mapping[str, str]) -> str:
    """Every engine with both figures; of the default those of all groups."""
    lines = ["| engine | one photo | spread | a folder | spread |", "|---|---|---|---|---|"]
    for name in NAMES:
        one, many = (
            [value for figures in found for value in figures[what].get(name, ())] for what in ASKED
        )
        if not one:
            continue
        cells = (
            f"{1000 * statistics.median(one):.1f} ms",
            f"{interleaved.spread(one):.0%}",
            f"{statistics.median(many):.1f} /s",
            f"{interleaved.spread(many):.0%}",
        )
        lines.append(f"| {name} | {' | '.join(cells)} |")
    lines += [f"| {name} | absent, because: {why} | | | |" for name, why in absent.items()]
    return "\n".join(lines) + "\n"


# --- processes -------------------------------------------------------------------------------


def _command(name: str, photos: list[Path], arguments: argparse.Namespace) -> list[str]:
    python = str(PEERS) if name in engines.TORCH and PEERS.exists() else sys.executable
    command = [python, __file__, "--worker", name, "--model", str(arguments.model)]
    command += ["--size", str(arguments.size), "--asked", str(arguments.asked)]
    if arguments.weights:
        command += ["--weights", str(arguments.weights)]
    return [*command, "--listed", *map(str, photos)]


def work(arguments: argparse.Namespace) -> None:
    """A worker: opens one engine, answers until nobody asks any more."""
    photos = arguments.listed
    try:
        if arguments.worker in engines.OURS:
            run = engines.open_ours(arguments.worker, arguments.model)
        else:
            bare = (arguments.worker, arguments.model, arguments.size, arguments.weights)
            run = engines.open_bare(*bare)
        for few in (photos[:1], photos[:1], photos[: engines.BATCH]):
            run(few)  # what is compiled or traced at first use
    except Exception as error:
        failed = _failed(error)
        interleaved.serve(lambda question: failed, failed)
        return

    def answer(question: dict) -> dict:
        try:
            return {"value": _value(run, question["what"], photos, arguments.asked)}
        except Exception as error:
            return _failed(error)

    interleaved.serve(answer, {"ready": True})


def _value(run: Callable, what: str, photos: list[str], asked: int) -> float:
    """Seconds of one photo, or photos a second of all."""
    if what == "one":
        return statistics.median(interleaved.timed(lambda p=p: run([p]))() for p in photos[:asked])
    started = time.perf_counter()
    run(photos)
    return len(photos) / (time.perf_counter() - started)


def _failed(error: Exception) -> dict:
    words = f"{error}".strip().split("\n")[0][:100]
    return {"error": words.rstrip(".") or type(error).__name__}


# --- a model ---------------------------------------------------------------------------------


def exported(folder: Path, arguments: argparse.Namespace) -> Path:
    """A classifier with random weights in every format, made in a process of its own."""
    command = [sys.executable, __file__, "--make", str(folder), "--size", str(arguments.size)]
    command += ["--backbone", arguments.backbone, "--engines", *arguments.engines]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return folder / "flowers.keras"


def unpacked(model: Path, target: Path) -> Path | None:
    """The file of a model's weights for PyTorch, made in a process of its own: Keras stays out of
    this one. None where that failed."""
    command = [sys.executable, __file__, "--model", str(model), "--unpack", str(target)]
    done = subprocess.run(command, stdout=subprocess.DEVNULL)
    return target if done.returncode == 0 else None


def make(folder: Path, arguments: argparse.Namespace) -> None:
    """Builds, converts to what the engines need, and writes the card that lets files be opened."""
    import numpy as np

    from flowers import files
    from flowers.model import classifier
    from flowers.ship import bundle, formats, graph
    from flowers.ship import card as cards

    folder.mkdir(parents=True, exist_ok=True)
    endings = {engines.NEEDS.get(name) for name in (engines.DEFAULT, *arguments.engines)}
    built = classifier.build(len(CLASSES), size=arguments.size, backbone=arguments.backbone)
    model = bundle.save(built.model, folder / "flowers.keras")
    noise = np.random.default_rng(0).integers(0, 256, (8, arguments.size, arguments.size, 3))
    with tempfile.TemporaryDirectory(prefix="predicting-export-") as work:
        converter = formats.Converter(graph.build(built.model), noise.astype(np.uint8), Path(work))
        known = {}
        for wanted in formats.FORMATS:
            made = folder / f"flowers{wanted.ending}"
            if wanted is not formats.KERAS and wanted.ending in endings:
                converter.write(wanted, made)
                known[made.name] = {"sha256": cards.fingerprint(made)}
    card = cards.Card(CLASSES, arguments.size, files.sha256(model), "benchmark", files=known)
    card.save(model)


def unpack(model: Path, target: Path) -> None:
    """Writes the classifier's weights: "<layer>/<number>" -> array."""
    import numpy as np

    from flowers.ship import bundle

    weights = {
        f"{layer.name}/{number}": value
        for layer in bundle.read(model).layers
        for number, value in enumerate(layer.get_weights())
    }
    np.savez(target, **weights)


def _arguments() -> argparse.Namespace:
    parser = interleaved.parser(__doc__, rounds=5)
    parser.add_argument("--model", type=Path, help="a .keras file, exported beside itself")
    parser.add_argument("--data", type=Path, help="folder of class folders of JPEG files")
    parser.add_argument("--photos", type=int, default=64, help="of the folder")
    parser.add_argument("--asked", type=int, default=15, help="photos one by one, a round")
    parser.add_argument(
        "--engines", nargs="+", default=NAMES, choices=NAMES, metavar="NAME",
        help="those beside the default, which is always there",
    )  # fmt: skip
    parser.add_argument("--size", type=int, default=224, help="px of a side")
    parser.add_argument("--backbone", default="resnet50", help="of the model that is made")
    parser.add_argument("--weights", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    parser.add_argument("--listed", nargs="+", help=argparse.SUPPRESS)
    parser.add_argument("--make", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--unpack", type=Path, help=argparse.SUPPRESS)
    found = parser.parse_args()
    if found.make:
        make(found.make, found)
        raise SystemExit
    if found.unpack:
        unpack(found.model, found.unpack)
        raise SystemExit
    return found


if __name__ == "__main__":
    main()
