"""Training here against training by the textbook, on the same photos.

The textbook is the transfer-learning guide of Keras: `image_dataset_from_directory`, decoded photos
cached in memory where they fit and fetched ahead, `fit` on the frozen network with a new head, then
`fit` again with the last stage thawed, in float32. Both train the same network from the same
weights on the same split and are scored on the same test photos; each starts from JPEG files with
empty caches, in a process of its own, in turn.

    .venv/bin/python benchmarks/textbook.py --data DIR --weights FILE --photos 1200 --epochs 5
    .venv/bin/python benchmarks/textbook.py --phases head              # only the frozen network
    .venv/bin/python benchmarks/textbook.py --target 0.92 --epochs 12  # the time to that accuracy

Without --target both train for the same epochs, one view a photo; with --phases head ours does so
in float32 as well. With --target ours follows its own default recipe, and the time is the one at
which the validation accuracy first reached it. The textbook stops there, or once it has taken 6
times as long as ours; where it never reached it, the time it took stands for it: the ratio is then
an upper bound. Where ours never did, the target of the comparison is not met, whatever the ratio.
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
import time
from pathlib import Path

import guide
import interleaved
import sample
from interleaved import Row

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
OURS, FLOAT32, TEXTBOOK = SIDES = ("ours", "ours-float32", "textbook")
GUIDE = "Keras' guide"
GIVEN_UP = 6  # times what ours took: past this the textbook stops, and the ratio is below 0.2
BOUND = 0.2  # of the textbook's time to the target


def main() -> None:
    """Runs all sides in processes of their own, in turn, and prints a table."""
    arguments = _arguments()
    if arguments.only:
        side = guide.train if arguments.only == TEXTBOOK else ours
        print(json.dumps(side(arguments, Path(arguments.work))))
        return
    with tempfile.TemporaryDirectory(prefix="textbook-") as work:
        source = sample.folder(arguments.data, Path(work), arguments.photos)
        arguments.photos = lay_out(source, arguments.photos, Path(work))
        done: dict[str, list[dict]] = {name: [] for name in sides(arguments)}

        def side(name: str) -> float:
            first = done[OURS][-1]["until"] if name == TEXTBOOK else None
            done[name].append(_process(name, work, first))
            return done[name][-1]["until"]

        interleaved.measure(
            {name: lambda name=name: side(name) for name in done},
            arguments.rounds,
            after=lambda: interleaved.write(rows(done, arguments), arguments),
        )
    interleaved.finish(rows(done, arguments), arguments)


def sides(arguments: argparse.Namespace) -> tuple[str, ...]:
    """Ours comes first: the textbook may stop at a multiple of its time."""
    return SIDES if _head_alone(arguments) else (OURS, TEXTBOOK)


def rows(done: dict[str, list[dict]], arguments: argparse.Namespace) -> list[Row]:
    """Wall time, or the time to the target; and the accuracy on the test photos."""
    what, bound = f"training from JPEG files, {arguments.photos:,} photos", None
    if arguments.target is not None:
        what = f"time to {arguments.target} on the validation photos, {arguments.photos:,} photos"
        bound = ("at most", BOUND)
    elif _head_alone(arguments):
        bound = ("at most", 1 / arguments.epochs + 0.05)
    theirs = done[TEXTBOOK]

    def row(label: str, runs: list[dict], key: str, *told) -> Row:
        values = [tuple(run[key] for run in side) for side in (runs, theirs)]
        note = _note({label: runs, GUIDE: theirs}, arguments.target)
        missed = arguments.target is not None and not _reached(runs)
        what, unit, target = told
        return Row(what, unit, (label, GUIDE), *values, target, note, missed)

    named = {OURS: "flowers", FLOAT32: "flowers, float32"}
    own = {named[name]: runs for name, runs in done.items() if name in named}
    made = [row(label, runs, "until", what, "s", bound) for label, runs in own.items()]
    told = ("test_accuracy", "accuracy on the test photos", "", None)
    return made + [row(label, runs, *told) for label, runs in own.items()]


def _note(runs: dict[str, list[dict]], target: float | None) -> str:
    """How each side was trained, and which did not reach the target."""
    said = [f"{label}: {side[0]['how']}." for label, side in runs.items()]
    for label, side in runs.items() if target is not None else ():
        if label != GUIDE:
            whole = statistics.median(run["seconds"] for run in side)
            said.append(f"{label} trained to its end in {whole:.0f} s, which is what was tested.")
        if _reached(side):
            continue
        stopped = any(run["stopped"] for run in side)
        ended = f"was stopped at {GIVEN_UP} times ours" if stopped else "had no more epochs"
        means = "the ratio is an upper bound" if label == GUIDE else "the target is not met"
        said.append(f"{label} did not reach {target} and {ended}: {means}.")
    return " ".join(said)


def _reached(side: list[dict]) -> bool:
    return all(run["reached"] for run in side)


def _head_alone(arguments: argparse.Namespace) -> bool:
    return arguments.phases == "head" and arguments.target is None


def _process(name: str, work: str, first: float | None) -> dict:
    """One side; `first` is what ours took in the same round."""
    command = [sys.executable, __file__, *sys.argv[1:], "--only", name, "--work", work]
    if first is not None:
        command += ["--longest", str(GIVEN_UP * first)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True)
    if done.returncode:
        raise SystemExit(f"{name} ended with {done.returncode}; see above")
    return json.loads(done.stdout.splitlines()[-1])


def lay_out(source: Path, photos: int, work: Path) -> int:
    """Links photos into work/all and into work/{train,validation,test} by the split that both use.

    All that there are, or where that is more than `photos` the same number a class.

    Returns:
        How many both sides use: look-alikes and broken files are left out.
    """
    from flowers.data import catalogue as catalogues

    classes = sorted(entry for entry in source.iterdir() if entry.is_dir())
    listed = {folder.name: sorted(folder.iterdir()) for folder in classes}
    enough = photos >= sum(map(len, listed.values()))
    for label, found in listed.items():
        (work / "all" / label).mkdir(parents=True)
        for photo in found if enough else found[: photos // len(classes)]:
            (work / "all" / label / photo.name).symlink_to(photo.resolve())
    usable = catalogues.build(work / "all").usable
    for row in usable.itertuples():
        target = work / row.split / row.path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.symlink_to((work / "all" / row.path).resolve())
    return len(usable)


def ours(arguments: argparse.Namespace, work: Path) -> dict:
    """The main job's training: catalogue, pixels, features, head, last stage."""
    from flowers import pipeline
    from flowers.train import features

    config = _config(arguments)
    reached: list[float] = []
    started = time.perf_counter()

    def watch(row: dict) -> bool:
        if arguments.target is not None and row["val_accuracy"] >= arguments.target:
            reached.append(time.perf_counter() - started)
        return False

    prepared = pipeline.prepare(str(work / "all"), config, data=work / "data", say=_log)
    trained = pipeline.fit(prepared, config, data=work / "data", say=_log, watch=watch)
    seconds = time.perf_counter() - started
    rows = prepared.catalogue.rows("test")
    outputs = features.over(trained.classifier.model, prepared.pixels, rows, "test photos")
    right = outputs.argmax(axis=1) == prepared.catalogue.label_ids[rows]
    shutil.rmtree(work / "data")
    settled = trained.config
    longest = " and ".join(f"{phase.name} {phase.epochs}" for phase in settled.phases)
    views = "1 view a photo" if settled.views == 1 else f"{settled.views} views a photo"
    how = f"{longest} epochs at most, {views}, {settled.precision}"
    return guide.told(seconds, reached, float(right.mean()), how)


