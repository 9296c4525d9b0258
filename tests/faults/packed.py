"""Faults 4 and 6: archives and downloads that are cut anywhere, hostile archives."""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import random
import sys
import tarfile
import tempfile
import warnings
import zipfile
from collections.abc import Iterator
from pathlib import Path

from faults.outcome import Outcome
from faulty_server import Fault, serve
from flowers import download
from flowers.data import archives
from flowers.errors import InputError, WorldError

sys.path.append(str(Path(__file__).resolve().parents[1] / "data"))
import test_archives as corpus

PARTS = 64


def cut_archives() -> Outcome:
    """A zip, a tgz and a tar of photos, cut at every 64th: refused, and nothing is left."""
    outcome, photos = Outcome(), _photos()
    plain = corpus.tar_bytes(*photos)
    kinds = {
        "zip": corpus.zip_bytes(*photos),
        "tgz": gzip.compress(plain, mtime=0),
        "tar": plain.rstrip(b"\0"),  # what is cut off the zeros behind the end is no loss
    }
    with _home() as place:
        for kind, content in kinds.items():
            for part in range(PARTS):
                path = Path(place, f"set.{kind}")
                path.write_bytes(content[: len(content) * part // PARTS])
                outcome.expect(_refused(path), f"{kind} cut at {part}/{PARTS}")
                path.unlink()
    return outcome


def cut_downloads() -> Outcome:
    """A download cut at every 64th: it goes on from there; and with a bit flipped there: again."""
    content = random.Random(0).randbytes(256_000)
    outcome, digest = Outcome(), hashlib.sha256(content).hexdigest()
    with _home() as place:
        for part in range(PARTS):
            where = len(content) * part // PARTS
            for name, fault in (("cut", Fault(cut=where)), ("flipped", Fault(flip=where))):
                with serve(content, faults=[fault]) as site:
                    path = Path(place, f"{name}-{part}.bin")
                    download.fetch(site.url, path, sha256=digest, size_limit=10**6, backoff=0.001)
                    again = site.sent - len(content)
                    sent = again == (0 if name == "cut" else len(content))
                    right = path.read_bytes() == content and len(site.requests) == 2 and sent
                    outcome.expect(right, f"{name} at {part}/{PARTS}: {again:,} bytes twice")
    return outcome


def hostile(large: bool = True) -> Outcome:
    """Each hostile archive under the limits that ship: refused, and nothing is left."""
    outcome = Outcome()
    with _home() as place:
        for name, (build, _) in corpus.HOSTILE.items():
            path = Path(place, "set.bin")
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                path.write_bytes(build())
            # what is a bomb under the tests' own limits may be an honest set under the real ones
            small = any(word in name for word in ("ratio", "member", "total", "count"))
            outcome.expect(_refused(path, corpus.SMALL if small else archives.LIMITS), name)
        if large:
            for name, build in LARGE.items():
                path = Path(place, "set.bin")
                build(path)
                outcome.expect(_refused(path), name)
                path.unlink()
    return outcome


def _too_many(path: Path) -> None:
    with tarfile.open(path, "w:gz", compresslevel=1) as packed:
        for number in range(archives.LIMITS.files + 1):
            packed.addfile(tarfile.TarInfo(f"a/{number}"))


def _too_large_a_member(path: Path) -> None:
    """513 MB of zeros beside enough noise that the ratio of the whole stays below its limit."""
    size = archives.LIMITS.member + 1_000_000
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as packed:
        packed.writestr("a/noise", random.Random(0).randbytes(size // 80))
        with packed.open("a/zeros", "w") as member:
            for _ in range(size // 1_000_000):
                member.write(bytes(1_000_000))


def _too_high_a_ratio(path: Path) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as packed:
        packed.writestr("a/zeros", bytes(400_000_000))


LARGE = {
    "200,001 files": _too_many,
    "a member of 513 MB": _too_large_a_member,
    "a ratio of 1,000": _too_high_a_ratio,
}


def _refused(path: Path, limits: archives.ArchiveLimits = archives.LIMITS) -> bool:
    """Whether an archive is refused, and nothing stands where it was or would have been."""
    target = path.with_name("out")
    before = sorted(path.parent.parent.iterdir())
    try:
        archives.unpack(path, target, limits=limits)
    except (InputError, WorldError):
        left = [each.name for each in path.parent.iterdir() if each != path]
        return not left and sorted(path.parent.parent.iterdir()) == before
    return False


def _photos() -> list[tuple[str, bytes]]:
    noise = random.Random(1)
    return [(f"set/rose/{number}.jpg", noise.randbytes(3_000)) for number in range(20)]


@contextlib.contextmanager
def _home() -> Iterator[Path]:
    """A folder in a folder of its own, so that what leads out of it shows."""
    with tempfile.TemporaryDirectory(prefix="flowers-faults-") as outside:
        home = Path(outside, "home")
        home.mkdir()
        yield home
