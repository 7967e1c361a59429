"""The arrays a layer owns: parameters, which are learned, and buffers, which are only kept."""

from __future__ import annotations

import copy
import threading
from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np

from fastconv.geometry import as_array, check_shape

_Self = TypeVar("_Self", bound="Buffer")
_SelfParameter = TypeVar("_SelfParameter", bound="Parameter")


class Buffer:
    """An array that is saved with its layer but not learned, such as the running mean of batch norm.

    Parameters
    ----------
    value : array, float32 or float64
        Copied.
    name : str
        What the layer calls it.

    Attributes
    ----------
    value : ndarray, C-contiguous
        The same array for as long as the buffer lives: assigning to it copies into it.
    lock : threading.Lock
        Held while several threads might change the array at once.

    Examples
    --------
    >>> import numpy as np
    >>> from fastconv import nn
    >>> buffer = nn.Buffer(np.zeros(3), "running_mean")
    >>> buffer.value += 1
    >>> buffer
    Buffer('running_mean', shape=(3,), dtype=float64)
    """

    __slots__ = ("_value", "lock", "name")

    def __init__(self, value: Any, name: str = "") -> None:
        self._value = np.array(as_array("value", value), order="C")
        self.lock = threading.Lock()
        self.name = name

    @property
    def value(self) -> np.ndarray:
        """The array itself; `buffer.value = other` copies `other` into it."""
        return self._value

    @value.setter
    def value(self, value: Any) -> None:
        _copy_into(self._value, self.name or "value", value)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        """The value, for NumPy: the array itself unless a copy or another dtype is asked for.

        See https://numpy.org/doc/stable/user/basics.interoperability.html#the-array-method.
        """
        if dtype is not None and np.dtype(dtype) != self._value.dtype:
            if copy is False:
                raise ValueError(f"copy=False: {self!r} as {np.dtype(dtype)} is a copy")
            return self._value.astype(dtype)
        return self._value.copy() if copy else self._value

    def cast(self, dtype: np.dtype) -> None:
        """Hold the values as `dtype` from now on, in a new array."""
        self._value = self._value.astype(dtype)

    def __getstate__(self) -> dict[str, Any]:  # a lock can be neither copied nor pickled
        return {"_value": self._value, "name": self.name}

    def __setstate__(self, state: dict[str, Any]) -> None:
        for name, value in state.items():
            setattr(self, name, value)
        self.lock = threading.Lock()

    def snapshot(self: _Self) -> _Self:
        """A copy of the value as it is now, without a gradient."""
        twin = copy.copy(self)
        twin._value = self._value.copy()
        return twin

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.name!r}, shape={self.value.shape}, dtype={self.value.dtype})"


