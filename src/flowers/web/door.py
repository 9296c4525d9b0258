"""At the door: saying no, and when, before anything has been done for a request.

Under overload most requests end here, so that it costs the least: an answer that is made once, by
the thread that has received the request.
"""

from __future__ import annotations

import json
import threading
from email.utils import formatdate

from flowers.web import headers, replies
from flowers.web.gate import Gate, busy
from flowers.web.metrics import Metrics

PREDICT = "/api/predict"
_FIRST, _LENGTH = f"POST {PREDICT} HTTP/1.1\r\n".encode(), b"content-length:"


class Door:
    """Turns away photos for which there is no room.

    A photo is inside from when it has come until it is answered. The gate behind it counts those
    whose thread has come as far, which under overload is later: too many would be let in.
    """

    status = "503 Service Unavailable"

    def __init__(self, gate: Gate, metrics: Metrics, retry: int):
        """`retry`: seconds after which one who is turned away should come back."""
        self._gate, self._metrics = gate, metrics
        self._lock, self._inside = threading.Lock(), 0
        self.body = json.dumps(replies.unusable(busy())).encode()
        self.headers = (
            *headers.SECURITY.items(),
            ("Cache-Control", "no-store"),
            ("Content-Length", str(len(self.body))),
            ("Content-Type", "application/json"),
            ("Retry-After", str(retry)),
        )

    def answer(self, last: bool) -> bytes:
        """The whole response of HTTP/1.1; `last`: the connection is closed after it."""
        lines = [f"HTTP/1.1 {self.status}", f"Date: {formatdate(usegmt=True)}"]
        lines += [f"{name}: {value}" for name, value in self.headers]
        lines += ["Connection: close"] if last else []
        return "\r\n".join([*lines, "", ""]).encode() + self.body

    def closed(self, method: str, path: str, full: bool | None = None) -> bool:
        """Whether such a request is turned away now; if so it counts as answered with 503.

        `full`: whether there is no room; left out, the gate tells.
        """
        full = self._gate.full if full is None else full
        turned_away = method == "POST" and path == PREDICT and full
        if turned_away:
            self._metrics.request(PREDICT, 503)
        return turned_away

    @property
    def full(self) -> bool:
        """Whether all places are taken, by those too whose turn has not yet come to the gate."""
        return self._inside >= self._gate.most or self._gate.full

    def refuses(self, begun: bytes) -> bool:
        """As `closed` where it is `full`, for the first bytes of a connection.

        What is more, or less, than one whole upload is not refused here.
        """
        return self.full and _is_upload(begun) and self.closed("POST", PREDICT, full=True)

    def enter(self, method: str, path: str) -> bool:
        """Counts a request that has not been turned away; whether it takes a place."""
        if method != "POST" or path != PREDICT:
            return False
        with self._lock:
            self._inside += 1
        return True

    def leave(self) -> None:
        """Gives back the place of one that has been answered."""
        with self._lock:
            self._inside -= 1


def _is_upload(received: bytes) -> bool:
    """Whether these bytes are one upload, from its first to its last."""
    if not received.startswith(_FIRST):
        return False
    head, end, body = received.partition(b"\r\n\r\n")
    lengths = [line[15:].strip() for line in head.lower().split(b"\r\n") if line[:15] == _LENGTH]
    return bool(end) and lengths == [b"%d" % len(body)]
