"""Segmentation networks: two small heads on timm encoders, and segmentation_models_pytorch.

`SmallFPN` and `DeepLabV2` need only timm. `SMP` is any architecture and encoder of
segmentation_models_pytorch, from the extra `weakclip[retrain]`. Nothing is downloaded: the encoder
is initialised from a weight file of the user, or at random.
"""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeAlias, assert_never, cast

import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812 (the name everyone uses)

from weakclip.network.encoder import encoder_weights, timm_stages
from weakclip.suggestion import suggestion

if TYPE_CHECKING:
    from types import ModuleType

    from torch import Tensor

EXTRA = "pip install 'weakclip[retrain]'"
_WHOLE = 32  # images are padded to multiples of this, the stride of the coarsest stage


@dataclass(frozen=True, slots=True, kw_only=True)
class SmallFPN:
    """A timm encoder of four stages and a feature pyramid head, for small images."""

    encoder: str = "resnet10t"
    channels: tuple[int, ...] | None = (32, 64, 96, 128)
    """Widths of the four stages; None: the encoder's default."""
    width: int = 64
    """Channels of the pyramid."""
    weights: str | None = None
    """Weight file of the encoder, relative to the working directory, or
    `micro-backbone.safetensors`, the file in this package; None: random weights."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DeepLabV2:
    """A timm encoder at stride 8 and a sum of dilated convolutions (DeepLabV2's ASPP)."""

    encoder: str = "resnet101"
    rates: tuple[int, ...] = (6, 12, 18, 24)
    weights: str | None = "weights/resnet101.safetensors"
    """See `SmallFPN`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SMP:
    """A network of segmentation_models_pytorch."""

    architecture: str = "DeepLabV3Plus"
    """E.g. DeepLabV3Plus, FPN, Segformer, UPerNet, Unet; case is ignored."""
    encoder: str = "tu-resnet101"
    """Name of an encoder of smp, or `tu-` and the name of a timm network."""
    output_stride: Literal[8, 16] | None = 16
    """Output stride of the encoder, for DeepLabV3 and DeepLabV3Plus; ignored by others."""
    weights: str | None = "weights/resnet101.safetensors"
    """See `SmallFPN`."""


NetworkSpec: TypeAlias = SmallFPN | DeepLabV2 | SMP


class SegmentationNetwork(nn.Module):
    """Encoder and head; returns logits at the size of the images."""

    def __init__(self, encoder: nn.Module, head: nn.Module) -> None:
        """Store an encoder and a head; the head takes the encoder's output as one argument."""
        super().__init__()
        self.encoder, self.head = encoder, head
        self.frozen_norm = False

    @property
    def components(self) -> dict[str, nn.Module]:
        """Encoder and head by name."""
        return {"encoder": self.encoder, "segmentation head": self.head}

    def freeze_norm(self) -> None:
        """Freeze statistics, scales and shifts of the encoder's batch norms."""
        self.frozen_norm = True
        for layer in self.encoder.modules():
            if isinstance(layer, nn.BatchNorm2d):
                layer.requires_grad_(requires_grad=False)
        self.train(self.training)

    def train(self, mode: bool = True) -> SegmentationNetwork:  # noqa: FBT001, FBT002 (nn.Module's)
        """Set the mode of all layers; frozen batch norms stay in evaluation mode."""
        super().train(mode)
        if self.frozen_norm:
            for layer in self.encoder.modules():
                if isinstance(layer, nn.BatchNorm2d):
                    layer.eval()
        return self

    def forward(self, images: Tensor) -> Tensor:
        """Logits, (B, K, H, W), of normalised images (B, 3, H, W) of any size."""
        height, width = images.shape[2:]
        whole = F.pad(images, (0, -width % _WHOLE, 0, -height % _WHOLE))
        whole = whole.contiguous(memory_format=torch.channels_last)  # twice as fast on a CPU
        logits: Tensor = self.head(self.encoder(whole))
        if logits.shape[2:] != whole.shape[2:]:
            size = (whole.shape[2], whole.shape[3])
            logits = F.interpolate(logits, size, mode="bilinear", align_corners=False)
        return logits[:, :, :height, :width]


def build_network(
    spec: NetworkSpec, classes: int, *, with_weights: bool = True
) -> SegmentationNetwork:
    """The network of a specification.

    Args:
        spec: The specification.
        classes: K, background included.
        with_weights: Whether to load the encoder's weight file; unnecessary if the weights of a
            trained network are loaded afterwards.

    Raises:
        ImportError: If segmentation_models_pytorch is needed and not installed.
        FileNotFoundError: If the weight file is missing.
        ValueError: If a name is unknown, or the weights belong to another network.
    """
    match spec:
        case SmallFPN():
            options = {} if spec.channels is None else {"channels": spec.channels}
            encoder = timm_stages(spec.encoder, out_indices=(1, 2, 3, 4), **options)
            widths = encoder.feature_info.channels()
            head: nn.Module = _PyramidHead(widths, spec.width, classes)
        case DeepLabV2():
            encoder = timm_stages(spec.encoder, out_indices=(4,), output_stride=8)
            head = _DilatedHead(encoder.feature_info.channels()[-1], spec.rates, classes)
        case SMP():
            encoder, head = _smp_parts(spec, classes)
        case _:
            assert_never(spec)
    if with_weights and spec.weights is not None:
        _load(encoder, spec, Path(spec.weights))
    return SegmentationNetwork(encoder, head)


class _PyramidHead(nn.Module):
    """Top-down sums of four levels, with a convolution and a classifier on the finest one."""

    def __init__(self, channels: list[int], width: int, classes: int) -> None:
        super().__init__()
        self.lateral = nn.ModuleList(nn.Conv2d(each, width, 1) for each in channels)
        self.smooth = nn.Sequential(
            nn.Conv2d(width, width, 3, padding=1, bias=False), nn.BatchNorm2d(width), nn.ReLU()
        )
        self.classifier = nn.Conv2d(width, classes, 1)

    def forward(self, levels: list[Tensor]) -> Tensor:
        """Logits at stride 4 of levels at strides 4, 8, 16, 32."""
        sides = [layer(level) for layer, level in zip(self.lateral, levels, strict=True)]
        total = sides[-1]
        for side in reversed(sides[:-1]):
            total = side + F.interpolate(total, side.shape[2:], mode="nearest")
        return cast("Tensor", self.classifier(self.smooth(total)))


class _DilatedHead(nn.Module):
    """Sum of dilated 3 x 3 classifiers, one per rate.

    References:
        Chen et al., DeepLab, TPAMI 2018 (ASPP-L).
    """

    def __init__(self, channels: int, rates: tuple[int, ...], classes: int) -> None:
        super().__init__()
        self.branches = nn.ModuleList(
            nn.Conv2d(channels, classes, 3, padding=rate, dilation=rate) for rate in rates
        )
        for branch in self.branches:
            nn.init.normal_(cast("Tensor", branch.weight), std=0.01)
            nn.init.zeros_(cast("Tensor", branch.bias))

    def forward(self, levels: list[Tensor]) -> Tensor:
        """Logits at stride 8."""
        total: Tensor = sum(branch(levels[-1]) for branch in self.branches)
        return total


class _SMPHead(nn.Module):
    """Decoder and segmentation head of a network of segmentation_models_pytorch."""

    def __init__(self, decoder: nn.Module, last: nn.Module) -> None:
        super().__init__()
        self.decoder, self.last = decoder, last

    def forward(self, levels: list[Tensor]) -> Tensor:
        """Logits from all levels of the encoder."""
        return cast("Tensor", self.last(self.decoder(levels)))


def _smp() -> ModuleType:
    try:
        return importlib.import_module("segmentation_models_pytorch")
    except ImportError as error:
        raise ImportError(
            "this network is one of segmentation_models_pytorch, which is not installed; "
            f"{EXTRA}, or choose the network small or deeplabv2"
        ) from error


def _smp_parts(spec: SMP, classes: int) -> tuple[nn.Module, nn.Module]:
    """Encoder and head of a network of segmentation_models_pytorch."""
    smp = _smp()
    known = {name.__name__.lower(): name for name in smp.MODEL_ARCHITECTURES_MAPPING.values()}
    architecture = known.get(spec.architecture.lower())
    if architecture is None:
        names = [each.__name__ for each in known.values()]
        raise ValueError(
            f"unknown architecture {spec.architecture!r}; {suggestion(spec.architecture, names)}"
        )
    dilated = architecture.__name__.startswith("DeepLab") and spec.output_stride is not None
    options = {"encoder_output_stride": spec.output_stride} if dilated else {}
    try:
        model = architecture(
            encoder_name=spec.encoder, encoder_weights=None, classes=classes, **options
        )
    except (KeyError, RuntimeError, ValueError, NotImplementedError) as error:
        raise ValueError(
            f"encoder {spec.encoder!r}: expected one that {architecture.__name__} takes, such as "
            f"resnet50 or tu-convnext_tiny (tu-: any of timm); it says: {error}"
        ) from error
    return model.encoder, _SMPHead(model.decoder, model.segmentation_head)


def _load(encoder: nn.Module, spec: NetworkSpec, path: Path) -> None:
    """Load the weights of a file into the encoder; weights of its classifier are ignored."""
    name = spec.encoder
    if isinstance(spec, SMP) and not name.startswith("tu-"):
        origin = f"smp.encoders.get_encoder({name!r}, weights='imagenet')"
    else:
        origin = f"timm.create_model({name.removeprefix('tu-')!r}, pretrained=True)"
    otherwise = "name another file (--encoder-weights), or start at random (--encoder-weights none)"
    weights = encoder_weights(path, name, otherwise, origin)
    found = {_plain(key): value for key, value in weights.items()}
    wanted = encoder.state_dict()
    wrong = [
        key
        for key, value in wanted.items()
        if _plain(key) not in found or found[_plain(key)].shape != value.shape
    ]
    if wrong:
        raise ValueError(
            f"encoder {name}: {path} holds weights of another network; {len(wrong)} of "
            f"{len(wanted)} tensors are missing or of another shape, the first: {wrong[0]}"
        )
    encoder.load_state_dict({key: found[_plain(key)] for key in wanted})


def _plain(key: str) -> str:
    """A tensor's name without wrappers: timm's feature networks join names by `_`."""
    return key.removeprefix("model.").replace(".", "_")
