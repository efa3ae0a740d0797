"""Reader of hustvl/WeakCLIP's checkpoints into our modules.

    clip = load_clip("ViT-B-16/openai")
    model = build_model(RELEASE, clip, class_names).eval()      # background first
    load_released(model, read_tensors(Path("train_74p03_iter_8000.pth")))

The checkpoint contains both towers, so `clip` provides only their architecture.

References:
    hustvl/WeakCLIP, the released code; the names are those of its `state_dict`.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import torch
from torch import nn

from weakclip.clip.tensors import check_names, renamed

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor

    from weakclip.network.model import WeakCLIP

_RENAMES = (
    (r"contexts", "prompt.context"),
    (r"gamma", "matching.text_update.scale"),
    (r"beta", "matching.image_update.scale"),
    (r"context_decoder\.memory_proj\.(.+)", r"matching.visual_projection.\1"),
    (r"context_decoder\.text_proj\.(.+)", r"matching.text_projection.\1"),
    (r"context_decoder\.decoder\.(.+)", r"matching.text_update.layers.\1"),
    (r"context_decoder\.out_proj\.(.+)", r"matching.text_update.output.\1"),
    (r"context_decoder\.anti_decoder\.(.+)", r"matching.image_update.layers.\1"),
    (r"context_decoder\.anti_out_proj\.(.+)", r"matching.image_update.output.\1"),
    (r"backbone\.fpn1\.(.+)", r"adapter.level0.\1"),
    (r"backbone\.fpn2\.(.+)", r"adapter.level1.\1"),
    (r"backbone\.fpn3\.(.+)", r"adapter.level2.\1"),
    (r"backbone\.fpn4\.0\.(.+)", r"adapter.level3.\1"),
    (r"backbone\.(.+)", r"image_tower.vision.\1"),
    (r"text_encoder\.(.+)", r"text_tower.\1"),
    (r"neck\.lateral_convs\.(\d)\.conv\.(.+)", r"decoder.neck.laterals.\1.\2"),
    (r"neck\.fpn_convs\.(\d)\.conv\.(.+)", r"decoder.neck.outputs.\1.\2"),
    (r"decode_head\.conv_seg\.(.+)", r"decoder.head.classifier.\1"),
    (r"decode_head\.scale_heads\.(\d)\.0\.(.+)", r"decoder.head.scales.\1.0.\2"),
    (r"decode_head\.scale_heads\.(\d)\.2\.(.+)", r"decoder.head.scales.\1.1.\2"),
    (r"decode_head\.scale_heads\.(\d)\.4\.(.+)", r"decoder.head.scales.\1.2.\2"),
)
_POSITIONS = ("image_tower.vision.positional_embedding", "text_tower.positional_embedding")


def our_name(name: str) -> str | None:
    """Our name of a parameter of the release; `None` if it has no counterpart.

    Example:
        >>> our_name("module.neck.fpn_convs.2.conv.bias")
        'decoder.neck.outputs.2.bias'
    """
    bare = name.removeprefix("module.")
    for pattern, replacement in _RENAMES:
        if match := re.fullmatch(pattern, bare):
            return match.expand(replacement)
    return None


def load_released(model: WeakCLIP, state: Mapping[str, Tensor]) -> None:
    """Load a released checkpoint, towers included.

    The towers are shared with the CLIP bundle that the model was built from. They are overwritten,
    and their position embeddings get the checkpoint's number of positions.

    Args:
        model: Built with the kinds and sizes of the checkpoint.
        state: Tensors by the release's names, e.g. from `weakclip.clip.tensors.read_tensors`.

    Raises:
        ValueError: If a name is unknown or missing, or a shape differs; all are listed.
    """
    found = renamed(
        state.items(), lambda name: our_name(name) or name, source="released checkpoint"
    )
    wanted = model.state_dict()
    for name in _POSITIONS:
        if name in found and found[name].shape[1:] == wanted[name].shape[1:]:
            wanted[name] = found[name]
    check_names(found, wanted, source="released checkpoint")
    for name in _POSITIONS:
        owner, _, attribute = name.rpartition(".")
        old = model.get_parameter(name)
        new = nn.Parameter(torch.empty_like(found[name], device=old.device), requires_grad=False)
        setattr(model.get_submodule(owner), attribute, new)
    model.load_state_dict(found)
