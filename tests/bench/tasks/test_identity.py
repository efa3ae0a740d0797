"""The identity of a data set: what every file holds, hashed once."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from PIL import Image

from bench.errors import BenchError
from bench.tasks.identity import FILE, Digests, content_sha256
from weakclip.data.formats.masks import write_mask
from weakclip.data.read.tagged import TaggedFiles

if TYPE_CHECKING:
    from collections.abc import Callable


@pytest.fixture
def files(tmp_path: Path) -> TaggedFiles:
    """Two images of two classes, one with a mask."""
    root = tmp_path / "images"
    root.mkdir()
    for number, name in enumerate(("a.png", "b.png")):
        Image.new("RGB", (4, 3), (number, 0, 0)).save(root / name)
    write_mask(tmp_path / "a.png", np.zeros((3, 4), dtype=np.uint8))
    return TaggedFiles(
        root=root,
        names=("a.png", "b.png"),
        classes=("cat", "dog"),
        tags=np.array([[True, False], [False, True]]),
        masks=(tmp_path / "a.png", None),
    )


def identity(files: TaggedFiles) -> str:
    return content_sha256(files, Digests(files.root.parent / "artifacts"))


def later(path: Path) -> None:
    """Move the time of change of a file that was written within the clock's step."""
    os.utime(path, ns=(0, path.stat().st_mtime_ns + 1_000_000))


def test_images_tags_and_masks_make_the_identity(files: TaggedFiles) -> None:
    first = identity(files)
    assert first == identity(files)
    tags = files.tags.copy()
    tags[0, 1] = True
    assert first != identity(replace(files, tags=tags))
    assert first != identity(replace(files, classes=("cat", "cow")))
    assert first != identity(replace(files, masks=(None, None)))
    changes: dict[Path, Callable[[Path], Any]] = {
        files.root / "b.png": lambda path: Image.new("RGB", (4, 3), (9, 0, 0)).save(path),
        files.root.parent / "a.png": lambda path: write_mask(path, np.ones((3, 4), dtype=np.uint8)),
    }
    for path, change in changes.items():
        kept = path.read_bytes()
        change(path)
        later(path)
        assert first != identity(files), path
        path.write_bytes(kept)
        later(path)
        assert first == identity(files), path


def test_files_are_hashed_once(files: TaggedFiles, monkeypatch: pytest.MonkeyPatch) -> None:
    first = identity(files)
    opened: list[Path] = []
    real = Path.open

    def counted(path: Path, *args: Any, **more: Any) -> Any:  # noqa: ANN401
        opened.append(path)
        return real(path, *args, **more)

    monkeypatch.setattr(Path, "open", counted)
    assert identity(files) == first
    assert not [path for path in opened if path.suffix == ".png"]
    later(files.root / "b.png")
    assert identity(files) == first
    assert [path.name for path in opened if path.suffix == ".png"] == ["b.png"]


@pytest.mark.parametrize("content", ["", "[]", '{"x', "{}"])
def test_what_is_kept_may_be_damaged(files: TaggedFiles, content: str) -> None:
    first = identity(files)
    (files.root.parent / "artifacts" / FILE).write_text(content)
    assert identity(files) == first


def test_a_missing_image_is_said(files: TaggedFiles) -> None:
    (files.root / "b.png").unlink()
    with pytest.raises(BenchError, match=r"b\.png.*the data set is not whole"):
        identity(files)
