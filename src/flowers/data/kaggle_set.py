"""The set on Kaggle, through kagglehub in a process of its own that can be stopped.

kagglehub sets no limit to how long Kaggle may be silent, writes to the standard output and does
not expect a second process beside it. Run as `python -m flowers.data.kaggle_set HANDLE`, this
module is that process: it waits for its turn, downloads, and answers with one line of JSON.
"""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path

from flowers import files
from flowers.errors import WorldError
from flowers.progress import progress

_VARIABLES = ("KAGGLE_API_TOKEN", "KAGGLE_USERNAME", "KAGGLE_KEY")
_DAMAGED = {"DataCorruptionError", "BadZipFile", "ReadError", "EOFError", "error"}  # zlib.error
_OTHERWISE = "or choose another source: `--data mirror`, a folder, or `--data painted`."


@dataclass(frozen=True)
class KaggleSet:
    """A public data set on Kaggle, pinned to a version so that it works offline once cached.

    Which version is the newest could not be looked up when this was written. Another one is
    chosen here and nowhere else.
    """

    handle: str = "alxmamaev/flowers-recognition/versions/2"
    probe: str = "https://api.kaggle.com/"  # whoever answers here is Kaggle
    size: int = 240_000_000  # bytes of the archive, about: for the bar and the check of the disk
    attempts: int = 3
    backoff: float = 1.0  # s before the second attempt; doubled before the third
    stall: float = 60.0  # s without a byte or a file more before an attempt is given up

    @property
    def title(self) -> str:
        """The set and its version, in words."""
        name, _, version = self.handle.partition("/versions/")
        return f"{name}, version {version}"

    @property
    def home(self) -> Path:
        """Where kagglehub keeps every version of this set."""
        default = Path.home() / ".cache" / "kagglehub"
        cache = Path(os.environ.get("KAGGLEHUB_CACHE") or default)
        return cache / "datasets" / self.handle.partition("/versions/")[0]

    @property
    def version(self) -> str:
        return self.handle.rpartition("/")[2]

    @property
    def archive(self) -> Path:
        """Where kagglehub keeps what it has of the archive while it downloads."""
        return self.home / f"{self.version}.archive"


def cached(kaggle: KaggleSet) -> Path | None:
    """The folder of the set if kagglehub has all of it, without a look at the network."""
    folder = kaggle.home / "versions" / kaggle.version
    complete = kaggle.home / f"{kaggle.version}.complete"
    return folder if complete.exists() and folder.is_dir() else None


def fetch(kaggle: KaggleSet) -> Path:
    """Downloads the set into kagglehub's cache, or finds it there, and returns its folder.

    Raises:
        WorldError: kagglehub is missing, Kaggle refuses or stays silent, or the disk is full. It
            names the variables that hold credentials and never what they hold.
    """
    if importlib.util.find_spec("kagglehub") is None:
        raise WorldError(
            "the package kagglehub, which downloads from Kaggle",
            "kagglehub is not installed",
            f"Run `pip install kagglehub`, {_OTHERWISE}",
        )
    files.require_space(kaggle.home, 2 * kaggle.size, "the Kaggle set and its archive")
    problem = ""
    for attempt in range(kaggle.attempts):
        if attempt:
            time.sleep(kaggle.backoff * 2 ** (attempt - 1))
        answer = _run(kaggle)
        if "folder" in answer:
            return Path(answer["folder"])
        problem = _judge(kaggle, answer)
    raise WorldError(
        f"to download {kaggle.title} from Kaggle",
        f"{problem}, {kaggle.attempts} times",
        f"Check the connection and try again, {_OTHERWISE}",
    )


def _run(kaggle: KaggleSet) -> dict:
    """One attempt in its own process: {"folder": ...} or {"error": ..., "status": ..., ...}."""
    command = [sys.executable, "-m", __name__, kaggle.handle]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
    bar = progress((), "Kaggle", total=kaggle.size, unit="B")
    bar.unit_scale = True
    with bar, subprocess.Popen(command, env=environment, text=True, **pipes) as process:
        try:
            weight, since = -1, time.monotonic()
            while process.poll() is None:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(0.2)
                if (now := _weight(kaggle.home)) != weight:
                    weight, since = now, time.monotonic()
                elif time.monotonic() - since > kaggle.stall:
                    return {"error": "Stall"}
                if kaggle.archive.is_file():
                    bar.update(kaggle.archive.stat().st_size - bar.n)
        finally:
            process.kill()
        with contextlib.suppress(ValueError):
            return json.loads(process.stdout.read())
    return {"error": "Crash"}


