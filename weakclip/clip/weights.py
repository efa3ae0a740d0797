"""Checks of a CLIP's weights before they are used.

A file can have all names and shapes and still be unusable: NaN, zeros after an aborted download,
integers from another program's quantisation. Such a CLIP raises no error, and every mask would be
background. So weights are checked on loading, and so are the towers' outputs for two small images
and two texts.
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
"""Prefixes of each tower's blocks in a file, by the key of its sizes in open_clip."""
_SIZES = ("layers", "width", "head_width", "heads", "patch_size", "context_length", "vocab_size")
_LARGEST = 1 << 24
"""Upper limit for sizes in a description; the file's actual sizes are compared later."""


def check_sizes(model: Mapping[str, Any], tensors: Mapping[str, Tensor], source: str) -> None:
    """Compare the sizes in a description with the file, before memory is allocated.

    Args:
        model: open_clip's `model_cfg`.
        tensors: Weights by open_clip's names.
        source: Name of the file in errors.

    Raises:
        ValueError: If a size is not a positive integer, or the number of blocks differs.
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
    """Check that all weights are dense, finite floating-point tensors and no matrix is constant.

    Args:
        tensors: Weights by name, in any floating-point dtype.
        source: Name of the file in errors.

    Raises:
        ValueError: If one cannot be a trained weight; names the first one.
    """
    for name, tensor in tensors.items():
        if problem := _problem(tensor):
            raise ValueError(
                f"{source}: {name}: expected floating-point weights, got {problem}; the file is "
                "damaged or was changed by another program, fetch it again"
            )


def check_outputs(bundle: CLIPBundle, source: str) -> None:
    """Check that both towers give finite and different embeddings for two inputs.

    Args:
        bundle: A CLIP on the CPU.
        source: Name of the file in errors.

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
    """Why a tensor cannot be a trained weight; empty if it can."""
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
