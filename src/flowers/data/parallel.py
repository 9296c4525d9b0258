"""One function over many photos on all cores, in order, with bounded memory."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any


def cores() -> int:
    """Cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def ordered(
    function: Callable[[Any], Any],
    items: Iterable,
    workers: int | None = None,
    ahead: int | None = None,
) -> Iterator:
    """Yields function(item) for each item, in order, a few items ahead of the consumer.

    Threads and not processes: Pillow releases the interpreter while it decodes, threads start at
    once, and nothing is forked after TensorFlow was imported. When the consumer stops (an error,
    Ctrl-C) what has not begun is dropped.

    Args:
        function: called in threads.
        items: taken one by one, in the consumer's thread.
        workers: threads; one a core where left out, 16 at most.
        ahead: items that are begun before the consumer has taken the first of them; 8 a thread
            where left out.
    """
    workers = workers or min(cores(), 16)
    ahead = ahead or 8 * workers
    waiting: deque[Future] = deque()
    with ThreadPoolExecutor(workers) as pool:
        try:
            for item in items:
                waiting.append(pool.submit(function, item))
                if len(waiting) >= ahead:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()
