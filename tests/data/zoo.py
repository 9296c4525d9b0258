"""A zoo of odd image files, made on the fly, each with its plain twin or why it is refused.

Not a test itself: the reader, the command line and the page are shown the same animals.
"""

import io
import struct
import zipfile
import zlib
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageCms, ImageDraw

WIDTH, HEIGHT = 96, 72


class Animal(NamedTuple):
    """One odd file.

    Exactly one of `twin` and `refusal` is set: the plain photo that the file must be read as,
    uint8 [height, width, 3], or a word of the reason for which it is refused.
    """

    name: str
    content: bytes
    twin: np.ndarray | None = None
    refusal: str | None = None
    tolerance: float = 0.0  # grey levels, mean absolute difference: what lossy formats cost


def zoo() -> dict[str, list[Animal]]:
    """All animals by cage, the same at each call; about 200."""
    photo = scene()
    return {cage.__name__: list(cage(photo)) for cage in CAGES}


def scene(width: int = WIDTH, height: int = HEIGHT) -> Image.Image:
    """A photo that looks different from every side: a disc and a bar on a slope of colours."""
    x, y = np.meshgrid(np.linspace(0, 1, width), np.linspace(0, 1, height))
    slope = np.stack([60 + 150 * x, 200 - 120 * y, 90 + 60 * x * y], axis=-1)
    photo = Image.fromarray(slope.astype(np.uint8))
    pen = ImageDraw.Draw(photo)
    pen.ellipse((width * 0.1, height * 0.1, width * 0.4, height * 0.5), fill=(240, 220, 40))
    pen.rectangle((width * 0.5, height * 0.7, width * 0.95, height * 0.8), fill=(30, 40, 160))
    return photo


def save(photo: Image.Image, kind: str, **options: object) -> bytes:
    file = io.BytesIO()
    photo.save(file, kind, **options)
    return file.getvalue()


def rgb(photo: Image.Image) -> np.ndarray:
    return np.asarray(photo.convert("RGB"))


def grey(photo: Image.Image) -> np.ndarray:
    return rgb(photo.convert("L"))


# --- what must be read ------------------------------------------------------------------------


def formats(photo: Image.Image) -> Iterator[Animal]:
    twin = rgb(photo)
    for kind, options in {
        "PNG": {},
        "BMP": {},
        "TIFF": {},
        "WEBP": {"lossless": True},
    }.items():
        yield Animal(f"plain {kind}", save(photo, kind, **options), twin)
    for compression in ("tiff_lzw", "tiff_deflate", "packbits"):
        content = save(photo, "TIFF", compression=compression)
        yield Animal(f"TIFF {compression}", content, twin)
    yield Animal("TIFF jpeg", save(photo, "TIFF", compression="jpeg", quality=95), twin, None, 4)
    yield Animal("TIFF big", save(photo, "TIFF", big_tiff=True), twin)
    yield Animal("WebP lossy", save(photo, "WEBP", quality=95), twin, None, 4)
    yield Animal("GIF of 256 colours", save(photo.quantize(256), "GIF"), twin, None, 6)
    for name, options in {
        "baseline": {},
        "progressive": {"progressive": True},
        "optimised": {"optimize": True},
        "with restart markers": {"restart_marker_rows": 1},
        "4:4:4": {"subsampling": 0},
        "4:2:2": {"subsampling": 1},
    }.items():
        yield Animal(f"JPEG {name}", save(photo, "JPEG", quality=95, **options), twin, None, 4)
    other = photo.transpose(Image.Transpose.ROTATE_180)
    content = save(photo, "MPO", save_all=True, append_images=[other], quality=95)
    yield Animal("MPO of two photos", content, twin, None, 4)
    yield Animal(
        "JPEG of 4 Mpx", save(photo.resize((2304, 1728)), "JPEG"), twin_of_large(), None, 4
    )
    yield Animal("PNG of 4 Mpx", save(photo.resize((2304, 1728)), "PNG"), twin_of_large(), None, 0)


def twin_of_large() -> np.ndarray:
    return rgb(scene().resize((2304, 1728)))


