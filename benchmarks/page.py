"""The page here against a plain Flask page that calls `model.predict`, in one run.

The plain page is the one of most tutorials: it imports TensorFlow, loads the .keras file and calls
`model.predict` on each upload. It is served by waitress as it comes, so that the difference is not
Flask's development server. Each page is a process of its own, one after the other, asked by the
same clients about the same painted photos (JPEG, 400 px).

    .venv/bin/python benchmarks/page.py \\
        --model models/flowers.int8.tflite --keras models/flowers.keras

Load is put on in the open: under overload, requests are sent at ten times the rate at which eight
clients were answered, whether or not the earlier ones have been. Client and server share the
machine, so what the client takes is missing to the server.
"""

from __future__ import annotations

import argparse
import asyncio
import http.client
import io
import json
import os
import signal
import socket
import statistics
import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path

import psutil

PHOTOS, SIZE = 10, 400  # how many different ones, and px of a side
CLIENTS, TIMES = 8, 10  # at once for the peak; its multiple for the overload
PATIENCE = 20.0  # seconds a client waits for an answer
ROWS = (  # key, what it is, unit, the target beside the plain page
    ("ready_s", "start until the first photo is answered", "s", "at most 0.1"),
    ("memory_mb", "resident memory after it all", "MB", "at most 0.25"),
    ("median_ms", "median answer for one photo", "ms", "at most 0.25"),
    ("rate", f"photos a second with {CLIENTS} clients", "/s", "at least 4"),
)


def main() -> None:
    """Measures both pages and writes a JSON file and a Markdown table."""
    arguments = _arguments()
    if arguments.plain:
        plain(arguments.keras, arguments.port)
        return
    bodies = [_request(content) for content in _photos()]
    load = os.getloadavg()[0]
    pages = {"plain": [sys.executable, __file__, *sys.argv[1:], "--plain"]}
    # without similar photos, as by default where others can reach it: the plain page has none
    served = ["serve", str(arguments.model), "--no-similar"]
    pages["flowers"] = [sys.executable, "-c", _SERVE, *served]
    measured = {name: measure(command, bodies, arguments) for name, command in pages.items()}
    result = {
        "model": arguments.model.name,
        "megabytes": round(arguments.model.stat().st_size / 1e6, 1),
        "cores": os.cpu_count(),
        "load_before": round(load, 2),
        **measured,
        "ratios": {
            key: round(measured["flowers"][key] / measured["plain"][key], 3) for key, *_ in ROWS
        },
    }
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    arguments.out.with_suffix(".json").write_text(json.dumps(result, indent=2) + "\n")
    arguments.out.with_suffix(".md").write_text(as_table(result))
    print(as_table(result))


_SERVE = "from flowers.cli import main; main()"


def plain(model_path: Path, port: int) -> None:
    """The page of the tutorials."""
    import keras
    import numpy as np
    import waitress
    from flask import Flask, jsonify, request
    from PIL import Image

    app = Flask(__name__)
    model = keras.saving.load_model(model_path, compile=False)
    size = model.input_shape[1]

    @app.post("/api/predict")
    def predict():
        with Image.open(request.files["photo"].stream) as image:
            photo = np.asarray(image.convert("RGB").resize((size, size)), np.float32)
        scores = model.predict(photo[None], verbose=0)[0]
        return jsonify(scores=[float(score) for score in scores])

    waitress.serve(app, host="127.0.0.1", port=port)


# --- measuring -------------------------------------------------------------------------------


