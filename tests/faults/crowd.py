"""Many clients at once from one thread, which spends as little on each of them as it can.

The server shares this machine's cores with those who ask it. A client of asyncio takes longer over
an upload than the server over its refusal, and would mostly measure itself.
"""

from __future__ import annotations

import errno
import re
import select
import socket
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

LOOK = 0.2  # seconds between two calls of `watch`
PATIENCE = 60.0  # seconds that a client waits for the end of its answer


@dataclass
class Client:
    """One upload: when it began, and what has come back."""

    number: int
    unsent: memoryview
    answer: bytearray = field(default_factory=bytearray)
    began: float = field(default_factory=time.perf_counter)
    seconds: float = 0.0

    @property
    def status(self) -> int:
        """Of the answer; 0 where none came, or not all of it, or more than it."""
        length = re.search(rb"\r\ncontent-length: (\d+)", self.head.lower())
        whole = length is not None and len(self.body) == int(length[1])
        return int(self.answer[9:12]) if self.answer.startswith(b"HTTP/1.") and whole else 0

    @property
    def head(self) -> bytes:
        return bytes(self.answer).partition(b"\r\n\r\n")[0]

    @property
    def body(self) -> bytes:
        return bytes(self.answer).partition(b"\r\n\r\n")[2]


def ask(
    port: int,
    requests: Sequence[bytes],
    count: int,
    at_once: int,
    watch: Callable[[], None] = lambda: None,
) -> list[Client]:
    """Sends `count` requests, each over a connection of its own, `at_once` at a time.

    Args:
        port: of 127.0.0.1.
        requests: taken in turn; each says `Connection: close`.
        watch: called about every `LOOK` seconds.

    Returns:
        Every client, in no order; `seconds` from before its connection to the end of its answer.
    """
    done: list[Client] = []
    waiting: dict[int, tuple[socket.socket, Client]] = {}
    ready, begun, looked = select.epoll(), 0, time.monotonic()
    while len(done) < count:
        while begun < count and len(waiting) < at_once:
            client = Client(begun, memoryview(requests[begun % len(requests)]))
            own = socket.socket()
            own.setblocking(False)
            code = own.connect_ex(("127.0.0.1", port))
            if code not in (0, errno.EINPROGRESS):
                raise OSError(code, f"client {begun} could not begin")
            waiting[own.fileno()] = own, client
            _send(own, client)  # on this machine the connection is there already
            ready.register(own.fileno(), select.EPOLLOUT if client.unsent else select.EPOLLIN)
            begun += 1
        for descriptor, _ in ready.poll(LOOK):
            own, client = waiting[descriptor]
            if _on(own, client, ready):
                continue
            client.seconds = time.perf_counter() - client.began
            done.append(client)
            del waiting[descriptor]
            own.close()
        if time.monotonic() - looked > LOOK:
            watch()
            looked = time.monotonic()
            for descriptor, (own, client) in tuple(waiting.items()):
                if time.perf_counter() - client.began > PATIENCE:
                    client.seconds = PATIENCE
                    done.append(client)
                    del waiting[descriptor]
                    own.close()
    ready.close()
    return done


def _on(own: socket.socket, client: Client, ready: select.epoll) -> bool:
    """Sends or receives what can be at once; whether there is more to come."""
    if client.unsent:
        _send(own, client)
        if not client.unsent:
            ready.modify(own.fileno(), select.EPOLLIN)
        return True
    try:
        part = own.recv(65536)
    except BlockingIOError:
        return True
    except ConnectionError:
        return False  # what has come before counts
    client.answer += part
    return bool(part)


def _send(own: socket.socket, client: Client) -> None:
    try:
        client.unsent = client.unsent[own.send(client.unsent) :]
    except BlockingIOError:
        return
    except ConnectionError:
        client.unsent = memoryview(b"")  # answered, or gone, before it had everything: look
