"""The mask of one tagged image, without training and without files."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from weakclip.data.formats.from_files import FromFiles
from weakclip.masking.plan import MaskPlan, plan_for
from weakclip.masking.predict import Labelled, pixels_of
from weakclip.stages.maps import WrittenMaps
from weakclip.stages.method import finished
from weakclip.stages.network import TrainedWeakCLIP
from weakclip.stages.size import scores_at, shrink, working_size
from weakclip.stages.words import setting_for

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray
    from PIL import Image

    from weakclip.clip.bundle import CLIPBundle


def pseudo_mask(
    image: Image.Image | NDArray[np.uint8],
    tags: Sequence[str],
    clip: CLIPBundle,
    *,
    plan: MaskPlan | None = None,
) -> Labelled:
    """Segment an image whose tags are known. Nothing is trained or written.

    Args:
        image: A PIL image, or an array (H, W, 3), uint8, RGB.
        tags: Names of the classes in the image, at least one.
        clip: From `weakclip.load_clip`.
        plan: How to make the mask; by default `plan_for(clip, "clip-es")`.

    Returns:
        `labels` (H, W), uint8, 0 = background and c + 1 = `class_names[c]`; `scores`
        (1 + F, H, W); `class_names`, the tags without duplicates.

    Raises:
        TypeError: If the image is neither a PIL image nor a uint8 array, or the tags are a single
            string.
        ValueError: If an array has another shape, there is no tag or more than 254, a word is not
            in the CLIP's vocabulary, or the plan requires training or map files.

    Example:
        >>> import numpy as np, weakclip
        >>> clip = weakclip.load_clip("micro")  # knows cartoons only
        >>> image = np.random.default_rng(0).integers(0, 256, (96, 128, 3), dtype=np.uint8)
        >>> found = weakclip.pseudo_mask(image, ["cat", "sofa"], clip)
        >>> found.labels.shape, found.scores.shape, found.class_names
        ((96, 128), (3, 96, 128), ('cat', 'sofa'))
    """
    if isinstance(tags, str):
        raise TypeError(f"tags: expected several names, e.g. [{tags!r}], got the text {tags!r}")
    classes = tuple(dict.fromkeys(tags))
    if not 1 <= len(classes) <= 254:
        raise ValueError(f"tags: expected 1 to 254 different names, got {len(classes)}")
    plan = plan_for(clip, "clip-es") if plan is None else plan
    setting = setting_for(clip, classes, plan.words)
    refinement = plan.method.refinement.build(setting)
    source = plan.method.maps
    if isinstance(source, (FromFiles, WrittenMaps)):
        raise ValueError("plan: expected a source of maps that looks at images, got a folder")
    if isinstance(refinement, TrainedWeakCLIP):
        raise ValueError("plan: expected a method that trains nothing; use `weakclip.make_masks`")
    pixels = pixels_of(image)
    size = (int(pixels.shape[1]), int(pixels.shape[2]))
    small = shrink(pixels, working_size(size, plan.max_side, clip.patch_size))[None]
    small, labels = small.to(setting.device), torch.ones(1, len(classes), dtype=torch.bool)
    labels = labels.to(setting.device)
    cams = source.build(setting).cams(small, labels)
    scores = finished(small, refinement.scores(small, labels, cams), labels, plan.method.crf)
    whole = scores_at(scores[0].cpu(), size)
    return Labelled(whole.argmax(dim=0).to(torch.uint8).numpy(), whole.numpy(), classes)