def orientations(photo: Image.Image) -> Iterator[Animal]:
    """All eight ways to hold a camera: the stored photo is turned, the tag says how."""
    undo = {
        1: None,
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }
    for orientation, turn in undo.items():
        stored = photo if turn is None else photo.transpose(turn)
        exif = Image.Exif()
        exif[0x0112] = orientation
        for kind, options, tolerance in (
            ("JPEG", {"quality": 95, "subsampling": 0}, 3),
            ("PNG", {}, 0),
            ("TIFF", {}, 0),
            ("WEBP", {"lossless": True}, 0),
        ):
            content = save(stored, kind, exif=exif, **options)
            yield Animal(f"{kind} held {orientation}", content, rgb(photo), None, tolerance)


def modes(photo: Image.Image) -> Iterator[Animal]:
    twin = rgb(photo)
    yield Animal("JPEG grey", save(photo.convert("L"), "JPEG", quality=95), grey(photo), None, 3)
    yield Animal("PNG grey", save(photo.convert("L"), "PNG"), grey(photo))
    yield Animal("BMP grey", save(photo.convert("L"), "BMP"), grey(photo))
    yield Animal("TIFF CMYK", save(photo.convert("CMYK"), "TIFF"), twin, None, 1)
    yield Animal("JPEG CMYK", save(photo.convert("CMYK"), "JPEG", quality=95), twin, None, 5)
    yield Animal("JPEG YCCK", ycck(photo), twin, None, 5)
    yield Animal("TIFF YCbCr", save(photo.convert("YCbCr"), "TIFF"), twin, None, 2)
    yield Animal("TIFF LAB", save(to_lab(photo), "TIFF"), twin, None, 3)
    for colours in (2, 4, 16, 256):
        few = photo.quantize(colours)
        yield Animal(f"PNG palette of {colours}", save(few, "PNG"), rgb(few))
        yield Animal(f"BMP palette of {colours}", save(few, "BMP"), rgb(few))
        yield Animal(f"GIF palette of {colours}", save(few, "GIF"), rgb(few))
    one_bit = photo.convert("1")
    for kind in ("PNG", "BMP", "TIFF", "GIF"):
        yield Animal(f"{kind} of 1 bit", save(one_bit, kind), rgb(one_bit))
    yield Animal("TIFF fax", save(one_bit, "TIFF", compression="group4"), rgb(one_bit))


def deep(photo: Image.Image) -> Iterator[Animal]:
    """More than 8 bits a channel."""
    light = np.asarray(photo.convert("L"))
    sixteen = light.astype(np.uint16) * 257
    twin = grey(photo)
    yield Animal("PNG grey of 16 bits", save(Image.fromarray(sixteen), "PNG"), twin)
    yield Animal("TIFF grey of 16 bits", save(Image.fromarray(sixteen), "TIFF"), twin)
    big_endian = Image.frombytes("I;16B", photo.size, sixteen.astype(">u2").tobytes())
    yield Animal("TIFF grey of 16 bits, big-endian", save(big_endian, "TIFF"), twin)
    yield Animal("PNG RGB of 16 bits", png(rgb(photo), depth=16), rgb(photo))
    full = np.full((HEIGHT, WIDTH, 1), 255, np.uint8)
    opaque = np.concatenate([rgb(photo), full], axis=-1)
    yield Animal("PNG RGBA of 16 bits", png(opaque, depth=16), rgb(photo))
    for name, values in {
        "float 0 to 1": light.astype(np.float32) / 255,
        "float 0 to 255": light.astype(np.float32),
        "float 0 to 65535": light.astype(np.float32) * 257,
        "int32 0 to 255": light.astype(np.int32),
        "int32 0 to 65535": light.astype(np.int32) * 257,
    }.items():
        yield Animal(f"TIFF {name}", save(Image.fromarray(values), "TIFF"), twin)
    holes = light.astype(np.float32)
    holes[0, :4] = np.nan, np.inf, -np.inf, 0
    filled = light.copy()
    filled[0, :4] = 0
    content = save(Image.fromarray(holes), "TIFF")
    yield Animal("TIFF float with NaN", content, rgb(Image.fromarray(filled)))


