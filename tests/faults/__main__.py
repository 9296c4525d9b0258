"""`make faults`: the experiments with their full numbers; the figures go to docs/reliability.md.

make faults                                  # all of them: about three hours
make faults ARGS="kills models"              # some
make faults ARGS="soak --share 0.1"          # at a tenth of the size
make faults ARGS="--list"                    # what there is, and how long it takes
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
KEPT = ROOT / "docs" / "reliability.json"
PAGE = ROOT / "docs" / "reliability.md"


@dataclass(frozen=True)
class Place:
    """Where an experiment finds what it needs; each is made when it is first asked for."""

    folder: Path
    real: Path  # the real photos and weights beside the repository

    @property
    def model(self) -> Path:
        """An exported model of five flowers at 32 px."""
        from faults import small_model

        target = self.folder / "model"
        if not target.exists():
            small_model.write(target, names=("flowers.keras", "flowers.tflite"))
        return target / "flowers.tflite"

    @property
    def resnet50(self) -> Path:
        """An exported ResNet50 at 224 px with random weights: what it takes is the real one's."""
        from faults import small_model
        from flowers.model import classifier

        target = self.folder / "resnet50"
        if not target.exists():
            model = classifier.build(5, weights=None).model
            small_model.write(target, model, names=("flowers.tflite",))
        return target / "flowers.tflite"

    @property
    def photos(self) -> Path:
        """A painted set of 60 photos of 64 px."""
        from flowers.data import painted_set

        return painted_set.write(self.folder / "photos", per_class=12, seed=0, size=64)


@dataclass(frozen=True)
class Experiment:
    """What is injected, how often in full, in which unit, and about how long that takes."""

    what: str
    full: float
    unit: str
    minutes: float
    run: Callable[[float, Place], object]


def experiments() -> dict[str, Experiment]:
    """All of them, the most telling first."""
    from faults import models, packed, page, pictures, runs, saves, together

    def resnet50(count: float, place: Place):
        weights = place.real / "weights" / "resnet50_conv1-4_imagenet_notop.weights.h5"
        settings = (*runs.RESNET50, "--weights", str(weights))
        return runs.kills(round(count), place.real / "data" / "flowers", settings)

    return {
        "kills": Experiment(
            "kill -9 at random while saving", 300, "kills", 2, lambda n, p: saves.kills(round(n))
        ),
        "kth": Experiment(
            "every K-th write, fsync and rename fails, or the process is killed at it",
            1,
            "of all calls",
            8,
            lambda n, p: saves.kth(n),
        ),
        "models": Experiment(
            "hostile model files with a card that vouches for them, and a canary",
            len(models.CORPUS),
            "files",
            2,
            lambda n, p: models.hostile(tuple(models.CORPUS)[: round(n)]),
        ),
        "archives": Experiment(
            "hostile archives under the limits that ship",
            1,
            "of all archives",
            2,
            lambda n, p: packed.hostile(large=n == 1),
        ),
        "cut-archives": Experiment(
            "a zip, a tgz and a tar cut at every 64th",
            1,
            "of all cuts",
            0.2,
            lambda n, p: packed.cut_archives(),
        ),
        "cut-downloads": Experiment(
            "a download cut, or spoiled by a bit, at every 64th",
            1,
            "of all places",
            0.5,
            lambda n, p: packed.cut_downloads(),
        ),
        "zoo-reader": Experiment(
            "odd images to the reader", 1, "of the zoo", 0.3, lambda n, p: pictures.by_reader()
        ),
        "zoo-command": Experiment(
            "odd images to `flowers predict`",
            1,
            "of the zoo",
            0.5,
            lambda n, p: pictures.by_command(p.model),
        ),
        "zoo-page": Experiment(
            "odd images to the page", 1, "of the zoo", 0.5, lambda n, p: pictures.by_page(p.model)
        ),
        "together": Experiment(
            "eight processes in one folder",
            50,
            "rounds",
            8,
            lambda n, p: together.rounds(round(n), p.photos),
        ),
        "trainings": Experiment(
            "eight trainings into one folder",
            8,
            "processes",
            4,
            lambda n, p: together.trainings(max(2, round(n)), p.photos),
        ),
        "training": Experiment(
            "kill -9 at random while a small network trains",
            30,
            "kills",
            10,
            lambda n, p: runs.kills(round(n), p.photos),
        ),
        "stops": Experiment(
            "SIGTERM and SIGINT at random while a small network trains",
            20,
            "signals",
            5,
            lambda n, p: runs.stops(round(n), p.photos),
        ),
        "too-large": Experiment(
            "uploads beyond the limits",
            200,
            "uploads",
            1,
            lambda n, p: page.too_large(p.model, round(n)),
        ),
        "names": Experiment(
            "odd file names", 5_000, "names", 2, lambda n, p: page.names(p.model, round(n))
        ),
        "slow": Experiment(
            "slow clients at once", 200, "clients", 1.5, lambda n, p: page.slow(p.model, round(n))
        ),
        "overload": Experiment(
            "uploads, 1,000 at once, to ResNet50 on a server limited to 512 MB",
            10_000,
            "uploads",
            5,
            lambda n, p: page.overload(p.resnet50, round(n), min(1_000, round(n / 10))),
        ),
        "api": Experiment(
            "odd requests to every route", 600, "seconds", 10, lambda n, p: page.api(p.model, n)
        ),
        "fuzz-reader": Experiment(
            "spoiled images to the reader", 600, "seconds", 10, lambda n, p: pictures.fuzz(n)
        ),
        "fuzz-models": Experiment(
            "spoiled model files with a card that vouches for them",
            600,
            "seconds",
            10,
            lambda n, p: models.fuzz(n),
        ),
        "resnet50": Experiment(
            "kill -9 at random while ResNet50 trains on the real flowers", 3, "kills", 60, resnet50
        ),
        "soak": Experiment(
            "photos, odd files and odd requests without a pause",
            3_600,
            "seconds",
            60,
            lambda n, p: page.soak(p.model, n),
        ),
    }


