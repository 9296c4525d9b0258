"""Fault 22: eight processes in one folder; one writes, the others wait or read."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import textwrap
from pathlib import Path

from faults.outcome import Outcome

# One process: makes what is asked for, as the commands do, and prints the hash of what it read.
CODE = textwrap.dedent("""
    import hashlib, os, sys
    from pathlib import Path

    import numpy as np

    what, folder, url = sys.argv[1], Path(sys.argv[2]), sys.argv[3]
    sys.stdin.readline()  # until all are there

    if what == "download":
        from flowers import download
        path = download.fetch(url, folder / "set.tgz", size_limit=10**7)
        content = path.read_bytes()
    elif what == "pixels":
        from flowers.data import catalogue, pixels
        content = pixels.cache(catalogue.build(url), 32, folder).tobytes()
    elif what == "painted":
        from flowers.data import painted_set
        root = painted_set.write(folder / "painted", per_class=2, seed=0, size=64)
        paths = sorted(p for p in Path(root).rglob("*.jpg"))
        content = b"".join(path.read_bytes() for path in paths)
    elif what == "card":
        from flowers.ship import card as cards
        from flowers import files
        model = folder / "flowers.tflite"
        with files.locked(model):
            if not model.exists():
                card = cards.Card(("a", "b"), 32, "", "", files={model.name: {
                    "sha256": hashlib.sha256(bytes(10**6)).hexdigest()}})
                with cards.replacing(model, card):
                    files.write_bytes(model, bytes(10**6))
        cards.load(model)
        content = model.read_bytes()
    print(hashlib.sha256(content).hexdigest())
""")


def rounds(count: int, photos: Path, processes: int = 8) -> Outcome:
    """`count` rounds of processes that start at once on one empty folder."""
    import random

    from faulty_server import serve

    outcome, kinds = Outcome(), ("download", "pixels", "painted", "card")
    content = random.Random(0).randbytes(400_000)
    with tempfile.TemporaryDirectory(prefix="flowers-faults-") as place, serve(content) as site:
        for number in range(count):
            what, folder = kinds[number % len(kinds)], Path(place, str(number))
            folder.mkdir()
            asked = len(site.requests)
            url = site.url if what == "download" else str(photos)
            running = [
                subprocess.Popen(
                    [sys.executable, "-c", CODE, what, str(folder), url],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.PIPE,
                    text=True,
                    env=os.environ | {"FLOWERS_PROGRESS": "off"},
                )
                for _ in range(processes)
            ]
            said = [process.communicate("go\n", timeout=300) for process in running]
            hashes = {text.strip() for text, _ in said}
            right = len(hashes) == 1 and all(process.returncode == 0 for process in running)
            left = [path.name for path in folder.rglob("*") if ".partial" in path.name]
            once = what != "download" or len(site.requests) == asked + 1
            last = said[0][1].strip().splitlines()[-1:]
            outcome.expect(right and not left and once, f"{what}: {len(hashes)} results, {last}")
    outcome.figures = f"{processes} processes: {', '.join(kinds)}"
    return outcome


def trainings(count: int, photos: Path) -> Outcome:
    """`count` processes of `flowers train` into one folder: all end well, and the pair fits."""
    outcome = Outcome()
    with tempfile.TemporaryDirectory(prefix="flowers-faults-") as place:
        tiny = ["--backbone", "miniature", "--size", "32", "--phases", "head", "--epochs", "2"]
        code = "from flowers.cli import main; main()"
        command = [sys.executable, "-c", code, "train", "--data", str(photos), *tiny]
        running = [
            subprocess.Popen(
                command, cwd=place, stderr=subprocess.PIPE, text=True, stdout=subprocess.DEVNULL
            )
            for _ in range(count)
        ]
        said = [process.communicate(timeout=600)[1] for process in running]
        for process, text in zip(running, said, strict=True):
            outcome.expect(process.returncode == 0, text.strip().splitlines()[-1:])
        waited = sum("waiting for another process" in text for text in said)
        from flowers.ship import card as cards

        cards.load(Path(place, "models", "flowers.keras"))
        left = [path.name for path in Path(place).rglob("*") if ".partial" in path.name]
        outcome.expect(not left, f"left: {left}")
    outcome.figures = f"{waited} of {count} waited"
    return outcome
