"""Ray, started on this machine or found elsewhere, and what it raises in a form for people."""

from __future__ import annotations

import contextlib
import logging
import os
import re
import signal
import socket
import time
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import ray
import ray.data

from flowers.errors import FlowersError, InputError, WorldError
from flowers.scoring.plan import Plan, cores

STORE = 200_000_000  # bytes of Ray's object store here, and 50 MB more a worker
# Readers wait for scorers, longer than the second after which Ray ends an idle process here; a new
# one takes seconds to start, which the scorers lack.
IDLE = 60_000  # ms
ATTEMPTS = 3  # to find the cluster, or to start one: on a busy machine Ray gives up after 30 s


@contextlib.contextmanager
def opened(plan: Plan, say: Callable[[str], None]) -> Iterator[None]:
    """Ray, started or found; what it raises in a form for people. Its SIGTERM handler is undone."""
    if ray.is_initialized():
        raise InputError("a process without Ray", "one in which it runs", "Call ray.shutdown().")
    handler = signal.getsignal(signal.SIGTERM)
    try:
        with _in_words(plan):
            _start(plan, say)
            with contextlib.suppress(ValueError):  # not in the main thread: Ray left it alone too
                signal.signal(signal.SIGTERM, handler)
            yield
    finally:
        ray.shutdown()


def _start(plan: Plan, say: Callable[[str], None]) -> None:
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nothing is sent to anybody
    # Ray's C++ warns of its own way of passing the model to actors; what matters is raised as well.
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")
    if plan.address:
        _require_answer(plan.address)
        settings: dict[str, Any] = {"address": plan.address}
    else:
        workers = plan.workers or cores()
        memory = STORE + workers * 50_000_000
        settings = {
            "address": "local",  # or Ray joins the cluster that RAY_ADDRESS or `ray start` left
            "num_cpus": workers,
            "object_store_memory": memory,
            "include_dashboard": False,
            "_system_config": {"idle_worker_killing_time_threshold_ms": IDLE},
        }
    for attempt in range(ATTEMPTS):
        try:
            ray.init(**settings, logging_level=logging.ERROR, log_to_driver=False)
            break
        except Exception:  # Ray raises plain ones
            ray.shutdown()
            if attempt + 1 == ATTEMPTS:
                raise
            say("Ray does not start: once more")
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    context.execution_options.preserve_order = True
    logging.getLogger("ray.data").setLevel(logging.CRITICAL)  # errors are raised, and put in words
    # of the last window, which may have fewer photos than there are workers for
    warnings.filterwarnings("ignore", category=UserWarning, module=r"ray\.data\.")
    say(f"Ray with {ray.cluster_resources().get('CPU', 0):g} cores")


def workers(plan: Plan, say: Callable[[str], None]) -> int:
    """How many actors; in a cluster no more than cores are free, or the readers would find none."""
    if plan.address is None:
        return plan.workers or cores()
    free = max(1, int(ray.available_resources().get("CPU", 1)))
    if plan.workers and plan.workers > free:
        say(f"{free} workers instead of {plan.workers}: no more cores are free in the cluster")
    return min(plan.workers or free, free)


def _require_answer(address: str) -> None:
    """Knocks at the cluster's door before Ray does, which would wait for minutes.

    Raises:
        InputError: the address has another form.
        WorldError: nobody answers.
    """
    if address == "auto":
        return
    found = re.fullmatch(r"(?:ray://)?(?P<host>[^/:]+|\[[^]]+\]):(?P<port>\d+)", address)
    if found is None:
        raise InputError("HOST:PORT, ray://HOST:PORT or auto", address, "Correct --ray-address.")
    place = (found["host"].strip("[]"), int(found["port"]))
    for attempt in range(ATTEMPTS):
        try:
            socket.create_connection(place, timeout=5).close()
            return
        except OSError as error:
            if attempt + 1 == ATTEMPTS:
                raise _no_cluster(address, error.strerror or str(error)) from error
        time.sleep(2**attempt)


def _no_cluster(address: str | None, reason: str) -> WorldError:
    if address is None:
        remedy = "The machine may be too busy: try again later, or use --engine local."
        return WorldError("Ray to start on this machine", reason, remedy)
    remedy = (
        "Check --ray-address and `ray status` there; a cluster with tokens wants "
        "RAY_AUTH_MODE=token here as well. Without --ray-address Ray starts on this machine."
    )
    return WorldError(f"a Ray cluster at {address}", reason, remedy)


@contextlib.contextmanager
def _in_words(plan: Plan) -> Iterator[None]:
    """Turns what Ray raises into an error of ours: the one raised on a node, or a WorldError."""
    try:
        yield
    except FlowersError:
        raise
    except Exception as error:
        if own := ours(error):
            raise own from error
        if isinstance(error, ConnectionError) or not ray.is_initialized():
            raise _no_cluster(plan.address, _line(error)) from error
        if not isinstance(error, ray.exceptions.RayError):
            raise
        raise WorldError(
            "a Ray cluster that keeps its workers",
            _line(error),
            "If memory ran out, use fewer --workers or a smaller --batch; finished shards are "
            "kept, and the same command goes on from there.",
        ) from error


def ours(error: BaseException | None) -> FlowersError | None:
    """The error of this package inside Ray's."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        if isinstance(error, FlowersError):
            return error
        seen.add(id(error))
        error = getattr(error, "cause", None) or error.__cause__ or error.__context__
    return None


def _line(error: BaseException) -> str:
    """The last line of a message, which in Ray's long ones says what happened."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[-1][:300] if lines else ''}"
