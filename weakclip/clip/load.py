"""Loading a frozen CLIP by name: the embedded micro-CLIP, or any plain open_clip ViT."""

from __future__ import annotations

import hashlib
import logging
from typing import TYPE_CHECKING

import open_clip
import torch

from weakclip.clip.architecture import build_clip
from weakclip.clip.archive import is_archive, read_archive
from weakclip.clip.bundle import CLIPBundle
from weakclip.clip.checkpoint import find_checkpoint
from weakclip.clip.hugging_face import open_clip_names
from weakclip.clip.micro import ASSETS, MEAN, STD, MicroConfig, build_micro, load_micro
from weakclip.clip.tensors import read_tensors
from weakclip.clip.tokens import BytePairTokenizer
from weakclip.clip.weights import check_outputs, check_weights

if TYPE_CHECKING:
    from pathlib import Path

    from open_clip.model import CLIP
    from torch import Tensor

    from weakclip.clip.architecture import Architecture
    from weakclip.clip.checkpoint import Checkpoint
    from weakclip.clip.tokens import VocabularyTokenizer

logger = logging.getLogger(__name__)

CLIP_NAMES = ("micro", "random-micro")
"""`micro`: the embedded micro-CLIP. `random-micro`: its architecture with random weights, for
checks of the pipeline only."""


def load_clip(
    name: str = "micro", *, weights: Path | None = None, device: torch.device | str = "cpu"
) -> CLIPBundle:
    """Load a frozen CLIP. Nothing is downloaded, and no code in a file is run.

    Args:
        name: One of `CLIP_NAMES`; an open_clip ViT with a tag (`ViT-B-16/openai`), whose weights
            are looked up in the local caches; the name of a ViT alone (`ViT-B-16`) together with
            `weights`; or a folder with `open_clip_config.json` or transformers' `config.json`.
        weights: A weight file: OpenAI's TorchScript `.pt`, open_clip's `.bin`, `.pt` or
            `.safetensors`, transformers' `model.safetensors`; or a folder as above. For `micro`,
            the folder of its two files, by default the package's.
        device: Device for the towers.

    The activation is that of the tag, of the folder's description, or of the modules in a
    TorchScript archive. A plain file of tensors does not specify it; then it follows from the name.
    Weights trained with QuickGELU therefore need their tag or a name with `-quickgelu`.

    Raises:
        FileNotFoundError: If the weights are missing; the message says which file to fetch.
        ValueError: If the name is unknown, or the weights are damaged or do not fit. The weights
            are checked, and so are the embeddings of two small images and two texts.
    """
    bundle = _embedded(name, weights or ASSETS) if name in CLIP_NAMES else _other(name, weights)
    check_outputs(bundle, f"CLIP {bundle.name}")
    bundle.image.to(device)
    bundle.text.to(device)
    return bundle


def list_clips() -> tuple[str, ...]:
    """Names for `load_clip`: the embedded CLIPs, then every pretrained open_clip ViT.

    The weights of the latter must be on this machine; `load_clip` says which file is missing.

    Example:
        >>> names = list_clips()
        >>> names[0], "ViT-B-16/openai" in names
        ('micro', True)
    """
    known = open_clip.list_pretrained()
    return (*CLIP_NAMES, *sorted(f"{model}/{tag}" for model, tag in known if "ViT" in model))


def _embedded(name: str, folder: Path) -> CLIPBundle:
    model, tokenizer, digest = load_micro(folder)
    check_weights(dict(model.named_parameters()), str(folder))
    if name == "random-micro":
        model, digest = _random_micro(tokenizer)
    return CLIPBundle.from_open_clip(
        model, tokenizer, mean=MEAN, std=STD, name=f"{name}-clip", sha256=digest
    )


def _other(name: str, weights: Path | None) -> CLIPBundle:
    checkpoint = find_checkpoint(name, weights)
    tensors, architecture = _read(checkpoint)
    model = build_clip(architecture, tensors, str(checkpoint.weights))
    text = architecture.model["text_cfg"]
    length = len(getattr(model, "text", model).positional_embedding)
    with checkpoint.weights.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    first, second, third = (255 * value for value in architecture.mean)
    red, green, blue = (255 * value for value in architecture.std)
    return CLIPBundle.from_open_clip(
        model,
        BytePairTokenizer(length, **text.get("tokenizer_kwargs", {})),
        mean=(first, second, third),
        std=(red, green, blue),
        name=checkpoint.name,
        sha256=digest,
    )


def _read(checkpoint: Checkpoint) -> tuple[dict[str, Tensor], Architecture]:
    """Weights by open_clip's names, and the architecture with the right activation.

    Raises:
        ValueError: If the file is damaged, or its modules and its tag have different activations.
    """
    path, architecture = checkpoint.weights, checkpoint.architecture
    if is_archive(path):
        archive = read_archive(path)
        quick_gelu = "QuickGELU" in archive.modules
        if checkpoint.tag is not None and quick_gelu != architecture.quick_gelu:
            raise ValueError(
                f"{path}: expected the activation of {checkpoint.name}, "
                f"{_activation(architecture.quick_gelu)}, got {_activation(quick_gelu)}; "
                "it is the file of another checkpoint"
            )
        return archive.tensors, architecture.with_activation(quick_gelu=quick_gelu)
    logger.info("%s: %s", checkpoint.name, _activation(architecture.quick_gelu))
    tensors = read_tensors(path)
    if any(name.startswith("vision_model.") for name in tensors):
        tensors = open_clip_names(tensors)
    return tensors, architecture


def _activation(quick_gelu: bool) -> str:  # noqa: FBT001 (it is the only argument)
    return "QuickGELU" if quick_gelu else "exact GELU"


def _random_micro(tokenizer: VocabularyTokenizer) -> tuple[CLIP, str]:
    state = torch.random.get_rng_state()
    torch.manual_seed(0)
    model = build_micro(MicroConfig(), len(tokenizer)).eval()
    torch.random.set_rng_state(state)
    digest = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        digest.update(name.encode() + tensor.numpy().tobytes())
    return model, digest.hexdigest()
