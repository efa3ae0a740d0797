"""The gallery of the report, from the index and pictures that `python -m bench gallery` wrote."""

from __future__ import annotations

from base64 import b64encode
from typing import TYPE_CHECKING

from bench.gallery.index import ERROR_KEYS, GalleryIndex, Shown, folder_of, read_index
from bench.report.page.html import Html, join, tag
from bench.report.sentences.caption import preset_label

if TYPE_CHECKING:
    from pathlib import Path

    from bench.gallery.index import Folder

GROUPS = {
    "typical": "Typical images: of each class, the one with the median score of the first variant",
    "worst": "Worst images of the first variant",
}
OPEN = 3
"""Number of images of a group that are visible without a click."""


def gallery_section(root: Path) -> Html:
    """Return the gallery of a results folder; empty if it has none."""
    index = read_index(root)
    if index is None:
        return Html("")
    folder = folder_of(root)
    parts = [
        join(tag("h3", GROUPS[why]), *_folded([_shown(index, image, folder) for image in images]))
        for why in GROUPS
        if (images := [image for image in index.images if image.why == why])
    ]
    keys = [
        tag("li", tag("span", class_="key", style=f"background:{colour}"), text)
        for text, colour in ERROR_KEYS.items()
    ]
    about = (
        f"Training images of {index.split}, preset {preset_label(index.preset)}, seed "
        f"{index.seed}; masks use the tags, without dense CRF. Commit {index.commit[:10]}"
        f"{' (dirty tree)' if index.dirty else ''}."
    )
    return tag(
        "section",
        tag("h2", "Gallery"),
        tag("p", about, class_="quiet"),
        tag("p", "Colours of the error maps:"),
        tag("ul", *keys, class_="keys"),
        _controls(index),
        *parts,
        id="gallery",
        class_="gallery",
    )


def _folded(images: list[Html]) -> list[Html]:
    """The first images of a group, and the others in an element that opens on a click."""
    first, rest = images[:OPEN], images[OPEN:]
    if not rest:
        return first
    return [*first, tag("details", tag("summary", f"{len(rest)} more"), *rest)]


def _controls(index: GalleryIndex) -> Html:
    radios = [
        tag(
            "label",
            tag("input", type="radio", name="variant", value=value, checked=not number),
            f" {text}",
        )
        for number, (value, text) in enumerate(
            [*((name, name) for name in index.variants), ("", "all")]
        )
    ]
    tags = sorted({name for image in index.images for name in image.tags})
    options = [tag("option", name, value=name) for name in tags]
    return tag(
        "form",
        tag("fieldset", tag("legend", "Variant"), *radios),
        tag("label", "Class ", tag("select", tag("option", "all classes", value=""), *options)),
        tag("output", "", aria_live="polite"),
        class_="controls",
        hidden=True,
    )


def _shown(index: GalleryIndex, image: Shown, folder: Folder) -> Html:
    tags = ", ".join(image.tags)
    common = {"image": "image", "cam": "CAM", "seed": "seed", "gt": "ground truth"}
    pictures = [
        picture(folder / image.files[key], text, f"{text} of {image.name}")
        for key, text in common.items()
    ]
    for variant in index.variants:
        score = f"{100 * image.scores[variant]:.1f} % mIoU"
        for kind, text in (("mask", f"{variant}: {score}"), ("error", f"{variant}: errors")):
            path = folder / image.files[f"{kind}-{variant}"]
            label = f"{kind} of {variant} on {image.name}, {score}"
            pictures.append(picture(path, text, label, variant=variant))
    return tag(
        "div",
        tag("h4", f"{image.name}: {tags}"),
        tag("div", *pictures, class_="strip"),
        class_="shown",
        data_tags="|".join(image.tags),
    )


def picture(path: Folder, caption: str, label: str, *, variant: str = "") -> Html:
    """Return a figure that embeds the bytes of a file.

    Args:
        path: A PNG or WebP.
        caption: Caption below the picture.
        label: Alternative text.
        variant: Row of the study to which the picture belongs, if any.
    """
    kind = path.suffix.removeprefix(".")
    source = f"data:image/{kind};base64,{b64encode(path.read_bytes()).decode()}"
    picture = tag("img", src=source, alt=label, loading="lazy", decoding="async")
    return tag("figure", picture, tag("figcaption", caption), data_variant=variant or False)
