"""Where the time of a run went, part by part."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

# In the order of a run. What belongs to none of them is "other".
PARTS = (
    ("reading", "listing, checking, decoding photos"),
    ("starting", "importing Keras, building the network, loading weights"),
    ("features", "the frozen part, once a photo and view"),
    ("steps", "training steps, their compilation and the reading of batches"),
    ("validation", "the validation photos after every epoch"),
    ("checkpoints", "what a killed run goes on from"),
    ("evaluation", "calibration, the test photos, the report"),
    ("exporting", "the form that answers at once, and its proof"),
    ("other", ""),
)


@dataclass(frozen=True)
class Profile:
    """Seconds of each part, in the order of `PARTS`; they add up to the whole."""

    parts: tuple[tuple[str, float], ...]

    @property
    def total(self) -> float:
        """Seconds of the whole run."""
        return sum(seconds for _, seconds in self.parts)

    def as_text(self) -> str:
        """A table for the screen: part, seconds, share of the whole, what it is."""
        words, total = dict(PARTS), max(self.total, 1e-9)
        rows = [
            f"{name:<12}{seconds:>10.1f} s{seconds / total:>8.1%}  {words[name]}".rstrip()
            for name, seconds in self.parts
        ]
        whole = f"{'total':<12}{self.total:>10.1f} s{1:>8.1%}"
        return "\n".join(["where the time went", *rows, whole])


class Clock:
    """Adds up the time of each part. A part within another stops the other's time meanwhile."""

    def __init__(self, now: Callable[[], float] = time.perf_counter):
        """Args:
        now: seconds since any moment.
        """
        self._now = now
        self._seconds = {name: 0.0 for name, _ in PARTS}
        self._within = ["other"]
        self._since = now()

    @contextmanager
    def during(self, part: str) -> Iterator[None]:
        """Counts what runs within as `part`, one of `PARTS`."""
        self._count()
        self._within.append(part)
        try:
            yield
        finally:
            self._count()
            self._within.pop()

    def give(self, part: str, seconds: float) -> None:
        """Counts `seconds` of those that the present part took as those of `part` instead."""
        self._count()
        given = min(seconds, self._seconds[self._within[-1]])  # rounded ones may be a little more
        self._seconds[self._within[-1]] -= given
        self._seconds[part] += given

    def timed(self, part: str, function: Callable) -> Callable:
        """A function that does what `function` does, and counts as `part`."""

        def counted(*arguments: object) -> object:
            with self.during(part):
                return function(*arguments)

        return counted

    def watching(self, watch: Callable[[dict], bool] | None) -> Callable[[dict], bool]:
        """Sees the row of every epoch for `watch`, and counts its steps and its validation."""

        def seen(row: dict) -> bool:
            self.give("steps", row["seconds"] - row["validation_seconds"])
            self.give("validation", row["validation_seconds"])
            return watch is not None and watch(row)

        return seen

    def profile(self) -> Profile:
        """What has been counted until now."""
        self._count()
        return Profile(tuple(self._seconds.items()))

    def _count(self) -> None:
        now = self._now()
        self._seconds[self._within[-1]] += now - self._since
        self._since = now
