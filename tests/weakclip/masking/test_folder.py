from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image

from weakclip.data.read.folder import list_folder
from weakclip.masking.folder import ResultFolder, write_preview

if TYPE_CHECKING:
    from pathlib import Path


def test_images_of_one_base_name_in_different_folders_have_masks_of_their_own(
    tmp_path: Path, photos: Path
) -> None:
    for name in ("one", "two"):
        (photos / name).mkdir()
        Image.new("RGB", (8, 6)).save(photos / name / "a.jpg")
    files = list_folder(photos)
    folder = ResultFolder(tmp_path / "out", files)
    places = [folder.mask(index).relative_to(folder.root).as_posix() for index in range(len(files))]
    assert {"masks/one/a.png", "masks/two/a.png"} <= set(places)
    assert len(set(places)) == len(files)


def test_a_preview_tints_classes_and_outlines_them(tmp_path: Path) -> None:
    labels = np.zeros((64, 64), dtype=np.uint8)
    labels[16:48, 16:48] = 2
    grey = np.full((32, 32, 3), 100, dtype=np.uint8)
    write_preview(tmp_path / "sub" / "x.jpg", labels, grey)
    with Image.open(tmp_path / "sub" / "x.jpg") as image:
        pixels = np.asarray(image).astype(int)
    assert abs(pixels[2, 2] - 100).max() < 8
    assert abs(pixels[16, 16] - [45, 115, 45]).max() < 8  # 0.45 grey + 0.55 (0, 128, 0)
    assert pixels[8, 16].min() > 200
    assert [path.name for path in (tmp_path / "sub").iterdir()] == ["x.jpg"]


def test_places_where_results_must_not_lie_are_refused(photos: Path, tmp_path: Path) -> None:
    files = list_folder(photos)
    with pytest.raises(ValueError, match="lies in the folder of the images"):
        ResultFolder(photos / "out", files)
    (tmp_path / "file").touch()
    with pytest.raises(ValueError, match="got a file"):
        ResultFolder(tmp_path / "file", files)


def test_a_damaged_record_is_told(photos: Path, tmp_path: Path) -> None:
    folder = ResultFolder(tmp_path / "out", list_folder(photos))
    assert folder.read_run() is None
    folder.write_run({"id": "a"})
    assert folder.read_run() == {"id": "a"}
    (tmp_path / "out" / "run.json").write_text("{")
    with pytest.raises(ValueError, match=r"run.json: damaged"):
        folder.read_run()
