"""WeCLIP: a light decoder on a frozen CLIP, trained in one stage on maps that it helps to refine.

At every step the class activation maps of the frozen CLIP are refined with its attention, and later
also with the affinity that the decoder has learnt; the result gives the labels of the decoder.
After training the network labels images without tags. It is also a `Refinement` (its scores,
restricted to the tags) and a `PseudoMasker` (the refined maps). The published results are those of
the network without tags.

Differs from the release: tags are an input, while the release reads them from the annotated mask;
the start of the second phase is counted in training steps, while the release also counts validation
images; everything is in float32; a half of the loss without background or foreground pixels is 0
and not NaN; CLIP's weights get no gradients.

References:
    Zhang et al., "Frozen CLIP: A Strong Backbone for Weakly Supervised Semantic Segmentation"
    (WeCLIP), CVPR 2024 (`zbf1991/WeCLIP`).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812 (the name everyone uses)

from baselines import clip_es
from baselines.crops import ScaledCrops, draw_scaled_crop
from baselines.weclip.labels import LearntMaps, PseudoLabels, Selection, pseudo_scores
from baselines.weclip.network import (
    Decoder,
    DecoderSize,
    affinity_loss,
    averaged_logits,
    balanced_cross_entropy,
    field_affinity,
    pair_labels,
)
from weakclip.convnet.backbone import MEAN, STD
from weakclip.ops.parameters import count_parameters
from weakclip.stages.batches import check_batch, resize_images, whole_patches
from weakclip.stages.refine import check_refinement_input, known_labels
from weakclip.training.descent import WarmDescent, descend
from weakclip.training.views import normalise_images

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from numpy.random import Generator
    from torch import Tensor

    from weakclip.clip.tower import TokenTrace
    from weakclip.stages.protocols import Setting, TaggedImages


RELEASED_START = 9144 / 30_000
"""Fraction of the training after which blocks are selected on VOC in the release, which also counts
validation images as steps. The intended value is a half."""
_DECODER, _SELECTION, _LABELS = DecoderSize(), Selection(), PseudoLabels()
_RECIPE, _CROPS = WarmDescent(), ScaledCrops()


@dataclass(frozen=True, slots=True, kw_only=True)
class WeCLIP:
    """WeCLIP on any CLIP; the defaults are the release's for VOC."""

    maps: clip_es.ClipES = clip_es.VOC
    """Words, layer and affinity of the first phase; its maps before the affinity are refined."""
    initial: Literal["own", "given"] = "own"
    """Maps that are refined in training: `own`: made for each view; `given`: those given to the
    refinement, cropped like the view."""
    colours: Literal["imagenet", "clip"] = "imagenet"
    """Normalisation of the images for CLIP; the release uses ImageNet's."""
    inputs: Literal["but-last", "all"] = "but-last"
    """Blocks whose tokens the decoder fuses; the paper's text says `all`."""
    decoder: DecoderSize = _DECODER
    selection: Selection = _SELECTION
    selection_start: float = RELEASED_START
    """Fraction of the training after which the second phase begins."""
    labels: PseudoLabels = _LABELS
    radius: int = 8
    """Largest distance along each axis, in patches, of the pairs in the affinity loss."""
    affinity_weight: float = 0.1
    crops: ScaledCrops = _CROPS
    recipe: WarmDescent = _RECIPE
    long_side: int | None = 512
    """Images to label are resized to this long side first; None keeps their size."""
    scales: tuple[float, ...] = (1.0, 0.75)
    """Relative image sizes whose logits are averaged, each also for the mirror image."""

    def __post_init__(self) -> None:
        views = (self.maps.scales, self.maps.mirror)
        if self.maps.source.affinity is None or views != ((1.0,), "never"):
            raise ValueError(
                "maps: expected an affinity, whose boxes and blocks are needed, and one view, got "
                f"{self.maps.source.affinity} and {views}; start from clip_es.VOC"
            )
        if not self.scales or min(self.scales) <= 0:
            raise ValueError(f"scales: expected one positive number or more, got {self.scales}")

    def build(self, setting: Setting) -> FittedWeCLIP:
        """A method that is ready to be fitted.

        Raises:
            ValueError: If the number of phrases differs from that of classes, or CLIP's tokeniser
                does not know a word.
        """
        return FittedWeCLIP(self, setting)


VOC = WeCLIP()
"""The release on PASCAL VOC with OpenAI's ViT-B/16, including its errors."""

