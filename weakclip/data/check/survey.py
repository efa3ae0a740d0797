"""The actual content of a data set: every image and mask is decoded once and summarised.

The checks (`weakclip.data.check.images`, `.mask_files`, `.masks`, `.tags`, `.words`) are functions
of this summary and do not open images.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np

from weakclip.data.formats.masks import decode_mask
from weakclip.data.read.images import ImageFacts, probe
from weakclip.data.read.tagged import BadImage

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from weakclip.data.read.tagged import TaggedFiles
    from weakclip.progress import Report


class Words(Protocol):
    """What the checks need of a tokeniser, e.g. `VocabularyTokenizer`."""

    def knows(self, text: str) -> bool:
        """Whether every token of the text is in the vocabulary."""

    def fits(self, text: str) -> bool:
        """Whether the text fits into the context."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MaskFacts:
    """Properties of a mask file."""

    size: tuple[int, int]
    """(H, W)."""
    kind: str
    """Pillow's mode, or shape and dtype of an array, as text."""
    labels: frozenset[int] | None
    """The labels that occur; None if the file contains colours, or is lossy."""
    lossy: bool
    """Whether the file format is lossy."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Survey:
    """A data set with the properties of its N images and masks."""

    files: TaggedFiles
    images: tuple[ImageFacts | BadImage, ...]
    masks: tuple[MaskFacts | BadImage | None, ...]
    """Properties of each mask; None where there is no mask."""
    words: Words

    def decoded_images(self) -> Iterator[tuple[str, ImageFacts]]:
        """Name and properties of each image that decodes."""
        for name, facts in zip(self.files.names, self.images, strict=True):
            if isinstance(facts, ImageFacts):
                yield name, facts

    def decoded_masks(self) -> Iterator[tuple[int, MaskFacts]]:
        """Index and properties of each mask that decodes."""
        for index, facts in enumerate(self.masks):
            if isinstance(facts, MaskFacts):
                yield index, facts

    def labelled_masks(self) -> Iterator[tuple[int, frozenset[int]]]:
        """Index and labels of each mask that contains labels."""
        for index, facts in self.decoded_masks():
            if facts.labels is not None:
                yield index, facts.labels


def survey(files: TaggedFiles, words: Words, *, report: Report) -> Survey:
    """Decode every image and mask of a data set; `words` is the tokeniser that the tags are for."""
    images: list[ImageFacts | BadImage] = []
    masks: list[MaskFacts | BadImage | None] = []
    for index in range(len(files)):
        report(index, len(files))
        images.append(_image_facts(files, index))
        masks.append(_mask_facts(files, index))
    report(len(files), len(files))
    return Survey(files=files, images=tuple(images), masks=tuple(masks), words=words)


def probe_mask(path: Path) -> MaskFacts:
    """The properties of a mask file; a ValueError if it is missing or damaged."""
    stored = decode_mask(path)
    labels = None if stored.labels is None else frozenset(np.unique(stored.labels).tolist())
    return MaskFacts(size=stored.size, kind=stored.kind, labels=labels, lossy=stored.lossy)


def _image_facts(files: TaggedFiles, index: int) -> ImageFacts | BadImage:
    try:
        return probe(files.path(index))
    except ValueError as error:
        return files.bad(index, error)


def _mask_facts(files: TaggedFiles, index: int) -> MaskFacts | BadImage | None:
    path = files.masks[index]
    if path is None:
        return None
    try:
        return probe_mask(path)
    except ValueError as error:
        return BadImage(files.names[index], str(error))
