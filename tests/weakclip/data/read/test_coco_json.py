from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from weakclip.data.read.coco_json import read_instances, whole_number

if TYPE_CHECKING:
    from pathlib import Path

    from weakclip.data.read.instances import Instances

CONTENT: dict[str, list[dict[str, Any]]] = {
    "images": [
        {"id": 9, "file_name": "b.jpg", "height": 6, "width": 8},
        {"id": 7, "file_name": "sub/a.jpg", "height": 6, "width": 8},
    ],
    "annotations": [
        {"id": 1, "image_id": 9, "category_id": 3, "iscrowd": 0},
        {"id": 2, "image_id": 7, "category_id": 5, "iscrowd": 1},
    ],
    "categories": [{"id": 5, "name": "dog"}, {"id": 3, "name": "cat"}],
}


def read(folder: Path, content: object) -> Instances:
    path = folder / "instances_own.json"
    path.write_text(json.dumps(content))
    return read_instances(path)


def changed(section: str, position: int, **values: object) -> dict[str, Any]:
    """CONTENT with other values in one entry; `...` takes one away."""
    content = {name: [dict(entry) for entry in entries] for name, entries in CONTENT.items()}
    entry = content[section][position] | values
    content[section][position] = {key: one for key, one in entry.items() if one is not ...}
    return content


def with_more(section: str, *entries: object) -> dict[str, Any]:
    return CONTENT | {section: [*CONTENT[section], *entries]}


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-32"])
def test_any_utf_is_read(tmp_path: Path, encoding: str) -> None:
    path = tmp_path / "instances.json"
    content = changed("categories", 0, name="chien à poil")
    path.write_bytes(json.dumps(content, ensure_ascii=False).encode(encoding))
    assert read_instances(path).categories == {3: "cat", 5: "chien à poil"}


def test_what_is_no_utf_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "instances.json"
    path.write_bytes(
        json.dumps(changed("categories", 0, name="é"), ensure_ascii=False).encode("latin-1")
    )
    with pytest.raises(ValueError, match="damaged COCO JSON"):
        read_instances(path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([], "got a list; use the file of the data set"),
        ([{"image_id": 1, "category_id": 1, "score": 0.5}], "as detectors write their results"),
        (7, "got 7"),
        (None, "got None"),
        ({"images": []}, r"got no categories \(it has: images\)"),
        (CONTENT | {"annotations": None}, "got annotations = None"),
        (CONTENT | {"images": {"9": "b.jpg"}}, "got images = {"),
        (CONTENT | {"categories": []}, "none of its annotations can be used.*names category 3"),
        ({"images": [], "annotations": [], "categories": []}, "expected categories, found none"),
        (CONTENT | {"images": [7]}, r"none of its images can be used, e.g. images\[0\]: expected"),
        (with_more("categories", {"id": 3, "name": "cow"}), "id 3 stands twice, for 'cat' and 'c"),
        (with_more("categories", {"id": 4, "name": "dog"}), "categories 5 and 4 are both 'dog'"),
        (with_more("categories", {"id": 4, "name": " dog "}), "categories 5 and 4 are both 'dog'"),
        (with_more("categories", {"id": 4}), r"categories\[2\]: lacks 'name'"),
        (with_more("categories", {"name": "x"}), r"categories\[2\]: lacks 'id'"),
        (with_more("categories", "cow"), r"categories\[2\]: expected a JSON object"),
        (with_more("categories", {"id": 4, "name": None}), "expected a name, got None"),
        (with_more("categories", {"id": 4, "name": "a\nb"}), "expected a name"),
        (with_more("categories", {"id": "four", "name": "x"}), "whole number, got 'four'"),
        (with_more("categories", {"id": 4.5, "name": "x"}), "whole number, got 4.5"),
        (with_more("images", {"id": 9, "file_name": "c.jpg"}),
         "image id 9 stands twice, for 'b.jpg' and 'c.jpg'"),
        (with_more("images", {"id": "9", "file_name": "c.jpg"}), "image id 9 stands twice"),
        (with_more("images", {"id": 8, "file_name": "b.jpg"}), "images 9 and 8 are both 'b.jpg'"),
        (with_more("images", {"id": 8, "file_name": "./b.jpg"}), "images 9 and 8 are both 'b.jpg'"),
    ],
)  # fmt: skip
def test_a_file_that_can_be_meant_in_two_ways_or_none_is_refused(
    tmp_path: Path, content: object, message: str
) -> None:
    with pytest.raises(ValueError, match=rf"instances_own\.json: .*{message}"):
        read(tmp_path, content)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"image_id": 4}, "annotation 1: names image 4, which"),
        ({"image_id": ...}, "annotation 1: lacks 'image_id'"),
        ({"image_id": None}, "expected a whole number, got None"),
        ({"image_id": [9]}, "expected a whole number"),
        ({"category_id": 4}, "annotation 1: names category 4, which"),
        ({"category_id": ...}, "lacks 'category_id'"),
        ({"category_id": True}, "expected a whole number, got True"),
        ({"category_id": float("nan")}, "expected a whole number, got nan"),
        ({"iscrowd": 2}, "expected iscrowd 0 or 1, got 2"),
        ({"iscrowd": "no"}, "expected iscrowd 0 or 1"),
        ({"iscrowd": []}, "expected iscrowd 0 or 1"),
        ({"id": ..., "image_id": 4}, "annotations[0]: names image 4"),
    ],
)
def test_an_annotation_with_a_fault_is_left_out_and_named(
    tmp_path: Path, values: dict[str, object], message: str
) -> None:
    found = read(tmp_path, changed("annotations", 0, **values))
    (problem,) = found.problems
    assert message in f"{problem.name}: {problem.reason}"
    assert list(found.objects) == [7]
    assert len(found.images) == 2


