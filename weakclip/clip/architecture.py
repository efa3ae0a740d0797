"""The description of a CLIP apart from its weights: sizes, activation, image normalisation.

It is open_clip's own (`model_cfg`), from its registry of models, from an `open_clip_config.json`
next to a checkpoint, or translated from another library's file.
"""

from __future__ import annotations

import difflib
import json
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import open_clip
import torch
from open_clip.constants import OPENAI_DATASET_MEAN, OPENAI_DATASET_STD
from open_clip.model import CLIP, CustomTextCLIP

from weakclip.clip.tensors import check_names
from weakclip.clip.weights import check_sizes, check_weights
from weakclip.printable import one_line

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from torch import Tensor

Channels = tuple[float, float, float]

_NOT_WEIGHTS = ("attn_mask", "input_resolution", "context_length", "vocab_size")
"""Last name components of tensors in published files that are not weights."""
_UNBUILDABLE = (
    TypeError, ValueError, RuntimeError, AssertionError, ArithmeticError, LookupError,
    AttributeError,
)  # fmt: skip
"""What open_clip raises on inconsistent sizes."""
_FOREIGN_PARTS = ("timm_model_name", "hf_model_name", "hf_tokenizer_name")


@dataclass(frozen=True, slots=True, kw_only=True)
class Architecture:
    """A CLIP without its weights."""

    model: Mapping[str, Any]
    """open_clip's `model_cfg`: `embed_dim`, `vision_cfg`, `text_cfg`, `quick_gelu`, ..."""
    mean: Channels = OPENAI_DATASET_MEAN
    """Mean to subtract from each RGB channel, in 0-1 units."""
    std: Channels = OPENAI_DATASET_STD

    @property
    def quick_gelu(self) -> bool:
        """Whether x sigmoid(1.702 x) replaces the exact GELU, as in OpenAI's models."""
        return bool(self.model.get("quick_gelu", False))

    def with_activation(self, *, quick_gelu: bool) -> Architecture:
        """The same architecture with this activation in both towers."""
        return Architecture(
            model={**self.model, "quick_gelu": quick_gelu}, mean=self.mean, std=self.std
        )


def registered(name: str) -> Architecture:
    """The architecture registered in open_clip under a name.

    Raises:
        ValueError: If open_clip does not know the name.
    """
    config = open_clip.get_model_config(name)
    if config is None:
        known = open_clip.list_models()
        guess = difflib.get_close_matches(name, ["micro", "random-micro", *known], n=3)
        hint = f"; did you mean {', '.join(map(repr, guess))}?" if guess else ";"
        raise ValueError(
            f"unknown CLIP {name!r}{hint} Known: micro, random-micro, the names of "
            "open_clip.list_models(), and folders with a config.json or open_clip_config.json"
        )
    return Architecture(model=config)


def from_open_clip(path: Path) -> Architecture:
    """The architecture in an `open_clip_config.json`.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is unreadable or does not describe a model.
    """
    content = read_json(path)
    preprocess = mapping_in(content, "preprocess_cfg", path)
    model = mapping_in(content, "model_cfg", path) if "model_cfg" in content else content
    if not {"embed_dim", "vision_cfg", "text_cfg"} <= set(model):
        raise ValueError(
            f"{path}: expected open_clip's embed_dim, vision_cfg and text_cfg, got {sorted(model)}"
        )
    parts = {name: mapping_in(model, name, path) for name in ("vision_cfg", "text_cfg")}
    return Architecture(
        model={**model, **parts},
        mean=channels(preprocess.get("mean", OPENAI_DATASET_MEAN), f"{path}: mean"),
        std=channels(preprocess.get("std", OPENAI_DATASET_STD), f"{path}: std", zero=False),
    )


def channels(values: object, what: str, *, zero: bool = True) -> Channels:
    """Mean or standard deviation of the three RGB channels, in 0-1 units, checked.

    Args:
        values: Values in a description.
        what: Their name in errors.
        zero: Whether 0 is allowed; images cannot be divided by it.

    Raises:
        ValueError: If they are not three numbers in that range.
    """
    numbers = values if isinstance(values, (list, tuple)) else ()
    if len(numbers) == 3 and all(
        isinstance(one, (int, float)) and math.isfinite(one) and 0 <= one <= 1 and (zero or one)
        for one in numbers
    ):
        red, green, blue = map(float, numbers)
        return red, green, blue
    least = "from 0" if zero else "above 0"
    raise ValueError(
        f"{what}: expected three numbers {least} to 1, of red, green and blue, got "
        f"{str(values)[:60]}; images are normalised by them, so correct the description"
    )


