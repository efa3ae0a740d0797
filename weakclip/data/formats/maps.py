"""Class activation maps and class scores in the file formats of other projects.

A file holds one image. Formats differ in which classes a file contains, whether they are counted
from 0 or 1, whether there is a background, and on which grid the values lie. `read_maps` converts
them to one type and never rescales values.

References:
    Ahn et al., "Weakly Supervised Learning of Instance Segmentation with Inter-Pixel Relations",
    CVPR 2019 (irn); the other layouts are named at `FORMATS`, and described with their sources in
    docs/your-own-maps.md.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Literal

import numpy as np

from weakclip.data.formats.arrays import read_plain
from weakclip.data.formats.image_maps import ImageMaps, Kind, maps_of, with_background
from weakclip.data.formats.masks import read_mask
from weakclip.labels import BACKGROUND, IGNORE
from weakclip.suggestion import suggestion

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from numpy.typing import NDArray

    from weakclip.data.formats.arrays import Plain

ARRAYS = (".npy", ".npz")
"""Suffixes of files with maps."""
SUFFIXES = (*ARRAYS, ".png")
"""Suffixes of files that can be read as maps; a PNG of labels gives maps of 0 and 1."""

Grid = Literal["image", "coarse"]
"""Which array to use if a file has both: that at image size (`high_res`), or `cam`."""

_AT_IMAGE_SIZE = ("attn_highres", "high_res", "hr_cam", "rw", "highres")
_COARSE = ("cam", "strided_cam")
_SCORES = ("msc_seg", "segs", "msc_segs")
_TOLERANCE = 1e-3


Content = dict[int | str, "Plain"]


def read_maps(path: Path, layout: str = "auto", *, grid: Grid = "image") -> ImageMaps:
    """The maps of one file with a suffix in `SUFFIXES`, of a format in `FORMATS` or detected.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is damaged, unsafe (see `read_plain`) or of another format, or `auto`
            does not recognise it or finds it ambiguous.
    """
    content = read_content(path)
    try:
        name = layout if layout != "auto" else layout_of(content)
        if name is None:
            raise ValueError(
                f"class numbers {_keys(content)} are counted from 0 (psa, seam, mctformer) or are "
                "labels with a background of 0 (crf); name the format"
            )
        if name not in FORMATS:
            raise ValueError(f"unknown format {name!r}; {suggestion(name, [*FORMATS, 'auto'])}")
        return FORMATS[name](content, grid)
    except KeyError as error:
        raise ValueError(
            f"{path}: not of format {name}: it lacks {error} and has {_keys(content)}"
        ) from error
    except (TypeError, ValueError) as error:
        raise ValueError(f"{path}: {error}") from error


def read_content(path: Path) -> Content:
    """The dict in a file; a plain array has the key `array`, the labels of a PNG the key `png`.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is damaged or unsafe.
    """
    if path.suffix.lower() == ".png":
        return {"png": read_mask(path)}
    content = read_plain(path)
    if isinstance(content, np.ndarray):
        return {"array": content}
    if not isinstance(content, dict):
        raise ValueError(f"{path}: expected a dict or an array, got {type(content).__name__}")
    return {int(key) if str(key).isdigit() else key: value for key, value in content.items()}


def layout_of(content: Content) -> str | None:
    """The format of a content; None if it is ambiguous.

    Raises:
        ValueError: If it is not a known format.
    """
    if content and all(isinstance(key, int) for key in content):
        if BACKGROUND not in content:
            return "seam"  # a file with a background always has it
        total = np.sum([np.asarray(value) for value in content.values()], axis=0)
        sums = len(content) > 1 and bool((np.abs(total - 1) < _TOLERANCE).all())
        return "crf" if sums else None
    for keys, name in _TELLING:
        if keys <= set(content):
            return name
    if "keys" in content and {*_AT_IMAGE_SIZE, *_COARSE} & set(content):
        return "irn"
    if set(_SCORES) & set(content):
        return "toco"
    raise ValueError(f"no known format of maps: it has {_keys(content)}; see docs/your-own-maps.md")


def _keyed(content: Content, grid: Grid) -> ImageMaps:
    """Maps with `keys`: classes from 0, or labels after a 0 for the background."""
    order = (*_AT_IMAGE_SIZE, *_COARSE) if grid == "image" else (*_COARSE, *_AT_IMAGE_SIZE)
    name = next((name for name in order if name in content), None)
    if name is None:
        raise KeyError("none of " + ", ".join(order))
    keys, maps = _integers(content["keys"]), _floats(content[name], 3)
    if len(keys) == len(maps) + 1 and keys[0] == BACKGROUND:
        labels = keys[1:]
    elif len(keys) == len(maps):
        labels = [key + 1 for key in keys]
    else:
        raise ValueError(f"expected a map for each of {len(keys)} keys, got {len(maps)} maps")
    return maps_of(labels, maps, at_image_size=name in _AT_IMAGE_SIZE)


def _by_class(content: Content, grid: Grid) -> ImageMaps:
    """One map per class; classes are counted from 0."""
    return maps_of([int(key) + 1 for key in content], _stacked(content))


def _by_label(content: Content, grid: Grid) -> ImageMaps:
    """One map per label; label 0 is the background."""
    if BACKGROUND not in content:
        raise KeyError("no background at 0")
    return with_background([int(key) for key in content], _stacked(content), kind="probability")


def _rows(content: Content, grid: Grid) -> ImageMaps:
    """`prob` for the labels `keys`: probabilities, or logits if a value cannot be a probability."""
    values = _floats(content["prob"], 3)
    return with_background(_integers(content["keys"]), values, kind=_kind(values))


def _all_scores(content: Content, grid: Grid) -> ImageMaps:
    """Logits or probabilities of all labels, (1, C, h, w) or (C, h, w)."""
    name = next((name for name in (*_SCORES, "array") if name in content), "msc_seg")
    values = np.asarray(content[name])
    scores = _floats(values[0] if values.ndim == 4 and len(values) == 1 else values, 3)
    coarse = with_background(range(len(scores)), scores, kind=_kind(scores))
    return replace(coarse, at_image_size=False)


def _background_first(content: Content, grid: Grid) -> ImageMaps:
    """ExCEL: `valid_lam` has the background first, then the classes `keys_gt`, counted from 0."""
    values, keys = _floats(content["valid_lam"], 3), _integers(content["keys_gt"])
    if len(values) != len(keys) + 1:
        raise ValueError(f"expected {len(keys)} maps and a background, got {len(values)} maps")
    found = maps_of([key + 1 for key in keys], values[1:])
    return replace(found, background=values[0])


def _ours(content: Content, grid: Grid) -> ImageMaps:
    """Files written by `write_maps`."""
    height, width = _integers(content["size"])
    found = maps_of(_integers(content["labels"]), _floats(content["maps"], 3), at_image_size=False)
    return replace(found, size=(height, width))


def _seeds(content: Content, grid: Grid) -> ImageMaps:
    """1 where a PNG has the label; undecided pixels are 0 in all maps."""
    mask = np.asarray(content["png"])
    labels = [label for label in np.unique(mask).tolist() if label not in (BACKGROUND, IGNORE)]
    maps = np.stack([mask == label for label in labels]) if labels else np.zeros((0, *mask.shape))
    found = maps_of(labels, maps.astype(np.float32))
    return replace(found, background=(mask == BACKGROUND).astype(np.float32))


FORMATS: Mapping[str, Callable[[Content, Grid], ImageMaps]] = {
    "irn": _keyed, "recam": _keyed, "clims": _keyed, "clip-es": _keyed, "puzzle": _keyed,
    "psa": _by_class, "seam": _by_class, "mctformer": _by_class, "weaktr": _by_class,
    "crf": _by_label, "prob": _rows, "toco": _all_scores, "weclip": _all_scores,
    "deeplab": _all_scores, "excel": _background_first, "weakclip": _ours, "png": _seeds,
}  # fmt: skip
"""Readers by the program that writes the format. `crf`: maps of psa, SEAM and MCTformer after their
CRF; `prob`: the networks that WeakTr and WeakCLIP retrain; `weakclip`: this package."""

_TELLING = (
    ({"labels", "maps", "size"}, "weakclip"),
    ({"prob", "keys"}, "prob"),
    ({"valid_lam", "keys_gt"}, "excel"),
    ({"array"}, "deeplab"),
    ({"png"}, "png"),
)


def _keys(content: Content) -> str:
    return ", ".join(repr(key) for key in list(content)[:8]) or "nothing"


def _integers(values: Plain) -> list[int]:
    """Class numbers as Python integers; with `uint8`, adding 1 would wrap at 255."""
    array = np.asarray(values)
    if array.ndim != 1 or (array.size and array.dtype.kind not in "iu"):
        raise ValueError(f"expected a row of whole numbers, got {array.dtype} {array.shape}")
    return [int(one) for one in array]


def _floats(values: Plain, ndim: int) -> NDArray[np.float32]:
    array = np.asarray(values)
    if array.ndim != ndim or array.dtype.kind != "f":
        raise ValueError(f"expected floats with {ndim} axes, got {array.dtype} {array.shape}")
    return array.astype(np.float32)


def _kind(values: NDArray[np.float32]) -> Kind:
    """Logits if a value cannot be a probability, else probabilities."""
    outside = values.size > 0 and (values.min() < 0 or values.max() > 1 + _TOLERANCE)
    return "logit" if outside else "probability"


def _stacked(content: Content) -> NDArray[np.float32]:
    maps = [_floats(value, 2) for value in content.values()]
    if len({one.shape for one in maps}) > 1:
        raise ValueError(f"maps of several sizes: {sorted({one.shape for one in maps})}")
    return np.stack(maps)
