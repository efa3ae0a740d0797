"""Slot `supervision`: losses for training on noisy seed labels.

Seeding and boundary loss are DSRG's: the seeding loss balances background and foreground seeds; the
boundary loss pulls the prediction towards its own dense-CRF refinement. The matching loss
supervises the score map directly.

References:
    Zhu et al., "WeakCLIP", IJCV 2025; Huang et al., "Weakly-Supervised Semantic Segmentation
    Network with Deep Seeded Region Growing" (DSRG), CVPR 2018.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, assert_never

import torch
from torch.nn import functional as F  # noqa: N812 (the name everyone uses)
from torch.utils.checkpoint import checkpoint

from weakclip.config import CrossEntropy, SeedAndBoundary
from weakclip.crf.dense import dense_crf
from weakclip.labels import BACKGROUND, IGNORE
from weakclip.ops.shapes import dims
from weakclip.training.parallel import ALONE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from weakclip.config import SupervisionSlot
    from weakclip.crf.dense import CRFConfig, Lattices
    from weakclip.network.model import Output
    from weakclip.training.parallel import Processes

    KeptLattices = Lattices | Sequence[Lattices] | None

SOFTMAX_FLOOR = 1e-7  # added to every probability before renormalisation
CRF_FLOOR = 1e-4  # lower bound of the probabilities that enter and leave the CRF
RATIO_RANGE = (0.05, 20.0)  # of refined to predicted probability
PIXEL_BYTES = 1 << 30  # of logits at image size that are kept for the backward pass
EMPTY_COUNT = 1e-4  # replaces the number of seeds of an image without seeds


class Supervision(Protocol):
    """The losses of one training step."""

    def __call__(
        self,
        output: Output,
        seeds: Tensor,
        grid_images: Tensor,
        *,
        lattices: KeptLattices = None,
        processes: Processes = ALONE,
    ) -> dict[str, Tensor]:
        """Weighted losses by name; the training minimises their sum.

        Args:
            output: Output of the network.
            seeds: Seed labels, (B, H, W), int64 in 0..K-1 or 255 for undecided.
            grid_images: Images on the loss grid, (B, 3, g, g), uint8 (`images_on_grid`).
            lattices: CRF lattices of `grid_images`, if kept from an earlier step.
            processes: The processes with the other shares of the batch; the mean of their losses is
                the loss of the whole batch.
        """
        ...


class BalancedSupervision:
    """Seeding, boundary and matching losses."""

    def __init__(self, spec: SeedAndBoundary, tau: float) -> None:
        """Store the weights and the score map's temperature."""
        self.spec = spec
        self.tau = tau

    def __call__(
        self,
        output: Output,
        seeds: Tensor,
        grid_images: Tensor,
        *,
        lattices: KeptLattices = None,
        processes: Processes = ALONE,
    ) -> dict[str, Tensor]:
        """Weighted losses `seeding`, `boundary` and `matching`; see `Supervision`."""
        size = (self.spec.grid, self.spec.grid)
        logits = logits_on_grid(output.logits, size)
        grid_seeds = seeds_on_grid(seeds, size)
        boundary = boundary_loss(logits, grid_images, self.spec.crf, lattices)
        matched = seeds if self.spec.matching_size == "image" else grid_seeds
        return {
            "seeding": self.spec.seeding_weight * seeding_loss(logits, grid_seeds),
            "boundary": self.spec.boundary_weight * boundary,
            "matching": self.spec.matching_weight
            * matching_loss(output.score_map, matched, tau=self.tau),
        }


class CrossEntropySupervision:
    """Plain cross-entropy on the seeded pixels, and the matching loss."""

    def __init__(self, spec: CrossEntropy, tau: float) -> None:
        """Store the weight and the score map's temperature."""
        self.spec = spec
        self.tau = tau

    def __call__(
        self,
        output: Output,
        seeds: Tensor,
        grid_images: Tensor,
        *,
        lattices: KeptLattices = None,
        processes: Processes = ALONE,
    ) -> dict[str, Tensor]:
        """Weighted losses `cross_entropy` and `matching`; see `Supervision`."""
        return {
            "cross_entropy": seeded_cross_entropy(output.logits, seeds, processes),
            "matching": self.spec.matching_weight
            * matching_loss(output.score_map, seeds, tau=self.tau),
        }


def seeding_loss(logits: Tensor, seeds: Tensor) -> Tensor:
    """Cross-entropy on the seeds, with background and foreground balanced within each image.

    Args:
        logits: Logits on the loss grid, (B, K, g, g).
        seeds: Seed labels on the loss grid, (B, g, g), int64, 255 = undecided.

    Returns:
        A scalar >= 0; gradients flow to `logits`.
    """
    dims(logits, "B K g g", name="logits")
    dims(seeds, "B g g", name="seeds")
    seeded = seeds != IGNORE
    labels = seeds.where(seeded, BACKGROUND)
    losses = -class_probabilities(logits).log().gather(1, labels.unsqueeze(1)).squeeze(1)
    background = _mean_where(losses, seeds == BACKGROUND)
    foreground = _mean_where(losses, seeded & (seeds != BACKGROUND))
    return (background + foreground).mean()


def boundary_loss(
    logits: Tensor, images: Tensor, crf: CRFConfig, lattices: KeptLattices = None
) -> Tensor:
    """Divergence of the prediction from its own dense-CRF refinement.

    Args:
        logits: Logits on the loss grid, (B, K, g, g).
        images: Images on the loss grid, (B, 3, g, g), uint8.
        crf: Parameters of the CRF.
        lattices: Lattices of `images`, if kept from an earlier step; built here if None.

    Returns:
        A scalar; gradients flow to `logits` through the prediction only.
    """
    probabilities = class_probabilities(logits)
    refined = refine(probabilities, images, crf, lattices)
    ratio = (refined / probabilities).clamp(*RATIO_RANGE)
    return (refined * ratio.log()).sum(dim=1).mean()