def mapping_in(content: Mapping[str, Any], name: str, path: Path) -> dict[str, Any]:
    """The mapping under a name in a description; empty if the name is absent.

    Raises:
        ValueError: If the value is not a mapping.
    """
    value = content.get(name, {})
    if not isinstance(value, dict):
        raise ValueError(f"{path}: {name}: expected a mapping, got {type(value).__name__}")
    return value


def build_clip(architecture: Architecture, tensors: Mapping[str, Tensor], source: str) -> CLIP:
    """An open_clip model with these weights in float32, in evaluation mode, on the CPU.

    Image size and number of text positions are those of the weights, so a checkpoint keeps its own
    position embeddings even if its resolution differs from the description.

    Args:
        architecture: Its sizes.
        tensors: Weights by open_clip's names.
        source: Name of the file in errors.

    Raises:
        ValueError: If the towers do not support the architecture, or names or shapes of the weights
            do not fit; all are listed.
    """
    check_supported(architecture, source)
    weights = {
        name: tensor
        for name, tensor in tensors.items()
        if name.rpartition(".")[2] not in _NOT_WEIGHTS
    }
    check_sizes(architecture.model, weights, source)
    separate = any(name.startswith("text.") for name in weights)
    try:
        with torch.device("meta"):  # allocates no memory for weights that are replaced
            kind = CustomTextCLIP if separate else CLIP
            model = kind(**_sized(architecture.model, weights, separate=separate))
    except _UNBUILDABLE as error:
        raise ValueError(
            f"{source}: no model can be built as its description says "
            f"({one_line(str(error)) or type(error).__name__}); expected open_clip's sizes"
        ) from error
    wanted = model.state_dict()
    scale = weights.get("logit_scale", torch.zeros(()))
    if scale.numel() == 1:
        weights["logit_scale"] = scale.reshape(wanted["logit_scale"].shape)
    check_names(weights, wanted, source=source)
    check_weights(weights, source)
    model.load_state_dict({name: each.float() for name, each in weights.items()}, assign=True)
    return model.eval()


def read_json(path: Path) -> dict[str, Any]:
    """The mapping in a JSON file.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is unreadable.
    """
    if not path.is_file():
        raise FileNotFoundError(f"CLIP: no file {path}")
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ValueError(f"{path}: not a readable JSON file: {error}") from error
    if not isinstance(content, dict):
        raise ValueError(f"{path}: expected a mapping, got {type(content).__name__}")
    return content


def check_supported(architecture: Architecture, source: str) -> None:
    """Raise a ValueError unless the CLIP has a plain ViT and CLIP's own text tower."""
    model = architecture.model
    for part in (model["vision_cfg"], model["text_cfg"]):
        for name in _FOREIGN_PARTS:
            if part.get(name):
                raise ValueError(
                    f"{source}: uses {part[name]!r} ({name}) of another package; expected a plain "
                    "ViT and CLIP's own text tower and tokenizer, such as ViT-B-16 or ViT-L-14"
                )
    if "multimodal_cfg" in model or not isinstance(model["vision_cfg"].get("layers"), int):
        raise ValueError(f"{source}: expected a plain ViT, got a ResNet or a captioning model")


def _sized(
    model: Mapping[str, Any], tensors: Mapping[str, Tensor], *, separate: bool
) -> dict[str, Any]:
    """`model` with image size and text length of the weights, without unsupported options."""
    vision, text = dict(model["vision_cfg"]), dict(model["text_cfg"])
    image_positions = tensors.get("visual.positional_embedding")
    if image_positions is not None and image_positions.ndim == 2:
        side = round(max(len(image_positions) - 1, 0) ** 0.5)
        vision["image_size"] = side * int(vision.get("patch_size", 16))
    text_positions = tensors.get("text." * separate + "positional_embedding")
    if text_positions is not None and text_positions.ndim == 2:
        text["context_length"] = len(text_positions)
    rest = {name: value for name, value in model.items() if name != "custom_text"}
    return {**rest, "vision_cfg": vision, "text_cfg": text}
