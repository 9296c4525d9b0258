"""Downloads against a real server that misbehaves in every way we know."""

from __future__ import annotations

import hashlib
import random
import signal
import subprocess
import sys
import textwrap
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path

import pytest

from faulty_server import Fault, serve
from flowers.download import fetch
from flowers.errors import InputError, WorldError

CONTENT = random.Random(0).randbytes(300_000)
SHA256 = hashlib.sha256(CONTENT).hexdigest()
PAGE = Fault(body=b"<!DOCTYPE html><html><body>Sign in to the wireless network</body></html>")
TYPED = (("Content-Type", "text/html; charset=utf-8"),)


def get(url: str, path: Path, **options: object) -> Path:
    """`fetch` with patience for a machine that is next door."""
    return fetch(
        url, path, **({"size_limit": 10**6, "backoff": 0.01, "timeout": (5, 10)} | options)
    )


def left(folder: Path) -> list[str]:
    """The names in a folder, without the lock, which stays by design."""
    return sorted(path.name for path in folder.iterdir() if path.suffix != ".lock")


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "data" / "flower_photos.tgz"


@pytest.mark.parametrize("sha256", [None, SHA256, SHA256.upper()])
def test_a_good_answer_is_kept_and_not_asked_for_again(target, sha256):
    with serve(CONTENT) as site:
        assert get(site.url, target, sha256=sha256) == target
        get(site.url, target, sha256=sha256)
        assert len(site.requests) == 1
    assert target.read_bytes() == CONTENT
    assert left(target.parent) == [target.name]


# What goes wrong with the first answers, and how many requests it takes to have the file.
PASSING = {
    "cut after the head": ([Fault(cut=0)], 2),
    "cut in the middle": ([Fault(cut=100_000)], 2),
    "cut one byte early": ([Fault(cut=len(CONTENT) - 1)], 2),
    "cut three times": ([Fault(cut=90_000)] * 3, 4),
    "cut, then a server without ranges": ([Fault(cut=100_000), Fault(no_range=True)], 2),
    "cut, then resumed elsewhere": ([Fault(cut=100_000), Fault(wrong_place=True)], 3),
    "cut, then a page": ([Fault(cut=100_000), PAGE], 3),
    "cut, then 416": ([Fault(cut=100_000), Fault(status=416, body=b"")], 3),
    "500, 502, 503": ([Fault(status=s, body=b"sorry") for s in (500, 502, 503)], 4),
    "429": ([Fault(status=429, body=b"", headers=(("Retry-After", "0"),))], 2),
    "408": ([Fault(status=408, body=b"")], 2),
    "a page by its type": ([Fault(headers=TYPED)], 2),
    "a page by its content": ([PAGE], 2),
    "a page after a byte order mark": ([Fault(body=b"\xef\xbb\xbf\n <html>")], 2),
    "an empty answer": ([Fault(body=b"")], 2),
    "a flipped bit": ([Fault(flip=1234)], 2),
    "a flipped bit after resuming": ([Fault(cut=100_000), Fault(flip=200_000)], 3),
    "announced too long": ([Fault(announced=len(CONTENT) + 5)], 3),
    "announced too short": ([Fault(announced=len(CONTENT) - 5)], 2),
}


@pytest.mark.parametrize("case", PASSING)
def test_what_goes_wrong_for_a_moment_does_not_show(target, case):
    faults, requests = PASSING[case]
    with serve(CONTENT, faults=list(faults)) as site:
        get(site.url, target, sha256=SHA256)
        assert len(site.requests) == requests
    assert target.read_bytes() == CONTENT
    assert left(target.parent) == [target.name]


LASTING = {
    "cut at once": (Fault(cut=0), "broke"),
    "500": (Fault(status=500, body=b""), "answered 500"),
    "a page": (PAGE, "a web page came"),
    "a flipped bit": (Fault(flip=7), "its SHA-256 is"),
    "too long for its announcement": (Fault(announced=10), "its SHA-256 is"),
}


@pytest.mark.parametrize("case", LASTING)
def test_what_stays_wrong_ends_with_a_remedy_and_no_file(target, case):
    fault, reason = LASTING[case]
    with serve(CONTENT, always=fault) as site:
        with pytest.raises(WorldError, match=reason) as caught:
            get(site.url, target, sha256=SHA256)
        assert len(site.requests) == 4, "retries are bounded"
    assert caught.value.exit_code == 3
    assert site.url in caught.value.expected and "try again" in caught.value.remedy
    assert not target.exists()


@pytest.mark.parametrize("status", [400, 401, 403, 404, 410])
def test_a_refusal_is_final(target, status):
    with serve(CONTENT, always=Fault(status=status, body=b"no")) as site:
        with pytest.raises(WorldError, match=f"answered {status}"):
            get(site.url, target)
        assert len(site.requests) == 1
    assert left(target.parent) == []


def test_only_what_is_missing_is_sent_again(target):
    with serve(CONTENT, faults=[Fault(cut=250_000)]) as site:
        get(site.url, target)
        assert site.requests[1]["range"].startswith("bytes=")
        assert site.requests[1]["if-range"] == '"first"'
        assert site.sent == len(CONTENT)
    assert target.read_bytes() == CONTENT


@pytest.mark.parametrize(
    ("etag", "modified", "resumes"),
    [
        ('"strong"', None, True),
        (None, "Wed, 21 Oct 2015 07:28:00 GMT", True),
        ('W/"weak"', None, False),
        (None, None, False),
    ],
)
def test_it_resumes_only_what_the_server_can_vouch_for(target, etag, modified, resumes):
    with serve(CONTENT, etag=etag, modified=modified, faults=[Fault(cut=250_000)]) as site:
        get(site.url, target)
        assert ("range" in site.requests[1]) is resumes
    assert target.read_bytes() == CONTENT


