from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
import torch

from weakclip.data.formats.masks import write_mask
from weakclip.data.read.folder import list_folder
from weakclip.data.read.images import read_rgb
from weakclip.data.read.tagged import BadImage, list_sha256

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from weakclip.stages.protocols import TaggedImages


@pytest.fixture
def root(tmp_path: Path, photo: Callable[..., None]) -> Path:
    for seed, name in enumerate(("b.jpg", "a.jpg", "sub/a.jpg", "sub/c d.png")):
        photo(tmp_path / name, seed=seed)
    return tmp_path


def write_csv(root: Path, text: str, encoding: str = "utf-8") -> None:
    (root / "labels.csv").write_bytes(text.encode(encoding))


def test_a_csv_gives_order_and_tags(root: Path) -> None:
    write_csv(root, 'file,labels\nb.jpg,dog;traffic light\nsub/c d.png,"dog, cat"\na.jpg,cat|dog\n')
    files = list_folder(root)
    assert files.names == ("b.jpg", "sub/c d.png", "a.jpg", "sub/a.jpg")
    assert files.classes == ("cat", "dog", "traffic light")
    assert files.image_labels.int().tolist() == [[0, 1, 1], [1, 1, 0], [1, 1, 0], [0, 0, 0]]
    assert files.sha256 == list_sha256(files.names)
    assert not files.problems


def test_a_reader_is_what_methods_are_fitted_on(root: Path) -> None:
    write_csv(root, "file,labels\nb.jpg,dog\n")
    data: TaggedImages = list_folder(root)
    assert len(data) == 4
    assert data.image_labels.dtype == torch.bool
    image = data.image(0)
    assert image.dtype == torch.uint8
    assert image.is_contiguous()
    assert torch.equal(image.permute(1, 2, 0), torch.from_numpy(read_rgb(root / "b.jpg")))


def test_a_byte_order_mark_blank_lines_and_repeated_files_are_understood(root: Path) -> None:
    write_csv(root, "File, Labels\r\nb.jpg,dog\r\n\r\n./b.jpg,cat\r\na.jpg,\r\n", "utf-8-sig")
    files = list_folder(root)
    assert files.names[:2] == ("b.jpg", "a.jpg")
    assert files.image_labels[:2].tolist() == [[True, True], [False, False]]


def test_sub_folders_are_tags(root: Path, photo: Callable[..., None]) -> None:
    photo(root / "owl" / "deep" / "er" / "x.jpg")
    photo(root / "masks" / "b.png")
    (root / "elk").mkdir()
    files = list_folder(root, masks=root / "masks")
    assert files.classes == ("elk", "owl", "sub")
    assert files.names == ("a.jpg", "b.jpg", "owl/deep/er/x.jpg", "sub/a.jpg", "sub/c d.png")
    tags = [[0, 0, 0], [0, 0, 0], [0, 1, 0], [0, 0, 1], [0, 0, 1]]
    assert files.image_labels.int().tolist() == tags
    assert files.masks == (None, root / "masks" / "b.png", None, None, None)


def test_a_coco_json_gives_tags(root: Path) -> None:
    content = {
        "images": [{"id": 1, "file_name": "sub/a.jpg"}],
        "annotations": [{"image_id": 1, "category_id": 5}],
        "categories": [{"id": 5, "name": "dog"}, {"id": 2, "name": "cat"}],
    }
    (root / "tags.json").write_text(json.dumps(content))
    files = list_folder(root, root / "tags.json")
    assert (files.names, files.classes) == (("sub/a.jpg",), ("cat", "dog"))
    assert files.image_labels.tolist() == [[False, True]]


def test_given_classes_keep_their_order_and_may_be_without_images(root: Path) -> None:
    write_csv(root, "file,labels\nb.jpg,dog\n")
    files = list_folder(root, classes=("owl", "dog", "cat"))
    assert files.classes == ("owl", "dog", "cat")
    assert files.image_labels[0].tolist() == [False, True, False]
    with pytest.raises(ValueError, match="unknown tag 'dog'; did you mean 'dogs'"):
        list_folder(root, classes=("dogs", "cat"))


def test_lines_that_lead_out_are_problems_and_not_read(root: Path) -> None:
    lines = ("../secret.png", "sub/../../secret.png", "/etc/passwd", ".", "b.jpg")
    write_csv(root, "file,labels\n" + "".join(f"{line},dog\n" for line in lines))
    files = list_folder(root)
    assert [problem.name for problem in files.problems] == [f"labels.csv:{n}" for n in (2, 3, 4, 5)]
    assert all("below the folder" in problem.reason for problem in files.problems)
    assert files.names[0] == "b.jpg"
    assert not any("secret" in name for name in files.names)


def test_an_unquoted_comma_is_a_problem(root: Path) -> None:
    write_csv(root, "file,labels\nb.jpg,dog,cat\na.jpg,dog\n")
    (problem,) = list_folder(root).problems
    assert problem == BadImage(
        "labels.csv:2",
        "expected 2 cells, got 3; separate several of one cell with ';', quote a cell that has a "
        "comma",
    )


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "expected the header 'file,labels', got ''"),
        (b"file,labels\n", "no line below the header"),
        (b"a.jpg,dog\n", "expected the header"),
        (b"file;labels\na.jpg;dog\n", "got 'file;labels'"),
        (b"file,labels\n\xff\xfe,dog\n", "not a CSV in UTF-8"),
        (b'file,labels\n"a.jpg,dog\n', "not a CSV"),
    ],
)
def test_a_csv_that_says_nothing_is_refused(root: Path, content: bytes, message: str) -> None:
    (root / "labels.csv").write_bytes(content)
    with pytest.raises(ValueError, match=message):
        list_folder(root)


def test_missing_folders_and_files_are_named(root: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no such folder of images"):
        list_folder(root / "nowhere")
    with pytest.raises(FileNotFoundError, match="no such file of tags"):
        list_folder(root, root / "gone.csv")
    (root / "empty").mkdir()
    with pytest.raises(ValueError, match="expected images, found none"):
        list_folder(root / "empty")


def test_bad_images_are_values_and_stop_nothing(
    bad_files: tuple[Path, tuple[str, ...]],
) -> None:
    root, bad = bad_files
    write_csv(root, "file,labels\ngone.jpg,cat\n")
    files = list_folder(root)
    loaded = [files.load(index) for index in range(len(files))]
    failed = {one.name: one.reason for one in loaded if isinstance(one, BadImage)}
    assert set(failed) == {"gone.jpg", *bad}
    assert sum(isinstance(one, torch.Tensor) for one in loaded) == 2
    assert "leads out of" in failed["secret.png"]
    assert "too many pixels" in failed["bomb.png"]
    assert str(root) not in failed["cut.jpg"]
    with pytest.raises(ValueError, match=r"cut\.jpg: damaged image"):
        files.image(files.names.index("cut.jpg"))


def test_annotated_masks_are_read(root: Path) -> None:
    (root / "gt" / "sub").mkdir(parents=True)
    write_mask(root / "gt" / "sub" / "a.png", torch.ones(6, 8, dtype=torch.uint8).numpy())
    write_csv(root, "file,labels\nsub/a.jpg,dog\n")
    files = list_folder(root, masks=root / "gt")
    assert files.names == ("sub/a.jpg", "a.jpg", "b.jpg", "sub/c d.png")
    mask = files.gt_mask(0)
    assert mask is not None
    assert mask.all()
    assert files.gt_mask(1) is None
