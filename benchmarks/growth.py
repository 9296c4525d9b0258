"""How time and memory grow with the number of photos: 500, 2,000, 8,000, 32,000.

    .venv/bin/python benchmarks/growth.py --counts 500 2000 8000 32000
    .venv/bin/python benchmarks/growth.py --counts 500 1000 2000 --backbone resnet50

Each number in a process of its own, one after the other and again: catalogue, pixels, features, an
epoch of the head, and the search for look-alikes by itself. The photos are the real ones (painted
ones elsewhere), then copies of them, augmented. Memory is what the process holds besides the files
it has mapped (RssAnon), at its largest in each step. Features are a miniature network's unless
--backbone says otherwise: what a network costs a photo is the same for each photo.

What starts once, opening and compiling a network above all, makes few photos look dear and the
growth small. Hence what is compared is the cost of one photo more: between the two largest numbers
against between the two smallest. Linear time means a ratio of 1; 1.3 leaves room for caches that
no longer hold everything and for the machine. The search for look-alikes cannot be linear, as
there are more of them; halfway, on a logarithmic scale, to what a quadratic search would give is
the most it may reach, and a minute for 32,000 photos. Flat memory means that photos are not held:
one more may take less than it would decoded. What is kept of each, 4 kB of its look and a row of
the catalogue, is less.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import shutil
import statistics
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
LONGEST = 60.0  # seconds that the search for look-alikes may take for 32,000 photos
LINEAR = 1.3  # times as dear one more photo may be among many as among few
REAL_COUNT = 500  # photos: among fewer seconds are too short to promise anything


def main() -> None:
    """Prints a table of each number, and rows of the largest beside the smallest."""
    arguments = _arguments()
    if arguments.only:
        print(json.dumps(grow(arguments.only, arguments)))
        return
    with tempfile.TemporaryDirectory(prefix="growth-") as work:
        place = arguments.work or Path(work)
        rounds, failed = [], []
        for number in range(arguments.rounds):
            rounds.append({})
            for count in sorted(arguments.counts):
                command = [sys.executable, __file__, *sys.argv[1:]]
                command += ["--only", str(count), "--work", str(place)]
                done = subprocess.run(command, stdout=subprocess.PIPE, text=True)
                if done.returncode:
                    failed.append(f"{count:,}")
                    continue
                rounds[-1][count] = found = json.loads(done.stdout.splitlines()[-1])
                interleaved.say(f"round {number + 1}, {count:,} photos: {found}")
                interleaved.write(rows(rounds, arguments), arguments)
    print(as_text(rounds))
    interleaved.finish(rows(rounds, arguments), arguments)
    if failed:
        raise SystemExit(f"These numbers of photos failed: {', '.join(failed)}; see above.")


def rows(rounds: list[dict[int, dict]], arguments: argparse.Namespace) -> list[Row]:
    """What one more photo costs among many beside among few, the memory it takes, the limit.

    rounds: of each round what `grow` told of each number of photos. Without two intervals there is
    nothing to compare, and no row but the limit's.
    """
    counts, made = sorted(rounds[0]), []
    if len(counts) > 2:
        few, many = (counts[0], counts[1]), (counts[-2], counts[-1])
        whole = [found for found in rounds if found.keys() >= {*few, *many}]
        made += [_time_row(whole, step, few, many) for step in STEPS]
        made += [_memory_row(whole, step, many, arguments.size) for step in STEPS]
    for largest in counts[-1:]:
        spent = tuple(
            found[largest]["look-alikes"]["seconds"] for found in rounds if largest in found
        )
        names = (f"{largest:,} photos", "the limit")
        bound = ("at most", 1.0) if largest >= 32_000 else None
        made.append(Row("search for look-alikes", "s", names, spent, (LONGEST,), bound, given=True))
    return made


def _time_row(rounds: list[dict], step: str, few: tuple[int, int], many: tuple[int, int]) -> Row:
    """Milliseconds for one photo more, among many beside among few."""
    names = (_between(many), _between(few))
    a, b = ([1000 * slope for slope in _slopes(rounds, step, "seconds", p)] for p in (many, few))
    bound, note = None, ""
    if statistics.median(b) <= 0:
        note = f"Between few photos the time of {step} was too short to tell."
    elif few[0] >= REAL_COUNT:
        bound = ("at most", LINEAR if step != "look-alikes" else math.sqrt(sum(many) / sum(few)))
    return Row(f"{step}, one more photo", "ms", names, tuple(a), tuple(b), bound, note)


def _memory_row(rounds: list[dict], step: str, many: tuple[int, int], size: int) -> Row:
    """Kilobytes for one photo more, among many, beside those of a decoded photo."""
    taken = tuple(1024 * slope for slope in _slopes(rounds, step, "megabytes", many))
    decoded = (size * size * 3 / 1024,)
    bound = ("at most", 1.0) if many[0] >= REAL_COUNT else None
    names = (_between(many), f"a photo of {size} px, decoded")
    what = f"{step}, memory for one more photo"
    return Row(what, "kB", names, taken, decoded, bound, given=True)


def _slopes(rounds: list[dict], step: str, what: str, pair: tuple[int, int]) -> list[float]:
    """What one more photo between two numbers of photos added, of each round."""
    first, last = pair
    return [
        (found[last][step][what] - found[first][step][what]) / (last - first) for found in rounds
    ]


def _between(pair: tuple[int, int]) -> str:
    return "{:,} to {:,} photos".format(*pair)


def as_text(rounds: list[dict[int, dict]]) -> str:
    """Seconds and megabytes of every step and number, medians of the rounds."""
    lines = ["| photos | " + " | ".join(STEPS) + " |", "|---|" + "---|" * len(STEPS)]

    def middle(count: int, step: str, what: str) -> float:
        return statistics.median(found[count][step][what] for found in rounds if count in found)

    for count in sorted({count for found in rounds for count in found}):
        cells = [
            f"{middle(count, step, 'seconds'):.2f} s, {middle(count, step, 'megabytes'):.0f} MB"
            for step in STEPS
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
    shutil.rmtree(data, ignore_errors=True)  # what a round that failed has left
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
    return sample.grown(sample.spread(real, count), arguments.work / f"photos-{count}", count)


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
        found[name] = {"seconds": round(spent, 5), "megabytes": round(most[0], 1)}


def _anonymous() -> float:
    """Megabytes that the process holds besides mapped files; NaN where that is not told."""
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
    except OSError:
        return float("nan")
    kilobytes = next((line.split()[1] for line in lines if line.startswith("RssAnon:")), "nan")
    return float(kilobytes) / 1024


def _arguments() -> argparse.Namespace:
    parser = interleaved.parser(__doc__, rounds=3)
    parser.add_argument("--counts", type=int, nargs="+", default=[500, 2000, 8000, 32_000])
    parser.add_argument("--data", type=Path, help="folder of class folders of JPEG files")
    parser.add_argument("--size", type=int, default=64, help="px of a side")
    parser.add_argument("--backbone", default="miniature")
    parser.add_argument("--work", type=Path, help="folder for the photos; removed when left out")
    parser.add_argument("--only", type=int, help=argparse.SUPPRESS)
    return parser.parse_args()


if __name__ == "__main__":
    main()
