"""The flags for the timm network of a command."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import argparse

RANDOM = "random"


def add_backbone_flags(parser: argparse.ArgumentParser, what: str) -> None:
    """Add `--backbone` and `--backbone-weights`, for the flag `what`, e.g. "--source cam"."""
    add = parser.add_argument
    add("--backbone", metavar="NAME", help=f"{what}: a ResNet of timm; default: resnet50")
    add("--backbone-weights", metavar="FILE", help=f"{what}: timm's weights of it, as timm saves "
        f"them (safetensors or a state dict), or {RANDOM}; nothing is downloaded")  # fmt: skip
