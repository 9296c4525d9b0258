"""The bounded queue: so many requests at work, so many waiting, and the next is told at once."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator

from flowers.errors import WorldError


class BusyError(WorldError):
    """There is no room now; the same request may succeed a little later."""


class Gate:
    """Lets `at_once` requests through, `queue` wait, and refuses more.

    A queue without a bound answers nobody under overload: everyone waits longer than they care
    to. With one, those who are let in are answered as fast as ever.
    """

    def __init__(self, at_once: int, queue: int, seconds: float):
        self._room = threading.Semaphore(at_once)
        self._lock = threading.Lock()
        self.most, self._seconds = at_once + queue, seconds
        self._inside = 0

    @property
    def inside(self) -> int:
        """Requests at work or waiting."""
        return self._inside

    @property
    def full(self) -> bool:
        """Whether the next request would be refused."""
        return self._inside >= self.most

    @contextlib.contextmanager
    def passage(self) -> Iterator[float]:
        """Waits for a turn, and holds it; yields the time.monotonic() by which to be done.

        Raises:
            BusyError: the queue is full, or the turn did not come in time.
        """
        deadline = time.monotonic() + self._seconds
        with self._lock:
            if self.full:
                raise busy()
            self._inside += 1
        try:
            if not self._room.acquire(timeout=self._seconds):
                raise busy()
            try:
                yield deadline
            finally:
                self._room.release()
        finally:
            with self._lock:
                self._inside -= 1


def busy() -> BusyError:
    """The refusal, in words."""
    return BusyError(
        "room for one more photo",
        "as many as can be looked at just now",
        "Many are asking: try again in a few seconds.",
    )
