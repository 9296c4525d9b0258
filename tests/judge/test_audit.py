"""The audit: planted errors are found, clean labels left alone, and a person can act on it."""

import numpy as np
import pytest

from flowers.data import labels as label_files
from flowers.errors import InputError, PhotoError
from flowers.judge import audit, audit_page

NAMES = ("daisy", "rose", "tulip")
FOLDS = 5


def photos(count=600, classes=3, seed=0):
    """Features as a backbone gives them: classes overlap a little. Labels, folds."""
    random = np.random.default_rng(seed)
    labels = np.arange(count) % classes
    centres = random.normal(size=(classes, 16)) * 1.1
    features = np.maximum(centres[labels] + random.normal(size=(count, 16)), 0)
    return features.astype(np.float16), labels, random.permutation(count) % FOLDS


def paths(labels):
    return [f"{NAMES[label]}/{number}.jpg" for number, label in enumerate(labels)]


@pytest.fixture(scope="module")
def found():
    features, labels, folds = photos()
    wrong = labels.copy()
    wrong[:30] = (labels[:30] + 1) % 3
    return audit.find_issues(features, wrong, folds, NAMES, paths(wrong))


def test_planted_errors_are_found_and_clean_labels_left_alone():
    features, labels, folds = photos()
    for seed in range(3):
        planted = audit.plant(features, labels, folds, seed=seed)
        assert (planted.flipped, planted.clean) == (30, 570)
        assert planted.found_share >= 0.8
        assert planted.accused_share <= 0.05
        assert planted.corrected / planted.found > 0.8
        assert planted.found_interval.low < planted.found_share < planted.found_interval.high


def test_the_planted_test_sees_when_the_features_say_nothing():
    _, labels, folds = photos()
    features = np.random.default_rng(1).normal(size=(600, 16))
    assert audit.plant(features, labels, folds).found_share < 0.8


def test_issues_are_listed_worst_first_with_what_they_look_like(found):
    planted = {f"{NAMES[(n + 1) % 3]}/{n}.jpg": NAMES[n % 3] for n in range(30)}
    hits = [issue for issue in found.issues if issue.path in planted]
    assert len(hits) >= 24
    assert np.mean([issue.suggested_label == planted[issue.path] for issue in hits]) > 0.8
    scores = [issue.score for issue in found.issues]
    assert scores == sorted(scores) and scores[0] >= 0 and scores[-1] < 0.5
    assert all(issue.label == issue.path.split("/")[0] for issue in found.issues)
    assert all(issue.label != issue.suggested_label for issue in found.issues)
    assert all(issue.score < issue.probability <= 1 for issue in found.issues)
    assert found.counts == (200, 200, 200) and found.photos == 600
    assert found.agreement_interval.low < found.agreement < found.agreement_interval.high < 1


def test_the_table_is_what_labels_csv_needs(found, tmp_path):
    table = found.as_table()
    assert set(table["action"]) == {""}
    read = label_files.read(label_files.save(tmp_path / "labels.csv", table))
    assert read["path"].tolist() == [issue.path for issue in found.issues]
    np.testing.assert_allclose(read["score"], table["score"], atol=1e-4)
    none = audit.Audit(NAMES, (1, 1, 1), 1.0, found.agreement_interval, ())
    assert list(none.as_table().columns) == list(label_files.COLUMNS)


def test_no_photo_is_judged_by_a_classifier_that_saw_its_label():
    features, labels, folds = photos(120)
    before = audit.out_of_fold(features, labels, folds)
    other = labels.copy()
    other[folds == 2] = (labels[folds == 2] + 1) % 3
    after = audit.out_of_fold(features, other, folds)
    np.testing.assert_array_equal(before[folds == 2], after[folds == 2])
    assert not np.allclose(before[folds != 2], after[folds != 2])
    np.testing.assert_allclose(before.sum(1), 1, atol=1e-6)


def test_a_class_that_a_fold_has_all_of_leaves_others_whole():
    features, labels, folds = photos(120)
    folds[labels == 2] = 1  # unknown to the classifier of fold 1
    probabilities = audit.out_of_fold(features, labels, folds)
    assert (probabilities[folds == 1, 2] == 0).all()
    assert (probabilities[folds == 0, 2] > 0).any()


@pytest.mark.parametrize(
    ("change", "received"),
    [
        (lambda f, y, k: (f, np.zeros_like(y), k), "60 photos of 1"),
        (lambda f, y, k: (f, y, np.where(y == 1, 0, k)), "fewer of rose"),
        (lambda f, y, k: (np.where(np.arange(60)[:, None] < 2, np.nan, f), y, k), "2 photos"),
    ],
)
def test_what_cannot_be_audited_is_refused(change, received):
    features, labels, folds = change(*photos(60))
    with pytest.raises(InputError) as caught:
        audit.find_issues(features, labels, folds, NAMES, paths(labels))
    assert received in caught.value.received


# --- the page ---------------------------------------------------------------------------------


def photo(path):
    if path.endswith("/0.jpg"):
        raise PhotoError("a photo", "a damaged JPEG photo", "Leave it out.")
    return np.full((40, 60, 3), len(path), np.uint8)


def test_the_page_shows_every_doubt_and_what_to_do(found):
    planted = audit.Planted(flipped=30, found=27, clean=570, accused=12, corrected=25)
    html = audit_page.page(found, photo, planted)
    assert f"{len(found.issues)} labels to look at again, of 600" in html
    for issue in found.issues:
        assert issue.path in html
    assert html.count("<img") == len(found.issues) - 1  # one photo cannot be read
    assert "can no longer be read" in html
    assert "90.0\N{NO-BREAK SPACE}%" in html and "27 of these 30" in html
    for action in label_files.ACTIONS:
        assert action in html
    assert "http://" not in html and "https://" not in html and "<script" not in html


def test_the_page_of_many_doubts_shows_the_worst(found):
    worst = found.issues[:3]
    many = audit.Audit(
        found.labels, found.counts, found.agreement, found.agreement_interval, found.issues * 20
    )
    html = audit_page.page(many, photo)
    assert html.count('class="wrong"') == audit_page.SHOWN < len(many.issues)
    assert f"lists all {len(many.issues):,}" in html
    assert all(issue.path in html for issue in worst)


def test_the_page_of_no_doubt_says_so():
    clean = audit.Audit(NAMES, (5, 5, 5), 1.0, audit.wilson(15, 15), ())
    html = audit_page.page(clean, photo)
    assert "No label of 15 photos stands out" in html and "<img" not in html


def test_hostile_names_stay_text():
    hostile = ("<script>alert(1)</script>", '"><img src=x>', "\u202egpj")
    issue = audit.Issue("<b>/1.jpg", hostile[0], hostile[1], 0.001, 0.995)
    one = audit.Audit(hostile, (4, 4, 4), 0.9, audit.wilson(11, 12), (issue,))
    html = audit_page.page(one, lambda path: np.zeros((8, 8, 3), np.uint8))
    assert "<script" not in html and "<b>" not in html and "<img src=x" not in html
    assert "over 99\N{NO-BREAK SPACE}%" in html and "under 1\N{NO-BREAK SPACE}%" in html
    assert "1 label to look at again, of 12" in html
