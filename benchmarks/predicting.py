"""Answers about one photo and about a folder: every export here, beside the bare runtimes.

    .venv/bin/python benchmarks/predicting.py --model models/flowers.keras

The model's exports lie beside it (`flowers export`). Without a model, one with random weights is
exported for the occasion: speed does not depend on weights. Every engine is a process of its own,
asked in turn; each answers from JPEG files. Ours give novelty, heat map and features as well, the
bare runtimes probabilities alone.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import engines
import interleaved
import sample
from interleaved import Row, Worker

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
PEERS = Path(__file__).resolve().parent / "work" / "peers" / "bin" / "python"
NAMES = (*engines.OURS, *engines.BARE)
CLASSES = ("daisy", "dandelion", "rose", "sunflower", "tulip")


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
            arguments.weights = _weights(arguments.model, Path(place))
        photos = sample.paths(arguments.data, Path(place), arguments.photos)
        one, many, absent = measure(photos, arguments)
    print(as_text(one, many, absent))
    interleaved.finish(rows(one, many, absent, arguments), arguments)


def measure(photos: list[Path], arguments: argparse.Namespace) -> tuple[dict, dict, dict]:
    """Seconds for one photo and photos a second of a folder, a value a round, of each engine;
    and why an engine is absent."""
    workers, absent = {}, {}
    for name in arguments.engines:
        started = Worker(_command(name, photos, arguments))
        if "error" in started.first:
            absent[name] = started.first["error"]
            started.close()
        else:
            workers[name] = started
    asked = {
        (what, name): lambda what=what, name=name: workers[name].ask({"what": what})["value"]
        for what in ("one", "many")
        for name in workers
    }
    found = interleaved.measure(asked, arguments.rounds)
    for worker in workers.values():
        worker.close()
    one, many = ({name: found[what, name] for name in workers} for what in ("one", "many"))
    return one, many, absent


def rows(one: dict, many: dict, absent: dict, arguments: argparse.Namespace) -> list[Row]:
    """What `flowers predict` does beside every bare float32 engine, and int8 beside it."""
    note = "; ".join(f"{name} was left out: {why}" for name, why in absent.items())
    made = []
    for what, found, unit, best in (
        ("one photo", one, "s", min),
        ("a folder", many, "/s", max),
    ):
        middle = {name: statistics.median(values) for name, values in found.items()}
        float32 = [n for n in middle if n in engines.OURS and n != engines.INT8]
        default = engines.DEFAULT in float32
        ours = engines.DEFAULT if default else best(float32, key=middle.get)
        bare = [name for name in middle if name in engines.BARE]
        for name in bare:
            bound = None
            if name == best(bare, key=middle.get):
                bound = ("at most", 1.03) if best is min else ("at least", 1 / 1.03)
            made.append(Row(what, unit, (ours, name), found[ours], found[name], bound, note))
        if engines.INT8 in found:
            pair, bound = (engines.INT8, ours), ("at most", 1 / 1.8)
            bound = bound if best is min else ("at least", 1.8)
            made.append(Row(what, unit, pair, found[engines.INT8], found[ours], bound, note))
    return made + _gate(arguments.model)


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
    return [Row("accuracy", "%", names, *values, ("at least", 1 - 0.005 / known[1]), note)]


def as_text(one: dict, many: dict, absent: dict) -> str:
    """Every engine with both figures."""
    lines = ["| engine | one photo | spread | a folder | spread |", "|---|---|---|---|---|"]
    for name in one:
        cells = (
            f"{1000 * statistics.median(one[name]):.1f} ms",
            f"{interleaved.spread(one[name]):.0%}",
            f"{statistics.median(many[name]):.1f} /s",
            f"{interleaved.spread(many[name]):.0%}",
        )
        lines.append(f"| {name} | {' | '.join(cells)} |")
    lines += [f"| {name} | not there: {why} | | | |" for name, why in absent.items()]
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
        interleaved.serve(lambda question: {}, {"error": f"{error}".strip().split("\n")[0][:100]})
        return

    def answer(question: dict) -> dict:
        if question["what"] == "one":
            spent = [interleaved.timed(lambda p=p: run([p]))() for p in photos[: arguments.asked]]
            return {"value": statistics.median(spent)}
        started = time.perf_counter()
        run(photos)
        return {"value": len(photos) / (time.perf_counter() - started)}

    interleaved.serve(answer, {"ready": True})


# --- a model ---------------------------------------------------------------------------------


def exported(folder: Path, arguments: argparse.Namespace) -> Path:
    """A classifier with random weights in every format, made in a process of its own."""
    command = [sys.executable, __file__, "--make", str(folder), "--size", str(arguments.size)]
    command += ["--backbone", arguments.backbone, "--engines", *arguments.engines]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return folder / "flowers.keras"


def make(folder: Path, arguments: argparse.Namespace) -> None:
    """Builds, converts to what the engines need, and writes the card that lets files be opened."""
    import numpy as np

    from flowers import files
    from flowers.model import classifier
    from flowers.ship import bundle, formats, graph
    from flowers.ship import card as cards

    folder.mkdir(parents=True, exist_ok=True)
    endings = {engines.NEEDS.get(name) for name in arguments.engines}
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


def _weights(model: Path, folder: Path) -> Path:
    """The classifier's weights for PyTorch: "<layer>/<number>" -> array."""
    import numpy as np

    from flowers.ship import bundle

    weights = {
        f"{layer.name}/{number}": value
        for layer in bundle.read(model).layers
        for number, value in enumerate(layer.get_weights())
    }
    np.savez(folder / "weights.npz", **weights)
    return folder / "weights.npz"


def _arguments() -> argparse.Namespace:
    parser = interleaved.parser(__doc__, rounds=5)
    parser.add_argument("--model", type=Path, help="a .keras file, exported beside itself")
    parser.add_argument("--data", type=Path, help="folder of class folders of JPEG files")
    parser.add_argument("--photos", type=int, default=64, help="of the folder")
    parser.add_argument("--asked", type=int, default=15, help="photos one by one, a round")
    parser.add_argument("--engines", nargs="+", default=NAMES, choices=NAMES, metavar="NAME")
    parser.add_argument("--size", type=int, default=224, help="px of a side")
    parser.add_argument("--backbone", default="resnet50", help="of the model that is made")
    parser.add_argument("--weights", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    parser.add_argument("--listed", nargs="+", help=argparse.SUPPRESS)
    parser.add_argument("--make", type=Path, help=argparse.SUPPRESS)
    found = parser.parse_args()
    if found.make:
        make(found.make, found)
        raise SystemExit
    return found


if __name__ == "__main__":
    main()
