"""Vectors of floats for loops compiled with numba.

It is separate because it generates LLVM code. numba uses vector instructions for the loop over a
pixel's labels only if there are very many, and a pixel has two to twenty. These functions specify
vector instructions explicitly. They can be called only in compiled loops, and check no bounds.
"""

from __future__ import annotations

import hashlib
from functools import partial, reduce
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llvmlite import ir
from numba import types
from numba.extending import (
    NativeValue,
    intrinsic,
    models,
    overload,
    register_model,
    typeof_impl,
    unbox,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

_SOURCE = hashlib.sha256(Path(__file__).read_bytes()).hexdigest()[:12]
_FLOAT, _INT = ir.FloatType(), ir.IntType(32)
_FUSED = ("contract",)  # a product and a sum may be one instruction
_TINY = -100.0  # smaller powers of two become 0: products with them would be subnormal, and slow
_EXP2 = (  # minimax polynomial on [-1/2, 1/2]: relative error 2e-9, 8e-8 as evaluated
    1.0,
    0.6931471824645996,
    0.24022646248340607,
    0.05550328642129898,
    0.009618489071726799,
    0.0013399930903688073,
    0.00015345810970757157,
)
_ROUNDER = 12582912.0  # 1.5 * 2^23: adding it to a float puts the rounded integer in the low bits
_ROUNDER_BITS = 0x4B400000


class Lanes:
    """Number of floats in the vectors of a compiled loop: 4, or a multiple of 8."""

    def __init__(self, count: int) -> None:
        """Store the number."""
        self.count = count

    def __len__(self) -> int:
        return self.count


class _LanesType(types.Type):
    """numba's type of `Lanes`, one for each number, so that loops are compiled for that number.

    Its name contains the digest of this file: numba caches compiled loops by their file and the
    types of their arguments, and would not notice a change here.
    """

    def __init__(self, count: int) -> None:
        self.count = count
        super().__init__(name=f"Lanes({count}, {_SOURCE})")


register_model(_LanesType)(models.OpaqueModel)


@typeof_impl.register(Lanes)
def _type_of_lanes(lanes: Lanes, _context: Any) -> _LanesType:
    return _LanesType(lanes.count)


@unbox(_LanesType)
def _unbox_lanes(_kind: _LanesType, _lanes: Any, boxing: Any) -> NativeValue:
    return NativeValue(boxing.context.get_dummy_value())


@overload(len)
def _len_of_lanes(lanes: Any) -> Callable[[Any], int] | None:
    if not isinstance(lanes, _LanesType):
        return None
    count = lanes.count

    def length(lanes: Any) -> int:
        return count

    return length


class _Vector(types.Type):
    """Type of a vector, as several LLVM vectors: LLVM handles one longer than a register poorly."""

    def __init__(self, lanes: int) -> None:
        self.parts = max(1, lanes // 8)
        self.part = ir.VectorType(_FLOAT, lanes // self.parts)
        super().__init__(name=f"float32x{lanes}")


@register_model(_Vector)
class _VectorModel(models.PrimitiveModel):
    """A vector is an array of its parts."""

    def __init__(self, manager: Any, vector: _Vector) -> None:
        super().__init__(manager, vector, ir.ArrayType(vector.part, vector.parts))


def _parts(builder: ir.IRBuilder, vector: Any) -> list[Any]:
    return [builder.extract_value(vector, part) for part in range(vector.type.count)]


def _whole(builder: ir.IRBuilder, parts: list[Any]) -> Any:
    vector = ir.Constant(ir.ArrayType(parts[0].type, len(parts)), ir.Undefined)
    for place, part in enumerate(parts):
        vector = builder.insert_value(vector, part, place)
    return vector


def _all(kind: ir.VectorType, value: float) -> ir.Constant:
    """A vector of equal numbers."""
    return ir.Constant(kind, [ir.Constant(kind.element, value)] * kind.count)


def _moved(builder: ir.IRBuilder, part: Any, places: list[int]) -> Any:
    """The numbers at `places` in a part."""
    nothing, kind = ir.Constant(part.type, ir.Undefined), ir.VectorType(_INT, len(places))
    return builder.shuffle_vector(part, nothing, ir.Constant(kind, [_INT(i) for i in places]))


def _repeated(builder: ir.IRBuilder, number: Any, kind: ir.VectorType) -> Any:
    """A part of equal numbers."""
    nothing = ir.Constant(kind, ir.Undefined)
    return _moved(builder, builder.insert_element(nothing, number, _INT(0)), [0] * kind.count)


def _addresses(
    context: Any, builder: ir.IRBuilder, given: Sequence[Any], kind: types.Array, vector: _Vector
) -> Iterator[Any]:
    """Addresses of the parts of a vector that begins at a place in an array."""
    array, place = given
    data = context.make_array(kind)(context, builder, array).data
    first = builder.bitcast(builder.gep(data, [place]), vector.part.as_pointer())
    return (builder.gep(first, [_INT(part)]) for part in range(vector.parts))


@intrinsic
def load(_typing: Any, array: types.Array, place: types.uint64, lanes: _LanesType) -> Any:
    """Load a vector from a contiguous array, beginning at its place-th number."""
    vector = _Vector(lanes.count)

    def code(context: Any, builder: ir.IRBuilder, signature: Any, given: Any) -> Any:
        places = _addresses(context, builder, given[:2], signature.args[0], vector)
        return _whole(builder, [builder.load(place, align=4) for place in places])

    return vector(array, types.uint64, lanes), code


@intrinsic
def store(_typing: Any, array: types.Array, place: types.uint64, vector: _Vector) -> Any:
    """Write a vector to a contiguous array, beginning at its place-th number."""

    def code(context: Any, builder: ir.IRBuilder, signature: Any, given: Any) -> Any:
        places = _addresses(context, builder, given[:2], signature.args[0], vector)
        for place, part in zip(places, _parts(builder, given[2]), strict=True):
            builder.store(part, place, align=4)
        return context.get_dummy_value()

    return types.none(array, types.uint64, vector), code


def _of_parts(compute: Callable[[ir.IRBuilder, Any, Any], Any]) -> Callable[..., Any]:
    """A function of two vectors, or of a vector and a number, computed part by part."""

    @intrinsic
    def function(_typing: Any, vector: _Vector, other: _Vector | types.Float) -> Any:
        other = other if isinstance(other, _Vector) else types.float32

        def code(_context: Any, builder: ir.IRBuilder, _signature: Any, given: Any) -> Any:
            parts = _parts(builder, given[0])
            if isinstance(other, _Vector):
                others = _parts(builder, given[1])
            else:
                others = [_repeated(builder, given[1], vector.part)] * vector.parts
            pairs = zip(parts, others, strict=True)
            return _whole(builder, [compute(builder, *pair) for pair in pairs])

        return vector(vector, other), code

    made: Callable[..., Any] = function
    return made


def _larger(builder: ir.IRBuilder, one: Any, other: Any) -> Any:
    return builder.select(builder.fcmp_ordered(">", one, other), one, other)


def _power_of_two(builder: ir.IRBuilder, number: Any, shift: Any) -> Any:
    kind = number.type
    integers = ir.VectorType(_INT, kind.count)
    exponent = builder.fsub(number, shift)
    small = builder.fcmp_ordered("<", exponent, _all(kind, _TINY))
    rounded = builder.fadd(exponent, _all(kind, _ROUNDER))
    rest = builder.fsub(exponent, builder.fsub(rounded, _all(kind, _ROUNDER)))
    power = _all(kind, _EXP2[-1])
    for coefficient in _EXP2[-2::-1]:
        product = builder.fmul(power, rest, flags=_FUSED)
        power = builder.fadd(product, _all(kind, coefficient), flags=_FUSED)
    integer = builder.bitcast(rounded, integers)
    biased = builder.add(integer, _all(integers, 127 - _ROUNDER_BITS))
    scale = builder.bitcast(builder.shl(biased, _all(integers, 23)), kind)
    return builder.select(small, _all(kind, 0.0), builder.fmul(power, scale))


add = _of_parts(ir.IRBuilder.fadd)
"""(vector, vector): their sum."""

multiply = _of_parts(ir.IRBuilder.fmul)
"""(vector, number): their product."""

larger = _of_parts(_larger)
"""(vector, vector): the larger of each two numbers."""

power_of_two = _of_parts(_power_of_two)
"""(vector, shift): 2^(vector - shift), of numbers up to `shift`, within 2e-7; 0 below 2^-100."""


@intrinsic
def add_product(_typing: Any, vector: _Vector, factor: types.float32, other: _Vector) -> Any:
    """Vector + factor * other, rounded once if the processor supports it."""

    def code(_context: Any, builder: ir.IRBuilder, _signature: Any, given: Any) -> Any:
        factors = _repeated(builder, given[1], vector.part)
        sums = []
        for part, two in zip(_parts(builder, given[0]), _parts(builder, given[2]), strict=True):
            product = builder.fmul(factors, two, flags=_FUSED)
            sums.append(builder.fadd(part, product, flags=_FUSED))
        return _whole(builder, sums)

    return vector(vector, types.float32, other), code


def _to_number(join: Callable[[ir.IRBuilder, Any, Any], Any]) -> Callable[..., Any]:
    """A function that reduces all numbers of a vector to one."""

    @intrinsic
    def function(_typing: Any, vector: _Vector) -> Any:
        def code(_context: Any, builder: ir.IRBuilder, _signature: Any, given: Any) -> Any:
            part = reduce(partial(join, builder), _parts(builder, given[0]))
            half = part.type.count // 2
            while half:
                turned = [i ^ half for i in range(part.type.count)]
                part = join(builder, part, _moved(builder, part, turned))
                half //= 2
            return builder.extract_element(part, _INT(0))

        return types.float32(vector), code

    made: Callable[..., Any] = function
    return made


largest = _to_number(_larger)
"""(vector): its largest number."""

total = _to_number(ir.IRBuilder.fadd)
"""(vector): the sum of its numbers."""
