"""Reads ONE photo safely. The only reader: training, command line and page cannot drift apart."""

from __future__ import annotations

import errno
import hashlib
import io
import re
import stat
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from flowers.config import PhotoLimits
from flowers.data.colours import to_rgb
from flowers.errors import InputError, PhotoError, WorldError

if TYPE_CHECKING:  # numpy and Pillow cost 0.1 s to import: `flowers --help` does not wait for them
    import numpy as np
    from PIL import Image

LIMITS = PhotoLimits()

# A progressive JPEG has about ten scans. Each costs a pass over the whole photo, 30 ms at 25 Mpx,
# so that a small file with thousands of them would take minutes.
_MOST_SCANS = 50
_WEBP = 3 / 8  # of the pixel limit: Pillow holds a WebP four times over while it decodes
_THUMBNAIL = 64  # px: enough to tell copies from photos of the same flower

_NOT_THERE = (errno.ENOENT, errno.ENOTDIR, errno.ENAMETOOLONG, errno.ELOOP)
_SIGNATURES = (  # how files that are no photos begin, for the error message
    (rb"%PDF", "a PDF document"),
    (rb"PK(\x03\x04|\x05\x06)", "a ZIP archive"),
    (rb"(Rar!|7z\xbc\xaf|\x1f\x8b|BZh|\xfd7zXZ)", "an archive"),
    (rb"....ftyp(heic|heix|heim|heis|hevc|mif1|msf1)", "a HEIC photo"),
    (rb"....ftypavi[fs]", "an AVIF photo"),
    (rb"(....ftyp|....moov|\x1aE\xdf\xa3|RIFF....AVI )", "a video"),
    (rb"(\x00\x00\x00\x0cjP  |\xff\x4f\xff\x51)", "a JPEG 2000 photo"),
    (rb"8BPS", "a Photoshop document"),
    (rb"\x00\x00\x01\x00", "an icon"),
    (rb"(?s:\s*(<\?xml.*)?<svg)", "an SVG drawing"),
    (rb"(?is:\s*(<!--.*?-->\s*)?(<!doctype html|<html|<head|<body))", "an HTML page"),
    (rb"version https://git-lfs", "a Git LFS pointer instead of the photo"),
    (rb"(?s:[\t\n\r\x20-\x7e]+\Z)", "a text"),
)
# EXIF orientation -> Pillow's Transpose: 0, 1 mirror; 2, 3, 4 turn by 90, 180, 270; 5, 6 diagonals.
_TURNS = {2: 0, 3: 3, 4: 1, 5: 5, 6: 4, 7: 6, 8: 2}
_SIDEWAYS = (2, 4, 5, 6)  # those that swap width and height
_PHOTOS = (  # how the formats begin that Pillow may open here
    (rb"\xff\xd8\xff", "JPEG"),
    (rb"\x89PNG\r\n\x1a\n", "PNG"),
    (rb"(?s:RIFF....WEBP)", "WEBP"),
    (rb"GIF8[79]a", "GIF"),
    (rb"BM", "BMP"),
    (rb"(II[\x2a\x2b]\x00|MM\x00[\x2a\x2b])", "TIFF"),
)


@dataclass(frozen=True)
class PhotoFacts:
    """What one look at one photo file tells."""

    width: int  # px, upright
    height: int  # px, upright
    format: str  # Pillow's name of the format, by content: "JPEG", "PNG", ...
    sha256: str  # of the file's bytes, hexadecimal
    bytes: int
    thumbnail: np.ndarray  # uint8 [64, 64, 3], RGB, upright, the whole photo squeezed


def read(
    source: str | Path | bytes, size: int | None = None, limits: PhotoLimits = LIMITS
) -> np.ndarray:
    """Reads a photo as upright 8-bit sRGB.

    The whole photo is squeezed to size x size, without cropping: nothing of the flower is lost,
    and a heat map covers the whole photo. Transparency shows white, an animation its first frame.

    Args:
        source: a path, or the file's bytes.
        size: px of either side; None keeps the photo's own size.
        limits: formats, bytes and pixels that are accepted.

    Returns:
        uint8 [size, size, 3], RGB, 0-255; [height, width, 3] where size is None.

    Raises:
        PhotoError: the content is no photo, is damaged, or passes a limit.
        InputError: there is no such file, or it may not be read.
        WorldError: the disk fails.
    """
    content, name = _content(source, limits)
    image, _, _ = _decode(content, name, size, limits)
    import numpy as np

    return np.array(image)


