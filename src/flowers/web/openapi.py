"""The REST API described as OpenAPI 3.1, for programs; a page shows the same to people."""

from __future__ import annotations

from collections.abc import Sequence

from flowers import __version__
from flowers.web.limits import PageLimits

_SHARE = {"type": "number", "minimum": 0, "maximum": 1}
_TEXT = {"type": "string"}


def describe(labels: Sequence[str], limits: PageLimits) -> dict[str, object]:
    """The description of the API of one model.

    Args:
        labels: the model's classes.
        limits: what the page accepts.
    """
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "flowers",
            "version": __version__,
            "summary": "What is on a photo, and how sure is that.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/"}],
        "security": [],
        "paths": {
            "/api/predict": {"post": _predict(limits)},
            "/api/model": {"get": _get("model", "What the model is, and what it takes", "Model")},
            "/livez": {"get": _get("livez", "Whether the process answers", "State")},
            "/readyz": {"get": _ready()},
            "/metrics": {"get": _metrics()},
        },
        "components": {"schemas": _schemas(labels)},
    }


def _predict(limits: PageLimits) -> dict[str, object]:
    file = {"type": "string", "format": "binary"}
    body = {**file, "minLength": 1}
    files = {"type": "array", "items": file, "minItems": 1, "maxItems": limits.files}
    form = _object(("photo",), photo=files)
    megabytes = f"{limits.photo.bytes / 2**20:.0f} MB"
    return {
        "operationId": "predict",
        "summary": "Ask what is on one or several photos",
        "description": (
            f"Up to {limits.files} files ({', '.join(limits.photo.formats)}) of together at most "
            f"{megabytes}, each of at most {limits.photo.pixels / 1e6:.0f} megapixels, as a form; "
            "or one photo as the body. Nothing is stored."
        ),
        "requestBody": {
            "required": True,
            "content": {
                "multipart/form-data": {"schema": form},
                "image/*": {"schema": body},
                "application/octet-stream": {"schema": body},
            },
        },
        "responses": {
            "200": _json("An answer a photo, in order; at least one could be read", "Answers"),
            "400": _json("There is no photo in the request, or there are too many", "Error"),
            "413": _json(f"More than {megabytes}, or a form of too many parts", "Error"),
            "415": _json("The body is neither a form nor a photo", "Error"),
            "422": _json("None of the files can be read as a photo", "Answers"),
            "503": {
                **_json("Too many are asking; try again after the time named", "Error"),
                "headers": {"Retry-After": {"schema": {"type": "integer"}}},
            },
        },
    }


def _get(name: str, summary: str, schema: str) -> dict[str, object]:
    return {"operationId": name, "summary": summary, "responses": {"200": _json(summary, schema)}}


def _ready() -> dict[str, object]:
    described = _get("readyz", "Whether the next photo would be let in", "State")
    described["responses"]["503"] = _json("The queue is full", "State")
    return described


def _metrics() -> dict[str, object]:
    return {
        "operationId": "metrics",
        "summary": "Counts for Prometheus",
        "responses": {
            "200": {
                "description": "Text format 0.0.4",
                "content": {"text/plain": {"schema": _TEXT}},
            }
        },
    }


def _json(description: str, schema: str) -> dict[str, object]:
    reference = {"$ref": f"#/components/schemas/{schema}"}
    return {
        "description": description,
        "content": {"application/json": {"schema": reference}},
    }


def _object(required: Sequence[str] = (), **properties: object) -> dict[str, object]:
    return {"type": "object", "properties": properties, "required": list(required)}


def _list(items: object) -> dict[str, object]:
    return {"type": "array", "items": items}


def _schemas(labels: Sequence[str]) -> dict[str, object]:
    label = {"type": "string", "enum": list(labels)}
    maybe_number = {"type": ["number", "null"]}
    reason = _object(
        ("message", "expected", "received", "remedy"),
        message={**_TEXT, "description": "The reason and the remedy, for people"},
        expected=_TEXT,
        received=_TEXT,
        remedy=_TEXT,
    )
    answer = _object(
        sentence={**_TEXT, "description": "The answer in plain words"},
        explanation={**_TEXT, "description": "How to take it; may be empty"},
        label={**label, "description": "The likeliest class"},
        probability={**_SHARE, "description": "Of the label, calibrated"},
        scores={**_object(labels, **dict.fromkeys(labels, _SHARE)), "description": "Of each class"},
        names={**_list(label), "description": "Holds the truth as often as was asked for"},
        known={
            "type": ["boolean", "null"],
            "description": "false: like none of the classes; null: the model does not say",
        },
        novelty={**maybe_number, "description": "1 for a typical photo of the classes"},
        heat={
            "type": ["array", "null"],
            "items": _list({"type": "number", "minimum": 0}),
            "description": "Rows over the whole photo: what speaks for the label",
        },
        similar={
            **_list(_similar(label)),
            "description": "Training photos like this one, the most similar first; empty where "
            "the server shows none, and where the photo is like none of the classes",
        },
        error={**reason, "description": "Only where this photo cannot be read, and then alone"},
    )
    return {
        "Answers": _object(("predictions",), predictions=_list(answer)),
        "Error": _object(("error",), error=reason),
        "Model": _object(
            ("labels", "size", "sha256", "limits"),
            labels=_list(label),
            size={"type": "integer", "description": "Side of the square the model sees, px"},
            sha256=_TEXT,
            version=_TEXT,
            metrics={"type": "object", "description": "Measured on photos it was not trained on"},
            temperature={"type": "number"},
            coverage={**maybe_number, "description": "How often `names` holds the truth"},
            threshold={**maybe_number, "description": "`novelty` above it is none of the classes"},
            limits={"type": "object"},
        ),
        "State": _object(("state",), state=_TEXT),
    }


def _similar(label: dict[str, object]) -> dict[str, object]:
    """A training photo like the one asked about."""
    return _object(
        ("label", "similarity", "photo"),
        label=label,
        similarity={
            **{"type": "number", "minimum": -1, "maximum": 1},
            "description": "Cosine of what the model sees in the two photos; 1: the same",
        },
        photo={**_TEXT, "description": "A JPEG of at most 128 px a side as data: URL"},
    )
