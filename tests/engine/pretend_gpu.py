"""A device that keeps its tensors in ordinary memory and, like a GPU, refuses to mix them.

It calls itself ``meta``, the one device besides the CPU that every build of torch knows.
"""

from __future__ import annotations

import math
import weakref

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map

DEVICE = torch.device("meta")
_tensor = torch.tensor
_MOVES = {torch.ops.aten._to_copy.default, torch.ops.aten.copy_.default}
_INDEXES = {  # a GPU takes indices and masks from the CPU
    torch.ops.aten.index.Tensor, torch.ops.aten.index_put_.default,
    torch.ops.aten._index_put_impl_.default,
}  # fmt: skip


class Memory:
    """Bytes on the device, those of tensors that share them once.

    Attributes:
        limit: How many there may be.
        used: How many there are.
        most: How many there have been.
    """

    def __init__(self):
        self.limit, self.used, self.most = math.inf, 0, 0
        self._holders = {}

    def hold(self, tensor, storage):
        place, size = storage.data_ptr(), storage.nbytes()
        if place not in self._holders:
            if self.used + size > self.limit:
                raise torch.OutOfMemoryError(f"Out of memory. Tried to allocate {size} bytes.")
            self.used += size
            self.most = max(self.most, self.used)
        self._holders[place] = self._holders.get(place, 0) + 1
        weakref.finalize(tensor, self._let_go, place, size)

    def _let_go(self, place, size):
        self._holders[place] -= 1
        if not self._holders[place]:
            del self._holders[place]
            self.used -= size


memory = Memory()


class Held(torch.Tensor):
    """A tensor on the device; it has no memory that NumPy could see."""

    @staticmethod
    def __new__(cls, real):
        return torch.Tensor._make_wrapper_subclass(
            cls, real.size(), strides=real.stride(), storage_offset=real.storage_offset(),
            dtype=real.dtype, dispatch_device=True,
        )  # fmt: skip

    def __init__(self, real):
        memory.hold(self, real.untyped_storage())
        self.inner = real

    def __repr__(self):
        return f"Held({self.inner!r})"

    def tolist(self):
        return self.inner.tolist()

    def new_tensor(self, data):
        return _tensor(data, dtype=self.dtype).to(DEVICE)

    @classmethod
    def __torch_dispatch__(cls, function, types, args=(), kwargs=None):
        return _run(function, args, kwargs or {})


class PretendGpu(TorchDispatchMode):
    """While it is entered there is the device; ``calls`` counts what it computed.

    Args:
        float64: Whether it has double precision; Apple's has not.
    """

    calls = 0

    def __init__(self, float64=True):
        super().__init__()
        self.float64 = float64

    def __enter__(self):
        # The parameters of a network become new ones there: they cannot change their kind.
        torch.__future__.set_overwrite_module_params_on_conversion(True)
        return super().__enter__()

    def __exit__(self, *exc):
        torch.__future__.set_overwrite_module_params_on_conversion(False)
        return super().__exit__(*exc)

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        if not types and "device" not in (kwargs or {}):
            return function(*args, **(kwargs or {}))
        result = _run(function, args, kwargs or {})
        held = [leaf for leaf in tree_leaves(result) if isinstance(leaf, Held)]
        self.calls += bool(held)
        if not self.float64 and any(one.dtype == torch.float64 for one in held):
            raise TypeError("Cannot convert a MPS Tensor to float64 dtype")
        return result


def tensor(data, dtype=None, device=None):
    """``torch.tensor``, which otherwise makes its tensors out of sight."""
    made = _tensor(data, dtype=dtype)
    return made if device is None else made.to(device)


def _run(function, args, kwargs):
    if function is torch.ops.prim.device.default:
        return DEVICE
    tensors = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, torch.Tensor)]
    held = [one for one in tensors if isinstance(one, Held)]
    if held and function not in _MOVES:
        _refuse_mixture(function, args, tensors)
    wanted = kwargs.get("device")
    here = bool(held) if wanted is None else torch.device(wanted) == DEVICE
    if function is torch.ops.aten.copy_.default:
        here = isinstance(args[0], Held)
    real = {**kwargs, **({} if wanted is None else {"device": torch.device("cpu")})}
    result = function(*tree_map(_real, args), **tree_map(_real, real))
    if function._schema.is_mutable:  # in place, or into ``out``
        return kwargs.get("out", args[0])
    return tree_map(
        lambda one: Held(one) if here and isinstance(one, torch.Tensor) else one, result
    )


def _refuse_mixture(function, args, tensors):
    checked = tensors
    if function in _INDEXES:
        checked = [args[0], *(one for one in args[2:] if isinstance(one, torch.Tensor))]
    places = {isinstance(one, Held) for one in checked if one.dim() or isinstance(one, Held)}
    if len(places) > 1 or (function in _INDEXES and not isinstance(args[0], Held)):
        raise RuntimeError(f"Expected all tensors to be on the same device ({function}).")


def _real(value):
    return value.inner if isinstance(value, Held) else value
