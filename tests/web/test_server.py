"""The server as a process of its own: what it imports, holds, survives, and how it ends."""

import contextlib
import json
import os
import re
import signal
import socket
import threading
import time
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import lite
import pytest
import zoo
from PIL import Image

from flowers.web import server
from flowers.web.app import create_app
from flowers.web.limits import PageLimits

MEGABYTE = 1024 * 1024
HEAD = b"--x\r\nContent-Disposition: form-data; name=photo; filename=a\r\n\r\n"
TAIL = b"\r\n--x--\r\n"


def request(body: bytes, *lines: str, length: int | None = None) -> bytes:
    """An upload as it goes over the wire; `length` is what it says of itself."""
    head = [
        "POST /api/predict HTTP/1.1",
        "Host: x",
        "Content-Type: multipart/form-data; boundary=x",
        f"Content-Length: {len(body) if length is None else length}",
        *lines,
    ]
    return "\r\n".join(head).encode() + b"\r\n\r\n" + body


def send(
    served, data: bytes, timeout: float = 20, pause: float = 0
) -> tuple[int, dict[str, str], dict]:
    """Sends bytes and reads one answer: status (0 when cut without one), headers, JSON.

    `pause`: seconds after the first byte, so that the connection is known when the others come.
    """
    with socket.create_connection((served.host, served.port), timeout) as connection:
        # it may be refused before everything was sent, and the answer be there all the same
        with contextlib.suppress(OSError):
            if pause:
                connection.sendall(data[:1])
                time.sleep(pause)
            connection.sendall(data[1 if pause else 0 :])
        return answer(connection)


def answer(connection: socket.socket) -> tuple[int, dict[str, str], dict]:
    try:
        with connection.makefile("rb", buffering=0) as file:
            line = file.readline()
            if not line:
                return 0, {}, {}
            headers = {}
            while (each := file.readline().strip()) not in (b"",):
                name, _, value = each.decode().partition(": ")
                headers[name] = value
            body = file.read(int(headers.get("Content-Length", 0)))
    except ConnectionResetError:
        return 0, {}, {}
    return int(line.split()[1]), headers, json.loads(body) if body.startswith(b"{") else {}


@pytest.fixture(scope="module", params=["waitress", "gunicorn"])
def either(request, start):
    """A process of each of the two servers."""
    return start(gunicorn=request.param == "gunicorn")


def healthy(served) -> bool:
    """Whether it answers a probe within a second."""
    with urllib.request.urlopen(f"{served.address}livez", timeout=1) as response:
        return response.status == 200


def test_it_answers_as_the_predictor_and_never_imports_tensorflow(start, predictor, photo):
    served = start()
    status, _, body = send(served, request(HEAD + photo + TAIL))
    said = predictor.predict(photo)
    assert status == 200 and body["predictions"][0]["label"] == said.label
    assert body["predictions"][0]["probability"] == pytest.approx(said.probability, abs=1e-6)
    for page in ("", "api", "examples/rose.jpg", "metrics"):
        with urllib.request.urlopen(served.address + page) as response:
            assert response.status == 200
    assert served.stop() == "", "heavy packages were imported"
    assert served.process.returncode == 0


def test_uploads_beyond_the_limit_are_refused_however_they_are_sent(either, photo):
    """Fault 15: declared, chunked, lying; then a healthy probe, no more memory, nothing on disk."""
    send(either, request(HEAD + photo + TAIL))
    before, large = either.resident(), bytes(9 * MEGABYTE)
    chunks = b"".join(b"100000\r\n" + bytes(MEGABYTE) + b"\r\n" for _ in range(12)) + b"0\r\n\r\n"
    chunked = request(b"").replace(b"Content-Length: 0", b"Transfer-Encoding: chunked") + chunks
    for _ in range(5):
        assert send(either, request(large))[0] in (413, 0)  # 0: refused while still sending
        assert send(either, chunked)[0] in (413, 0)
    for _ in range(200):
        status, headers, body = send(either, request(b"", length=10**12))
        assert status in (413, 0)
    assert body["error"]["remedy"] == "Make the photo smaller and try again."
    assert headers["X-Content-Type-Options"] == "nosniff"
    expecting = send(either, request(b"", "Expect: 100-continue", length=10**12))
    assert expecting[0] in (413, 100)  # gunicorn lets it come before it knows
    parts = b"".join(HEAD.replace(b"=photo", b"=%d" % i) + b"\r\n" for i in range(10_000)) + TAIL
    assert send(either, request(parts))[0] == 413
    assert send(either, request(b"--x\r\nContent-Disposition: " + bytes(MEGABYTE)))[0] in (400, 413)
    assert healthy(either) and not list(either.temporary.iterdir())
    assert either.resident() - before < 20 * MEGABYTE


