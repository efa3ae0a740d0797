"""Numbers in a struct of a MATLAB 5 file, read so that a damaged file can only raise an error.

SciPy's reader uses the sizes stated in a file in compiled code, and a damaged file can crash the
process. This reader checks all sizes against the file and reads only one field.

References:
    MathWorks, "MAT-File Format", version 5.
"""

from __future__ import annotations

import math
import zlib
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from weakclip.data.read.images import readable
from weakclip.data.read.opened import UnfitError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from typing import Literal

    from numpy.typing import NDArray

_LARGEST = 1 << 26  # bytes of a file, compressed or not; SBD's are below 1 MB
_HEADER = 128
_MATRIX, _COMPRESSED = 14, 15  # types of data
_STRUCT, _DOUBLE, _UINT64 = 2, 6, 15  # classes of arrays; from double on they are numeric
_NAMES = {1: "a cell array", 2: "a struct", 3: "an object", 4: "text", 5: "a sparse array"}
_COMPLEX = 0x800
_NUMBERS = {
    1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 9: "f8", 12: "i8", 13: "u8",
}  # fmt: skip


class _Element(NamedTuple):
    """A data element with its type; `order` is its byte order."""

    kind: int
    data: memoryview
    order: Literal["<", ">"]


class _Array(NamedTuple):
    """A stored array."""

    kind: int
    """Its MATLAB class."""
    complex_: bool
    shape: tuple[int, ...]
    name: str
    parts: Iterator[_Element]
    """The remaining elements: the values, or the field names and fields."""


def read_field(path: Path, variable: str, field: str) -> NDArray[np.generic]:
    """The numbers in a field of a struct, in their stored shape and type.

    The file has version 5 to 7, compressed or not. Of an array of structs, the first one counts.

    Raises:
        ValueError: If the file is missing, damaged or of another version, exceeds 64 MB, or the
            field is missing or does not contain real numbers.
    """
    with readable(path, "MATLAB file"):
        if path.stat().st_size > _LARGEST:
            raise UnfitError(f"expected at most {_LARGEST} bytes, got {path.stat().st_size}")
        struct = _variable(path.read_bytes(), variable)
        return _numbers(_array(_field(struct, field)), f"{variable}.{field}")


def _variable(content: bytes, name: str) -> _Array:
    mark = content[126:_HEADER]
    order: Literal["<", ">"] = ">" if mark == b"MI" else "<"
    version = int.from_bytes(content[124:126], "big" if order == ">" else "little")
    if mark not in (b"IM", b"MI") or version >> 8 != 1:
        raise UnfitError(
            "expected a MATLAB file of version 5 to 7, got another or a damaged one; "
            "copy it again, or save it with -v7"
        )
    names = []
    for element in _elements(memoryview(content)[_HEADER:], order):
        if element.kind == _COMPRESSED:
            unpacked = _unpacked(element.data)
            element = next(_elements(unpacked, element.order))
        array = _array(element)
        if array.name == name:
            return array
        names.append(array.name)
    raise UnfitError(f"expected a variable {name}, got {', '.join(names) or 'none'}")


def _unpacked(data: memoryview) -> memoryview:
    stream = zlib.decompressobj()
    unpacked = stream.decompress(data, _LARGEST)
    if not stream.eof:
        raise ValueError(f"a packed variable is cut off, or has more than {_LARGEST} bytes")
    return memoryview(unpacked)


def _elements(data: memoryview, order: Literal["<", ">"]) -> Iterator[_Element]:
    """Consecutive elements: a tag with type and size, the data, and padding to 8 bytes."""
    while data:
        if len(data) < 8:
            raise ValueError("cut off in a tag")
        kind, size = (int(one) for one in np.frombuffer(data[:8], f"{order}u4"))
        start = 8
        if kind >> 16:  # data of up to 4 bytes are in the tag itself
            kind, size, start = kind & 0xFFFF, kind >> 16, 4
            if size > 4:
                raise ValueError("a short tag of more than 4 bytes")
        if size > len(data) - start:
            raise ValueError(f"{size} bytes stated, {len(data) - start} there")
        yield _Element(kind, data[start : start + size], order)
        stop = start + size
        data = data[stop if kind == _COMPRESSED else -8 * (-stop // 8) :]


def _array(element: _Element) -> _Array:
    if element.kind != _MATRIX:
        raise ValueError(f"data of type {element.kind} where an array was expected")
    parts = _elements(element.data, element.order)
    try:
        flags = int(_values(next(parts), "u4")[0])
        shape = tuple(int(one) for one in _values(next(parts), "i4"))
        name = bytes(next(parts).data).decode("latin-1")
    except StopIteration:
        raise ValueError("an array without a header") from None
    if min(shape, default=-1) < 0:
        raise ValueError(f"an array of shape {shape}")
    return _Array(flags & 0xFF, bool(flags & _COMPLEX), shape, name, parts)


def _field(struct: _Array, field: str) -> _Element:
    if struct.kind != _STRUCT or not math.prod(struct.shape):
        raise UnfitError(f"expected a struct in {struct.name}, got {_told(struct)}")
    length, packed, *fields = struct.parts
    size = int(_values(length, "i4")[0])
    if size < 1:
        raise ValueError(f"names of {size} bytes")
    text = bytes(packed.data)
    names = [
        text[at : at + size].split(b"\0")[0].decode("latin-1") for at in range(0, len(text), size)
    ]
    if field not in names:
        raise UnfitError(f"expected {field} in {struct.name}, got {', '.join(names) or 'nothing'}")
    if names.index(field) >= len(fields):
        raise ValueError(f"cut off before {field}")
    return fields[names.index(field)]


def _numbers(array: _Array, what: str) -> NDArray[np.generic]:
    if not _DOUBLE <= array.kind <= _UINT64 or array.complex_:
        raise UnfitError(f"expected real numbers in {what}, got {_told(array)}")
    stored = next(array.parts, None)
    if stored is None or stored.kind not in _NUMBERS:
        raise ValueError(f"no numbers in {what}")
    values = _values(stored, _NUMBERS[stored.kind])
    return values.reshape(array.shape, order="F")


def _values(element: _Element, code: str) -> NDArray[np.generic]:
    """The data as numbers in this machine's byte order."""
    stored = np.frombuffer(element.data, f"{element.order}{code}")
    return stored.astype(code)


def _told(array: _Array) -> str:
    numbers = "complex numbers" if array.complex_ else "numbers"
    return f"{_NAMES.get(array.kind, numbers)} of shape {array.shape}"
