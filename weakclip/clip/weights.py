"""What a CLIP's weights must be before anything is computed with them.

A file can have every name and every shape and still be of no use: a number that is none, zeros
where a download stopped, integers of another program's quantisation. Such a CLIP runs without an
error and every mask comes out as background, so weights are looked at when they are loaded, and
what the towers make of two small images and two sentences once as well.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor

    from weakclip.clip.bundle import CLIPBundle

_TOWERS = {
    "vision_cfg": ("visual.transformer.resblocks.",),
    "text_cfg": ("transformer.resblocks.", "text.transformer.resblocks."),
}
"""Where the blocks of each tower are in a file, by open_clip's name of its sizes."""
_SIZES = ("layers", "width", "head_width", "heads", "patch_size", "context_length", "vocab_size")
_LARGEST = 1 << 24
"""More than any side, width or vocabulary; what a file really holds is compared afterwards."""


def check_sizes(model: Mapping[str, Any], tensors: Mapping[str, Tensor], source: str) -> None:
    """Compare what a description says of a model with the file, before anything is allocated.

    Args:
        model: open_clip's `model_cfg`.
        tensors: Weights by open_clip's names.
        source: What to call the file in errors.

    Raises:
        ValueError: If a size is no positive whole number, or the file has another number of blocks.
    """
    sizes = {"embed_dim": model.get("embed_dim")}
    for part in _TOWERS:
        sizes |= {f"{part}.{name}": model[part].get(name) for name in _SIZES}
    for name, size in sizes.items():
        if size is not None and (type(size) is not int or not 0 < size <= _LARGEST):
            raise ValueError(
                f"{source}: {name} of the description: expected a whole number from 1 to "
                f"{_LARGEST}, got {str(size)[:40]}; the description is damaged"
            )
    for part, prefixes in _TOWERS.items():
        wanted, found = sizes[f"{part}.layers"], _blocks(tensors, prefixes)
        if wanted is not None and wanted != found:
            raise ValueError(
                f"{source}: {part}.layers of the description is {wanted}, but the file has {found} "
                "blocks; weights and description are not of one model"
            )


def check_weights(tensors: Mapping[str, Tensor], source: str) -> None:
    """Raise unless every weight is a dense tensor of finite numbers and no matrix is constant.

    Args:
        tensors: Weights by name, of any floating-point type.
        source: What to call the file in errors.

    Raises:
        ValueError: If they cannot be those of a trained network; names the first.
    """
    for name, tensor in tensors.items():
        if problem := _problem(tensor):
            raise ValueError(
                f"{source}: {name}: expected floating-point weights, got {problem}; the file is "
                "damaged or was changed by another program, fetch it again"
            )


def check_outputs(bundle: CLIPBundle, source: str) -> None:
    """Raise unless both towers give two inputs different, finite embeddings.

    Args:
        bundle: On the CPU.
        source: What to call the file in errors.

    Raises:
        ValueError: If an embedding is not finite or does not depend on the input.
    """
    side = 2 * bundle.patch_size
    flat = torch.zeros(1, 3, side, side)
    ramp = torch.linspace(-2, 2, flat.numel()).reshape(flat.shape)
    images = bundle.image(torch.cat([flat, ramp]))
    end = len(bundle.text.token_embedding.weight) - 1
    texts = bundle.text.encode_tokens(torch.tensor([[1, end], [2, end]]))
    found = {"images": images.global_embedding, "patches": images.dense_embedding, "texts": texts}
    for what, embeddings in found.items():
        if not bool(embeddings.isfinite().all()):
            raise ValueError(f"{source}: its embeddings of {what} are not finite; {_DAMAGED}")
        if bool((embeddings[0] == embeddings[1]).all()):
            raise ValueError(f"{source}: its embeddings of two {what} are the same; {_DAMAGED}")
    if not 0 < bundle.logit_scale < float("inf"):
        raise ValueError(f"{source}: expected a finite logit scale, got {bundle.logit_scale}")


_DAMAGED = "weights or description are damaged, fetch them again"


def _blocks(tensors: Mapping[str, Tensor], prefixes: tuple[str, ...]) -> int:
    return len({
        name.removeprefix(prefix).partition(".")[0]
        for name in tensors
        for prefix in prefixes
        if name.startswith(prefix)
    })  # fmt: skip


def _problem(tensor: Tensor) -> str:
    """Why a tensor can be no weight; empty if it can."""
    if not tensor.is_floating_point():
        return str(tensor.dtype)
    if tensor.layout is not torch.strided or tensor.device.type != "cpu":
        return f"a tensor of layout {tensor.layout} on {tensor.device}"
    if not tensor.numel():
        return f"no numbers, shape {tuple(tensor.shape)}"
    least, most = (float(value) for value in tensor.detach().float().aminmax())
    if not abs(least) < float("inf") or not abs(most) < float("inf"):
        return "NaN or infinity"
    constant = tensor.ndim > 1 and tensor.numel() > 1 and least == most
    return f"{least:g} everywhere" if constant else ""
