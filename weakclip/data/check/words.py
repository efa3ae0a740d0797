r"""Checks of the meaning of tags: words that are not a class, or name several classes.

Examples are a printed list (`['dog', 'cow']`), a missing value (`nan`), the background, or two
classes with a separator. Each would become a class of its own, with its own prompt.
"""

from __future__ import annotations

import re
from collections import defaultdict
from typing import TYPE_CHECKING

from weakclip.data.check.finding import biases, note
from weakclip.data.check.tags import plain
from weakclip.data.read.coco import COCO_CATEGORIES
from weakclip.data.read.signatures import IMAGE_SUFFIXES
from weakclip.data.read.voc import VOC_CLASSES

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator

    from weakclip.data.check.survey import Survey

NO_VALUE = frozenset({
    "nan", "none", "null", "na", "n/a", "<na>", "nat", "nil", "undefined", "missing", "unknown",
    "unlabeled", "unlabelled", "untagged", "notag", "nolabel", "noclass", "nothing", "empty", "tbd",
    "todo", "true", "false", "#n/a", "#value!", "#ref!", "#name?", "-", "--", "?", ".",
})  # fmt: skip
"""Texts that programs and people write for a missing value, in the form of `plain`."""
BACKGROUND_WORDS = frozenset({"background", "backgroundclass", "bg", "void", "ignore", "ignored"})
SPLIT_WORDS = frozenset({"train", "val", "valid", "validation", "test", "trainval", "training"})
FOLDER_WORDS = frozenset({
    "images", "image", "img", "imgs", "jpegimages", "photos", "pictures", "masks", "labels",
    "annotations", "segmentationclass", "val", "valid", "validation", "test", "trainval",
})  # fmt: skip
COMMON = frozenset(map(plain, (*VOC_CLASSES, *COCO_CATEGORIES.values())))
"""Names of single objects: "dog cow" consists of two of them, "hot dog" does not."""
IRREGULAR = {
    "man": "men", "person": "people", "child": "children", "mouse": "mice", "goose": "geese",
    "foot": "feet", "tooth": "teeth", "ox": "oxen", "cactus": "cacti", "calf": "calves",
}  # fmt: skip

_LIST = re.compile(r"""[][{}]|^<|^\(?['"`\u201c\u2018]|['"`\u201d]$""")
_SIGN = re.compile(r"\s*[/\\+&:#~><=*^\u3001\uff0c\uff1b\uff0f\uff5c]+\s*")
_WEAK = re.compile(r"(?:\s+(?:and|or|und|et|y)\s+|[\s_-]+)")
_CODE = re.compile(
    r"n\d{8}|/m/\w+|(?:class|label|category|cls|tag|unused)[\s_-]*\d+", re.IGNORECASE
)

_SCORE = re.compile(r".*[\s:=(]\d?\.\d+\)?|.*\d\s?%\)?")


@biases(
    "tag-list",
    "tags with brackets or quotes: a printed list, which was not taken apart",
    "separate tags with ';' and leave brackets and quotes out: dog;cow",
)
def _lists(survey: Survey) -> Iterator[str]:
    return _tags(survey, lambda name: bool(_LIST.search(name)))


@biases(
    "tag-no-value",
    "tags that stand for a missing value: they would be a class",
    "leave the cell empty if an image has no tag",
)
def _no_values(survey: Survey) -> Iterator[str]:
    return _tags(survey, lambda name: plain(name) in NO_VALUE or name in NO_VALUE)


@biases(
    "tag-background",
    "the background as a class: its label is 0, and every image has it",
    "remove the tag; words for the background go into --words",
)
def _background(survey: Survey) -> Iterator[str]:
    return _tags(survey, lambda name: plain(name) in BACKGROUND_WORDS)


@biases(
    "tag-folder",
    "tags that are names of folders of a data set",
    "give the folder whose sub-folders are the classes, or a labels.csv",
)
def _folders(survey: Survey) -> Iterator[str]:
    """Names of data-set folders; `train` is a class unless other splits occur as tags."""
    words = {plain(name) for name in survey.files.classes}
    splits = words & SPLIT_WORDS if len(words & SPLIT_WORDS) > 1 else set()
    return _tags(survey, lambda name: plain(name) in FOLDER_WORDS | splits)


