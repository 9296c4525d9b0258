"""Ctrl-C and its kin, noticed for certain while a network is being trained."""

from __future__ import annotations

import signal
import threading

SIGNALS = tuple(
    getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)
)


class Interruption:
    """Remembers that the process was asked to stop.

    Python raises KeyboardInterrupt wherever it happens to be, and inside a callback of TensorFlow
    or a destructor it is lost: training would go on to its end. So the signal is noted as well,
    and `check` raises again.

    Only signals that would raise KeyboardInterrupt anyway are noted, and only in the main thread.
    """

    def __init__(self) -> None:
        self._came = False
        self._before: dict[int, object] = {}

    def __enter__(self) -> Interruption:
        if threading.current_thread() is threading.main_thread():
            for number in SIGNALS:
                if signal.getsignal(number) is signal.default_int_handler:
                    self._before[number] = signal.signal(number, self._note)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def check(self) -> None:
        """Raises KeyboardInterrupt when a signal came."""
        if self._came:
            raise KeyboardInterrupt

    def _note(self, number: int, frame: object) -> None:
        self._came = True
        raise KeyboardInterrupt
