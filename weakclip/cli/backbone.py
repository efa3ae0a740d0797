"""The timm network that the flags of a command specify."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from weakclip.cli.flags.backbone import RANDOM
from weakclip.convnet.backbone import Backbone

if TYPE_CHECKING:
    import argparse


def backbone_of(args: argparse.Namespace, what: str) -> Backbone:
    """The network that the flags of `add_backbone_flags` specify, for the flag `what`.

    Raises:
        ValueError: If `--backbone-weights` is missing.
    """
    name = args.backbone or "resnet50"
    if args.backbone_weights is None:
        raise ValueError(
            f"{what}: expected --backbone-weights FILE, the weights of timm's {name}; nothing is "
            "downloaded. On a machine with a network: torch.save(timm.create_model("
            f"{name!r}, pretrained=True).state_dict(), FILE). Or --backbone-weights {RANDOM}: "
            "from scratch, which takes many images and many more epochs"
        )
    if args.backbone_weights == RANDOM:
        return Backbone(name=name, weights=None, frozen_stages=0, batch_norm="trained")
    return Backbone(name=name, weights=Path(args.backbone_weights))
