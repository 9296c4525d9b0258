"""Archives: honest ones come out whole; hostile ones are refused and leave nothing behind."""

from __future__ import annotations

import gzip
import io
import random
import signal
import stat
import struct
import subprocess
import sys
import tarfile
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest

from flowers.data.archives import ArchiveLimits, kind, unpack
from flowers.errors import InputError, WorldError

SMALL = ArchiveLimits(files=50, bytes=4_000_000, ratio=20, member=2_000_000, free=100_000)
CONTENT = {"set/daisy/1.jpg": b"1" * 99, "set/rose/2 \u00fc.jpg": b"2" * 99, "LICENSE": b"CC"}


def tar_bytes(*members: tuple[str, bytes] | tarfile.TarInfo, mode: str = "w", **options) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode=mode, **options) as packed:
        for member in members:
            if isinstance(member, tarfile.TarInfo):
                packed.addfile(member)
            else:
                info = tarfile.TarInfo(member[0])
                info.size, info.mode = len(member[1]), 0o777
                packed.addfile(info, io.BytesIO(member[1]))
    return buffer.getvalue()


def special(name: str, kind: bytes, link: str = "", size: int = 0) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname, info.size = kind, link, size
    return info


@pytest.mark.filterwarnings("ignore:Duplicate name:UserWarning")
def zip_bytes(*members: tuple[str | zipfile.ZipInfo, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as packed:
        for name, content in members:
            packed.writestr(name, content)
    return buffer.getvalue()


def zip_special(name: str, mode: int) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(name)
    info.create_system, info.external_attr = 3, (mode | 0o777) << 16
    return info


def raw_zip(name: bytes, flags: int = 0, method: int = 0) -> bytes:
    """A zip of one stored member, written by hand: the library would not write such."""
    body = b"photo"
    facts = struct.pack("<HHHHIII", flags, method, 0, 0x21, zlib.crc32(body), len(body), len(body))
    local = b"PK\x03\x04" + struct.pack("<H", 20) + facts
    local += struct.pack("<HH", len(name), 0) + name + body
    central = b"PK\x01\x02" + struct.pack("<HH", 20, 20) + facts
    central += struct.pack("<HHHHHII", len(name), 0, 0, 0, 0, 0, 0) + name
    end = struct.pack("<HHHHIIH", 0, 0, 1, 1, len(central), len(local), 0)
    return local + central + b"PK\x05\x06" + end


def broken_header() -> bytes:
    """A tar whose second header has a wrong checksum: tarfile alone takes it for the end."""
    content = bytearray(tar_bytes(("a/1.jpg", b"x" * 512), ("b/2.jpg", b"y" * 512)))
    content[1024] ^= 0x01
    return bytes(content)


def flipped(content: bytes, place: int) -> bytes:
    changed = bytearray(content)
    changed[place] ^= 0x10
    return bytes(changed)


NOISE = random.Random(0).randbytes(3_000)
PLAIN = tuple(CONTENT.items())
TGZ = tar_bytes(*PLAIN, ("set/tulip/3.jpg", NOISE), mode="w:gz")
ZIP = zip_bytes(*PLAIN, ("set/tulip/3.jpg", NOISE))

HOSTILE: dict[str, tuple[Callable[[], bytes], str]] = {
    "tar: ../": (lambda: tar_bytes(("../canary", b"x")), "leads out"),
    "tar: deep ../": (lambda: tar_bytes(("a/b/../../../canary", b"x")), "leads out"),
    "tar: absolute": (lambda: tar_bytes(("/tmp/canary", b"x")), "absolute"),
    "tar: symlink": (lambda: tar_bytes(special("a/l", tarfile.SYMTYPE, "/etc")), "a link"),
    "tar: write through a symlink": (
        lambda: tar_bytes(special("l", tarfile.SYMTYPE, ".."), ("l/canary", b"x")),
        "a link",
    ),
    "tar: hard link": (lambda: tar_bytes(special("a/l", tarfile.LNKTYPE, "../x")), "a link"),
    "tar: character device": (lambda: tar_bytes(special("null", tarfile.CHRTYPE)), "a device"),
    "tar: block device": (lambda: tar_bytes(special("sda", tarfile.BLKTYPE)), "a device"),
    "tar: pipe": (lambda: tar_bytes(special("pipe", tarfile.FIFOTYPE)), "a device"),
    "tar: unknown type": (lambda: tar_bytes(special("odd", b"Q")), "something else"),
    "tar: name twice": (lambda: tar_bytes(("a/1", b"x"), ("a/1", b"y")), "twice"),
    "tar: file, then folder": (lambda: tar_bytes(("a", b"x"), ("a/1", b"y")), "twice"),
    "tar: folder, then file": (lambda: tar_bytes(("a/1", b"x"), ("./a", b"y")), "twice"),
    "tar: case collision": (lambda: tar_bytes(("Rose/1", b"x"), ("rose/2", b"y")), "case"),
    "tar: unicode collision": (lambda: tar_bytes(("\u00fc", b"x"), ("u\u0308", b"y")), "case"),
    "tar: long name": (lambda: tar_bytes(("x" * 300, b"x")), "300 bytes"),
    "tar: deep path": (lambda: tar_bytes(("a/" * 900 + "x", b"x")), "1,801 bytes"),
    "tar: control characters": (lambda: tar_bytes(("a\x1b[2J", b"x")), "control"),
    "tar: broken header in the middle": (broken_header, "damaged"),
    "tar: cut between members": (lambda: tar_bytes(("a/1", b"x" * 512))[:1024], "breaks off"),
    "tar: chain of extended headers": (
        lambda: b"".join(tar_bytes(special("x", b"x"))[:512] for _ in range(3_000)) + bytes(1024),
        "damaged",
    ),
    "tar: extended header of 50 MB": (
        lambda: gzip.compress(special("x", tarfile.XHDTYPE, size=50_000_000).tobuf()),
        "a header of 50,",
    ),
    "tgz: ratio": (lambda: tar_bytes(("a/1", bytes(1_900_000)), mode="w:gz"), "20-fold"),
    "tgz: member": (lambda: tar_bytes(("a/1", NOISE * 700)), "more than 2 MB in"),
    "tgz: total": (
        lambda: tar_bytes(*((f"a/{i}", NOISE * 600) for i in range(3))),
        "more than 0 GB",
    ),
    "tgz: count": (lambda: tar_bytes(*((f"a/{i}", b"") for i in range(60)), mode="w:gz"), "50"),
    "tgz: count of folders": (lambda: tar_bytes(("a/" * 60 + "x", b"x"), mode="w:gz"), "50"),
    "tgz: bomb behind the end": (
        lambda: gzip.compress(tar_bytes(*PLAIN) + bytes(3_000_000)),
        "behind",
    ),
    "tgz: checksum": (lambda: flipped(TGZ, -6), "damaged"),
    "tgz: no tar in it": (lambda: gzip.compress(b"hello" * 300), "damaged"),
    "zip: ../": (lambda: zip_bytes(("../canary", b"x")), "leads out"),
    "zip: backslashes": (lambda: zip_bytes(("..\\canary", b"x")), "leads out"),
    "zip: absolute": (lambda: zip_bytes(("/tmp/canary", b"x")), "absolute"),
    "zip: drive letter": (lambda: zip_bytes(("C:\\canary", b"x")), "absolute"),
    "zip: network share": (lambda: zip_bytes(("\\\\host\\canary", b"x")), "absolute"),
    "zip: NUL in a name": (lambda: raw_zip(b"a.jpg\0../x"), "control"),
    "zip: symlink": (lambda: zip_bytes((zip_special("l", stat.S_IFLNK), b"/etc")), "a link"),
    "zip: device": (lambda: zip_bytes((zip_special("d", stat.S_IFCHR), b"")), "a device"),
    "zip: encrypted": (lambda: raw_zip(b"a/1.jpg", flags=1), "encrypted"),
    "zip: unknown method": (lambda: raw_zip(b"a/1.jpg", method=98), "method 98"),
    "zip: case collision": (lambda: zip_bytes(("a/X.jpg", b"1"), ("a/x.JPG", b"2")), "case"),
    "zip: ratio": (lambda: zip_bytes(("a/1", bytes(1_900_000))), "20-fold"),
    "zip: count": (lambda: zip_bytes(*((f"a/{i}", b"") for i in range(60))), "50 files"),
    "zip: lies about its size": (
        lambda: raw_zip(b"a/1.jpg").replace(struct.pack("<II", 5, 5), struct.pack("<II", 5, 2)),
        "damaged",
    ),
    "zip: checksum": (lambda: flipped(ZIP, ZIP.index(b"3.jpg") + 200), "damaged"),
    "zip: only folders": (lambda: zip_bytes(("a/", b""), ("b/", b"")), "without a file"),
    "no archive: HTML": (lambda: b"<!DOCTYPE html><html>404</html>", "an HTML page"),
    "no archive: RAR": (lambda: b"Rar!\x1a\x07" + NOISE, "a RAR archive"),
    "no archive: a photo": (lambda: b"\xff\xd8\xff\xe0" + NOISE, "a single photo"),
    "no archive: noise": (lambda: NOISE, "begins with"),
    "no archive: empty": (lambda: b"", "an empty file"),
}


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("set.tar", tar_bytes(*PLAIN)),
        ("old.tar", tar_bytes(*PLAIN, format=tarfile.GNU_FORMAT)),
        ("set.tgz", TGZ),
        ("set.tar.gz", tar_bytes(*PLAIN, mode="w:gz")),
        ("set.zip", ZIP),
        ("dots.tar", tar_bytes(special("./", tarfile.DIRTYPE), *(("./" + n, c) for n, c in PLAIN))),
        ("windows.zip", zip_bytes(*((n.replace("/", "\\"), c) for n, c in PLAIN))),
        ("a zip in truth.tgz", ZIP),
    ],
)
def test_an_honest_archive_comes_out_whole(tmp_path, name, content):
    archive = tmp_path / name
    archive.write_bytes(content)
    folder = unpack(archive, tmp_path / "out")
    for inner, expected in CONTENT.items():
        path = folder / inner
        assert path.read_bytes() == expected
        assert not path.stat().st_mode & 0o111, "modes come from us, not from the archive"
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted([name, "out"])


