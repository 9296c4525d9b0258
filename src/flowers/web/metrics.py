"""Counts for Prometheus, in its text format; of one process."""

from __future__ import annotations

import threading
import time
from collections import Counter

from flowers.web import memory

# seconds: 10 ms is what one photo takes at best, 20 s what a request may take at most
BUCKETS = (0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 20.0)


class Metrics:
    """Counts requests by route and status, and photos by outcome and time."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._requests: Counter[tuple[str, int]] = Counter()
        self._photos: Counter[str] = Counter()
        self._buckets: Counter[float] = Counter()
        self._seconds = 0.0
        self._started = time.time()

    def request(self, route: str, status: int) -> None:
        """Counts an answered request; `route` is the rule, never the path that was asked for."""
        with self._lock:
            self._requests[route, status] += 1

    def photo(self, outcome: str, seconds: float) -> None:
        """Counts a photo: known, unknown or refused."""
        with self._lock:
            self._photos[outcome] += 1
            self._seconds += seconds
            for bound in BUCKETS:
                if seconds <= bound:
                    self._buckets[bound] += 1

    def as_text(self, waiting: int, ready: bool) -> str:
        """Everything, in version 0.0.4 of the format.

        Args:
            waiting: requests at work or in the queue.
            ready: whether the next request would be let in.
        """
        with self._lock:
            requests, photos = sorted(self._requests.items()), sorted(self._photos.items())
            buckets, seconds = dict(self._buckets), self._seconds
        count = sum(number for _, number in photos)
        lines = [*_head("flowers_requests_total", "counter", "Requests answered.")]
        for (route, status), number in requests:
            lines.append(f'flowers_requests_total{{route="{route}",status="{status}"}} {number}')
        lines += _head("flowers_photos_total", "counter", "Photos looked at.")
        lines += [f'flowers_photos_total{{outcome="{name}"}} {number}' for name, number in photos]
        name = "flowers_photo_seconds"
        lines += _head(name, "histogram", "Seconds from the bytes of a photo to its answer.")
        lines += [f'{name}_bucket{{le="{bound}"}} {buckets.get(bound, 0)}' for bound in BUCKETS]
        lines += [f'{name}_bucket{{le="+Inf"}} {count}', f"{name}_sum {seconds:.6f}"]
        lines += [f"{name}_count {count}"]
        lines += _gauge("flowers_waiting", "Requests at work or waiting.", waiting)
        lines += _gauge("flowers_ready", "Whether the next request is let in.", int(ready))
        started = f"{self._started:.3f}"
        lines += _gauge("process_start_time_seconds", "When the process began.", started)
        if (held := memory.resident()) is not None:
            lines += _gauge("process_resident_memory_bytes", "Memory in use.", held)
        return "\n".join(lines) + "\n"


def _head(name: str, kind: str, help_text: str) -> list[str]:
    return [f"# HELP {name} {help_text}", f"# TYPE {name} {kind}"]


def _gauge(name: str, help_text: str, value: object) -> list[str]:
    return [*_head(name, "gauge", help_text), f"{name} {value}"]
