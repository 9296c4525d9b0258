"""Faults 15 to 21: the page under odd requests, slow clients, overload, and for an hour."""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
import random
import re
import resource
import statistics
import subprocess
import sys
import time
import urllib.request
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import jsonschema
import psutil
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from PIL import Image

from faults import crowd, tools
from faults.outcome import Outcome
from faults.pictures import _animals, spoiled, with_seed
from flowers.data import painted
from flowers.web import headers
from flowers.web.limits import PageLimits

MEGABYTE = 1024 * 1024
MEMORY = 512 * MEGABYTE  # of the host that the page is made for
FLAT = 100 * MEGABYTE  # more than before under overload: what is being received and answered
LIMITS = PageLimits()
HEAD = b"--x\r\nContent-Disposition: form-data; name=photo; filename=a\r\n\r\n"
TAIL = b"\r\n--x--\r\n"


# --- a server of its own ---------------------------------------------------------------------


@dataclass
class Server:
    """`flowers serve` as a process."""

    process: subprocess.Popen
    port: int

    def held(self) -> tuple[int, int, int]:
        """Bytes of memory, open descriptors, threads."""
        process = psutil.Process(self.process.pid)
        return process.memory_info().rss, process.num_fds(), process.num_threads()

    def answers(self) -> bool:
        """Whether it still looks at a photo: whoever keeps a place for ever ends that."""
        return asyncio.run(ask(self.port, request(HEAD + jpeg() + TAIL)))[0] == 200

    def healthy(self, path: str = "livez", within: float = 1.0) -> bool:
        """Whether it answers a probe in time."""
        address = f"http://127.0.0.1:{self.port}/{path}"
        try:
            with urllib.request.urlopen(address, timeout=within) as response:
                return response.status == 200
        except OSError:
            return False


@contextlib.contextmanager
def serving(model: Path, limited: bool = False) -> Iterator[Server]:
    """Runs `flowers serve`, with no more than 512 MB of data where it is limited."""

    def lower() -> None:
        # a thread's stack counts as data; 8 MB for each of them would be a fifth of the host
        resource.setrlimit(resource.RLIMIT_STACK, (MEGABYTE, MEGABYTE))
        resource.setrlimit(resource.RLIMIT_DATA, (MEMORY, MEMORY))

    code = "from flowers.cli import main; main()"
    command = [sys.executable, "-c", code, "serve", str(model), "--port", "0"]
    process = subprocess.Popen(
        command, stderr=subprocess.PIPE, text=True, preexec_fn=lower if limited else None
    )
    try:
        for line in process.stderr:
            if found := re.search(r"at http://127\.0\.0\.1:(\d+)/", line):
                break
        else:
            raise AssertionError(f"the server ended with {process.wait()}")
        drain = _drain(process)
        yield Server(process, int(found[1]))
    finally:
        process.terminate()
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
        drain.join(5)


def _drain(process: subprocess.Popen):
    import threading

    thread = threading.Thread(target=lambda: [None for _ in process.stderr], daemon=True)
    thread.start()
    return thread


def jpeg(label: str = "rose", seed: int = 6, size: int = 320) -> bytes:
    """A painted flower as a file."""
    buffer = io.BytesIO()
    Image.fromarray(painted.paint(label, seed, size)).save(buffer, "JPEG", quality=85)
    return buffer.getvalue()


def request(body: bytes, length: int | None = None, chunked: bool = False) -> bytes:
    """An upload as it goes over the wire; `length` is what it says of itself."""
    size = len(body) if length is None else length
    told = "Transfer-Encoding: chunked" if chunked else f"Content-Length: {size}"
    head = "POST /api/predict HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
    head += f"Content-Type: multipart/form-data; boundary=x\r\n{told}\r\n\r\n"
    return head.encode() + body


async def ask(port: int, data: bytes, patience: float = 60.0) -> tuple[int, bytes, float, bytes]:
    """Sends bytes and reads to the end: status (0: none came), head, seconds, body."""
    started = time.perf_counter()
    answer = b""
    with contextlib.suppress(OSError, asyncio.TimeoutError):
        async with asyncio.timeout(patience):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            try:
                with contextlib.suppress(ConnectionError):
                    writer.write(data)
                    await writer.drain()
                with contextlib.suppress(ConnectionError):
                    while part := await reader.read(65536):
                        answer += part
            finally:
                writer.close()
    head, _, body = answer.partition(b"\r\n\r\n")
    status = int(head.split()[1]) if head.startswith(b"HTTP/1.") else 0
    return status, head, time.perf_counter() - started, body


# --- fault 15: too large ---------------------------------------------------------------------