def _config(arguments: argparse.Namespace):
    """What `flowers train` takes by default; to compare the same epochs, those and one view."""
    from dataclasses import replace

    from flowers.config import DEFAULT, phases

    config = replace(
        DEFAULT,
        weights=str(arguments.weights),
        size=arguments.size,
        backbone=arguments.backbone,
        precision="float32" if arguments.only == FLOAT32 else arguments.precision,
    )
    if arguments.target is not None:
        return config
    chosen = phases(arguments.phases, epochs=arguments.epochs)
    chosen = tuple(replace(phase, patience=arguments.epochs) for phase in chosen)
    return replace(config, phases=chosen, views=1)


def _log(line: str) -> None:
    print(line, file=sys.stderr)


def _arguments() -> argparse.Namespace:
    parser = interleaved.parser(__doc__, rounds=2)
    parser.add_argument("--data", type=Path, help="folder of class folders")
    parser.add_argument("--weights", default="imagenet", help="of the backbone: a file or imagenet")
    parser.add_argument("--photos", type=int, default=1200, help="how many, over all classes")
    parser.add_argument("--phases", default="head,stage", choices=("head", "head,stage"))
    parser.add_argument(
        "--epochs", type=int, default=5, help="of each phase; of the guide's with --target"
    )
    parser.add_argument("--target", type=float, help="measure the time to this accuracy")
    parser.add_argument("--precision", default="auto", help="of ours; the guide's is float32")
    parser.add_argument("--textbook-rate", type=float, default=1e-4, help="for the thawed stage")
    parser.add_argument("--batch", type=int, default=32, help="of the textbook")
    parser.add_argument("--size", type=int, default=224, help="px of a side")
    parser.add_argument("--backbone", default="resnet50", choices=("resnet50", "miniature"))
    parser.add_argument("--only", choices=SIDES, help=argparse.SUPPRESS)
    parser.add_argument("--work", help=argparse.SUPPRESS)
    parser.add_argument("--longest", type=float, default=math.inf, help=argparse.SUPPRESS)
    return parser.parse_args()


if __name__ == "__main__":
    main()
