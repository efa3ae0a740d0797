"""The captions of micro-CLIP's pretraining: the captions of scenes, with synonyms.

Captions of scenes use one name for each class. Prompts also use the data set's own spelling, the
synonyms of CLIP-ES, and "background". Some captions are reworded here, so that micro-CLIP is
trained on these words. Rewording never adds what the image does not show.
"""

from __future__ import annotations

import re
from functools import cache
from typing import TYPE_CHECKING

from bench.cartoon.caption import caption, caption_words
from weakclip.clip.tokens import VocabularyTokenizer, vocabulary_of

if TYPE_CHECKING:
    from numpy.random import Generator

    from bench.cartoon.tile import Tile
    from bench.cartoon.world import Scene

SYNONYMS: dict[str, tuple[str, ...]] = {
    "aeroplane": ("airplane", "plane"),
    "bicycle": ("bike",),
    "bird": ("avian", "bird avian"),
    "boat": ("ship",),
    "bus": ("coach",),
    "car": ("automobile",),
    "cat": ("kitten",),
    "chair": ("seat", "chair seat"),
    "cow": ("cattle",),
    "dining table": ("diningtable", "table"),
    "dog": ("puppy",),
    "horse": ("pony",),
    "motorbike": ("motorcycle",),
    "person": ("human", "person with clothes,people,human"),
    "potted plant": ("pottedplant", "plant"),
    "sheep": ("lamb",),
    "sofa": ("couch",),
    "train": ("locomotive",),
    "tv monitor": ("tvmonitor", "screen", "tvmonitor screen", "television"),
}
"""Display name of a class -> its other names."""

_SYNONYM_RATE = 0.12
_BACKGROUND_RATE = 0.3
EXTRA_WORDS = ("background", "the", "plain", "only", "this", ".", ",")


def pretraining_caption(pair: Scene | Tile, generator: Generator, context_length: int) -> str:
    """A caption, sometimes reworded; that of an image without objects may have "background"."""
    text = caption(pair, generator)
    if not pair.image_labels().any() and generator.random() < _BACKGROUND_RATE:
        bare = text.removesuffix(".")
        text = f"{bare} and background" if generator.random() < 0.5 else "a photo of a background"
    for name, others in SYNONYMS.items():
        if name in text and generator.random() < _SYNONYM_RATE:
            reworded = re.sub(rf"\b{name}\b", str(generator.choice(others)), text)
            if tokenizer(context_length).fits(reworded):
                text = reworded
    return text


@cache
def tokenizer(context_length: int) -> VocabularyTokenizer:
    """The tokenizer of micro-CLIP: its vocabulary is all words of captions and prompts."""
    words = [*caption_words(), *EXTRA_WORDS]
    words += [word for others in SYNONYMS.values() for word in others]
    return VocabularyTokenizer(vocabulary_of(words), context_length)