def test_what_is_no_http_is_refused_in_words(served):
    for data, status in (
        (b"nonsense\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nX: " + b"x" * 20_000 + b"\r\n\r\n", 431),
        (b"POST / HTTP/1.1\r\nContent-Length: -1\r\n\r\n", 400),
        # for these two urlsplit and int raise what waitress does not expect
        (b"GET http://[ HTTP/1.1\r\nHost: x\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nContent-Length: " + b"9" * 5000 + b"\r\n\r\n", 400),
    ):
        for pause in (0, 0.1):
            got, headers, body = send(served, data, pause=pause)
            assert got == status and body["error"]["message"].startswith("The request is malformed")
            assert "default-src 'none'" in headers["Content-Security-Policy"]
            assert "waitress" not in str(headers) + str(body)
    assert healthy(served)


def test_no_place_is_kept_by_who_asks_for_nothing(served, photo):
    """An upload that has come whole, being empty, and waits for a 100 that it needs no more."""
    for _ in range(2 * PageLimits().threads):
        assert send(served, request(b"", "Expect: 100-continue"))[0] == 400
    assert send(served, request(HEAD + photo + TAIL))[0] == 200


def test_one_connection_takes_one_place(served, photo):
    with socket.create_connection((served.host, served.port), 20) as connection:
        connection.sendall(request(TAIL) * 60)
        assert send(served, request(HEAD + photo + TAIL))[0] == 200
        said = b""
        with contextlib.suppress(ConnectionResetError):
            while part := connection.recv(65536):
                said += part
    # those that have their turn, and a word to who sends more than may wait
    assert 1 <= said.count(b"HTTP/1.1 400") <= 20
    assert send(served, request(HEAD + photo + TAIL))[0] == 200


@pytest.mark.parametrize("at_once", [16, 1200])
def test_who_takes_nothing_is_cut_and_holds_no_thread(start, at_once):
    """Fault 18, slow reading: more than the buffers hold, by as many as there are threads."""
    served, ask = start(1.0), b"GET /examples/rose.jpg HTTP/1.1\r\nHost: x\r\n\r\n" * at_once
    taking = []
    for _ in range(PageLimits().threads + 1):
        connection = socket.socket()
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.connect((served.host, served.port))
        taking.append(connection)
    for _ in range(40):
        for connection in taking:
            with contextlib.suppress(OSError):
                connection.send(ask, socket.MSG_DONTWAIT)
    deadline = time.monotonic() + 15
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError):
            if healthy(served):
                break
    assert healthy(served)
    for connection in taking:
        with connection, contextlib.suppress(ConnectionResetError):
            connection.settimeout(20)
            while connection.recv(MEGABYTE):
                pass


def test_a_large_photo_stays_in_memory(either, photo):
    status, _, body = send(either, request(HEAD + photo + bytes(7 * MEGABYTE) + TAIL))
    assert status == 200 and body["predictions"][0]["label"]
    assert not list(either.temporary.iterdir())


def test_what_a_photo_of_25_megapixels_takes_is_given_back(start, photo):
    """Fault 8: 150 MB more at the most."""
    served = start()
    send(served, request(HEAD + photo + TAIL))
    before = served.resident()
    for mode in ("RGB", "RGBA", "I;16"):
        large = zoo.save(Image.new(mode, (5000, 5000)), "PNG")
        assert send(served, request(HEAD + large + TAIL))[0] == 200
    assert served.resident() - before < 64 * MEGABYTE
    if (status := Path(f"/proc/{served.process.pid}/status")).is_file():
        most = int(re.search(r"VmHWM:\s+(\d+) kB", status.read_text())[1]) * 1024
        assert most - before < 150 * MEGABYTE


def test_uploads_together_hold_no_more_than_there_is_memory_for(start, photo):
    served = start()
    waiting = []
    for _ in range(5):  # each announces 8 MB, and all but the end of it comes
        connection = socket.create_connection((served.host, served.port))
        connection.sendall(request(bytes(8 * MEGABYTE - 10), length=8 * MEGABYTE))
        waiting.append(connection)
    while served.resident() < 40 * MEGABYTE:
        time.sleep(0.01)
    time.sleep(0.2)
    status, headers, body = send(served, request(b"", length=8 * MEGABYTE + 1000))
    assert status == 0 or (status, headers["Retry-After"]) == (503, "2")
    assert "try again" in body["error"]["message"]
    for connection in waiting:
        connection.close()
    while send(served, request(HEAD + photo + TAIL))[0] != 200:
        time.sleep(0.05)


