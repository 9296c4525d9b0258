"""One exported file put to the test in a process of its own, as its users will run it.

`python -m flowers.ship.trial MODEL CARD PHOTOS OUT STARTED [plain]` opens MODEL with the runtime
of its format, answers all photos, and writes the answers and what it took to OUT.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from flowers.errors import WorldError
from flowers.ship import card as cards
from flowers.ship import runtimes
from flowers.ship.runtimes import Outputs

BATCH = 32  # photos a call, where many are answered
SINGLE = 15  # photos answered one by one for the latency


@dataclass(frozen=True, eq=False)
class Trial:
    """What came of it.

    outputs: of all photos, as `runtimes` gives them; start: seconds from the start of the process
    to its first answer; latency: seconds for one photo, the median; rate: photos a second, many
    at once; memory: bytes, the most that the process held.
    """

    outputs: Outputs
    start: float
    latency: float
    rate: float
    memory: int


def run(model: Path, card_of: Path, photos: Path, *, plain: bool = False) -> Trial:
    """Runs a model file over photos in a fresh process.

    Args:
        model: the file; its hash is not compared, since it is not published yet.
        card_of: a model whose card gives size and labels.
        photos: a .npy file of uint8 [N, S, S, 3].
        plain: see `runtimes.open_model`.

    Raises:
        WorldError: the process ended without an answer.
    """
    with tempfile.TemporaryDirectory(prefix="flowers-trial-") as folder:
        out = Path(folder, "trial.npz")
        command = [sys.executable, "-m", "flowers.ship.trial", model, card_of, photos, out]
        command += [str(time.time()), *(["plain"] if plain else [])]
        done = subprocess.run(
            [str(part) for part in command],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
        )
        if done.returncode or not out.is_file():
            last = (done.stderr.strip().split("\n") or [""])[-1][:300]
            raise WorldError(
                f"answers from {model.name} in its own runtime",
                f"exit code {done.returncode}: {last}",
                "Free memory and try again, or export another format.",
            )
        with np.load(out, allow_pickle=False) as arrays:
            outputs = {name: arrays[name] for name in runtimes.NAMES if name in arrays}
            took = arrays["took"].tolist()
    return Trial(outputs, took[0], took[1], took[2], int(took[3]))


def main(arguments: list[str]) -> None:
    """The process itself."""
    model, card_of, photos, out = (Path(part) for part in arguments[:4])
    card = cards.load(card_of, verify=False)
    pixels = np.load(photos, mmap_mode="r")
    answer = runtimes.open_model(model, card, plain="plain" in arguments[5:])
    answer(pixels[:1])
    start = time.time() - float(arguments[4])
    singles = []
    for row in range(SINGLE):
        photo = pixels[row % len(pixels)][None]
        before = time.perf_counter()
        answer(photo)
        singles.append(time.perf_counter() - before)
    answer(pixels[:BATCH])  # what a new shape costs at first is no part of the rate
    before = time.perf_counter()
    parts = [answer(pixels[first : first + BATCH]) for first in range(0, len(pixels), BATCH)]
    rate = len(pixels) / (time.perf_counter() - before)
    outputs = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    took = [start, float(np.median(singles)), rate, _peak()]
    np.savez(out, took=np.array(took, np.float64), **outputs)


def _peak() -> float:
    """Bytes: the most memory that this process held; 0 where the system does not tell."""
    status = Path("/proc/self/status")  # getrusage would count what the parent held before exec
    if status.is_file():
        for line in status.read_text().splitlines():
            if line.startswith("VmHWM:"):
                return 1024.0 * int(line.split()[1])
    return 0.0


if __name__ == "__main__":
    main(sys.argv[1:])
