"""The one reader: every odd file is read as its plain twin, or refused with the reason."""

import hashlib
import os
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import zoo
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from flowers.config import PhotoLimits
from flowers.data import photos
from flowers.errors import InputError, PhotoError

CAGES = [cage.__name__ for cage in zoo.CAGES]


@pytest.fixture(scope="module")
def cages():
    return zoo.zoo()


def off(left: np.ndarray, right: np.ndarray) -> float:
    """Mean absolute difference in grey levels."""
    return float(np.abs(left.astype(int) - right.astype(int)).mean())


# --- the zoo ----------------------------------------------------------------------------------


@pytest.mark.parametrize("cage", CAGES)
def test_every_odd_file_is_its_plain_twin_or_refused(cages, cage):
    wrong = []
    for animal in cages[cage]:
        try:
            small, full = photos.read(animal.content, 64), photos.read(animal.content)
        except PhotoError as error:
            if animal.refusal is None or animal.refusal not in error.received:
                wrong.append(f"{animal.name}: refused as {error.received}")
            continue
        if animal.twin is None:
            wrong.append(f"{animal.name}: read")
            continue
        twin = photos.read(zoo.save(Image.fromarray(animal.twin), "PNG"), 64)
        if full.shape != animal.twin.shape:
            wrong.append(f"{animal.name}: shape {full.shape} and not {animal.twin.shape}")
        elif max(off(small, twin), off(full, animal.twin)) > animal.tolerance:
            wrong.append(f"{animal.name}: off by {off(small, twin)}, {off(full, animal.twin)}")
    assert not wrong, "\n".join(wrong)


def test_the_zoo_is_large_and_its_names_are_unique(cages):
    names = [animal.name for cage in cages.values() for animal in cage]
    assert len(names) == len(set(names)) >= 200


def test_no_odd_file_takes_much_memory(cages, tmp_path):
    """In a process of its own, since memory once taken shows for ever."""
    for number, animal in enumerate(a for cage in cages.values() for a in cage):
        (tmp_path / f"{number:03}").write_bytes(animal.content)
    code = """if True:
        import resource, sys
        from pathlib import Path
        from flowers.data import photos
        from flowers.errors import PhotoError
        def megabytes():
            kilo = 1024 if sys.platform == "darwin" else 1
            return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / kilo / 1024
        paths = sorted(Path(sys.argv[1]).iterdir())
        photos.read(paths[0], 224)
        before = megabytes()
        for path in paths:
            try:
                photos.read(path, 224)
            except PhotoError:
                pass
        print(megabytes() - before)
    """
    pytest.importorskip("resource")
    done = subprocess.run(
        [sys.executable, "-c", code, tmp_path], capture_output=True, text=True, check=True
    )
    assert float(done.stdout) < 150


@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data())
def test_spoiled_bytes_are_read_or_refused_and_nothing_else(cages, data):
    animals = [a.content for cage in cages.values() for a in cage if len(a.content) < 40_000]
    content = bytearray(data.draw(st.sampled_from(animals)))
    for _ in range(data.draw(st.integers(1, 6))):
        place = data.draw(st.integers(0, max(0, min(len(content) - 1, 300))))
        drop = data.draw(st.sampled_from((0, 1, 2, 40)))
        content[place : place + drop] = data.draw(st.binary(max_size=4))
    try:
        read = photos.read(bytes(content), 32, PhotoLimits(pixels=1_000_000))
    except PhotoError as error:
        assert len(error.received) < 80
    else:
        assert read.shape == (32, 32, 3) and read.dtype == np.uint8


# --- what is given back -----------------------------------------------------------------------


def test_a_path_and_its_bytes_give_the_same_photo(tmp_path):
    content = zoo.save(zoo.scene(), "JPEG")
    path = tmp_path / "tulip.jpg"
    path.write_bytes(content)
    for source in (path, str(path)):
        assert np.array_equal(photos.read(source, 50), photos.read(content, 50))


def test_the_whole_photo_is_squeezed_and_nothing_is_cropped():
    pixels = np.zeros((40, 200, 3), np.uint8)
    pixels[:, :20], pixels[:, -20:] = (255, 0, 0), (0, 0, 255)
    read = photos.read(zoo.save(Image.fromarray(pixels), "PNG"), 20)
    assert read.shape == (20, 20, 3)
    assert read[10, 0].tolist() == [255, 0, 0] and read[10, -1].tolist() == [0, 0, 255]


def test_a_large_photo_is_antialiased_the_same_from_any_format():
    """Stripes finer than a pixel of the result become their mean, by either way of shrinking."""
    stripes = np.zeros((1800, 1800, 3), np.uint8)
    stripes[:, ::2] = 200
    image = Image.fromarray(stripes)
    for kind, options in (("PNG", {}), ("JPEG", {"quality": 100, "subsampling": 0})):
        read = photos.read(zoo.save(image, kind, **options), 64)
        assert np.abs(read.astype(int) - 100).max() <= 2, kind


