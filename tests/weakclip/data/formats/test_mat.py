from __future__ import annotations

import random
import struct
import zlib
from contextlib import suppress
from typing import TYPE_CHECKING

import numpy as np
import pytest
from scipy.io import loadmat, savemat
from scipy.sparse import csc_matrix

from tests.fuzz.sweep import damaged
from weakclip.data.formats.mat import read_field

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

NUMBERS = ("u1", "i1", "u2", "i2", "u4", "i4", "u8", "i8", "f4", "f8")


def element(order: str, kind: int, data: bytes, *, short: bool = False) -> bytes:
    """A tag and its data as the format's description has it, written by hand."""
    if short:
        first, second = (len(data), kind) if order == ">" else (kind, len(data))
        return struct.pack(f"{order}HH", first, second) + data.ljust(4, b"\0")
    return struct.pack(f"{order}II", kind, len(data)) + data + bytes(-len(data) % 8)


def matrix(order: str, kind: int, shape: tuple[int, ...], name: bytes, *parts: bytes) -> bytes:
    return element(
        order,
        14,
        element(order, 6, struct.pack(f"{order}II", kind, 0))
        + element(order, 5, struct.pack(f"{order}{len(shape)}i", *shape))
        + element(order, 1, name, short=0 < len(name) < 5)
        + b"".join(parts),
    )


def by_hand(order: str, labels: NDArray[np.uint16]) -> bytes:
    """A file with GTcls.Segmentation, packed, behind a variable that is not."""
    values = element(order, 4, labels.astype(f"{order}u2").tobytes(order="F"))
    segmentation = matrix(order, 11, labels.shape, b"", values)
    names = b"Boundaries".ljust(13, b"\0") + b"Segmentation".ljust(13, b"\0")
    gtcls = matrix(
        order, 2, (1, 1), b"GTcls",
        element(order, 5, struct.pack(f"{order}i", 13), short=True),
        element(order, 1, names),
        matrix(order, 1, (0, 0), b""),
        segmentation,
    )  # fmt: skip
    packed = zlib.compress(gtcls)
    header = b"MATLAB 5.0 MAT-file".ljust(124) + struct.pack(f"{order}HH", 0x0100, 0x4D49)
    other = matrix(order, 9, (1, 1), b"a", element(order, 2, b"\7", short=True))
    return header + other + struct.pack(f"{order}II", 15, len(packed)) + packed


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("code", NUMBERS)
def test_numbers_are_those_that_scipy_reads(tmp_path: Path, code: str, packed: bool) -> None:
    random_ = np.random.default_rng(0)
    path = tmp_path / "a.mat"
    for shape in ((1, 1), (3, 5), (1, 3), (7, 2), (0, 4), (2, 3, 4), (500, 333)):
        values = random_.integers(0, 20, shape).astype(code)
        fields = {"x": "text", "Boundaries": csc_matrix(np.eye(3)), "y": values, "z": [1, "b"]}
        savemat(path, {"before": [1, 2], "s": fields, "t": {"y": 3}}, do_compression=packed)
        expected = loadmat(path)["s"]["y"][0, 0]
        found = read_field(path, "s", "y")
        assert (found.dtype, found.shape) == (expected.dtype, expected.shape)
        assert np.array_equal(found, expected)


@pytest.mark.parametrize("order", ["<", ">"])
def test_either_order_of_bytes_is_read(tmp_path: Path, order: str) -> None:
    labels = np.array([[0, 300, 2], [65535, 4, 5]], np.uint16)
    (tmp_path / "a.mat").write_bytes(by_hand(order, labels))
    assert np.array_equal(read_field(tmp_path / "a.mat", "GTcls", "Segmentation"), labels)
    assert np.array_equal(loadmat(tmp_path / "a.mat")["GTcls"]["Segmentation"][0, 0], labels)


def test_of_an_array_of_structs_the_first_counts(tmp_path: Path) -> None:
    several = np.array([(1, 2), (3, 4)], dtype=[("x", object), ("y", object)])
    savemat(tmp_path / "a.mat", {"s": several})
    assert read_field(tmp_path / "a.mat", "s", "y").tolist() == [[2]]


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("text", "expected real numbers in s.y, got text of shape"),
        ({"x": 1}, "expected real numbers in s.y, got a struct of shape"),
        (np.array([1j]), "expected real numbers in s.y, got complex numbers"),
        (csc_matrix(np.eye(2)), "expected real numbers in s.y, got a sparse array"),
    ],
)
def test_what_is_no_number_is_called_by_its_name(
    tmp_path: Path, value: object, message: str
) -> None:
    savemat(tmp_path / "a.mat", {"s": {"y": value}})
    with pytest.raises(ValueError, match=message):
        read_field(tmp_path / "a.mat", "s", "y")


def test_a_missing_variable_or_field_is_named_with_what_there_is(tmp_path: Path) -> None:
    savemat(tmp_path / "a.mat", {"s": {"y": 1}, "t": 2})
    for variable, field, message in (
        ("u", "y", "a.mat: expected a variable u, got s, t"),
        ("s", "x", "a.mat: expected x in s, got y"),
        ("t", "y", "a.mat: expected a struct in t, got numbers of shape"),
    ):
        with pytest.raises(ValueError, match=message):
            read_field(tmp_path / "a.mat", variable, field)
    with pytest.raises(ValueError, match=r"b\.mat: no such MATLAB file"):
        read_field(tmp_path / "b.mat", "s", "y")


def test_other_versions_are_refused_with_the_way_out(tmp_path: Path) -> None:
    savemat(tmp_path / "old.mat", {"s": [1]}, format="4")
    header = b"MATLAB 7.3 MAT-file".ljust(124) + struct.pack("<HH", 0x0200, 0x4D49)
    (tmp_path / "new.mat").write_bytes(header.ljust(512, b"\0") + b"\x89HDF\r\n\x1a\n")
    for name in ("old", "new"):
        with pytest.raises(ValueError, match=rf"{name}\.mat: expected a MATLAB file of version 5"):
            read_field(tmp_path / f"{name}.mat", "s", "y")


def test_a_variable_that_unpacks_to_too_much_is_not_unpacked(tmp_path: Path) -> None:
    packed = zlib.compress(bytes(1 << 27))
    header = by_hand("<", np.zeros((1, 1), np.uint16))[:128]
    (tmp_path / "a.mat").write_bytes(header + struct.pack("<II", 15, len(packed)) + packed)
    with pytest.raises(ValueError, match=r"damaged MATLAB file \(a packed variable is cut off, or"):
        read_field(tmp_path / "a.mat", "s", "y")


@pytest.mark.parametrize("order", ["<", ">"])
def test_damage_is_an_error_or_another_number(tmp_path: Path, order: str) -> None:
    path, whole = tmp_path / "a.mat", by_hand(order, np.ones((2, 3), np.uint16))
    for number in range(2000):
        path.write_bytes(damaged(whole, random.Random(number), text=False))
        with suppress(ValueError):
            read_field(path, "GTcls", "Segmentation")
