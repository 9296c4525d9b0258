"""Sets of photos from everywhere: folders, archives, a mirror and a Kaggle on this machine."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import io
import json
import random
import re
import subprocess
import sys
import tarfile
import threading
import time
import zipfile
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import psutil
import pytest

from faulty_server import Fault, Site, answer, running, serve
from flowers.data.folders import class_root
from flowers.data.kaggle_set import KaggleSet
from flowers.data.mirror import Mirror
from flowers.data.sources import Places, get
from flowers.errors import InputError, WorldError

FLOWERS = ("daisy", "dandelion", "rose", "sunflower", "tulip")
NOISE = random.Random(0).randbytes(2_000)
NOWHERE = "http://127.0.0.1:9/flower_photos.tgz"  # the discard port: nobody listens
SECRET = "hunter2-not-to-be-printed"


def grow(folder: Path, *paths: str) -> Path:
    """Makes files below `folder`; a path that ends in a slash becomes an empty folder."""
    for path in paths:
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        if path.endswith("/"):
            (folder / path).mkdir(exist_ok=True)
        else:
            (folder / path).write_bytes(NOISE)
    return folder


def tgz(*names: str) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as packed:
        for name in names:
            info = tarfile.TarInfo(name)
            info.size = len(NOISE)
            packed.addfile(info, io.BytesIO(NOISE))
    return buffer.getvalue()


def zipped(*names: str) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as packed:
        for name in names:
            packed.writestr(name, NOISE)
    return buffer.getvalue()


def left(folder: Path) -> list[str]:
    """The names in a folder, without locks, which stay by design."""
    return sorted(path.name for path in folder.iterdir() if path.suffix != ".lock")


# --- folders ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("paths", "root"),
    [
        (["rose/1.jpg", "tulip/2.PNG"], "."),
        (["rose/1.jpg", "tulip/2.jpg", "empty/", "LICENSE", ".git/config"], "."),
        (["flowers/rose/1.jpg", "flowers/tulip/2.jpg"], "flowers"),
        (["flowers/flowers/rose/1.jpg", "flowers/flowers/tulip/2.jpg"], "flowers/flowers"),
        (["flowers/rose/1", "flowers/tulip/2", "flowers/flowers/rose/1"], "flowers"),
        (["set/rose/1.jpg", "set/tulip/1.jpg", "__MACOSX/set/rose/._1.jpg", ".x/y/z"], "set"),
        (["set/LICENSE", "set/rose/1.jpg", "set/tulip/1.jpg"], "set"),
        (["set/rose/1.jpg", "set/tulip/1.jpg", "docs/read.txt", "code/run.py"], "set"),
        (["a/x.dat", "b/y.dat"], "."),
        (["x/train/a/1.jpg", "x/train/b/1.jpg", "x/test/a/2.jpg", "x/test/b/2.jpg"], "x"),
        (["train/1.jpg", "test/1.jpg", "train/more/2.jpg"], "."),
        (["Stra\u00dfe \u82b1/1.jpg", "b c/2.jpg"], "."),
    ],
)
def test_the_class_folders_are_found(tmp_path, paths, root):
    assert class_root(grow(tmp_path, *paths)) == tmp_path / root


@pytest.mark.parametrize(
    ("paths", "received"),
    [
        (["empty/"], "no class folder with a file in it"),
        (["rose/", "tulip/"], "no class folder with a file in it"),
        (["rose/1.jpg"], "one class folder only, rose"),
        (["rose/1.jpg", "tulip/"], "one class folder only, rose"),
        (["flowers/rose/1.jpg", "flowers/tulip/.hidden"], "one class folder only, rose"),
        (["1.jpg", "2.jpg"], "no class folder, but 2 files"),
        (
            ["spring/a/1.jpg", "spring/b/1.jpg", "summer/a/2.jpg", "summer/b/2.jpg"],
            "sets of them in spring and summer",
        ),
        (["train/a/1.jpg", "train/b/1.jpg", "test/a/2.jpg"], "no b in test"),
        (["train/a/1.jpg", "test/a/2.jpg"], "1 of them"),
        (
            ["x/train/a/1.jpg", "x/train/b/1.jpg", "x/test/a/2.jpg", "x/test/c/2.jpg"],
            "no b in test; no c in train",
        ),
        (["rose/x/x/x/x/x/x/x/x/x/1.jpg"], "no class folder"),
    ],
)
def test_a_folder_without_two_classes_is_refused(tmp_path, paths, received):
    with pytest.raises(InputError, match=received) as caught:
        class_root(grow(tmp_path, *paths))
    assert str(tmp_path) in caught.value.expected and caught.value.remedy.endswith(".")


def test_a_path_that_is_no_folder_is_named(tmp_path):
    with pytest.raises(InputError, match="no such folder"):
        class_root(tmp_path / "none")
    with pytest.raises(InputError, match="a file"):
        class_root(grow(tmp_path, "photo.jpg") / "photo.jpg")


def test_a_circle_of_links_ends(tmp_path):
    grow(tmp_path, "a/b/x.txt")
    (tmp_path / "a" / "b" / "c").symlink_to(tmp_path)
    with pytest.raises(InputError):
        class_root(tmp_path)


def test_a_folder_is_taken_as_it_is(tmp_path):
    grow(tmp_path, "mine/rose/1.jpg", "mine/tulip/1.jpg", "mine/tulip/2.jpg")
    source = get(tmp_path / "mine", tmp_path / "data")
    assert (source.name, source.folder) == ("folder", tmp_path / "mine")
    assert "3 photos of 2 classes" in source.reason and "\n" not in source.reason
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize("source", ["kagle", "", "data/nowhere", "https://example.org/x.zip"])
def test_a_source_that_is_not_there_is_an_input_error(tmp_path, source):
    with pytest.raises(InputError, match="auto, kaggle, mirror, painted") as caught:
        get(source, tmp_path)
    assert repr(source) in caught.value.received


# --- archives --------------------------------------------------------------------------------


@pytest.mark.parametrize("pack", [tgz, zipped])
def test_an_archive_is_unpacked_once(tmp_path, pack):
    archive = tmp_path / "my photos.bin"
    archive.write_bytes(pack("set/rose/1.jpg", "set/tulip/2.jpg", "set/LICENSE"))
    source = get(str(archive), tmp_path / "data")
    assert source.name == "archive" and str(archive) in source.reason
    assert left(source.folder) == ["LICENSE", "rose", "tulip"]
    (source.folder / "rose" / "seen.jpg").write_bytes(b"a trace")
    assert get(str(archive), tmp_path / "data") == get(archive, tmp_path / "data")
    assert (source.folder / "rose" / "seen.jpg").exists(), "it was unpacked again"
    archive.write_bytes(pack("rose/other.jpg", "tulip/2.jpg"))
    assert get(archive, tmp_path / "data").folder != source.folder


@pytest.mark.parametrize(
    ("content", "received"),
    [
        (b"<!doctype html><title>404</title>", "an HTML page"),
        (tgz("rose/1.jpg", "tulip/1.jpg")[:-20], "damaged"),
        (tgz("rose/1.jpg", "../tulip/1.jpg"), "leads out"),
        (zipped("rose/1.jpg", "rose/2.jpg"), "one class folder only, rose"),
        (zipped("1.jpg"), "no class folder, but 1 files"),
    ],
)
def test_an_archive_of_no_use_leaves_nothing(tmp_path, content, received):
    archive = tmp_path / "set.zip"
    archive.write_bytes(content)
    with pytest.raises(InputError, match=received) as caught:
        get(archive, tmp_path / "data")
    assert str(archive) in str(caught.value) and ".partial" not in str(caught.value)
    below = [path for path in (tmp_path / "data").rglob("*") if path.suffix != ".lock"]
    assert [path.name for path in below] in ([], ["archives"])


# --- the mirror ------------------------------------------------------------------------------

THEIRS = ("daisy", "dandelion", "roses", "sunflowers", "tulips")
ARCHIVE = tgz(
    "flower_photos/LICENSE.txt", *(f"flower_photos/{c}/{i}.jpg" for c in THEIRS for i in range(3))
)


def offline(**kaggle: object) -> Places:
    return Places(KaggleSet(probe=NOWHERE, **kaggle), Mirror(NOWHERE))


def mirrored(site: Site, **options: object) -> Places:
    mirror = Mirror(site.url, **({"least": 3, "attempts": 2} | options))
    return Places(KaggleSet(probe=NOWHERE), mirror)


def test_the_mirror_gets_the_names_of_the_kaggle_set(tmp_path):
    with serve(ARCHIVE) as site:
        source = get("mirror", tmp_path, places=mirrored(site))
    assert source.name == "mirror" and "15 photos of 5 classes" in source.reason
    assert left(source.folder) == sorted(["LICENSE.txt", *FLOWERS])
    assert left(tmp_path / "mirror") == ["flower_photos", "source.json"]
    record = json.loads((tmp_path / "mirror" / "source.json").read_text())
    assert record["sha256"] == hashlib.sha256(ARCHIVE).hexdigest()
    assert record["photos"] == dict.fromkeys(FLOWERS, 3)
    again = get("mirror", tmp_path, places=offline())  # from the disk, without a network
    assert again.folder == source.folder and "found" in again.reason


# named, since the archive holds the time it was made, and several processes must agree on names
@pytest.mark.parametrize(
    "sha256", [None, hashlib.sha256(ARCHIVE).hexdigest()], ids=["unknown", "known"]
)
def test_a_bit_flipped_on_the_way_costs_a_second_download(tmp_path, sha256):
    with serve(ARCHIVE, faults=[Fault(flip=400)]) as site:
        get("mirror", tmp_path, places=mirrored(site, sha256=sha256))
        assert len([r for r in site.requests if "range" not in r]) == 2


@pytest.mark.parametrize(
    ("content", "fault", "received"),
    [
        (ARCHIVE, Fault(flip=400), "damaged.*twice"),
        (ARCHIVE[:-300], Fault(), "damaged.*twice"),
        (tgz("flower_photos/daisy/1.jpg", "flower_photos/roses/1.jpg"), Fault(), "1 of daisy"),
        (tgz(*(f"{c}/{i}.jpg" for c in THEIRS[:4] for i in range(3))), Fault(), "0 of tulip"),
        (ARCHIVE, Fault(status=404, body=b"gone"), "answered 404"),
        (ARCHIVE, Fault(body=b"<html>sign in</html>"), "a web page"),
        (ARCHIVE, Fault(cut=100, status=200, no_range=True), "broke off"),
    ],
)
def test_a_mirror_that_fails_leaves_no_set(tmp_path, content, fault, received):
    with serve(content, always=fault) as site, pytest.raises(WorldError, match=received):
        get("mirror", tmp_path, places=mirrored(site))
    assert not (tmp_path / "mirror" / "flower_photos").exists()
    assert not (tmp_path / "mirror" / "flower_photos.tgz").exists()


def test_another_edition_on_the_mirror_is_not_taken_silently(tmp_path):
    grow(tmp_path / "mirror")
    with serve(ARCHIVE) as site:
        record = tmp_path / "mirror" / "source.json"
        record.parent.mkdir()
        record.write_text(json.dumps({"url": site.url, "sha256": "0" * 64}))
        with pytest.raises(WorldError, match=re.escape(f"remove {record}")):
            get("mirror", tmp_path, places=mirrored(site))
        assert left(record.parent) == ["source.json"]
        record.unlink()
        assert get("mirror", tmp_path, places=mirrored(site)).name == "mirror"


# --- Kaggle ----------------------------------------------------------------------------------

KAGGLE_ZIP = zipped(*(f"flowers/{c}/{i}.jpg" for c in FLOWERS for i in range(4)))
MD5 = base64.b64encode(hashlib.md5(KAGGLE_ZIP).digest()).decode()
STORED = (("Accept-Ranges", "bytes"), ("x-goog-hash", f"crc32c=AAAAAA==,md5={MD5}"))


class Kaggle:
    """Plays Kaggle's part: an interface that redirects to a store, as a proxy for its name."""

    def __init__(self, **options: object):
        self.store = Site(KAGGLE_ZIP, **({"always": Fault(headers=STORED)} | options))
        self.faults: list[Fault] = []  # of the interface
        self.always: Fault | None = None
        self.asked: list[tuple[dict, dict]] = []  # (headers, body) of each call
        self.port = 0

    @property
    def probe(self) -> str:
        return f"http://127.0.0.1:{self.port}/"

    def places(self, **options: object) -> Places:
        usual = {"probe": self.probe, "size": len(KAGGLE_ZIP), "backoff": 0.01}
        return Places(KaggleSet(**(usual | options)), Mirror(NOWHERE))

    @contextlib.contextmanager
    def open(self) -> Iterator[Kaggle]:
        kaggle = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_HEAD(self) -> None:
                answer(self, kaggle.store, Fault())

            def do_GET(self) -> None:
                with kaggle.store.lock:
                    kaggle.store.requests.append(dict(self.headers))
                    faults = kaggle.store.faults
                    fault = faults.pop(0) if faults else kaggle.store.always
                with contextlib.suppress(ConnectionError):
                    answer(self, kaggle.store, fault)

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                kaggle.asked.append((dict(self.headers), body))
                fault = kaggle.faults.pop(0) if kaggle.faults else kaggle.always
                moved = Fault(302, (("Location", f"{kaggle.probe}archive.zip"),), b"")
                with contextlib.suppress(ConnectionError):
                    answer(self, kaggle.store, fault or moved)

            def log_message(self, *arguments: object) -> None:
                """Keeps the tests quiet."""

        with running(Handler) as self.port:
            try:
                yield self
            finally:
                self.store.closed.set()


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """kagglehub's cache in an empty home without credentials."""
    for name in ("KAGGLE_API_TOKEN", "KAGGLE_USERNAME", "KAGGLE_KEY", "KAGGLE_CONFIG_DIR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("KAGGLEHUB_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def kaggle(cache: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Kaggle]:
    """A Kaggle on this machine, which kagglehub finds through variables it knows."""
    with Kaggle().open() as site:
        for name in ("NO_PROXY", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
            monkeypatch.delenv(name, raising=False)
        monkeypatch.setenv("KAGGLE_API_ENVIRONMENT", "LOCALHOST")  # http://localhost, ...
        monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{site.port}")  # ... which is ours
        monkeypatch.setenv("no_proxy", "127.0.0.1")  # where it redirects to
        yield site


def test_the_kaggle_set_is_downloaded_without_a_word_and_kept(tmp_path, kaggle, cache, capfd):
    source = get("kaggle", tmp_path / "data", places=kaggle.places())
    assert source.name == "kaggle" and "20 photos of 5 classes" in source.reason
    assert source.folder.is_relative_to(cache) and source.folder.name == "flowers"
    assert left(source.folder) == sorted(FLOWERS)
    headers, body = kaggle.asked[0]
    assert "Authorization" not in headers, "a public set is fetched anonymously"
    wanted = {"ownerSlug": "alxmamaev", "datasetSlug": "flowers-recognition"}
    assert wanted.items() <= body.items() and str(body["datasetVersionNumber"]) == "2"
    assert capfd.readouterr() == ("", "")
    again = get("kaggle", tmp_path / "data", places=offline())
    assert again.folder == source.folder and "found" in again.reason
    assert len(kaggle.asked) == 1
    assert not (tmp_path / "data").exists() and not (tmp_path / "home").exists()


def start(kaggle: Kaggle, folder: Path) -> subprocess.Popen:
    """`get("kaggle")` in another process."""
    code = (
        "import sys; from flowers.data.sources import *;"
        "places = Places(KaggleSet(probe=sys.argv[1], size=1000));"
        "print(get('kaggle', sys.argv[2], places=places).reason)"
    )
    command = [sys.executable, "-c", code, kaggle.probe, str(folder)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def test_two_processes_share_one_download_from_kaggle(tmp_path, kaggle):
    processes = [start(kaggle, tmp_path) for _ in range(2)]
    said = [process.communicate(timeout=60)[0] for process in processes]
    assert all("20 photos of 5 classes" in text for text in said)
    assert len(kaggle.asked) == 1


def test_a_killed_command_leaves_no_process_that_downloads_on(tmp_path, kaggle):
    kaggle.store.always = Fault(headers=STORED, cut=1000, stall=True)
    with start(kaggle, tmp_path) as process:
        while not kaggle.store.requests:
            assert process.poll() is None
            time.sleep(0.01)
        children = psutil.Process(process.pid).children(recursive=True)
        process.kill()
    assert children
    _, alive = psutil.wait_procs(children, timeout=30)
    assert not alive


def test_a_kaggle_set_unpacked_by_hand_is_found(tmp_path, cache):
    grow(tmp_path, "kaggle/flowers/rose/1.jpg", "kaggle/flowers/tulip/1.jpg")
    source = get("kaggle", tmp_path, places=offline())
    assert source.folder == tmp_path / "kaggle" / "flowers"


@pytest.mark.parametrize(
    ("interface", "store"),
    [
        ([Fault(503, body=b"")], []),
        ([], [Fault(headers=STORED, cut=len(KAGGLE_ZIP) // 2)]),
        ([], [Fault(headers=STORED, flip=1000)]),
        ([], [Fault(body=b"<html>sorry</html>", headers=STORED[:1])]),
        ([], [Fault(flip=1000)]),
    ],
    ids=["503", "cut", "flipped, with a checksum", "a page", "flipped, without a checksum"],
)
def test_what_goes_wrong_at_kaggle_for_a_moment_does_not_show(tmp_path, kaggle, interface, store):
    kaggle.faults, kaggle.store.faults = interface, store
    source = get("kaggle", tmp_path, places=kaggle.places())
    assert (source.folder / "tulip" / "3.jpg").read_bytes() == NOISE


@pytest.mark.parametrize(
    ("variables", "named"),
    [
        ({"KAGGLE_API_TOKEN": SECRET}, "KAGGLE_API_TOKEN"),
        ({"KAGGLE_USERNAME": "me", "KAGGLE_KEY": SECRET}, "KAGGLE_USERNAME and KAGGLE_KEY"),
        ({}, "no credentials are set"),
    ],
)
def test_refused_credentials_are_named_and_not_told(
    tmp_path, kaggle, monkeypatch, capfd, variables, named
):
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    said = json.dumps({"code": 401, "message": f"bad token {SECRET}"}).encode()
    kaggle.always = Fault(401, (("Content-Type", "application/json"),), said)
    with pytest.raises(WorldError, match=named) as caught:
        get("kaggle", tmp_path, places=kaggle.places())
    assert "401" in caught.value.received
    assert "--data mirror" in caught.value.remedy
    assert SECRET not in str(caught.value) + "".join(capfd.readouterr())
    assert len(kaggle.asked) == 1, "a refusal is final"
    assert bool(variables) == ("Authorization" in kaggle.asked[0][0])


def test_a_broken_credentials_file_is_named(tmp_path, kaggle):
    grow(tmp_path / "home", ".kaggle/kaggle.json")
    (tmp_path / "home" / ".kaggle" / "kaggle.json").write_text(f'{{"key": "{SECRET}"')
    with pytest.raises(WorldError, match=r"kaggle\.json") as caught:
        get("kaggle", tmp_path, places=kaggle.places())
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize(
    ("fault", "received", "calls"),
    [
        (Fault(404, body=b""), "answered 404", 1),
        (Fault(500, body=b""), "answered 500, 2 times", 2),
        (Fault(200, cut=0), "the connection failed, 2 times", 2),
    ],
)
def test_a_kaggle_that_fails_says_how(tmp_path, kaggle, fault, received, calls):
    kaggle.always = fault
    with pytest.raises(WorldError, match=received):
        get("kaggle", tmp_path, places=kaggle.places(attempts=2))
    assert len(kaggle.asked) == calls


def test_a_kaggle_that_falls_silent_is_given_up(tmp_path, kaggle):
    kaggle.store.always = Fault(headers=STORED, cut=1000, stall=True)
    with pytest.raises(WorldError, match="nothing came for 2 s"):
        get("kaggle", tmp_path, places=kaggle.places(attempts=1, stall=2.0))


def test_a_cache_that_cannot_be_written_is_named(tmp_path, kaggle, cache):
    cache.write_text("I am a file")
    with pytest.raises(WorldError, match="KAGGLEHUB_CACHE") as caught:
        get("kaggle", tmp_path, places=kaggle.places())
    assert str(cache) in str(caught.value)


def test_without_kagglehub_there_is_another_way(tmp_path, kaggle, monkeypatch):
    monkeypatch.setitem(sys.modules, "kagglehub", None)
    with pytest.raises(WorldError, match="pip install kagglehub"):
        get("kaggle", tmp_path, places=kaggle.places())


# --- auto ------------------------------------------------------------------------------------


def test_auto_takes_kaggle_when_it_answers(tmp_path, kaggle):
    assert get("auto", tmp_path, places=kaggle.places()).name == "kaggle"


def test_auto_takes_what_is_on_the_disk_before_the_network(tmp_path, cache):
    grow(tmp_path, "mirror/flower_photos/rose/1.jpg", "mirror/flower_photos/tulip/1.jpg")
    grow(tmp_path, "flowers/rose/1.jpg", "flowers/tulip/1.jpg")
    source = get("auto", tmp_path, places=offline())
    assert source.name == "mirror" and "Kaggle failed (no connection)" in source.reason
    grow(tmp_path, "kaggle/rose/1.jpg", "kaggle/tulip/1.jpg")
    assert get("auto", tmp_path, places=offline()).name == "kaggle"


def test_auto_goes_on_to_the_mirror_when_kaggle_refuses(tmp_path, kaggle, monkeypatch):
    monkeypatch.setenv("KAGGLE_API_TOKEN", SECRET)
    kaggle.always = Fault(401, body=b"")
    with serve(ARCHIVE) as site:
        places = Places(kaggle.places().kaggle, Mirror(site.url, least=3))
        source = get("auto", tmp_path, places=places)
    assert source.name == "mirror"
    assert "401" in source.reason and SECRET not in source.reason and "\n" not in source.reason


def test_auto_without_a_network_takes_the_folder_of_flowers(tmp_path, cache):
    grow(tmp_path, "flowers/rose/1.jpg", "flowers/tulip/1.jpg")
    source = get("auto", tmp_path, places=offline())
    assert (source.name, source.folder) == ("folder", tmp_path / "flowers")
    assert "no network was reachable within 10 s" in source.reason


def test_auto_paints_when_there_is_nothing_else(tmp_path, cache):
    source = get("auto", tmp_path, per_class=2, places=offline())
    assert source.name == "painted"
    assert source.reason == (
        "painted: 10 photos of 5 classes were painted, since no network was reachable within 10 s"
    )
    assert class_root(source.folder) == source.folder
    assert {*FLOWERS} <= {*left(source.folder)}
    assert get("painted", tmp_path, per_class=2).folder == source.folder


def test_a_mirror_out_of_order_is_told_from_no_network(tmp_path, cache):
    grow(tmp_path, "flowers/rose/1.jpg", "flowers/tulip/1.jpg")
    with serve(ARCHIVE, always=Fault(503, body=b"")) as site:
        source = get("auto", tmp_path, places=mirrored(site, attempts=1))
    assert "Kaggle failed (no connection) and the mirror too (the server answe" in source.reason


def test_a_network_that_never_finishes_answering_does_not_hold_us(tmp_path, cache):
    grow(tmp_path, "flowers/rose/1.jpg", "flowers/tulip/1.jpg")
    done = threading.Event()

    class Drip(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            # each byte comes in time, so that only the limit for the whole can end it
            with contextlib.suppress(ConnectionError):
                self.wfile.write(b"HTTP/1.1 200 OK\r\nX-Slow: ")
                while not done.wait(0.02):
                    self.wfile.write(b"x")

    with running(Drip) as port:
        url = f"http://127.0.0.1:{port}/"
        places = Places(KaggleSet(probe=url), Mirror(url))
        try:
            source = get("auto", tmp_path, online_within=0.3, places=places)
        finally:
            done.set()
    assert source.name == "folder" and "no network was reachable within 0.3 s" in source.reason
