"""Opened models: one that answers a lone photo soonest, or several side by side for a crowd.

A model with two threads has its answer first. But the threads wait for each other at each of its
layers, and by itself a photo takes 39 ms of the processors' time instead of 30. Two models of one
thread each gave a tenth more answers under load (42 a second instead of 38), and no more: each
reads weights of its own. To hold all three would take 60 MB more than to hold two, so the pool
changes from one to the other, and back.
"""

from __future__ import annotations

import contextlib
import logging
import threading
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from flowers.errors import FlowersError, InputError
from flowers.ship import runtimes
from flowers.ship.predictor import Prediction, Predictor
from flowers.ship.runtimes import SIDE_BY_SIDE
from flowers.web import memory

log = logging.getLogger("flowers.web")

Open = Callable[[int], Predictor]  # opens the model anew, with so many threads

_LATEST = 32  # photos that tell how many ask
_CROWD, _CALM = 16, 4  # of these met another one: so many in a crowd, so few where it has gone


@dataclass(frozen=True)
class Opener:
    """Opens one model file as often as it is needed."""

    path: Path

    @property
    def several(self) -> bool:
        """Whether several models of one thread answer more photos here than one of two threads."""
        return runtimes.side_by_side(self.path) > 1

    def __call__(self, threads: int = runtimes.THREADS) -> Predictor:
        """The model, ready: it has looked at a grey photo, and holds its weights once.

        Raises:
            InputError: as `Predictor.load`; or its answer is no number.
        """
        predictor = Predictor.load(self.path, threads=threads)
        side = predictor.card.size
        predictor.predict(np.full((side, side, 3), 128, np.uint8))
        memory.let_go(self.path)  # LiteRT has made its own copy, in the order that it multiplies in
        return predictor


class Pool:
    """Looks at photos with one model, or with several side by side while many ask at once."""

    def __init__(self, first: Predictor, open_again: Open | None = None):
        """Starts with `first` alone; without `open_again` it stays so."""
        self._open = open_again
        self._sha256 = first.card.sha256
        self._changed = threading.Condition()
        self._members = self._free = (first,)
        self._inside = 0  # photos that are looked at, or wait for it
        self._met: deque[bool] = deque(maxlen=_LATEST)  # whether a photo found another one here
        self._changing = False

    @property
    def members(self) -> int:
        """How many photos can be looked at at once."""
        return len(self._members)

    def predict(self, photo: np.ndarray) -> Prediction:
        """What the model says of uint8 [height, width, 3], RGB; waits for its turn."""
        with self._changed:
            self._inside += 1
            self._consider()
        try:
            with self._turn() as predictor:
                return predictor.predict(photo)
        finally:
            with self._changed:
                self._inside -= 1

    @contextlib.contextmanager
    def _turn(self) -> Iterator[Predictor]:
        with self._changed:
            self._changed.wait_for(lambda: self._free)
            predictor, *free = self._free
            self._free = tuple(free)
        try:
            yield predictor
        finally:
            with self._changed:
                if any(predictor is member for member in self._members):
                    self._free += (predictor,)
                self._changed.notify()

    def _consider(self) -> None:
        """Notes whether a photo met another one, and has the pool changed where that is usual."""
        self._met.append(self._inside > 1)
        if len(self._met) < _LATEST or self._changing or self._open is None:
            return
        crowd = sum(self._met) >= _CROWD
        if crowd == (len(self._members) > 1) or (not crowd and sum(self._met) > _CALM):
            return
        self._changing = True
        threading.Thread(target=self._change, args=(crowd,), name="pool", daemon=True).start()

    def _change(self, crowd: bool) -> None:
        """Opens what is needed while the present models go on, and lets these go."""
        try:
            self._members_become(self._again(1 if crowd else runtimes.THREADS))
            while crowd and len(self._members) < SIDE_BY_SIDE:
                self._members_become(*self._members, self._again(1))
        except (FlowersError, OSError, MemoryError) as error:
            self._open = None  # what is there goes on; it does not try with every photo
            log.warning("the model stays as it is opened: %s", error)
        finally:
            with self._changed:
                self._met.clear()
                self._changing = False
        memory.give_back()

    def _again(self, threads: int) -> Predictor:
        predictor = self._open(threads)
        if predictor.card.sha256 != self._sha256:
            raise InputError(
                "the model that is being served", "another one in its place", "Start again with it."
            )
        return predictor

    def _members_become(self, *members: Predictor) -> None:
        with self._changed:
            kept = [one for one in self._free if any(one is member for member in members)]
            new = [one for one in members if all(one is not member for member in self._members)]
            self._members, self._free = members, (*kept, *new)
            self._changed.notify_all()
