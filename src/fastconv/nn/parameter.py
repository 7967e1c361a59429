"""The arrays a layer owns: parameters, which are learned, and buffers, which are only kept."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import numpy as np

from fastconv.geometry import as_array, check_shape


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

    def cast(self, dtype: np.dtype) -> None:
        """Hold the values as `dtype` from now on, in a new array."""
        self._value = self._value.astype(dtype)

    def __getstate__(self) -> dict[str, Any]:  # a lock can be neither copied nor pickled
        return {"_value": self._value, "name": self.name}

    def __setstate__(self, state: dict[str, Any]) -> None:
        for name, value in state.items():
            setattr(self, name, value)
        self.lock = threading.Lock()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.name!r}, shape={self._value.shape}, dtype={self._value.dtype})"


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
        The same arrays for as long as the parameter lives: assigning to them copies into them.
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
        self._grad = np.zeros_like(self._value)
        self._stale = False  # what `grad` holds counts as zeros

    @property
    def grad(self) -> np.ndarray:
        """The gradient gathered since it was last set to zero; `parameter.grad = other` copies into it."""
        self.settle_grad()
        return self._grad

    @grad.setter
    def grad(self, grad: Any) -> None:
        _copy_into(self.grad, f"{self.name}.grad", grad)

    def add_grad(self, gradient: np.ndarray) -> None:
        """Add to `grad`; safe when several threads run nets that share this parameter."""
        if type(gradient) is not np.ndarray and isinstance(gradient, np.ndarray):
            gradient = as_array(f"{self.name}.grad", gradient, self._value.dtype)
        with self.lock:
            if self._stale:
                self._grad[...] = gradient
                self._stale = False
            else:
                self._grad += gradient

    def add_grad_of(self, gradient: Callable[..., np.ndarray], *arguments: Any) -> None:
        """Add `gradient(*arguments)`, which takes `out=`: the first one is written to where it belongs."""
        if self._stale:
            with self.lock:
                if self._stale:
                    gradient(*arguments, out=self._grad)
                    self._stale = False
                    return
        self.add_grad(gradient(*arguments))

    def zero_grad(self) -> None:
        """Set `grad` to zero."""
        self._grad.fill(0)
        self._stale = False

    def forget_grad(self) -> None:
        """As `zero_grad`, but zeros are only written if no gradient is: `settle_grad` must follow."""
        self._stale = True

    def settle_grad(self) -> None:
        """Write the zeros that `forget_grad` has promised, if they still stand."""
        if self._stale:
            self.zero_grad()

    def cast(self, dtype: np.dtype) -> None:
        """Hold value and gradient as `dtype` from now on, in new arrays."""
        super().cast(dtype)
        self._grad = self.grad.astype(dtype)

    def __getstate__(self) -> dict[str, Any]:
        return {**super().__getstate__(), "_grad": self.grad, "_stale": False, "fans": self.fans}


def _copy_into(target: np.ndarray, name: str, value: Any) -> None:
    value = as_array(name, value, target.dtype)
    check_shape(name, value, target.shape)
    target[...] = value
