"""The release's names of our parameters: the inverse of `weakclip.network.released.our_name`."""

from __future__ import annotations

PREFIXES = {
    "prompt.context": "contexts",
    "matching.text_update.scale": "gamma",
    "matching.image_update.scale": "beta",
    "matching.visual_projection": "context_decoder.memory_proj",
    "matching.text_projection": "context_decoder.text_proj",
    "matching.text_update.layers": "context_decoder.decoder",
    "matching.text_update.output": "context_decoder.out_proj",
    "matching.image_update.layers": "context_decoder.anti_decoder",
    "matching.image_update.output": "context_decoder.anti_out_proj",
    "adapter.level0": "backbone.fpn1",
    "adapter.level1": "backbone.fpn2",
    "adapter.level2": "backbone.fpn3",
    "adapter.level3": "backbone.fpn4.0",
    "image_tower.vision": "backbone",
    "text_tower": "text_encoder",
    "decoder.neck.laterals": "neck.lateral_convs",
    "decoder.neck.outputs": "neck.fpn_convs",
    "decoder.head.classifier": "decode_head.conv_seg",
    "decoder.head.scales": "decode_head.scale_heads",
}


def their_name(name: str) -> str:
    """The release's name of our parameter `name`."""
    ours = next(prefix for prefix in PREFIXES if name.startswith(prefix))
    parts = (PREFIXES[ours] + name.removeprefix(ours)).split(".")
    if parts[0] == "neck":
        parts.insert(3, "conv")
    if parts[1:2] == ["scale_heads"]:
        parts[3] = str(2 * int(parts[3]))  # up-sampling layers lie between the convolutions
    return ".".join(parts)
