"""The server behind `flowers serve`: waitress, with bounds on what strangers may make it hold.

Waitress receives requests in one thread that waits for nobody, so that slow clients hold no thread
that could answer. As it comes it writes uploads above 512 kB to disk, lets two hundred clients
announce a gigabyte each, and never cuts one that sends a byte a second.
"""

from __future__ import annotations

import contextlib
import json
import logging
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from waitress.adjustments import Adjustments
from waitress.channel import HTTPChannel
from waitress.parser import HTTPRequestParser
from waitress.server import TcpWSGIServer
from waitress.task import ErrorTask
from waitress.utilities import BadRequest, Error

from flowers.errors import WorldError
from flowers.web import headers, memory, replies
from flowers.web.door import Door
from flowers.web.gate import busy
from flowers.web.limits import PageLimits

if TYPE_CHECKING:
    from flask import Flask

_AT_ONCE = 64  # connections looked at before those that are open have their turn again
_GLANCE = 65536  # bytes of a new connection that are looked at before anything is made for it
_PIPELINED = 16  # requests of one connection that wait for their turn
_UNTAKEN = 1024 * 1024  # bytes of answers that one connection may leave lying
_STOPPING = 10.0  # seconds in which requests at work are finished after a signal


class _FullError(Error):
    """All uploads together would be more than the memory is for."""

    code, reason = 503, "Service Unavailable"


class _Parser(HTTPRequestParser):
    """One request as it comes in; refuses an upload for which there is no memory or no time."""

    def __init__(self, adjustments: Adjustments, channel: _Channel):
        super().__init__(adjustments)
        self.started = time.time()
        self.inside = False  # whether it takes one of the places behind the door
        self.announced = 0  # bytes of the body, the most there can be where that is not told
        self._channel, self._server = channel, channel.server

    def received(self, data: bytes) -> int:
        if self._channel.close_when_flushed:  # what follows a last answer is not looked at
            self.completed = self.empty = True
            return len(data)
        before = self.headers_finished
        try:
            consumed = super().received(data)
        except Exception:  # as of int() for a length of 5,000 digits: waitress lets it through
            self.error, self.completed, consumed = BadRequest("malformed"), True, len(data)
        if self.headers_finished and not before and not self.completed:
            size = self.adj.max_request_body_size if self.chunked else self.content_length
            if self._server.announced() + size > self._server.limits.received:
                self.error, self.completed = _FullError("busy"), True
            else:
                self.announced = size
        if self.completed:
            self.expect_continue = False  # nobody shall send what is refused, or has come
            self._look()
        return consumed

    def _look(self) -> None:
        """At a request that is complete: whether it is answered at all."""
        waits, door = self._channel.requests, self._server.door  # answers come in their order
        if len(waits) >= _PIPELINED and not self.empty:
            self.error = BadRequest("too many requests at once")
        elif self.error or self.empty or waits:
            return
        elif door.closed(self.command, self.path, door.full):
            self._channel.turn_away(self)
            self.empty = True  # so that no task is made for it


class _Refusal(ErrorTask):
    """What waitress refuses by itself, in the words and with the headers of the page."""

    def execute(self) -> None:
        error, limits = self.request.error, self.channel.server.limits
        body = json.dumps(_reason(error, limits)).encode()
        self.status = f"{error.code} {error.reason}"
        self.response_headers += [*headers.SECURITY.items(), ("Content-Type", "application/json")]
        if error.code == 503:
            self.response_headers.append(("Retry-After", str(limits.retry)))
        self.set_close_on_finish()
        self.content_length = len(body)
        self.write(body)


class _Channel(HTTPChannel):
    """One connection."""

    error_task_class = _Refusal
    owing = 0.0  # since when its client has not taken what is there for it; 0 where nothing is

    def parser_class(self, adjustments: Adjustments) -> _Parser:
        return _Parser(adjustments, self)

    def turn_away(self, request: _Parser) -> None:
        """Says no here and now: a thread for it would take from those that are answered."""
        last = request.version != "1.1" or request.headers.get("CONNECTION", "").lower() == "close"
        answer = self.server.door.answer(last)
        with self.outbuf_lock:
            if not self.connected:
                return
            self.outbufs[-1].append(answer)
            self.current_outbuf_count += len(answer)
            self.total_outbufs_len += len(answer)
            self.close_when_flushed = self.close_when_flushed or last
            self._flush_some()

    def service(self) -> None:
        """As the base class: answers the first request. Its place is free then, whatever came."""
        request = self.requests[0]
        try:
            super().service()
        finally:
            if request.inside:
                request.inside = False
                self.server.door.leave()

    def cut(self) -> None:
        """Ends the connection, though its client takes nothing any more."""
        self.will_close = True
        with contextlib.suppress(OSError):  # or the loop would wait until it can be written to
            self.socket.shutdown(socket.SHUT_RDWR)

    def parsers(self) -> Iterator[_Parser]:
        """The request being received, if any, and those that wait for an answer."""
        if (receiving := self.request) is not None:
            yield receiving
        yield from tuple(self.requests)