def transparent(photo: Image.Image) -> Iterator[Animal]:
    """What is transparent shows white."""
    veil = np.tile(np.linspace(0, 255, WIDTH).astype(np.uint8), (HEIGHT, 1))
    alpha = Image.fromarray(veil)
    white = Image.new("RGB", photo.size, "white")
    through = rgb(Image.composite(photo, white, alpha))
    through_grey = rgb(Image.composite(photo.convert("L").convert("RGB"), white, alpha))
    veiled = photo.copy()
    veiled.putalpha(alpha)
    veiled_grey = photo.convert("L")
    veiled_grey.putalpha(alpha)
    yield Animal("PNG RGBA", save(veiled, "PNG"), through, None, 1)
    yield Animal("TIFF RGBA", save(veiled, "TIFF"), through, None, 1)
    yield Animal("WebP RGBA", save(veiled, "WEBP", lossless=True, exact=True), through, None, 1)
    yield Animal("PNG grey and alpha", save(veiled_grey, "PNG"), through_grey, None, 1)
    yield Animal("TIFF grey and alpha", save(veiled_grey, "TIFF"), through_grey, None, 1)

    few = photo.quantize(16)
    places = np.asarray(few)
    one_hole = np.where((places == 3)[..., None], 255, rgb(few)).astype(np.uint8)
    for kind in ("PNG", "GIF"):
        yield Animal(f"{kind} palette, one clear", save(few, kind, transparency=3), one_hole)
    levels = bytes(17 * n for n in range(16))
    weights = np.array(list(levels))[places][..., None] / 255
    blend = rgb(few) * weights + 255 * (1 - weights)
    content = save(few, "PNG", transparency=levels)
    yield Animal("PNG palette, many clear", content, blend.round().astype(np.uint8), None, 1)
    key = tuple(int(value) for value in rgb(photo)[40, 40])
    keyed = np.where((rgb(photo) == key).all(-1, keepdims=True), 255, rgb(photo))
    content = save(photo, "PNG", transparency=key)
    yield Animal("PNG with a clear colour", content, keyed.astype(np.uint8))


def animated(photo: Image.Image) -> Iterator[Animal]:
    """Of an animation the first frame counts."""
    others = [photo.transpose(Image.Transpose.ROTATE_180), Image.new("RGB", photo.size, "red")]
    for kind, options, tolerance in (
        ("GIF", {}, 8),
        ("WEBP", {"lossless": True}, 0),
        ("PNG", {}, 0),
        ("TIFF", {}, 0),
    ):
        content = save(photo, kind, save_all=True, append_images=others, **options)
        yield Animal(f"{kind} of three frames", content, rgb(photo), None, tolerance)


def profiles(photo: Image.Image) -> Iterator[Animal]:
    twin = rgb(photo)
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    swapped = srgb.replace(b"rXYZ", b"?XYZ").replace(b"bXYZ", b"rXYZ").replace(b"?XYZ", b"bXYZ")
    backwards = Image.fromarray(np.ascontiguousarray(twin[..., ::-1]))
    for kind in ("PNG", "TIFF"):
        yield Animal(f"{kind} with an sRGB profile", save(photo, kind, icc_profile=srgb), twin)
        content = save(backwards, kind, icc_profile=swapped)
        yield Animal(f"{kind} with a profile that swaps red and blue", content, twin, None, 2)
    jpeg = save(backwards, "JPEG", quality=95, subsampling=0, icc_profile=swapped)
    yield Animal("JPEG with a profile that swaps red and blue", jpeg, twin, None, 4)
    for name, profile in {
        "damaged": srgb[:200],
        "empty": b"\0" * 128,
        "noise": bytes(range(256)) * 4,
    }.items():
        content = save(photo, "PNG", icc_profile=profile)
        yield Animal(f"PNG with a profile that is {name}", content, twin)
    content = save(photo.convert("L"), "PNG", icc_profile=srgb)
    yield Animal("PNG grey with an RGB profile", content, grey(photo), None, 1)
    content = save(photo.convert("CMYK"), "TIFF", icc_profile=srgb)
    yield Animal("TIFF CMYK with an RGB profile", content, twin, None, 1)


