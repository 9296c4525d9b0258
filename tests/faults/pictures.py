"""Faults 8 and 9: odd images through reader, page and command line; spoiled bytes."""

from __future__ import annotations

import io
import json
import os
import random
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from PIL import Image

from faults import guided, tools
from faults.outcome import Outcome
from flowers.config import PhotoLimits
from flowers.data import photos
from flowers.errors import PhotoError

sys.path.append(str(Path(__file__).resolve().parents[1] / "data"))
import zoo

MEMORY = 150_000_000  # bytes that one image may take besides
SECONDS = 2.0  # of the processor for one image: others may be using it too
REPRODUCERS = Path(__file__).with_name("reproducers")
FUZZED = PhotoLimits(pixels=1_000_000)
READER = guided.Target("faults.fuzz_reader", 30, 700, 40_000, slice=600)


def by_reader() -> Outcome:
    """Each animal of the zoo is read as its twin or refused, within 2 s."""
    outcome, slowest = Outcome(), (0.0, "")
    for animal in _animals():
        started = time.process_time()
        try:
            said = _off(photos.read(animal.content), animal)
        except PhotoError as error:
            fits = animal.refusal is not None and animal.refusal in error.received
            said = "" if fits else f"refused as {error.received}"
        took = time.process_time() - started
        slowest = max(slowest, (took, animal.name))
        outcome.expect(not said and took < SECONDS, f"{animal.name}: {said}, {took:.2f} s")
    outcome.figures = f"slowest {slowest[0]:.2f} s ({slowest[1]})"
    return outcome


def by_command(model: Path) -> Outcome:
    """`flowers predict` on the whole zoo: the twin's answer or a refusal that names the file."""
    outcome, animals = Outcome(), _animals()
    with tempfile.TemporaryDirectory(prefix="flowers-faults-") as place:
        folder, twins = Path(place, "zoo"), Path(place, "twins")
        for each in (folder, twins):
            each.mkdir()
        for number, animal in enumerate(animals):
            (folder / f"{number:03}.jpg").write_bytes(animal.content)
            if animal.twin is not None:
                twin = zoo.save(Image.fromarray(animal.twin), "PNG")
                (twins / f"{number:03}.png").write_bytes(twin)
        started = time.monotonic()
        code, said, errors, most = _predict(model, folder)
        took = time.monotonic() - started
        _, expected, _, _ = _predict(model, twins)
        _, _, _, usual = _predict(model, folder / "000.jpg")
    outcome.expect(code == 2 and "Traceback" not in errors, f"exit code {code}: {errors[-300:]}")
    outcome.expect(most - usual < MEMORY, f"{(most - usual) / 1e6:,.0f} MB more")
    for number, animal in enumerate(animals):
        name = f"{number:03}.jpg"
        if animal.twin is None:
            named = f"{name}: Expected a photo" in errors and name not in said
            outcome.expect(named, f"{animal.name}: not refused by name")
        else:
            twin, mine = expected.get(f"{number:03}.png"), said.get(name)
            most_off = max((abs(twin[k] - mine[k]) for k in twin), default=1) if mine else 1.0
            allowed = 1e-3 + 0.01 * animal.tolerance
            outcome.expect(most_off <= allowed, f"{animal.name}: off by {most_off}")
    outcome.figures = (
        f"{took:.1f} s for all, {(most - usual) / 1e6:,.0f} MB more than for one photo"
    )
    return outcome


def by_page(model: Path) -> Outcome:
    """The page on the whole zoo: 200 with the twin's answer, 413 or 422 with a reason; 2 s."""
    from flowers.ship.predictor import Predictor
    from flowers.web.app import create_app
    from flowers.web.limits import PageLimits

    outcome, predictor, limits = Outcome(), Predictor.load(model), PageLimits().photo
    client, slowest = create_app(predictor).test_client(), (0.0, "")
    for animal in _animals():
        form = {"photo": (io.BytesIO(animal.content), "photo.jpg")}
        started = time.process_time()
        response = client.post("/api/predict", data=form)
        took = time.process_time() - started
        slowest = max(slowest, (took, animal.name))
        if response.status_code == 200 and animal.twin is not None:
            twin = predictor.predict(zoo.save(Image.fromarray(animal.twin), "PNG")).scores
            (answer,) = response.json["predictions"]
            off = max(abs(twin[k] - answer["scores"][k]) for k in twin)
            fits = off <= 1e-3 + 0.01 * animal.tolerance
        else:
            large = animal.twin is not None and animal.twin[..., 0].size > limits.pixels * 3 / 8
            too_many = response.status_code == 413 and len(animal.content) > limits.bytes
            refused = response.status_code == 422 and (animal.twin is None or large)
            fits = too_many or refused
        right = fits and took < SECONDS
        outcome.expect(right, f"{animal.name}: {response.status_code}, {took:.2f} s")
    outcome.figures = f"slowest {slowest[0]:.2f} s ({slowest[1]})"
    return outcome


