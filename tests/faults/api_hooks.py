"""What schemathesis is told of the page: how photos look, and what every answer carries."""

from __future__ import annotations

import schemathesis
from hypothesis import strategies as st

from faults.page import jpeg
from faults.pictures import _animals, spoiled
from flowers.web import headers

CONTENTS = [jpeg(size=48), *(a.content for a in _animals() if len(a.content) < 20_000)]
PHOTOS = st.one_of(st.sampled_from(CONTENTS), spoiled(CONTENTS))

schemathesis.openapi.format("binary", PHOTOS)
BODIES = PHOTOS.filter(bool)  # a body that is empty does not fit the description
for kind in ("image/*", "image/jpeg", "image/png", "application/octet-stream"):
    schemathesis.openapi.media_type(kind, BODIES)


@schemathesis.check
def security_headers(ctx, response, case) -> None:
    """Every answer carries the security headers."""
    for name, value in headers.SECURITY.items():
        got = response.headers.get(name.lower())
        assert got == [value], f"{name} is {got}"
