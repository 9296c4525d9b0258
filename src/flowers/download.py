"""The one place that downloads: resumes, verifies, retries within bounds."""

from __future__ import annotations

import contextlib
import math
import os
import re
import time
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import BinaryIO

import requests
import urllib3
from tqdm import tqdm

from flowers import files
from flowers.errors import InputError, WorldError
from flowers.progress import progress

_CHUNK = 128 * 1024  # bytes read at a time, at most
_STEP = 1024 * 1024  # bytes gained that make a broken connection no failure
_SLOWEST = 1000  # bytes a second: less is a stall
_LONGEST_WAIT = 30.0  # seconds before a retry, whatever a server asks for
_NO_ADDRESS = (
    requests.exceptions.InvalidURL,
    requests.exceptions.InvalidSchema,
    requests.exceptions.MissingSchema,
)
_PASSING = (408, 425, 429)  # answers below 500 that may be different a moment later


class _InterruptedError(Exception):
    """One attempt failed and the next may succeed, after `wait` seconds where a server says so."""

    def __init__(self, reason: str, wait: float | None = None):
        super().__init__(reason)
        self.wait = wait


@dataclass(frozen=True)
class _Version:
    """What tells one edition of a file on a server from the next."""

    url: str
    length: int | None = None  # bytes
    etag: str | None = None  # strong ones only: a weak one does not promise the same bytes
    modified: str | None = None

    @classmethod
    def of(cls, url: str, response: requests.Response, length: int | None) -> _Version:
        etag = response.headers.get("ETag")
        etag = etag if etag and not etag.startswith("W/") else None
        return cls(url, length, etag, response.headers.get("Last-Modified"))

    @property
    def validator(self) -> str | None:
        return self.etag or self.modified


@dataclass(frozen=True)
class _Download:
    url: str
    path: Path
    checksum: tuple[str, str] | None  # (algorithm, hexadecimal digits)
    size_limit: int
    timeout: tuple[float, float]

    @property
    def partial(self) -> Path:
        return self.path.with_name(f".{self.path.name}.download")

    @property
    def memo(self) -> Path:
        return self.path.with_name(f".{self.path.name}.download.json")


def fetch(
    url: str,
    path: str | os.PathLike,
    *,
    sha256: str | None = None,
    md5: str | None = None,
    size_limit: int,
    attempts: int = 4,
    backoff: float = 0.5,
    timeout: tuple[float, float] = (5.0, 20.0),
) -> Path:
    """Downloads `url` to `path`, unless it is there, and returns the path.

    What an interrupted download left is resumed when the server still has the same edition; it
    lies beside `path` as `.NAME.download`. The file gets its name when its length, its hash where
    one is given, and its kind (no web page in its place) are right. Of several processes one
    downloads and the others wait.

    Args:
        url: http or https.
        path: the file to make.
        sha256: expected hash in hexadecimal; a file that is there with another hash is replaced.
        md5: the same for publishers that give no other.
        size_limit: bytes; a longer answer is refused.
        attempts: failures in a row before it gives up; one that brought a megabyte is none.
        backoff: seconds before the first retry; doubled each time, at most 30 s.
        timeout: seconds to connect, and seconds without data before a connection counts as dead.

    Raises:
        WorldError: no connection, an answer that is none, too long or wrong, a full disk.
    """
    checksum = ("sha256", sha256.lower()) if sha256 else ("md5", md5.lower()) if md5 else None
    download = _Download(url, Path(path), checksum, int(size_limit), timeout)
    with files.locked(download.path):
        if download.path.is_file() and _is_whole(download.path, checksum):
            return download.path
        with files.world(download.path):
            _try_often(download, attempts, backoff)
    return download.path


def _try_often(download: _Download, attempts: int, backoff: float) -> None:
    failures, furthest = 0, _size(download.partial)
    with _bar(download.path.name) as bar:
        while True:
            try:
                return _attempt(download, bar)
            except _NO_ADDRESS as error:
                raise InputError(
                    "an address that begins with https:// or http://", download.url, "Correct it."
                ) from error
            except (requests.RequestException, urllib3.exceptions.HTTPError) as error:
                problem = _InterruptedError(_plainly(error))
            except _InterruptedError as error:
                problem = error
            reached = _size(download.partial)
            failures = 1 if reached - furthest >= _STEP else failures + 1
            furthest = max(furthest, reached)
            if failures >= attempts:
                raise WorldError(
                    f"to download {download.url}",
                    f"{problem}, {failures} times in a row",
                    "Check the connection and try again: it goes on where it stopped.",
                )
            wait = backoff * 2 ** (failures - 1) if problem.wait is None else problem.wait
            time.sleep(min(max(wait, 0.0), _LONGEST_WAIT))


def _attempt(download: _Download, bar: tqdm) -> None:
    """One connection: asks for what is missing, appends it, and publishes what is whole."""
    known = _recall(download)
    have = _size(download.partial)
    if known.length is None or have < known.length:
        headers = {"Accept-Encoding": "identity"}
        if have and known.validator:
            headers |= {"Range": f"bytes={have}-", "If-Range": known.validator}
        with requests.get(
            download.url, headers=headers, stream=True, timeout=download.timeout
        ) as response:
            known = _begin(download, response, known, have)
            with download.partial.open("ab") as file:
                _receive(download, response, file, known, bar)
    _verify(download, known)
    files.publish(download.partial, download.path)
    _discard(download)


