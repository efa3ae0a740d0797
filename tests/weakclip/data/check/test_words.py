from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from weakclip.clip.tokens import BytePairTokenizer
from weakclip.data.check.checks import harmful, run_checks
from weakclip.data.check.survey import Survey
from weakclip.data.read.coco import COCO_CATEGORIES
from weakclip.data.read.tagged import TaggedFiles
from weakclip.data.read.voc import VOC_CLASSES

if TYPE_CHECKING:
    from weakclip.data.check.finding import Finding


def check(*classes: str) -> dict[str, Finding]:
    """What is found in a data set of these tags and one image that has them all."""
    files = TaggedFiles(
        root=Path("nowhere"),
        names=(),
        classes=classes,
        tags=np.ones((0, len(classes)), np.bool_),
        masks=(),
    )
    survey = Survey(files=files, images=(), masks=(), words=BytePairTokenizer(77))
    found = {finding.kind.name: finding for finding in run_checks(survey)}
    found.pop("class-without-images")
    return found


@pytest.mark.parametrize("classes", [VOC_CLASSES, tuple(COCO_CATEGORIES.values())])
def test_the_classes_of_voc_and_coco_are_all_right(classes: tuple[str, ...]) -> None:
    assert check(*classes) == {}


@pytest.mark.parametrize(
    ("kind", "tag"),
    [
        ("tag-list", "['dog'"),
        ("tag-list", "'cow']"),
        ("tag-list", "['cow']"),
        ("tag-list", '["dog"]'),
        ("tag-list", "[]"),
        ("tag-list", "{dog}"),
        ("tag-list", "('dog'"),
        ("tag-list", "“dog”"),
        ("tag-list", "'dog'"),
        ("tag-no-value", "nan"),
        ("tag-no-value", "NaN"),
        ("tag-no-value", "None"),
        ("tag-no-value", "NULL"),
        ("tag-no-value", "N/A"),
        ("tag-no-value", "<NA>"),
        ("tag-no-value", "#N/A"),
        ("tag-no-value", "no label"),
        ("tag-no-value", "unknown"),
        ("tag-no-value", "-"),
        ("tag-no-value", "?"),
        ("tag-background", "background"),
        ("tag-background", "__background__"),
        ("tag-background", "_background_"),
        ("tag-background", "BG"),
        ("tag-background", "void"),
        ("tag-folder", "images"),
        ("tag-folder", "JPEGImages"),
        ("tag-folder", "val"),
        ("tag-code", "n02084071"),
        ("tag-code", "/m/0bt9lr"),
        ("tag-code", "class_3"),
        ("tag-code", "dog.jpg"),
        ("tag-code", "dog:0.9"),
        ("tag-code", "dog (.85)"),
        ("tag-code", "dog 90 %"),
        ("tag-unseen", "dog\tcow"),
        ("tag-unseen", "dog\ncow"),
        ("tag-unseen", "dog\u200b"),
        ("tag-unseen", "dog\u00a0house"),
        ("tag-unseen", "\x1b[31mdog"),
        ("tag-several", "dog/cow"),
        ("tag-several", "dog+cow"),
        ("tag-several", "#dog #cow"),
        ("tag-several", "dog & cow"),
        ("tag-several", "dog:cow"),
        ("tag-several", "animal > dog"),
        ("tag-several", "dog\\cow"),
        ("tag-several", "dog，cow"),
        ("tag-several", "dog、cow"),
    ],
)
def test_a_word_that_is_no_class_is_found_alone(kind: str, tag: str) -> None:
    found = check("horse", tag)
    assert len(found[kind].affected) == 1
    assert found[kind].kind.severity == "biases"
    assert harmful([found[kind]])


@pytest.mark.parametrize(
    "tag", ["dog cow", "cow dog", "dog and cow", "dog_cow", "dog-cow", "DOG  COW", "dog cow sheep"]
)
def test_a_tag_of_words_that_are_tags_is_several(tag: str) -> None:
    assert check("cow", tag)["tag-several"].affected[0].startswith(f"{tag}: ")


def test_words_without_a_tag_of_their_own_are_several_if_their_order_changes() -> None:
    assert len(check("elk moose", "moose elk", "owl")["tag-several"].affected) == 2
    assert check("elk", "moose", "elk moose")["tag-several"].affected == (
        "elk moose: elk and moose?",
    )


def test_nouns_of_several_words_are_a_note_at_most() -> None:
    assert check("fire truck", "red panda", "t-shirt", "salt and pepper") == {}
    found = check("bear", "polar bear", "shirt", "t-shirt")
    assert found["tag-compound"].affected == (
        "polar bear: 'bear' is a tag, too",
        "t-shirt: 'shirt' is a tag, too",
    )
    assert not harmful(found.values())


@pytest.mark.parametrize(
    ("one", "many"),
    [
        ("dog", "dogs"), ("bus", "Buses"), ("city", "cities"), ("knife", "knives"),
        ("person", "people"), ("woman", "women"), ("mouse", "mice"), ("red fox", "red_foxes"),
    ],
)  # fmt: skip
def test_singular_and_plural_are_one_word(one: str, many: str) -> None:
    found = check("owl", one, many)
    assert list(found) == ["tag-plural"]
    assert found["tag-plural"].affected == (f"{one} = {many}",)


def test_train_is_a_class_unless_the_tags_are_splits() -> None:
    assert "tag-folder" not in check("train", "bus")
    assert check("train", "test")["tag-folder"].affected == ("train", "test")


def test_unicode_forms_and_unseen_letters_make_tags_alike() -> None:
    found = check("caf\u00e9", "cafe\u0301", "dog", "dog\u200b")
    assert len(found["tags-alike"].affected) == 2
    assert check("dog", "dog.")["tags-alike"].affected == ("dog = dog.",)


@pytest.mark.parametrize(("count", "breaks"), [(254, False), (255, True)])
def test_more_classes_than_labels_break_a_run(count: int, breaks: bool) -> None:
    found = check(*(f"owl number {number}" for number in range(count)))
    assert ("classes-too-many" in found) == breaks
    if breaks:
        assert found["classes-too-many"].kind.severity == "breaks"
        assert found["classes-too-many"].affected[0].startswith("255 classes")
