"""Arrays are read as NumPy reads them, and nothing but arrays is."""

from __future__ import annotations

import io
import pickle
from collections import OrderedDict
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
import torch

from weakclip.data.formats.arrays import read_plain

EXAMPLES = Path(__file__).parents[3] / "data" / "interop"
READABLE = sorted(path.name for path in EXAMPLES.glob("*.npy") if "refuse" not in path.name)


def write_boxed(path: Path, pickled: bytes) -> Path:
    """An .npy file with a pickle of one object."""
    with path.open("wb") as file:
        header = {"descr": "|O", "fortran_order": False, "shape": ()}
        np.lib.format.write_array_header_1_0(file, header)
        file.write(pickled)
    return path


def boxed(content: object, protocol: int = 4) -> bytes:
    box = np.empty((), dtype=object)
    box[()] = content
    return pickle.dumps(box, protocol=protocol)


@pytest.mark.filterwarnings("ignore")  # numpy.core, and torch's storages
@pytest.mark.parametrize("name", READABLE)
def test_a_file_is_read_as_numpy_reads_it(name: str) -> None:
    trusted = np.load(EXAMPLES / name, allow_pickle=True)
    content = read_plain(EXAMPLES / name)
    if trusted.shape:
        assert np.array_equal(np.asarray(content), trusted)
        return
    assert isinstance(content, dict)
    assert list(content) == [key if isinstance(key, str) else int(key) for key in trusted.item()]
    for mine, theirs in zip(content.values(), trusted.item().values(), strict=True):
        assert isinstance(mine, np.ndarray)
        assert mine.dtype == np.asarray(theirs).dtype
        assert np.array_equal(mine, np.asarray(theirs))


@pytest.mark.parametrize("protocol", [3, 4])
def test_every_type_order_and_shape_of_numbers_is_read(tmp_path: Path, protocol: int) -> None:
    content = {
        "bool": np.array([True, False]),
        "byte": np.arange(5, dtype=np.uint8),
        "big": np.arange(4, dtype=">i4"),
        "half": np.ones((2, 0, 3), np.float16),
        "turned": np.asfortranarray(np.arange(6.0).reshape(2, 3)),
        "number": np.float32(0.5),
        "list": [1, 2.5, None, ("a", True)],
        3: np.zeros(()),
    }
    read = read_plain(write_boxed(tmp_path / "a.npy", boxed(content, protocol)))
    assert isinstance(read, dict)
    for name in ("bool", "byte", "big", "half", "turned", 3):
        mine, theirs = read[name], content[name]
        assert isinstance(mine, np.ndarray)
        assert mine.dtype == theirs.dtype  # type: ignore[attr-defined]
        assert np.array_equal(mine, theirs)  # type: ignore[arg-type]
    assert read["number"] == 0.5
    assert read["list"] == [1, 2.5, None, ["a", True]]


@pytest.mark.filterwarnings("ignore")  # torch, of its own storages
def test_a_tensor_that_is_a_view_is_read_by_its_strides(tmp_path: Path) -> None:
    view = torch.arange(24).reshape(4, 6)[1:, ::2].T
    read = read_plain(write_boxed(tmp_path / "a.npy", boxed({"keys": view})))
    assert isinstance(read, dict)
    assert np.array_equal(np.asarray(read["keys"]), view.numpy())


def test_an_archive_of_arrays_is_a_dict(tmp_path: Path) -> None:
    np.savez_compressed(tmp_path / "a.npz", keys=np.arange(3), maps=np.ones((3, 2, 2)))
    read = read_plain(tmp_path / "a.npz")
    assert isinstance(read, dict)
    assert np.array_equal(np.asarray(read["keys"]), [0, 1, 2])


@pytest.mark.parametrize(
    ("name", "word"),
    [("refuse_global.npy", "posix.getcwd"), ("refuse_torch_inner.npy", "posix.getcwd")],
)
def test_a_pickle_with_another_global_is_refused_and_the_global_named(name: str, word: str) -> None:
    with pytest.raises(ValueError, match=f"names {word}; only arrays"):
        read_plain(EXAMPLES / name)


