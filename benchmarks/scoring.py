"""Both engines of `flowers predict --out` on 20,000 photos: rows, rate, memory, kills.

    .venv/bin/python benchmarks/scoring.py --data DIR --model models/flowers.int8.tflite

The photos are links to real ones of DIR (a folder of class folders), painted ones, and 1 % broken
files. Each engine scores the first 1,000, 5,000 and 20,000 of them in a folder of its own, then
all of them again while it is killed (SIGKILL) five times at random. Beside it stands the predictor
alone: as many bare processes as there are workers, one thread each, that read, decode and predict
the same photos and keep nothing; and the network alone, on decoded photos. Both are measured
before and after each engine's run of all photos, since other jobs may use the machine.

Everything is written to --work and left there, but for what an earlier run left; the results go
to --out.json and --out.md. 20,000 photos take about 40 minutes on 2 cores.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import multiprocessing
import os
import random
import shutil
import signal
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

import psutil
from scoring_tables import ENGINES, as_text

BROKEN = 100  # one of so many photos
COMMAND = (sys.executable, "-c", "from flowers.cli import main; main()", "predict")


def main() -> None:
    """Measures, and writes a JSON file and Markdown tables."""
    arguments = _arguments()
    if arguments.work.exists() and not (arguments.work / "photos").is_dir():
        raise SystemExit(f"--work {arguments.work} is there already: name a new folder.")
    shutil.rmtree(arguments.work, ignore_errors=True)
    steps = sorted({min(step, arguments.photos) for step in arguments.steps})
    paths = make(arguments)
    lists = {step: _listed(arguments.work / f"{step}.txt", paths[:step]) for step in steps}
    result: dict = {
        "model": arguments.model.name,
        "workers": arguments.workers,
        "photos": len(paths),
        "bytes_a_photo": round(statistics.mean(Path(path).stat().st_size for path in paths)),
        "load_before": round(os.getloadavg()[0], 2),
        "runs": [],
        "alone": [],
    }
    for engine in arguments.engines:
        for step in steps:
            if step == steps[-1]:
                result["alone"].append(alone(paths, arguments))
            result["runs"].append(run(engine, lists[step], step, arguments))
            _say(f"{result['runs'][-1]}")
        result["alone"].append(alone(paths, arguments))
    whole = lists[steps[-1]]
    result["kills"] = {engine: killed(engine, whole, arguments) for engine in arguments.engines}
    folders = {engine: arguments.work / f"{engine}-{steps[-1]}" for engine in arguments.engines}
    result["rows"] = {
        f"{engine}, {engine} killed": compare(folder, arguments.work / f"{engine}-killed")
        for engine, folder in folders.items()
    }
    if len(folders) > 1:
        result["rows"][", ".join(folders)] = compare(*folders.values())
    result["bytes_a_row"] = round(_bytes_a_row(folders[arguments.engines[0]]))
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    arguments.out.with_suffix(".json").write_text(json.dumps(result, indent=2) + "\n")
    arguments.out.with_suffix(".md").write_text(as_text(result))
    print(as_text(result))


# --- photos ----------------------------------------------------------------------------------


def make(arguments: argparse.Namespace) -> list[str]:
    """The photos, in a shuffled order; a thousand in a folder."""
    from PIL import Image

    from flowers.data import painted

    work, chance = arguments.work, random.Random(0)
    real = sorted(path.resolve() for path in arguments.data.rglob("*.jpg"))
    (work / "painted").mkdir(parents=True)
    for number in range(arguments.painted):
        label = painted.LABELS[number % len(painted.LABELS)]
        picture = Image.fromarray(painted.paint(label, number, 320))
        picture.save(work / "painted" / f"{number:04}.jpg", quality=85)
    drawn = sorted((work / "painted").resolve().iterdir())
    broken = _broken(work / "broken", real[0])
    paths = []
    for number in range(arguments.photos):
        folder = work / "photos" / f"{number // 1000:03}"
        folder.mkdir(parents=True, exist_ok=True)
        kind = broken if number % BROKEN == 7 else real if number % 5 < 3 else drawn
        path = folder / f"{number:06}.jpg"
        path.symlink_to(kind[number // 5 % len(kind)])
        paths.append(str(path))
    chance.shuffle(paths)
    _say(f"{len(paths):,} photos")
    return paths


def _broken(folder: Path, photo: Path) -> list[Path]:
    content = photo.read_bytes()
    kinds = (content[: len(content) // 2], b"", b"no photo at all", content[:100])
    folder.mkdir()
    for number, kind in enumerate(kinds):
        (folder / f"{number}.jpg").write_bytes(kind)
    return sorted(folder.resolve().iterdir())


def _listed(file: Path, paths: Iterable[str]) -> Path:
    file.write_text("".join(f"{path}\n" for path in paths))
    return file


# --- the predictor alone ---------------------------------------------------------------------


def alone(paths: list[str], arguments: argparse.Namespace) -> dict[str, float]:
    """Photos a second of bare processes: with reading and decoding, and of the network alone."""
    sample = random.Random(1).sample(paths, min(arguments.sample, len(paths)))
    parts = [sample[number :: arguments.workers] for number in range(arguments.workers)]
    context = multiprocessing.get_context("spawn")
    rates = {}
    for name in ("predictor", "network"):
        barrier, queue = context.Barrier(arguments.workers + 1), context.Queue()
        shared = (arguments.model, name, barrier, queue)
        processes = [context.Process(target=_bare, args=(part, *shared)) for part in parts]
        for process in processes:
            process.start()
        barrier.wait()
        started = time.perf_counter()
        count = sum(queue.get() for _ in processes)
        rates[name] = round(count / (time.perf_counter() - started), 2)
        for process in processes:
            process.join()
    _say(f"alone: {rates}")
    return rates


def _bare(paths: list[str], model: Path, name: str, barrier, queue) -> None:
    from flowers.ship.predictor import Predictor

    predictor = Predictor.load(model, threads=1)
    sources: list = [Path(path) for path in paths]
    if name == "network":
        from flowers.data import photos

        sources = [photos.read(path, predictor.card.size) for path in sources if _is_whole(path)]
    for source in sources[:4]:
        list(predictor.predict_many([source]))  # warm
    barrier.wait()
    queue.put(sum(1 for _ in predictor.predict_many(sources)))


def _is_whole(path: Path) -> bool:
    return "broken" not in str(path.resolve())


# --- the engines -----------------------------------------------------------------------------


def _start(engine: str, photos: Path, out: Path, arguments: argparse.Namespace) -> subprocess.Popen:
    command = [*COMMAND, str(photos), "--model", str(arguments.model), "--out", str(out)]
    command += ["--engine", engine, "--workers", str(arguments.workers)]
    command += ["--shard", str(arguments.shard)]
    with out.with_suffix(".log").open("ab") as log:
        return subprocess.Popen(command, stdout=log, stderr=log)


def run(engine: str, photos: Path, count: int, arguments: argparse.Namespace) -> dict:
    """One whole run: seconds, photos a second, memory of all its processes."""
    out = arguments.work / f"{engine}-{count}"
    started = time.perf_counter()
    process = _start(engine, photos, out, arguments)
    samples: list[tuple[float, float, float]] = []
    sampler = threading.Thread(target=_sample, args=(process, samples))
    sampler.start()
    code = process.wait()
    seconds = time.perf_counter() - started
    sampler.join()
    if code:
        raise SystemExit(f"{engine} ended with {code}: see {out.with_suffix('.log')}")
    late = samples[len(samples) // 2 :]
    return {
        "engine": engine,
        "photos": count,
        "seconds": round(seconds, 1),
        "rate": round(count / seconds, 2),
        "memory_mb": round(statistics.median(whole for _, whole, _ in late)),
        "memory_peak_mb": round(max(whole for _, whole, _ in samples)),
        "main_mb": round(statistics.median(main for _, _, main in late)),
    }


def _sample(process: subprocess.Popen, samples: list[tuple[float, float, float]]) -> None:
    """(time, MB of the process and all below it, MB of the process alone), by and by."""
    while process.poll() is None:
        try:
            root = psutil.Process(process.pid)
            family = [root, *root.children(recursive=True)]
        except psutil.Error:
            return
        sizes = [_memory(each.pid) for each in family]
        samples.append((time.monotonic(), sum(sizes), sizes[0]))
        time.sleep(0.1 if len(samples) < 20 else 2)  # a look costs 50 ms where Ray runs


def _memory(process: int) -> float:
    """Proportional set size, MB: what processes share is counted once."""
    try:
        for line in Path(f"/proc/{process}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) / 1e3
    except OSError:
        pass  # it has ended
    return 0.0


def killed(engine: str, photos: Path, arguments: argparse.Namespace) -> dict:
    """A run killed at random times and begun again until it ends; what was there at each kill."""
    out, chance = arguments.work / f"{engine}-killed", random.Random(engine)
    found: list[dict] = []
    while len(found) < arguments.kills:
        process, started = _start(engine, photos, out, arguments), time.perf_counter()
        pause = chance.uniform(0, arguments.pause)
        _wait(process, out, len(_shards(out)) + chance.randint(0, 4), pause)
        if process.poll() is not None:
            break  # it was done before its next kill
        seconds, family = time.perf_counter() - started, psutil.Process(process.pid).children(True)
        process.send_signal(signal.SIGKILL)
        process.wait()
        _, alive = psutil.wait_procs(family, timeout=60)
        told = {"after_s": round(seconds, 1), "shards": len(_shards(out)), "outlived": len(alive)}
        found.append(told)
        _say(f"{engine} killed: {found[-1]}")
    process = _start(engine, photos, out, arguments)
    if process.wait():
        raise SystemExit(f"{engine} did not resume: see {out.with_suffix('.log')}")
    left = [path.name for path in out.iterdir() if "partial" in path.name]
    return {"kills": found, "left_over": left}


def _wait(process: subprocess.Popen, out: Path, shards: int, seconds: float) -> None:
    """Until a run has so many shards, and so many seconds more; or until it ends."""
    while process.poll() is None and len(_shards(out)) < shards:
        time.sleep(0.1)
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(seconds)


def _shards(folder: Path) -> list[Path]:
    return sorted(folder.glob("shard-*.parquet"))


def _rows(folder: Path) -> Iterator[dict]:
    import pyarrow.parquet as pq

    for path in _shards(folder):
        yield from pq.read_table(path).to_pylist()


def compare(first: Path, second: Path) -> dict:
    """Rows of two folders side by side, shard by shard."""
    counts = {"rows": 0, "paths": 0, "same": 0, "largest_difference": 0.0}
    seen, before = True, ""
    one, other = _rows(first), _rows(second)
    for left, right in zip(one, other, strict=True):
        counts["rows"] += 1
        counts["paths"] += left["path"] == right["path"]
        seen &= left["path"].encode() > before.encode()  # sorted, so each once
        before = left["path"]
        apart = [
            abs(a - b)
            for a, b in zip(left["probabilities"] or (), right["probabilities"] or (), strict=True)
        ]
        counts["largest_difference"] = max([counts["largest_difference"], *apart])
        names = ("path", "sha256", "label", "set", "novelty", "known", "error")
        counts["same"] += all(left[name] == right[name] for name in names)
    return {**counts, "each_once": seen}


def _bytes_a_row(folder: Path) -> float:
    """Of photos that are no copies of each other: Parquet keeps once what repeats."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    tables = [pq.read_table(path).replace_schema_metadata(None) for path in _shards(folder)]
    whole = pa.concat_tables(tables)
    first = {digest: row for row, digest in enumerate(whole["sha256"].to_pylist()) if digest}
    buffer = io.BytesIO()
    pq.write_table(whole.take(sorted(first.values())), buffer, compression="zstd")
    return buffer.tell() / len(first)


# --- words -------------------------------------------------------------------------------------


def _say(line: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {line}", file=sys.stderr, flush=True)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", type=Path, required=True, help="folder of class folders")
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--photos", type=int, default=20_000)
    parser.add_argument("--steps", type=int, nargs="+", default=[1_000, 5_000, 20_000])
    parser.add_argument("--painted", type=int, default=500, help="different ones")
    parser.add_argument("--sample", type=int, default=800, help="photos of the predictor alone")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--shard", type=int, default=1_000)
    parser.add_argument("--engines", nargs="+", choices=ENGINES, default=ENGINES)
    parser.add_argument("--kills", type=int, default=5, help="of each engine")
    parser.add_argument("--pause", type=float, default=20.0, help="s before a kill, at most")
    parser.add_argument("--work", type=Path, default=Path("scoring-benchmark"))
    parser.add_argument("--out", type=Path, default=Path("scoring-benchmark/result"))
    return parser.parse_args()


if __name__ == "__main__":
    main()
