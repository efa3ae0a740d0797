"""A pickle, run so that it can do one thing only: record the calls it requests.

A pickle is a program. Here each global that it names becomes a `Name`, each call a `Call`, and
nothing else happens; `weakclip.data.formats.arrays` compares the records with what `np.save` and
torch write, and makes arrays from the raw bytes itself.

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
"""Kinds of torch's typed storages, as NumPy's types."""
NAMES = frozenset({
    "numpy.core.multiarray._reconstruct", "numpy.core.multiarray.scalar", "numpy.dtype",
    "numpy.ndarray", "_codecs.encode", "collections.OrderedDict",
    "torch._utils._rebuild_tensor_v2", "torch.storage._load_from_bytes",
})  # fmt: skip
"""All that a file may name; in NumPy 2 `numpy.core` is `numpy._core`."""


class Refused(Exception):  # noqa: N818 (becomes a ValueError that names the file)
    """The file holds something that is not plain data; the text says what."""


class Call:
    """A call that the pickle requested: what, with what, and the state it set afterwards."""

    __slots__ = ("arguments", "name", "state")

    def __init__(self, name: str, arguments: tuple[object, ...]) -> None:
        self.name, self.arguments = name, arguments
        self.state: object = None

    def __setstate__(self, state: object) -> None:
        self.state = state


class Name:
    """A global that the pickle named; a pickle may set attributes of anything, but not of this."""

    __slots__ = ("name",)
    name: str

    def __init__(self, name: str) -> None:
        object.__setattr__(self, "name", name)

    def __setattr__(self, name: str, value: object) -> None:
        raise Refused(f"the pickle changes {self.name}")

    def __call__(self, *arguments: object) -> Call:
        """Nothing but a record."""
        return Call(self.name, arguments)


class Recorder(pickle.Unpickler):
    """Knows the names that `np.save` writes, and refuses others."""

    def find_class(self, module: str, name: str) -> Name:
        """A name on the list, in NumPy 1's spelling."""
        full = f"{module.replace('numpy._core.', 'numpy.core.')}.{name}"
        if full not in NAMES:
            raise Refused(f"the pickle names {module}.{name}")
        return Name(full)


class StorageRecorder(pickle.Unpickler):
    """The same for the values of a tensor, which torch writes as a file within the file."""

    def find_class(self, module: str, name: str) -> Name:
        """A kind of storage."""
        if module != "torch" or name not in STORAGES:
            raise Refused(f"the pickle of a tensor names {module}.{name}")
        return Name(name)

    def persistent_load(self, pid: object) -> object:
        """The description of a storage, as it is written."""
        return pid


def record(file: io.BytesIO, recorder: type[pickle.Unpickler]) -> object:
    """What one pickle of a file leaves behind; its memo may not be larger than the file.

    Raises:
        Refused: If it names a global that is not on the list.
    """
    start, longest = file.tell(), len(file.getbuffer())
    for code, argument, _ in pickletools.genops(file):
        if code.name.endswith("PUT") and isinstance(argument, int) and argument > longest:
            raise Refused("a pickle with an entry far beyond its length")
    file.seek(start)
    return recorder(file).load()


def expect(condition: bool, what: str) -> None:  # noqa: FBT001 (reads as a sentence)
    """Refuse a file whose data is not written as NumPy and torch write it.

    Raises:
        Refused: If the condition does not hold.
    """
    if not condition:
        raise Refused(f"an unusual {what}")


def a(kind: type[_T], thing: object, what: str) -> _T:
    """`thing`, which has to be of a kind; `Refused` if not."""
    if not isinstance(thing, kind):
        raise Refused(f"an unusual {what}")
    return thing


def several(things: object, count: int, what: str) -> tuple[object, ...]:
    """`things`, which have to be a tuple of a length; `Refused` if not."""
    expect(isinstance(things, tuple) and len(things) == count, what)
    return a(tuple, things, what)
