"""The flags for the timm network of a command."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from weakclip.convnet.backbone import Backbone

if TYPE_CHECKING:
    import argparse

RANDOM = "random"


def add_backbone_flags(parser: argparse.ArgumentParser, what: str) -> None:
    """Add `--backbone` and `--backbone-weights`, for the flag `what`, e.g. "--source cam"."""
    add = parser.add_argument
    add("--backbone", metavar="NAME", help=f"{what}: a ResNet of timm; default: resnet50")
    add("--backbone-weights", metavar="FILE", help=f"{what}: timm's weights of it, as timm saves "
        f"them (safetensors or a state dict), or {RANDOM}; nothing is downloaded")  # fmt: skip


def backbone_of(args: argparse.Namespace, what: str) -> Backbone:
    """The network specified by the flags.

    Args:
        args: Parsed flags of `add_backbone_flags`.
        what: The flag that needs it, for the error.

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
