"""The bounded queue: who is let in, who waits, who is told to come back."""

import threading
import time

import pytest

from flowers.web.gate import BusyError, Gate


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
