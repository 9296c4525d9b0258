"""Processes on several hosts that train together: how they meet, agree, and part."""

from __future__ import annotations

import contextlib
import hashlib
import secrets
import socket
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from flowers import files
from flowers.errors import FlowersError, InputError, WorldError

PATIENCE = 300.0  # seconds that processes wait for each other to start: JAX's own number
GO = b"go"  # what process 0 says when all are there
NETWORK_LAG = 15.0  # seconds until a file that one host wrote is seen by another


@dataclass(frozen=True)
class Hosts:
    """Which of several processes this one is, and where the first of them is to be found.

    coordinator: HOST:PORT of process 0; processes: how many; process: from 0.
    """

    coordinator: str
    processes: int
    process: int


def hosts(coordinator: str | None, processes: int | None, process: int | None) -> Hosts | None:
    """The processes that were asked for; None where there is this one alone.

    Raises:
        InputError: one of the three is missing or makes no sense.
    """
    if coordinator is None and processes is None and process is None:
        return None
    if coordinator is None or processes is None or process is None:
        given = f"{coordinator or 'no'} coordinator, {processes or 'no'} processes, "
        raise InputError(
            "the coordinator's address, the number of processes and the number of this one",
            given + ("no process" if process is None else f"process {process}"),
            "Give --coordinator HOST:PORT, --processes and --process together.",
        )
    first = coordinator.split(",")[0].strip()  # Keras takes all addresses; the first is enough
    host, _, port = first.rpartition(":")
    if not host or not port.isdecimal() or not 0 < int(port) < 65536:
        raise InputError("a coordinator as HOST:PORT", repr(coordinator), "Correct --coordinator.")
    if processes < 1 or not 0 <= process < processes:
        raise InputError(
            "a process from 0 to one less than there are processes",
            f"process {process} of {processes}",
            "Correct --process or --processes.",
        )
    return Hosts(first, processes, process)


def meet(found: Hosts, patience: float | None = None) -> None:
    """Joins the other processes, through `keras.distribution.initialize`.

    Call it before anything is computed.

    Raises:
        InputError: the backend of Keras is not JAX.
        WorldError: the coordinator or another process is not there in time.
    """
    import keras

    if keras.backend.backend() != "jax":
        raise InputError(
            "the JAX backend, the one that trains across hosts",
            f"KERAS_BACKEND is {keras.backend.backend()}",
            "Set KERAS_BACKEND=jax, after: pip install 'flowers[jax]'.",
        )
    wait = _reach if found.process else _gather
    wait(found, PATIENCE if patience is None else patience)
    keras.utils.set_random_seed(0)  # or Keras draws one and sends it round; each model sets its own
    try:
        keras.distribution.initialize(found.coordinator, found.processes, found.process)
    except Exception as error:
        raise WorldError(
            f"{found.processes} processes to meet at {found.coordinator}",
            _first_line(error),
            "See that all of them were started, with the same address and each with its own "
            "--process, and that the port is free and open.",
        ) from error


def _gather(found: Hosts, patience: float) -> None:
    """Waits at the coordinator's port until the others have called, and tells them to go on.

    JAX would wait as well, but where somebody is missing it aborts the process without words.

    Raises:
        WorldError: somebody does not call in time, or the port is taken.
    """
    end, callers = time.monotonic() + patience, {}
    both = socket.has_dualstack_ipv6()
    family = socket.AF_INET6 if both else socket.AF_INET
    try:
        address = ("", int(found.coordinator.rpartition(":")[2]))
        with socket.create_server(address, family=family, dualstack_ipv6=both) as server:
            while len(callers) < found.processes - 1:
                server.settimeout(max(0.01, end - time.monotonic()))
                caller, _ = server.accept()
                number = _told(caller)
                if 0 < number < found.processes:
                    callers[number] = caller
                else:
                    caller.close()
    except OSError as error:
        missing = sorted(set(range(1, found.processes)) - callers.keys())
        raise WorldError(
            f"{found.processes} processes to meet at {found.coordinator} within {patience:.0f} s",
            f"process {', '.join(map(str, missing))} missing ({error})",
            "Start all of them, with the same address and each with its own --process.",
        ) from error
    for caller in callers.values():
        with caller, contextlib.suppress(OSError):
            caller.sendall(GO)


