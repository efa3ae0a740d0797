"""Files that data sets really contain, made small."""

from __future__ import annotations

import sys
from importlib import import_module
from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

if np.lib.NumpyVersion(np.__version__) < "2.0.0":  # cannot open pickles of NumPy 2 itself
    for module in ("", ".multiarray", "._multiarray_umath"):
        sys.modules.setdefault(f"numpy._core{module}", import_module(f"numpy.core{module}"))


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
