"""One image has one file, whatever it is called."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from weakclip.data.formats.ids import NamedFiles, read_ids, read_tag_file

EXAMPLES = Path(__file__).parents[3] / "data" / "interop"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in (
        "000000000009.npy",
        "COCO_val2014_000000000025.npy",
        "cats/a.b.npy",
        "2007_32.npy",
    ):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    return tmp_path


@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("COCO_train2014_000000000009.jpg", "000000000009.npy"),
        ("9", "000000000009.npy"),
        ("train/25.png", "COCO_val2014_000000000025.npy"),
        ("cats/a.b.jpg", "cats/a.b.npy"),
        ("a.b.jpg", "cats/a.b.npy"),
        ("2007_32.jpg", "2007_32.npy"),
        ("2008_32.jpg", None),
        ("32.jpg", None),
    ],
)
def test_a_file_is_found_by_any_form_of_the_name(folder: Path, name: str, file: str | None) -> None:
    found = NamedFiles.of(folder, (".npy",)).find(name)
    assert found == (file and folder / file)


def test_two_files_for_one_image_are_an_error(folder: Path) -> None:
    (folder / "9.npy").touch()
    files = NamedFiles.of(folder, (".npy",))
    assert files.find("9") == folder / "9.npy"  # the same path wins
    with pytest.raises(ValueError, match="expected one file for 'COCO_train2014_09'"):
        NamedFiles.of(folder, (".npy",)).find("COCO_train2014_09")


def test_surplus_files_are_those_of_no_image(folder: Path) -> None:
    files = NamedFiles.of(folder, (".npy",))
    assert files.surplus(["9.jpg", "cats/a.b.jpg"]) == ("2007_32", "COCO_val2014_000000000025")


def test_a_folder_without_such_files_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"no file ends in \.npy"):
        NamedFiles.of(tmp_path, (".npy",))
    with pytest.raises(FileNotFoundError, match="no such folder"):
        NamedFiles.of(tmp_path / "nowhere", (".npy",))


@pytest.mark.parametrize(
    ("name", "ids"),
    [
        ("list_ids.txt", ("2007_000032", "2007_000039")),
        ("list_psa_paths.txt", ("2007_000032",)),
        ("list_psa_test.txt", ("2008_000006",)),
        ("list_coco_with_tags.txt", ("COCO_train2014_000000000009", "COCO_train2014_000000000025")),
        ("list_coco_12digit.txt", ("000000057870", "000000384029")),
    ],
)
def test_every_kind_of_list_is_read(name: str, ids: tuple[str, ...]) -> None:
    assert read_ids(EXAMPLES / name) == ids


def test_a_list_needs_no_newline_at_its_end_and_may_have_empty_lines(tmp_path: Path) -> None:
    (tmp_path / "list.txt").write_text("a\n\nb/c.jpg\n\n  \nd")
    assert read_ids(tmp_path / "list.txt") == ("a", "b/c", "d")


def test_the_csv_of_tags_is_a_list(tmp_path: Path) -> None:
    (tmp_path / "labels.csv").write_text("file,labels\na b.jpg,cat;dog\nc.jpg,\n")
    assert read_ids(tmp_path / "labels.csv") == ("a b", "c")


@pytest.mark.parametrize(
    ("content", "message"), [("\n \n", "got an empty list"), ("a\nb\na.jpg\n", "lists 'a' 2 times")]
)
def test_an_empty_list_and_a_repetition_are_errors(
    tmp_path: Path, content: str, message: str
) -> None:
    (tmp_path / "list.txt").write_text(content)
    with pytest.raises(ValueError, match=message):
        read_ids(tmp_path / "list.txt")


@pytest.mark.parametrize(
    "name", ["cls_labels_int_np1", "cls_labels_int_np2", "cls_labels_proto2", "cls_labels_str_np2"]
)
def test_tags_are_read_by_text_and_by_irns_numbers(name: str) -> None:
    tags = read_tag_file(EXAMPLES / f"{name}.npy")
    assert {key: np.flatnonzero(vector).tolist() for key, vector in tags.items()} == {
        "2007_000032": [0, 14],
        "2008_000008": [12, 14],
    }


def test_tags_without_names_are_refused() -> None:
    with pytest.raises(ValueError, match="fits one list only"):
        read_tag_file(EXAMPLES / "coco_labels_positional.npy")
