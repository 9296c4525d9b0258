"""How time and memory grow with the number of photos: 500, 2,000, 8,000, 32,000.

    .venv/bin/python benchmarks/growth.py --counts 500 2000 8000 32000

Each number in a process of its own: catalogue, pixels, features, an epoch of the head, and the
search for look-alikes by itself. The photos are the real ones (painted ones elsewhere), then copies
of them, augmented. Memory is what the process holds besides the files it has mapped (RssAnon),
at its largest in each step. Features are a miniature network's unless --backbone says otherwise:
how they grow does not depend on it.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

import interleaved
import sample
from interleaved import Row

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
STEPS = ("catalogue", "look-alikes", "pixels", "features", "epoch")
LONGEST = 60.0  # seconds that the search for look-alikes may take, whatever the number


def main() -> None:
    """Prints a table of each number, and rows of the largest beside the smallest."""
    arguments = _arguments()
    if arguments.only:
        print(json.dumps(grow(arguments.only, arguments)))
        return
    with tempfile.TemporaryDirectory(prefix="growth-") as work:
        place = arguments.work or Path(work)
        found = {}
        for count in sorted(arguments.counts):
            command = [sys.executable, __file__, *sys.argv[1:]]
            command += ["--only", str(count), "--work", str(place)]
            done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
            found[count] = json.loads(done.stdout.splitlines()[-1])
            interleaved.say(f"{count:,} photos: {found[count]}")
    print(as_text(found))
    interleaved.finish(rows(found), arguments)


def rows(found: dict[int, dict]) -> list[Row]:
    """Each step for the largest number beside the smallest, a photo; and the search's limit."""
    small, large = min(found), max(found)
    names, made = (f"{large:,} photos", f"{small:,} photos"), []
    for step in STEPS:
        a, b = (1000 * found[n][step]["seconds"] / n for n in (large, small))
        made.append(Row(f"{step}, a photo", "ms", names, (a,), (b,)))
    for step in STEPS:
        a, b = (found[n][step]["megabytes"] for n in (large, small))
        made.append(Row(f"{step}, memory", "MB", names, (a,), (b,)))
    spent, names = found[large]["look-alikes"]["seconds"], (f"{large:,} photos", "the limit")
    bound = ("at most", 1.0) if large >= 32_000 else None
    made.append(Row("search for look-alikes", "s", names, (spent,), (LONGEST,), bound))
    return made


def as_text(found: dict[int, dict]) -> str:
    """Seconds and megabytes of every step and number."""
    lines = ["| photos | " + " | ".join(STEPS) + " |", "|---|" + "---|" * len(STEPS)]
    for count, steps in found.items():
        cells = [
            f"{steps[name]['seconds']:.2f} s, {steps[name]['megabytes']:.0f} MB" for name in STEPS
        ]
        lines.append(f"| {count:,} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def grow(count: int, arguments: argparse.Namespace) -> dict:
    """Seconds and peak megabytes of each step with `count` photos."""
    from dataclasses import replace

    from flowers import pipeline
    from flowers.config import Config, phases
    from flowers.data import catalogue as catalogues
    from flowers.data import duplicates, pixels
    from flowers.data.prepared import Photos
    from flowers.data.sources import Source
    from flowers.train.inputs import Inputs

    del Inputs  # imported so that no step below pays for TensorFlow
    folder = _photos(count, arguments)
    data, found = arguments.work / f"data-{count}", {}
    listed = _step(found, "catalogue", lambda: catalogues.build(folder))
    looks = _looks(folder, listed.table["path"])
    _step(found, "look-alikes", lambda: duplicates.near_pairs(looks))
    looks.clear()
    config = Config.tiny(size=arguments.size, backbone=arguments.backbone, views=1)
    config = replace(config, phases=phases("head", epochs=1))
    decoded = _step(found, "pixels", lambda: pixels.cache(listed, config.size, data / "cache"))
    prepared = Photos(Source("benchmark", folder, "made for it"), listed, decoded)
    train = listed.rows("train")
    inputs, _ = pipeline.open_network(prepared, config, train, data=data, say=lambda line: None)
    _step(found, "features", lambda: inputs.feed(config.phases[0]))
    quiet = {"data": data, "say": lambda line: None}
    _step(found, "epoch", lambda: pipeline.fit(prepared, config, **quiet))
    shutil.rmtree(data)
    return found


def _looks(folder: Path, paths) -> list:
    """What every photo looks like."""
    from flowers.data import duplicates, parallel, photos

    def look(path: str):
        return duplicates.look(photos.inspect(folder / path).thumbnail)

    return list(parallel.ordered(look, paths))


def _photos(count: int, arguments: argparse.Namespace) -> Path:
    """A folder of so many photos."""
    source = arguments.data or (sample.REAL if sample.REAL.is_dir() else None)
    real = sorted(source.rglob("*.jpg")) if source else []
    few = real[:: max(1, len(real) // count)][:count]
    return sample.grown(few, arguments.work / f"photos-{count}", count)


def _step(found: dict, name: str, do: Callable):
    """Does it, and notes seconds and the most memory meanwhile."""
    ended, most = threading.Event(), [_anonymous()]

    def look() -> None:
        while not ended.wait(0.02):
            most[0] = max(most[0], _anonymous())

    watcher = threading.Thread(target=look)
    watcher.start()
    started = time.perf_counter()
    try:
        return do()
    finally:
        spent = time.perf_counter() - started
        ended.set()
        watcher.join()
        found[name] = {"seconds": round(spent, 3), "megabytes": round(most[0], 1)}


def _anonymous() -> float:
    """Megabytes that the process holds besides mapped files; NaN where that is not told."""
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
    except OSError:
        return float("nan")
    kilobytes = next((line.split()[1] for line in lines if line.startswith("RssAnon:")), "nan")
    return float(kilobytes) / 1024


def _arguments() -> argparse.Namespace:
    parser = interleaved.parser(__doc__, rounds=1)
    parser.add_argument("--counts", type=int, nargs="+", default=[500, 2000, 8000, 32_000])
    parser.add_argument("--data", type=Path, help="folder of class folders of JPEG files")
    parser.add_argument("--size", type=int, default=64, help="px of a side")
    parser.add_argument("--backbone", default="miniature")
    parser.add_argument("--work", type=Path, help="folder for the photos; removed when left out")
    parser.add_argument("--only", type=int, help=argparse.SUPPRESS)
    return parser.parse_args()


if __name__ == "__main__":
    main()
