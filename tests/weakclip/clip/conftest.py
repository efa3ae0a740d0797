"""Small CLIPs with random weights, and the formats that CLIPs are published in."""

from __future__ import annotations

import json
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from open_clip.model import CLIP
from safetensors.torch import save_file

if TYPE_CHECKING:
    from pathlib import Path

    from torch import Tensor


@dataclass(frozen=True)
class Small:
    """Sizes of a small CLIP."""

    patch: int = 16
    side: int = 48
    quick_gelu: bool = False

    @property
    def config(self) -> dict[str, Any]:
        """open_clip's `model_cfg`."""
        return {
            "embed_dim": 16,
            "quick_gelu": self.quick_gelu,
            "vision_cfg": {
                "layers": 4, "width": 32, "head_width": 8, "patch_size": self.patch,
                "image_size": self.side,
            },
            "text_cfg": {
                "context_length": 12, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 1,
            },
        }  # fmt: skip

    def build(self) -> CLIP:
        """Random weights, also in the norms."""
        torch.manual_seed(3)
        model = CLIP(**self.config)
        with torch.no_grad():
            for parameter in model.parameters():
                if parameter.ndim == 1:
                    parameter.normal_(0.5, 0.5)
                elif parameter.ndim > 1 and len(parameter) != 49408:
                    parameter.mul_(3)  # far enough from 0 for the two GELUs to differ
        return model.eval()


def write_archive(path: Path, model: CLIP, side: int) -> None:
    """OpenAI's format: a traced program with its weights, some of them in half precision."""
    example = (torch.zeros(1, 3, side, side), torch.zeros(1, 12, dtype=torch.int64))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch.jit is deprecated, its files are not
        traced = torch.jit.trace(  # type: ignore[no-untyped-call]
            model, example, strict=False, check_trace=False
        )
        traced.transformer.half()
        torch.jit.save(traced, path)
    model.float()  # the trace shares its weights; they are now what the file holds


def write_folder(folder: Path, small: Small, model: CLIP) -> None:
    """open_clip's folder, with a normalisation of its own."""
    folder.mkdir()
    content = {
        "model_cfg": small.config,
        "preprocess_cfg": {"mean": [0.5, 0.4, 0.3], "std": [0.2, 0.2, 0.1]},
    }
    (folder / "open_clip_config.json").write_text(json.dumps(content))
    save_file(model.state_dict(), folder / "open_clip_model.safetensors")


def write_transformers(folder: Path, small: Small, model: CLIP) -> None:
    """transformers' folder; the names are written out here, independently of the reader."""
    folder.mkdir()
    act = "quick_gelu" if small.quick_gelu else "gelu"
    config = {
        "model_type": "clip",
        "projection_dim": 16,
        "vision_config": {
            "hidden_size": 32, "intermediate_size": 128, "num_hidden_layers": 4,
            "num_attention_heads": 4, "image_size": small.side, "patch_size": small.patch,
            "hidden_act": act,
        },
        "text_config": {
            "hidden_size": 16, "intermediate_size": 64, "num_hidden_layers": 1,
            "num_attention_heads": 2, "max_position_embeddings": 12, "hidden_act": act,
        },
    }  # fmt: skip
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "preprocessor_config.json").write_text(json.dumps({"image_mean": [0.1, 0.2, 0.3]}))
    save_file(transformers_tensors(model), folder / "model.safetensors")


def transformers_tensors(model: CLIP) -> dict[str, Tensor]:
    """Weights by transformers' names."""
    state = model.state_dict()
    names = {
        "logit_scale": "logit_scale",
        "visual.class_embedding": "vision_model.embeddings.class_embedding",
        "visual.conv1.weight": "vision_model.embeddings.patch_embedding.weight",
        "visual.positional_embedding": "vision_model.embeddings.position_embedding.weight",
        "visual.proj": "visual_projection.weight",
        "token_embedding.weight": "text_model.embeddings.token_embedding.weight",
        "positional_embedding": "text_model.embeddings.position_embedding.weight",
        "text_projection": "text_projection.weight",
    }
    norms = {
        "visual.ln_pre": "vision_model.pre_layrnorm",
        "visual.ln_post": "vision_model.post_layernorm",
        "ln_final": "text_model.final_layer_norm",
    }
    out = {theirs: state[ours] for ours, theirs in names.items()}
    out["visual_projection.weight"] = state["visual.proj"].T.contiguous()
    out["text_projection.weight"] = state["text_projection"].T.contiguous()
    out["vision_model.embeddings.position_ids"] = torch.arange(4)
    for part in ("weight", "bias"):
        out |= {f"{theirs}.{part}": state[f"{ours}.{part}"] for ours, theirs in norms.items()}
        for tower, prefix, layers in (("vision", "visual.", 4), ("text", "", 1)):
            for layer in range(layers):
                ours = f"{prefix}transformer.resblocks.{layer}"
                theirs = f"{tower}_model.encoder.layers.{layer}"
                out[f"{theirs}.layer_norm1.{part}"] = state[f"{ours}.ln_1.{part}"]
                out[f"{theirs}.layer_norm2.{part}"] = state[f"{ours}.ln_2.{part}"]
                out[f"{theirs}.mlp.fc1.{part}"] = state[f"{ours}.mlp.c_fc.{part}"]
                out[f"{theirs}.mlp.fc2.{part}"] = state[f"{ours}.mlp.c_proj.{part}"]
                out[f"{theirs}.self_attn.out_proj.{part}"] = state[f"{ours}.attn.out_proj.{part}"]
                for letter, rows in zip(
                    "qkv", state[f"{ours}.attn.in_proj_{part}"].chunk(3), strict=True
                ):
                    out[f"{theirs}.self_attn.{letter}_proj.{part}"] = rows.clone()
    return {name: tensor.clone() for name, tensor in out.items()}
