"""An unpickler that executes nothing and records the calls that a pickle requests.

A pickle is a program. Here each global that it names becomes a `Name` and each call a `Call`.
`weakclip.data.formats.arrays` compares these records with those of `np.save` and torch, and makes
arrays from the raw bytes itself.

References:
    Python documentation, "Restricting Globals" (module `pickle`).
"""

from __future__ import annotations

import pickle
import pickletools
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    import io

_T = TypeVar("_T")
STORAGES = {
    "FloatStorage": "<f4", "DoubleStorage": "<f8", "HalfStorage": "<f2", "LongStorage": "<i8",
    "IntStorage": "<i4", "ShortStorage": "<i2", "CharStorage": "|i1", "ByteStorage": "|u1",
    "BoolStorage": "|b1",
}  # fmt: skip
"""NumPy types of torch's typed storages."""
NAMES = frozenset({
    "numpy.core.multiarray._reconstruct", "numpy.core.multiarray.scalar", "numpy.dtype",
    "numpy.ndarray", "_codecs.encode", "collections.OrderedDict",
    "torch._utils._rebuild_tensor_v2", "torch.storage._load_from_bytes",
})  # fmt: skip
"""All globals that a file may name; in NumPy 2 `numpy.core` is `numpy._core`."""


class Refused(Exception):  # noqa: N818 (becomes a ValueError that names the file)
    """The file contains something that is not plain data; the message says what."""


class Call:
    """A call requested by the pickle: name, arguments, and the state that was set afterwards."""

    __slots__ = ("arguments", "name", "state")

    def __init__(self, name: str, arguments: tuple[object, ...]) -> None:
        self.name, self.arguments = name, arguments
        self.state: object = None

    def __setstate__(self, state: object) -> None:
        self.state = state


class Name:
    """A global named by the pickle; immutable, since a pickle may try to set attributes."""

    __slots__ = ("name",)
    name: str

    def __init__(self, name: str) -> None:
        object.__setattr__(self, "name", name)

    def __setattr__(self, name: str, value: object) -> None:
        raise Refused(f"the pickle changes {self.name}")

    def __call__(self, *arguments: object) -> Call:
        """Record the call."""
        return Call(self.name, arguments)


class Recorder(pickle.Unpickler):
    """An unpickler that accepts only the names in `NAMES`."""

    def find_class(self, module: str, name: str) -> Name:
        """A `Name` in NumPy 1's spelling."""
        full = f"{module.replace('numpy._core.', 'numpy.core.')}.{name}"
        if full not in NAMES:
            raise Refused(f"the pickle names {module}.{name}")
        return Name(full)


class StorageRecorder(pickle.Unpickler):
    """An unpickler for the values of a tensor, which torch writes as a file within the file."""

    def find_class(self, module: str, name: str) -> Name:
        """The `Name` of a storage type."""
        if module != "torch" or name not in STORAGES:
            raise Refused(f"the pickle of a tensor names {module}.{name}")
        return Name(name)

    def persistent_load(self, pid: object) -> object:
        """The description of a storage, unchanged."""
        return pid


def record(file: io.BytesIO, recorder: type[pickle.Unpickler]) -> object:
    """The result of one pickle in a file; its memo indices must not exceed the file's length."""
    start, longest = file.tell(), len(file.getbuffer())
    for code, argument, _ in pickletools.genops(file):
        if code.name.endswith("PUT") and isinstance(argument, int) and argument > longest:
            raise Refused("a pickle with an entry far beyond its length")
    file.seek(start)
    return recorder(file).load()


def expect(condition: bool, what: str) -> None:  # noqa: FBT001 (reads as a sentence)
    """Raise `Refused` if the condition does not hold: NumPy and torch write other data."""
    if not condition:
        raise Refused(f"an unusual {what}")


def a(kind: type[_T], thing: object, what: str) -> _T:
    """`thing`, checked to be of a type; raises `Refused` if it is not."""
    if not isinstance(thing, kind):
        raise Refused(f"an unusual {what}")
    return thing


def several(things: object, count: int, what: str) -> tuple[object, ...]:
    """`things`, checked to be a tuple of a length; raises `Refused` if not."""
    expect(isinstance(things, tuple) and len(things) == count, what)
    return a(tuple, things, what)
