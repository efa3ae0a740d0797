"""What a data set really holds: every image and mask decoded once, kept as small facts.

The checks (`check_images`, `check_masks`, `check_tags`) are functions of this value and open no
image themselves.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np

from weakclip.data.formats.masks import decode_mask
from weakclip.data.read.images import ImageFacts, probe
from weakclip.data.read.tagged import BadImage

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from weakclip.data.read.tagged import TaggedFiles


class Words(Protocol):
    """What a tokenizer must be able to say of a text; `VocabularyTokenizer` can."""

    def knows(self, text: str) -> bool:
        """Whether every token of the text is in the vocabulary."""

    def fits(self, text: str) -> bool:
        """Whether the text is no longer than the context."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MaskFacts:
    """What a mask file holds."""

    size: tuple[int, int]
    """(H, W)."""
    kind: str
    """Pillow's mode, or the shape and type of an array, for people."""
    labels: frozenset[int] | None
    """The labels that occur; None if the file holds colours, or is lossy."""
    lossy: bool
    """Whether its format changes labels."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Survey:
    """A data set with the facts of its N images and masks."""

    files: TaggedFiles
    images: tuple[ImageFacts | BadImage, ...]
    masks: tuple[MaskFacts | BadImage | None, ...]
    """None where there is no mask."""
    words: Words

    def decoded_images(self) -> Iterator[tuple[str, ImageFacts]]:
        """Name and facts of the images that decode."""
        for name, facts in zip(self.files.names, self.images, strict=True):
            if isinstance(facts, ImageFacts):
                yield name, facts

    def decoded_masks(self) -> Iterator[tuple[int, MaskFacts]]:
        """Index and facts of the masks that decode."""
        for index, facts in enumerate(self.masks):
            if isinstance(facts, MaskFacts):
                yield index, facts

    def labelled_masks(self) -> Iterator[tuple[int, frozenset[int]]]:
        """Index and labels of the masks that hold labels."""
        for index, facts in self.decoded_masks():
            if facts.labels is not None:
                yield index, facts.labels


class AnyWords:
    """In the place of a tokenizer where no tag is looked at."""

    def knows(self, text: str) -> bool:
        """Yes."""
        return True

    def fits(self, text: str) -> bool:
        """Yes."""
        return True


def survey(files: TaggedFiles, words: Words, *, report: Callable[[int, int], None]) -> Survey:
    """Decode every image and mask of a data set.

    Args:
        files: The data set.
        words: The tokenizer that its tags are for.
        report: Called with (images done, images in all).
    """
    images: list[ImageFacts | BadImage] = []
    masks: list[MaskFacts | BadImage | None] = []
    for index in range(len(files)):
        report(index, len(files))
        images.append(_image_facts(files, index))
        masks.append(_mask_facts(files, index))
    report(len(files), len(files))
    return Survey(files=files, images=tuple(images), masks=tuple(masks), words=words)


def probe_mask(path: Path) -> MaskFacts:
    """The facts of a mask file.

    Raises:
        ValueError: If the file is missing or damaged.
    """
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
