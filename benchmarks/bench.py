"""Runs the benchmarks, and writes what they measured into RESULTS.json and RESULTS.md.

    make bench                                  # all of them: hours
    make bench ARGS="--quick"                   # all of them at small sizes: minutes
    make bench ARGS="cold reading growth"       # some; what others measured before is kept
    make bench ARGS="--list"                    # names, what they compare, how long they take

Each script measures its sides in turn and can be run by itself. What is measured quickly goes to
work/RESULTS.json and work/RESULTS.md, so that it never takes the place of the real figures.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import time
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

import interleaved
import sample

HERE = Path(__file__).resolve().parent
BEGIN, END = "<!-- made by make bench: from here -->", "<!-- made by make bench: to here -->"
PACKAGES = (
    *("flowers", "keras", "tensorflow", "jax", "torch", "numpy", "pillow", "ai-edge-litert"),
    *("onnxruntime", "openvino"),
)
QUICK = 300  # seconds for all points together
SMALL = ("--size", "64", "--backbone", "miniature")


@dataclass(frozen=True)
class Point:
    """One thing to measure: a script with its options, really and quickly.

    minutes: about how long it takes on 2 cores, really.
    """

    name: str
    title: str
    script: str
    real: tuple[str, ...]
    quick: tuple[str, ...]
    minutes: float


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
        ("--counts", "500", "2000", "8000", "32000"), ("--counts", "100", "400"), 25,
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
        ("--phases", "head", "--epochs", "2", "--photos", "100", "--rounds", "1", *SMALL), 18,
    ),
    Point(
        "time-to-accuracy", "Time to an accuracy of 0.92", "textbook.py",
        ("--target", "0.92", "--epochs", "8", "--photos", "3670", "--rounds", "1"),
        ("--target", "0.2", "--epochs", "2", "--photos", "100", "--rounds", "1", *SMALL), 75,
    ),
    Point(
        "gpu", "On a GPU, or at toy size without one", "gpu.py",
        ("steps", "--rounds", "3"), ("steps", "--rounds", "1", "--toy"), 5,
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
        if arguments.quick and time.monotonic() - started > QUICK:
            interleaved.say(f"{point.name}: left out, {QUICK} s are over")
            continue
        entry = run(point, arguments)
        failed += [point.name] if "error" in entry else []
        if "error" not in entry or point.name not in results["points"]:
            results["points"][point.name] = entry
        results["machine"] = machine()
        write(results, place)
    if failed:
        raise SystemExit(f"These failed: {', '.join(failed)}. Run one by itself to see why.")


def run(point: Point, arguments: argparse.Namespace) -> dict:
    """Runs one script in a process of its own: its rows and how they came about."""
    options = options_of(point, arguments)
    file = HERE / "work" / f"{point.name}.json"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.unlink(missing_ok=True)
    words = " ".join(["python", f"benchmarks/{point.script}", *_without_places(options)])
    interleaved.say(f"{point.name}: {words}")
    load, started = os.getloadavg()[0], time.monotonic()
    command = [sys.executable, str(HERE / point.script), *options, "--json", str(file)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True)
    entry = {
        "command": words,
        "quick": arguments.quick,
        "date": time.strftime("%Y-%m-%d"),
        "minutes": round((time.monotonic() - started) / 60, 1),
        "load_before": round(load, 1),
        "versions": versions(),
    }
    if done.returncode or not file.is_file():
        return entry | {"error": f"ended with {done.returncode}"}
    text = done.stdout.partition("| what | ours |")[0].strip()
    return entry | {"rows": json.loads(file.read_text(encoding="utf-8")), "text": text}


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


def _without_places(options: list[str]) -> list[str]:
    """Options as they are shown: a place on this machine says nothing to others."""
    shown, names = list(options), {"--data": "DIR", "--weights": "FILE", "--model": "MODEL"}
    for place, option in enumerate(options[:-1]):
        if option in names and options[place + 1] != "none":
            shown[place + 1] = names[option]
    return shown


# --- the machine -----------------------------------------------------------------------------


def machine() -> dict:
    """What measured."""
    return {
        "cpu": _cpu(),
        "cores": os.cpu_count(),
        "memory_gb": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9),
        "gpu": _gpu(),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
    }


def versions() -> dict[str, str]:
    """Of the packages that are compared, those that are here."""
    found = {}
    for name in PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def _cpu() -> str:
    """Its name, and which of the fast instructions it has."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    told = dict(line.split("\t", 1) for line in lines if "\t" in line)
    name = next((v.strip(": ") for k, v in told.items() if k.startswith("model name")), "a CPU")
    flags = next((v for k, v in told.items() if k.startswith("flags")), "").split()
    fast = [flag for flag in ("avx2", "avx512f", "avx512_vnni", "avx512_bf16") if flag in flags]
    return f"{name} with {', '.join(fast)}" if fast else name


def _gpu() -> str | None:
    """The GPU's name, None without one."""
    asked = ["nvidia-smi", "--query-gpu=name", "--format=csv,noheader"]
    try:
        done = subprocess.run(asked, capture_output=True, text=True)
    except OSError:
        return None
    return done.stdout.strip().split("\n")[0] or None if done.returncode == 0 else None


# --- files -----------------------------------------------------------------------------------


def _read(path: Path) -> dict:
    """What was measured before."""
    if path.is_file():
        return json.loads(path.read_text(encoding="utf-8"))
    return {"machine": {}, "points": {}}


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
    here = results["machine"]
    gpu = here.get("gpu") or "no GPU"
    lines = [
        f"{here.get('cores')} cores of {here.get('cpu')}, {here.get('memory_gb')} GB, {gpu}; "
        f"{here.get('system')}, Python {here.get('python')}. Each value is the median of rounds "
        "measured in turn (A B A B); the spread is (largest - smallest) / median; the ratio is "
        "ours / beside.",
    ]
    for point in POINTS:
        lines += ["", f"### {point.title}", ""]
        entry = results["points"].get(point.name)
        if entry is None:
            lines.append(f"Not measured yet: `make bench ARGS={point.name}`.")
            continue
        told = ", ".join(f"{name} {version}" for name, version in entry["versions"].items())
        quick = "**Quick, at small sizes: no figure to quote.** " if entry["quick"] else ""
        lines += [
            f"`{entry['command']}`",
            "",
            f"{quick}{entry['date']}, {entry['minutes']} minutes, load {entry['load_before']} "
            f"before. {told}.",
            "",
        ]
        if "error" in entry:
            lines.append(f"Failed: {entry['error']}.")
            continue
        lines += [*([entry["text"], ""] if entry["text"] else [])]
        lines.append(interleaved.table(entry["rows"]).rstrip())
    return "\n".join(lines) + "\n"


def listed(arguments: argparse.Namespace) -> str:
    """Every point with its command and time."""
    lines = []
    for point in sorted(POINTS, key=lambda point: point.minutes):
        shown = " ".join(_without_places(options_of(point, arguments)))
        lines.append(f"{point.name:<18}{point.minutes:>5.0f} min  {point.script} {shown}")
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
    main()
