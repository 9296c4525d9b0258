"""A bucket on this machine: as much of the S3 protocol as reading a bucket needs."""

import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, unquote, urlsplit
from xml.sax.saxutils import escape

NAME = "garden"
PAGE = 3  # names of one answer to a listing, so that a listing takes several


@dataclass
class Bucket:
    """Objects by key. `denied` holds keys, or "" for the listing; `failures` are served first."""

    objects: dict[str, bytes]
    denied: set[str] = field(default_factory=set)
    failures: int = 0  # requests that are answered with 503 before any other answer
    asked: Counter = field(default_factory=Counter)
    port: int = 0

    def uri(self, path: str) -> str:
        """The URI of a folder of the bucket, with how it is reached."""
        options = f"scheme=http&region=x&endpoint_override=127.0.0.1%3A{self.port}"
        return f"s3://key:secret@{NAME}/{path}?{options}"


@contextmanager
def serving(bucket: Bucket) -> Iterator[Bucket]:
    """Serves a bucket on a port of its own."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(bucket))
    bucket.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield bucket
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def _handler(bucket: Bucket) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *arguments: object) -> None:
            pass

        def do_HEAD(self) -> None:
            self.answer()

        def do_GET(self) -> None:
            self.answer()

        def answer(self) -> None:
            parts = urlsplit(self.path)
            key = unquote(parts.path).removeprefix(f"/{NAME}").lstrip("/")
            bucket.asked[self.command, key] += 1
            if bucket.failures > 0:
                bucket.failures -= 1
                return self.reply(503, _error("ServiceUnavailable"))
            if key in bucket.denied:
                return self.reply(403, _error("AccessDenied"))
            if not key:
                return self.reply(200, _page(bucket, parse_qs(parts.query)))
            if key not in bucket.objects:
                return self.reply(404, _error("NoSuchKey"))
            content, status = bucket.objects[key], 200
            if wanted := self.headers.get("Range"):
                first, last = wanted.removeprefix("bytes=").split("-")
                content, status = content[int(first) : int(last) + 1 if last else None], 206
            return self.reply(status, content)

        def reply(self, status: int, content: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Length", str(len(content)))
            self.send_header("ETag", '"x"')
            self.send_header("Last-Modified", "Sat, 21 Nov 2026 00:00:00 GMT")
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(content)

    return Handler


def _error(code: str) -> bytes:
    return f"<Error><Code>{code}</Code><Message>{code}</Message></Error>".encode()


def _page(bucket: Bucket, query: dict[str, list[str]]) -> bytes:
    """One answer to ListObjectsV2."""
    prefix, delimiter = (query.get(name, [""])[0] for name in ("prefix", "delimiter"))
    names = set()
    for key in bucket.objects:
        if key.startswith(prefix):
            head, found, _ = key[len(prefix) :].partition(delimiter) if delimiter else (key, "", "")
            names.add(prefix + head + "/" if found else key)
    start = query.get("continuation-token", query.get("start-after", [""]))[0]
    left = sorted(name for name in names if name > start)
    page = left[:PAGE]
    rows = [
        f"<CommonPrefixes><Prefix>{escape(name)}</Prefix></CommonPrefixes>"
        if name.endswith("/")
        else f"<Contents><Key>{escape(name)}</Key><Size>{len(bucket.objects[name])}</Size>"
        "<LastModified>2026-11-21T00:00:00.000Z</LastModified></Contents>"
        for name in page
    ]
    more = len(left) > len(page)
    token = f"<NextContinuationToken>{escape(page[-1])}</NextContinuationToken>" if more else ""
    return (
        '<?xml version="1.0" encoding="UTF-8"?><ListBucketResult>'
        f"<Name>{NAME}</Name><Prefix>{escape(prefix)}</Prefix><KeyCount>{len(page)}</KeyCount>"
        f"<IsTruncated>{str(more).lower()}</IsTruncated>"
        f"{''.join(rows)}{token}</ListBucketResult>"
    ).encode()
