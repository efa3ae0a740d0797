"""CLIP in the format of the transformers library: `config.json` next to `model.safetensors`.

Only the layout of the weights differs: transformers stores query, key and value separately,
transposes the projections and uses other names (`pre_layrnorm` is its spelling).
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import torch

from weakclip.clip.architecture import Architecture, channels, mapping_in, read_json
from weakclip.clip.tensors import renamed

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from torch import Tensor

_VISION = {
    "hidden_size": 768, "intermediate_size": 3072, "num_hidden_layers": 12,
    "num_attention_heads": 12, "image_size": 224, "patch_size": 32, "hidden_act": "quick_gelu",
}  # fmt: skip
_TEXT = {
    "hidden_size": 512, "intermediate_size": 2048, "num_hidden_layers": 12,
    "num_attention_heads": 8, "max_position_embeddings": 77, "vocab_size": 49408,
    "hidden_act": "quick_gelu",
}  # fmt: skip
"""The library's defaults; a `config.json` may omit values equal to them."""

_BLOCK = r"(?:vision|text)_model\.encoder\.layers\.(\d+)\."
_RENAMES = (
    (r"logit_scale", "logit_scale"),
    (r"vision_model\.embeddings\.class_embedding", "visual.class_embedding"),
    (r"vision_model\.embeddings\.patch_embedding\.weight", "visual.conv1.weight"),
    (r"vision_model\.embeddings\.position_embedding\.weight", "visual.positional_embedding"),
    (r"vision_model\.pre_layrnorm\.(.+)", r"visual.ln_pre.\1"),
    (r"vision_model\.post_layernorm\.(.+)", r"visual.ln_post.\1"),
    (r"visual_projection\.weight", "visual.proj"),
    (r"text_model\.embeddings\.token_embedding\.weight", "token_embedding.weight"),
    (r"text_model\.embeddings\.position_embedding\.weight", "positional_embedding"),
    (r"text_model\.final_layer_norm\.(.+)", r"ln_final.\1"),
    (r"text_projection\.weight", "text_projection"),
    (_BLOCK + r"layer_norm([12])\.(.+)", r"transformer.resblocks.\1.ln_\2.\3"),
    (_BLOCK + r"mlp\.fc1\.(.+)", r"transformer.resblocks.\1.mlp.c_fc.\2"),
    (_BLOCK + r"mlp\.fc2\.(.+)", r"transformer.resblocks.\1.mlp.c_proj.\2"),
    (_BLOCK + r"self_attn\.out_proj\.(.+)", r"transformer.resblocks.\1.attn.out_proj.\2"),
    (_BLOCK + r"self_attn\.([qkv])_proj\.(.+)", r"transformer.resblocks.\1.attn.in_proj_\3.\2"),
)
_TRANSPOSED = ("visual.proj", "text_projection")


def from_hugging_face(path: Path) -> Architecture:
    """The architecture in the `config.json` of a `CLIPModel`.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it describes another model, or an activation without a name in open_clip.
    """
    content = read_json(path)
    if content.get("model_type") != "clip":
        raise ValueError(f"{path}: expected model_type 'clip', got {content.get('model_type')!r}")
    vision = _VISION | mapping_in(content, "vision_config", path)
    text = _TEXT | mapping_in(content, "text_config", path)
    activations = {str(part["hidden_act"]) for part in (vision, text)}
    if len(activations) > 1 or not activations <= {"quick_gelu", "gelu"}:
        raise ValueError(f"{path}: expected hidden_act 'quick_gelu' or 'gelu', got {activations}")
    for part, defaults in ((vision, _VISION), (text, _TEXT)):
        for name in defaults.keys() - {"hidden_act"}:
            size = part[name]
            if not isinstance(size, int) or size < 1:
                raise ValueError(
                    f"{path}: {name}: expected a whole number of 1 or more, got "
                    f"{str(size)[:40]}; the description is damaged"
                )
    images = path.with_name("preprocessor_config.json")
    normalisation = read_json(images) if images.is_file() else {}
    normal = {
        ours: channels(normalisation[theirs], f"{images}: {theirs}", zero=ours == "mean")
        for ours, theirs in (("mean", "image_mean"), ("std", "image_std"))
        if theirs in normalisation
    }
    return Architecture(model=_model_config(content, vision, text), **normal)


def open_clip_names(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Weights of a `CLIPModel` by open_clip's names; names without a counterpart are kept.

    Raises:
        ValueError: If query, key and value of a block do not fit, or two names become one.
    """
    kept = ((name, each) for name, each in tensors.items() if not name.endswith("position_ids"))
    found = renamed(kept, _our_name, source="checkpoint of transformers")
    for name in _TRANSPOSED:
        if name in found and found[name].ndim == 2:
            found[name] = found[name].T
    for query in [name for name in found if ".attn.in_proj_" in name and name.endswith(".q")]:
        stem = query.removesuffix(".q")
        parts = [found.pop(f"{stem}.{letter}", None) for letter in "qkv"]
        try:
            found[stem] = torch.cat([part for part in parts if part is not None])
        except RuntimeError as error:
            shapes = [tuple(part.shape) for part in parts if part is not None]
            raise ValueError(
                f"{stem}: expected query, key and value of equal sizes, got {shapes}"
            ) from error
    return found


def _our_name(name: str) -> str:
    """open_clip's name of a weight.

    Example:
        >>> _our_name("vision_model.encoder.layers.3.mlp.fc1.bias")
        'visual.transformer.resblocks.3.mlp.c_fc.bias'
    """
    for pattern, replacement in _RENAMES:
        if match := re.fullmatch(pattern, name):
            prefix = "visual." if name.startswith("vision_model.encoder") else ""
            return prefix + match.expand(replacement)
    return name


def _model_config(
    content: Mapping[str, Any], vision: Mapping[str, Any], text: Mapping[str, Any]
) -> dict[str, Any]:
    return {
        "embed_dim": content.get("projection_dim", 512),
        "quick_gelu": vision["hidden_act"] == "quick_gelu",
        "vision_cfg": {
            "layers": vision["num_hidden_layers"],
            "width": vision["hidden_size"],
            "head_width": vision["hidden_size"] // vision["num_attention_heads"],
            "mlp_ratio": vision["intermediate_size"] / vision["hidden_size"],
            "patch_size": vision["patch_size"],
            "image_size": vision["image_size"],
        },
        "text_cfg": {
            "context_length": text["max_position_embeddings"],
            "vocab_size": text["vocab_size"],
            "width": text["hidden_size"],
            "heads": text["num_attention_heads"],
            "layers": text["num_hidden_layers"],
            "mlp_ratio": text["intermediate_size"] / text["hidden_size"],
        },
    }
