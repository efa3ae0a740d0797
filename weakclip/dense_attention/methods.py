"""The published training-free dense CLIPs as values of `DenseAttention`.

Whatever does not distinguish them is the same for all: tags, and whole images with their aspect
ratio. Additions of the releases (windows, PAMR, thresholds on probability and area chosen on the
evaluation sets) are not included; windows are a field of the configuration, PAMR is a refinement.
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
"""The released code: attention replaced by the values, residual path and MLP kept."""

SCLIP = DenseAttention(
    change=ChangedBlocks(attention=Similarity(pairs=("qq", "kk"), combine="sum")),
    scores=PresentSoftmax(scale=40),
    templates=IMAGENET_80,
    resize=Resize(short_side=336),
    positions="bicubic",
)
"""The two softmaxes are summed, so rows sum to 2; residual path and MLP are kept."""

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
"""ExCEL's static map without its descriptions of classes; CAA and PAR are refinements."""

METHODS: dict[str, DenseAttention] = {
    "maskclip": MASKCLIP,
    "sclip": SCLIP,
    "clearclip": CLEARCLIP,
    "naclip": NACLIP,
    "gem": GEM,
    "clip-surgery": CLIP_SURGERY,
    "excel": EXCEL,
}
"""Methods at the size of ViT-B/16, with the names and background words of the setting."""


def micro(method: DenseAttention) -> DenseAttention:
    """A method for the embedded micro-CLIP: one template, no resizing, half the blocks.

    micro-CLIP has 6 blocks, ViT-B/16 has 12, and its vocabulary is small.
    """
    change = replace(method.change, blocks=-(-method.change.blocks // 2))
    return replace(method, change=change, templates=("a photo of a {}.",), resize=None)


MICRO: dict[str, DenseAttention] = {name: micro(method) for name, method in METHODS.items()}

SCLIP_BACKGROUND = (
    "sky", "wall", "tree", "wood", "grass", "road", "sea", "river", "mountain", "sands", "desk",
    "bed", "building", "cloud", "lamp", "door", "window", "wardrobe", "ceiling", "shelf", "curtain",
    "stair", "floor", "hill", "rail", "fence",
)  # fmt: skip
"""SCLIP's and NACLIP's background words for VOC."""

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
"""Methods with the words of their releases for PASCAL VOC, where they have their own."""
