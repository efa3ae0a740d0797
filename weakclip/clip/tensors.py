"""Named tensors of a file that somebody else wrote: read without running its code, and checked.

A PyTorch file is a pickle, and a pickle can run any program when it is opened. Nothing here does:
safetensors hold numbers only, pickles are read with `weights_only=True`, and TorchScript archives
are left to `weakclip.clip.archive`, which reads their tensors and never their code.
"""

from __future__ import annotations

import pickle
import re
import struct
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from pathlib import Path

_RECONSTRUCT: Callable[..., Any] = np.empty(0).__reduce__()[0]  # type: ignore[assignment]
_SCALAR: Callable[..., Any] = np.float64(0).__reduce__()[0]  # type: ignore[assignment]
_ARRAYS: list[Callable[..., Any] | tuple[Callable[..., Any], str]] = [
    np.ndarray,
    np.dtype,
    *(type(np.dtype(name)) for name in ("bool", "u1", "i4", "i8", "f2", "f4", "f8")),
    *((_RECONSTRUCT, f"numpy.{core}.multiarray._reconstruct") for core in ("core", "_core")),
    *((_SCALAR, f"numpy.{core}.multiarray.scalar") for core in ("core", "_core")),
]
"""numpy's arrays and numbers, under the names that numpy 1 and 2 pickle them by: training logs are
full of them, and making one runs no code of the file."""


_DAMAGE = (
    OSError, ValueError, EOFError, TypeError, LookupError, AttributeError, RuntimeError,
    AssertionError, struct.error, pickle.UnpicklingError,
)  # fmt: skip
"""What reading can raise on a file that is not what it claims to be."""


def read_tensors(path: Path) -> dict[str, Tensor]:
    """Named tensors of a safetensors file or of a file that `torch.save` wrote.

    Args:
        path: The tensors may lie under `state_dict`, beside training logs, and may carry the
            `module.` that data-parallel training puts before each name; both are taken off.

    Returns:
        Tensors on the CPU by name.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is damaged, holds objects that could run code, or no named tensors.
    """
    if not path.is_file():
        raise FileNotFoundError(f"weights: no file {path}")
    if path.suffix == ".safetensors":
        try:
            tensors: dict[str, Tensor] = load_file(path)
        except SafetensorError as error:
            raise ValueError(f"{path}: not a readable safetensors file: {error}") from error
        return tensors
    return unwrap(_read_pickle(path), source=str(path))


def unwrap(content: object, *, source: str = "checkpoint") -> dict[str, Tensor]:
    """Named tensors of a checkpoint's content (arrays or tensors), under `state_dict` or bare.

    Args:
        content: What was in the file.
        source: What to call it in errors.

    Raises:
        ValueError: If it is no mapping, or a value is neither an array nor a tensor.

    Example:
        >>> list(unwrap({"state_dict": {"module.weight": torch.zeros(2)}, "epoch": 3}))
        ['weight']
    """
    inner = content.get("state_dict", content) if isinstance(content, dict) else content
    if not isinstance(inner, dict):
        raise ValueError(f"{source}: expected named tensors, got {type(inner).__name__}")
    return {
        str(name).removeprefix("module."): _tensor(name, value, source)
        for name, value in inner.items()
    }


def check_names(found: Mapping[str, Tensor], wanted: Mapping[str, Tensor], *, source: str) -> None:
    """Raise a readable ValueError unless names and shapes agree.

    Args:
        found: Tensors of a file, by name.
        wanted: Tensors of the model, by the same names.
        source: What to call the file.
    """
    problems = [
        f"{title} ({len(names)}): {', '.join(names[:8])}{', ...' if len(names) > 8 else ''}"
        for title, names in (
            ("missing", sorted(wanted.keys() - found.keys())),
            ("not used", sorted(found.keys() - wanted.keys())),
            ("of another shape", [*_other_shapes(found, wanted)]),
        )
        if names
    ]
    if problems:
        raise ValueError(f"{source}: does not fit the model; " + "; ".join(problems))


def _read_pickle(path: Path) -> object:
    try:
        with torch.serialization.safe_globals(_ARRAYS):
            content: object = torch.load(path, map_location="cpu", weights_only=True)
    except _DAMAGE as error:
        if foreign := re.search(r"Unsupported (?:global: GLOBAL|class) (\S+)", str(error)):
            raise ValueError(
                f"{path}: holds objects of {foreign[1]}, and making them could run code, so the "
                "file was not opened. If you trust its source, keep only the tensors, where the "
                "packages that wrote it are: torch.save(torch.load(old, weights_only=False)"
                "['state_dict'], new)"
            ) from error
        reason = str(error).partition("\n")[0] or type(error).__name__
        if isinstance(error, pickle.UnpicklingError):  # torch advises to run the file's code
            reason = "no pickle of tensors"
        raise ValueError(
            f"{path}: not a readable PyTorch file ({reason}); copy it again"
        ) from error
    return content


def _tensor(name: object, value: object, source: str) -> Tensor:
    if isinstance(value, Tensor):
        return value
    if isinstance(value, np.ndarray):
        return torch.from_numpy(value.copy())
    raise ValueError(f"{source}: expected a tensor under {name!r}, got {type(value).__name__}")


def _other_shapes(found: Mapping[str, Tensor], wanted: Mapping[str, Tensor]) -> Iterable[str]:
    for name in sorted(found.keys() & wanted.keys()):
        if found[name].shape != wanted[name].shape:
            yield f"{name} {tuple(found[name].shape)}, expected {tuple(wanted[name].shape)}"
