"""The tiny CLIP of the CLIP-ES and CLIMS vectors: an OpenAI checkpoint's names, sizes by config."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import open_clip
import torch
from open_clip.model import CLIP, CLIPTextCfg, CLIPVisionCfg

from weakclip.clip.bundle import CLIPBundle

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

Arrays = dict[str, np.ndarray[Any, Any]]
REGISTERED = "visual.positional_embedding_new"
"""The release registers its resized position embedding at every forward pass: no parameter."""


def write(path: Path, config: Mapping[str, Any], arrays: Arrays) -> Path:
    """A parity file like those of `tests/data`; returns its path."""
    contents: dict[str, Any] = {"config": json.dumps(config), **arrays}
    np.savez(path, **contents)
    return path


def state_dict(arrays: Arrays) -> dict[str, torch.Tensor]:
    """Parameters under `param/`, without what the release adds on the way."""
    return {
        key.removeprefix("param/"): torch.from_numpy(value)
        for key, value in arrays.items()
        if key.startswith("param/") and key != f"param/{REGISTERED}"
    }


def bundle(config: Mapping[str, Any], state: Mapping[str, torch.Tensor]) -> CLIPBundle:
    """A CLIP of the file's sizes with its parameters.

    Raises:
        ValueError: If a parameter is missing, left over or of another shape.
    """
    clip = CLIP(
        config["embed_dim"],
        CLIPVisionCfg(
            layers=config["vision_layers"],
            width=config["vision_width"],
            head_width=config["vision_width"] // config["vision_heads"],
            patch_size=int(state["visual.conv1.weight"].shape[-1]),
            image_size=config["image_size"],
        ),
        CLIPTextCfg(
            context_length=len(state["positional_embedding"]),
            vocab_size=len(state["token_embedding.weight"]),
            width=config["text_width"],
            heads=config["text_heads"],
            layers=config["text_layers"],
        ),
        quick_gelu=config.get("quick_gelu", True),
    )
    try:
        clip.load_state_dict(state, strict=True)
    except RuntimeError as error:
        raise ValueError(f"parameters do not fit the config: {error}") from error
    tokenizer = open_clip.SimpleTokenizer(context_length=len(state["positional_embedding"]))
    return CLIPBundle.from_open_clip(
        clip.eval(),
        lambda texts: tokenizer(list(texts)),
        mean=(0.0, 0.0, 0.0),
        std=(1.0, 1.0, 1.0),
        name="tiny",
        sha256="",
    )
