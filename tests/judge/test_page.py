"""The page: whole, safe and readable whatever the files are called."""

import base64
import io
import re
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure
from PIL import Image

from flowers.errors import PhotoError
from flowers.judge.page import headline, page
from flowers.judge.parts import Facts, Photo, Photos, Picture, Section, Table, Tile, Words
from flowers.judge.report import evaluate

HOSTILE = ('<script>alert("x")</script>', '"><img src=x onerror=alert(1)>', "rose\u202egpj.\x07")
VOID = {"meta", "img", "br", "link", "input"}
SETTINGS = {
    "split": "stratified, seed 0",
    "versions": {"keras": "3.15.1", "python": "3.13"},
    "phases": ["head", "last stage"],
    "command": "flowers train --data 'my photos' --seed 0",
}


class Reader(HTMLParser):
    """Reads a page as a browser would, and remembers what the tests ask about."""

    def __init__(self, html: str):
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict]] = []
        self.text = ""
        self.feed(html)
        self.close()
        assert self.open == [], f"never closed: {self.open}"

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open, f"</{tag}> closes nothing"
        assert self.open.pop() == tag

    def handle_data(self, text):
        if "style" not in self.open:
            self.text += text

    def all(self, name: str) -> list[dict]:
        return [attributes for tag, attributes in self.tags if tag == name]


def report(labels=("daisy", "rose", "tulip"), photos=90, skill=1.0):
    random = np.random.default_rng(2)
    truth = np.arange(photos) % len(labels)
    logits = random.normal(size=(photos, len(labels)))
    logits[np.arange(photos), truth] += skill
    odds = np.exp(logits)
    paths = [f"{labels[t]}/{number}.jpg" for number, t in enumerate(truth)]
    return evaluate(truth, odds / odds.sum(axis=1, keepdims=True), labels, paths)


def history():
    columns = {"loss": 0.5, "accuracy": 0.8, "val_loss": 0.6, "val_accuracy": [0.7, 0.75, 0.72]}
    return pd.DataFrame({"phase": "head", "epoch": [1, 2, 3], "rate": 1e-3} | columns)