class _Server(TcpWSGIServer):
    channel_class = _Channel
    limits: PageLimits
    door: Door

    def add_task(self, task: _Channel) -> None:
        """As the base class, for the first request of a connection, which takes its place now."""
        request = task.requests[0]
        if request.error is None and not request.inside:
            request.inside = self.door.enter(request.command, request.path)
        super().add_task(task)

    def announced(self) -> int:
        """Bytes of all uploads that are being received or answered."""
        channels = tuple(self.active_channels.values())
        return sum(parser.announced for channel in channels for parser in channel.parsers())

    def handle_accept(self) -> None:
        """Takes all who wait to be let in, and not one a turn: each turn asks every connection."""
        for _ in range(_AT_ONCE):
            if len(self._map) >= self.adj.connection_limit:
                break
            with contextlib.suppress(OSError):  # it has gone already, or no file handle is left
                if (taken := self.accept()) is None:
                    break
                self._begin(taken[0], self.fix_addr(taken[1]))

    def _begin(self, connection: socket.socket, address: tuple) -> None:
        """Reads what a new connection has sent; one that is turned away at once costs no more.

        Under overload that is nearly all of them, and what they take is taken from the answers.
        """
        connection.setblocking(False)
        try:
            begun = connection.recv(_GLANCE)
        except BlockingIOError:
            begun = b""
        if begun and self.door.refuses(begun):
            connection.send(self.door.answer(last=True))
            connection.close()
            return
        self.set_socket_options(connection)
        channel = self.channel_class(self, connection, address, self.adj, map=self._map)
        if begun:  # now, so that the next finds its place taken
            try:
                channel.received(begun)
            except Exception:
                channel.handle_error()  # which closes this one, and not the server

    def maintenance(self, now: float) -> None:
        """Cuts those who have been silent, who take too long to say what they want, or to take it.

        One who takes nothing holds a thread as soon as enough lies there for him.
        """
        super().maintenance(now)
        for channel in tuple(self.active_channels.values()):
            receiving = channel.request
            if not channel.total_outbufs_len:
                channel.owing = 0.0
            elif not channel.owing:
                channel.owing = now
            slow = receiving is not None and now - receiving.started > self.limits.seconds
            if slow or (channel.owing and now - channel.owing > self.limits.seconds):
                channel.cut()


def serve(
    app: Flask,
    host: str,
    port: int,
    limits: PageLimits | None = None,
    started: Callable[[str], None] = lambda address: None,
) -> None:
    """Serves a WSGI application until a signal stops it; what is at work is finished first.

    Args:
        app: from `create_app`.
        host: the address to listen on; 0.0.0.0 for all of this machine's.
        port: 0 takes a free one.
        limits: those that `app` was made with.
        started: told the page's address once it can be opened.

    Raises:
        WorldError: the port is taken, or may not be used.
    """
    limits = limits or PageLimits()
    memory.keep_little()
    logging.getLogger("waitress.queue").setLevel(logging.ERROR)  # full is what the gate reports
    try:
        server = _listen(app, host, port, limits)
    except OSError as error:
        raise WorldError(
            f"to listen on {host}, port {port}",
            error.strerror or str(error),
            "Name another with --port or --host, or stop what uses it.",
        ) from error
    stop = threading.Event()
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    for number in before:
        signal.signal(number, lambda *_: stop.set())
    running = threading.Thread(target=server.run, name="server", daemon=True)
    try:
        running.start()
        started(f"http://{_named(host)}:{server.effective_port}/")
        while running.is_alive() and not stop.wait(1):
            pass
        if not stop.is_set():
            raise WorldError(
                "a server that runs until it is stopped",
                "it has ended by itself",
                "Start it again.",
            )
        _finish(server)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        server.close()


def _listen(app: Flask, host: str, port: int, limits: PageLimits) -> _Server:
    whole = limits.upload + limits.form  # the form around a photo is cut by Flask, with words
    adjustments = Adjustments(
        listen=f"[{host}]:{port}" if ":" in host else f"{host}:{port}",
        threads=limits.threads,
        connection_limit=limits.connections,
        backlog=1024,
        asyncore_use_poll=True,
        recv_bytes=65536,
        inbuf_overflow=whole + 65536,  # above what is accepted: never a temporary file
        outbuf_overflow=whole,
        outbuf_high_watermark=_UNTAKEN,
        max_request_body_size=whole,
        max_request_header_size=limits.headers,
        channel_timeout=int(limits.seconds),
        cleanup_interval=2,
        ident=None,
    )
    server = _Server(app, _start=False, adj=adjustments, sockinfo=adjustments.listen[0])
    server.limits, server.door = limits, app.extensions["door"]
    server.accept_connections()
    return server


def _finish(server: _Server) -> None:
    """Takes no more connections, and waits for the answers that are being made and sent."""
    server.accepting = False
    deadline = time.monotonic() + _STOPPING
    while time.monotonic() < deadline and any(
        channel.requests or channel.total_outbufs_len
        for channel in tuple(server.active_channels.values())
    ):
        time.sleep(0.02)
    server.task_dispatcher.shutdown(timeout=1)


def _reason(error: Error, limits: PageLimits) -> dict[str, dict[str, str]]:
    most = f"{limits.photo.bytes / 2**20:.0f} MB"
    match error.code:
        case 413:
            reason = (f"an upload of at most {most}", f"the upload is larger than {most}")
            return replies.problem(*reason, "Make the photo smaller and try again.")
        case 503:
            return replies.unusable(busy())
    return replies.problem(
        "a request that can be understood",
        "the request is malformed",
        "The API is described at /api.",
    )


def _named(host: str) -> str:
    if host in ("0.0.0.0", "::"):
        return "localhost"
    return f"[{host}]" if ":" in host else host
