"""Runs the benchmarks, and writes what they measured into RESULTS.json and RESULTS.md.

    make bench                                  # all of them: hours
    make bench ARGS="--quick"                   # all of them at small sizes: minutes
    make bench ARGS="cold reading growth"       # some; what others measured before is kept
    make bench ARGS="--list"                    # names, what they compare, how long they take

Each script measures its sides in turn and can be run by itself. What is measured quickly goes to
work/RESULTS.json and work/RESULTS.md, so that it never takes the place of the real figures. Points
may be measured on different days and machines: each keeps its own.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import interleaved
import machine
import sample

HERE = Path(__file__).resolve().parent
BEGIN, END = "<!-- made by make bench: from here -->", "<!-- made by make bench: to here -->"
QUICK = 300  # seconds for all points together
SMALL = ("--size", "64", "--backbone", "miniature")


@dataclass(frozen=True)
class Point:
    """One thing to measure: a script with its options, really and quickly.

    minutes: about how long it takes on 2 cores, really. gpu: it is left out where there is none.
    decoded: on a GPU, the set whose decoded photos it takes ("flowers" or "cifar10").
    """

    name: str
    title: str
    script: str
    real: tuple[str, ...]
    quick: tuple[str, ...]
    minutes: float
    gpu: bool = False
    decoded: str = ""


POINTS = (
    Point(
        "cold", "From nothing: commands beside `import tensorflow`", "cold.py",
        ("--rounds", "9", "--backbone", "resnet50"), ("--rounds", "1"), 4,
    ),
    Point(
        "reading", "Reading photos", "reading.py",
        ("--rounds", "5"), ("--rounds", "1", "--photos", "60", "--large", "4"), 6,
    ),
    Point(
        "growth", "How cost grows with the number of photos", "growth.py",
        ("--rounds", "3", "--counts", "500", "2000", "8000", "32000"),
        ("--rounds", "1", "--counts", "50", "100", "200"), 30,
    ),
    Point(
        "growth-resnet50", "The same with ResNet50, at fewer photos", "growth.py",
        ("--rounds", "3", "--counts", "500", "1000", "2000", "4000", "--backbone", "resnet50"),
        ("--rounds", "1", "--counts", "40", "--backbone", "resnet50"), 10,
    ),
    Point(
        "predicting", "Answers about one photo and about a folder", "predicting.py",
        ("--rounds", "5"),
        ("--rounds", "1", "--photos", "16", "--asked", "3", *SMALL), 12,
    ),
    Point(
        "stage", "The last stage from kept features", "last_stage.py",
        ("--rounds", "3", "--steps", "20"),
        ("--rounds", "1", "--steps", "3", "--batch", "8", *SMALL), 12,
    ),
    Point(
        "head", "The head against the guide's frozen `fit`", "textbook.py",
        ("--phases", "head", "--epochs", "5", "--photos", "1200", "--rounds", "2"),
        ("--phases", "head", "--epochs", "2", "--photos", "100", "--rounds", "1", *SMALL), 20,
    ),
    Point(
        "time-to-accuracy", "Time to an accuracy of 0.92", "textbook.py",
        ("--target", "0.92", "--epochs", "8", "--photos", "3670", "--rounds", "1"),
        ("--target", "0.2", "--epochs", "2", "--photos", "100", "--rounds", "1", *SMALL), 75,
    ),
    Point(
        "gpu", "On a GPU, or at toy size without one", "gpu.py",
        ("steps", "--rounds", "3"), ("steps", "--rounds", "1", "--toy"), 5, decoded="flowers",
    ),
    Point(
        "gpu-phases", "All three phases on a GPU", "gpu.py",
        ("phases",), ("phases", "--toy"), 10, gpu=True, decoded="flowers",
    ),
    Point(
        "gpu-cifar", "CIFAR-10 from scratch on a GPU, as in the paper", "gpu.py",
        ("cifar",), ("cifar", "--toy"), 30, gpu=True, decoded="cifar10",
    ),
)  # fmt: skip


def main() -> None:
    """Runs what was asked for."""
    arguments = _arguments()
    if arguments.list:
        print(listed(arguments))
        return
    place = HERE / "work" if arguments.quick else HERE
    place = arguments.out or place
    results = _read(place / "RESULTS.json")
    chosen = [point for point in POINTS if not arguments.names or point.name in arguments.names]
    failed, started = [], time.monotonic()
    for point in chosen:
        left = QUICK - (time.monotonic() - started) if arguments.quick else None
        if why := _left_out(point, left):
            interleaved.say(f"{point.name}: left out, {why}")
            continue
        entry = run(point, arguments, left)
        failed += [point.name] if "error" in entry else []
        if "error" not in entry or "error" in results["points"].get(point.name, {"error": ""}):
            results["points"][point.name] = entry
        write(results, place)
    if failed:
        raise SystemExit(f"These failed: {', '.join(failed)}. Run one by itself to see why.")


def _left_out(point: Point, left: float | None) -> str:
    """Why a point is not measured; nothing where it is."""
    if point.gpu and not machine.gpu():
        return "there is no GPU"
    return f"{QUICK} s are over" if left is not None and left <= 0 else ""


def run(point: Point, arguments: argparse.Namespace, seconds: float | None = None) -> dict:
    """Runs one script in a process of its own: its rows and how they came about.

    Where it fails, or is stopped after `seconds`, the rows are those that it had written before.
    """
    options = options_of(point, arguments)
    if not arguments.quick:
        options += _decoded(point, arguments)
    file = HERE / "work" / f"{point.name}.json"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.unlink(missing_ok=True)
    words = shown(point, options)
    interleaved.say(f"{point.name}: {words}")
    load, started = machine.load(), time.monotonic()
    command = [sys.executable, str(HERE / point.script), *options, "--json", str(file)]
    ended, text = interleaved.finished(command, seconds)
    entry = {
        "command": words,
        "quick": arguments.quick,
        "date": time.strftime("%Y-%m-%d"),
        "minutes": round((time.monotonic() - started) / 60, 1),
        "machine": machine.describe(),
        "commit": machine.commit(),
        "load_before": load,
        "load_after": machine.load(),
        "versions": machine.versions(),
        "rows": json.loads(file.read_text(encoding="utf-8")) if file.is_file() else [],
        "text": text.partition("| what | ours |")[0].strip(),
    }
    if "torch" not in entry["versions"] and "PyTorch" in entry["text"]:
        entry["versions"] |= machine.peers()
    if ended is None:
        return entry | {"error": f"stopped after {seconds:.0f} s"}
    if ended or not file.is_file():
        return entry | {"error": f"ended with {ended}"}
    return entry


def options_of(point: Point, arguments: argparse.Namespace) -> list[str]:
    """The options of a script, with the files that there are."""
    options = [*(point.quick if arguments.quick else point.real)]
    if point.script == "gpu.py":
        return options
    if point.script != "last_stage.py" and point.script != "cold.py" and arguments.data:
        options += ["--data", str(arguments.data)]
    small = "miniature" in options  # a network for trying scripts out: it has no weights
    if arguments.model and point.name in ("predicting", "cold", "reading") and not small:
        exported = arguments.model.with_suffix(".int8.tflite")
        options += ["--model", str(exported if point.name == "reading" else arguments.model)]
    if point.script == "textbook.py":
        options += ["--weights", "none" if small else str(arguments.weights or "none")]
    return options


def _decoded(point: Point, arguments: argparse.Namespace) -> list[str]:
    """What a point on a GPU takes besides: decoded photos, made where they are not, and weights.

    Without them photos are painted, and its rows say that it was a toy.
    """
    if not point.decoded or not machine.gpu():
        return []
    file = HERE / "work" / f"{point.decoded}.npz"
    cifar = sample.REAL.with_name("cifar10.zip")
    source = f"cifar10:{cifar}" if point.decoded == "cifar10" else arguments.data or sample.REAL
    there = cifar if point.decoded == "cifar10" else Path(source)
    if not file.is_file() and there.exists():
        file.parent.mkdir(parents=True, exist_ok=True)
        made = ["--data", str(source), "--cache", str(file.parent / "data"), "--out", str(file)]
        subprocess.run([sys.executable, str(HERE / "decoded.py"), *made])
    photos = ["--photos", str(file)] if file.is_file() else []
    weighed = point.name == "gpu-phases" and arguments.weights
    return photos + (["--weights", str(arguments.weights)] if weighed else [])


def shown(point: Point, options: list[str]) -> str:
    """The command as others can repeat it: a place on this machine says nothing to them."""
    told, names = list(options), {"--data": "DIR", "--weights": "FILE", "--model": "MODEL"}
    for place, option in enumerate(options[:-1]):
        if option in names and options[place + 1] != "none":
            told[place + 1] = names[option]
        elif options[place + 1].endswith(".npz"):
            told[place + 1] = Path(options[place + 1]).name
    backend = os.environ.get("KERAS_BACKEND")
    before = [f"KERAS_BACKEND={backend}"] if backend and point.script == "gpu.py" else []
    return " ".join([*before, "python", f"benchmarks/{point.script}", *told])


# --- files -----------------------------------------------------------------------------------


def _read(path: Path) -> dict:
    """What was measured before; files used to name one machine for all points."""
    if not path.is_file():
        return {"points": {}}
    held = json.loads(path.read_text(encoding="utf-8"))
    missing = {"machine": held.get("machine", {}), "commit": None, "load_after": "unknown"}
    missing |= {"rows": [], "text": ""}
    return {"points": {name: missing | entry for name, entry in held["points"].items()}}


def write(results: dict, place: Path) -> None:
    """RESULTS.json, and the generated part of RESULTS.md; what people wrote there stays."""
    place.mkdir(parents=True, exist_ok=True)
    order = {point.name: number for number, point in enumerate(POINTS)}
    known = sorted(results["points"].items(), key=lambda item: order.get(item[0], 99))
    results["points"] = dict(known)
    content = json.dumps(results, indent=2, ensure_ascii=False) + "\n"
    (place / "RESULTS.json").write_text(content, encoding="utf-8")
    page = place / "RESULTS.md"
    old = page.read_text(encoding="utf-8") if page.is_file() else f"{BEGIN}\n{END}\n"
    before, _, rest = old.partition(BEGIN)
    after = rest.partition(END)[2]
    page.write_text(f"{before}{BEGIN}\n\n{as_text(results)}\n{END}{after}", encoding="utf-8")


def as_text(results: dict) -> str:
    """All points as Markdown."""
    lines = [
        "Each value is the median of rounds measured in turn (A B A B), or that of one run where "
        "this is said; the spread is (largest - smallest) / median; the ratio is ours / beside.",
    ]
    for point in POINTS:
        entry = results["points"].get(point.name)
        why = "; it needs a GPU, and none was at hand" if point.gpu else ""
        absent = [f"Not measured yet{why}: `make bench ARGS={point.name}`."]
        lines += ["", f"### {point.title}", "", *(absent if entry is None else _section(entry))]
    return "\n".join(lines) + "\n"


def _section(entry: dict) -> list[str]:
    """Lines about one point: how it was measured, and what came of it."""
    told = ", ".join(f"{name} {version}" for name, version in entry["versions"].items())
    quick = "**Quick, at small sizes: no figure to quote.** " if entry["quick"] else ""
    commit = f", commit {entry['commit']}" if entry["commit"] else ""
    lines = [
        f"`{entry['command']}`",
        "",
        f"{quick}{entry['date']}{commit}, {entry['minutes']} minutes, load {entry['load_before']} "
        f"before and {entry['load_after']} after, on {machine.words(entry['machine'])}. {told}.",
        "",
    ]
    if "error" in entry:
        before = " What it had measured before:" if entry["rows"] else ""
        lines += [f"**Failed**: {entry['error']}.{before}", ""]
    lines += [*([entry["text"], ""] if entry["text"] else [])]
    return [*lines, interleaved.table(entry["rows"]).rstrip()] if entry["rows"] else lines


def listed(arguments: argparse.Namespace) -> str:
    """Every point with its command and time."""
    lines = []
    for point in sorted(POINTS, key=lambda point: point.minutes):
        command = shown(point, options_of(point, arguments)).removeprefix("python benchmarks/")
        needs = " (needs a GPU)" if point.gpu else ""
        lines.append(f"{point.name:<18}{point.minutes:>5.0f} min  {command}{needs}")
    return "\n".join(lines)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    names = [point.name for point in POINTS]
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"out of {', '.join(names)}")
    parser.add_argument("--quick", action="store_true", help="small sizes, under 5 minutes")
    parser.add_argument("--list", action="store_true", help="say what there is")
    parser.add_argument("--data", type=Path, help="folder of class folders of JPEG files")
    parser.add_argument(
        "--weights", type=Path, help="of ResNet50 without its top; none if left out"
    )
    parser.add_argument("--model", type=Path, help="a .keras file, exported beside itself")
    parser.add_argument("--out", type=Path, help="folder for RESULTS.json and RESULTS.md")
    found = parser.parse_args()
    unknown = set(found.names) - set(names)
    if unknown:
        parser.error(f"expected names out of {', '.join(names)}; received {', '.join(unknown)}")
    shared = sample.REAL.parents[1] / "weights"
    if found.weights is None and shared.is_dir():
        found.weights = next(iter(sorted(shared.glob("*.h5"))), None)
    return found


if __name__ == "__main__":
    interleaved.stop_when_asked()  # here alone: whoever imports this has ways of their own
    main()
