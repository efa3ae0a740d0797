"""WeCLIP with the weights of a file of vectors, which has the names of the released checkpoints."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch

from baselines.weclip.labels import PseudoLabels, Selection
from baselines.weclip.method import VOC, FittedWeCLIP
from baselines.weclip.network import DecoderSize
from tests.parity.released_clip import REGISTERED, Arrays, bundle, state_dict
from weakclip.stages.protocols import Setting
from weakclip.stages.seeds import TextBank

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import nn

    from weakclip.clip.bundle import CLIPBundle

PREFIXES = {
    "projections": "decoder_fts_fuse.linears_modulelist",
    "fuse": "decoder_fts_fuse.linear_fuse",
    "blocks": "decoder.transformer.resblocks",
    "classifier": "decoder.linear_pred",
}
"""First word of our names of parameters to the release's."""
PARTS = {
    "projections": {"0": "proj", "2": "proj_2"},
    "blocks": {
        "self_attn": "attn", "norm1": "ln_1", "norm2": "ln_2", "linear1": "mlp.c_fc",
        "linear2": "mlp.c_proj",
    },
}  # fmt: skip
"""The third word, where there is one."""


def build_method(config: Mapping[str, Any], arrays: Arrays, texts: str = "") -> FittedWeCLIP:
    """WeCLIP as released, on the tower and the decoder of the file.

    Args:
        config: Of the file.
        arrays: Of the file.
        texts: Which text features: "" for VOC's, "_coco" for COCO's, with a decoder at random.

    Raises:
        ValueError: If a parameter is missing or left over.
    """
    features = [torch.from_numpy(arrays[f"in/text_{kind}{texts}"]) for kind in ("fg", "bg")]
    depth, released = config["layers"], VOC.maps.source.affinity
    assert released is not None
    affinity = replace(
        released, blocks=config["static_blocks"] / depth, box_threshold=config["box_threshold"]
    )
    source = replace(VOC.maps.source, affinity=affinity)
    spec = replace(
        VOC,
        maps=replace(VOC.maps, source=source, class_phrases=None, background=()),
        decoder=DecoderSize(
            channels=len(arrays["param/decoder_fts_fuse.linear_fuse.bias"]),
            blocks=config["decoder_layers"],
            heads=config["decoder_heads"],
        ),
        selection=Selection(blocks=config["rfm_blocks"] / depth),
        labels=PseudoLabels(
            iterations=config["par"]["iterations"], dilations=tuple(config["par"]["dilations"])
        ),
        radius=config["radius"],
        affinity_weight=config["loss_weights"]["affinity"],
        long_side=config["resize_long"],
        scales=tuple(config["test_scales"]),
    )
    method = spec.build(
        Setting(
            clip=_clip(config, arrays),
            class_names=tuple(f"class {index}" for index in range(len(features[0]))),
            background_words=(),
            device=torch.device("cpu"),
        )
    )
    method.maps.texts = TextBank(*features)
    if not texts:
        _load_decoder(method.decoder, arrays)
    return method


def their_name(name: str) -> str:
    """The release's name of the decoder's parameter `name`."""
    first, *rest = name.split(".")
    if first in PARTS:
        rest[1] = PARTS[first][rest[1]]
    return ".".join([PREFIXES[first], *rest])


def _clip(config: Mapping[str, Any], arrays: Arrays) -> CLIPBundle:
    """The tower of the file; texts are inputs, so the text tower has weights of zero."""
    width, embedding, block = 4, config["embed_dim"], "transformer.resblocks.0"
    shapes: dict[str, tuple[int, ...]] = {
        "positional_embedding": (77, width),
        "token_embedding.weight": (49408, width),
        "text_projection": (width, embedding),
        f"{block}.attn.in_proj_weight": (3 * width, width),
        f"{block}.attn.in_proj_bias": (3 * width,),
    }
    layers = {
        "ln_final": (width,),
        f"{block}.ln_1": (width,),
        f"{block}.ln_2": (width,),
        f"{block}.attn.out_proj": (width, width),
        f"{block}.mlp.c_fc": (4 * width, width),
        f"{block}.mlp.c_proj": (width, 4 * width),
    }
    for name, shape in layers.items():
        shapes |= {f"{name}.weight": shape, f"{name}.bias": shape[:1]}
    state = {
        name.removeprefix("encoder."): value
        for name, value in state_dict(arrays).items()
        if name.startswith("encoder.") and name != f"encoder.{REGISTERED}"
    }
    sizes = {f"vision_{name}": config[name] for name in ("layers", "width", "heads")}
    texts = {"text_width": width, "text_heads": 1, "text_layers": 1}
    return bundle(
        {**sizes, **texts, "embed_dim": embedding, "image_size": config["resolution"]},
        {**state, **{name: torch.zeros(shape) for name, shape in shapes.items()}},
    )


def _load_decoder(decoder: nn.Module, arrays: Arrays) -> None:
    ours = {their_name(name): name for name in decoder.state_dict()}
    theirs = {
        name: value for name, value in state_dict(arrays).items() if name.startswith("decoder")
    }
    if wrong := sorted(set(ours) ^ set(theirs)):
        raise ValueError(f"parameters do not fit the config: {len(wrong)}, such as {wrong[0]}")
    try:
        decoder.load_state_dict({ours[name]: value for name, value in theirs.items()})
    except RuntimeError as error:
        raise ValueError(f"parameters do not fit the config: {error}") from error