def too_large(model: Path, count: int) -> Outcome:
    """`count` uploads beyond the limits: declared, chunked, lying, of too many parts."""
    outcome, took = Outcome(), [0.0]
    photo = jpeg()
    chunk = b"100000\r\n" + bytes(MEGABYTE) + b"\r\n"
    many = b"".join(HEAD.replace(b"=photo", b"=%d" % number) + b"\r\n" for number in range(10_000))
    bodies = {
        "lying": request(b"", length=10**12),
        "declared": request(bytes(9 * MEGABYTE)),
        "chunked": request(chunk * 12 + b"0\r\n\r\n", chunked=True),
        "parts": request(many + TAIL),
        "a name of 1 MB": request(HEAD.replace(b"=photo", b"=" + b"n" * MEGABYTE) + photo + TAIL),
    }
    with serving(model) as server:
        asyncio.run(ask(server.port, request(HEAD + photo + TAIL)))
        before = server.held()[0]
        for number in range(count):
            name = list(bodies)[number % len(bodies)]
            status, _, seconds, _ = asyncio.run(ask(server.port, bodies[name]))
            # 0: the answer was lost because the client was still sending
            allowed = (413, 400) if name == "lying" else (413, 400, 0)
            outcome.expect(status in allowed and seconds < 1.5, f"{name}: {status}")
            took.append(seconds)
        more = server.held()[0] - before
        outcome.expect(more < 20 * MEGABYTE, f"{more / 1e6:,.0f} MB more")
        for _ in range(LIMITS.threads):
            outcome.expect(server.healthy(), "no healthy probe afterwards")
        outcome.expect(server.answers(), "no photo is looked at afterwards")
    outcome.figures = f"slowest refusal {max(took):.2f} s, {more / 1e6:+.1f} MB"
    return outcome


# --- faults 16 and 17: odd names, odd requests -------------------------------------------------

NAMES = st.one_of(
    st.text(st.characters(blacklist_characters='"\\\r\n', codec="utf-8"), max_size=200),
    st.sampled_from(("../../etc/passwd", "a%00b", "\u202egpj.exe", "<script>alert(1)</script>")),
    st.integers(1, 10_000).map(lambda n: "x" * n),
)


def names(model: Path, count: int, seed: int = 0) -> Outcome:
    """Files with `count` odd names: the answer is the same, and does not say the name."""
    outcome, client, photo = Outcome(), _client(model), jpeg(size=48)

    def answer(name: str) -> tuple[int, str]:
        head = f'--x\r\nContent-Disposition: form-data; name="photo"; filename="{name}"\r\n\r\n'
        response = client.post(
            "/api/predict",
            data=head.encode() + photo + TAIL,
            content_type="multipart/form-data; boundary=x",
        )
        return response.status_code, response.text

    expected = answer("rose.jpg")

    @settings(
        max_examples=count,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(NAMES)
    def one(name: str) -> None:
        got = answer(name or "x")
        outcome.expect(got == expected, f"{name[:60]!a}: {got[0]}")

    with_seed(one, seed)()
    return outcome


METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "HEAD", "TRACE", "PROPFIND")
TYPES = (
    *("multipart/form-data; boundary=x", "multipart/form-data", "image/jpeg", "image/png"),
    *("application/octet-stream", "application/json", "text/plain", "multipart/mixed; boundary=x"),
    *("application/x-www-form-urlencoded", "multipart/form-data; boundary=" + "b" * 300, "", "x/y"),
)
WORDS = st.text(st.characters(min_codepoint=33, max_codepoint=126), max_size=40)


def api(model: Path, seconds: float) -> Outcome:
    """Odd requests to every route until the time is up.

    By schemathesis, to a server of its own; by `odd_requests` where that is not installed.
    """
    from faults import described

    asked = described.requests if tools.installed("schemathesis") else odd_requests
    return asked(model, seconds)


