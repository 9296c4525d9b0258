"""One function over many photos on all cores, in order, with bounded memory."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any


def ordered(function: Callable[[Any], Any], items: Iterable) -> Iterator:
    """Yields function(item) for each item, in order, a few items ahead of the consumer.

    Threads and not processes: Pillow releases the interpreter while it decodes, threads start at
    once, and nothing is forked after TensorFlow was imported. When the consumer stops (an error,
    Ctrl-C) what has not begun is dropped.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    workers = min(cores or 1, 16)
    waiting: deque[Future] = deque()
    with ThreadPoolExecutor(workers) as pool:
        try:
            for item in items:
                waiting.append(pool.submit(function, item))
                if len(waiting) >= 8 * workers:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()
