"""The page and the API through Flask's own client: what goes in, what comes out."""

import io
import json
import logging
import re
import tempfile
import threading
from html.parser import HTMLParser

import lite
import numpy as np
import pytest
import zoo
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from PIL import Image

from flowers.data import photos
from flowers.errors import InputError
from flowers.web import headers
from flowers.web.app import create_app
from flowers.web.limits import PageLimits
from flowers.web.words import FLOWERS

FORM = "multipart/form-data"


def form(*files: tuple[str, str, bytes]) -> dict:
    """A form of (field, file name, content); the client itself would use temporary files."""
    head = '--x\r\nContent-Disposition: form-data; name="%s"; filename="%s"\r\n\r\n'
    parts = [(head % (field, name)).encode() + content for field, name, content in files]
    body = b"\r\n".join([*parts, b"--x--\r\n"])
    return {"data": body, "content_type": f"{FORM}; boundary=x"}


def ask(client, *contents: bytes, name: str = "photo.jpg"):
    """Posts photos as a form does."""
    return client.post("/api/predict", **form(*(("photo", name, each) for each in contents)))


@pytest.fixture(scope="module")
def cages() -> dict[str, list[zoo.Animal]]:
    return zoo.zoo()


def one(client, content: bytes) -> dict:
    response = ask(client, content)
    assert response.status_code == 200, response.text
    (answer,) = response.json["predictions"]
    return answer


# --- answers ----------------------------------------------------------------------------------


def test_an_answer_is_the_prediction_of_the_predictor(client, predictor, photo):
    answer, said = one(client, photo), predictor.predict(photo)
    assert (answer["label"], answer["probability"]) == (said.label, said.probability)
    assert list(answer["scores"].items()) == list(said.scores.items())
    assert answer["names"] == list(said.names)
    assert (answer["known"], answer["novelty"]) == (said.known, said.novelty)
    np.testing.assert_allclose(answer["heat"], said.heat, atol=1e-5)
    assert answer["sentence"].startswith(f"A {said.label}, ") and answer["similar"] == []


def test_several_photos_are_answered_in_order_and_a_broken_one_by_its_reason(client, photo):
    grey = zoo.save(Image.new("RGB", (64, 64), (120, 120, 120)), "PNG")
    response = ask(client, photo, b"%PDF-1.7 no photo", grey)
    assert response.status_code == 200
    first, second, third = response.json["predictions"]
    assert first["known"] is True and third["known"] is False
    assert third["sentence"] == "This does not look like one of the five flowers"
    assert second["error"]["received"] == "a PDF document"
    assert second["error"]["message"].startswith("That is a PDF document. Save it as JPEG or PNG")


def test_a_photo_may_be_the_whole_body(client, photo):
    for kind in ("image/jpeg", "application/octet-stream"):
        response = client.post("/api/predict", data=photo, content_type=kind)
        assert response.json["predictions"] == [one(client, photo)]


def test_names_of_the_prediction_set_are_said(model_file, photo):
    answer = one(create_app(lite.load(model_file, lite.with_sets)).test_client(), photo)
    assert len(answer["names"]) > 1 and " or " in answer["sentence"]
    assert "95 %" in answer["explanation"]


def test_similar_photos_are_sent_where_the_app_is_given_them(client_with_similar, photo):
    (found,) = one(client_with_similar, photo)["similar"]
    assert (found["label"], found["similarity"]) == ("daisy", 0.8765)
    assert found["photo"].startswith("data:image/jpeg;base64,/9j/")


def test_a_model_that_says_nothing_is_refused_before_anybody_asks(model_file):
    broken = lite.load(model_file)
    object.__setattr__(broken, "run", lambda batch: np.full((len(batch), 5), np.nan, np.float32))
    with pytest.raises(InputError, match="model is damaged"):
        create_app(broken)


# --- what is no photo -------------------------------------------------------------------------