def odd_requests(model: Path, seconds: float, seed: int = 0, most: int = 10**9) -> Outcome:
    """Odd requests to every route of the API's own description, until the time is up.

    None is answered with 5xx (but 503 with Retry-After); what is answered is among the statuses
    that the description names, has the form that it names, and carries the security headers.
    """
    outcome, client = Outcome(), _client(model)
    described = client.get("/openapi.json").json
    paths = [*described["paths"], "/", "/api", "/openapi.json", "/examples/rose.jpg", "/static/x"]
    seeds = [animal.content for animal in _animals() if len(animal.content) < 20_000]
    end = time.monotonic() + seconds

    @settings(
        max_examples=200,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(
        st.sampled_from(METHODS),
        st.one_of(st.sampled_from(paths), WORDS.map(lambda text: "/" + text)),
        st.sampled_from(TYPES),
        st.one_of(st.binary(max_size=300), forms(seeds), spoiled(seeds)),
        st.dictionaries(st.sampled_from(("Range", "Accept", "Expect", "Cookie", "X-A")), WORDS),
        WORDS,
    )
    def one(method, path, kind, body, others, query) -> None:
        if time.monotonic() > end or outcome.tries >= most:
            return
        response = client.open(
            path + "?" + query,
            method=method,
            data=body,
            content_type=kind,
            headers=list(others.items()),
        )
        with response:
            problem = _wrong(response, method, described)
        outcome.expect(not problem, f"{method} {path[:40]!a} {kind[:40]}: {problem}")

    chance = random.Random(seed)
    while time.monotonic() < end and outcome.tries < most and len(outcome.failures) < 20:
        with_seed(one, chance.getrandbits(63))()
    return outcome


@st.composite
def forms(draw, contents: list[bytes]) -> bytes:
    """A form of a few parts, each photo whole or spoiled, with or without its end."""
    parts = []
    for _ in range(draw(st.integers(0, 10))):
        facts = draw(
            st.sampled_from((b"name=photo; filename=a", b"name=photo", b"", b'name="a; filename='))
        )
        content = draw(st.one_of(st.sampled_from(contents), spoiled(contents), st.just(b"")))
        parts.append(b"--x\r\nContent-Disposition: form-data; " + facts + b"\r\n\r\n" + content)
    return b"\r\n".join([*parts, draw(st.sampled_from((b"--x--\r\n", b"--x", b"")))])


def _wrong(response, method: str, described: dict) -> str:
    """What is wrong with an answer; "" when nothing is."""
    status = response.status_code
    if status >= 500 and not (status == 503 and "Retry-After" in response.headers):
        return f"status {status}"
    missing = [n for n, value in headers.SECURITY.items() if response.headers.get(n) != value]
    if missing:
        return f"without {', '.join(missing)}"
    operation = described["paths"].get(response.request.path, {}).get(method.lower())
    if operation is None:
        return ""
    known = operation["responses"].get(str(status))
    if known is None:
        return f"status {status} is not described"
    schema = known.get("content", {}).get("application/json", {}).get("schema")
    if schema and method != "HEAD":
        whole = {**schema, "components": described["components"]}
        try:
            jsonschema.validate(response.json, whole, cls=jsonschema.Draft202012Validator)
        except jsonschema.ValidationError as error:
            return f"not as described: {error.message[:100]}"
    return ""


def _client(model: Path):
    from flowers.ship.predictor import Predictor
    from flowers.web.app import create_app

    return create_app(Predictor.load(model)).test_client()


# --- fault 18: slow clients ------------------------------------------------------------------


def slow(model: Path, count: int) -> Outcome:
    """`count` clients at once that are silent, or slow in headers, body or reading."""
    outcome = Outcome()
    with serving(model) as server:
        probes, cut = asyncio.run(_slow(server.port, count))
        outcome.expect(server.healthy(), "no healthy probe afterwards")
        outcome.expect(server.answers(), "no photo is looked at afterwards")
    for seconds in probes:
        outcome.expect(seconds < 5, f"a probe took {seconds:.1f} s")
    outcome.expect(_share(probes, 0.99) < 1, f"p99 of probes is {_share(probes, 0.99):.2f} s")
    for kind, seconds in cut:
        within = LIMITS.seconds + 10
        outcome.expect(seconds < within, f"{kind}: not cut after {seconds:.0f} s")
    p99, last = _share(probes, 0.99), max(seconds for _, seconds in cut)
    outcome.figures = f"probes: p99 {1000 * p99:.0f} ms; the last was cut after {last:.0f} s"
    return outcome


async def _slow(port: int, count: int) -> tuple[list[float], list[tuple[str, float]]]:
    kinds = {
        "silent": (b"", b""),
        "slow headers": (b"GET / HTTP/1.1\r\n", b"X"),
        "slow body": (request(HEAD, length=100_000), b"x"),
        "slow reading": (b"GET /static/page.js HTTP/1.1\r\nHost: localhost\r\n\r\n" * 50, b""),
    }

    async def client(kind: str) -> tuple[str, float]:
        begin, drop = kinds[kind]
        started = time.perf_counter()
        with contextlib.suppress(OSError, asyncio.TimeoutError):
            async with asyncio.timeout(60):
                reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=256)
                try:
                    writer.write(begin)
                    while True:
                        if drop:
                            writer.write(drop)
                            await writer.drain()
                        with contextlib.suppress(asyncio.TimeoutError):
                            async with asyncio.timeout(0.5):
                                if not await reader.read(1):
                                    break
                        await asyncio.sleep(0.5 if kind != "slow reading" else 1.0)
                        if kind == "slow reading" and time.perf_counter() - started > 25:
                            break  # it reads, if slowly: it need not be cut
                finally:
                    writer.close()
        return kind, time.perf_counter() - started

    tasks = [asyncio.create_task(client(list(kinds)[n % len(kinds)])) for n in range(count)]
    await asyncio.sleep(0.5)
    probes = []
    while not all(task.done() for task in tasks):
        status, _, seconds, _ = await ask(
            port, b"GET /livez HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n", 10
        )
        probes.append(seconds if status == 200 else 10.0)
        await asyncio.sleep(0.1)
    return probes, [task.result() for task in tasks]


