from __future__ import annotations

from dataclasses import replace
from io import BytesIO
from typing import TYPE_CHECKING

import pytest
from PIL import Image

from bench.errors import BenchError
from bench.gallery.index import FOLDER, GalleryIndex, Shown
from bench.report.figures.strip import main, strip

if TYPE_CHECKING:
    from pathlib import Path


def gallery(root: Path) -> GalleryIndex:
    (root / FOLDER).mkdir(parents=True)
    files = {}
    for number, key in enumerate(("image", "cam", "seed", "mask-full", "gt")):
        files[key] = f"a-{key}.png"
        Image.new("RGB", (16, 16), (50 * number, 0, 0)).save(root / FOLDER / files[key])
    shown = Shown(name="a", why="typical", tags=("cat", "dog"), scores={"full": 0.5}, files=files)
    return GalleryIndex(
        study="components", variants=("full",), seed=0, preset="cartoon", split="train",
        commit="0", dirty=False, images=(shown, replace(shown, why="worst")),
    )  # fmt: skip


def test_a_strip_has_a_row_for_each_typical_image(tmp_path: Path) -> None:
    index = gallery(tmp_path)
    one = Image.open(BytesIO(strip(tmp_path, index)))
    two = Image.open(BytesIO(strip(tmp_path, replace(index, images=2 * index.images))))
    assert one.width == two.width
    assert one.height < two.height
    assert strip(tmp_path, index) == strip(tmp_path, index)


def test_without_a_typical_image_there_is_no_strip(tmp_path: Path) -> None:
    index = gallery(tmp_path)
    with pytest.raises(BenchError, match="expected a gallery with typical images"):
        strip(tmp_path, replace(index, images=index.images[1:]))


def test_without_a_gallery_the_command_says_how_to_make_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        main(["--results", str(tmp_path)])
    assert "`python -m bench gallery` makes one" in capsys.readouterr().err
