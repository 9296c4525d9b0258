"""create_app(predictor): the page and the REST API as one WSGI application."""

from __future__ import annotations

import functools
import hashlib
import json
import logging
from collections.abc import Callable, Collection, Iterable
from pathlib import Path
from urllib.parse import urlsplit

from flask import Flask, Response, abort, jsonify, make_response, render_template, request
from werkzeug.exceptions import HTTPException

from flowers.errors import InputError, WorldError
from flowers.ship.predictor import Predictor
from flowers.web import headers, openapi, replies, words
from flowers.web.door import PREDICT, Door
from flowers.web.examples import Examples
from flowers.web.limits import PageLimits
from flowers.web.metrics import Metrics
from flowers.web.pool import Open
from flowers.web.service import FindSimilar, Service
from flowers.web.uploads import MemoryRequest, photos_of

log = logging.getLogger("flowers.web")

_PROBLEMS = {  # status -> expected, received, remedy
    404: ("an address of this server", "there is nothing here", "The page is at /."),
    405: ("another method", "this address does not take that", "The API is described at /api."),
    415: (
        "a form (multipart/form-data) or a photo (image/*)",
        "the request is of another type",
        "Send photos as files of a form, or one as the body.",
    ),
}
_ODD = ("a request that can be understood", "the request is malformed", "It is described at /api.")
_FAULT = ("an answer", "the server failed", "It was noted; please try another photo.")


def create_app(
    predictor: Predictor,
    limits: PageLimits | None = None,
    similar: FindSimilar | None = None,
    open_again: Open | None = None,
    hosts: Collection[str] | None = None,
) -> Flask:
    """The application for one model; it has answered once before this returns.

    Args:
        predictor: what is asked.
        limits: what is accepted; the defaults suit a host of 512 MB.
        similar: finds training photos like the one asked about (`web.similar_photos`); None shows
            none.
        open_again: opens the same model with so many threads, to look at several photos side by
            side while many ask (`web.pool`); None looks at one at a time.
        hosts: the names by which the server may be called; None lets all pass. A page from
            elsewhere can have its own name point to this machine, and would then be let read what
            is meant for this machine alone.

    Raises:
        InputError: the model's answer to a grey photo is none.
    """
    limits = limits or PageLimits()
    metrics = Metrics()
    service = Service(predictor, limits, metrics, similar, open_again)
    service.warm_up()
    app = Flask("flowers.web", root_path=str(Path(__file__).parent))
    app.request_class = MemoryRequest
    app.json.sort_keys = False  # scores are in the order of their probability
    app.config.update(
        MAX_CONTENT_LENGTH=limits.upload,
        MAX_FORM_MEMORY_SIZE=2 * limits.form,
        MAX_FORM_PARTS=limits.parts,
        SEND_FILE_MAX_AGE_DEFAULT=3600,
    )
    _add_pages(app, service)
    _add_api(app, service)
    door = app.extensions["door"] = Door(service.gate, metrics, limits.retry)
    _add_health(app, lambda: service.ready and not door.full, service, metrics)
    _add_errors(app, limits)
    _add_headers(app, metrics)
    app.wsgi_app = _front_door(app.wsgi_app, door, limits)
    if hosts is not None:
        app.wsgi_app = _known_by(frozenset(hosts), app.wsgi_app, metrics)
    return app


def _add_pages(app: Flask, service: Service) -> None:
    """The page, the page about the API, and the painted examples."""
    card, limits = service.card, service.limits
    examples = Examples(card.labels)
    shown = {
        "labels": card.labels,
        "classes": words.classes(card.labels),
        "flowers": set(card.labels) <= words.FLOWERS,
        "accuracy": words.accuracy(card.metrics),
        "limits": limits,
        "examples": examples.labels,
        "edition": _edition(Path(app.static_folder)),
    }

    @app.get("/")
    def page() -> str:
        return render_template("page.html", **shown)

    @app.get("/api")
    def api_page() -> str:
        described = openapi.describe(card.labels, limits)
        return render_template("api.html", api=described, **shown)

    @app.get("/examples/<label>.jpg")
    def example(label: str) -> Response:
        jpeg = examples.jpeg(label)
        if jpeg is None:
            abort(404)
        return Response(jpeg, mimetype="image/jpeg", headers={"Cache-Control": "max-age=86400"})


def _add_api(app: Flask, service: Service) -> None:
    """What programs ask."""
    card, limits = service.card, service.limits
    facts, described = replies.model(card, limits), openapi.describe(card.labels, limits)

    @app.post(PREDICT)
    def predict() -> Response:
        answers = service.answer(photos_of(request, limits))
        response = jsonify(predictions=[replies.answer(given, card) for given in answers])
        response.status_code = 200 if any(given.prediction for given in answers) else 422
        return response

    @app.get("/api/model")
    def model() -> Response:
        return jsonify(facts)

    @app.get("/openapi.json")
    def description() -> Response:
        return jsonify(described)


