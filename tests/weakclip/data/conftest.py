"""Files that data sets really contain, made small."""

from __future__ import annotations

import struct
import zlib
from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def _chunk(kind: bytes, content: bytes) -> bytes:
    checksum = struct.pack(">I", zlib.crc32(kind + content))
    return struct.pack(">I", len(content)) + kind + content + checksum


@pytest.fixture
def bomb() -> Callable[[Path], None]:
    """Writes a 20,000 x 20,000 PNG of 49 kB."""

    def write(path: Path) -> None:
        header = struct.pack(">IIBBBBB", 20000, 20000, 1, 0, 0, 0, 0)
        rows = zlib.compress(bytes(2501 * 20000), 1)
        chunks = (_chunk(b"IHDR", header), _chunk(b"IDAT", rows), _chunk(b"IEND", b""))
        path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(chunks))

    return write


@pytest.fixture
def photo() -> Callable[..., None]:
    """Writes a colour picture of (H, W), by default 6 x 8; another seed is another picture."""

    def write(path: Path, *, size: tuple[int, int] = (6, 8), seed: int = 0) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = np.random.default_rng(seed).integers(0, 256, (*size, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(path)

    return write


@pytest.fixture
def bad_files(
    tmp_path: Path, bomb: Callable[[Path], None], photo: Callable[..., None]
) -> tuple[Path, tuple[str, ...]]:
    """A folder of two good images, one with a difficult name, and one of each bad kind."""
    root = tmp_path / "bad files"
    photo(root / "good.jpg")
    photo(root / "ünï cödé" / "a b.png", seed=1)
    whole = (root / "good.jpg").read_bytes()
    (root / "cut.jpg").write_bytes(whole[: len(whole) // 2])
    (root / "empty.jpg").write_bytes(b"")
    (root / "folder.jpg").mkdir()
    (root / "loop.jpg").symlink_to("pool.jpg")
    (root / "pool.jpg").symlink_to("loop.jpg")
    (tmp_path / "secret.png").write_bytes((root / "ünï cödé" / "a b.png").read_bytes())
    (root / "secret.png").symlink_to(tmp_path / "secret.png")
    (root / "ünï cödé" / "again").symlink_to(root)
    bomb(root / "bomb.png")
    bad = ("bomb.png", "cut.jpg", "empty.jpg", "folder.jpg", "loop.jpg", "pool.jpg", "secret.png")
    return root, bad