@torch.no_grad()
def refine(
    probabilities: Tensor, images: Tensor, crf: CRFConfig, lattices: KeptLattices = None
) -> Tensor:
    """Mean-field marginals of a dense CRF initialised with the prediction; at least about 1e-4.

    Args:
        probabilities: Class probabilities, (B, K, g, g).
        images: Images of the same size, (B, 3, g, g), uint8.
        crf: Parameters of the CRF.
        lattices: Lattices of `images`; built here if None.

    Returns:
        Probabilities, (B, K, g, g), summing to 1 over K; no gradients.
    """
    marginals = dense_crf(
        images, probabilities.detach().clamp(min=CRF_FLOOR), crf, lattices=lattices
    ).clamp(min=CRF_FLOOR)
    return marginals / marginals.sum(dim=1, keepdim=True)


def matching_loss(score_map: Tensor, seeds: Tensor, *, tau: float) -> Tensor:
    """Cross-entropy of the score map, averaged over all pixels; undecided pixels count as 0.

    Args:
        score_map: Text-to-pixel cosine, (B, K, h, w).
        seeds: Seed labels, (B, H, W), int64, 255 = undecided.
        tau: Softmax temperature, cosine units.

    Returns:
        A scalar >= 0; gradients flow to `score_map`.
    """
    return _pixel_losses(score_map / tau, seeds).mean()


def seeded_cross_entropy(logits: Tensor, seeds: Tensor, processes: Processes = ALONE) -> Tensor:
    """Cross-entropy averaged over the seeded pixels of the batch; 0 if there are none.

    Args:
        logits: Logits, (B, K, h, w); resized bilinearly to the size of the seeds.
        seeds: Seed labels, (B, H, W), int64, 255 = undecided.
        processes: The processes with the rest of the batch, whose seeded pixels are counted too.

    Returns:
        A scalar >= 0; gradients flow to `logits`.
    """
    return _pixel_losses(logits, seeds).sum() / processes.per_process((seeds != IGNORE).sum())


def class_probabilities(logits: Tensor) -> Tensor:
    """Softmax over classes, plus 1e-7 to avoid zeros, renormalised; (B, K, ...)."""
    probabilities = logits.softmax(dim=1) + SOFTMAX_FLOOR
    return probabilities / probabilities.sum(dim=1, keepdim=True)


def logits_on_grid(logits: Tensor, size: tuple[int, int]) -> Tensor:
    """Logits (B, K, h, w) resized bilinearly to the loss grid (align_corners false)."""
    return F.interpolate(logits, size, mode="bilinear", align_corners=False)


def seeds_on_grid(seeds: Tensor, size: tuple[int, int]) -> Tensor:
    """Labels (B, H, W), int64, resized to the loss grid by nearest neighbour."""
    return F.interpolate(seeds.unsqueeze(1).float(), size).squeeze(1).long()


def images_on_grid(
    images: Tensor,
    size: tuple[int, int],
    *,
    mean: tuple[float, float, float],
    std: tuple[float, float, float],
) -> Tensor:
    """Images on the loss grid, as input of the boundary loss's CRF.

    Args:
        images: Normalised images, (B, 3, H, W).
        size: Height and width of the loss grid.
        mean: Channel means used for normalisation, 0-255 units.
        std: Channel standard deviations used for normalisation, 0-255 units.

    Returns:
        Images, (B, 3, height, width), uint8; resized with align_corners true, then truncated.
    """
    resized = F.interpolate(images.double(), size, mode="bilinear", align_corners=True)
    scale = resized.new_tensor(std).view(1, 3, 1, 1)
    shift = resized.new_tensor(mean).view(1, 3, 1, 1)
    return (resized * scale + shift).clamp(0, 255).to(torch.uint8)


def _mean_where(losses: Tensor, chosen: Tensor) -> Tensor:
    """Mean per image over the chosen pixels, (B,); 0 for an image without chosen pixels."""
    count = chosen.sum(dim=(1, 2)).clamp(min=EMPTY_COUNT)
    return (losses * chosen).sum(dim=(1, 2)) / count


def _pixel_losses(logits: Tensor, seeds: Tensor) -> Tensor:
    """Cross-entropy of each pixel, (B, H, W), 0 where undecided, from logits (B, K, h, w).

    With many classes, logits at image size dominate the memory. If they would exceed `PIXEL_BYTES`,
    they are computed for a few images at a time, and again in the backward pass.
    """
    together = max(1, PIXEL_BYTES // (4 * logits.shape[1] * seeds[0].numel()))
    if len(logits) <= together:
        return _pixel_losses_of(logits, seeds)
    parts = zip(torch.split(logits, together), torch.split(seeds, together), strict=True)
    return torch.cat(
        [
            checkpoint(_pixel_losses_of, *part, use_reentrant=False, preserve_rng_state=False)
            for part in parts
        ]
    )


def _pixel_losses_of(logits: Tensor, seeds: Tensor) -> Tensor:
    size = dims(seeds, "B H W", name="seeds")[1:]
    resized = F.interpolate(logits, size, mode="bilinear", align_corners=False)
    return F.cross_entropy(resized, seeds, ignore_index=IGNORE, reduction="none")


def build_supervision(spec: SupervisionSlot, tau: float) -> Supervision:
    """Return the losses that `spec` describes; `tau` is the score map's temperature."""
    match spec:
        case SeedAndBoundary():
            return BalancedSupervision(spec, tau)
        case CrossEntropy():
            return CrossEntropySupervision(spec, tau)
        case _:
            assert_never(spec)
