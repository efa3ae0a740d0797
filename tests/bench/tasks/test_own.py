from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image

from bench.cli import main
from bench.errors import BenchError
from bench.runs.store import Store
from bench.studies import preset as presets
from bench.studies.preset import FOLDER, VOC
from bench.tasks.own import OwnImages
from bench.tasks.splits import open_splits
from tests.bench.tasks.test_photo import small
from weakclip.data.formats.masks import write_mask

if TYPE_CHECKING:
    from pathlib import Path

TAGS = "file,labels\na.jpg,cat\nb.jpg,dog\nx/c.jpg,cat;dog\nd.jpg,cat\ne.jpg,dog\n"
SIZES = {"a": (70, 96), "b": (128, 80), "x/c": (200, 150), "d": (64, 64), "e": (96, 96)}


@pytest.fixture
def own(tmp_path: Path) -> OwnImages:
    """Five images of five sizes; four have a mask, cat 1 and dog 2."""
    rng = np.random.default_rng(0)
    for name, size in SIZES.items():
        path = tmp_path / "photos" / f"{name}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (*size, 3), dtype=np.uint8)).save(path)
    for name in ("a", "b", "x/c", "d"):
        mask = np.zeros(SIZES[name], np.uint8)
        mask[:30, :40] = 2 if name == "b" else 1
        path = tmp_path / "masks" / f"{name}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        write_mask(path, mask)
    (tmp_path / "labels.csv").write_text(TAGS)
    return OwnImages(
        root=tmp_path / "photos", tags=tmp_path / "labels.csv", masks=tmp_path / "masks"
    )


def names(own: OwnImages) -> dict[str, tuple[str, ...]]:
    return {role: files.names for role, files in own.splits().items()}


def test_half_of_what_has_a_mask_is_not_trained_on(own: OwnImages) -> None:
    found = names(own)
    assert len(found["val"]) == 2
    assert set(found["train"]) == {f"{name}.jpg" for name in SIZES} - set(found["val"])
    assert set(found["pseudo"]) == set(found["train"]) - {"e.jpg"}
    assert names(own) == found
    assert own.splits()["train"].classes == ("cat", "dog")


def test_images_with_a_mask_and_no_tag_are_the_ones_not_trained_on(own: OwnImages) -> None:
    assert own.tags is not None
    own.tags.write_text(TAGS.replace("b.jpg,dog", "b.jpg,"))
    found = names(own)
    assert found["val"] == ("b.jpg",)
    assert set(found["pseudo"]) == {"a.jpg", "x/c.jpg", "d.jpg"}


def test_a_list_says_what_is_not_trained_on(own: OwnImages, tmp_path: Path) -> None:
    (tmp_path / "val.txt").write_text("d\nx/c.jpg\n")
    assert set(names(replace(own, val=tmp_path / "val.txt"))["val"]) == {"d.jpg", "x/c.jpg"}
    (tmp_path / "val.txt").write_text("d\ne\nzebra\n")
    with pytest.raises(BenchError, match="2 of its images are not there or have no mask, first e;"):
        names(replace(own, val=tmp_path / "val.txt"))


def test_labels_are_counted_as_the_classes_are_listed(own: OwnImages, tmp_path: Path) -> None:
    (tmp_path / "classes.txt").write_text("dog\ncat\nsheep\n")
    splits = replace(own, classes=tmp_path / "classes.txt").splits()
    assert splits["val"].classes == ("dog", "cat", "sheep")


@pytest.mark.parametrize(
    ("mask", "message"),
    [
        (np.full((70, 96), 3, np.uint8), r"a\.jpg 3 of 0 to 2 \(with labels beyond the classes\)"),
        (np.zeros((96, 70), np.uint8), r"a\.jpg \(96, 70\) instead of \(70, 96\)"),
    ],
)
def test_masks_that_cannot_be_scored_are_refused(
    own: OwnImages, mask: np.ndarray[tuple[int, int], np.dtype[np.uint8]], message: str
) -> None:
    assert own.masks is not None
    write_mask(own.masks / "a.png", mask)
    with pytest.raises(BenchError, match=f"1 of 4 masks cannot be scored, first {message}"):
        own.splits()


def test_what_is_missing_is_said(own: OwnImages, tmp_path: Path) -> None:
    assert own.tags is not None
    with pytest.raises(BenchError, match="expected --masks"):
        replace(own, masks=None).splits()
    own.tags.write_text(TAGS + "A.JPG,cat\n")
    with pytest.raises(BenchError, match=r"1 lines .* A\.JPG: no such image; did you mean 'a\.jpg"):
        own.splits()
    own.tags.write_text("file,labels\ne.jpg,dog;cat\n")
    with pytest.raises(BenchError, match="1 have a tag and 4 a mask; at least two with both"):
        own.splits()
    with pytest.raises(BenchError, match="are of --preset folder"):
        open_splits(VOC, own, tmp_path)


@pytest.mark.slow
@pytest.mark.usefixtures("quick_draw")
def test_a_study_runs_on_somebodys_own_images(
    own: OwnImages,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setitem(presets._PRESETS, "folder", small(FOLDER))
    out = tmp_path / "results"
    words = ["run", "components", "--preset", "folder", "--data-root", str(own.root),
             "--out", str(out), "--artifacts", str(tmp_path / "artifacts"), "--workers", "1",
             "--seeds", "0", "--variants", "full", "no-co-attention"]  # fmt: skip
    assert main(words) == 2
    assert "expected --masks" in capsys.readouterr().err
    assert main([*words, "--tags", str(own.tags), "--masks", str(own.masks)]) == 0
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["failed"] == 0
    record = Store(out).read("components", "full", 0)
    assert record is not None
    assert set(record.per_class["val-network"]) == {"background", "cat", "dog"}
    assert record.provenance.data["images"] == {"train": 3, "pseudo": 2, "val": 2}
    assert record.protocol["splits"]["train-pseudo"] == "tagged with a mask"  # type: ignore[index]
    assert main(["report", "components", "--out", str(out), "--check"]) == 0
