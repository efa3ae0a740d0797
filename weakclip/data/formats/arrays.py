"""NumPy files of other projects, read without executing pickled code.

`np.save` of a dict writes a pickle. `weakclip.data.formats.pickles` records the calls that it
requests, and this module makes plain data of the records: arrays from their raw bytes, never by
NumPy's or torch's own reconstruction, whose arguments a file could choose.

References:
    NumPy documentation, "NPY format".
"""

from __future__ import annotations

import io
import math
import re
import struct
import zipfile
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from weakclip.data.formats.pickles import (
    STORAGES,
    Call,
    Name,
    Recorder,
    Refused,
    StorageRecorder,
    a,
    expect,
    record,
    several,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from numpy.typing import NDArray

Plain: TypeAlias = (
    "bool | int | float | str | bytes | NDArray[np.generic] | list[Plain] | dict[int | str, Plain]"
    " | None"
)
"""Types that a file can contain; tuples become lists."""

_LARGEST_FILE = 1 << 31  # bytes
_LARGEST_ARRAY = 1 << 28  # elements
_DEEPEST = 8  # nested containers
_TENSOR_MAGIC, _TENSOR_VERSION = 0x1950A86A20F9469CFC6C, 1001  # torch's format before ZIP files
_NUMBER = re.compile(r"[biuf]\d{1,2}")


def read_plain(path: Path) -> Plain:
    """Content of an .npy or .npz file.

    Args:
        path: An array; a pickled dict of arrays, as NumPy 1 or 2 writes it (torch tensors in it
            become arrays); or an archive of plain arrays, which becomes a dict.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is damaged or contains anything but arrays, dicts, lists, text and
            numbers; the message names a function or class that its pickle names.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file")
    try:
        size = path.stat().st_size
        if size > _LARGEST_FILE:
            raise Refused(f"{size} bytes, expected at most {_LARGEST_FILE}")
        content = path.read_bytes()
        return _archive(content) if content[:2] == b"PK" else _array(content)
    except Refused as error:
        raise ValueError(
            f"{path}: refused: {error}; only arrays, dicts, lists, text and numbers are read. "
            "Load it where it was made and save plain NumPy arrays"
        ) from None
    except Exception as error:  # a damaged pickle can raise anything
        reason = str(error) or type(error).__name__
        raise ValueError(f"{path}: damaged file ({reason}); copy or generate it again") from error


def _archive(content: bytes) -> Plain:
    """The arrays of an .npz file by name."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        entries = archive.infolist()
        if sum(entry.file_size for entry in entries) > _LARGEST_FILE:
            raise Refused(f"an archive of more than {_LARGEST_FILE} bytes")
        return {
            entry.filename.removesuffix(".npy"): _array(archive.read(entry)) for entry in entries
        }


def _array(content: bytes) -> Plain:
    """The numbers, or the one pickled object, of an .npy file."""
    file = io.BytesIO(content)
    first = np.lib.format.read_magic(file) == (1, 0)
    read = np.lib.format.read_array_header_1_0 if first else np.lib.format.read_array_header_2_0
    shape, fortran, dtype = read(file)
    if dtype.hasobject:
        expect(shape == (), f"array of {shape} objects")
        boxed = a(list, _Reader().plain(record(file, Recorder)), "array of objects")
        expect(len(boxed) == 1, "array of objects")
        item: Plain = boxed[0]
        return item
    values = _values(file.read(), dtype, math.prod(_sizes(shape)))
    return values.reshape(shape, order="F" if fortran else "C").copy()


class _Reader:
    """Converts records to plain data; an object that occurs twice is converted once."""

    def __init__(self) -> None:
        self._made: dict[int, Plain] = {}

    def plain(self, thing: object, depth: int = 0) -> Plain:
        """Plain data of a record or value in the pickle."""
        if thing is None or isinstance(thing, bool | int | float | str | bytes):
            return thing
        if depth > _DEEPEST:
            raise Refused(f"containers more than {_DEEPEST} deep")
        if id(thing) not in self._made:
            self._made[id(thing)] = self._make(thing, depth + 1)
        return self._made[id(thing)]

    def _make(self, thing: object, depth: int) -> Plain:
        match thing:
            case list() | tuple():
                return [self.plain(one, depth) for one in thing]
            case dict():
                pairs = [(self.plain(k, depth), self.plain(v, depth)) for k, v in thing.items()]
                made = {key: value for key, value in pairs if isinstance(key, int | str)}
                if len(made) < len(thing):
                    raise Refused("a dict whose keys are not different numbers or names")
                return made
            case Call() if thing.name in _CALLS:
                return _CALLS[thing.name](self, thing, depth)
            case Call() | Name():
                raise Refused(f"{thing.name} where data was expected")
            case _:
                raise Refused(f"a {type(thing).__name__}")

    def ndarray(self, call: Call, depth: int) -> Plain:
        """An array from `_reconstruct` and its state; an array of one object becomes a list."""
        kind, empty, code = several(call.arguments, 3, "array")
        known = a(Name, kind, "array").name == "numpy.ndarray"
        expect(known and empty == (0,) and self._bytes(code, depth) == b"b", "array")
        _, shape, dtype, fortran, raw = several(call.state, 5, "array")
        if a(Call, dtype, "array").arguments[:1] == ("O8",):
            expect(shape == () and len(a(list, raw, "array")) == 1, "array of objects")
            return self.plain(raw, depth)
        sizes = _sizes(shape)
        values = _values(self._bytes(raw, depth), _dtype(dtype), math.prod(sizes))
        return values.reshape(sizes, order="F" if fortran else "C").copy()

    def scalar(self, call: Call, depth: int) -> Plain:
        """A NumPy number, as a Python number."""
        dtype, raw = several(call.arguments, 2, "number")
        number: Plain = _values(self._bytes(raw, depth), _dtype(dtype), 1)[0].item()
        return number

    def encoded(self, call: Call, depth: int) -> Plain:
        """Bytes that pickle protocol 2 has written as text."""
        text, codec = several(call.arguments, 2, "text")
        expect(codec in ("latin1", "latin-1"), "text encoding")
        return a(str, text, "text").encode("latin1")

    def tensor(self, call: Call, depth: int) -> Plain:
        """A torch tensor, as an array."""
        storage, offset, size, stride = call.arguments[:4]
        values: NDArray[np.generic] = a(np.ndarray, self.plain(storage, depth), "tensor")
        start, sizes, steps = a(int, offset, "tensor"), _sizes(size), _sizes(stride)
        if 0 in sizes:
            return np.zeros(sizes, values.dtype)
        last = start + sum((n - 1) * step for n, step in zip(sizes, steps, strict=True))
        expect(0 <= start <= last < len(values), "tensor")
        strides = [step * values.itemsize for step in steps]
        return np.lib.stride_tricks.as_strided(values[start:], sizes, strides).copy()

    def storage(self, call: Call, depth: int) -> Plain:
        """The values of a tensor, which are a torch file within the file."""
        file = io.BytesIO(self._bytes(call.arguments[0], depth))
        magic, version, system, entry, keys = (record(file, StorageRecorder) for _ in range(5))
        expect((magic, version) == (_TENSOR_MAGIC, _TENSOR_VERSION), "tensor file")
        expect(a(dict, system, "tensor file").get("little_endian") is True, "byte order")
        kind, name, key, _, numel = a(tuple, entry, "storage")[:5]
        expect(kind == "storage" and keys == [key], "storage")
        dtype = np.dtype(STORAGES[a(Name, name, "storage").name])
        (count,) = struct.unpack("<q", file.read(8))
        expect(count == numel and 0 <= count <= _LARGEST_ARRAY, "storage")
        return _values(file.read(count * dtype.itemsize), dtype, count)

    def _bytes(self, raw: object, depth: int) -> bytes:
        return a(bytes, self.plain(raw, depth), "raw data")


def _no_data(reader: _Reader, call: Call, depth: int) -> Plain:
    raise Refused(f"{call.name} where data was expected")


_CALLS: dict[str, Callable[[_Reader, Call, int], Plain]] = {
    "numpy.core.multiarray._reconstruct": _Reader.ndarray,
    "numpy.core.multiarray.scalar": _Reader.scalar,
    "numpy.dtype": _no_data,
    "_codecs.encode": _Reader.encoded,
    "torch._utils._rebuild_tensor_v2": _Reader.tensor,
    "torch.storage._load_from_bytes": _Reader.storage,
}


def _dtype(thing: object) -> np.dtype[np.generic]:
    """A number type of 1 to 8 bytes, from its code and the byte order in its state."""
    call = a(Call, thing, "type of numbers")
    code = a(str, call.arguments[0], "type of numbers")
    expect(call.name == "numpy.dtype" and bool(_NUMBER.fullmatch(code)), f"type {code!r}")
    _, order, *names = a(tuple, call.state, "type of numbers")[:5]
    expect(names == [None, None, None], f"type {code!r}")
    return np.dtype(f"{order if order in ('<', '>') else ''}{code}")


def _sizes(shape: object) -> tuple[int, ...]:
    sizes = a(tuple, shape, "shape")
    expect(all(type(size) is int and size >= 0 for size in sizes), "shape")
    expect(math.prod(sizes) <= _LARGEST_ARRAY, f"size {sizes}")
    return sizes


def _values(raw: bytes, dtype: np.dtype[np.generic], count: int) -> NDArray[np.generic]:
    expect(len(raw) == count * dtype.itemsize, "length of data")
    return np.frombuffer(raw, dtype)