def _told(caller: socket.socket) -> int:
    """The number that a caller says it has; -1 where it says something else."""
    caller.settimeout(5)
    try:
        return int(caller.recv(16))
    except (OSError, ValueError):
        return -1


def _reach(found: Hosts, patience: float) -> None:
    """Calls the coordinator until it says that all are there.

    Raises:
        WorldError: it does not in time.
    """
    host, _, port = found.coordinator.rpartition(":")
    end, failure = time.monotonic() + patience, "no answer"
    while (left := end - time.monotonic()) > 0:
        try:
            with socket.create_connection((host.strip("[]"), int(port)), min(left, 10)) as call:
                call.sendall(str(found.process).encode())
                call.settimeout(max(0.01, end - time.monotonic()))
                if call.recv(len(GO)) == GO:
                    return
        except OSError as error:
            failure = str(error)
        time.sleep(min(1.0, max(0.0, end - time.monotonic())))
    raise WorldError(
        f"the coordinator, process 0, at {found.coordinator} within {patience:.0f} s",
        failure,
        "Start all processes, or correct --coordinator.",
    )


def agree(processes: int, what: str, remedy: str) -> None:
    """Compares a text with what the other processes have.

    Raises:
        WorldError: not all have the same; every process raises it.
    """
    if processes == 1:
        return
    digest = hashlib.sha256(what.encode("utf-8", "surrogateescape")).digest()
    everyone = _gathered(np.frombuffer(digest[:16], np.int32))
    if (everyone != everyone[0]).any():
        raise WorldError(f"{processes} processes that would do the same", "they differ", remedy)


def require_shared(processes: int, process: int, folder: Path) -> None:
    """Makes sure that a folder is the same one for every process.

    Raises:
        InputError: it is another folder on another host; every process raises it.
        WorldError: it cannot be written.
    """
    if processes == 1:
        return
    number = int(_gathered(np.array([secrets.randbits(30)], np.int32))[0, 0])
    token = folder / f".hosts-{number}"
    if process == 0:
        files.write_text(token, "seen by every process\n")
    _gathered(np.zeros(1, np.int32))  # it is there
    end = time.monotonic() + NETWORK_LAG
    while not (seen := token.is_file()) and time.monotonic() < end:
        time.sleep(0.2)
    everyone = _gathered(np.array([seen], np.int32))
    if process == 0:
        with contextlib.suppress(OSError):
            token.unlink()
    if not everyone.all():
        raise InputError(
            "one folder that every process sees",
            f"{folder} is another one on process {int(np.argmin(everyone))}",
            "Name a folder on a file system that the hosts share: --data-dir.",
        )


@contextlib.contextmanager
def together(processes: int) -> Iterator[None]:
    """Says in words that another process has gone, which each backend says in its own way.

    Raises:
        WorldError: something failed while several processes computed together.
    """
    try:
        yield
    except FlowersError:
        raise
    except Exception as error:
        if processes == 1:
            raise
        raise WorldError(
            f"{processes} processes to train together to the end",
            _first_line(error),
            "See what the others said. Started again, all of them go on from the last epoch.",
        ) from error


def wait_for(paths: list[Path], patience: float = 3600.0) -> None:
    """Waits for files that other processes are writing.

    Raises:
        WorldError: none of them has come for `patience` seconds.
    """
    end, before = time.monotonic() + patience, len(paths)
    while missing := [path for path in paths if not path.is_file()]:
        if len(missing) < before:
            end, before = time.monotonic() + patience, len(missing)
        if time.monotonic() > end:
            raise WorldError(
                f"{len(missing)} files of features from the other processes",
                f"none has come for {patience:,.0f} s",
                "See what the others said, and start all of them again.",
            )
        time.sleep(0.1)


def part(processes: int, say: Callable[[str], None]) -> None:
    """Leaves the other processes, when all of them have come so far."""
    if processes == 1:
        return
    import jax

    jax.distributed.shutdown()
    say(f"the {processes} processes have parted: process 0 judges and writes")


def _gathered(numbers: np.ndarray) -> np.ndarray:
    """int32 [processes, n]: what each process has, int32 [n]."""
    from jax.experimental import multihost_utils

    return np.asarray(multihost_utils.process_allgather(numbers)).reshape(-1, len(numbers))


def _first_line(error: BaseException) -> str:
    text = str(error).strip().splitlines() or [""]
    return f"{type(error).__name__}: {text[0][:300]}"