@pytest.mark.parametrize("entry", [7, None, "x", [1]])
def test_an_annotation_that_is_no_object_is_left_out(tmp_path: Path, entry: object) -> None:
    found = read(tmp_path, with_more("annotations", entry))
    assert [problem.name for problem in found.problems] == ["annotations[2]"]


@pytest.mark.parametrize(
    ("values", "name"),
    [
        ({"file_name": ...}, "image 9"),
        ({"file_name": None}, "image 9"),
        ({"file_name": ""}, "image 9"),
        ({"file_name": "a\nb.jpg"}, "image 9"),
        ({"file_name": "b\ud800.jpg"}, "image 9"),
        ({"file_name": "/data/b.jpg"}, "image 9"),
        ({"file_name": "../b.jpg"}, "image 9"),
        ({"id": ...}, "images[0]"),
        ({"id": True}, "images[0]"),
    ],
)
def test_an_image_with_a_fault_is_left_out_with_its_annotations(
    tmp_path: Path, values: dict[str, object], name: str
) -> None:
    found = read(tmp_path, changed("images", 0, **values))
    assert found.problems[0].name == name
    assert [image.id for image in found.images] == [7]
    assert list(found.objects) == [7]


@pytest.mark.parametrize("size", [..., None, 0, -1, "wide", 8.5, [8], float("inf")])
def test_a_size_that_is_none_is_unknown(tmp_path: Path, size: object) -> None:
    for side in ("width", "height"):
        assert read(tmp_path, changed("images", 0, **{side: size})).images[0].size == (0, 0)


def test_numbers_may_be_written_as_floats_or_digits(tmp_path: Path) -> None:
    content = changed("images", 0, id="9", width="8", height=6.0)
    content["annotations"][0] |= {"image_id": 9.0, "category_id": "3", "iscrowd": "1"}
    found = read(tmp_path, content)
    assert found.images[0].size == (6, 8)
    assert found.objects[9][0].crowd
    assert (whole_number("-12"), whole_number(3.0)) == (-12, 3)


def test_ids_of_images_may_be_names_and_those_of_annotations_anything(tmp_path: Path) -> None:
    content = changed("images", 0, id="b")
    content["annotations"][0] |= {"image_id": "b", "id": "3f-a1"}
    content["annotations"][1].pop("id")
    found = read(tmp_path, content)
    assert [image.id for image in found.images] == ["b", 7]
    assert set(found.objects) == {"b", 7}
    assert found.problems == ()


@pytest.mark.parametrize(
    ("number", "name"), [(0, "dog house"), (0, "background"), (-1, "void"), (1, "__Background__")]
)
def test_a_category_that_is_the_background_is_no_class(
    tmp_path: Path, number: int, name: str
) -> None:
    content = with_more("categories", {"id": number, "name": name})
    found = read(tmp_path, content)
    assert found.categories == {3: "cat", 5: "dog"}
    assert found.labels("contiguous") == {3: 1, 5: 2}
    assert found.notes == (
        f"category {number} ({name}) has no annotations: not counted as a class",
    )
    content["annotations"] = [*content["annotations"], {"image_id": 9, "category_id": number}]
    with pytest.raises(ValueError, match=rf"category {number} \({name}\) has annotations"):
        read(tmp_path, content)


def test_entries_that_stand_twice_word_for_word_are_taken_once(tmp_path: Path) -> None:
    found = read(tmp_path, {name: entries * 2 for name, entries in CONTENT.items()})
    once = read(tmp_path, CONTENT)
    assert (found.images, found.categories, found.objects) == (
        once.images, once.categories, once.objects,
    )  # fmt: skip
    assert found.problems == ()
    assert len(found.notes) == 6


def test_annotations_of_one_id_are_all_taken_and_named(tmp_path: Path) -> None:
    found = read(tmp_path, changed("annotations", 1, id=1))
    (problem,) = found.problems
    assert problem.name == "annotation 1"
    assert "the id stands twice, of images 9 and 7; both are used" in problem.reason
    assert set(found.objects) == {9, 7}
