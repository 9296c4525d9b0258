"""What the page accepts, and how much of it at once."""

from __future__ import annotations

from dataclasses import dataclass, field

from flowers.config import PhotoLimits


@dataclass(frozen=True)
class PageLimits:
    """Every number of the page. A host of 512 MB holds all of it at its worst."""

    # 25 Mpx is 75 MB as RGB; a strange page may be opened by anybody, a command line is one's own
    photo: PhotoLimits = field(
        default_factory=lambda: PhotoLimits(bytes=8 * 1024 * 1024, pixels=25_000_000)
    )
    files: int = 8  # photos a request; together they are no larger than one may be
    form: int = 64 * 1024  # bytes of an upload that are no photo: boundaries, names, other fields
    parts: int = 32  # of a form: a photo is one part, and ten thousand parts are an attack
    at_once: int = 3  # requests at work: one is decoded while others are looked at (`web.pool`)
    queue: int = 8  # requests that wait for them; the next is told to come back
    seconds: float = 20.0  # for a request, from its first byte to its answer
    retry: int = 2  # seconds after which one that was told to come back should
    received: int = 48 * 1024 * 1024  # bytes of all uploads that are held or announced
    headers: int = 16 * 1024  # bytes of a request's first line and headers
    connections: int = 400  # open ones; more wait in the operating system's queue

    @property
    def upload(self) -> int:
        """Bytes of a request's body."""
        return self.photo.bytes + self.form

    @property
    def threads(self) -> int:
        """Enough for all that work and wait, and for saying no and answering health checks."""
        return self.at_once + self.queue + 6
