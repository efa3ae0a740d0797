"""Named tensors of weight files, read without running code in them, and checked.

A PyTorch file is a pickle, which can run code when it is opened. This module prevents that:
safetensors contain only numbers, pickles are read with `weights_only=True`, and TorchScript
archives are read by `weakclip.clip.archive`, which never runs their code.
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
"""NumPy's arrays and numbers, by the names under which NumPy 1 and 2 pickle them. Training logs in
checkpoints contain them, and creating one runs no code of the file."""


DAMAGE = (
    OSError, ValueError, EOFError, TypeError, LookupError, AttributeError, RuntimeError,
    AssertionError, ArithmeticError, MemoryError, RecursionError, struct.error,
    pickle.UnpicklingError, zipfile.BadZipFile,
)  # fmt: skip
"""What reading a damaged file can raise."""


_ROOM = 1 << 26
"""Bytes by which the unpacked content of a file may exceed its size, for program and logs; numbers
are stored uncompressed."""
_NAMES_A_NUMBER = 4
"""Number of tensors that may share a number in a file, as tied weights do."""


def check_packed(path: Path) -> None:
    """Check that a ZIP file, such as a PyTorch file, does not unpack to much more than its size.

    Raises:
        ValueError: If it does; nothing has been unpacked.
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
    """Check that tensors do not claim more bytes than the file holds, by sharing numbers.

    Raises:
        ValueError: If they do.
    """
    most = _NAMES_A_NUMBER * (path.stat().st_size + _ROOM)
    if found > most:
        raise ValueError(f"expected tensors of at most {most} bytes, they claim {found}")


def read_tensors(path: Path) -> dict[str, Tensor]:
    """Named tensors of a safetensors file or of a file written by `torch.save`.

    Args:
        path: The file. A `state_dict` next to training logs is unwrapped, and the prefix `module.`
            of data-parallel training is removed from the names.

    Returns:
        Tensors on the CPU by name.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is damaged, contains objects that could run code, or has no named tensors.
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
    """Named tensors in a checkpoint's content (arrays or tensors), with or without `state_dict`.

    Args:
        content: Content of the file.
        source: Name of the file in errors.

    Raises:
        ValueError: If it is not a mapping, a value is neither an array nor a tensor, or two names
            differ only in `module.`.

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
    """Rename tensors.

    Args:
        tensors: Names and tensors of a file.
        rename: Maps a name in the file to ours.
        source: Name of the file in errors.

    Raises:
        ValueError: If two names become one, as `x` and `module.x` do.
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
    """Raise a ValueError that lists all differences unless names and shapes agree.

    Args:
        found: Tensors of a file, by name.
        wanted: Tensors of the model, by the same names.
        source: Name of the file in errors.
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
