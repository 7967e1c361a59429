"""Models that exist, on fastconv: for the length of a block, or for good."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from fastconv.interop.torch import functions


def _values_and_indices(max_pool: Callable[..., Any]) -> Callable[..., Any]:
    """As torch's functions that always return both."""

    def run(*args: Any, return_indices: bool = True, **kwargs: Any) -> Any:
        return max_pool(*args[:6], return_indices=True, **kwargs)

    return run


#: torch's functions, and those that run in their place.
_OURS: dict[Any, Callable[..., Any]] = {}
for _rank in ("1d", "2d", "3d"):
    for _name in ("conv", "conv_transpose", "max_pool", "avg_pool"):
        for _home in (torch, F):
            if hasattr(_home, _name + _rank):  # avg_pool2d and avg_pool3d are of one of them alone
                _OURS[getattr(_home, _name + _rank)] = getattr(functions, _name + _rank)
    _OURS[getattr(F, f"max_pool{_rank}_with_indices")] = _values_and_indices(
        getattr(functions, f"max_pool{_rank}")
    )


def _through(theirs: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """The call by fastconv; by torch if fastconv refuses it, so that whatever torch says of it is said."""
    if not torch.is_autocast_enabled("cpu"):
        try:
            return _OURS[theirs](*args, **kwargs)
        except (TypeError, ValueError):
            pass
    return theirs(*args, **kwargs)


class _Active(TorchFunctionMode):
    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if func in _OURS and not any(issubclass(kind, Tensor) and kind is not Tensor for kind in types):
            return _through(func, args, kwargs or {})
        return func(*args, **(kwargs or {}))


def active() -> TorchFunctionMode:
    """A context in which every convolution and pool of torch runs on fastconv, in models as they are.

    That is `F.conv1d/2d/3d`, `F.conv_transpose*d`, `F.max_pool*d` and `F.avg_pool*d`, the same names of
    `torch`, and all modules that call them; forward and backward. Whatever does not fit goes on to torch,
    untouched: tensors that are not float32 or float64 (integers, half precision) or not on the CPU, sparse
    ones and subclasses of Tensor, calls under autocast, adaptive and Lp pools, and calls that are wrong, so
    that torch's own error is raised. The padding modes "circular", "reflect" and "replicate" of modules are
    torch's; the convolution behind them is not.

    Returns
    -------
    torch.overrides.TorchFunctionMode
        For `with`; it holds for the thread that entered it.

    Notes
    -----
    torch's threads and fastconv's are apart, and torch's spin for a while before they sleep: run Python with
    ``OMP_WAIT_POLICY=passive``, or `torch.set_num_threads(1)`, for the speed that there is to have.

    Source: https://docs.pytorch.org/docs/stable/torch.overrides.html.

    Examples
    --------
    >>> import torch
    >>> import fastconv.interop.torch
    >>> net = torch.nn.Sequential(torch.nn.Conv2d(1, 4, 3), torch.nn.ReLU(), torch.nn.MaxPool2d(2))
    >>> with fastconv.interop.torch.active():
    ...     output = net(torch.ones(1, 1, 8, 8))
    >>> type(output.grad_fn).__name__ == type(net(torch.ones(1, 1, 8, 8)).grad_fn).__name__
    False
    """
    return _Active()


class _Conv(nn.modules.conv._ConvNd):
    """What the convolutions have in common: the way from a module to a function."""

    def forward(self, input: Tensor) -> Tensor:
        """The convolution by fastconv, or by torch where it does not fit; see `accelerate`."""
        if self.padding_mode != "zeros":
            output: Tensor = super().forward(input)
            return output
        theirs = getattr(F, f"conv{self.weight.ndim - 2}d")
        how = (self.stride, self.padding, self.dilation, self.groups)
        result: Tensor = _through(theirs, (input, self.weight, self.bias, *how), {})
        return result


class _ConvTranspose(nn.modules.conv._ConvTransposeNd):
    def forward(self, input: Tensor, output_size: list[int] | None = None) -> Tensor:
        """The transposed convolution by fastconv, or by torch where it does not fit; see `accelerate`."""
        if output_size is not None:
            output: Tensor = super().forward(input, output_size)
            return output
        theirs = getattr(F, f"conv_transpose{self.weight.ndim - 2}d")
        how = (self.stride, self.padding, self.output_padding, self.groups, self.dilation)
        result: Tensor = _through(theirs, (input, self.weight, self.bias, *how), {})
        return result


class Conv1d(_Conv, nn.Conv1d):
    """`torch.nn.Conv1d` that runs on fastconv; `accelerate` makes them."""


class Conv2d(_Conv, nn.Conv2d):
    """`torch.nn.Conv2d` that runs on fastconv; `accelerate` makes them."""


class Conv3d(_Conv, nn.Conv3d):
    """`torch.nn.Conv3d` that runs on fastconv; `accelerate` makes them."""


class ConvTranspose1d(_ConvTranspose, nn.ConvTranspose1d):
    """`torch.nn.ConvTranspose1d` that runs on fastconv; `accelerate` makes them."""


class ConvTranspose2d(_ConvTranspose, nn.ConvTranspose2d):
    """`torch.nn.ConvTranspose2d` that runs on fastconv; `accelerate` makes them."""


class ConvTranspose3d(_ConvTranspose, nn.ConvTranspose3d):
    """`torch.nn.ConvTranspose3d` that runs on fastconv; `accelerate` makes them."""


class _Pool(nn.Module):
    def forward(self, input: Tensor) -> Any:
        """The pooling by fastconv, or by torch where it does not fit; see `accelerate`."""
        with active():
            return super().forward(input)


class MaxPool1d(_Pool, nn.MaxPool1d):
    """`torch.nn.MaxPool1d` that runs on fastconv; `accelerate` makes them."""


class MaxPool2d(_Pool, nn.MaxPool2d):
    """`torch.nn.MaxPool2d` that runs on fastconv; `accelerate` makes them."""


class MaxPool3d(_Pool, nn.MaxPool3d):
    """`torch.nn.MaxPool3d` that runs on fastconv; `accelerate` makes them."""


class AvgPool1d(_Pool, nn.AvgPool1d):
    """`torch.nn.AvgPool1d` that runs on fastconv; `accelerate` makes them."""


class AvgPool2d(_Pool, nn.AvgPool2d):
    """`torch.nn.AvgPool2d` that runs on fastconv; `accelerate` makes them."""


class AvgPool3d(_Pool, nn.AvgPool3d):
    """`torch.nn.AvgPool3d` that runs on fastconv; `accelerate` makes them."""


_CLASSES = (
    Conv1d, Conv2d, Conv3d, ConvTranspose1d, ConvTranspose2d, ConvTranspose3d,
    MaxPool1d, MaxPool2d, MaxPool3d, AvgPool1d, AvgPool2d, AvgPool3d,
)  # fmt: skip
_REPLACEMENTS: dict[type, type] = {getattr(nn, kind.__name__): kind for kind in _CLASSES}


def accelerate(module: nn.Module) -> nn.Module:
    """Make a module's convolutions and pools run on fastconv from now on; the rest of it stays torch's.

    Parameters
    ----------
    module : torch.nn.Module
        Changed in place: each `Conv*d`, `ConvTranspose*d`, `MaxPool*d` and `AvgPool*d` inside becomes an
        instance of the class of the same name here, which is a subclass of torch's. It is the same object,
        with the same parameters, hooks and names, so that optimizers and state dicts go on as before.
        Subclasses of other people stay what they are.

    Returns
    -------
    torch.nn.Module
        The module itself.

    Raises
    ------
    TypeError
        `module` is none.

    Notes
    -----
    What does not fit at run time goes on to torch, as in `active`; so do convolutions of another
    `padding_mode` than "zeros", and transposed ones called with `output_size`.

    Examples
    --------
    >>> import torch
    >>> from fastconv.interop.torch import accelerate
    >>> net = accelerate(torch.nn.Sequential(torch.nn.Conv2d(1, 4, 3), torch.nn.ReLU()))
    >>> type(net[0]).__module__, isinstance(net[0], torch.nn.Conv2d)
    ('fastconv.interop.torch.takeover', True)
    """
    if not isinstance(module, nn.Module):
        raise TypeError(f"module: must be a torch.nn.Module, not {type(module).__name__}")
    for part in module.modules():
        if type(part) in _REPLACEMENTS:
            part.__class__ = _REPLACEMENTS[type(part)]
    return module
