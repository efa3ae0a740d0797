"""The real type of a file by its first bytes, and how to convert it to a supported image.

Photo collections contain HEIC, raw files and web pages saved in place of a picture. These are not
damaged, so the usual advice to copy them again would not help.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

IMAGE_SUFFIXES = (
    ".avif", ".bmp", ".dib", ".gif", ".heic", ".heif", ".hif", ".j2c", ".j2k", ".jfif", ".jp2",
    ".jpc", ".jpe", ".jpeg", ".jpf", ".jpg", ".jpx", ".pbm", ".pcx", ".pgm", ".png", ".pnm",
    ".ppm", ".tga", ".tif", ".tiff", ".webp",
)  # fmt: skip
"""Suffixes of files that are listed as images: formats that Pillow reads, some with a plugin."""

_CONVERT = "convert it, e.g. with `magick {name} {stem}.png`"
_HEIC = (
    "install what reads it (pip install pillow-heif; where that is, the file is damaged), or "
    "convert it, e.g. with `heif-convert {name} {stem}.jpg`"
)
_TIFF = (
    f"it is damaged, or of a kind such as several channels of floats: copy it again, or {_CONVERT}"
)
_DRAW = "draw it, e.g. with `rsvg-convert {name} -o {stem}.png`"
_RAW = "develop it, e.g. with darktable, or `dcraw -w -T {name}` for {stem}.tiff"


@dataclass(frozen=True, slots=True, kw_only=True)
class Format:
    """A type of file."""

    name: str
    """Name with its article, e.g. "a JPEG image"."""
    picture: bool
    """Whether a user may expect a mask of it."""
    advice: str = ""
    """How to convert it to a supported image; {name} and {stem} stand for those of the file. Empty
    if it is supported."""

    def advise(self, name: str) -> str:
        """The advice for a file of that name."""
        stem = PurePosixPath(name).stem
        return self.advice.replace("{name}", f"'{name}'").replace("{stem}", stem)


def _picture(name: str, advice: str = "") -> Format:
    return Format(name=name, advice=advice, picture=True)


def _other(name: str, advice: str) -> Format:
    return Format(name=name, advice=advice, picture=False)


_SIGNATURES: tuple[tuple[bytes, Format], ...] = (
    (rb"\xff\xd8\xff", _picture("a JPEG image")),
    (rb"\x89PNG\r\n\x1a\n", _picture("a PNG image")),
    (rb"GIF8[79]a", _picture("a GIF image")),
    (rb"RIFF....WEBP", _picture("a WebP image", _CONVERT)),
    (rb"(II|MM)(\x2a\0|\0\x2a|\x2b\0|\0\x2b)", _picture("a TIFF image", _TIFF)),
    (rb"BM....\0\0\0\0", _picture("a BMP image", _CONVERT)),
    (rb"\0\0\0\x0cjP  |\xff\x4f\xff\x51", _picture("a JPEG 2000 image", _CONVERT)),
    (rb"....ftypavi[fs]", _picture("an AVIF image", f"use Pillow 11.3 or later, or {_CONVERT}")),
    (rb"....ftyp(he[iv][cmsx]|mif1|msf1)", _picture("a HEIC image", _HEIC)),
    (rb"\xff\x0a|\0\0\0\x0cJXL ", _picture("a JPEG XL image", "run `djxl {name} {stem}.png`")),
    (rb"8BPS", _picture("a Photoshop file", _CONVERT)),
    (rb"v/1\x01", _picture("an OpenEXR image", _CONVERT)),
    (rb"#\?(RADIANCE|RGBE)", _picture("a Radiance HDR image", _CONVERT)),
    (rb"\0\0\x01\0", _picture("an icon", _CONVERT)),
    (rb"gimp xcf", _picture("a GIMP file", _CONVERT)),
    (rb"DDS ", _picture("a DirectDraw texture", _CONVERT)),
    (rb"SIMPLE  =", _picture("a FITS image", _CONVERT)),
    (rb"%!PS|\xc5\xd0\xd3\xc6", _picture("a PostScript drawing", _CONVERT)),
    (rb"(<\?xml.{0,200})?\s*<svg", _picture("an SVG drawing", _DRAW)),
    (rb"%PDF-", _other("a PDF", "run `pdftoppm -png {name} {stem}`")),
    (rb"....ftyp", _other("a film", "run `ffmpeg -i {name} {stem}-%d.jpg`")),
    (rb"\x93NUMPY", _other("a NumPy array", "save it as PNG, e.g. with PIL.Image.fromarray")),
    (rb"PK\x03\x04|\x1f\x8b|Rar!|7z\xbc\xaf", _other("an archive", "unpack it")),
    (rb"version https://git-lfs", _other("a pointer of Git LFS", "run `git lfs pull`")),
    (rb"\s*<(!doctype html|html|head)", _other("a web page", "fetch the picture itself")),
    (rb"\s*[{\[<]", _other("text", "fetch the picture itself")),
)  # fmt: skip
"""Patterns of the first bytes, special ones before general ones."""

_RAW_SUFFIXES = (
    ".3fr", ".arw", ".cr2", ".cr3", ".dng", ".erf", ".nef", ".nrw", ".orf", ".pef", ".raf", ".rw2",
    ".srw",
)  # fmt: skip
"""Raw files of cameras; several are TIFF files whose first image is only a thumbnail."""

_BY_SUFFIX = {
    **dict.fromkeys(_RAW_SUFFIXES, _picture("a camera's raw file", _RAW)),
    ".dcm": _picture("a DICOM image", _CONVERT),
    ".nii": _picture("a NIfTI volume", "save its slices as PNG, e.g. with nibabel and Pillow"),
}
TEXT_SUFFIXES = (
    ".csv", ".db", ".html", ".ini", ".json", ".log", ".md", ".npy", ".npz", ".py", ".toml", ".tsv",
    ".txt", ".xml", ".yaml", ".yml", ".zip",
)  # fmt: skip
"""Files that are frequent among images and are not opened when a folder is listed."""


def by_suffix(path: Path) -> Format | None:
    """The type of a file by its suffix, where the first bytes would be misleading."""
    return _BY_SUFFIX.get(Path(path.name.lower().removesuffix(".gz")).suffix)


def sniff(path: Path) -> Format | None:
    """The type of a file by its suffix or first bytes; None if unknown or not a regular file."""
    if found := by_suffix(path):
        return found
    try:
        if not path.is_file():
            return None
        with path.open("rb") as file:
            start = file.read(256)
    except OSError:
        return None
    flags = re.DOTALL | re.IGNORECASE
    return next((kind for sign, kind in _SIGNATURES if re.match(sign, start, flags)), None)