@pytest.mark.parametrize("cage", [cage.__name__ for cage in zoo.CAGES])
def test_odd_files_are_their_plain_twin_or_refused_in_words(client, predictor, cages, cage):
    """Fault 8: never a 500; the limits of the page are narrower than those of the reader."""
    wrong, limits = [], PageLimits().photo
    for animal in cages[cage]:
        response = ask(client, animal.content)
        if response.status_code == 413:
            assert len(animal.content) > limits.bytes
        elif response.status_code == 422:
            (answer,) = response.json["predictions"]
            large = animal.twin is not None and animal.twin[..., 0].size > limits.pixels * 3 / 8
            if animal.refusal is None and not large:
                wrong.append(f"{animal.name}: {answer['error']['received']}")
        elif response.status_code != 200 or animal.twin is None:
            wrong.append(f"{animal.name}: {response.status_code}")
        else:
            size = predictor.card.size
            twin = photos.read(zoo.save(Image.fromarray(animal.twin), "PNG"), size)
            said = predictor.predict(twin).scores
            got = response.json["predictions"][0]["scores"]
            most = max(abs(said[label] - got[label]) for label in said)
            if most > 1e-3 + 0.01 * animal.tolerance:
                wrong.append(f"{animal.name}: off by {most}")
    assert not wrong, "\n".join(wrong)


def test_a_photo_of_more_pixels_than_the_page_takes_is_refused_from_its_header(client):
    response = ask(client, zoo.resized_png(5200, 5200))
    assert response.status_code == 422
    assert "more than 25 Mpx" in response.json["predictions"][0]["error"]["message"]


@pytest.mark.parametrize(
    ("data", "kind", "status", "words"),
    [
        ({}, FORM, 400, "at least one photo"),
        ({"photo": (io.BytesIO(b""), "")}, FORM, 400, "at least one photo"),
        ({"photo": "a text"}, FORM, 400, "at least one photo"),
        (b"", "image/jpeg", 400, "at least one photo"),
        (b"--x\r\n", f"{FORM}; boundary=x", 400, "at least one photo"),
        (b"no boundary", FORM, 400, "at least one photo"),
        (b'{"photo": 1}', "application/json", 415, "a form"),
        (b"photo=1", "application/x-www-form-urlencoded", 415, "a form"),
        (b"\xff\xd8\xff", "", 415, "a form"),
    ],
)
def test_a_request_without_a_photo_is_refused_in_words(client, data, kind, status, words):
    response = client.post("/api/predict", data=data, content_type=kind)
    assert response.status_code == status
    assert words in response.json["error"]["expected"] and response.json["error"]["message"]


def test_more_photos_than_a_request_may_hold_are_refused(client, photo):
    response = ask(client, *[photo] * (PageLimits().files + 1))
    assert response.status_code == 400 and "at most 8 photos" in response.text


@pytest.mark.parametrize(
    "files",
    [
        [("photo", "a", bytes(9 * 1024 * 1024))],
        [(f"field {number}", "a", b"x") for number in range(10_000)],
        [("f" * 1_000_000, "a", b"x")],
        [("photo", "a", bytes(8 * 1024 * 1024 + 1))],
    ],
    ids=["too large", "ten thousand parts", "a name of a megabyte", "one byte too large"],
)
def test_forms_beyond_the_limits_are_refused(client, files):
    """Fault 15, as far as a client without a socket shows it."""
    response = client.post("/api/predict", **form(*files))
    assert response.status_code == 413
    assert "Make the photo smaller" in response.json["error"]["message"]


NAMES = st.text(st.characters(blacklist_characters='"\\\r\n', codec="utf-8"), max_size=200)


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(NAMES)
@example("../../../etc/passwd")
@example("a\0b.jpg")
@example("‮gpj.exe")
@example("<script>alert(1)</script>.jpg")
@example("x" * 10_000)
def test_file_names_are_never_looked_at(predictor, name):
    """Fault 16: whatever a file is called, its answer is the same and does not say the name."""
    shared = test_file_names_are_never_looked_at.__dict__
    if "client" not in shared:
        content = zoo.save(Image.effect_noise((48, 48), 80).convert("RGB"), "PNG")
        shared["client"] = create_app(predictor).test_client()
        shared["content"], shared["answer"] = content, one(shared["client"], content)
    response = ask(shared["client"], shared["content"], name=name or "x")
    assert response.status_code == 200
    assert response.json["predictions"] == [shared["answer"]]


# --- privacy ----------------------------------------------------------------------------------


