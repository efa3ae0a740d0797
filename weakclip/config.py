"""WeakCLIP's configuration: one slot per component, one frozen dataclass per kind.

Every choice the paper ablates is a *slot* of `WeakCLIPConfig`. A slot holds a small dataclass;
"off" is another dataclass that keeps strides, channels and budget (see `docs/method.md`). Only
`weakclip/network/build.py` distinguishes the kinds.

References:
    Zhu et al., "WeakCLIP: Adapting CLIP for Weakly-Supervised Semantic Segmentation", IJCV 2025.
    "Release" below is the code of hustvl/WeakCLIP, which differs from the paper in places.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Literal, TypeAlias

from weakclip.crf.dense import WEAKCLIP_TRAIN, CRFConfig
from weakclip.description import IMPLIED

# --- slot `prompt` -------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class LearnableContext:
    """Learned vectors between the start token and the class name (CoOp; the paper's prompts)."""

    length: int = 8
    """Number of context vectors M; 0 leaves the bare class name."""
    class_specific: bool = False
    """One set of vectors per class instead of one for all classes."""
    init_std: float = 0.02
    """Standard deviation of the normal initialisation, token-embedding units."""

    def __post_init__(self) -> None:
        if self.length < 0:
            raise ValueError(f"context length: expected 0 or more vectors, got {self.length}")


@dataclass(frozen=True, slots=True, kw_only=True)
class FixedTemplate:
    """Off: one hand-written sentence per class, encoded by the frozen text tower; no weights."""

    template: str = "a photo of a {}."

    def __post_init__(self) -> None:
        _check_template(self.template)


@dataclass(frozen=True, slots=True, kw_only=True)
class TemplateEnsemble:
    """The mean of the normalised embeddings of several hand-written sentences; no weights."""

    templates: tuple[str, ...] = ("a photo of a {}.", "a picture of a {}.", "a drawing of a {}.")

    def __post_init__(self) -> None:
        if not self.templates:
            raise ValueError("templates: expected at least one sentence with '{}', got none")
        for template in self.templates:
            _check_template(template)


# --- slot `adapter` ------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class PyramidAdapter:
    """Learned (de)convolutions that bring the four taps to strides 4, 8, 16 and 32."""

    training: Literal["trained", "frozen"] = "trained"
    """`frozen` keeps the random initialisation, as the release's optimiser settings do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Resample:
    """Off: the taps resized bilinearly or max-pooled to the same strides; no weights."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SingleScale:
    """No pyramid: all four taps stay at the stride of the patches; no weights."""


# --- slot `matching` -----------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class CoAttention:
    """Two cross-attention stacks: text attends to the image, and the image attends to text."""

    stacking: Literal["sequential", "last"] = "sequential"
    """`last`: every layer gets the original input, so only the last one counts (release)."""
    sides: Literal["both", "text", "image"] = "both"
    """Which side is updated; `text` alone is DenseCLIP's context decoder."""
    depth: int = 3
    width: int = 256
    heads: int = 4
    dropout: float = 0.1
    initial_scale: float = 0.1
    """Initial value of the learned per-channel scales gamma (text) and beta (image)."""

    def __post_init__(self) -> None:
        if self.depth < 1:
            raise ValueError(f"co-attention depth: expected 1 or more layers, got {self.depth}")
        if self.width % self.heads:
            raise ValueError(
                f"co-attention width {self.width} is not a multiple of its {self.heads} heads"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class Cosine:
    """Off: the score map is the cosine of CLIP's own dense and text embeddings; no weights."""


# --- slot `decoder` ------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class TextGuidedDecoder:
    """FPN and semantic-FPN head that get the score map at some pyramid levels."""

    levels: tuple[int, ...] = (0, 1, 2, 3)
    """Levels (0 = stride 4 ... 3 = stride 32) that get the score map; DenseCLIP uses one."""
    score_scale: float = 1.0
    """Factor on the score map before it is concatenated with the features. A cosine varies by a
    few tenths, the features by ones; a short schedule does not learn to compensate for that."""
    channels: int = 256
    dropout: float = 0.1
    classifier_std: float = 0.01
    """Standard deviation of the classifier's weight initialisation."""

    def __post_init__(self) -> None:
        if not self.levels or not set(self.levels) <= {0, 1, 2, 3}:
            raise ValueError(
                f"score-map levels: expected some of 0, 1, 2, 3, got {self.levels}; "
                "use PlainDecoder for none"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class PlainDecoder:
    """Off: the same FPN and head without score maps."""

    channels: int = 256
    dropout: float = 0.1
    classifier_std: float = 0.01


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoreMapDecoder:
    """No decoder: the prediction is the score map divided by the temperature; no weights."""


# --- slot `supervision` --------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class SeedAndBoundary:
    """DSRG's balanced seeding and boundary losses, plus the matching loss on the score map."""

    grid: int = 64
    """Side, in pixels, of the grid to which the seeding and the boundary loss resize logits,
    seeds and image."""
    crf: CRFConfig = WEAKCLIP_TRAIN
    seeding_weight: float = 1.0
    boundary_weight: float = 1.0
    matching_weight: float = 0.4
    matching_size: Literal["image", "grid"] = "image"
    """Size at which the matching loss compares score map and seeds: that of the seeds, or the loss
    grid of the other two losses, which is cheaper."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CrossEntropy:
    """Plain cross-entropy on the seeded pixels of the logits, plus the matching loss."""

    matching_weight: float = 0.4


# --- slot `tap_scale` ----------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class RawTaps:
    """The adapter gets the features of the frozen tower unchanged, as in the paper."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StandardTaps:
    """Each channel of the frozen features standardised to mean 0 and standard deviation 1.

    The statistics come from the training images and need no labels. In a small tower the mean of
    some channels is several times their standard deviation, and a decoder without normalisation
    layers hardly trains on them (`docs/log.md`).
    """


PromptSlot: TypeAlias = LearnableContext | FixedTemplate | TemplateEnsemble
AdapterSlot: TypeAlias = PyramidAdapter | Resample | SingleScale
MatchingSlot: TypeAlias = CoAttention | Cosine
DecoderSlot: TypeAlias = TextGuidedDecoder | PlainDecoder | ScoreMapDecoder
SupervisionSlot: TypeAlias = SeedAndBoundary | CrossEntropy
TapScaleSlot: TypeAlias = RawTaps | StandardTaps


@dataclass(frozen=True, slots=True, kw_only=True)
class LearningRates:
    """Factors on the recipe's learning rate, one per component."""

    prompt: float = 1.0
    adapter: float = 1.0
    matching: float = 1.0
    decoder: float = 1.0

    def __post_init__(self) -> None:
        for name in self.__dataclass_fields__:
            if not 0 < getattr(self, name) < float("inf"):
                raise ValueError(
                    f"rates.{name}: expected a positive factor, got {getattr(self, name)}; a "
                    "component that is not to be trained has a kind of its own"
                )


@dataclass(frozen=True, slots=True, kw_only=True)
class WeakCLIPConfig:
    """WeakCLIP's network and losses; the defaults are the paper's."""

    prompt: PromptSlot = LearnableContext()
    adapter: AdapterSlot = PyramidAdapter()
    matching: MatchingSlot = CoAttention()
    decoder: DecoderSlot = TextGuidedDecoder()
    supervision: SupervisionSlot = SeedAndBoundary()
    tau: float = 0.07
    """Softmax temperature of the score map, in cosine units."""
    taps: tuple[int, int, int, int] = (3, 5, 7, 11)
    """0-based blocks of the image tower whose outputs feed the pyramid, finest level first."""
    class_token: Literal["clip", "release"] = "clip"
    """`release` adds the class embedding twice at the class token's position."""
    tap_scale: TapScaleSlot = field(default=RawTaps(), metadata={IMPLIED: StandardTaps()})
    """Scaling of the frozen features before the adapter. Descriptions written before this slot
    existed do not contain it; they describe networks trained on standardised taps."""
    drop_path: float = 0.0
    """Largest stochastic-depth rate in the frozen image tower during training (release: 0.1)."""
    rates: LearningRates = field(default=LearningRates(), metadata={IMPLIED: LearningRates()})
    """Learning-rate factor of each component. Descriptions without it used one common rate."""

    def __post_init__(self) -> None:
        if self.tau <= 0:
            raise ValueError(f"tau: expected a positive temperature, got {self.tau}")
        if not 0 <= self.drop_path < 1:
            raise ValueError(f"drop_path: expected a rate in [0, 1), got {self.drop_path}")


def _check_template(template: str) -> None:
    if template.count("{}") != 1:
        raise ValueError(f"template: expected exactly one '{{}}' for the name, got {template!r}")


PAPER = WeakCLIPConfig()
"""What the paper describes: sequential co-attention, trained adapter, unchanged frozen tower."""

RELEASE = replace(
    PAPER,
    adapter=PyramidAdapter(training="frozen"),
    matching=CoAttention(stacking="last"),
    class_token="release",
    drop_path=0.1,
)
"""hustvl/WeakCLIP's code, as far as values express its differences from the paper; all are listed
in `docs/method.md`."""

MICRO = WeakCLIPConfig(
    matching=CoAttention(width=64, depth=2),
    decoder=TextGuidedDecoder(channels=48, classifier_std=0.1, score_scale=10.0, dropout=0.0),
    supervision=SeedAndBoundary(grid=32, matching_size="grid", boundary_weight=0.5),
    taps=(1, 2, 3, 5),
    tap_scale=StandardTaps(),
    rates=LearningRates(prompt=10.0, adapter=0.1),
)
"""The paper's structure at the size of the embedded micro-CLIP (6 blocks, 128 px).

A run has hundreds of steps instead of 20,000. So the classifier's initial weights are larger, the
score map is scaled up and the decoder has no dropout (`docs/log.md`). The weight of the boundary
loss was chosen by `bench.search.methods`, the factors on the learning rate by `bench.search.rates`.
"""
