"""A real web server on this machine that can be told to misbehave."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass(frozen=True)
class Fault:
    """How one answer goes wrong; the default is an answer as it should be."""

    status: int = 200
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes | None = None  # instead of the file
    cut: int | None = None  # bytes of the body after which the connection is dropped
    flip: int | None = None  # place of a byte to change
    stall: bool = False  # after the cut: keep the connection open and silent
    pause: float = 0.0  # s between pieces of `piece` bytes
    piece: int = 65536
    announced: int | None = None  # a wrong Content-Length
    no_length: bool = False
    no_range: bool = False  # answers with the whole file although a part was asked for
    any_range: bool = False  # resumes without comparing editions
    wrong_place: bool = False  # resumes somewhere else


@dataclass
class Site:
    """One file on a local server, the faults of its next answers, and what was asked of it."""

    content: bytes
    url: str = ""
    etag: str | None = '"first"'
    modified: str | None = None
    faults: list[Fault] = field(default_factory=list)  # one a request; then `always`
    always: Fault = Fault()
    requests: list[dict[str, str]] = field(default_factory=list)  # headers, in lower case
    sent: int = 0  # bytes of bodies
    closed: threading.Event = field(default_factory=threading.Event)
    lock: threading.Lock = field(default_factory=threading.Lock)


@contextlib.contextmanager
def serve(content: bytes, name: str = "flower_photos.tgz", **options) -> Iterator[Site]:
    """Serves `content` at `site.url`, with ranges, until the block ends."""
    site = Site(content, **options)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            with site.lock:
                site.requests.append({key.lower(): value for key, value in self.headers.items()})
                fault = site.faults.pop(0) if site.faults else site.always
            with contextlib.suppress(ConnectionError):
                answer(self, site, fault)

        def do_HEAD(self) -> None:
            answer(self, site, Fault())

        def log_message(self, *arguments: object) -> None:
            """Keeps the tests quiet."""

    with running(Handler) as port:
        site.url = f"http://127.0.0.1:{port}/{name}"
        try:
            yield site
        finally:
            site.closed.set()


@contextlib.contextmanager
def running(handler: type[BaseHTTPRequestHandler]) -> Iterator[int]:
    """Runs a server with `handler` in a thread and yields its port."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    server.block_on_close = False
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def answer(request: BaseHTTPRequestHandler, site: Site, fault: Fault) -> None:
    """Sends one answer, right or wrong."""
    status, start = fault.status, 0
    body = site.content if fault.body is None else fault.body
    span = request.headers.get("Range")
    same = fault.any_range or request.headers.get("If-Range") in (None, site.etag, site.modified)
    if status == 200 and fault.body is None and span and same and not fault.no_range:
        status, start = 206, int(span.removeprefix("bytes=").rstrip("-"))
        if start >= len(body):
            status, body, start = 416, b"", 0
    whole, body = len(body), body[start:]
    request.send_response(status)
    if status == 206:
        place = start - 1 if fault.wrong_place else start
        request.send_header("Content-Range", f"bytes {place}-{whole - 1}/{whole}")
    if not fault.no_length:
        length = len(body) if fault.announced is None else fault.announced
        request.send_header("Content-Length", str(length))
    for key, value in (("ETag", site.etag), ("Last-Modified", site.modified), *fault.headers):
        if value is not None:
            request.send_header(key, value)
    request.close_connection = True
    request.send_header("Connection", "close")
    request.end_headers()
    if request.command == "HEAD":
        return
    if fault.flip is not None and start <= fault.flip < whole:
        place = fault.flip - start
        body = body[:place] + bytes([body[place] ^ 1]) + body[place + 1 :]
    body = body[: fault.cut]
    for place in range(0, len(body), fault.piece):
        request.wfile.write(body[place : place + fault.piece])
        with site.lock:
            site.sent += len(body[place : place + fault.piece])
        if fault.pause:
            time.sleep(fault.pause)
            if site.closed.is_set():
                return
    if fault.stall:
        site.closed.wait(30)