def thumbnail(source: str | Path | bytes, longest: int, limits: PhotoLimits = LIMITS) -> np.ndarray:
    """A small picture of a photo in its own shape.

    Args:
        source: a path, or the file's bytes.
        longest: px of the longer side, where the photo has as many.
        limits: formats, bytes and pixels that are accepted.

    Returns:
        uint8 [height, width, 3], RGB, 0-255.

    Raises:
        PhotoError, InputError, WorldError: as `read` does.
    """
    content, name = _content(source, limits)
    image, sides, _ = _decode(content, name, longest, limits)
    import numpy as np
    from PIL import Image

    share = min(1, longest / max(sides))
    shape = [max(1, round(share * side)) for side in sides]
    return np.array(image.resize(shape, Image.Resampling.BILINEAR))


def resize(photo: np.ndarray, size: int) -> np.ndarray:
    """Squeezes pixels, uint8 [height, width, 3], to [size, size, 3] as `read` does."""
    import numpy as np
    from PIL import Image

    return np.array(Image.fromarray(photo).resize((size, size), Image.Resampling.BILINEAR))


def inspect(path: str | Path, limits: PhotoLimits = LIMITS) -> PhotoFacts:
    """Looks at a photo file: one read, one full decode.

    Raises:
        PhotoError, InputError, WorldError: as `read` does.
    """
    content, name = _content(path, limits)
    image, (width, height), kind = _decode(content, name, _THUMBNAIL, limits)
    import numpy as np

    return PhotoFacts(
        width=width,
        height=height,
        format=kind,
        sha256=hashlib.sha256(content).hexdigest(),
        bytes=len(content),
        thumbnail=np.array(image),
    )


def sniff(head: bytes) -> str | None:
    """The photo format that a file's first bytes promise ("JPEG", "PNG", ...), or None."""
    return next((name for pattern, name in _PHOTOS if re.match(pattern, head)), None)


def load(path: str | Path, limits: PhotoLimits = LIMITS) -> bytes:
    """A photo file's bytes, at most `limits.bytes` of them.

    Raises:
        PhotoError: it is no regular file, is empty or too large.
        InputError: there is no such file, or it may not be read.
        WorldError: the disk fails.
    """
    path = Path(path)
    try:
        # A pipe or a device would block or never end, so the kind comes before opening.
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            kind = "a folder" if stat.S_ISDIR(status.st_mode) else "something that is no file"
            raise _refusal(str(path), kind, limits)
        if status.st_size > limits.bytes:
            raise _refusal(str(path), _too_many_bytes(status.st_size, limits), limits)
        with path.open("rb") as file:
            return file.read(limits.bytes + 1)
    except PermissionError as error:
        reason, remedy = "a file that may not be read", "Change its permissions."
        raise InputError(f"the photo {path}", reason, remedy) from error
    except (OSError, ValueError) as error:  # ValueError: a name that no file can have
        if isinstance(error, OSError) and error.errno not in _NOT_THERE:
            reason, remedy = error.strerror or str(error), "Check the disk and try again."
            raise WorldError(f"to read {path}", reason, remedy) from error
        named = isinstance(error, OSError) and error.errno in (errno.ENOENT, errno.ELOOP)
        reason = "a broken link" if named and path.is_symlink() else "no such file"
        raise InputError(f"the photo {path}", reason, "Correct the path.") from error


def _content(source: str | Path | bytes, limits: PhotoLimits) -> tuple[bytes, str]:
    """The bytes of `source` within the limits, and what to call it in a message."""
    if isinstance(source, bytes | bytearray | memoryview):
        content, name = bytes(source), "the file"
    else:
        content, name = load(source, limits), str(source)
    if not content:
        raise _refusal(name, "an empty file", limits)
    if len(content) > limits.bytes:
        raise _refusal(name, _too_many_bytes(len(content), limits), limits)
    if content.startswith(b"\xff\xd8") and _scans(content) > _MOST_SCANS:
        raise _refusal(name, f"a JPEG of more than {_MOST_SCANS} scans", limits)
    return content, name