def test_uploads_never_reach_the_disk_and_names_never_the_log(
    client, photo, monkeypatch, caplog, tmp_path
):
    def never(*_, **__):
        raise AssertionError("a temporary file")

    for name in ("TemporaryFile", "SpooledTemporaryFile", "NamedTemporaryFile", "mkstemp"):
        monkeypatch.setattr(tempfile, name, never)
    large = photo + bytes(5 * 1024 * 1024)  # what follows a JPEG is not read
    with caplog.at_level(logging.INFO, "flowers.web"):
        assert ask(client, large, name="my-secret-holiday.jpg").status_code == 200
        assert ask(client, b"my diary", name="my-secret-diary.txt").status_code == 422
    lines = [record.getMessage() for record in caplog.records if record.name == "flowers.web"]
    assert len(lines) == 2 and not re.search("secret|diary", "".join(lines))
    assert re.fullmatch(rf"JPEG {len(large)} bytes [0-9a-f]{{16}} \d+ ms known", lines[0])


def test_a_fault_of_the_server_is_500_in_words_and_logs_no_contents(
    model_file, photo, caplog, monkeypatch
):
    app = create_app(lite.load(model_file))
    monkeypatch.setattr(photos, "read", lambda *_: {}["what was uploaded"])
    with caplog.at_level(logging.INFO, "flowers.web"):
        response = ask(app.test_client(), photo)
    assert response.status_code == 500
    assert "try another photo" in response.json["error"]["message"]
    assert "what was uploaded" not in response.text + caplog.text
    assert "KeyError at test_app.py" in caplog.text


# --- health -----------------------------------------------------------------------------------


def test_while_the_queue_is_full_it_lives_is_not_ready_and_says_when_to_come_back(
    model_file, photo
):
    predictor, release = lite.load(model_file), threading.Event()
    app = create_app(predictor, PageLimits(at_once=1, queue=1))
    client, quick = app.test_client(), predictor.run
    assert client.get("/readyz").status_code == 200
    object.__setattr__(predictor, "run", lambda batch: release.wait(20) and quick(batch))
    statuses = []
    threads = [
        threading.Thread(target=lambda: statuses.append(ask(app.test_client(), photo).status_code))
        for _ in range(2)
    ]
    for thread in threads:
        thread.start()
    while "flowers_waiting 2" not in client.get("/metrics").text:
        pass
    refused = ask(client, photo)
    assert refused.status_code == 503 and refused.headers["Retry-After"] == "2"
    assert "try again in a few seconds" in refused.json["error"]["message"]
    assert client.get("/livez").status_code == 200 and client.get("/readyz").status_code == 503
    release.set()
    for thread in threads:
        thread.join()
    assert statuses == [200, 200] and client.get("/readyz").status_code == 200


def test_metrics_count_in_the_format_of_prometheus(client, photo):
    ask(client, photo, b"no photo")
    client.get("/no/such/page?secret=1")
    text = client.get("/metrics").text
    assert 'flowers_requests_total{route="/api/predict",status="200"} 1\n' in text
    assert 'flowers_requests_total{route="none",status="404"} 1\n' in text
    assert 'flowers_photos_total{outcome="refused"} 1\n' in text
    assert 'flowers_photo_seconds_bucket{le="+Inf"} 2\n' in text and "secret" not in text
    line = re.compile(r'# (HELP|TYPE) \w+ .+|\w+({\w+="[^"]*"(,\w+="[^"]*")*})? [0-9.e+-]+')
    assert not [each for each in text.splitlines() if not line.fullmatch(each)]


# --- pages ------------------------------------------------------------------------------------


class Tags(HTMLParser):
    """Every tag with its attributes."""

    def __init__(self, html: str):
        super().__init__()
        self.seen: list[tuple[str, dict]] = []
        self.feed(html)

    def handle_starttag(self, tag, attributes):
        self.seen.append((tag, dict(attributes)))


@pytest.mark.parametrize("path", ["/", "/api"])
def test_pages_hold_nothing_inline_and_name_no_other_host(client, path):
    html = client.get(path).text
    for tag, attributes in Tags(html).seen:
        assert tag != "style" and "style" not in attributes
        assert not [name for name in attributes if name.startswith("on")]
        if tag == "script":
            assert attributes["src"].startswith("/static/")
    local = html.replace("http://www.w3.org/2000/svg", "").replace("http://localhost/", "")
    assert "http:" not in local and "https:" not in local and 'src="//' not in local


@pytest.mark.parametrize("name", ["page.js", "page.css", "icon.svg"])
def test_static_files_name_no_other_host_and_build_no_html_from_text(client, name):
    with client.get(f"/static/{name}") as response:
        text = response.text.replace('xmlns="http://www.w3.org/2000/svg"', "")
    assert text and not re.search(r"https?:|@import|url\(|innerHTML|eval\(", text)