def noise(path):
    """A photo of the worst kind for a JPEG: nothing in it can be compressed."""
    return np.random.default_rng(len(path)).integers(0, 256, (400, 300, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def html():
    return page(report(), history(), SETTINGS, noise, title="Three flowers")


def pictures(reader, kind):
    start = f"data:{kind};base64,"
    sources = [image["src"] for image in reader.all("img")]
    return [base64.b64decode(s.removeprefix(start)) for s in sources if s.startswith(start)]


def test_the_first_sentence_says_how_good_and_how_sure(html):
    text = " ".join(Reader(html).text.split()).replace("\xa0", " ")
    measured = report()
    assert re.search(
        rf"Right on {100 * measured.accuracy:.1f} % of 90 photos it had never seen "
        rf"\(95 % interval {100 * measured.accuracy_interval.low:.1f} to "
        rf"{100 * measured.accuracy_interval.high:.1f} %\)",
        text,
    )
    assert headline(measured).replace("\xa0", " ") in text


def test_the_page_stands_alone(html):
    reader = Reader(html)
    assert reader.all("script") == reader.all("link") == reader.all("iframe") == []
    assert all(image["src"].startswith("data:image/") for image in reader.all("img"))
    assert all(link["href"].startswith("#") for link in reader.all("a"))
    assert "url(" not in html
    assert "@import" not in html
    policy = next(m["content"] for m in reader.all("meta") if "http-equiv" in m)
    assert policy.startswith("default-src 'none'")
    assert len(html.encode()) < 2_000_000


def test_the_page_can_be_read_aloud(html):
    reader = Reader(html)
    assert all(len(image["alt"]) > 5 for image in reader.all("img"))
    assert reader.all("html") == [{"lang": "en"}]
    headings = [int(tag[1]) for tag, _ in reader.tags if re.fullmatch("h[1-6]", tag)]
    assert headings[0] == 1
    assert headings.count(1) == 1
    assert set(headings[1:]) == {2}
    names = [attributes["id"] for _, attributes in reader.tags if "id" in attributes]
    assert len(names) == len(set(names))
    assert {link["href"][1:] for link in reader.all("a")} <= set(names)
    assert all(cell["scope"] in ("row", "col") for cell in reader.all("th"))


def test_the_sections_come_in_the_order_of_reading(html):
    anchors = [section["id"] for section in Reader(html).all("section")]
    assert anchors == ["mix-ups", "mistakes", "learning", "classes", "measured", "unknown"]


def test_figures_are_drawings_and_photos_are_small(html):
    reader = Reader(html)
    assert len(pictures(reader, "image/svg+xml")) == 3
    photos = pictures(reader, "image/jpeg")
    assert len(photos) == 12
    for content in photos:
        with Image.open(io.BytesIO(content)) as photo:
            assert photo.size == (216, 288)


def test_the_figures_of_the_page_are_those_of_the_report(html):
    text = Reader(html).text.replace("\xa0", " ")
    measured = report()
    for score in measured.classes:
        assert f"{100 * score.recall:.1f} %" in text
        assert f"{100 * score.precision:.1f} %" in text
        assert f"{score.f1_interval.low:.2f} to {score.f1_interval.high:.2f}" in text
    for mistake in measured.mistakes[:12]:
        assert f"said {mistake.predicted}, {100 * mistake.probability:.1f} %" in text
        assert mistake.path in text
    assert f"Shown are 12 of {measured.photos - measured.correct}" in " ".join(text.split())


def test_how_it_was_measured_is_told_in_full(html):
    text = Reader(html).text
    for part in ("stratified, seed 0", "keras 3.15.1, python 3.13", "head, last stage"):
        assert part in text
    assert SETTINGS["command"] in text


def test_the_same_report_gives_the_same_page(html):
    assert page(report(), history(), SETTINGS, noise, title="Three flowers") == html


def test_hostile_names_stay_text_wherever_they_stand(html):
    measured = report(labels=HOSTILE, skill=0.2)
    settings = {HOSTILE[0]: HOSTILE[1], "command": HOSTILE[0]}
    table = history().assign(phase=HOSTILE[0])
    attacked = page(
        measured,
        table,
        settings,
        noise,
        title=HOSTILE[0],
        sections=[Section("extra", HOSTILE[0], HOSTILE[1], (Words(HOSTILE),))],
        tiles=[Tile(*HOSTILE)],
        unknown=HOSTILE,
    )
    reader = Reader(attacked)
    harmless = {tag for tag, _ in Reader(html).tags}
    assert {tag for tag, _ in reader.tags} == harmless
    assert not any(name.startswith("on") for _, attributes in reader.tags for name in attributes)
    assert HOSTILE[0] in reader.text
    assert "\u202e" not in attacked
    assert "\x07" not in attacked
    for drawing in pictures(reader, "image/svg+xml"):
        assert b"<script" not in drawing


def test_names_in_any_script_and_names_that_are_no_unicode():
    odd = report(labels=("蒲公英", "шиповник", "\udcff.jpg"), skill=0.2)
    html = page(odd, None, {}, noise)
    assert "蒲公英" in html
    assert html.encode("utf-8")
    drawing = pictures(Reader(html), "image/svg+xml")[0].decode()
    assert "蒲公英" in drawing  # as text: the browser has a font for it where ours has none


@pytest.mark.parametrize(
    "error", [FileNotFoundError("gone"), PhotoError("a photo", "0 bytes", "Remove it.")]
)
def test_a_photo_that_is_gone_leaves_a_frame(error):
    def gone(path):
        raise error

    reader = Reader(page(report(), None, {}, gone))
    assert pictures(reader, "image/jpeg") == []
    assert reader.text.count("can no longer be read") == 12


@pytest.mark.parametrize("empty", [None, pd.DataFrame()])
def test_a_model_trained_elsewhere_has_no_learning_curves(empty):
    anchors = [section["id"] for section in Reader(page(report(), empty, {}, noise)).all("section")]
    assert "learning" not in anchors


def test_no_mistakes_is_not_praised_beyond_the_evidence():
    perfect = evaluate(np.array([0, 1] * 10), np.eye(2)[[0, 1] * 10], ("a", "b"))
    text = Reader(page(perfect, None, {}, noise)).text
    assert "That does not mean that it makes none" in text
    assert "in two guesses" not in text  # always right with two classes
    assert "fewer than 30 test photos" in text


def test_a_class_without_photos_has_a_row_without_figures():
    measured = evaluate(np.array([0, 0, 1]), np.eye(3)[[0, 1, 1]], ("a", "b", "absent"))
    text = Reader(page(measured, None, {}, noise)).text
    assert "0 photos" in text
    assert text.count("none") >= 3


def test_many_classes_keep_a_figure_of_bounded_height_and_a_whole_table():
    labels = [f"class {number}" for number in range(40)]
    reader = Reader(page(report(labels, photos=400, skill=3), None, {}, noise))
    assert "The 24 classes it finds least often" in reader.text
    assert all(f"{label}10 photos" in reader.text for label in labels)
    assert "class 0, class 1" in reader.text  # among those with fewer than 30 photos
    assert "and more: with fewer" in reader.text


def test_a_name_of_255_letters_is_shortened():
    text = Reader(page(report(["a" * 255, "rose"]), None, {}, noise)).text
    assert "a" * 12 + "…" + "a" * 11 in text
    assert max(map(len, text.split())) <= 80


def test_a_new_measurement_is_a_new_section():
    figure = Figure(figsize=(3, 2))
    figure.subplots().plot([0, 1])
    parts = (
        Picture(figure, "a rising line", "sure is right"),
        Photos((Photo(None, "a lost rose", ("rose", "or tulip")),)),
        Table(("Blur", "Right"), (("weak", ("90 %", "88 to 92 %")),), "Under blur"),
        Facts((("temperature", "1.3"),)),
        Words(("First.", "Second.")),
    )
    section = Section("calibration", "Can its numbers be believed?", "Mostly.", parts)
    html = page(
        report(), None, {}, noise, sections=[section], tiles=[Tile("0.02", "ECE", "0 is ideal")]
    )
    reader = Reader(html)
    anchors = [attributes["id"] for attributes in reader.all("section")]
    assert anchors == ["mix-ups", "mistakes", "classes", "calibration", "measured", "unknown"]
    for text in ("or tulip", "Under blur", "88 to 92 %", "temperature", "Second.", "ECE"):
        assert text in reader.text
    assert len(pictures(reader, "image/svg+xml")) == 3
