"""The first screen of the page: the main result, a figure, an example image, and a glossary."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.gallery.index import folder_of, read_index
from bench.report.figures.gain import SHOWS
from bench.report.gain import sentences
from bench.report.page.gallery import picture
from bench.report.page.html import Html, bullets, join, tag
from bench.report.page.study import inline_svg
from bench.report.sentences.findings import findings
from bench.stats.effects import tasks_of
from bench.studies.study import MAIN

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from bench.report.build import Report
    from bench.report.gain import Gain

CARTOON = (
    "a procedural data set in the layout of PASCAL VOC: drawn scenes with the 20 classes of VOC, "
    "labelled exactly, and micro-CLIP, a small CLIP pretrained on captions of such scenes. Nothing "
    "here was measured on photographs."
)
TASKS = {
    "train-pseudo": "masks of the training images; the image's tags are known, as in training",
    "train-pseudo-crf": "the same masks after a dense CRF",
    "val-network": "the network's labels of unseen images; no tags, no CRF",
}
"""Task -> what it scores."""
SETTING = (
    "{iterations} steps of {batch_size} images at a learning rate of {learning_rate}, times the "
    "factor of each component in the configuration. Nothing is claimed about other settings."
)
"""Template; filled in from the recipe in the protocol of a run."""
WORDS = {
    "Point": "a hundredth of mIoU. Differences are paired by seed and image and stand with their "
    "95 % interval over seeds and images; a difference is significant if p < 0.05 after Holm's "
    "correction.",
}


def first_screen(reports: Sequence[Report], found: Gain | None, root: Path) -> tuple[Html, Html]:
    """Return the top section, and the section with the findings of the other studies.

    Args:
        reports: Reports of all studies, the main one first.
        found: The gain of the main study, if it has one.
        root: The results folder, with the figure of the gain and the gallery.
    """
    lead = _findings(reports[:1]) if found is None else join(_answer(found), _figure(root))
    top = tag(
        "section",
        tag("div", lead, class_="answer"),
        tag("div", _image(root), _words(reports), class_="answer"),
        id="summary",
        class_="summary",
    )
    others = [report for report in reports if found is None or report.study.name != MAIN]
    return top, tag("section", tag("h2", "The other studies"), _findings(others), id="findings")


def _answer(found: Gain) -> Html:
    first, *more = sentences(found)
    return tag("div", tag("p", first, class_="lead"), *(tag("p", text) for text in more))


def _figure(root: Path) -> Html:
    path = root / "figures" / "gain.svg"
    if not path.exists():
        return join()
    svg = inline_svg(path.read_text(encoding="utf-8"), "gain", SHOWS, zoom=1.2)
    return tag("figure", svg, tag("figcaption", SHOWS))


def _image(root: Path) -> Html:
    """The typical image of the gallery with the most tags."""
    index = read_index(root)
    typical = [] if index is None else [image for image in index.images if image.why == "typical"]
    if index is None or not typical:
        return join()
    image, variant = max(typical, key=lambda image: len(image.tags)), index.variants[0]
    columns = {
        "image": "image",
        "cam": "map of the frozen CLIP",
        "seed": "seeds; light: undecided",
        f"mask-{variant}": f"WeakCLIP's mask, {100 * image.scores[variant]:.0f} % mIoU here",
        "gt": "ground truth",
    }
    pictures = [
        picture(folder_of(root) / image.files[key], text, f"{text}, {image.name}")
        for key, text in columns.items()
    ]
    text = f"A typical training image with the tags {', '.join(image.tags)}"
    more = tag("a", "more images", href="#gallery")
    return tag("div", tag("p", f"{text} (", more, "):"), tag("div", *pictures, class_="strip five"))


def _words(reports: Sequence[Report]) -> Html:
    """Explanations of the data set, tasks and terms that occur."""
    data = {str(report.records[0].provenance.data.get("name")) for report in reports}
    words = {name: CARTOON for name in sorted(data) if name.startswith("CartoonVOC")}
    for task in dict.fromkeys(task for report in reports for task in tasks_of(report.records)):
        if task in TASKS:
            words[task] = TASKS[task]
    recipe = reports[0].records[0].protocol.get("recipe")
    if isinstance(recipe, dict):
        words["Setting"] = SETTING.format(**recipe)
    pairs = [
        part
        for word, text in {**words, **WORDS}.items()
        for part in (tag("dt", word), tag("dd", text))
    ]
    return tag("dl", *pairs, class_="words")


def _findings(reports: Sequence[Report]) -> Html:
    """The findings of studies, each under a link to its section."""
    parts = [
        tag(
            "div",
            tag("h3", tag("a", report.study.question, href=f"#study-{report.study.name}")),
            bullets(report.said or findings(report.records, report.found)),
        )
        for report in reports
    ]
    return tag("div", *parts, class_="findings")
