"""Which sentence to speak to CLIP in: CLIP-ES's sharpness, measured on images and tags alone.

Softmax makes classes of one image compete; where a sentence gives the present classes equal scores
scores, none loses its map. The release kept no code for this (`linyq2117/CLIP-ES`, issue 18).

References:
    Lin et al., "CLIP is Also an Efficient Segmenter" (CLIP-ES), CVPR 2023, Eq. 9.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, assert_never

import torch

from weakclip.ops.shapes import dims
from weakclip.stages.batches import resize_images
from weakclip.stages.seeds import encode_texts, image_logits
from weakclip.training.views import normalise_images

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from torch import Tensor

    from weakclip.clip.bundle import CLIPBundle
    from weakclip.stages.protocols import Setting, TaggedImages

Aggregate = Literal["ratio-of-sums", "mean-of-ratios"]
"""Sum of the variances over the sum of the means, or the mean of each image's own ratio."""

_BATCH = 64


def sharpness(
    scores: Tensor, image_labels: Tensor, *, aggregate: Aggregate = "ratio-of-sums"
) -> float:
    """How unequal the scores of an image's classes are; low is good.

    Args:
        scores: Softmax over all class texts, (N, F), in [0, 1].
        image_labels: Image-level tags, (N, F), bool. Images with fewer than two tags say nothing
            about competition and are left out.
        aggregate: How images are put together; which one the paper means could not be checked.

    Returns:
        Variance (of the present classes, around their mean, divided by their number) over mean,
        >= 0.

    Raises:
        ValueError: If shapes differ or no image has two tags.

    Example:
        >>> tags = torch.tensor([[True, True, False]])
        >>> sharpness(torch.tensor([[0.5, 0.5, 0.0]]), tags)
        0.0
    """
    dims(scores, "N F", name="scores")
    if scores.shape != image_labels.shape:
        raise ValueError(
            f"image_labels: expected shape {tuple(scores.shape)}, got {tuple(image_labels.shape)}"
        )
    several = image_labels.sum(dim=1) > 1
    if not bool(several.any()):
        raise ValueError("sharpness: expected images with two tags or more, got none")
    present, values = image_labels[several], scores[several].double()
    count = present.sum(dim=1)
    mean = (values * present).sum(dim=1) / count
    variance = ((values - mean[:, None]).square() * present).sum(dim=1) / count
    match aggregate:
        case "ratio-of-sums":
            return float(variance.sum() / mean.sum())
        case "mean-of-ratios":
            return float((variance / mean.clamp(min=1e-12)).mean())
        case _:
            assert_never(aggregate)


def select_template(
    setting: Setting,
    data: TaggedImages,
    templates: Sequence[str],
    *,
    aggregate: Aggregate = "ratio-of-sums",
) -> tuple[str, dict[str, float]]:
    """The template of lowest sharpness, and every template's.

    Args:
        setting: CLIP, class names and device.
        data: Images and tags; no pixel annotation is looked at.
        templates: Candidates, sentences with one `{}`.
        aggregate: See `sharpness`.

    Raises:
        ValueError: If there is no template, or CLIP's tokeniser does not know a word of one.
    """
    if not templates:
        raise ValueError("templates: expected one or more, got none")
    recorded = record_scores(setting, data, templates)
    values = {
        template: sharpness(scores, data.image_labels, aggregate=aggregate)
        for template, scores in recorded.items()
    }
    return min(values, key=lambda template: values[template]), values


@torch.no_grad()
def record_scores(
    setting: Setting, data: TaggedImages, templates: Sequence[str]
) -> dict[str, Tensor]:
    """CLIP's ordinary classification of every image with every template.

    Images are squeezed to the square that CLIP was trained on, so that no tagged object is cropped
    away; each goes through the tower once, whatever the number of templates.

    Returns:
        Template to softmax scores over the F class texts, (N, F), on the CPU.
    """
    clip = setting.clip
    banks = {
        template: encode_texts(clip, setting.class_names, (), template) for template in templates
    }
    recorded: dict[str, list[Tensor]] = {template: [] for template in templates}
    for images in _squares(clip, data):
        pixels = normalise_images(images.to(setting.device), clip.mean, clip.std)
        trace = clip.image.forward_tokens(pixels)
        for template, texts in banks.items():
            logits = image_logits(clip, trace.tokens[-1], trace.grid, texts)
            recorded[template].append(logits.softmax(dim=1).cpu())
    return {template: torch.cat(parts) for template, parts in recorded.items()}


def _squares(clip: CLIPBundle, data: TaggedImages) -> Iterator[Tensor]:
    """Batches (B, 3, S, S), uint8."""
    size = (clip.image_size, clip.image_size)
    for start in range(0, len(data), _BATCH):
        rows = range(start, min(start + _BATCH, len(data)))
        yield torch.cat([resize_images(data.image(row)[None], size) for row in rows])
