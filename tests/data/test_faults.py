"""Faults planted in a clean set, and that the catalogue finds each of them."""

from pathlib import Path

import pytest

from flowers.data import catalogue, faults, findings, painted_set


@pytest.fixture(scope="module")
def clean(tmp_path_factory) -> Path:
    return painted_set.write(tmp_path_factory.mktemp("painted") / "clean", per_class=6, size=96)


def listed(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*.jpg")}


def test_every_fault_is_found_and_the_clean_set_stays_clean(clean, tmp_path):
    before = listed(clean)
    spoiled = faults.plant(clean, tmp_path / "spoiled")
    found = findings.findings(catalogue.build(spoiled))
    assert {path for path, _ in found.left_out} == {
        "dandelion/cut-short.jpg",
        "dandelion/not-found.jpg",
        "dandelion/thumbnail.jpg",
    }
    assert len(found.conflicts) == faults.CONFLICTS
    assert all([p.split("/")[0] for p in pair] == ["rose", "tulip"] for pair in found.conflicts)
    assert len(found.identical) == faults.COPIES
    assert len(found.look_alike) == faults.SMALLER
    assert listed(clean) == before


def test_planting_again_replaces_what_was_there(clean, tmp_path):
    first = listed(faults.plant(clean, tmp_path / "spoiled"))
    (tmp_path / "spoiled" / "rose" / "stray.jpg").write_bytes(b"")
    assert listed(faults.plant(clean, tmp_path / "spoiled")) == first