class Evil:
    """Pickles as a call of a function with arguments."""

    def __init__(self, function: object, *arguments: object) -> None:
        self.call = (function, arguments)

    def __reduce__(self) -> tuple[object, ...]:
        return self.call


@pytest.mark.parametrize(
    ("content", "word"),
    [
        ({1: Evil(eval, "1 + 1")}, "builtins.eval"),
        ({1: Evil(getattr, "np", "load")}, "builtins.getattr"),
        ({1: Evil(np.memmap, "x")}, "numpy.memmap"),
        ({1: Evil(np.dtype, "f4")}, "numpy.dtype where data"),
        ({1: OrderedDict()}, "collections.OrderedDict where data"),
        ({1: {2, 3}}, "builtins.set|a set"),
        ({(1, 2): 1}, "keys"),
        ({1: np.array([1, "a"], dtype=object)}, "unusual array of objects"),
        ({1: np.zeros(2, dtype=[("a", "f4")])}, "unusual type"),
    ],
)
def test_what_is_not_plain_data_is_refused(tmp_path: Path, content: object, word: str) -> None:
    path = write_boxed(tmp_path / "a.npy", boxed(content))
    with pytest.raises(ValueError, match=word):
        read_plain(path)


def test_a_pickle_cannot_change_the_reader(tmp_path: Path) -> None:
    """BUILD with a state of slots sets attributes of whatever lies on the stack."""
    change = b"\x80\x02cnumpy\nndarray\n(N}X\x04\x00\x00\x00nameX\x01\x00\x00\x00xstb."
    with pytest.raises(ValueError, match=r"the pickle changes numpy\.ndarray"):
        read_plain(write_boxed(tmp_path / "a.npy", change))
    content = read_plain(EXAMPLES / "irn_np2.npy")
    assert isinstance(content, dict)


def test_a_small_file_cannot_ask_for_much_memory(tmp_path: Path) -> None:
    memo = b"\x80\x02]r\xff\xff\xff\x7f."  # LONG_BINPUT: an entry of two billion
    with pytest.raises(ValueError, match="far beyond its length"):
        read_plain(write_boxed(tmp_path / "memo.npy", memo))
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        header, {"descr": "<f4", "fortran_order": False, "shape": (10**6, 10**6)}
    )
    (tmp_path / "shape.npy").write_bytes(header.getvalue())
    with pytest.raises(ValueError, match="unusual size"):
        read_plain(tmp_path / "shape.npy")
    nested: list[object] = [1]
    for _ in range(30):  # two to the power of 30 ones, written in a hundred bytes
        nested = [nested, nested]
    with pytest.raises(ValueError, match="deep"):
        read_plain(write_boxed(tmp_path / "nested.npy", boxed({1: nested})))


def test_repeated_parts_are_made_once(tmp_path: Path) -> None:
    wide: list[object] = [0] * 100
    for _ in range(5):  # 100 to the power of 6
        wide = [wide] * 100
    assert read_plain(write_boxed(tmp_path / "wide.npy", boxed({1: wide})))


def test_damaged_files_are_errors_whatever_is_damaged(tmp_path: Path) -> None:
    whole = (EXAMPLES / "irn_torch.npy").read_bytes()
    generator = np.random.default_rng(0)
    for attempt in range(300):
        damaged = bytearray(whole[: 2500 if attempt % 2 else None])
        for place in generator.integers(0, 2400, 3):
            damaged[place] = generator.integers(0, 256)
        (tmp_path / "a.npy").write_bytes(damaged)
        with suppress(ValueError):  # nothing else may come
            read_plain(tmp_path / "a.npy")


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"nowhere\.npy: no such file"):
        read_plain(tmp_path / "nowhere.npy")
