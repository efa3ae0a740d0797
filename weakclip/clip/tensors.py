"""Named tensors of a file that somebody else wrote: read without running its code, and checked.

A PyTorch file is a pickle, and a pickle can run any program when it is opened. Nothing here does:
safetensors hold numbers only, pickles are read with `weights_only=True`, and TorchScript archives
are left to `weakclip.clip.archive`, which reads their tensors and never their code.
"""

from __future__ import annotations

import pickle
import re
import struct
import zipfile
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


DAMAGE = (
    OSError, ValueError, EOFError, TypeError, LookupError, AttributeError, RuntimeError,
    AssertionError, ArithmeticError, MemoryError, RecursionError, struct.error,
    pickle.UnpicklingError, zipfile.BadZipFile,
)  # fmt: skip
"""What reading can raise on a file that is not what it claims to be."""


_ROOM = 1 << 26
"""Bytes that the program and the logs in a file may take beyond its size once they are unpacked;
numbers are stored as they are."""
_NAMES_A_NUMBER = 4
"""How many tensors may share one number of a file, as tied weights do."""


def check_packed(path: Path) -> None:
    """Raise if a ZIP file, which PyTorch's files are, unpacks to much more than its size.

    Raises:
        ValueError: If it does; nothing was unpacked.
    """
    if not zipfile.is_zipfile(path):
        return
    with zipfile.ZipFile(path) as file:
        unpacked = sum(entry.file_size for entry in file.infolist())
    most = path.stat().st_size + _ROOM
    if unpacked > most:
        raise ValueError(
            f"expected at most {most} bytes of numbers and program, it would unpack to {unpacked}"
        )


def check_bytes(found: int, path: Path) -> None:
    """Raise if tensors claim more bytes than a file holds, as one number seen from many places.

    Raises:
        ValueError: If they do.
    """
    most = _NAMES_A_NUMBER * (path.stat().st_size + _ROOM)
    if found > most:
        raise ValueError(f"expected tensors of at most {most} bytes, they claim {found}")


def read_tensors(path: Path) -> dict[str, Tensor]:
    """Named tensors of a safetensors file or of a file that `torch.save` wrote.

    Args:
        path: The tensors may lie under `state_dict`, next to training logs, and may carry the
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
        except (SafetensorError, OSError, RuntimeError, ValueError) as error:
            raise ValueError(f"{path}: not a readable safetensors file: {error}") from error
        return tensors
    content = _read_pickle(path)
    inner = content.get("state_dict", content) if isinstance(content, dict) else {}
    if isinstance(inner, dict):
        _check_claims(inner.values(), path)
    return unwrap(content, source=str(path))


def unwrap(content: object, *, source: str = "checkpoint") -> dict[str, Tensor]:
    """Named tensors of a checkpoint's content (arrays or tensors), under `state_dict` or bare.

    Args:
        content: What was in the file.
        source: What to call it in errors.

    Raises:
        ValueError: If it is no mapping, a value is neither an array nor a tensor, or two names
            differ in `module.` only.

    Example:
        >>> list(unwrap({"state_dict": {"module.weight": torch.zeros(2)}, "epoch": 3}))
        ['weight']
    """
    inner = content.get("state_dict", content) if isinstance(content, dict) else content
    if not isinstance(inner, dict):
        raise ValueError(f"{source}: expected named tensors, got {type(inner).__name__}")
    return renamed(
        ((str(name), _tensor(name, value, source)) for name, value in inner.items()),
        lambda name: name.removeprefix("module."),
        source=source,
    )


def renamed(
    tensors: Iterable[tuple[str, Tensor]], rename: Callable[[str], str], *, source: str
) -> dict[str, Tensor]:
    """Tensors by other names.

    Args:
        tensors: Names and tensors of a file.
        rename: Name of the file to ours.
        source: What to call the file in errors.

    Raises:
        ValueError: If two names become one, as `x` and `module.x` do: either may be the one meant.
    """
    found: dict[str, Tensor] = {}
    theirs: dict[str, str] = {}
    for name, tensor in tensors:
        ours = rename(name)
        if ours in found:
            raise ValueError(
                f"{source}: has {theirs[ours]!r} and {name!r}, which are the same weights; "
                "keep the one that is meant"
            )
        found[ours], theirs[ours] = tensor, name
    return found


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
        check_packed(path)
        with torch.serialization.safe_globals(_ARRAYS):
            content: object = torch.load(path, map_location="cpu", weights_only=True)
    except DAMAGE as error:
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


def _check_claims(values: Iterable[object], path: Path) -> None:
    arrays = [value for value in values if isinstance(value, (Tensor, np.ndarray))]
    try:
        check_bytes(sum(array.numel() * array.element_size() if isinstance(array, Tensor)
                        else array.nbytes for array in arrays), path)  # fmt: skip
    except ValueError as error:
        raise ValueError(f"{path}: not a readable PyTorch file ({error}); copy it again") from error


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
