"""Phrases for the classes of VOC and COCO and for the background, as input of CLIP's text tower.

The phrases affect the results of every CLIP-based method, and each paper has its own. A list that a
paper derived from the plain names is written as its changes to them.

References:
    Lin et al., "CLIP is Also an Efficient Segmenter" (CLIP-ES), CVPR 2023 (`linyq2117/CLIP-ES`).
    Xie et al., "CLIMS", CVPR 2022 (`CVI-SZU/CLIMS`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from weakclip.data.read.voc import VOC_CLASSES

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


def renamed(names: Sequence[str], changes: Mapping[str, str]) -> tuple[str, ...]:
    """`names` in their order, with some of them replaced.

    Args:
        names: The present names.
        changes: New names of some of them.

    Raises:
        ValueError: If a changed name is not among `names`.

    Example:
        >>> renamed(("cat", "bird"), {"bird": "bird avian"})
        ('cat', 'bird avian')
    """
    if unknown := sorted(set(changes) - set(names)):
        raise ValueError(f"changes: expected some of {', '.join(names)}, got {', '.join(unknown)}")
    return tuple(changes.get(name, name) for name in names)


VOC_NAMES = renamed(
    VOC_CLASSES,
    {"diningtable": "dining table", "pottedplant": "potted plant", "tvmonitor": "tv monitor"},
)
"""The 20 classes of PASCAL VOC in label order, as words."""

COCO_NAMES: tuple[str, ...] = (
    "person", "bicycle", "car", "motorcycle", "airplane", "bus", "train", "truck", "boat",
    "traffic light", "fire hydrant", "stop sign", "parking meter", "bench", "bird", "cat", "dog",
    "horse", "sheep", "cow", "elephant", "bear", "zebra", "giraffe", "backpack", "umbrella",
    "handbag", "tie", "suitcase", "frisbee", "skis", "snowboard", "sports ball", "kite",
    "baseball bat", "baseball glove", "skateboard", "surfboard", "tennis racket", "bottle",
    "wine glass", "cup", "fork", "knife", "spoon", "bowl", "banana", "apple", "sandwich", "orange",
    "broccoli", "carrot", "hot dog", "pizza", "donut", "cake", "chair", "couch", "potted plant",
    "bed", "dining table", "toilet", "tv", "laptop", "mouse", "remote", "keyboard", "cell phone",
    "microwave", "oven", "toaster", "sink", "refrigerator", "book", "clock", "vase", "scissors",
    "teddy bear", "hair drier", "toothbrush",
)  # fmt: skip
"""The 80 classes of COCO in the order of their contiguous labels."""

_SYNONYMS = {
    "bird": "bird avian",
    "chair": "chair seat",
    "person": "person with clothes,people,human",
}

CLIP_ES_VOC_NAMES = renamed(VOC_CLASSES, {**_SYNONYMS, "tvmonitor": "tvmonitor screen"})
"""CLIP-ES's synonym fusion for VOC: several words for a class in one sentence."""

CLIP_ES_COCO_NAMES = renamed(
    COCO_NAMES,
    {
        **_SYNONYMS,
        "motorcycle": "motorbike",
        "airplane": "aeroplane",
        "backpack": "backpack,bag",
        "umbrella": "umbrella,parasol",
        "handbag": "handbag,purse",
        "tie": "necktie",
        "snowboard": "sknowboard",  # the release's spelling, and its embedding
        "baseball glove": "glove",
        "spoon": "dessertspoon",
        "couch": "sofa",
        "potted plant": "pottedplant",
        "dining table": "diningtable",
        "tv": "tvmonitor screen",
        "remote": "remote control",
        "hair drier": "hairdrier,blowdrier",
    },
)
"""CLIP-ES's synonym fusion for COCO."""

CLIP_ES_VOC_BACKGROUND: tuple[str, ...] = (
    "ground", "land", "grass", "tree", "building", "wall", "sky", "lake", "water", "river", "sea",
    "railway", "railroad", "keyboard", "helmet", "cloud", "house", "mountain", "ocean", "road",
    "rock", "street", "valley", "bridge", "sign",
)  # fmt: skip
"""CLIP-ES's class-related background set for VOC."""

CLIP_ES_COCO_BACKGROUND = tuple(
    word for word in CLIP_ES_VOC_BACKGROUND if word not in {"keyboard", "sign"}
)
"""The same for COCO, without keyboard and sign: keyboard and stop sign are classes."""

CLIMS_VOC_NAMES = renamed(VOC_NAMES, {"person": "player"})
"""CLIMS's words for VOC."""

CLIMS_COCO_NAMES = renamed(COCO_NAMES, {"person": "player"})
"""CLIMS's words for COCO."""

CLIMS_VOC_BACKGROUND: tuple[str, ...] = (
    "tree", "river", "sea", "lake", "water", "railway", "railroad", "track", "stone", "rocks",
)  # fmt: skip
"""Backgrounds that CLIMS suppresses because they co-occur with classes of VOC."""

CLIMS_COCO_BACKGROUND: tuple[str, ...] = (
    "street sign", "mountain", "video game", "men", "track", "bus stop", "cabinet", "tray",
    "plate", "shirt", "city street", "runway", "tower", "ramp", "grass", "pillow", "urinal",
    "lake", "brick", "fence", "shower", "airport", "animal", "shower curtain", "road", "mirror",
    "jacket", "church", "snow", "fruit", "hay", "floor", "field", "street", "mouth",
    "steam engine", "cheese", "river", "tree branch", "suit", "child", "soup", "desk", "tub",
    "tennis court", "teeth", "bridge", "sky", "officer", "sidewalk", "dock", "tree", "court",
    "rock", "board", "branch", "pan", "box", "body", "salad", "dirt", "leaf", "hand", "highway",
    "vegetable", "computer monitor", "door", "meat", "pair", "beach", "harbor", "ocean",
    "baseball player", "girl", "market", "window", "blanket", "boy", "woman", "bat", "baby",
    "flower", "wall", "bath tub", "tarmac", "tennis ball", "roll", "park",
)  # fmt: skip
"""The same for COCO; it overlaps classes (`men`, `child`, `animal`), as in the release."""