@biases(
    "tag-code",
    "tags with numbers of classes, names of files or scores: prompts are made of what they say",
    "write the English noun alone",
)
def _codes(survey: Survey) -> Iterator[str]:
    def is_code(name: str) -> bool:
        numbered = _CODE.fullmatch(name) or _SCORE.fullmatch(name)
        return bool(numbered) or name.casefold().endswith(IMAGE_SUFFIXES)

    return _tags(survey, is_code)


@biases(
    "tag-unseen",
    "tags with characters that are not seen (tabs, line breaks, zero-width or hard blanks)",
    "type them again; separate tags with ';'",
)
def _unseen(survey: Survey) -> Iterator[str]:
    return (ascii(name) for name in survey.files.classes if not name.isprintable())


@biases(
    "tag-several",
    "tags that name several classes at once",
    "separate classes with ';' (dog;cow); if it is one class, call it by one noun",
)
def _several(survey: Survey) -> Iterator[str]:
    """Tags that name several classes: with a separator, or composed of words that are tags."""
    return (f"{name}: {' and '.join(parts)}?" for name, parts in _parts_of(survey).items())


@note(
    "tag-compound",
    "tags of several words, one of which is another tag",
    "none needed if they are different things, as hot dog and dog are",
)
def _compounds(survey: Survey) -> Iterator[str]:
    tags = {plain(name): name for name in survey.files.classes}
    for name in sorted(set(survey.files.classes) - set(_parts_of(survey))):
        words = _words(name)
        inside = [tags[word] for word in words if word in tags]
        if len(words) > 1 and inside and plain(name) not in COMMON:
            yield f"{name}: {inside[0]!r} is a tag, too"


def _parts_of(survey: Survey) -> dict[str, list[str]]:
    """For each tag that names several classes, its parts."""
    classes = survey.files.classes
    tags = {plain(name) for name in classes}
    orders: dict[tuple[str, ...], set[str]] = defaultdict(set)
    for name in classes:
        orders[tuple(sorted(_words(name)))].add(plain(name))
    found: dict[str, list[str]] = {}
    for name in classes:
        signed = [part for part in _SIGN.split(name) if re.search(r"[^\W\d_]", part)]
        words = _words(name)
        if _CODE.fullmatch(name) or _LIST.search(name) or plain(name) in COMMON:
            continue
        if len(signed) > 1:
            found[name] = signed
        elif len(words) > 1 and (
            (tags.intersection(words) and (tags | COMMON).issuperset(words))
            or len(orders[tuple(sorted(words))]) > 1
        ):
            found[name] = words
    return found


@biases(
    "tag-plural",
    "singular and plural of one word: one class counted as two",
    "write the singular",
)
def _plurals(survey: Survey) -> Iterator[str]:
    tags = {plain(name): name for name in survey.files.classes}
    for word, name in tags.items():
        for many in _plurals_of(word):
            if many in tags:
                yield f"{name} = {tags[many]}"


def _tags(survey: Survey, holds: Callable[[str], bool]) -> Iterator[str]:
    """The classes with a property."""
    return (name for name in survey.files.classes if holds(name))


def _words(name: str) -> list[str]:
    """The words of a tag, in lower case."""
    return [word for part in _WEAK.split(name) if (word := plain(part))]


def _plurals_of(word: str) -> Collection[str]:
    """Possible plurals of a noun.

    Example:
        >>> sorted(_plurals_of("city")), "people" in _plurals_of("person")
        (['cities', 'cityes', 'citys'], True)
    """
    forms = {f"{word}s", f"{word}es", re.sub(r"y$", "ies", word), re.sub(r"fe?$", "ves", word)}
    forms |= {word[: -len(one)] + many for one, many in IRREGULAR.items() if word.endswith(one)}
    return forms - {word}


CHECKS = (
    _lists, _no_values, _background, _folders, _codes, _unseen, _several, _plurals, _compounds,
)  # fmt: skip
