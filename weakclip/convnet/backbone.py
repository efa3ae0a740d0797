"""Convolutional backbones of methods without CLIP: any timm network with consecutive stages.

Nothing is downloaded: weights are read from a file of the user, or initialised at random.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from timm.models import FeatureListNet
from torch import nn

from weakclip.network.encoder import EMBEDDED, encoder_weights, timm_stages

if TYPE_CHECKING:
    from torch import Tensor

HEADS = ("fc.", "head.", "classifier.")
"""Prefixes of the names of a classifier's last layer."""
MEAN = (123.675, 116.28, 103.53)
"""Channel means of ImageNet, RGB, in 0-255 units."""
STD = (58.395, 57.12, 57.375)
"""Channel standard deviations of ImageNet, RGB, in 0-255 units."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Backbone:
    """A timm network without its head."""

    name: str = "resnet50"
    stride: Literal[8, 16, 32] = 16
    """Output stride of the last stage; further strides are removed or replaced by dilation."""
    weights: str | Path | None = "weights/resnet50.safetensors"
    """File with timm's weights for `name`, relative to the working directory, or `EMBEDDED`, the
    file in this package; None: random."""
    channels: tuple[int, ...] | None = None
    """Widths of the stages after the stem; None: those of `name`."""
    frozen_stages: int = 3
    """Number of stages, counted from the stem, that are not trained (3 of a ResNet: stem, first and
    second)."""
    batch_norm: Literal["fixed", "trained"] = "fixed"
    """`fixed`: batch norms keep the statistics of the weight file, as small batches require."""

    def __post_init__(self) -> None:
        if self.weights is None and (self.frozen_stages or self.batch_norm == "fixed"):
            raise ValueError(
                f"backbone {self.name}: random weights must be trained; expected frozen_stages=0 "
                f"and batch_norm='trained', got {self.frozen_stages} and {self.batch_norm!r}"
            )


RESNET50 = Backbone()
"""ImageNet weights, stride 16, frozen up to the second stage: the usual network for CAM."""

MICRO_BACKBONE = Backbone(
    name="resnet10t", stride=8, weights=EMBEDDED, channels=(32, 64, 128, 256), frozen_stages=0,
    batch_norm="trained",
)  # fmt: skip
"""micro-backbone, for CartoonVOC: 1.3 million weights, 16 x 16 cells at 128 pixels.

It was pretrained to predict the words of captions (`bench/cartoon/pretraining/backbone.py`)."""


class Stages(nn.Module):
    """A backbone divided into its stages; frozen stages are never trained."""

    def __init__(self, config: Backbone) -> None:
        """Build the network and load its weights.

        Raises:
            FileNotFoundError: If the weight file is missing.
            ValueError: If timm does not know the network, its stages are not consecutive, or the
                weights belong to another network.
        """
        super().__init__()
        network = _create(config)
        if config.weights is not None:
            _load(network, config.name, Path(config.weights))
        stages: list[nn.Module] = []
        layers: list[nn.Module] = []
        self._names: list[str] = []
        for name, layer in network.items():
            self._names.append(name)
            layers.append(layer)
            if name in network.return_layers:
                stages.append(nn.Sequential(*layers))
                layers = []
        self.parts = nn.ModuleList(stages)
        self.widths = tuple(int(width) for width in network.feature_info.channels())
        self.strides = tuple(int(stride) for stride in network.feature_info.reduction())
        self.frozen = config.frozen_stages
        self.fixed_norm = config.batch_norm == "fixed"
        for stage in stages[: self.frozen]:
            stage.requires_grad_(requires_grad=False)

    def train(self, mode: bool = True) -> Stages:  # noqa: FBT001, FBT002 (nn.Module's)
        """Set the mode of all layers but frozen stages and batch norms with fixed statistics."""
        super().train(mode)
        for index, stage in enumerate(self.parts):
            for layer in stage.modules():
                norm = self.fixed_norm and isinstance(layer, nn.BatchNorm2d)
                if norm or index < self.frozen:
                    layer.training = False
        return self

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """Outputs of every stage, (B, width, H / stride, W / stride), of normalised images."""
        outputs = []
        features = images
        for stage in self.parts:
            features = stage(features)
            outputs.append(features)
        return tuple(outputs)

    def network_state(self) -> dict[str, Tensor]:
        """The weights by timm's names, as in a file for `Backbone.weights`."""
        state, names = self.state_dict(), iter(self._names)
        found: dict[str, Tensor] = {}
        for i, stage in enumerate(self.parts):
            for j, _ in enumerate(stage.children()):
                place, name = f"parts.{i}.{j}.", next(names)
                found |= {
                    f"{name}.{key.removeprefix(place)}": value
                    for key, value in state.items()
                    if key.startswith(place)
                }
        return found

    def rest(self, features: Tensor, stage: int) -> Tensor:
        """Output of the last stage, from that of `stage` (negative: counted from the end)."""
        first = stage % len(self.parts) + 1
        for part in list(self.parts)[first:]:
            features = part(features)
        return features


def _create(config: Backbone) -> FeatureListNet:
    options = {} if config.channels is None else {"channels": config.channels}
    network = timm_stages(config.name, output_stride=config.stride, **options)
    if not isinstance(network, FeatureListNet):
        raise ValueError(
            f"backbone {config.name!r}: expected stages that follow each other; "
            f"got {type(network).__name__}; choose a ResNet"
        )
    return network


def read_weights(path: Path, name: str) -> dict[str, Tensor]:
    """The state dict in a weight file of a backbone; see `encoder_weights`."""
    otherwise = "name another file in `weights`, or train from scratch with weights=None"
    return encoder_weights(path, name, otherwise)


def _load(network: FeatureListNet, name: str, path: Path) -> None:
    state = {
        key: value for key, value in read_weights(path, name).items() if not key.startswith(HEADS)
    }
    expected = {key: tuple(value.shape) for key, value in network.state_dict().items()}
    found = {key: tuple(value.shape) for key, value in state.items()}
    if wrong := sorted(set(expected.items()) ^ set(found.items())):
        raise ValueError(
            f"backbone {name}: {path} holds weights of another network; "
            f"{len(wrong)} tensors do not fit, the first: {wrong[0][0]}; see timm for the right one"
        )
    network.load_state_dict(state)