def test_another_edition_on_the_server_is_fetched_from_its_start(target):
    new = random.Random(1).randbytes(280_000)
    with serve(CONTENT, always=Fault(cut=100_000)) as site:
        with pytest.raises(WorldError):
            get(site.url, target, attempts=1)
        assert left(target.parent) == [f".{target.name}.download", f".{target.name}.download.json"]
        site.always, site.content, site.etag = Fault(), new, '"second"'
        get(site.url, target)
    assert target.read_bytes() == new
    assert left(target.parent) == [target.name]


def test_a_server_that_resumes_another_edition_is_seen_through(target):
    with serve(CONTENT, always=Fault(cut=100_000)) as site:
        with pytest.raises(WorldError):
            get(site.url, target, attempts=1)
        site.content, site.etag = CONTENT[::-1], '"second"'
        site.faults, site.always = [Fault(any_range=True)], Fault()
        get(site.url, target)
        assert len(site.requests) == 3
    assert target.read_bytes() == CONTENT[::-1]


def test_a_partial_file_of_unknown_origin_is_not_trusted(target):
    target.parent.mkdir()
    target.with_name(f".{target.name}.download").write_bytes(b"from elsewhere")
    with serve(CONTENT) as site:
        get(site.url, target)
        assert "range" not in site.requests[0]
    assert target.read_bytes() == CONTENT


@pytest.mark.parametrize("fault", [Fault(cut=5_000, stall=True), Fault(piece=10, pause=0.05)])
def test_a_connection_that_stalls_or_drips_is_given_up_and_resumed(target, fault):
    with serve(CONTENT, faults=[fault]) as site:
        get(site.url, target, timeout=(5, 0.3), sha256=SHA256)
        assert len(site.requests) == 2
    assert target.read_bytes() == CONTENT


def test_a_long_file_over_a_bad_line_arrives_as_long_as_it_moves(target):
    content = CONTENT * 20  # 6 MB, at most 1.2 MB a connection: more failures than attempts
    with serve(content, always=Fault(cut=1_200_000)) as site:
        get(site.url, target, size_limit=10**7, attempts=2)
        assert len(site.requests) == 5
    assert target.read_bytes() == content


@pytest.mark.parametrize("fault", [Fault(), Fault(no_length=True)])
def test_more_than_the_limit_is_refused(target, fault):
    with serve(CONTENT, always=fault) as site:
        with pytest.raises(WorldError, match="at most 0 MB"):
            get(site.url, target, size_limit=200_000)
        assert len(site.requests) == 1
    assert left(target.parent) == []


def test_an_answer_without_a_length_is_taken(target):
    with serve(CONTENT, always=Fault(no_length=True)) as site:
        get(site.url, target, sha256=SHA256)
    assert target.read_bytes() == CONTENT


def test_too_little_space_is_said_before_the_first_byte(target):
    huge = Fault(announced=10**17)
    with serve(CONTENT, always=huge) as site, pytest.raises(WorldError, match="MB free"):
        get(site.url, target, size_limit=10**18)
    assert not target.exists()


@pytest.mark.parametrize("wait", ["0", "nonsense", "date"])
def test_a_server_may_say_when_to_come_back(target, wait):
    if wait == "date":
        wait = format_datetime(datetime.now(UTC) - timedelta(hours=1), usegmt=True)
    busy = Fault(status=503, body=b"", headers=(("Retry-After", wait),))
    with serve(CONTENT, faults=[busy]) as site:
        get(site.url, target)
        assert len(site.requests) == 2


def test_nobody_there_and_no_address(target):
    with serve(CONTENT) as site:
        gone = site.url
    with pytest.raises(WorldError, match="could not be reached"):
        get(gone, target, attempts=2)
    with pytest.raises(InputError, match="https://"):
        get("flower_photos.tgz", target)
    with pytest.raises(InputError, match="https://"):
        get("ftp://127.0.0.1/x", target)
    assert left(target.parent) == []


def test_a_file_where_the_folder_should_be(tmp_path):
    (tmp_path / "data").write_text("I am a file")
    with serve(CONTENT) as site, pytest.raises(WorldError, match="data"):
        get(site.url, tmp_path / "data" / "x.tgz")


def test_a_file_with_another_hash_is_replaced(target):
    target.parent.mkdir()
    target.write_bytes(b"an older edition")
    with serve(CONTENT) as site:
        get(site.url, target, sha256=SHA256)
    assert target.read_bytes() == CONTENT


FETCH = textwrap.dedent("""
    import sys
    from flowers.download import fetch
    fetch(sys.argv[1], sys.argv[2], size_limit=10**8)
""")


def start(url: str, target: Path) -> subprocess.Popen:
    return subprocess.Popen([sys.executable, "-c", FETCH, url, str(target)])


def test_two_processes_share_one_download(target):
    with serve(CONTENT, always=Fault(piece=30_000, pause=0.05)) as site:
        processes = [start(site.url, target) for _ in range(2)]
        assert [process.wait(60) for process in processes] == [0, 0]
        assert len(site.requests) == 1
    assert target.read_bytes() == CONTENT


def test_a_killed_download_goes_on_where_it_stopped(target):
    partial = target.with_name(f".{target.name}.download")
    with serve(CONTENT, faults=[Fault(cut=150_000, stall=True)]) as site:
        process = start(site.url, target)
        while not partial.exists() or partial.stat().st_size < 50_000:
            assert process.poll() is None, "it ended before the kill"
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert not target.exists()
        get(site.url, target)
        assert site.requests[1]["range"] != "bytes=0-"
    assert target.read_bytes() == CONTENT
    assert left(target.parent) == [target.name]