# --- fault 19: overload ----------------------------------------------------------------------


def overload(model: Path, count: int, at_once: int, limited: bool = True) -> Outcome:
    """`count` uploads, `at_once` at a time, to a server limited to 512 MB.

    A refusal's time runs from before its connection is made, and holds what the client itself takes
    of the same cores.
    """
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 65_536), hard))
    photos = [jpeg(label, 3) for label in painted.LABELS]
    outcome, expected = Outcome(), []
    with serving(model, limited) as server:
        for photo in photos:
            expected.append(_label(asyncio.run(ask(server.port, request(HEAD + photo + TAIL)))[3]))
        before = server.held()[0]
        held, data = [before], [request(HEAD + photo + TAIL) for photo in photos]
        started = time.perf_counter()
        clients = crowd.ask(
            server.port, data, count, at_once, lambda: held.append(server.held()[0])
        )
        seconds = time.perf_counter() - started
        outcome.expect(server.process.poll() is None and server.healthy(), "the server is gone")
        outcome.expect(server.answers(), "no photo is looked at afterwards")
    more = max(held) - before
    outcome.expect(more < FLAT, f"{more / 1e6:,.0f} MB more held")
    refused = [client.seconds for client in clients if client.status in (429, 503)] or [0.0]
    for client in clients:
        right = client.status in (429, 503) and b"retry-after" in client.head.lower()
        if client.status == 200:
            right = _label(client.body) == expected[client.number % len(photos)]
        outcome.expect(right, f"status {client.status}")
    outcome.expect(any(client.status == 200 for client in clients), "nobody was answered")
    p99 = _share(refused, 0.99)
    outcome.expect(p99 < 0.25, f"p99 of refusals is {1000 * p99:.0f} ms")
    counts = dict(sorted(Counter(client.status for client in clients).items()))
    outcome.figures = (
        f"{counts} in {seconds:.0f} s; refusals p99 {1000 * p99:.0f} ms, median "
        f"{1000 * statistics.median(refused):.0f} ms; memory {before / 1e6:,.0f} MB before, "
        f"{max(held) / 1e6:,.0f} MB at most"
    )
    return outcome


def _label(body: bytes) -> str:
    try:
        return json.loads(body)["predictions"][0]["label"]
    except (ValueError, KeyError, IndexError):
        return ""


# --- an hour ---------------------------------------------------------------------------------


def soak(model: Path, seconds: float) -> Outcome:
    """Photos, odd files, odd requests and probes for as long; nothing that is held may grow."""
    outcome, samples = Outcome(), []
    animals = [a.content for a in _animals() if len(a.content) < 100_000]
    photos = [jpeg(label, 3) for label in painted.LABELS]
    chance = random.Random(0)
    with serving(model) as server:
        started = last = time.monotonic()
        while (now := time.monotonic()) < started + seconds:
            kind = chance.random()
            if kind < 0.6:
                body = request(HEAD + chance.choice(photos) + TAIL)
                allowed = (200,)
            elif kind < 0.9:
                body, allowed = request(HEAD + chance.choice(animals) + TAIL), (200, 422)
            else:
                body, allowed = request(chance.randbytes(200)), (400, 413)
            status = asyncio.run(ask(server.port, body))[0]
            outcome.expect(status in allowed, f"status {status} and not {allowed}")
            if now - last >= min(10.0, seconds / 60):
                samples.append(server.held())
                last = now
            time.sleep(0.02)
        outcome.expect(server.healthy(), "no healthy probe afterwards")
        outcome.expect(server.answers(), "no photo is looked at afterwards")
    early, late = samples[len(samples) // 10 : len(samples) // 3], samples[-len(samples) // 4 :]
    words = []
    for place, (name, unit, room) in enumerate(
        (("memory", 1e6, 20 * MEGABYTE), ("descriptors", 1, 5), ("threads", 1, 2))
    ):
        first, end = (statistics.median(s[place] for s in part) for part in (early, late))
        outcome.expect(end - first < room, f"{name} grew from {first} to {end}")
        words.append(f"{name} {first / unit:,.0f} to {end / unit:,.0f}{' MB' * (unit > 1)}")
    outcome.figures = f"{len(samples)} samples: {', '.join(words)}"
    return outcome


def _share(values: list[float], share: float) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]
