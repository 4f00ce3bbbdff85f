"""A stand-in for a device without float64, such as Apple's mps: the CPU, but it refuses float64."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_map

DEVICE = torch.device("meta")  # a device that every torch lets a test pretend to have
REFUSAL = "Cannot convert a MPS Tensor to float64 dtype as the MPS framework doesn't support it"


class OnDevice(Tensor):
    """A tensor that says that it lies on the device; its values lie on the CPU."""

    values: Tensor

    @staticmethod
    def __new__(cls, values: Tensor) -> OnDevice:
        self = Tensor._make_wrapper_subclass(
            cls,
            values.size(),
            strides=values.stride(),
            dtype=values.dtype,
            device=DEVICE,
            requires_grad=values.requires_grad,
        )
        self.values = values
        return self

    @classmethod
    def __torch_dispatch__(cls, function, types, args=(), kwargs=None):
        return dispatched(function, args, kwargs or {})


class Device(TorchDispatchMode):
    """Make the device known to factories (``torch.zeros(..., device=DEVICE)``), too."""

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        return dispatched(function, args, kwargs or {})


def dispatched(function: Any, args: tuple, kwargs: dict) -> Any:
    """Run an operation on the CPU; results stay where its inputs are, or go where it asks."""
    asked = kwargs.get("device")
    inputs: list[Tensor] = []
    tree_map(lambda x: inputs.append(x) if isinstance(x, Tensor) else None, (args, kwargs))
    there = [isinstance(x, OnDevice) for x in inputs]
    on_device = any(there) if asked is None else torch.device(asked).type == DEVICE.type
    copying = function._schema.name in ("aten::_to_copy", "aten::copy_")
    elsewhere = any(x.dim() for x in inputs if not isinstance(x, OnDevice))
    if any(there) and elsewhere and not copying:
        raise RuntimeError(f"{function}: tensors on two devices")
    if on_device and kwargs.get("dtype") == torch.float64:
        raise TypeError(REFUSAL)
    if copying and any(there) and kwargs.get("dtype") == torch.float64:
        raise TypeError(REFUSAL)  # a device casts before it copies
    if asked is not None and on_device:
        kwargs = {**kwargs, "device": torch.device("cpu")}
    args, kwargs = tree_map(lambda x: x.values if isinstance(x, OnDevice) else x, (args, kwargs))
    result = function(*args, **kwargs)
    return tree_map(wrapped, result) if on_device else result


def wrapped(value: Any) -> Any:
    if not isinstance(value, Tensor) or isinstance(value, OnDevice):
        return value
    if value.dtype == torch.float64:
        raise TypeError(REFUSAL)
    return OnDevice(value)


def there(tensor: Tensor) -> OnDevice:
    """Put a tensor on the device; it must not be float64."""
    return wrapped(tensor.detach())
