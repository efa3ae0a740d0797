"""CLIP-ES's class-aware attention affinity (CAA) as a refinement of any method's CAMs.

References:
    Lin et al., "CLIP is Also an Efficient Segmenter" (CLIP-ES), CVPR 2023, CAA.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch
from torch.nn import functional as F  # noqa: N812 (the name everyone uses)

from weakclip.ops.parameters import count_parameters
from weakclip.stages.batches import check_batch, resize_images, whole_patches
from weakclip.stages.refine import BackgroundRule, Power, check_refinement_input, with_background
from weakclip.stages.seeds import Affinity, affinity_refined
from weakclip.training.views import normalise_images

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from weakclip.clip.bundle import CLIPBundle
    from weakclip.clip.tower import Positions
    from weakclip.progress import Report
    from weakclip.stages.protocols import Setting, TaggedImages

RELEASED_AFFINITY = Affinity(boxes="release")
RELEASED_BACKGROUND = Power(alpha=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class CAA:
    """Propagate CAMs, restricted to their boxes, along the frozen CLIP's attention."""

    affinity: Affinity = RELEASED_AFFINITY
    background: BackgroundRule = RELEASED_BACKGROUND
    """Rule for the background score; the release uses 1 - (strongest map)."""
    positions: Positions = "half"
    """`half`: resized position embeddings are rounded as in the release."""

    def build(self, setting: Setting) -> CAARefinement:
        """The refinement; it needs no fitting."""
        return CAARefinement(self, setting)


class CAARefinement:
    """The `Refinement` of `CAA`; nothing is trained."""

    def __init__(self, spec: CAA, setting: Setting) -> None:
        tower = setting.clip.image.configured(positions=spec.positions)
        self.spec, self.device, self.classes = spec, setting.device, len(setting.class_names)
        self.clip: CLIPBundle = replace(setting.clip, image=tower)

    def fit(self, data: TaggedImages, cams: Sequence[Tensor], *, seed: int, report: Report) -> None:
        """Learn nothing."""

    def scores(self, images: Tensor, image_labels: Tensor, cams: Tensor) -> Tensor:
        """Refined maps with a background, at image size; see `Refinement`.

        Raises:
            TypeError: If a dtype is wrong.
            ValueError: If a shape is wrong.
        """
        size = check_batch(images, image_labels, classes=self.classes)
        check_refinement_input(images, image_labels, cams)
        refined = self.refine(images, image_labels, cams)
        return with_background(refined, size, self.spec.background)

    @torch.no_grad()
    def refine(self, images: Tensor, image_labels: Tensor, cams: Tensor) -> Tensor:
        """Refined maps, (B, F, h, w), in [0, 1], on the patch grid; same arguments as `scores`."""
        images, labels = images.to(self.device), image_labels.to(self.device)
        height, width = images.shape[-2:]
        whole = whole_patches((height, width), self.clip.patch_size)
        pixels = normalise_images(resize_images(images, whole), self.clip.mean, self.clip.std)
        blocks = self.spec.affinity.last_blocks(self.clip.image.depth)
        trace = self.clip.image.forward_tokens(pixels, attention_blocks=blocks)
        refined = torch.zeros(*labels.shape, *trace.grid, device=self.device)
        if trace.attention is not None and bool(labels.any()):
            maps = cams.to(self.device)
            if tuple(maps.shape[-2:]) != trace.grid:
                maps = F.interpolate(maps, trace.grid, mode="bilinear", align_corners=False)
            refined[labels] = affinity_refined(
                maps[labels],
                trace.attention[:, 1:, 1:],
                labels.nonzero(),
                self.spec.affinity,
            )
        return refined

    def parameter_counts(self) -> dict[str, dict[str, int]]:
        """Parameters of the frozen image tower."""
        return count_parameters({"image tower": self.clip.image})
