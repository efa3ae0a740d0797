"""The network of CLIMS: a classifier's backbone and a linear map per class.

It is the CAM classifier's network, so that one's weights are its start; only what is read from
the maps differs: their mean while it learns the tags, their sigmoid while CLIP judges them, and
their positive part for class activation maps.

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
    """Backbone and a 1 x 1 convolution without bias."""

    def __init__(
        self, backbone: Backbone, classes: int, *, stem: Literal["fixed", "trained"]
    ) -> None:
        """Initialise for F classes; see `Stages` for what may be wrong.

        Strides that the backbone leaves out do not become dilations, as in the release.

        Args:
            backbone: The timm network.
            classes: F.
            stem: `fixed`: the first convolution and normalisation get no gradient, while the
                running statistics of the latter still follow `train()`.
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