def measure(command: list[str], bodies: list[bytes], arguments: argparse.Namespace) -> dict:
    """Starts a page and asks it: alone, by eight clients, by far too many."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    started = time.perf_counter()
    process = subprocess.Popen([*command, "--port", str(port)], stderr=subprocess.DEVNULL)
    try:
        first = _until_answered(process, port, bodies[0])
        ready = time.perf_counter() - started
        for body in bodies:  # warm
            _ask(first, body)
        times = [_timed(first, bodies[i % PHOTOS]) for i in range(arguments.requests)]
        rate = _rate(port, bodies, arguments.seconds)
        print(f"{command[-1]}: {rate:.1f} photos a second", file=sys.stderr)
        overload = asyncio.run(_overload(port, bodies, TIMES * rate, arguments.seconds))
        memory = psutil.Process(process.pid).memory_info().rss
        overload["of_peak"] = round(overload["goodput"] / rate, 3)
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(15)
        except subprocess.TimeoutExpired:
            process.kill()
    return {
        "ready_s": round(ready, 3),
        "memory_mb": round(memory / 1e6, 1),
        "median_ms": round(1000 * statistics.median(times), 2),
        "rate": round(rate, 2),
        "overload": overload,
    }


def _until_answered(
    process: subprocess.Popen, port: int, body: bytes
) -> http.client.HTTPConnection:
    while process.poll() is None:
        try:
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
            _ask(connection, body)
            return connection
        except OSError:
            time.sleep(0.005)
    raise SystemExit("Expected a page that starts. Received: a process that has ended.")


def _ask(connection: http.client.HTTPConnection, body: bytes) -> int:
    connection.request("POST", "/api/predict", body, {"Content-Type": _TYPE})
    response = connection.getresponse()
    response.read()
    return response.status


def _timed(connection: http.client.HTTPConnection, body: bytes) -> float:
    started = time.perf_counter()
    status = _ask(connection, body)
    if status != 200:
        raise SystemExit(f"Expected an answer of status 200. Received: {status}.")
    return time.perf_counter() - started


def _rate(port: int, bodies: list[bytes], seconds: float) -> float:
    """Answers a second to clients that ask again as soon as they are answered."""
    counts, end = [0] * CLIENTS, time.perf_counter() + seconds

    def client(number: int) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
        while time.perf_counter() < end:
            counts[number] += _ask(connection, bodies[number % PHOTOS]) == 200

    threads = [threading.Thread(target=client, args=(number,)) for number in range(CLIENTS)]
    started = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sum(counts) / (time.perf_counter() - started)


class _Client(asyncio.Protocol):
    """One connection that asks once at a time; cheap, since it takes time from the server."""

    def __init__(self, idle: list[_Client], done: list[tuple[float, int, float]]):
        self.idle, self.done, self.started, self.buffer = idle, done, 0.0, b""

    def connection_made(self, transport: asyncio.Transport) -> None:
        self.transport = transport

    def send(self, data: bytes) -> None:
        self.started, self.buffer = time.perf_counter(), b""
        self.transport.write(data)

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        head, found, body = self.buffer.partition(b"\r\n\r\n")
        if not found:
            return
        length = int(head.lower().split(b"content-length:")[1].split(b"\r\n")[0])
        if len(body) >= length:
            self._finish(int(head[9:12]))
            if b"connection: close" in head.lower():
                self.transport.close()
            else:
                self.idle.append(self)

    def connection_lost(self, error: Exception | None) -> None:
        if self in self.idle:
            self.idle.remove(self)
        if self.started:
            self._finish(0)

    def _finish(self, status: int) -> None:
        now = time.perf_counter()
        self.done.append((now, status, now - self.started))
        self.started = 0.0


async def _overload(port: int, bodies: list[bytes], rate: float, seconds: float) -> dict:
    """Sends `rate` requests a second, and counts what came of each within PATIENCE."""
    loop, idle, done = asyncio.get_running_loop(), [], []
    data = [_head(len(body)) + body for body in bodies]
    sent, started = 0, time.perf_counter()

    async def one(number: int) -> None:
        if not idle:
            _, made = await loop.create_connection(lambda: _Client(idle, done), "127.0.0.1", port)
        else:
            made = idle.pop()
        made.send(data[number % PHOTOS])

    tasks = []
    while (now := time.perf_counter()) < started + seconds:
        while sent < (now - started) * rate:
            tasks.append(loop.create_task(one(sent)))
            sent += 1
        await asyncio.sleep(0.001)
    end = time.perf_counter()
    while len(done) < sent and time.perf_counter() < end + PATIENCE:
        await asyncio.sleep(0.01)
    broken = [error for task in tasks if task.done() and (error := task.exception())]
    statuses = Counter(status for _, status, _ in done)
    refused = sorted(took for _, status, took in done if status in (429, 503)) or [0.0]
    good = sum(status == 200 for when, status, _ in done if when <= end)
    return {
        "sent": sent,
        "sent_a_second": round(sent / (end - started), 1),
        "goodput": round(good / (end - started), 2),
        "statuses": {str(status): count for status, count in sorted(statuses.items())},
        "unanswered": sent - len(done),
        "errors": len(broken),
        "refused_p99_ms": round(1000 * refused[int(0.99 * (len(refused) - 1))], 1),
    }


# --- photos and words ------------------------------------------------------------------------

_TYPE = "multipart/form-data; boundary=flowers"


def _photos() -> list[bytes]:
    from PIL import Image

    from flowers.data import painted

    contents = []
    for number in range(PHOTOS):
        label = painted.LABELS[number % len(painted.LABELS)]
        buffer = io.BytesIO()
        Image.fromarray(painted.paint(label, number, SIZE)).save(buffer, "JPEG", quality=85)
        contents.append(buffer.getvalue())
    return contents


def _request(content: bytes) -> bytes:
    head = 'Content-Disposition: form-data; name="photo"; filename="photo.jpg"'
    return f"--flowers\r\n{head}\r\n\r\n".encode() + content + b"\r\n--flowers--\r\n"


def _head(length: int) -> bytes:
    return (
        f"POST /api/predict HTTP/1.1\r\nHost: localhost\r\nContent-Type: {_TYPE}\r\n"
        f"Content-Length: {length}\r\n\r\n"
    ).encode()


def as_table(result: dict) -> str:
    """The result as Markdown."""
    plain_page, ours = result["plain"], result["flowers"]
    lines = [
        "| what | plain Flask page | flowers serve | ratio | target |",
        "|---|---|---|---|---|",
    ]
    for key, words, unit, target in ROWS:
        ratio = f"{result['ratios'][key]:.2f}"
        lines.append(
            f"| {words} | {plain_page[key]:g} {unit} | {ours[key]:g} {unit} | {ratio} | {target} |"
        )
    lines.append(_overload_row(plain_page["overload"], ours["overload"]))
    return "\n".join(lines) + "\n"


def _overload_row(plain_page: dict, ours: dict) -> str:
    cells = [
        f"{each['goodput']:g} /s of {each['sent_a_second']:g} /s sent; "
        + ", ".join(f"{count} x {status}" for status, count in each["statuses"].items())
        + (f", {each['unanswered']} unanswered" if each["unanswered"] else "")
        for each in (plain_page, ours)
    ]
    share = f"{ours['of_peak']:.2f} of its peak (plain: {plain_page['of_peak']:.2f})"
    what = f"answers under {TIMES} times its peak"
    return f"| {what} | {cells[0]} | {cells[1]} | {share} | at least 0.9 of the peak |"


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--model", type=Path, required=True, help="exported: .tflite or .onnx")
    parser.add_argument("--keras", type=Path, required=True, help="the .keras for the plain page")
    parser.add_argument("--requests", type=int, default=100, help="of one client, one by one")
    parser.add_argument("--seconds", type=float, default=15.0, help="of each load")
    parser.add_argument(
        "--out", type=Path, default=Path("benchmarks/work/page"), help="writes OUT.json and OUT.md"
    )
    parser.add_argument("--plain", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--port", type=int, default=0, help=argparse.SUPPRESS)
    return parser.parse_args()


if __name__ == "__main__":
    main()
