"""The published training-free dense CLIPs as values of `DenseAttention`.

They share all that does not make them different: whole images in their proportions, tags. What
releases add (windows, probability and area thresholds chosen on the evaluation sets, PAMR)
is not in the values; windows are a field, PAMR is a refinement.
"""

from __future__ import annotations

from dataclasses import replace

from weakclip.clip.dense import ChangedBlocks, SelfSelf, Similarity
from weakclip.clip.names import CLIP_ES_VOC_BACKGROUND, CLIP_ES_VOC_NAMES, renamed
from weakclip.data.read.voc import VOC_CLASSES
from weakclip.dense_attention.scores import FeatureSurgery, MinMax, PresentSoftmax
from weakclip.dense_attention.source import DenseAttention, Resize
from weakclip.dense_attention.templates import IMAGENET_80, MASKCLIP_85

MASKCLIP = DenseAttention()
"""Values only, residual path and MLP kept: the released code."""

SCLIP = DenseAttention(
    change=ChangedBlocks(attention=Similarity(pairs=("qq", "kk"), combine="sum")),
    scores=PresentSoftmax(scale=40),
    templates=IMAGENET_80,
    resize=Resize(short_side=336),
    positions="bicubic",
)
"""The two softmaxes are summed, so rows sum to 2, beside residual path and MLP."""

CLEARCLIP = replace(
    SCLIP,
    change=ChangedBlocks(
        attention=Similarity(pairs=("qq",)), residual="removed", feed_forward="removed"
    ),
    scores=PresentSoftmax(scale=50),
    resize=Resize(short_side=448),
)

NACLIP = replace(
    SCLIP,
    change=ChangedBlocks(
        attention=Similarity(pairs=("kk",), window=5.0), residual="removed", feed_forward="removed"
    ),
)

GEM = DenseAttention(
    change=ChangedBlocks(attention=SelfSelf(), blocks=6, feed_forward="removed"),
    scores=MinMax(),
    templates=("a photo of a {}.",),
    resize=Resize(short_side=448, proportions="square"),
    positions="antialiased",
)

CLIP_SURGERY = DenseAttention(
    change=ChangedBlocks(attention=Similarity(pairs=("vv",)), blocks=6, feed_forward="removed"),
    scores=FeatureSurgery(),
    templates=MASKCLIP_85,
    resize=Resize(short_side=512, proportions="square"),
)

EXCEL = DenseAttention(
    change=ChangedBlocks(
        attention=Similarity(pairs=("qq", "kk", "vv"), heads="sum"),
        blocks=5,
        feed_forward="removed",
    ),
    scores=FeatureSurgery(texts="all", norm="tokens", extremes="tokens"),
    templates=("a clean origami {}.",),
    resize=Resize(short_side=320, proportions="square"),
    colours="imagenet",
)
"""The static map of ExCEL without its descriptions of classes; CAA and PAR are refinements."""

METHODS: dict[str, DenseAttention] = {
    "maskclip": MASKCLIP,
    "sclip": SCLIP,
    "clearclip": CLEARCLIP,
    "naclip": NACLIP,
    "gem": GEM,
    "clip-surgery": CLIP_SURGERY,
    "excel": EXCEL,
}
"""At the size of ViT-B/16, with the names and background words of the setting."""


def micro(method: DenseAttention) -> DenseAttention:
    """A method for the embedded micro-CLIP: one sentence, images as they are, half the blocks.

    micro-CLIP has 6 blocks for the 12 of ViT-B/16 and knows few sentences.
    """
    change = replace(method.change, blocks=-(-method.change.blocks // 2))
    return replace(method, change=change, templates=("a photo of a {}.",), resize=None)


MICRO: dict[str, DenseAttention] = {name: micro(method) for name, method in METHODS.items()}

SCLIP_BACKGROUND = (
    "sky", "wall", "tree", "wood", "grass", "road", "sea", "river", "mountain", "sands", "desk",
    "bed", "building", "cloud", "lamp", "door", "window", "wardrobe", "ceiling", "shelf", "curtain",
    "stair", "floor", "hill", "rail", "fence",
)  # fmt: skip
"""What SCLIP and NACLIP call the background of VOC."""

_CLEARCLIP_NAMES = renamed(VOC_CLASSES, {"boat": "ship", "diningtable": "table"})
_SEVERAL = {
    "person": (
        "person", "person in shirt", "person in jeans", "person in dress", "person in sweater",
        "person in skirt", "person in jacket",
    ),
    "tvmonitor": ("television monitor", "tv monitor", "monitor", "television", "screen"),
}  # fmt: skip
_SCLIP_NAMES = tuple(_SEVERAL.get(name, (name,)) for name in _CLEARCLIP_NAMES)

VOC: dict[str, DenseAttention] = {
    "sclip": replace(SCLIP, class_phrases=_SCLIP_NAMES, background=SCLIP_BACKGROUND),
    "clearclip": replace(
        CLEARCLIP,
        class_phrases=tuple((name,) for name in _CLEARCLIP_NAMES),
        background=("background",),
    ),
    "naclip": replace(NACLIP, class_phrases=_SCLIP_NAMES, background=SCLIP_BACKGROUND),
    "excel": replace(
        EXCEL,
        class_phrases=tuple((name,) for name in CLIP_ES_VOC_NAMES),
        background=CLIP_ES_VOC_BACKGROUND,
    ),
}
"""With the words of the releases for PASCAL VOC, where they have their own."""