def misread(content: bytes) -> str:
    """What is wrong with how the reader takes bytes; "" when they are read, or refused in short."""
    started = time.process_time()
    try:
        photo = photos.read(content, 32, FUZZED)
        said = "" if photo.shape == (32, 32, 3) and photo.dtype == np.uint8 else "odd pixels"
    except PhotoError as error:
        said = "" if len(error.received) < 80 else "a long reason"
    except Exception as error:
        said = f"{type(error).__name__}: {error}"
    return said or ("slow" if time.process_time() - started > 5 else "")


def fuzz(seconds: float, keep: Path = REPRODUCERS) -> Outcome:
    """Bytes to the reader until the time is up, each read or refused within 5 s.

    By atheris, which looks for bytes that reach new code; by `spoil` where that is not installed.
    """
    if not tools.installed("atheris"):
        return spoil(seconds, keep=keep)
    seeds = [a.content for a in _animals() if len(a.content) < READER.largest]
    seeds += [path.read_bytes() for path in REPRODUCERS.glob("fuzz_reader-*.bin")]
    return guided.fuzz(READER, seconds, seeds, keep)


def spoil(seconds: float, seed: int = 0, keep: Path = REPRODUCERS) -> Outcome:
    """Spoiled animals to the reader until the time is up, each read or refused within 5 s."""
    contents = [a.content for a in _animals() if len(a.content) < READER.largest]
    outcome, end = Outcome(), time.monotonic() + seconds

    @settings(
        max_examples=500,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(spoiled(contents))
    def some(content: bytes) -> None:
        if time.monotonic() < end:
            said = misread(content)
            outcome.expect(not said, said)
            if said:
                keep.mkdir(exist_ok=True)
                (keep / f"fuzz_reader-{len(outcome.failures):02}.bin").write_bytes(content)

    chance = random.Random(seed)
    while time.monotonic() < end and len(outcome.failures) < 10:
        with_seed(some, chance.getrandbits(63))()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    outcome.figures = f"hypothesis: most memory {peak / 1e6:,.0f} MB"
    return outcome


def with_seed(test, number: int):
    """The same test with other random choices."""
    from hypothesis import seed

    return seed(number)(test)


@st.composite
def spoiled(draw, contents: list[bytes]) -> bytes:
    """One of `contents` with a few bytes taken out, put in or changed; or two of them joined."""
    content = bytearray(draw(st.sampled_from(contents)))
    if draw(st.integers(0, 9)) == 0:
        other = draw(st.sampled_from(contents))
        cut = draw(st.integers(0, min(len(content), len(other))))
        content[cut:] = other[cut:]
    for _ in range(draw(st.integers(1, 8))):
        near = draw(st.booleans())  # headers matter most
        last = max(0, min(len(content) - 1, 300 if near else 40_000))
        place, drop = draw(st.integers(0, last)), draw(st.sampled_from((0, 1, 2, 4, 40)))
        common = st.sampled_from((b"\0" * 4, b"\xff" * 4, b"\x7f\xff\xff\xff", b"\x80\0\0\0"))
        content[place : place + drop] = draw(st.one_of(st.binary(max_size=4), common))
    return bytes(content)


def _animals() -> list[zoo.Animal]:
    return [animal for cage in zoo.zoo().values() for animal in cage]


def _off(photo: np.ndarray, animal: zoo.Animal) -> str:
    if animal.twin is None:
        return "read"
    if photo.shape != animal.twin.shape:
        return f"shape {photo.shape}"
    off = float(np.abs(photo.astype(int) - animal.twin.astype(int)).mean())
    return "" if off <= animal.tolerance else f"off by {off}"


def _predict(model: Path, target: Path) -> tuple[int, dict[str, dict], str, int]:
    """`flowers predict` in its process: exit code, name -> scores, stderr, most memory (bytes)."""
    code = (
        "import sys; from flowers.cli import main; sys.argv[0] = 'flowers'\n"
        "from flowers.ship.trial import _peak\n"
        "try: main()\n"
        "finally: print('PEAK', int(_peak()), file=sys.stderr)"
    )
    command = [sys.executable, "-c", code, "predict", target, "--model", model, "--json"]
    done = subprocess.run([str(part) for part in command], capture_output=True, env=os.environ)
    errors = done.stderr.decode(errors="replace")
    rows = [json.loads(line) for line in done.stdout.decode().splitlines()]
    peak = int(errors.rsplit("PEAK ", 1)[-1].split()[0]) if "PEAK " in errors else 0
    return done.returncode, {Path(r["path"]).name: r["scores"] for r in rows}, errors, peak
