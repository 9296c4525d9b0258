"""The process that fuzzes the reader: `python -m faults.fuzz_reader CORPUS [options]`."""

from __future__ import annotations

import random
import struct
import sys
import zlib

import atheris

with atheris.instrument_imports(include=["flowers", "PIL"]):
    from PIL import Image

    from faults import pictures

    Image.init()  # all formats, so that all are watched

PNG = b"\x89PNG\r\n\x1a\n"
PACKED = (b"IDAT", b"zTXt", b"iCCP")


def attempt(content: bytes) -> None:
    """Reads bytes as the page and the command line do."""
    wrong = pictures.misread(content)
    if wrong:
        raise AssertionError(wrong)


def change(content: bytes, largest: int, seed: int) -> bytes:
    """libFuzzer's own changes; a PNG mostly with the checksums that fit, or it would end there."""
    chance = random.Random(seed)
    if content.startswith(PNG) and chance.random() < 0.3:
        return _png(content, chance, largest)
    changed = atheris.Mutate(content, largest)
    return _png(changed, None, largest) if chance.random() < 0.7 else changed


def _png(content: bytes, chance: random.Random | None, largest: int) -> bytes:
    """A PNG with right checksums; with `chance`, one of its parts is changed before that."""
    if not content.startswith(PNG):
        return content
    parts, place = [], len(PNG)
    while place + 12 <= len(content):
        (length,) = struct.unpack_from(">I", content, place)
        kind, start = content[place + 4 : place + 8], place + 8
        if start + length + 4 > len(content):
            break
        parts.append([kind, content[start : start + length]])
        place = start + length + 4
    if parts and chance is not None:
        part = chance.choice(parts)
        part[1] = _changed(part[0], part[1])
    made = PNG
    for kind, body in parts:
        made += struct.pack(">I", len(body)) + kind + body
        made += struct.pack(">I", zlib.crc32(kind + body))
    return (made + content[place:])[:largest]


def _changed(kind: bytes, body: bytes) -> bytes:
    """A part's body changed; one that is packed is changed within, and packed again."""
    room = len(body) + 64
    if kind not in PACKED:
        return atheris.Mutate(body, room)
    head = body.find(b"\0") + 2 if kind != b"IDAT" else 0
    try:
        inner = zlib.decompressobj().decompress(body[head:], 1_000_000)
    except zlib.error:
        return atheris.Mutate(body, room)
    return body[:head] + zlib.compress(atheris.Mutate(inner, len(inner) + 64))


if __name__ == "__main__":
    atheris.Setup(sys.argv, attempt, custom_mutator=change)
    atheris.Fuzz()
