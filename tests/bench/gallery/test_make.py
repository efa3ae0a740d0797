"""Which images a gallery shows, what its pictures hold, and that it is what a run would give."""

from __future__ import annotations

from io import BytesIO
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from PIL import Image

from ablations.components import STUDY
from bench.errors import BenchError
from bench.gallery import make as gallery
from bench.gallery.index import FILE, FOLDER, PACKED, folder_of, pack_gallery, read_index
from bench.gallery.make import GalleryRequest, make_gallery, train_masks, typical_images
from bench.gallery.pictures import cam_picture, error_picture, image_picture, mask_picture
from bench.studies.preset import SMOKE
from bench.tasks.task import ImageWorkbench, open_workbench
from weakclip.config import WeakCLIPConfig
from weakclip.ops.confusion import class_counts

if TYPE_CHECKING:
    from pathlib import Path


def pixels(content: bytes) -> np.ndarray:
    with Image.open(BytesIO(content)) as picture:
        return np.asarray(picture.convert("RGB"))


def test_the_median_image_of_each_class_is_typical_and_stands_once() -> None:
    labels = torch.tensor([[1, 0, 0], [1, 1, 0], [1, 0, 0], [0, 1, 0]], dtype=torch.bool)
    scores = torch.tensor([0.9, 0.5, 0.1, 0.7])
    assert typical_images(scores, labels) == [1]
    assert typical_images(scores, labels[:, [0]]) == [1]
    assert typical_images(scores, labels.flip(0)) == [1, 2]


def test_pictures_show_labels_in_the_palette_and_errors_in_their_colours() -> None:
    gt = torch.tensor([[0, 1, 2, 255]])
    assert pixels(mask_picture(gt))[0].tolist()[1:] == [[128, 0, 0], [0, 128, 0], [224, 224, 192]]
    assert pixels(error_picture(gt, gt))[0, 0].tolist() == [0xD9] * 3
    wrong = pixels(error_picture(torch.tensor([[1, 0, 1, 1]]), gt))[0].tolist()
    assert wrong == [[0xDE, 0x8F, 0x05], [0x01, 0x73, 0xB2], [0xCC, 0x78, 0xBC], [255] * 3]


def test_a_strong_activation_is_lighter_than_a_weak_one() -> None:
    image = torch.full((3, 32, 32), 128, dtype=torch.uint8)
    cam = torch.zeros(2, 4, 4)
    cam[1, :, 2:] = 1
    shown = pixels(cam_picture(image, cam)).astype(int)
    assert shown.shape == (32, 32, 3)
    assert shown[:, 24:].mean() > shown[:, :8].mean() + 60
    assert abs(pixels(image_picture(image)).astype(int) - 128).max() <= 2


@pytest.fixture(scope="module")
def workbench(tmp_path_factory: pytest.TempPathFactory) -> ImageWorkbench:
    folder = tmp_path_factory.mktemp("artifacts")
    return open_workbench(SMOKE, None, torch.device("cpu"), folder)


def test_masks_are_those_of_the_run(workbench: ImageWorkbench) -> None:
    config = STUDY.reference.config
    outcome = workbench.run(config, 0, report=lambda _step, _total: None)
    assert isinstance(config, WeakCLIPConfig)
    pred = train_masks(workbench, config, 0, report=lambda *_: None)
    truth = torch.stack(workbench.scoring.truth("pseudo", range(len(pred))))
    counts = class_counts(torch.stack(pred), truth, len(workbench.class_names))
    assert np.array_equal(counts.numpy(), outcome.counts["train-pseudo"])


def test_a_gallery_is_complete_replaces_an_older_one_and_keeps_its_limit(
    workbench: ImageWorkbench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    request = GalleryRequest(study=STUDY, variants=("full",), seed=0, worst=2)
    leftover = tmp_path / FOLDER / "old.png"
    leftover.parent.mkdir()
    leftover.touch()
    index = make_gallery(request, workbench, tmp_path, report=lambda *_: None)
    assert read_index(tmp_path) == index
    assert not leftover.exists()
    packed = (tmp_path / PACKED).read_bytes()
    folder = folder_of(tmp_path)
    files = [FILE, *(name for image in index.images for name in image.files.values())]
    (tmp_path / FOLDER).mkdir()
    for name in dict.fromkeys(files):
        (tmp_path / FOLDER / name).write_bytes((folder / name).read_bytes())
    (tmp_path / PACKED).unlink()
    assert read_index(tmp_path) == index  # as earlier versions kept it
    pack_gallery(tmp_path)
    assert (read_index(tmp_path), leftover.parent.exists()) == (index, False)
    assert len((tmp_path / PACKED).read_bytes()) == len(packed)
    worst = {image.name: image.scores["full"] for image in index.images if image.why == "worst"}
    others = [image.scores["full"] for image in index.images if image.name not in worst]
    assert len(worst) == 2
    assert others
    assert max(worst.values()) <= min(others)
    monkeypatch.setattr(gallery, "LIMIT", 100)
    with pytest.raises(BenchError, match="at most 100 bytes"):
        make_gallery(request, workbench, tmp_path, report=lambda *_: None)
