from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch

from weakclip.data.read.tagged import TaggedFiles, labels_array, relative_name

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@pytest.mark.parametrize(
    "name", ["", ".", "/a.jpg", "../a.jpg", "a/../../b.jpg", "a/..", "a\0.jpg"]
)
def test_names_that_lead_out_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match=r"list\.txt:3: expected a path below"):
        relative_name(name, "list.txt:3")


@pytest.mark.parametrize("name", ["a.jpg", "sub/ä b.jpg", "..a.jpg", "a..b/c.jpg"])
def test_names_that_stay_inside_are_kept(name: str) -> None:
    assert relative_name(name, "list.txt:3") == name


def test_a_tag_that_is_no_class_is_an_error() -> None:
    with pytest.raises(KeyError):
        labels_array([["owl"]], ["cat"])


def test_a_linked_root_is_no_way_out_but_a_linked_file_is(
    tmp_path: Path, photo: Callable[..., None]
) -> None:
    photo(tmp_path / "real" / "a.png")
    photo(tmp_path / "b.png")
    (tmp_path / "link").symlink_to(tmp_path / "real")
    (tmp_path / "real" / "b.png").symlink_to(tmp_path / "b.png")
    (tmp_path / "real" / "c.png").symlink_to("a.png")
    files = TaggedFiles(
        root=tmp_path / "link",
        names=("a.png", "b.png", "c.png"),
        classes=(),
        tags=np.zeros((3, 0), np.bool_),
        masks=(None, None, None),
    )
    assert torch.equal(files.image(0), files.image(2))
    with pytest.raises(ValueError, match="leads out of"):
        files.image(1)
