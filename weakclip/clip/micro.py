"""micro-CLIP: a small CLIP that ships with the library, an open_clip ViT in structure.

With it everything runs with pretrained weights on a machine without a network. It knows only the
words of CartoonVOC's captions. Pretraining: `bench/cartoon/pretraining/clip.py`; model card and
results: `weakclip/assets/README.md`.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import torch
from open_clip.model import CLIP
from safetensors.torch import load, save

from weakclip.clip.tokens import VocabularyTokenizer

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

MicroCLIP: TypeAlias = CLIP
"""An open_clip model of micro-CLIP's architecture."""

ASSETS = Path(__file__).resolve().parent.parent / "assets"
CONFIG_FILE, WEIGHTS_FILE = "micro-clip.json", "micro-clip.safetensors"

MEAN = (122.7709383, 116.7460125, 104.09373615)
"""Channel means of CLIP, RGB, in 0-255 units (0.48145466 x 255, ...)."""
STD = (68.5005327, 66.6321579, 70.32316305)


@dataclass(frozen=True, slots=True, kw_only=True)
class MicroConfig:
    """Sizes of micro-CLIP."""

    embed_dim: int = 128
    width: int = 128
    layers: int = 6
    head_width: int = 32
    patch_size: int = 16
    image_size: int = 128
    pool: str = "avg"
    """`avg`: mean of the patch tokens; it makes the patches carry the classes (`docs/log.md`)."""
    context_length: int = 32
    text_width: int = 128
    text_heads: int = 4
    text_layers: int = 2


def build_micro(config: MicroConfig, vocabulary_size: int) -> CLIP:
    """An open_clip CLIP of these sizes, initialised at random."""
    return CLIP(
        embed_dim=config.embed_dim,
        vision_cfg={
            "layers": config.layers,
            "width": config.width,
            "head_width": config.head_width,
            "patch_size": config.patch_size,
            "image_size": config.image_size,
            "pool_type": config.pool,
        },
        text_cfg={
            "context_length": config.context_length,
            "vocab_size": vocabulary_size,
            "width": config.text_width,
            "heads": config.text_heads,
            "layers": config.text_layers,
        },
        quick_gelu=False,
    )


def normalise(images: Tensor) -> Tensor:
    """Normalise images by CLIP's mean and standard deviation, channels first.

    Args:
        images: (B, H, W, 3), uint8, RGB.

    Returns:
        (B, 3, H, W), float32.
    """
    mean = torch.tensor(MEAN, device=images.device)
    std = torch.tensor(STD, device=images.device)
    return ((images.float() - mean) / std).permute(0, 3, 1, 2).contiguous()


def save_micro(folder: Path, config: MicroConfig, vocabulary: Sequence[int], model: CLIP) -> str:
    """Write weights (half precision) and configuration; the SHA-256 of the weights.

    Each file is written under a temporary name and renamed; the configuration, which contains the
    checksum, comes last.
    """
    tensors = {
        name: tensor.detach().to("cpu", torch.float16).contiguous()
        for name, tensor in model.state_dict().items()
        if name != "attn_mask"
    }
    content = save(tensors)
    digest = hashlib.sha256(content).hexdigest()
    text = json.dumps(
        {"model": asdict(config), "vocabulary": list(vocabulary), "sha256": digest}, indent=1
    )
    for name, data in ((WEIGHTS_FILE, content), (CONFIG_FILE, text.encode() + b"\n")):
        part = folder / f"{name}.part"
        part.write_bytes(data)
        part.replace(folder / name)
    return digest


def load_micro(folder: Path = ASSETS) -> tuple[CLIP, VocabularyTokenizer, str]:
    """The model in float32 and evaluation mode, its tokeniser, and the SHA-256 of its weights.

    Raises:
        FileNotFoundError: If a file is missing.
        ValueError: If the configuration is unreadable or the weights' checksum differs.
    """
    for name in (CONFIG_FILE, WEIGHTS_FILE):
        if not (folder / name).is_file():
            raise FileNotFoundError(
                f"micro-CLIP: {name} is missing in {folder}; reinstall the package, or make it "
                "with `nox -s pretrain`"
            )
    try:
        meta = json.loads((folder / CONFIG_FILE).read_text())
        config = MicroConfig(**meta["model"])
        vocabulary, expected = meta["vocabulary"], meta["sha256"]
    except (json.JSONDecodeError, KeyError, TypeError) as error:
        raise ValueError(f"micro-CLIP: {folder / CONFIG_FILE} is not readable: {error}") from error
    content = (folder / WEIGHTS_FILE).read_bytes()
    digest = hashlib.sha256(content).hexdigest()
    if digest != expected:
        raise ValueError(
            f"micro-CLIP: checksum of {folder / WEIGHTS_FILE}: expected {expected[:12]}…, got "
            f"{digest[:12]}…; the file is damaged: reinstall the package"
        )
    tokenizer = VocabularyTokenizer(vocabulary, config.context_length)
    model = build_micro(config, len(vocabulary))
    state = {name: tensor.float() for name, tensor in load(content).items()}
    model.load_state_dict(state, strict=True)
    return model.eval(), tokenizer, digest
