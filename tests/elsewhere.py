"""A pretended accelerator, for machines without one: its tensors are computed on the CPU.

Within `elsewhere()` tensors can be moved to `DEVICE` and made there. They hold numbers, take the
branches of code that are not a CPU's, and are as strict as those of a GPU: an operator refuses
tensors of both sides, arrays and a CPU's generators. A division by a number of the host multiplies
with its reciprocal, as torch does on CUDA, which may round otherwise. It shows nothing about speed,
about kernels that are missing on a GPU, or about code that asks for `cuda` by name.
"""

from __future__ import annotations

import importlib
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from unittest import mock

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten, tree_map_only

if TYPE_CHECKING:
    from collections.abc import Iterator

DEVICE = torch.device("meta")
"""What stands for the accelerator: a device that torch knows everywhere."""

_aten = torch.ops.aten
_CROSSING = {"aten::copy_", "aten::_to_copy"}
_INDEXING = {"aten::index", "aten::index_put_", "aten::index_put"}
_DIVIDED = {
    _aten.div.Tensor: _aten.mul.Tensor,
    _aten.div_.Tensor: _aten.mul_.Tensor,
    _aten.div.out: _aten.mul.out,
}


@contextmanager
def elsewhere() -> Iterator[torch.device]:
    """Where the pretended accelerator exists, in this thread."""
    adam = importlib.import_module("torch.optim.adam")  # its fused kernel asks for known devices
    fused = mock.patch.object(adam, "_device_dtype_check_for_fused", mock.Mock())
    with fused, _Functions(), _Operators():  # type: ignore[no-untyped-call]
        yield DEVICE


class Elsewhere(Tensor):
    """A tensor on the accelerator."""

    held: Tensor

    def __new__(cls, held: Tensor) -> Elsewhere:
        made: Elsewhere = Tensor._make_wrapper_subclass(
            cls,
            held.size(),
            strides=held.stride(),
            storage_offset=held.storage_offset(),
            dtype=held.dtype,
            device=DEVICE,
        )
        made.held = held
        return made

    @classmethod
    def __torch_function__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """What a tensor does beside torch's operators: to and from Python, lists as indices."""
        kwargs = kwargs or {}
        if func is Tensor.numpy:
            raise TypeError("a tensor of an accelerator is no array: copy it to the CPU first")
        if func is Tensor.tolist:
            return args[0].held.tolist()
        if func is Tensor.new_tensor:
            return args[0].held.new_tensor(args[1], **kwargs).to(DEVICE)
        if func in (Tensor.__getitem__, Tensor.__setitem__):
            places = args[1] if isinstance(args[1], tuple) else (args[1],)
            places = tuple(torch.tensor(x) if isinstance(x, list) else x for x in places)
            args = (args[0], places, *args[2:])
        return torch._C._disabled_torch_function_impl(func, types, args, kwargs)

    @classmethod
    def __torch_dispatch__(  # type: ignore[override]
        cls, func: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        return _compute(func, args, kwargs or {})


class _Operators(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Computes whatever is made on or moved to the accelerator."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _compute(func, args, kwargs or {})


class _Functions(TorchFunctionMode):
    """Makes tensors of Python's numbers."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func in (torch.tensor, torch.as_tensor) and _is_there(kwargs.get("device")):
            return func(*args, **{**kwargs, "device": "cpu"}).to(DEVICE)
        return func(*args, **kwargs)


def _is_there(device: Any) -> bool:
    return device is not None and torch.device(device).type == DEVICE.type


def _compute(func: Any, args: Any, kwargs: Any) -> Any:
    """An operator on the CPU; what comes out is where its inputs are, or where it was asked to."""
    there = [x for x in tree_flatten((args, kwargs))[0] if isinstance(x, Elsewhere)]
    goes = bool(there) and func is not _aten._local_scalar_dense.default
    if there:
        _check_devices(func, args, kwargs)
    if kwargs.get("device") is not None:
        goes = _is_there(kwargs["device"])
        kwargs = {**kwargs, "device": torch.device("cpu")}
    if goes and kwargs.get("generator") is not None:
        raise RuntimeError(f"{func}: a generator of the CPU for a tensor elsewhere")
    if func in _DIVIDED and there and _is_number(args[1]) and args[0].is_floating_point():
        func, args = _DIVIDED[func], (args[0], 1 / torch.as_tensor(args[1]).to(args[0].dtype))
    args, kwargs = tree_map_only(Elsewhere, lambda x: x.held, (args, kwargs))
    given = {id(x.held): x for x in there}  # an operator in place returns what it was given

    def placed(x: Tensor) -> Tensor:
        return given[id(x)] if id(x) in given else Elsewhere(x) if goes else x

    return tree_map_only(Tensor, placed, func(*args, **kwargs))


def _check_devices(func: Any, args: Any, kwargs: Any) -> None:
    """An error where an operator is given tensors of both devices."""
    name = func._schema.name
    if name in _CROSSING:
        return
    if name in _INDEXING and isinstance(args[0], Elsewhere):
        args = (args[0], *args[2:])  # places may be on the CPU
    here = [x for x in tree_flatten((args, kwargs))[0] if _is_array(x)]
    if here:
        shapes = [tuple(x.shape) for x in here]
        raise RuntimeError(f"{func}: tensors on two devices; on the CPU those of shape {shapes}")


def _is_array(value: Any) -> bool:
    return isinstance(value, Tensor) and not isinstance(value, Elsewhere) and value.dim() > 0


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) or (
        isinstance(value, Tensor) and not isinstance(value, Elsewhere) and value.dim() == 0
    )