@pytest.mark.parametrize("case", HOSTILE)
@pytest.mark.filterwarnings("ignore:Duplicate name:UserWarning")
def test_a_hostile_archive_leaves_nothing(tmp_path, case):
    build, reason = HOSTILE[case]
    home = tmp_path / "home"
    home.mkdir()
    archive = home / "set.bin"
    archive.write_bytes(build())
    with pytest.raises(InputError) as caught:
        unpack(archive, home / "out", limits=SMALL)
    assert reason in str(caught.value)
    assert "set.bin" in str(caught.value)
    assert str(caught.value).isascii() and str(caught.value).isprintable()
    assert [p.name for p in home.iterdir()] == ["set.bin"]
    assert [p.name for p in tmp_path.iterdir()] == ["home"]
    assert not Path("/tmp/canary").exists()


def test_a_name_twice_in_a_zip_is_refused(tmp_path):
    with pytest.warns(UserWarning, match="Duplicate name"):
        (tmp_path / "set.zip").write_bytes(zip_bytes(("a/1.jpg", b"x"), ("a/1.jpg", b"y")))
    with pytest.raises(InputError, match="twice"):
        unpack(tmp_path / "set.zip", tmp_path / "out")


@pytest.mark.parametrize("content", [ZIP, TGZ, tar_bytes(*PLAIN)], ids=["zip", "tgz", "tar"])
def test_an_archive_cut_anywhere_is_refused(tmp_path, content):
    # A tar is padded with zero blocks: what is cut off behind the first is no loss.
    whole = tar_bytes(*PLAIN).rstrip(b"\0") if content[:2] not in (b"PK", b"\x1f\x8b") else content
    for share in (0.02, 0.2, 0.5, 0.8, 0.95, 0.999):
        cut = tmp_path / "cut.bin"
        cut.write_bytes(whole[: int(len(whole) * share)])
        with pytest.raises(InputError):
            unpack(cut, tmp_path / "out")
        assert not (tmp_path / "out").exists()


