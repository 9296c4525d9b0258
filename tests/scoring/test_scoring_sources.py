"""Where photos come from: every way to name them gives the same ones, as a stream."""

import os
import tracemalloc

import fsspec
import pytest

from bucket import NAME, Bucket, serving
from flowers.errors import InputError, WorldError
from flowers.scoring import roster as rosters
from flowers.scoring import sources, stores

KEYS = {"a.jpg", "b/c.png", "b/d 100%/ü#1.JPG", "b/no-ending", "b/z.webp"}
OTHERS = {"b/notes.txt", ".hidden.jpg", "b/_part.jpg"}


@pytest.fixture(autouse=True)
def no_metadata_service(monkeypatch):
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setattr(stores, "NATIVE_ATTEMPTS", 1)
    monkeypatch.setattr(stores, "PAUSE", 0.001)


def found(source: str) -> list[str]:
    return sorted(sources.paths(source, sources.roots([source])))


def test_folder_glob_list_and_uri_mean_the_same_photos(pictures, tmp_path):
    whole = found(str(pictures))
    assert len(whole) == 42 and not [path for path in whole if path.endswith(".txt")]
    assert found(f"{pictures}/**/*[gG]") == whole
    names = tmp_path / "names.txt"
    names.write_text("\n\n".join(whole) + "\r\n", "utf-8")
    assert found(str(names)) == whole
    assert found(f"file://{pictures}") == whole
    assert found(whole[0]) == whole[:1]


def test_a_store_is_walked_folder_by_folder():
    memory = fsspec.filesystem("memory")
    for key in KEYS | OTHERS:
        memory.pipe(f"/garden/{key}", key.encode())
    try:
        assert found("memory://garden") == sorted(f"memory://garden/{key}" for key in KEYS)
        assert found("memory://garden/b/*.png") == ["memory://garden/b/c.png"]
        assert found("memory://garden/**/*.JPG") == ["memory://garden/b/d 100%/ü#1.JPG"]
        assert found("memory://garden/a.jpg") == ["memory://garden/a.jpg"]
        assert sources.read("memory://garden/b/d 100%/ü#1.JPG", {}) == b"b/d 100%/\xc3\xbc#1.JPG"
        with pytest.raises(InputError, match="no such photo"):
            sources.read("memory://garden/nothing.jpg", {})
        with pytest.raises(InputError, match="nothing of that name"):
            found("memory://meadow")
    finally:
        memory.rm("/garden", recursive=True)


def test_a_bucket_is_listed_in_pages_and_read(tmp_path):
    with serving(Bucket({f"p/{key}": key.encode() * 9 for key in KEYS | OTHERS})) as bucket:
        source = bucket.uri("p")
        whole = found(source)
        assert whole == sorted(f"s3://{NAME}/p/{key}" for key in KEYS)
        assert found(bucket.uri("p/b/*.png")) == [f"s3://{NAME}/p/b/c.png"]
        roots = sources.roots([source])
        assert sources.read(whole[2], roots) == whole[2].split("/p/")[1].encode() * 9
        assert sources.shown(source) == f"s3://{NAME}/p"
        # a store that stumbles is asked again, one that stays silent is not asked for ever
        bucket.failures = 2
        assert len(sources.read(whole[0], roots)) == 9 * 5


def test_what_a_bucket_denies_is_told_apart(tmp_path):
    objects = {"p/a.jpg": b"a", "p/b.jpg": b"b"}
    with serving(Bucket(objects, denied={"p/b.jpg"})) as bucket:
        source = bucket.uri("p")
        roots = sources.roots([source])
        assert sources.read(f"s3://{NAME}/p/a.jpg", roots) == b"a"
        with pytest.raises(InputError, match="may not be read"):
            sources.read(f"s3://{NAME}/p/b.jpg", roots)
        bucket.denied.add("")
        with pytest.raises(WorldError, match="to list s3://garden/p") as caught:
            found(source)
        assert "secret" not in str(caught.value)


def test_a_store_that_is_not_there_or_not_known():
    with pytest.raises(InputError, match="s3fs"):
        found("nosuchscheme://place/photos")
    uri = "s3://k:secret@garden/p?scheme=http&region=x&endpoint_override=127.0.0.1%3A1"
    with pytest.raises(WorldError, match="to reach s3://garden/p") as caught:
        found(uri)
    assert "secret" not in str(caught.value)


def test_a_file_that_is_no_list_is_refused(tmp_path):
    (tmp_path / "data.bin").write_bytes(b"\0\1\2" * 100)
    with pytest.raises(InputError, match="list file"):
        found(str(tmp_path / "data.bin"))
    with pytest.raises(InputError, match="no such file"):
        found(str(tmp_path / "nowhere"))


def test_the_list_is_sorted_once_each_and_cut_the_same_way_every_time(tmp_path):
    names = [f"photos/{n * 7919 % 1000:04}.jpg" for n in range(1000)]
    names += [os.fsdecode(b"photos/\xff.jpg"), "photos/a\nb.jpg", *names[:50]]
    roster = rosters.build(tmp_path / "a.sqlite", names, 100)
    assert (roster.photos, roster.shards) == (1002, 11)
    cut = [roster.paths(shard) for shard in range(11)]
    assert [len(paths) for paths in cut] == [*[100] * 10, 2]
    assert [roster.size(shard) for shard in range(11)] == [*[100] * 10, 2]
    assert [path for paths in cut for path in paths] == sorted(set(names), key=os.fsencode)
    other = rosters.build(tmp_path / "b.sqlite", reversed(names), 100)
    assert other.sha256 == roster.sha256
    fewer = rosters.build(tmp_path / "c.sqlite", [*names[:900], "photos/new.jpg"], 100)
    assert fewer.sha256 != roster.sha256
    assert fewer.differences(roster) == (1, 102)


def test_the_list_is_not_held_in_memory(tmp_path, monkeypatch):
    monkeypatch.setattr(rosters, "_HELD", 1000)
    tracemalloc.start()
    try:
        names = (f"photos/of/a/usual/length/{n:08}.jpg" for n in range(40_000))
        roster = rosters.build(tmp_path / "a.sqlite", names, 1000)
        assert tracemalloc.get_traced_memory()[1] < 1_000_000  # 40,000 names take 4 MB
    finally:
        tracemalloc.stop()
    assert roster.photos == 40_000
