"""The photos of a request, in memory only: nothing of an upload ever reaches the disk."""

from __future__ import annotations

import io

from flask import Request
from werkzeug.exceptions import RequestEntityTooLarge, UnsupportedMediaType

from flowers.errors import InputError
from flowers.web.limits import PageLimits

_FORM = "multipart/form-data"
_HOW = "Send photos as files of a form (multipart/form-data), or one as the body (image/jpeg)."


class MemoryRequest(Request):
    """A request whose files stay in memory; Flask would put those above 500 kB into /tmp."""

    def _get_file_stream(self, *_: object, **__: object) -> io.BytesIO:
        return io.BytesIO()


def photos_of(request: Request, limits: PageLimits) -> list[bytes]:
    """The files of a form whatever its fields are called, or the body as one photo.

    Names of fields and files are not looked at.

    Raises:
        InputError: there is no file, or there are too many.
        RequestEntityTooLarge: a photo is larger than the limit.
        UnsupportedMediaType: the body is neither a form nor a photo.
    """
    if request.mimetype == _FORM:
        files = [file for _, file in request.files.items(multi=True)]
        # a browser sends an empty part where nobody chose a file
        contents = [file.stream.getvalue() for file in files if file.filename or _size(file.stream)]
    elif request.mimetype.startswith("image/") or request.mimetype == "application/octet-stream":
        contents = [body] if (body := request.get_data(cache=False)) else []
    else:
        raise UnsupportedMediaType()
    if not contents:
        raise InputError("at least one photo", "none", _HOW)
    if len(contents) > limits.files:
        received, remedy = f"{len(contents)} files", "Send them in several requests."
        raise InputError(f"at most {limits.files} photos a request", received, remedy)
    if max(map(len, contents)) > limits.photo.bytes:
        raise RequestEntityTooLarge()
    return contents


def _size(stream: io.BytesIO) -> int:
    return stream.getbuffer().nbytes
