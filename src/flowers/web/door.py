"""At the door: saying no, and when, before anything has been done for a request.

Under overload most requests end here, so that it costs the least: an answer that is made once, by
the thread that has received the request.
"""

from __future__ import annotations

import json
from email.utils import formatdate

from flowers.web import headers, replies
from flowers.web.gate import Gate, busy
from flowers.web.metrics import Metrics

PREDICT = "/api/predict"


class Door:
    """Turns away photos for which there is no room."""

    status = "503 Service Unavailable"

    def __init__(self, gate: Gate, metrics: Metrics, retry: int):
        """`retry`: seconds after which one who is turned away should come back."""
        self._gate, self._metrics = gate, metrics
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

    def closed(self, method: str, path: str) -> bool:
        """Whether such a request is turned away now; if so it counts as answered with 503."""
        turned_away = method == "POST" and path == PREDICT and self._gate.full
        if turned_away:
            self._metrics.request(PREDICT, 503)
        return turned_away