def _weight(folder: Path) -> int:
    """Bytes and files below `folder`: it changes as long as a download or an unpacking moves."""
    total = 0
    for parent, _, names in os.walk(folder):
        for name in names:
            with contextlib.suppress(OSError):
                total += 1 + Path(parent, name).stat().st_size
    return total


def _judge(kaggle: KaggleSet, answer: dict) -> str:
    """What a failed attempt means, in words, when another may succeed; raises when it is final."""
    status, error = answer.get("status"), answer["error"]
    expected = f"to download {kaggle.title} from Kaggle"
    if status in (401, 403) or "credentials file" in answer.get("text", ""):
        raise _refused(expected, status)
    if status is not None and 400 <= status < 500 and status not in (408, 425, 429):
        raise WorldError(
            expected,
            f"Kaggle answered {status}",
            f"This version may be gone: {_OTHERWISE.removeprefix('or ')}",
        )
    if "parts" in answer:
        expected, received, remedy = answer["parts"]
        raise WorldError(expected, received, f"{remedy} KAGGLEHUB_CACHE names another cache.")
    if error in _DAMAGED or "archive type" in answer.get("text", ""):
        kaggle.archive.unlink(missing_ok=True)  # or kagglehub takes it for complete again
        return "what came was damaged or no archive"
    if status is not None:
        return f"Kaggle answered {status}"
    if error == "Stall":
        return f"nothing came for {kaggle.stall:g} s"
    return "the connection failed" if answer.get("network") else f"kagglehub ended with {error}"


def _refused(expected: str, status: int | None) -> WorldError:
    folder = Path(os.environ.get("KAGGLE_CONFIG_DIR") or Path.home() / ".kaggle")
    given = [name for name in _VARIABLES if os.environ.get(name)]
    kept = (folder / "kaggle.json", Path.home() / ".kaggle" / "access_token")
    given += [str(path) for path in kept if path.exists()]
    answered = f"Kaggle answered {status}" if status else "Kaggle's credentials cannot be read"
    if given:
        return WorldError(
            expected,
            f"{answered} with the credentials in {' and '.join(given)}",
            f"Correct them, remove them (the set is public and needs none), {_OTHERWISE}",
        )
    return WorldError(
        expected,
        f"{answered}, and no credentials are set",
        f"Set KAGGLE_API_TOKEN, or KAGGLE_USERNAME and KAGGLE_KEY, {_OTHERWISE}",
    )


def main(handle: str) -> None:
    """The other process: downloads `handle` and prints {"folder": ...} or what went wrong."""
    threading.Thread(target=_end_with_parent, daemon=True).start()
    kaggle = KaggleSet(handle)
    # kagglehub's logger takes hold of sys.stdout when it is imported.
    with contextlib.redirect_stdout(sys.stderr):
        try:
            with files.locked(kaggle.archive):
                import kagglehub

                answer = {"folder": kagglehub.dataset_download(handle)}
        except Exception as error:
            answer = _describe(error, kaggle)
    print(json.dumps(answer))


def _describe(error: Exception, kaggle: KaggleSet) -> dict:
    """What the parent needs to know of an error; what it says may hold a secret and stays here."""
    import requests

    name = type(error).__name__
    if isinstance(error, requests.RequestException):
        status = getattr(error.response, "status_code", None)
        return {"error": name, "network": True, "status": status}
    if isinstance(error, OSError) and error.errno:
        try:
            with files.world(kaggle.home):
                raise error
        except WorldError as translated:
            error = translated
    if isinstance(error, WorldError):
        return {"error": name, "parts": [error.expected, error.received, error.remedy]}
    return {"error": name, "text": str(error) if isinstance(error, ValueError) else ""}


def _end_with_parent() -> None:
    """Ends this process when its parent is gone, killed or not: their pipe closes then."""
    sys.stdin.buffer.read()
    os._exit(1)


if __name__ == "__main__":
    main(sys.argv[1])
