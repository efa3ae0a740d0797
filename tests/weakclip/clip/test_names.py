from __future__ import annotations

import pytest

from weakclip.clip import names
from weakclip.data.read.voc import VOC_CLASSES


@pytest.mark.parametrize(
    ("words", "count"),
    [
        (names.VOC_NAMES, 20),
        (names.CLIP_ES_VOC_NAMES, 20),
        (names.CLIMS_VOC_NAMES, 20),
        (names.COCO_NAMES, 80),
        (names.CLIP_ES_COCO_NAMES, 80),
        (names.CLIMS_COCO_NAMES, 80),
        (names.CLIP_ES_VOC_BACKGROUND, 25),
        (names.CLIP_ES_COCO_BACKGROUND, 23),
        (names.CLIMS_VOC_BACKGROUND, 10),
        (names.CLIMS_COCO_BACKGROUND, 88),
    ],
)
def test_every_list_has_its_published_number_of_different_words(
    words: tuple[str, ...], count: int
) -> None:
    assert len(words) == len(set(words)) == count
    assert all(word and word == word.strip() for word in words)


def test_voc_names_are_words_in_label_order() -> None:
    assert names.VOC_NAMES[10] == "dining table"
    assert [name.replace(" ", "") for name in names.VOC_NAMES] == list(VOC_CLASSES)


def test_synonyms_are_fused_where_the_release_fuses_them() -> None:
    changed = {
        old: new
        for old, new in zip(VOC_CLASSES, names.CLIP_ES_VOC_NAMES, strict=True)
        if old != new
    }
    assert changed == {
        "bird": "bird avian",
        "chair": "chair seat",
        "person": "person with clothes,people,human",
        "tvmonitor": "tvmonitor screen",
    }


@pytest.mark.parametrize(
    ("index", "phrase"),
    [
        (0, "person with clothes,people,human"),
        (3, "motorbike"),
        (31, "sknowboard"),
        (44, "dessertspoon"),
        (57, "sofa"),
        (62, "tvmonitor screen"),
        (78, "hairdrier,blowdrier"),
        (79, "toothbrush"),
    ],
)
def test_coco_phrases_stand_at_their_labels(index: int, phrase: str) -> None:
    assert names.CLIP_ES_COCO_NAMES[index] == phrase


def test_no_background_word_of_coco_is_a_class_of_coco() -> None:
    assert not set(names.CLIP_ES_COCO_BACKGROUND) & set(names.COCO_NAMES)
    assert "keyboard" in names.CLIP_ES_VOC_BACKGROUND


def test_a_change_of_an_unknown_name_is_an_error() -> None:
    with pytest.raises(ValueError, match="got birb"):
        names.renamed(("bird",), {"birb": "bird avian"})
