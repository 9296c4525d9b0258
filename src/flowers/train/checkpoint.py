"""Where a run stands after an epoch, in one file that is replaced in one step."""

from __future__ import annotations

import hashlib
import json
import zipfile
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from flowers import files


@dataclass
class State:
    """Everything a run needs to go on after `epoch` epochs of phase number `phase`.

    The weights are those of the phase's tail; phases never narrow, so they hold what earlier
    phases learned as well.
    """

    phase: int = 0
    epoch: int = 0  # epochs done in this phase
    weights: list[np.ndarray] = field(default_factory=list)
    optimizer: list[np.ndarray] = field(default_factory=list)
    best: list[np.ndarray] = field(default_factory=list)
    best_loss: float = float("inf")
    best_epoch: int = 0
    history: list[dict] = field(default_factory=list)
    done: bool = False  # the phase has ended


def save(path: Path, state: State) -> None:
    """Writes the state atomically."""
    arrays = {
        f"{name}_{number:04d}": array
        for name in ("weights", "optimizer", "best")
        for number, array in enumerate(getattr(state, name))
    }
    words = {
        name: getattr(state, name)
        for name in ("phase", "epoch", "best_loss", "best_epoch", "history", "done")
    }
    arrays["words"] = np.frombuffer(json.dumps(words).encode(), np.uint8)
    with files.atomic(path) as temporary, temporary.open("wb") as file:
        np.savez(file, **arrays)


def load(path: Path) -> State | None:
    """The state saved at `path`; None when there is none or it cannot be read.

    A file that cannot be read is as good as none: training starts again, and says so.
    """
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
            words = json.loads(arrays["words"].tobytes())
            lists = {
                name: [arrays[key] for key in sorted(arrays) if key.startswith(f"{name}_")]
                for name in ("weights", "optimizer", "best")
            }
    except (FileNotFoundError, zipfile.BadZipFile, ValueError, KeyError, EOFError):
        return None
    return State(**words, **lists)


def name(settings: str, *arrays: np.ndarray) -> str:
    """The file of a run: equal for two runs exactly when they would train the same thing.

    Args:
        settings: everything that decides the result and is no array, as text.
        arrays: int, labels and photo numbers.
    """
    digest = hashlib.sha256(settings.encode("utf-8", "surrogateescape"))
    for numbers in arrays:
        digest.update(numbers.tobytes())
    return f"run-{digest.hexdigest()[:16]}.npz"
