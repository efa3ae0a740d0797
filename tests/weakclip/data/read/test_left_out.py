from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from weakclip.data.read.images import image_names
from weakclip.data.read.left_out import left_out

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@pytest.fixture
def root(tmp_path: Path, photo: Callable[..., None]) -> Path:
    photo(tmp_path / "root" / "cat" / "a.jpg")
    return tmp_path / "root"


def names(root: Path) -> list[str]:
    return [bad.name for bad in left_out(root, image_names(root))]


@pytest.mark.parametrize(
    ("name", "start", "reason"),
    [
        ("b.CR2", b"II*\0\x10\0\0\0CR", "is a camera's raw file that is not listed; develop it"),
        ("b.jxl", b"\xff\x0a", "is a JPEG XL image that is not listed; run `djxl 'b.jxl' b.png`"),
        ("b.psd", b"8BPS", "is a Photoshop file that"),
        ("b.svg", b"<?xml version='1.0'?>\n<svg>", "is an SVG drawing that"),
        ("b", b"\xff\xd8\xff\xe0", "is a JPEG image that is not listed; give it a name that ends"),
        ("b.jpg_large", b"\xff\xd8\xff\xe0", "is a JPEG image"),
        ("b.bak", b"\x89PNG\r\n\x1a\n", "is a PNG image"),
        ("b.dcm", b"", "is a DICOM image"),
        ("b.NII.gz", b"\x1f\x8b", "is a NIfTI volume"),
        ("b.hdr", b"#?RADIANCE\n", "is a Radiance HDR image"),
        ("b.ico", b"\0\0\x01\0\x01\0", "is an icon"),
        ("b.eps", b"%!PS-Adobe", "is a PostScript drawing"),
    ],
)
def test_pictures_that_are_not_listed_are_named_with_the_way_out(
    root: Path, name: str, start: bytes, reason: str
) -> None:
    (root / "cat" / name).write_bytes(start + bytes(40))
    (bad,) = left_out(root, image_names(root))
    assert bad.name == f"cat/{name}"
    assert bad.reason.startswith(reason)
    assert left_out(root, (*image_names(root), bad.name)) == ()
    assert left_out(root, image_names(root), skip=[root / "cat"]) == ()


def test_a_raw_file_beside_its_image_is_not_missed(root: Path) -> None:
    (root / "cat" / "A.NEF").write_bytes(b"")
    assert names(root) == []


def test_other_files_are_no_pictures(root: Path) -> None:
    for name in ("notes.txt", "labels.csv", "b.mp4", "b.pdf", "b.unknown", ".hidden"):
        (root / name).write_bytes(b"\0\0\0\x18ftypisom")
    os.mkfifo(root / "pipe")
    assert names(root) == []


def test_a_link_to_a_folder_elsewhere_is_named_and_a_loop_is_not(
    root: Path, tmp_path: Path
) -> None:
    (tmp_path / "elsewhere").mkdir()
    (root / "dog").symlink_to(tmp_path / "elsewhere")
    (root / "loop").symlink_to(root)
    (root / "kitten").symlink_to(root / "cat")
    assert names(root) == ["dog"]