def test_slow_clients_hold_nobody_up_and_are_cut(start):
    """Fault 18: silent, slow in the headers, slow in the body."""
    served = start(1.0)
    slow = []
    for number in range(60):
        connection = socket.create_connection((served.host, served.port), 20)
        connection.sendall((b"", b"GET / HT", request(HEAD, length=10_000))[number % 3])
        slow.append(connection)
    assert healthy(served)
    for connection in slow:
        with connection:
            assert connection.recv(1) == b""
    assert healthy(served)


def test_overload_gets_an_answer_or_a_time_to_come_back_and_nothing_else(either, photo):
    """Fault 19, in small."""
    data = request(HEAD + photo + TAIL)
    with ThreadPoolExecutor(60) as pool:
        answers = list(pool.map(lambda _: send(either, data), range(300)))
    counts = {status: sum(got == status for got, _, _ in answers) for status in (200, 503)}
    assert sum(counts.values()) == 300 and counts[200] > 0
    assert all(headers["Retry-After"] == "2" for got, headers, _ in answers if got == 503)
    right = {body["predictions"][0]["label"] for got, _, body in answers if got == 200}
    assert len(right) == 1 and healthy(either)


def test_who_is_turned_away_at_once_and_who_may_ask_again_on_the_same_connection(model_file, photo):
    """While the only place is taken; answered by the thread that receives, in HTTP's order."""
    predictor, release, said = lite.load(model_file), threading.Event(), []
    limits = PageLimits(at_once=1, queue=0)
    app, quick = create_app(predictor, limits), predictor.run
    object.__setattr__(predictor, "run", lambda batch: release.wait(20) and quick(batch))
    data = request(HEAD + photo + TAIL)

    def ask(port):
        def upload():
            with socket.create_connection(("127.0.0.1", port), 20) as connection:
                connection.sendall(data)
                return answer(connection)

        with ThreadPoolExecutor(1) as pool:
            first = pool.submit(upload)
            while not app.extensions["door"].closed("POST", "/api/predict"):
                time.sleep(0.001)
            with socket.create_connection(("127.0.0.1", port), 20) as connection:
                connection.sendall(data)
                said.append(answer(connection))
                said.append(connection.recv(1))
            with socket.create_connection(("127.0.0.1", port), 20) as connection:
                connection.sendall(data[:100])  # one that does not come whole may stay
                time.sleep(0.1)
                connection.sendall(data[100:])
                said.append(answer(connection))
                connection.sendall(data + b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n")
                said.extend((answer(connection), answer(connection)))
                connection.sendall(request(HEAD + photo + TAIL, "Connection: close"))
                said.append(answer(connection))
                said.append(connection.recv(1))
            release.set()
            said.append(first.result(20)[0])

    def started(address):
        def visit():
            try:
                ask(int(address.rstrip("/").rpartition(":")[2]))
            finally:
                release.set()
                os.kill(os.getpid(), signal.SIGTERM)

        threading.Thread(target=visit).start()

    server.serve(app, "127.0.0.1", 0, limits, started)
    (none, gone, one, two, alive, three), rest = said[:6], said[6:]
    for status, headers, body in (none, one, two, three):
        assert status == 503 and headers["Retry-After"] == "2"
        assert "try again in a few seconds" in body["error"]["message"]
        assert "default-src" in headers["Content-Security-Policy"] and headers["Date"]
    assert alive[0] == 200 and "Connection" not in one[1]
    assert none[1]["Connection"] == three[1]["Connection"] == "close" and gone == b""
    assert rest == [b"", 200]


def test_a_signal_ends_it_after_the_answers_at_work(start, photo):
    served = start()
    body = HEAD + photo + TAIL
    results = []
    threads = [
        threading.Thread(target=lambda: results.append(send(served, request(body))[0]))
        for _ in range(6)
    ]
    for thread in threads:
        thread.start()
    while not results:
        time.sleep(0.001)
    served.stop()
    for thread in threads:
        thread.join()
    assert served.process.returncode == 0 and set(results) <= {200, 0}
    with pytest.raises((urllib.error.URLError, ConnectionError)):
        healthy(served)
