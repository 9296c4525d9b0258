"""The bounded queue: who is let in, who waits, who is told to come back."""

import threading
import time

import pytest

from flowers.web.door import Door
from flowers.web.gate import BusyError, Gate
from flowers.web.metrics import Metrics


def hold(gate: Gate, release: threading.Event, log: list) -> threading.Thread:
    def work():
        try:
            with gate.passage():
                log.append("in")
                release.wait(10)
        except BusyError:
            log.append("refused")

    thread = threading.Thread(target=work)
    thread.start()
    return thread


def until(condition) -> None:
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.002)


def test_so_many_work_so_many_wait_and_the_next_is_refused():
    gate, release, log = Gate(at_once=2, queue=3, seconds=10), threading.Event(), []
    threads = [hold(gate, release, log) for _ in range(5)]
    until(lambda: gate.full and log == ["in", "in"])
    with pytest.raises(BusyError, match="try again"), gate.passage():
        pass
    assert gate.inside == 5
    release.set()
    for thread in threads:
        thread.join()
    assert log == ["in"] * 5 and gate.inside == 0 and not gate.full


def test_who_waits_too_long_is_refused_and_leaves_room():
    gate, release, log = Gate(at_once=1, queue=1, seconds=0.05), threading.Event(), []
    thread = hold(gate, release, log)
    until(lambda: log == ["in"])
    with pytest.raises(BusyError), gate.passage():
        pass
    assert gate.inside == 1
    release.set()
    thread.join()


def test_an_error_inside_gives_the_turn_back():
    gate = Gate(at_once=1, queue=0, seconds=1)
    for _ in range(3):
        with pytest.raises(ZeroDivisionError), gate.passage():
            1 / 0  # noqa: B018
    assert gate.inside == 0


UPLOAD = b"POST /api/predict HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nphoto"


def test_the_door_counts_from_the_moment_that_a_photo_has_come():
    door = Door(Gate(at_once=1, queue=1, seconds=1), Metrics(), retry=2)
    assert not door.refuses(UPLOAD)
    assert door.enter("POST", "/api/predict") and not door.full
    assert not door.enter("GET", "/api/predict") and not door.enter("POST", "/other")
    assert door.enter("POST", "/api/predict") and door.full
    # those behind it have not come to the gate: who asks there is let through
    assert door.refuses(UPLOAD) and not door.closed("POST", "/api/predict")
    door.leave()
    assert not door.full and not door.refuses(UPLOAD)


@pytest.mark.parametrize(
    "begun",
    [
        UPLOAD[:-1],
        UPLOAD + b"x",
        UPLOAD + UPLOAD,
        UPLOAD.replace(b"\r\n\r\n", b"\r\n"),
        UPLOAD.replace(b"POST", b"PUT"),
        UPLOAD.replace(b"/api/predict", b"/api/predictions"),
        UPLOAD.replace(b"Content-Length: 5", b"Transfer-Encoding: chunked"),
        UPLOAD.replace(b"Host: x", b"Content-Length: 5"),
        UPLOAD.replace(b": 5", b": +5"),
        b"",
    ],
)
def test_the_door_refuses_whole_uploads_alone_at_first_sight(begun):
    full = Door(Gate(at_once=0, queue=0, seconds=1), Metrics(), retry=2)
    assert full.refuses(UPLOAD) and full.refuses(UPLOAD.replace(b"Content", b"content"))
    assert not full.refuses(begun)
