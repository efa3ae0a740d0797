"""Phrases for the classes and for the background, as input of CLIP's text tower.

# words.toml
template = "a photo of a {}."
background = ["grass", "sky", "conveyor belt"]

[classes]
aeroplane = "airplane"
person = ["person", "man", "woman"]      # several: the mean of their embeddings

The same without a template as CSV. Lines of one class add up; `background` names no class here:

class,phrases
background,grass;sky;conveyor belt
aeroplane,airplane
person,person;man;woman
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from weakclip.clip.names import CLIP_ES_VOC_BACKGROUND, VOC_NAMES
from weakclip.data.read.csv_table import Column, read_pairs, split_cell
from weakclip.data.read.voc import VOC_CLASSES
from weakclip.stages.protocols import Setting
from weakclip.suggestion import suggestion
from weakclip.training.execution import REFERENCE
from weakclip.training.parallel import ALONE

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from weakclip.clip.bundle import CLIPBundle
    from weakclip.stages.images import Memory
    from weakclip.training.execution import Execution
    from weakclip.training.parallel import Processes

MICRO_BACKGROUND = (
    *(word for word in CLIP_ES_VOC_BACKGROUND if word not in {"keyboard", "helmet", "bridge"}),
    "field", "floor", "forest",
)  # fmt: skip
"""The 25 background words in micro-CLIP's vocabulary."""

COLUMNS = (
    Column(name="class", others=frozenset({"classes", "label", "tag", "category", "name"})),
    Column(name="phrases", others=frozenset({"phrase", "words", "word", "synonyms", "synonym"})),
)
ADVICE = "a class and its phrases, e.g. 'person,man;woman', or 'background,grass;sky'"
BACKGROUND_ROW = "background"

_PLAIN = dict(zip(VOC_CLASSES, VOC_NAMES, strict=True))


@dataclass(frozen=True, slots=True, kw_only=True)
class Words:
    """Phrases for CLIP's text tower."""

    background: tuple[str, ...] = CLIP_ES_VOC_BACKGROUND
    """Background words; a word that is also a phrase of a class is left out."""
    template: str = "a photo of a {}."
    """Sentence with one `{}`."""
    synonyms: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Phrases of some classes; a class that is not listed is described by its name."""

    def __post_init__(self) -> None:
        if self.template.count("{}") != 1:
            raise ValueError(f"template: expected one '{{}}' for the name, got {self.template!r}")

    def phrases(self, class_name: str) -> tuple[str, ...]:
        """The phrases of a class, at least one.

        Example:
            >>> Words().phrases("diningtable"), Words().phrases("stop_sign")
            (('dining table',), ('stop sign',))
        """
        plain = _PLAIN.get(class_name, class_name.replace("_", " "))
        return self.synonyms.get(class_name, (plain,))

    def background_for(self, classes: Sequence[str]) -> tuple[str, ...]:
        """The background words that are not a phrase of any class."""
        taken = {phrase.casefold() for name in classes for phrase in self.phrases(name)}
        return tuple(word for word in self.background if word.casefold() not in taken)


def read_words(path: Path, default: Words) -> Words:
    """Read words from a CSV file or, with any other suffix, a TOML file; the rest is `default`.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is unreadable or has unknown keys or invalid values.
    """
    if not path.is_file():
        raise FileNotFoundError(f"words: no file {path}")
    if path.suffix.lower() == ".csv":
        return _from_csv(path, default)
    return _from_toml(path, default)


def _from_csv(path: Path, default: Words) -> Words:
    """One class per line, or the background."""
    found: dict[str, tuple[str, ...]] = {}
    for where, name, cell in read_pairs(path, COLUMNS, what="words", advice=ADVICE):
        if not name:
            raise ValueError(f"{where}: expected a class, or {BACKGROUND_ROW!r}, got {cell!r}")
        phrases = _texts(split_cell(cell) or "", f"{where}: {name}")
        found[name] = found.get(name, ()) + phrases
    background = found.pop(BACKGROUND_ROW, default.background)
    return replace(default, background=background, synonyms={**default.synonyms, **found})


def _from_toml(path: Path, default: Words) -> Words:
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ValueError(f"{path}: not a readable TOML file: {error}") from error
    if unknown := sorted(set(content) - {"background", "template", "classes"}):
        raise ValueError(
            f"{path}: unknown key {unknown[0]!r}; known: background, template, [classes]"
        )
    classes = content.get("classes", {})
    if not isinstance(classes, dict):
        raise ValueError(f"{path}: [classes]: expected lines 'class = \"phrase\"', got {classes!r}")
    template = content.get("template", default.template)
    if not isinstance(template, str):
        raise ValueError(f"{path}: template: expected a text, got {template!r}")
    return Words(
        background=_texts(content.get("background", default.background), f"{path}: background"),
        template=template,
        synonyms={
            **default.synonyms,
            **{name: _texts(value, f"{path}: classes.{name}") for name, value in classes.items()},
        },
    )


def setting_for(
    clip: CLIPBundle,
    classes: Sequence[str],
    words: Words,
    *,
    folder: Path | None = None,
    execution: Execution = REFERENCE,
    processes: Processes = ALONE,
    memory: Memory | None = None,
) -> Setting:
    """The setting of a method that describes classes by words; a ValueError for other classes."""
    for name in words.synonyms:
        if name not in classes:
            raise ValueError(f"words: {name!r} is no class; {suggestion(name, classes)}")
    phrases = tuple(words.phrases(name) for name in classes)
    return Setting(
        clip=clip,
        class_names=tuple(each[0] for each in phrases),
        background_words=words.background_for(classes),
        device=clip.image.vision.proj.device,
        phrases=phrases,
        template=words.template,
        folder=folder,
        execution=execution,
        processes=processes,
        memory=memory,
    )


def _texts(value: object, where: str) -> tuple[str, ...]:
    """A phrase or a list of phrases as a tuple, stripped; none may be blank."""
    texts = (value,) if isinstance(value, str) else value
    if (
        isinstance(texts, (list, tuple))
        and texts
        and all(isinstance(text, str) and text.strip() for text in texts)
    ):
        return tuple(text.strip() for text in texts)
    raise ValueError(f"{where}: expected a phrase or a list of phrases, got {value!r}")