def _begin(
    download: _Download, response: requests.Response, known: _Version, have: int
) -> _Version:
    """Judges the head of an answer; leaves the partial file as long as where the body begins."""
    status = response.status_code
    if status == 416:
        _discard(download)
        raise _InterruptedError("what was downloaded before no longer fits")
    if status >= 500 or status in _PASSING:
        raise _InterruptedError(f"the server answered {status}", _retry_after(response))
    if status not in (200, 206):
        raise WorldError(
            f"to download {download.url}",
            f"the server answered {status} ({response.reason or 'no reason given'})",
            "The file may have moved: choose another source, or correct the address.",
        )
    if re.match(r"(text/html|application/xhtml)", response.headers.get("Content-Type", "").lower()):
        raise _InterruptedError("a web page came in place of the file")
    if status == 206:
        version = _resumed(response, known, have)
        if version is None:
            _discard(download)
            raise _InterruptedError("the server went on with another file or at another place")
    else:
        _discard(download)
        have, body = 0, response.headers.get("Content-Length", "")
        version = _Version.of(download.url, response, int(body) if body.isdigit() else None)
    if (version.length or 0) > download.size_limit:
        raise _too_long(download, version.length)
    files.require_space(download.path.parent, (version.length or 0) - have, download.path.name)
    files.write_json(download.memo, asdict(version))
    return version


def _resumed(response: requests.Response, known: _Version, have: int) -> _Version | None:
    """The edition that a 206 goes on with, if it is the one we know and begins where we stopped."""
    span = re.match(r"bytes (\d+)-\d+/(\d+)$", response.headers.get("Content-Range", ""))
    if not span or int(span[1]) != have:
        return None
    length = int(span[2])
    said = _Version.of(known.url, response, length)
    same = (known.length or length) == length and (said.etag or known.etag) == known.etag
    return replace(known, length=length) if same else None


def _receive(
    download: _Download, response: requests.Response, file: BinaryIO, known: _Version, bar: tqdm
) -> None:
    size = file.tell()
    bar.total, bar.n = known.length, size
    since, gained, patience = time.monotonic(), 0, download.timeout[1]
    # read1 gives what has arrived, so that a server that drips cannot hold us for hours.
    while chunk := response.raw.read1(_CHUNK, decode_content=False):
        size += len(chunk)
        if size > download.size_limit:
            raise _too_long(download, size)
        file.write(chunk)
        bar.update(len(chunk))
        gained += len(chunk)
        if (passed := time.monotonic() - since) > patience:
            if gained < _SLOWEST * passed:
                raise _InterruptedError(f"only {gained:,} bytes came in {passed:,.0f} s")
            since, gained = time.monotonic(), 0


def _verify(download: _Download, known: _Version) -> None:
    size = _size(download.partial)
    if known.length is not None and size < known.length:
        raise _InterruptedError(f"it broke off after {size:,} of {known.length:,} bytes")
    problem = None
    if known.length is not None and size > known.length:
        problem = f"{size:,} bytes came where {known.length:,} were announced"
    elif size == 0:
        problem = "an empty file came"
    elif _is_page(download.partial) and download.path.suffix not in (".html", ".xml", ".svg"):
        problem = "a web page came in place of the file"
    elif not _is_whole(download.partial, download.checksum):
        algorithm, digits = download.checksum
        came = files.digest(download.partial, algorithm)
        name = "SHA-256" if algorithm == "sha256" else algorithm.upper()
        problem = f"its {name} is {came} and not {digits}"
    if problem:
        _discard(download)
        raise _InterruptedError(problem)


def _recall(download: _Download) -> _Version:
    """Which edition the partial file is of; without a record of that it is of no use."""
    with contextlib.suppress(InputError, TypeError):
        version = _Version(**files.read_json(download.memo))
        if version.url == download.url and (version.validator or version.length is None):
            return version
    _discard(download)
    return _Version(download.url)


def _discard(download: _Download) -> None:
    download.partial.unlink(missing_ok=True)
    download.memo.unlink(missing_ok=True)


def _size(path: Path) -> int:
    return path.stat().st_size if path.is_file() else 0


def _is_whole(path: Path, checksum: tuple[str, str] | None) -> bool:
    return checksum is None or files.digest(path, checksum[0]) == checksum[1]


def _is_page(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(512).removeprefix(b"\xef\xbb\xbf").lstrip().startswith(b"<")


def _retry_after(response: requests.Response) -> float | None:
    """Seconds that a server asks to wait, as a number or as a date (RFC 9110, 10.2.3)."""
    text = response.headers.get("Retry-After", "").strip()
    with contextlib.suppress(ValueError):
        wait = float(text)
        return wait if math.isfinite(wait) else None
    with contextlib.suppress(ValueError, TypeError):
        return (parsedate_to_datetime(text) - datetime.now(UTC)).total_seconds()
    return None


def _too_long(download: _Download, length: int) -> WorldError:
    _discard(download)
    return WorldError(
        f"at most {download.size_limit / 1e6:,.0f} MB from {download.url}",
        f"{length / 1e6:,.0f} MB or more",
        "This is not the file we know: choose another source.",
    )


def _plainly(error: Exception) -> str:
    """What a network error means, without the library's own nesting of reasons."""
    text = str(error)
    if isinstance(error, requests.Timeout | urllib3.exceptions.TimeoutError) or "timed out" in text:
        return "nothing came for too long"
    if isinstance(error, requests.exceptions.SSLError):
        return "the server's certificate is not accepted"
    if "NameResolution" in text or "getaddrinfo" in text:
        return "the server's name could not be looked up"
    if isinstance(error, requests.ConnectionError):
        return "the server could not be reached"
    return f"the connection broke off ({type(error).__name__})"


def _bar(name: str) -> tqdm:
    bar = progress((), name, unit="B")
    bar.unit_scale = True
    return bar