def test_the_page_names_the_classes_the_accuracy_and_the_limits(client):
    html = client.get("/").text
    assert "Daisy, dandelion, rose, sunflower or tulip" in html
    assert "Right on 92.0 % of 150 photos" in html and "up to 8 MB" in html
    labels = [a["for"] for tag, a in Tags(html).seen if tag == "label"]
    inputs = [a["id"] for tag, a in Tags(html).seen if tag == "input"]
    assert sorted(labels) == sorted(inputs)
    assert all("alt" in a for tag, a in Tags(html).seen if tag == "img")


def test_examples_are_painted_flowers_of_the_models_classes(client):
    for label in sorted(FLOWERS):
        response = client.get(f"/examples/{label}.jpg")
        assert response.mimetype == "image/jpeg" and "max-age" in response.headers["Cache-Control"]
        assert photos.read(response.data).shape == (320, 320, 3)
    assert client.get("/examples/cat.jpg").status_code == 404


def test_another_models_classes_are_named_in_its_own_words(model_file):
    shapes = ("circle", "<b>square</b>", "rainbow_arc", "star", "dot")
    other = lite.load(model_file, lambda card: lite.replace(card, labels=shapes))
    html = create_app(other).test_client().get("/").text
    assert "What is on this photo?" in html and "rainbow arc" in html
    assert "&lt;b&gt;square" in html and "<b>square" not in html and "painted" not in html


@pytest.mark.parametrize("method", ["get", "post", "put", "patch", "delete", "options", "head"])
@pytest.mark.parametrize(
    "path", ["/", "/api", "/api/predict", "/api/model", "/readyz", "/static/page.js", "/%00../x"]
)
def test_every_response_carries_the_security_headers(client, method, path):
    with getattr(client, method)(path) as response:
        assert response.status_code < 500
        for name, value in headers.SECURITY.items():
            assert response.headers[name] == value
        assert "'unsafe" not in response.headers["Content-Security-Policy"]
        if response.status_code >= 400 and method != "head":
            assert response.json["error"]["message"]


def test_the_description_names_every_route_and_its_statuses(client, photo):
    described = client.get("/openapi.json").json
    rules = {rule.rule for rule in client.application.url_map.iter_rules()}
    hidden = {"/", "/api", "/openapi.json", "/examples/<label>.jpg", "/static/<path:filename>"}
    assert rules - hidden == set(described["paths"])
    statuses = described["paths"]["/api/predict"]["post"]["responses"]
    assert {"200", "400", "413", "415", "422", "503"} == set(statuses)
    schemas = described["components"]["schemas"]
    fields = schemas["Answers"]["properties"]["predictions"]["items"]["properties"]
    assert set(one(client, photo)) == set(fields) - {"error"}
    assert set(client.get("/api/model").json) == set(schemas["Model"]["properties"])
    references = set(re.findall(r"#/components/schemas/(\w+)", json.dumps(described)))
    assert references == set(schemas)


def test_the_model_tells_what_it_takes_and_keeps_where_it_was_made_to_itself(client):
    facts = client.get("/api/model").json
    assert set(facts["labels"]) == FLOWERS and facts["size"] == 32
    assert facts["limits"]["bytes"] == 8 * 1024 * 1024
    assert facts["limits"]["pixels"] == 25_000_000
    assert facts["metrics"]["accuracy"] == 0.92 and "settings" not in facts


@pytest.mark.parametrize("host", ["localhost:8000", "127.0.0.1", "[::1]:8000", "LOCALHOST"])
def test_a_page_for_this_machine_answers_those_who_call_it_so(predictor, host):
    client = create_app(predictor, hosts={"localhost", "127.0.0.1", "::1"}).test_client()
    assert client.get("/api/model", headers={"Host": host}).status_code == 200


@pytest.mark.parametrize("host", ["evil.example:8000", "localhost.evil.example", "", "[::1"])
def test_a_page_for_this_machine_refuses_other_names_for_it(predictor, host):
    client = create_app(predictor, hosts={"localhost", "127.0.0.1", "::1"}).test_client()
    answer = client.get("/api/model", headers={"Host": host})
    assert answer.status_code == 421 and "called 127.0.0.1" in answer.json["error"]["expected"]
    assert "default-src" in answer.headers["Content-Security-Policy"]


def test_a_page_for_everybody_may_have_any_name(client):
    assert client.get("/api/model", headers={"Host": "flowers.example"}).status_code == 200
