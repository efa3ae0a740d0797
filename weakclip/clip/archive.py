"""Tensors of a TorchScript archive, such as OpenAI's CLIP files, read without running its code.

OpenAI published CLIP as TorchScript: a ZIP file with a program, a pickle that assigns tensors to
the parameters of modules, and raw numbers. `torch.jit.load` would compile the program and could run
parts of it. Here only pickle and numbers are read: modules become inert records, and a pickle that
names anything but modules and tensors is rejected.
"""

from __future__ import annotations

import io
import math
import pickle
import struct
import zipfile
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from weakclip.clip.tensors import check_bytes, check_packed

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_TYPES = {
    "HalfStorage": torch.float16, "BFloat16Storage": torch.bfloat16, "FloatStorage": torch.float32,
    "DoubleStorage": torch.float64, "BoolStorage": torch.bool, "ByteStorage": torch.uint8,
    "CharStorage": torch.int8, "ShortStorage": torch.int16, "IntStorage": torch.int32,
    "LongStorage": torch.int64,
}  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Archive:
    """Content of a TorchScript archive."""

    tensors: dict[str, Tensor]
    """Parameters and buffers by dotted name, on the CPU, in their stored dtypes."""
    modules: frozenset[str]
    """Class names of its modules, e.g. `QuickGELU`."""


@dataclass(slots=True)
class _Module:
    """An inert record in place of a module of the archive."""

    state: dict[str, object] = field(default_factory=dict)

    def __setstate__(self, state: object) -> None:
        self.state = state if isinstance(state, dict) else {}


def is_archive(path: Path) -> bool:
    """Whether a file is a TorchScript archive: a ZIP file with constants and code."""
    if not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as file:
        names = file.namelist()
    return any(name.endswith("/constants.pkl") for name in names)


def read_archive(path: Path) -> Archive:
    """Tensors and module classes of a TorchScript archive; none of its code is run.

    Raises:
        ValueError: If the archive is damaged, or its pickle names anything but modules and tensors.
    """
    try:
        check_packed(path)
        with zipfile.ZipFile(path) as file:
            root = file.namelist()[0].split("/")[0]
            reader = _Reader(file, root, path)
            module = reader.load()
        tensors = dict(_walk(module, "", set()))
    except (
        OSError, ValueError, LookupError, EOFError, TypeError, AttributeError, RuntimeError,
        RecursionError, ArithmeticError, MemoryError, struct.error, pickle.UnpicklingError,
        zipfile.BadZipFile,
    ) as error:  # fmt: skip
        raise ValueError(f"{path}: not a readable TorchScript archive: {error}") from error
    return Archive(tensors=tensors, modules=frozenset(reader.modules))


class _Reader(pickle.Unpickler):
    """Reads `data.pkl`; can create only modules, tensors and plain values."""

    def __init__(self, file: zipfile.ZipFile, root: str, path: Path) -> None:
        super().__init__(io.BytesIO(file.read(f"{root}/data.pkl")))
        self._file, self._root, self._path, self._claimed = file, root, path, 0
        self._storages: dict[str, Tensor] = {}
        self.modules: set[str] = set()

    def find_class(self, module: str, name: str) -> Any:  # noqa: ANN401 (pickle's own)
        """The replacement for a name in the pickle."""
        if module.startswith("__torch__"):
            self.modules.add(name)
            return _Module
        if module == "torch" and name in _TYPES:
            return _TYPES[name]
        known = {
            ("torch._utils", "_rebuild_tensor_v2"): self._view,
            ("collections", "OrderedDict"): dict,
            ("torch.jit._pickle", "restore_type_tag"): _first,
            **{
                ("torch.jit._pickle", f"build_{kind}list"): _first
                for kind in ("int", "tensor", "double", "bool")
            },
        }
        if (module, name) not in known:
            raise pickle.UnpicklingError(
                f"it names {module}.{name}, which is neither a module nor a tensor"
            )
        return known[module, name]

    def persistent_load(self, pid: Any) -> Tensor:  # noqa: ANN401 (pickle's own)
        """The numbers of a storage: ("storage", dtype, key, device, count)."""
        _, dtype, key, _, count = pid
        if key not in self._storages:
            entry = self._file.getinfo(f"{self._root}/data/{key}")
            if entry.file_size != count * dtype.itemsize:  # before anything is unpacked
                raise ValueError(
                    f"storage {key}: expected {count} x {dtype}, got {entry.file_size} bytes"
                )
            self._storages[key] = torch.frombuffer(bytearray(self._file.read(entry)), dtype=dtype)
        return self._storages[key]

    def _view(
        self,
        storage: Tensor,
        offset: int,
        size: tuple[int, ...],
        stride: tuple[int, ...],
        *_: object,
    ) -> Tensor:
        """A tensor in a storage; `as_strided` raises if it would exceed the storage."""
        self._claimed += math.prod(size) * storage.element_size()
        check_bytes(self._claimed, self._path)  # before they are copied
        return storage.as_strided(size, stride, offset).clone()


def _first(value: object, *_: object) -> object:
    return value


def _walk(module: object, prefix: str, seen: set[int]) -> Iterator[tuple[str, Tensor]]:
    """Tensors of a module and its submodules with dotted names; each module is visited once."""
    if not isinstance(module, _Module) or id(module) in seen:
        return
    seen.add(id(module))
    for name, value in module.state.items():
        if isinstance(value, Tensor):
            yield f"{prefix}{name}", value
        yield from _walk(value, f"{prefix}{name}.", seen)
