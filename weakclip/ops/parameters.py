"""Numbers of parameters of modules."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import nn


def count_parameters(modules: Mapping[str, nn.Module]) -> dict[str, dict[str, int]]:
    """Numbers of parameters of each module: {name: {"total": n, "trainable": n}}."""
    return {
        name: {
            "total": sum(p.numel() for p in module.parameters()),
            "trainable": sum(p.numel() for p in module.parameters() if p.requires_grad),
        }
        for name, module in modules.items()
    }
