"""The network of CLIMS: a backbone and a linear classifier per cell.

It is the network of the CAM classifier, whose training is the first stage. The output is used in
three ways: its mean for learning the tags, its sigmoid as the maps that CLIP judges, and its
positive part as class activation maps.

References:
    Xie et al., CLIMS, CVPR 2022 (`CVI-SZU/CLIMS`, `net/`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from torch import nn

from weakclip.convnet.backbone import Backbone, Stages

if TYPE_CHECKING:
    from torch import Tensor


class CLIMSNetwork(nn.Module):
    """A backbone and a 1 x 1 convolution without bias."""

    def __init__(
        self, backbone: Backbone, classes: int, *, stem: Literal["fixed", "trained"]
    ) -> None:
        """Initialise for F classes; see `Stages` for errors.

        As in the release, strides that the backbone leaves out are not replaced by dilations.

        Args:
            backbone: The timm network.
            classes: Number F of classes.
            stem: `fixed`: the first convolution and normalisation get no gradient, but the running
                statistics of the latter are still updated in `train()` mode.
        """
        super().__init__()
        self.stages = Stages(backbone)
        _undilate(self.stages)
        if stem == "fixed":
            self.stages.parts[0].requires_grad_(requires_grad=False)
        self.classifier = nn.Conv2d(self.stages.widths[-1], classes, 1, bias=False)

    def forward(self, images: Tensor) -> Tensor:
        """Logit of each class in each cell, (B, F, h, w), of normalised images (B, 3, H, W)."""
        logits: Tensor = self.classifier(self.stages(images)[-1])
        return logits


def _undilate(network: nn.Module) -> None:
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d) and layer.dilation != (1, 1):
            layer.dilation = (1, 1)
            layer.padding = tuple(side // 2 for side in layer.kernel_size)