COCO = WeCLIP(
    maps=clip_es.COCO,
    selection=Selection(blocks=10 / 12),
    selection_start=0.5,
    recipe=WarmDescent(steps=80_000),
)
"""The release on COCO."""

PAPER = replace(VOC, inputs="all", selection=Selection(rule="paper"), selection_start=0.5)
"""VOC with the paper's settings, from quotations: its text was not available."""

MICRO = WeCLIP(
    maps=clip_es.MICRO,
    colours="clip",
    decoder=DecoderSize(channels=64, heads=8),
    selection_start=0.5,
    labels=PseudoLabels(iterations=10, dilations=(1, 2, 3, 5, 10)),
    radius=3,
    crops=ScaledCrops(size=128, factor=(0.75, 1.5)),
    recipe=WarmDescent(steps=600, batch_size=8),
    long_side=None,
)
"""For CartoonVOC and micro-CLIP: grid, widths and distances scaled from 320 to 128 pixels, about
three minutes on one idle core. The number of steps was chosen on the split `tune`."""


class FittedWeCLIP:
    """The method of `WeCLIP`: a PseudoMasker, a Refinement, and a network for untagged images."""

    def __init__(self, spec: WeCLIP, setting: Setting) -> None:
        """Encode the texts and initialise the decoder."""
        self.spec, self.device, self.classes = spec, setting.device, len(setting.class_names)
        self.maps = LearntMaps(spec.maps.build(setting), spec.selection)
        self.clip = self.maps.clip
        self.decoder = self._initialised(seed=0)
        self.states: Path | None = None
        """See `weakclip.stages.maps.Resumable`."""

    @property
    def files(self) -> tuple[Path, ...]:
        """The training state on disk, to be removed when it is not needed any more."""
        return () if self.states is None else (self.states,)

    def fit(
        self,
        data: TaggedImages,
        cams: Sequence[Tensor] | None = None,
        *,
        seed: int,
        report: Callable[[int, int], None],
    ) -> None:
        """Train on tags, and on the given maps if `initial` is "given".

        An interrupted training is resumed if `states` is set.

        Args:
            data: The training split.
            cams: One map (F, h, w) per image; not used if `initial` is "own".
            seed: Random seed.
            report: Called with (steps done, number of steps) during training.

        Raises:
            ValueError: If the number of classes differs, or `initial` is "given" and there is not
                one map per image.
            FloatingPointError: If the loss is not finite.
        """
        self._check(data, cams)
        spec, given = self.spec, cams if self.spec.initial == "given" else None
        self.decoder = decoder = self._initialised(seed).train()
        body = nn.Module()  # has the number of steps done, which is saved and restored with it
        body.register_buffer("steps", done := torch.zeros((), dtype=torch.int64))

        def loss(rows: Sequence[int], generator: Generator) -> Tensor:
            views, maps = self._views(data, given, rows, generator)
            tags = data.image_labels[list(rows)].to(self.device)
            trace = self.maps.trace(self.normalised(views))
            field = decoder.field(self.fused(trace), trace.grid)
            affinity = field_affinity(field)
            learnt = int(done) >= spec.selection_start * spec.recipe.steps
            done.add_(1)
            known = affinity.detach() if learnt else None
            refined = self.maps.refined(trace, tags, known, start=maps)
            labels = pseudo_scores(views, tags, refined, spec.labels).max(dim=1).indices
            pairs = pair_labels(labels, trace.grid, spec.radius)
            return balanced_cross_entropy(
                decoder.logits(field), labels
            ) + spec.affinity_weight * affinity_loss(affinity, *pairs)

        with torch.random.fork_rng():
            torch.manual_seed(seed)  # for dropout
            descend(
                spec.recipe, loss, body=body, head=decoder,
                count=len(data), seed=seed, report=report,
                resume=self.states and self.states / "decoder.pt",
            )  # fmt: skip
        decoder.eval()

    @torch.no_grad()
    def cams(self, images: Tensor, image_labels: Tensor) -> Tensor:
        """WeCLIP's own maps, refined as in the second phase, on the grid of whole patches.

        See `weakclip.stages.protocols.PseudoMasker` for arguments and errors.
        """
        size = check_batch(images, image_labels, classes=self.classes)
        labels = image_labels.to(self.device)
        pixels = resize_images(images.to(self.device), whole_patches(size, self.clip.patch_size))
        trace = self.maps.trace(self.normalised(pixels))
        field = self.decoder.field(self.fused(trace), trace.grid)
        return self.maps.refined(trace, labels, field_affinity(field))

    def scores(self, images: Tensor, image_labels: Tensor, cams: Tensor) -> Tensor:
        """The network's probabilities, 0 for classes that are not tagged.

        `cams` are not used here, only in training. See `weakclip.stages.protocols.Refinement`.
        """
        check_batch(images, image_labels, classes=self.classes)
        check_refinement_input(images, image_labels, cams)
        known = known_labels(image_labels.to(self.device))
        return self.probabilities(images) * known[:, :, None, None]

    @torch.no_grad()
    def probabilities(self, images: Tensor) -> Tensor:
        """Class probabilities of images without tags.

        Args:
            images: (B, 3, H, W), uint8.

        Returns:
            (B, 1 + F, H, W), background first, summing to 1.
        """
        size = (images.shape[2], images.shape[3])
        logits = self.averaged_logits(self.normalised(images.to(self.device)))
        return F.interpolate(logits, size, mode="bilinear", align_corners=False).softmax(dim=1)

    def parameter_counts(self) -> dict[str, dict[str, int]]:
        """Parameters of the decoder and the two frozen towers."""
        towers = {"image tower": self.clip.image, "text tower": self.clip.text}
        return count_parameters({"decoder": self.decoder, **towers})

    def normalised(self, images: Tensor) -> Tensor:
        """Images (B, 3, H, W), uint8, normalised for CLIP."""
        own = (self.clip.mean, self.clip.std) if self.spec.colours == "clip" else (MEAN, STD)
        return normalise_images(images, *own)

    def fused(self, trace: TokenTrace) -> tuple[Tensor, ...]:
        """The tokens of the blocks that the decoder fuses."""
        return trace.tokens[1:] if self.spec.inputs == "all" else trace.tokens[1:-1]

    @torch.no_grad()
    def logits(self, normal: Tensor) -> Tensor:
        """Logits of the patches, (B, 1 + F, h, w), of normalised images (B, 3, H, W)."""
        trace = self.clip.image.forward_tokens(normal)
        return self.decoder.logits(self.decoder.field(self.fused(trace), trace.grid))

    def averaged_logits(self, normal: Tensor) -> Tensor:
        """Logits averaged over scales and mirror images, (B, 1 + F, h, w), of normalised images."""
        spec, least = self.spec, self.clip.patch_size
        return averaged_logits(
            self.logits, normal, long_side=spec.long_side, scales=spec.scales, least=least
        )

    def _views(
        self,
        data: TaggedImages,
        cams: Sequence[Tensor] | None,
        rows: Sequence[int],
        generator: Generator,
    ) -> tuple[Tensor, Tensor | None]:
        """Random views (B, 3, S, S), uint8, and their maps (B, F, h, w) if `cams` are given."""
        pairs = [[data.image(row), *([] if cams is None else [cams[row]])] for row in rows]
        drawn = [draw_scaled_crop(pair, self.spec.crops, generator) for pair in pairs]
        images, *maps = (torch.stack(part).to(self.device) for part in zip(*drawn, strict=True))
        cells = self.spec.crops.size // self.clip.patch_size
        pixels = images.round().clamp(0, 255).to(torch.uint8)
        return pixels, on_cells(maps[0], cells) if maps else None

    def _check(self, data: TaggedImages, cams: Sequence[Tensor] | None) -> None:
        if data.image_labels.shape[1] != self.classes:
            raise ValueError(
                f"image_labels: expected {self.classes} classes, got {data.image_labels.shape[1]}"
            )
        if self.spec.initial == "given" and (cams is None or len(cams) != len(data)):
            raise ValueError(
                f"cams: expected a map for each of {len(data)} images, got "
                f"{'none' if cams is None else len(cams)}; with initial='own' none are needed"
            )

    def _initialised(self, seed: int) -> Decoder:
        inputs = self.clip.image.depth - (self.spec.inputs == "but-last")
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            decoder = Decoder(
                self.spec.decoder, width=self.clip.image.width, inputs=inputs,
                labels=1 + self.classes,
            )  # fmt: skip
        return decoder.to(self.device).eval()


def on_cells(maps: Tensor, cells: int) -> Tensor:
    """Pool maps (B, F, S, S) to a grid (B, F, cells, cells) and keep the maximum of each."""
    pooled = F.adaptive_avg_pool2d(maps, (cells, cells))
    heights, lower = (each.amax(dim=(2, 3), keepdim=True) for each in (maps, pooled))
    return pooled * heights / lower.clamp(min=1e-7)
