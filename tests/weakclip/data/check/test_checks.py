from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np
import pytest
from PIL import Image

from weakclip.clip.micro import load_micro
from weakclip.clip.tokens import BytePairTokenizer
from weakclip.data.check.checks import CHECKS, harmful, run_checks
from weakclip.data.check.survey import survey
from weakclip.data.formats.masks import write_mask
from weakclip.data.read.folder import list_folder

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from weakclip.data.check.finding import Finding
    from weakclip.data.check.survey import Words

CLASSES = ("cat", "dog", "owl")
TAGS = ("cat", "dog", "owl", "cat;dog", "dog;owl", "cat;owl", "cat", "dog", "owl")


@pytest.fixture
def root(tmp_path: Path, photo: Callable[..., None]) -> Path:
    """images/{0..8}.png, labels.csv and masks in which all is well."""
    for number in range(len(TAGS)):
        photo(tmp_path / "images" / f"{number}.png", seed=number)
    rows = "".join(f"{number}.png,{tags}\n" for number, tags in enumerate(TAGS))
    (tmp_path / "images" / "labels.csv").write_text(f"file,labels\n{rows}")
    (tmp_path / "masks").mkdir()
    draw(tmp_path, {"cat": 1, "dog": 2, "owl": 3})
    return tmp_path


def draw(
    root: Path, label_of: Mapping[str, int], *, void: int = 255, background: int | None = 0
) -> None:
    """Every mask has void, one row of each tag's label, and background or the first tag's label."""
    for number, tags in enumerate(TAGS):
        rest = label_of[tags.split(";")[0]] if background is None else background
        mask = np.full((6, 8), rest, dtype=np.uint8)
        mask[0] = void
        for row, tag in enumerate(tags.split(";"), start=1):
            mask[row] = label_of[tag]
        write_mask(root / "masks" / f"{number}.png", mask)


def check(
    root: Path, *, classes: Sequence[str] | None = None, words: Words | None = None
) -> dict[str, Finding]:
    files = list_folder(root / "images", classes=classes, masks=root / "masks")
    done = survey(files, words or BytePairTokenizer(77), report=lambda _done, _total: None)
    return {finding.kind.name: finding for finding in run_checks(done)}


def only(found: Mapping[str, Finding], name: str) -> tuple[str, ...]:
    assert list(found) == [name]
    return found[name].affected


def tag(root: Path, *rows: str) -> None:
    lines = "".join(f"{row}\n" for row in rows)
    (root / "images" / "labels.csv").write_text(f"file,labels\n{lines}", encoding="utf-8")


def test_a_good_data_set_has_no_findings(root: Path) -> None:
    assert check(root) == {}
    assert not harmful(())


def test_kinds_are_named_once() -> None:
    names = [item.kind.name for item in CHECKS]
    assert len(set(names)) == len(names)


def test_every_bad_image_is_found_and_stops_nothing(
    bad_files: tuple[Path, tuple[str, ...]],
) -> None:
    folder, bad = bad_files
    (folder / "labels.csv").write_text("file,labels\ngone.jpg,cat\n../x.jpg,cat\n")
    files = list_folder(folder)
    done = survey(files, BytePairTokenizer(77), report=lambda _done, _total: None)
    found = {finding.kind.name: finding for finding in run_checks(done)}
    assert found["image-missing"].affected == ("gone.jpg",)
    unreadable = found["image-unreadable"].affected
    assert [line.split(":")[0] for line in unreadable] == list(bad)
    (line,) = found["line-unusable"].affected
    assert line.startswith("labels.csv:3: expected a path below")
    assert harmful(found.values())


def test_findings_that_break_come_first(root: Path) -> None:
    (root / "images" / "0.png").write_bytes(b"")
    (root / "images" / "untagged.png").write_bytes((root / "images" / "1.png").read_bytes())
    severities = [finding.kind.severity for finding in check(root).values()]
    assert severities == ["breaks", "biases", "note"]


def test_equal_names_are_found(root: Path, photo: Callable[..., None]) -> None:
    photo(root / "images" / "0.jpg")
    photo(root / "images" / "sub" / "1.png")
    found = check(root)
    assert found["one-output"].affected == found["mask-shared"].affected == ("0.png = 0.jpg",)
    assert found["one-name"].affected == ("1.png = sub/1.png",)
    assert found["mask-shared"].kind.severity == "biases"
    assert [found[name].kind.severity for name in ("one-output", "one-name")] == ["note", "note"]


def test_unusual_images_are_noted_and_harm_nothing(root: Path) -> None:
    images = root / "images"
    with Image.open(images / "0.png") as image:
        picture = image.convert("RGB")
    picture.convert("L").save(images / "0.png")
    picture.convert("RGBA").save(images / "1.png")
    Image.fromarray(np.zeros((6, 8), dtype=np.uint16)).save(images / "2.png")
    picture.convert("CMYK").save(images / "3.png", format="TIFF")
    exif = Image.Exif()
    exif[0x0112] = 3  # upside down
    picture.save(images / "4.png", exif=exif)
    found = check(root)
    assert {name: finding.affected for name, finding in found.items()} == {
        "exif-rotated": ("4.png",),
        "image-grey": ("0.png", "2.png"),
        "image-cmyk": ("3.png",),
        "image-alpha": ("1.png",),
        "image-16-bit": ("2.png",),
    }
    assert not harmful(found.values())


def test_a_16_bit_colour_image_is_deep(root: Path) -> None:
    pixels = np.full((6, 8, 3), 40000, dtype=np.uint16)
    cv2.imwrite(str(root / "images" / "0.png"), pixels)
    assert only(check(root), "image-16-bit") == ("0.png",)