def test_flipped_bits_never_pass_in_a_tgz(tmp_path):
    # Behind the header (time and system do not matter there), every bit counts.
    places = random.Random(1).sample(range(30, len(TGZ)), 40)
    for place in places:
        (tmp_path / "set.tgz").write_bytes(flipped(TGZ, place))
        with pytest.raises(InputError):
            unpack(tmp_path / "set.tgz", tmp_path / "out")
        assert not (tmp_path / "out").exists()


def test_an_archive_within_the_archive_stays_a_file(tmp_path):
    (tmp_path / "set.zip").write_bytes(zip_bytes(("a/inner.zip", ZIP)))
    folder = unpack(tmp_path / "set.zip", tmp_path / "out")
    assert (folder / "a" / "inner.zip").read_bytes() == ZIP


def test_what_is_there_is_kept(tmp_path):
    (tmp_path / "set.zip").write_bytes(ZIP)
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine.jpg").write_bytes(b"mine")
    with pytest.raises(WorldError, match="something else"):
        unpack(tmp_path / "set.zip", tmp_path / "out")
    assert [p.name for p in (tmp_path / "out").iterdir()] == ["mine.jpg"]


def test_a_missing_archive_and_a_folder_are_named(tmp_path):
    with pytest.raises(InputError, match="no such file"):
        kind(tmp_path / "none.zip")
    with pytest.raises(InputError, match="a folder"):
        kind(tmp_path)


def test_a_kill_while_unpacking_leaves_no_folder_and_the_next_run_sweeps(tmp_path):
    archive = tmp_path / "set.tar"
    archive.write_bytes(tar_bytes(*((f"a/{i}.jpg", NOISE) for i in range(900))))
    code = "import sys; from flowers.data.archives import unpack; unpack(sys.argv[1], sys.argv[2])"
    command = [sys.executable, "-c", code, str(archive), str(tmp_path / "out")]
    process = subprocess.Popen(command)
    while not list(tmp_path.glob(".out.*.partial/a")):
        assert process.poll() is None, "it ended before the kill"
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (tmp_path / "out").exists()
    unpack(archive, tmp_path / "out")
    assert len(list((tmp_path / "out" / "a").iterdir())) == 900
    assert sorted(p.name for p in tmp_path.iterdir()) == ["out", "set.tar"]