class Parameter(Buffer):
    """An array that is learned, and beside it the gradient that `backprop` adds to.

    Parameters
    ----------
    value : array, float32 or float64
        Copied.
    name : str
        What the layer calls it: "weight", "bias".

    Attributes
    ----------
    value, grad : ndarray, C-contiguous, of one shape and dtype
        The same arrays for as long as the parameter lives: assigning to them copies into them. `grad` is made
        when it is first asked for or added to; a net that only infers holds its weights once.
    fans : (fan_in, fan_out) or None
        Of a layer's weight, what `nn.init` goes by; None: the shape says it.

    Examples
    --------
    >>> import numpy as np
    >>> from fastconv import nn
    >>> weight = nn.Parameter(np.ones((2, 2)), "weight")
    >>> weight.add_grad(np.full((2, 2), 0.5))
    >>> weight.grad
    array([[0.5, 0.5],
           [0.5, 0.5]])
    """

    __slots__ = ("_grad", "_stale", "fans")

    def __init__(self, value: Any, name: str = "", fans: tuple[float, float] | None = None) -> None:
        super().__init__(value, name)
        self.fans = fans
        self._grad: np.ndarray | None = None
        self._stale = True  # what `grad` holds, if it is there, counts as zeros

    @property
    def grad(self) -> np.ndarray:
        """The gradient gathered since it was last set to zero; `parameter.grad = other` copies into it."""
        self.settle_grad()
        return self._room()

    @grad.setter
    def grad(self, grad: Any) -> None:
        _copy_into(self.grad, f"{self.name}.grad", grad)

    def _room(self) -> np.ndarray:
        """The array of the gradient, whatever it holds; made under the lock."""
        if self._grad is None:
            self._grad = np.empty_like(self._value)
        return self._grad

    def add_grad(self, gradient: np.ndarray) -> None:
        """Add to `grad`; safe when several threads run nets that share this parameter."""
        if type(gradient) is not np.ndarray and isinstance(gradient, np.ndarray):
            gradient = as_array(f"{self.name}.grad", gradient, self._value.dtype)
        with self.lock:
            room = self._room()
            if self._stale:
                room[...] = gradient
                self._stale = False
            else:
                room += gradient

    def add_grad_of(self, gradient: Callable[..., np.ndarray], *arguments: Any) -> None:
        """Add `gradient(*arguments)`, which takes `out=`: the first one is written to where it belongs."""
        if self._stale:
            with self.lock:
                if self._stale:
                    gradient(*arguments, out=self._room())
                    self._stale = False
                    return
        self.add_grad(gradient(*arguments))

    def zero_grad(self) -> None:
        """Set `grad` to zero."""
        self.forget_grad()
        if self._grad is not None:
            self.settle_grad()

    def forget_grad(self) -> None:
        """As `zero_grad`, but zeros are only written if no gradient is: `settle_grad` must follow."""
        self._stale = True

    def settle_grad(self) -> None:
        """Write the zeros that `forget_grad` has promised, if they still stand."""
        if self._stale:
            with self.lock:
                if self._stale:
                    self._room().fill(0)
                    self._stale = False

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        """The value, for NumPy: the array itself unless a copy or another dtype is asked for.

        See https://numpy.org/doc/stable/user/basics.interoperability.html#the-array-method.
        """
        if dtype is not None and np.dtype(dtype) != self._value.dtype:
            if copy is False:
                raise ValueError(f"copy=False: {self!r} as {np.dtype(dtype)} is a copy")
            return self._value.astype(dtype)
        return self._value.copy() if copy else self._value

    def cast(self, dtype: np.dtype) -> None:
        """Hold value and gradient as `dtype` from now on, in new arrays."""
        super().cast(dtype)
        self._grad = None if self._stale or self._grad is None else self._grad.astype(dtype)

    def snapshot(self: _SelfParameter) -> _SelfParameter:
        """A copy of the value as it is now, without a gradient."""
        twin = super().snapshot()
        twin._grad, twin._stale = None, True
        return twin

    def __getstate__(self) -> dict[str, Any]:
        return {
            **super().__getstate__(),
            "_grad": None if self._stale else self._grad,
            "_stale": self._stale or self._grad is None,
            "fans": self.fans,
        }


class Held(Parameter):
    """A parameter, or buffer, of a layer that does not learn: read through this, and never changed."""

    __slots__ = ("_origin",)

    def __init__(self, origin: Buffer) -> None:
        self._origin = origin
        self.name, self.lock = origin.name, origin.lock

    @property
    def value(self) -> np.ndarray:
        """The value held; of what training would change in place, a copy."""
        value = self._origin.value
        return value if isinstance(self._origin, Parameter) else value.copy()

    @value.setter
    def value(self, value: Any) -> None:
        """Stays what it is."""

    @property
    def grad(self) -> np.ndarray:
        """Zeros: what the original has gathered stays with it."""
        return np.zeros_like(self._origin.value)

    @grad.setter
    def grad(self, grad: Any) -> None:
        """Nobody learns from it."""

    def add_grad(self, gradient: np.ndarray) -> None:
        """Nobody learns from it."""

    def add_grad_of(self, gradient: Callable[..., np.ndarray], *arguments: Any) -> None:
        """Nobody learns from it: not even computed."""

    def zero_grad(self) -> None:
        """Nothing has been gathered."""


def _copy_into(target: np.ndarray, name: str, value: Any) -> None:
    value = as_array(name, value, target.dtype)
    check_shape(name, value, target.shape)
    target[...] = value