def test_a_large_veiled_photo_is_converted_in_strips_without_seams(monkeypatch):
    veiled = zoo.scene(700, 500)
    veiled.putalpha(Image.linear_gradient("L").resize((700, 500)))
    content = zoo.save(veiled, "PNG")
    whole, small = photos.read(content), photos.read(content, 50)
    monkeypatch.setattr("flowers.data.colours._STRIP", 10_000)
    assert np.array_equal(photos.read(content), whole)
    assert off(photos.read(content, 50), small) < 1


def test_the_result_may_be_changed_and_belongs_to_nobody_else():
    content = zoo.save(zoo.scene(), "PNG")
    first = photos.read(content, 32)
    first[:] = 0
    assert photos.read(content, 32).any()


def test_threads_read_the_same(cages):
    animals = [a for a in cages["orientations"] + cages["profiles"] if a.twin is not None]
    with ThreadPoolExecutor(8) as pool:
        together = list(pool.map(lambda animal: photos.read(animal.content, 48), animals * 3))
    alone = [photos.read(animal.content, 48) for animal in animals] * 3
    assert all(np.array_equal(a, b) for a, b in zip(together, alone, strict=True))


def test_inspect_tells_the_facts_of_an_upright_photo(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # held sideways: stored 96 x 72, upright 72 x 96
    path = tmp_path / "rose.png"
    path.write_bytes(zoo.save(zoo.scene(), "JPEG", quality=95, exif=exif))
    facts = photos.inspect(path)
    assert (facts.width, facts.height, facts.format) == (72, 96, "JPEG")
    assert facts.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert facts.bytes == path.stat().st_size
    assert np.array_equal(facts.thumbnail, photos.read(path, 64))


# --- limits and the disk ----------------------------------------------------------------------


def test_limits_are_kept_before_anything_is_decoded(monkeypatch):
    large = zoo.save(zoo.scene(300, 200), "PNG")
    monkeypatch.setattr(Image.Image, "load", lambda self: pytest.fail("decoded"))
    with pytest.raises(PhotoError, match=r"more than 0\.05 Mpx"):
        photos.read(large, limits=PhotoLimits(pixels=50_000))
    with pytest.raises(PhotoError, match="above the limit"):
        photos.read(large, limits=PhotoLimits(bytes=len(large) - 1))
    with pytest.raises(PhotoError, match="a PNG photo"):
        photos.read(large, limits=PhotoLimits(formats=("JPEG",)))


def test_a_photo_at_the_limits_is_read():
    content = zoo.save(zoo.scene(300, 200), "PNG")
    limits = PhotoLimits(bytes=len(content), pixels=60_000, smallest_side=200, formats=("PNG",))
    assert photos.read(content, limits=limits).shape == (200, 300, 3)


def test_a_message_names_the_file_the_reason_and_the_remedy(tmp_path):
    path = tmp_path / "holiday.jpg"
    path.write_bytes(b"%PDF-1.7")
    with pytest.raises(PhotoError) as caught:
        photos.read(path)
    assert str(path) in caught.value.expected
    assert caught.value.received == "a PDF document"
    assert caught.value.remedy.endswith(".") and caught.value.exit_code == 2


@pytest.mark.parametrize("name", ["missing.jpg", "rose.jpg/inside.jpg", "nul\0byte.jpg", "n" * 999])
def test_a_file_that_is_not_there_is_the_users_to_correct(tmp_path, name):
    (tmp_path / "rose.jpg").write_bytes(b"")
    with pytest.raises(InputError) as caught:
        photos.read(tmp_path / name)
    assert caught.value.received == "no such file"


def test_what_is_no_regular_file_is_refused_and_never_opened(tmp_path):
    with pytest.raises(PhotoError, match="a folder"):
        photos.read(tmp_path)
    for name, target in (("broken.jpg", "gone.jpg"), ("circle.jpg", "circle.jpg")):
        (tmp_path / name).symlink_to(tmp_path / target)
        with pytest.raises(InputError, match="a broken link"):
            photos.read(tmp_path / name)
    if hasattr(os, "mkfifo"):
        os.mkfifo(tmp_path / "pipe.jpg")
        answer = []
        thread = threading.Thread(target=lambda: answer.append(refusal(tmp_path / "pipe.jpg")))
        thread.daemon = True
        thread.start()
        thread.join(10)
        assert answer == ["something that is no file"]


def refusal(path: Path) -> str:
    try:
        photos.read(path)
    except PhotoError as error:
        return error.received
    return ""


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may read all")
def test_a_file_that_may_not_be_read_is_named(tmp_path):
    path = tmp_path / "rose.jpg"
    path.write_bytes(b"x")
    path.chmod(0)
    with pytest.raises(InputError, match="may not be read"):
        photos.read(path)


def test_importing_the_reader_loads_neither_numpy_nor_pillow():
    code = "import sys, flowers.data.photos; print({'numpy', 'PIL'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