def test_missing_and_orphaned_masks_are_found(root: Path) -> None:
    (root / "masks" / "3.png").rename(root / "masks" / "three.png")
    found = check(root)
    assert found["mask-missing"].affected == ("3.png",)
    assert found["mask-orphaned"].affected == ("masks/three.png",)


def test_a_data_set_without_masks_misses_none(root: Path) -> None:
    for path in (root / "masks").iterdir():
        path.unlink()
    assert check(root) == {}


def test_damaged_masks_are_found(root: Path) -> None:
    whole = (root / "masks" / "0.png").read_bytes()
    (root / "masks" / "0.png").write_bytes(whole[: len(whole) // 2])
    (line,) = only(check(root), "mask-unreadable")
    assert "damaged mask" in line


@pytest.mark.parametrize("mode", ["RGB", "1", "LA"])
def test_pictures_of_masks_are_found(root: Path, mode: str) -> None:
    Image.new(mode, (8, 6)).save(root / "masks" / "0.png")
    assert only(check(root), "mask-colours") == (f"0.png: mode {mode}",)


def test_masks_of_another_size_are_found(root: Path) -> None:
    write_mask(root / "masks" / "0.png", np.full((6, 9), 1, dtype=np.uint8))
    assert only(check(root), "mask-size") == ("0.png: image (H, W) (6, 8), mask (6, 9)",)


def test_a_mask_of_the_unturned_image_is_explained(root: Path) -> None:
    with Image.open(root / "images" / "0.png") as image:
        exif = Image.Exif()
        exif[0x0112] = 8
        image.load()
    image.save(root / "images" / "0.png", exif=exif)
    (line,) = check(root)["mask-size"].affected
    assert line == "0.png: image (H, W) (8, 6), mask (6, 8), as the image before EXIF turns it"


def test_labels_that_no_class_has_are_found(root: Path) -> None:
    draw(root, {"cat": 1, "dog": 2, "owl": 3}, void=254)
    lines = only(check(root), "mask-labels")
    assert len(lines) == len(TAGS)
    assert lines[0] == "0.png: label 254 of 0 to 3"


def test_binary_masks_are_found(root: Path) -> None:
    draw(root, dict.fromkeys(CLASSES, 255))
    found = check(root)
    assert len(found["mask-binary"].affected) == len(TAGS)
    assert "mask-shifted" not in found
    assert harmful([found["mask-binary"]])


@pytest.mark.parametrize(("offset", "sign"), [(-1, "-1"), (1, "+1")])
def test_labels_off_by_one_are_found(root: Path, offset: int, sign: str) -> None:
    labels = {"cat": 1 + offset, "dog": 2 + offset, "owl": 3 + offset}
    draw(root, labels, background=None if offset < 0 else 1)
    found = check(root)
    (line,) = found["mask-shifted"].affected
    assert sign in line
    assert "mask-class-order" not in found


def test_a_swapped_class_order_is_found(root: Path) -> None:
    draw(root, {"cat": 2, "dog": 1, "owl": 3})
    found = check(root)
    assert found["mask-class-order"].affected == (
        "tag 'cat' (label 1) goes with label 2 ('dog')",
        "tag 'dog' (label 2) goes with label 1 ('cat')",
    )
    assert check(root, classes=("dog", "cat", "owl")) == {}


def test_one_disagreement_is_a_note_and_many_are_not(
    root: Path, photo: Callable[..., None]
) -> None:
    rows = [f"{number}.png,{tags}" for number, tags in enumerate(TAGS)]
    for number in range(9, 20):
        photo(root / "images" / f"{number}.png")
        write_mask(root / "masks" / f"{number}.png", np.full((6, 8), 1, dtype=np.uint8))
        rows.append(f"{number}.png,cat")
    write_mask(root / "masks" / "19.png", np.full((6, 8), 3, dtype=np.uint8))
    tag(root, *rows)
    assert only(check(root), "mask-unlike-tags") == ("19.png: mask +owl -cat",)
    for number in (17, 18):
        write_mask(root / "masks" / f"{number}.png", np.full((6, 8), 3, dtype=np.uint8))
    assert len(only(check(root), "mask-against-tags")) == 3


def test_tags_are_compared_with_the_vocabulary(root: Path) -> None:
    rows = [f"{number}.png,{tags}" for number, tags in enumerate(TAGS)]
    tag(root, *rows[:-1], "8.png,owl;xylophone")
    draw(root, {"cat": 1, "dog": 2, "owl": 3})
    assert "xylophone" in check(root, words=load_micro()[1])["tag-unknown"].affected
    assert "tag-unknown" not in check(root)


def test_long_foreign_and_equal_tags_are_found(root: Path) -> None:
    long = "very " * 80 + "long"
    tag(root, f"0.png,{long}", "1.png,猫", "2.png,7", "3.png,Tree Frog;tree_frog")
    found = check(root)
    assert found["tag-too-long"].affected == (long,)
    assert found["tag-foreign"].affected == ("7", "猫")
    assert found["tags-alike"].affected == ("Tree Frog = tree_frog",)


def test_classes_without_images_and_images_without_tags_are_noted(root: Path) -> None:
    for path in (root / "masks").iterdir():
        path.unlink()
    tag(root, "0.png,cat", *(f"{number}.png," for number in range(1, 9)))
    found = check(root, classes=CLASSES)
    assert found["class-without-images"].affected == ("dog", "owl")
    assert len(found["image-without-tags"].affected) == 8
    assert not harmful(found.values())


def test_background_in_every_mask_is_no_shifted_class(root: Path) -> None:
    tag(root, *(f"{number}.png,cat" for number in range(9)))
    draw(root, dict.fromkeys(CLASSES, 1))
    write_mask(root / "masks" / "0.png", np.zeros((6, 8), dtype=np.uint8))
    assert list(check(root)) == ["mask-against-tags"]
