"""Faults 4 and 6: archives and downloads that were cut anywhere."""

from faults import packed


def test_an_archive_cut_at_every_64th_is_refused():
    outcome = packed.cut_archives()
    assert outcome.tries == 3 * packed.PARTS
    assert not outcome.failures, "\n".join(outcome.failures)


def test_a_download_cut_or_spoiled_anywhere_comes_whole():
    outcome = packed.cut_downloads()
    assert outcome.tries == 2 * packed.PARTS
    assert not outcome.failures, "\n".join(outcome.failures)