def _scans(content: bytes) -> int:
    """How many scans a JPEG begins; of all pairs of bytes, those at even places and at odd ones."""
    import numpy as np

    pairs = (np.frombuffer(content, "<u2", (len(content) - k) // 2, k) for k in (0, 1))
    return sum(int(np.count_nonzero(each == 0xDAFF)) for each in pairs)


def _decode(
    content: bytes, name: str, size: int | None, limits: PhotoLimits
) -> tuple[Image.Image, tuple[int, int], str]:
    """Decodes to an RGB image; also the file's upright (width, height) and its format."""
    from PIL import Image

    # What Pillow warns of (odd tags, large photos) is decided here, by limits and by decoding.
    quiet = ("ignore", None, Warning, re.compile(r"PIL\."), 0)
    if quiet not in warnings.filters:
        warnings.filterwarnings("ignore", module=r"PIL\.")
    kind = sniff(content[:16])
    if kind is None or kind not in limits.formats:
        raise _refusal(name, f"a {kind} photo" if kind else _nature(content), limits)
    try:
        if kind == "PNG":  # Pillow compares a PNG's checksums only when asked
            with Image.open(io.BytesIO(content), formats=limits.formats) as image:
                image.verify()
        with Image.open(io.BytesIO(content), formats=limits.formats) as image:
            if reason := _unfit(image.size, kind, limits):
                raise _refusal(name, reason, limits)
            return *_upright(image, size), image.format or kind
    except PhotoError:
        raise
    except Exception as error:  # Pillow raises what it likes on damaged content
        raise _refusal(name, _damage(error, kind, limits), limits) from error


def _unfit(size: tuple[int, int], kind: str, limits: PhotoLimits) -> str:
    """Why a photo of this (width, height) is not decoded; "" when it is."""
    width, height = size
    most = limits.pixels * (_WEBP if kind == "WEBP" else 1)
    if width * height > most:
        return f"a {kind} photo of more than {most / 1e6:.4g} Mpx"
    if min(size) < limits.smallest_side:
        return f"a photo smaller than {limits.smallest_side} px ({width} x {height})"
    return ""


def _upright(image: Image.Image, size: int | None) -> tuple[Image.Image, tuple[int, int]]:
    """Decodes an opened image: RGB, upright, size x size; also its own upright (width, height)."""
    from PIL import Image

    width, height = image.size
    if size is not None:
        # A JPEG is decoded at 1/2, 1/4 or 1/8 where that leaves twice the size. Less than twice
        # would be faster and visibly coarser (2.9 grey levels off on average instead of 0.7).
        image.draft(None, (2 * size, 2 * size))
    image.load()
    turn = _TURNS.get(_orientation(image))
    if turn in _SIDEWAYS:
        width, height = height, width
    rgb = to_rgb(image, size)
    rgb = rgb if turn is None else rgb.transpose(turn)
    if size is not None and rgb.size != (size, size):
        rgb = rgb.resize((size, size), Image.Resampling.BILINEAR)
    return rgb, (width, height)


def _orientation(image: Image.Image) -> int:
    """The EXIF orientation, 1 where there is none or the EXIF block is damaged."""
    try:
        return int(image.getexif().get(0x0112, 1))
    except Exception:
        return 1


def _nature(content: bytes) -> str:
    """What a file is that is no photo, as far as its beginning tells."""
    head = content[:1024]
    named = (name for pattern, name in _SIGNATURES if re.match(pattern, head, re.DOTALL))
    return next(named, "no photo in a known format")


def _damage(error: Exception, kind: str, limits: PhotoLimits) -> str:
    from PIL import Image

    if isinstance(error, Image.DecompressionBombError):
        return f"a {kind} photo of more than {limits.pixels / 1e6:.4g} Mpx"
    if isinstance(error, MemoryError):
        return f"a {kind} photo that is too large for the memory"
    if isinstance(error, EOFError) or "truncated" in str(error).lower():
        return f"a truncated {kind} photo"
    return f"a damaged {kind} photo"


def _too_many_bytes(count: int, limits: PhotoLimits) -> str:
    return f"a file of {count / 1e6:.1f} MB, above the limit of {limits.bytes / 1e6:.1f} MB"


def _refusal(name: str, reason: str, limits: PhotoLimits) -> PhotoError:
    return PhotoError(
        f"a photo ({', '.join(limits.formats)}) in {name}",
        reason,
        "Save it again as JPEG or PNG with an image program, or leave it out.",
    )