def main(arguments: list[str]) -> int:
    """Runs experiments, keeps their figures, and writes the page; 1 when one has failed."""
    known = experiments()
    parser = argparse.ArgumentParser(prog="make faults", description=__doc__.split("\n")[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help="all where none is named")
    parser.add_argument("--share", type=float, default=1.0, help="of the full numbers")
    parser.add_argument("--list", action="store_true", help="name the experiments")
    parser.add_argument("--page", action="store_true", help="write docs/reliability.md alone")
    chosen = parser.parse_args(arguments)
    if unknown := set(chosen.names) - set(known):
        parser.error(f"experiments out of {', '.join(known)}; received {', '.join(unknown)}")
    if chosen.list:
        for name, each in known.items():
            print(f"{name:14} {each.minutes:5g} min  {each.full:6,g} {each.unit}: {each.what}")
        return 0
    failed = False
    with tempfile.TemporaryDirectory(prefix="flowers-faults-") as folder:
        place = Place(Path(folder), ROOT.parent / "shared")
        for name in [] if chosen.page else chosen.names or list(known):
            failed |= _one(name, known[name], chosen.share, place)
    from faults import reliability

    PAGE.write_text(reliability.page(_kept(), known), encoding="utf-8")
    return int(failed)


def _one(name: str, experiment: Experiment, share: float, place: Place) -> bool:
    """Runs one experiment and keeps its row; whether it failed."""
    print(f"{name}: {experiment.what} ...", flush=True)
    load, started = os.getloadavg()[0], time.monotonic()
    outcome = experiment.run(experiment.full * share, place)
    row = {
        "what": experiment.what,
        "size": f"{experiment.full * share:,g} {experiment.unit}",
        "share": share,
        "tries": outcome.tries,
        "failures": len(outcome.failures),
        "first_failures": outcome.failures[:10],
        "figures": outcome.figures,
        "seconds": round(time.monotonic() - started, 1),
        "date": datetime.now(UTC).date().isoformat(),
        "machine": f"{os.cpu_count()} cores, {platform.system()} {platform.machine()}, Python "
        f"{platform.python_version()}, load {load:.1f} before",
        "command": f'make faults ARGS="{name}{f" --share {share:g}" if share != 1 else ""}"',
    }
    print(f"  {outcome.tries} tries, {len(outcome.failures)} failures; {outcome.figures}")
    for failure in outcome.failures[:10]:
        print(f"  - {failure}")
    kept = _kept()
    # a small run does not replace the figures of a full one
    if share >= kept.get(name, {}).get("share", 0):
        KEPT.write_text(json.dumps({**kept, name: row}, indent=2, ensure_ascii=False) + "\n")
    return bool(outcome.failures)


def _kept() -> dict[str, dict]:
    return json.loads(KEPT.read_text(encoding="utf-8")) if KEPT.exists() else {}


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