def _add_health(
    app: Flask, is_ready: Callable[[], bool], service: Service, metrics: Metrics
) -> None:
    """What the host asks."""

    @app.get("/livez")
    def livez() -> Response:
        return jsonify(state="alive")

    @app.get("/readyz")
    def readyz() -> Response:
        return _state("ready", 200) if is_ready() else _state("busy", 503)

    @app.get("/metrics")
    def numbers() -> Response:
        text = metrics.as_text(service.gate.inside, is_ready())
        return Response(text, content_type="text/plain; version=0.0.4; charset=utf-8")


def _state(word: str, status: int) -> Response:
    return make_response(jsonify(state=word), status)


def _add_errors(app: Flask, limits: PageLimits) -> None:
    """Every error is JSON in words; none of them shows what the server is made of."""
    megabytes = f"{limits.photo.bytes / 2**20:.0f} MB"
    too_large = (
        f"an upload of at most {megabytes}",
        f"the upload is larger than {megabytes}, or has too many parts",
        "Make the photo smaller and try again.",
    )

    @app.errorhandler(HTTPException)
    def refused(error: HTTPException) -> Response:
        problems = {**_PROBLEMS, 413: too_large, 500: _FAULT}
        response = jsonify(replies.problem(*problems.get(error.code, _ODD)))
        response.status_code = error.code or 500
        if allowed := getattr(error, "valid_methods", None):
            response.headers["Allow"] = ", ".join(sorted(allowed))
        return response

    @app.errorhandler(InputError)
    def unusable(error: InputError) -> Response:
        return make_response(jsonify(replies.unusable(error)), 400)

    @app.errorhandler(WorldError)
    def full(error: WorldError) -> Response:
        response = make_response(jsonify(replies.unusable(error)), 503)
        response.headers["Retry-After"] = str(limits.retry)
        return response

    @app.errorhandler(Exception)
    def failed(error: Exception) -> Response:
        # the kind and the place of a fault, never its text, which may hold what was uploaded
        place = error.__traceback__
        while place.tb_next:
            place = place.tb_next
        where = f"{Path(place.tb_frame.f_code.co_filename).name}:{place.tb_lineno}"
        log.error("fault: %s at %s", type(error).__name__, where)
        return make_response(jsonify(replies.problem(*_FAULT)), 500)


def _add_headers(app: Flask, metrics: Metrics) -> None:
    @app.after_request
    def finish(response: Response) -> Response:
        for name, value in headers.SECURITY.items():
            response.headers.setdefault(name, value)
        if request.endpoint not in ("static", "example"):
            response.headers["Cache-Control"] = "no-store"
        route = request.url_rule.rule if request.url_rule else "none"
        metrics.request(route, response.status_code)
        return response


def _front_door(inner: Callable, door: Door, limits: PageLimits) -> Callable:
    """Says no before Flask reads the form."""

    @functools.wraps(inner)
    def enter(environ: dict, start_response: Callable) -> Iterable[bytes]:
        if door.closed(environ["REQUEST_METHOD"], environ["PATH_INFO"]):
            start_response(door.status, list(door.headers))
            return [door.body]
        if (connection := environ.get("gunicorn.socket")) is not None:
            # its threads read uploads themselves: one that stalls must not hold a thread for ever
            connection.settimeout(limits.seconds / 4)
        return inner(environ, start_response)

    return enter


def _known_by(hosts: frozenset[str], inner: Callable, metrics: Metrics) -> Callable:
    """Answers those who call the server by one of its names, and nobody else."""
    expected = f"this server to be called {' or '.join(sorted(hosts))}"
    problem = replies.problem(
        expected,
        "another name",
        "Open it by that name; behind a proxy, serve with --similar or --no-similar.",
    )
    body = json.dumps(problem).encode()
    fixed = [
        *headers.SECURITY.items(),
        ("Content-Length", str(len(body))),
        ("Content-Type", "application/json"),
    ]

    @functools.wraps(inner)
    def called(environ: dict, start_response: Callable) -> Iterable[bytes]:
        if _host(environ.get("HTTP_HOST", "")) in hosts:
            return inner(environ, start_response)
        metrics.request("none", 421)
        start_response("421 MISDIRECTED REQUEST", fixed)
        return [body]

    return called


def _host(called: str) -> str | None:
    """The name or address in a Host header, without the port; None where there is none."""
    try:
        return urlsplit(f"//{called}").hostname
    except ValueError:
        return None


def _edition(folder: Path) -> str:
    """Changes whenever a static file does, so that browsers may keep them."""
    digest = hashlib.sha256()
    for path in sorted(folder.iterdir()):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:12]
