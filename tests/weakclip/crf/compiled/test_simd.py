from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from weakclip.crf.compiled.jit import compiled

pytest.importorskip("numba")

from numba import typeof

from weakclip.crf.compiled import simd

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float32]

add, add_product, multiply, larger = simd.add, simd.add_product, simd.multiply, simd.larger
load, store, largest, total, power = (
    simd.load,
    simd.store,
    simd.largest,
    simd.total,
    simd.power_of_two,
)
U = np.uint64


@compiled
def arithmetic(one: Floats, two: Floats, out: Floats, lanes: simd.Lanes) -> None:
    a, b = load(one, U(1), lanes), load(two, U(0), lanes)
    store(out[0], U(0), add(a, b))
    store(out[1], U(0), multiply(a, 3))
    store(out[2], U(0), add_product(a, 2.0, b))
    store(out[3], U(0), larger(a, b))
    out[4, 0], out[4, 1] = largest(a), total(a)


@pytest.mark.parametrize("lanes", [4, 8, 16, 24])
def test_each_function_does_what_it_says_to_each_number(lanes: int) -> None:
    random = np.random.default_rng(lanes)
    one, two = random.normal(size=(2, lanes + 2)).astype(np.float32)
    out = np.zeros((5, lanes + 1), np.float32)
    arithmetic(one, two, out, simd.Lanes(lanes))
    a, b = one[1 : lanes + 1], two[:lanes]
    expected = [a + b, 3 * a, a + 2 * b, np.maximum(a, b)]
    np.testing.assert_allclose(out[:4, :lanes], expected, rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(out[4, :2], [a.max(), a.sum()], rtol=1e-5)
    assert not out[:4, lanes].any()


@compiled
def powers(numbers: Floats, shift: float, lanes: simd.Lanes) -> None:
    for place in range(U(0), U(numbers.size), U(len(lanes))):
        store(numbers, place, power(load(numbers, place, lanes), shift))


@pytest.mark.parametrize("lanes", [4, 8])
def test_powers_of_two_are_those_of_double_precision(lanes: int) -> None:
    numbers = np.linspace(-99.9, 0, 80_000, dtype=np.float32)
    found = numbers.copy()
    powers(found, 0.0, simd.Lanes(lanes))
    np.testing.assert_allclose(found, np.exp2(numbers.astype(np.float64)), rtol=2e-7)


def test_powers_at_the_ends() -> None:
    numbers = np.array([5, 4.5, -95, -96, -1e6, -np.inf, np.nan, 5], np.float32)
    powers(numbers, 5.0, simd.Lanes(8))
    np.testing.assert_array_equal(numbers[[0, 3, 4, 5, 7]], [1, 0, 0, 0, 1])
    np.testing.assert_allclose(numbers[[1, 2]], [2**-0.5, 2.0**-100], rtol=2e-7)
    assert np.isnan(numbers[6])


def test_the_type_of_lanes_tells_versions_of_the_file_apart() -> None:
    name = str(typeof(simd.Lanes(8)))
    assert simd._SOURCE in name
    assert len(simd._SOURCE) == 12
    assert len(simd.Lanes(8)) == 8