def baggage(photo: Image.Image) -> Iterator[Animal]:
    """What else a photo may carry, before, within and behind its pixels."""
    twin = rgb(photo)
    jpeg = save(photo, "JPEG", quality=95)
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("canary.txt", "sings")
    yield Animal("JPEG that is a ZIP too", jpeg + packed.getvalue(), twin, None, 4)
    yield Animal("JPEG with a page behind it", jpeg + b"<script>alert(1)</script>", twin, None, 4)
    yield Animal(
        "JPEG with a long comment", save(photo, "JPEG", comment=b"c" * 60_000), twin, None, 4
    )
    exif = Image.Exif()
    exif[0x010E] = "d" * 60_000
    yield Animal("JPEG with a long EXIF", save(photo, "JPEG", quality=95, exif=exif), twin, None, 4)
    for name, block in {
        "noise": b"Exif\0\0" + bytes(range(200)),
        "cut short": b"Exif\0\0II*\0\x08\0\0\0\x05\0\x12\x01",
        "a loop": b"Exif\0\0II*\0\x08\0\0\0\x01\0\x69\x87\x04\0\x01\0\0\0\x08\0\0\0\x08\0\0\0",
    }.items():
        segment = b"\xff\xe1" + struct.pack(">H", len(block) + 2) + block
        yield Animal(f"JPEG whose EXIF is {name}", jpeg[:2] + segment + jpeg[2:], twin, None, 4)
    exif = Image.Exif()
    exif[0x0112] = 77
    yield Animal("JPEG held 77", save(photo, "JPEG", quality=95, exif=exif), twin, None, 4)
    plain = save(photo, "PNG")
    yield Animal("PNG with a text", insert(plain, b"tEXt", b"Comment\0" + b"t" * 1000), twin)
    yield Animal("PNG with an unknown chunk", insert(plain, b"flOw", b"er" * 100), twin)
    yield Animal("PNG with a page behind it", plain + b"<html>", twin)
    yield Animal(
        "GIF with noise behind it", save(photo.quantize(256), "GIF") + b"\0" * 99, twin, None, 6
    )


def elongated(_: Image.Image) -> Iterator[Animal]:
    long = scene(65_500, 20)
    yield Animal("JPEG 65,500 px wide", save(long, "JPEG", quality=95), rgb(long), None, 5)
    yield Animal("PNG 65,500 px wide", save(long, "PNG"), rgb(long))
    high = scene(20, 30_000)
    yield Animal("PNG 30,000 px high", save(high, "PNG"), rgb(high))
    yield Animal("PNG 65,500 x 1", save(scene(65_500, 1), "PNG"), refusal="smaller than 16 px")
    yield Animal("PNG 1 x 1", save(Image.new("RGB", (1, 1)), "PNG"), refusal="smaller than 16 px")
    yield Animal("GIF 1 x 1", save(Image.new("L", (1, 1)), "GIF"), refusal="smaller than 16 px")
    yield Animal("JPEG 15 x 80", save(scene(15, 80), "JPEG"), refusal="smaller than 16 px")


# --- what must be refused ---------------------------------------------------------------------


