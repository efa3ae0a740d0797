"""The files of one CartoonVOC image: image, masks, annotation, and labels that VOC lacks."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict
from typing import TYPE_CHECKING, NamedTuple
from xml.etree import ElementTree

import numpy as np
from PIL import Image

from weakclip.data.formats.masks import void_border, write_mask
from weakclip.data.read.voc import VOC_CLASSES
from weakclip.labels import IGNORE

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from bench.cartoon.world import Instance, Scene

FOLDERS: tuple[str, ...] = (
    "JPEGImages", "SegmentationClass", "SegmentationObject", "Annotations",
    "ImageSets/Segmentation", "ImageSets/Main", "CartoonVOC/StuffMap", "CartoonVOC/PartMap",
)  # fmt: skip
"""Folders of a data set, relative to its root."""

JPEG_QUALITY = 95


class SceneRecord(NamedTuple):
    """The entries of one scene in the files about the whole data set.

    Attributes:
        image_id: Name of its files.
        digest: SHA-256 of image and maps, hexadecimal.
        captions: Line of `captions.jsonl`.
        instances: Line of `instances.jsonl`.
    """

    image_id: str
    digest: str
    captions: str
    instances: str


def image_id(split: str, number: int) -> str:
    """Name of image `number` of a split.

    Example:
        >>> image_id("val", 17)
        'val_000017'
    """
    return f"{split}_{number:06d}"


def write_scene(root: Path, name: str, scene: Scene, captions: Sequence[str]) -> SceneRecord:
    """Write the files of one scene.

    Args:
        root: The data set being built; its folders exist.
        name: Image id.
        scene: The scene.
        captions: Its captions.
    """
    objects = annotated_objects(scene)
    jpeg = root / "JPEGImages" / f"{name}.jpg"
    Image.fromarray(scene.image).save(jpeg, quality=JPEG_QUALITY, subsampling=0)
    write_mask(root / "SegmentationClass" / f"{name}.png", scene.gt_mask())
    write_mask(root / "SegmentationObject" / f"{name}.png", _object_mask(scene, objects))
    write_mask(root / "CartoonVOC" / "StuffMap" / f"{name}.png", scene.stuff_map)
    write_mask(root / "CartoonVOC" / "PartMap" / f"{name}.png", scene.part_map)
    annotation = annotation_xml(name, scene, objects)
    (root / "Annotations" / f"{name}.xml").write_text(annotation, encoding="utf-8")
    return SceneRecord(
        image_id=name,
        digest=_digest(scene),
        captions=json.dumps({"image_id": name, "captions": list(captions)}),
        instances=json.dumps(_description(name, scene, objects)),
    )


def annotated_objects(scene: Scene) -> tuple[Instance, ...]:
    """The instances in the annotation: those of classes that count as present."""
    present = scene.image_labels()
    return tuple(one for one in scene.instances if present[one.class_index])


def annotation_xml(name: str, scene: Scene, objects: Sequence[Instance]) -> str:
    """An annotation in VOC's format; an object below `visible_fraction` is marked difficult."""
    height, width, depth = scene.image.shape
    too_small = scene.visible_fraction * height * width
    source = {"database": "CartoonVOC", "annotation": "CartoonVOC", "image": "rendered"}
    root = ElementTree.Element("annotation")
    _append(root, {"folder": "CartoonVOC", "filename": f"{name}.jpg"})
    _append(ElementTree.SubElement(root, "source"), source)
    size = {"width": width, "height": height, "depth": depth}
    _append(ElementTree.SubElement(root, "size"), size)
    _append(root, {"segmented": 1})
    for one in objects:
        node = ElementTree.SubElement(root, "object")
        left, top, right, bottom = one.box
        fields = {
            "name": VOC_CLASSES[one.class_index],
            "pose": "Unspecified",
            "truncated": int(one.truncated),
            "occluded": int(one.occluded),
            "difficult": int(one.visible_area < too_small),
        }
        _append(node, fields)
        box = {"xmin": left + 1, "ymin": top + 1, "xmax": right, "ymax": bottom}  # 1-based, closed
        _append(ElementTree.SubElement(node, "bndbox"), box)
    ElementTree.indent(root, space="\t")
    return ElementTree.tostring(root, encoding="unicode") + "\n"


def _append(node: ElementTree.Element, fields: Mapping[str, object]) -> None:
    for tag, value in fields.items():
        ElementTree.SubElement(node, tag).text = str(value)


def _object_mask(scene: Scene, objects: Sequence[Instance]) -> NDArray[np.uint8]:
    """(S, S) uint8: i for the i-th object of the annotation (from 1), 0 none, 255 void."""
    numbers = np.full(256, IGNORE, dtype=np.uint8)
    numbers[0] = 0
    for i, one in enumerate(objects, start=1):
        numbers[one.instance_id] = i
    void = void_border(scene.instance_map) | (scene.gt_mask() == IGNORE)
    return np.where(void, np.uint8(IGNORE), numbers[scene.instance_map])


def _digest(scene: Scene) -> str:
    hasher = hashlib.sha256()
    maps = (scene.class_map, scene.instance_map, scene.stuff_map, scene.part_map)
    for array in (scene.image, *maps):
        hasher.update(np.ascontiguousarray(array).tobytes())
    return hasher.hexdigest()


def _description(name: str, scene: Scene, objects: Sequence[Instance]) -> dict[str, object]:
    """Place, stuff and visible instances; `object` is the number in the annotation or null."""
    numbers = {one.instance_id: i for i, one in enumerate(objects, start=1)}
    rows = []
    for one in scene.instances:
        row = asdict(one)
        row["class_name"] = VOC_CLASSES[one.class_index]
        row["object"] = numbers.get(one.instance_id)
        row["occluded"] = one.occluded
        row["scale"] = round(one.scale, 4)
        row["centre"] = [round(x, 4) for x in one.centre]
        rows.append(row)
    return {"image_id": name, "place": scene.place, "stuff": list(scene.stuff), "instances": rows}