def truncated(photo: Image.Image) -> Iterator[Animal]:
    for kind, options in {
        "JPEG": {"quality": 90},
        "progressive JPEG": {"quality": 90, "progressive": True},
        "PNG": {},
        "WEBP": {"lossless": True},
        "BMP": {},
        "TIFF": {},
        "GIF": {},
    }.items():
        content = save(photo, kind.split()[-1], **options)
        points = range(1, 11) if kind in ("JPEG", "PNG") else (3, 6, 9)
        for point in points:
            name = f"{kind} cut at {point} of 11"
            yield Animal(name, content[: len(content) * point // 11], refusal="photo")


def bombs(_: Image.Image) -> Iterator[Animal]:
    def header(width: int, height: int) -> bytes:
        return struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)

    zeros = zlib.compress(bytes(1_000_000), 9)
    for name, (width, height) in {
        "121 Mpx": (11_000, 11_000),
        "1 Gpx": (32_000, 32_000),
        "4 Epx": (2**31 - 1, 2**31 - 1),
    }.items():
        content = chunks((b"IHDR", header(width, height)), (b"IDAT", zeros), (b"IEND", b""))
        yield Animal(
            f"PNG bomb of {name}", content, refusal="Mpx" if width < 2**31 - 1 else "photo"
        )
    small = scene(20, 20)
    jpeg = bytearray(save(small, "JPEG"))
    frame = jpeg.index(b"\xff\xc0")
    jpeg[frame + 5 : frame + 9] = struct.pack(">HH", 65_500, 65_500)
    yield Animal("JPEG bomb of 4 Gpx", bytes(jpeg), refusal="Mpx")
    gif = bytearray(save(small, "GIF"))
    gif[6:10] = struct.pack("<HH", 65_535, 65_535)
    yield Animal("GIF bomb of 4 Gpx", bytes(gif), refusal="Mpx")
    bmp = bytearray(save(small, "BMP"))
    bmp[18:26] = struct.pack("<ii", 40_000, 40_000)
    yield Animal("BMP bomb of 2 Gpx", bytes(bmp), refusal="Mpx")
    webp = b"WEBPVP8X" + struct.pack("<IB3x", 10, 0) + b"\xff\x3f\0\xff\x3f\0"
    webp = b"RIFF" + struct.pack("<I", len(webp)) + webp
    yield Animal("WebP bomb of 268 Mpx", webp, refusal="WEBP")
    size = struct.pack("<HHI", 256, 4, 1) + struct.pack("<I", 50_000)
    size += struct.pack("<HHI", 257, 4, 1) + struct.pack("<I", 50_000)
    tiff = b"II*\0\x08\0\0\0" + struct.pack("<H", 2) + size + bytes(4)
    yield Animal("TIFF bomb of 2 Gpx", tiff, refusal="photo")
    plain = save(scene(), "PNG")
    text = zlib.compress(bytes(100_000_000), 9)
    yield Animal("PNG zTXt bomb", insert(plain, b"zTXt", b"Comment\0\0" + text), refusal="PNG")
    international = b"Comment\0\1\0\0\0" + text
    yield Animal("PNG iTXt bomb", insert(plain, b"iTXt", international), refusal="PNG")
    scans = save(scene(), "JPEG", progressive=True)
    start = scans.rindex(b"\xff\xda")
    yield Animal(
        "JPEG of 5,000 scans", scans[:-2] + scans[start:-2] * 5_000 + b"\xff\xd9", refusal="scans"
    )


def damaged(photo: Image.Image) -> Iterator[Animal]:
    plain = save(photo, "PNG")
    spoiled = bytearray(plain)
    spoiled[len(plain) // 2] ^= 0xFF
    yield Animal("PNG with a wrong checksum", bytes(spoiled), refusal="damaged PNG")
    yield Animal("PNG of 0 x 0", resized_png(0, 0), refusal="photo")
    yield Animal("PNG without pixels", plain[:33] + plain[-12:], refusal="PNG")
    yield Animal("PNG signature alone", plain[:8], refusal="damaged PNG")
    yield Animal("JPEG start alone", b"\xff\xd8\xff", refusal="damaged JPEG")
    yield Animal("JPEG start, then noise", b"\xff\xd8\xff" + bytes(range(256)) * 9, refusal="JPEG")
    yield Animal("GIF start alone", b"GIF89a", refusal="GIF")
    yield Animal("GIF without a frame", save(photo.quantize(4), "GIF")[:13] + b";", refusal="GIF")
    yield Animal("GIF that is a script", b"GIF89a/*" + b"*/=1;alert(1)" * 9, refusal="GIF")
    yield Animal("BMP start alone", b"BM", refusal="BMP")
    yield Animal("TIFF whose list loops", b"II*\0\x08\0\0\0\0\0\x08\0\0\0", refusal="TIFF")
    yield Animal("TIFF that lists beyond its end", b"MM\0*\xff\xff\xff\xff", refusal="TIFF")
    yield Animal("WebP start alone", b"RIFF\x10\0\0\0WEBPVP8 ", refusal="WEBP")


def impostors(_: Image.Image) -> Iterator[Animal]:
    """Files of other kinds that are named as photos."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("photo.jpg", "not one")
    box = struct.pack(">I", 24) + b"ftyp"
    for name, content, refusal in (
        ("nothing", b"", "an empty file"),
        ("SVG", b'<svg xmlns="http://www.w3.org/2000/svg"/>', "an SVG drawing"),
        ("SVG in XML", b'<?xml version="1.0"?>\n<!-- x -->\n<svg/>', "an SVG drawing"),
        ("HTML", b"<!DOCTYPE html><html></html>", "an HTML page"),
        ("HTML, small letters", b"\n <html><body>404</body></html>", "an HTML page"),
        ("PDF", b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n", "a PDF document"),
        ("ZIP", packed.getvalue(), "a ZIP archive"),
        ("gzip", b"\x1f\x8b\x08\0\0\0\0\0", "an archive"),
        ("HEIC", box + b"heic\0\0\0\0mif1heic", "a HEIC photo"),
        ("AVIF", box + b"avif\0\0\0\0avifmif1", "an AVIF photo"),
        ("MP4", box + b"isom\0\0\0\0isomiso2", "a video"),
        ("JPEG 2000", b"\0\0\0\x0cjP  \r\n\x87\n", "a JPEG 2000 photo"),
        ("Photoshop", b"8BPS\0\x01", "a Photoshop document"),
        ("icon", save(scene(32, 32), "ICO"), "an icon"),
        ("text", b"this is not a photo\n", "a text"),
        ("LFS pointer", b"version https://git-lfs.github.com/spec/v1\n", "a Git LFS pointer"),
        ("noise", bytes(np.random.default_rng(0).integers(0, 256, 999, np.uint8)), "no photo"),
        ("zeros", bytes(5_000), "no photo"),
        ("PPM", save(scene(), "PPM"), "no photo"),
        ("TGA", save(scene(), "TGA"), "no photo"),
        ("PostScript", b"%!PS-Adobe-3.0 EPSF-3.0\n", "a text"),
        ("pickle", b"\x80\x04\x95\x1e\0\0\0\0\0\0\0", "no photo"),
    ):
        yield Animal(f"{name} named .jpg", content, refusal=refusal)


# --- makers -----------------------------------------------------------------------------------


def chunks(*parts: tuple[bytes, bytes]) -> bytes:
    """A PNG file of the given chunks."""
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in parts
    )


def insert(png_file: bytes, kind: bytes, data: bytes) -> bytes:
    """A PNG file with one chunk more, right behind its header."""
    return png_file[:33] + chunks((kind, data))[8:] + png_file[33:]


def png(pixels: np.ndarray, depth: int) -> bytes:
    """A PNG file of 8- or 16-bit RGB or RGBA; Pillow writes no 16-bit colour."""
    height, width, channels = pixels.shape
    samples = pixels.astype(">u2") * 257 if depth == 16 else pixels
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in samples)
    header = struct.pack(">IIBBBBB", width, height, depth, {3: 2, 4: 6}[channels], 0, 0, 0)
    return chunks((b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b""))


def resized_png(width: int, height: int) -> bytes:
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return chunks((b"IHDR", header), (b"IDAT", zlib.compress(b"")), (b"IEND", b""))


def ycck(photo: Image.Image) -> bytes:
    """An Adobe YCCK JPEG, as printers make them; Pillow reads but does not write them.

    YCCK is the YCbCr of the inverted colours beside an inverted black; Pillow inverts when it
    writes four channels, and the Adobe segment's last byte says what they mean.
    """
    inverted = Image.fromarray(255 - rgb(photo)).convert("YCbCr")
    black = Image.new("L", photo.size, 255)
    stored = Image.merge(
        "CMYK", [band.point(lambda v: 255 - v) for band in (*inverted.split(), black)]
    )
    content = bytearray(save(stored, "JPEG", quality=95, subsampling=0))
    content[content.index(b"Adobe") + 11] = 2
    return bytes(content)


def to_lab(photo: Image.Image) -> Image.Image:
    profiles = ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB")
    return ImageCms.applyTransform(photo, ImageCms.buildTransform(*profiles, "RGB", "LAB"))


CAGES = (
    *(formats, orientations, modes, deep, transparent, animated, profiles, baggage, elongated),
    *(truncated, bombs, damaged, impostors),
)
