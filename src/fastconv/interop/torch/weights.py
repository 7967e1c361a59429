"""Nets from torch to `fastconv.nn`, and their weights back."""

from __future__ import annotations

import torch

import fastconv.nn as fnn
from fastconv.interop.torch.graph import Reading


def _check_module(module: object) -> torch.nn.Module:
    if not isinstance(module, torch.nn.Module):
        raise TypeError(f"module: must be a torch.nn.Module, not {type(module).__name__}")
    return module


def from_torch(module: torch.nn.Module) -> fnn.Sequential:
    """The net of `fastconv.nn` that does what a module of torch does, with a copy of its weights.

    Parameters
    ----------
    module : torch.nn.Module
        Layers one after the other, with shortcuts that are added (`nn.Residual` here) and branches that are
        joined (`nn.Concat`), however its forward is written; modules and functions of torch that
        `fastconv.nn` has as layers. One tensor goes in, one comes out.

    Returns
    -------
    fastconv.nn.Sequential
        In inference what `module.eval()` computes, in `vjp` what `module.train()` does; random numbers of
        dropout differ. Layers are named by position, not as in the module.

    Raises
    ------
    TypeError
        `module` is none.
    ValueError
        Naming the submodule, or function in its forward, that has no counterpart.

    Notes
    -----
    The forward is read by `torch.fx`: https://docs.pytorch.org/docs/stable/fx.html. Ways between layers are
    told by the node that dominates both ends (Cooper, Harvey & Kennedy, "A simple, fast dominance algorithm",
    2001).

    Examples
    --------
    >>> import numpy as np, torch
    >>> from fastconv.interop.torch import from_torch
    >>> module = torch.nn.Sequential(torch.nn.Conv2d(1, 2, 3), torch.nn.ReLU(), torch.nn.Flatten())
    >>> net = from_torch(module)
    >>> [type(layer).__name__ for layer in net]
    ['Conv2d', 'ReLU', 'Flatten']
    >>> x = np.ones((1, 1, 4, 4), np.float32)
    >>> np.allclose(net(x), module(torch.from_numpy(x)).detach(), atol=1e-6)
    True
    """
    reading = Reading(_check_module(module))
    for buffer, tensor in reading.owned:
        buffer.value = tensor.detach().cpu().numpy()
    return reading.net


def to_torch(net: fnn.Layer, module: torch.nn.Module) -> torch.nn.Module:
    """Copy the weights of a net back into the module that `from_torch` made it of, or one of the same kind.

    Parameters
    ----------
    net : fastconv.nn.Layer
        As `from_torch(module)` returned it; trained since, say.
    module : torch.nn.Module
        Its parameters and running statistics are written over, in place.

    Returns
    -------
    torch.nn.Module
        The module.

    Raises
    ------
    TypeError
        `net` is no layer, `module` no module.
    ValueError
        The two do not have the same layers; nothing has been copied then.

    Examples
    --------
    >>> import torch
    >>> from fastconv.interop.torch import from_torch, to_torch
    >>> module = torch.nn.Sequential(torch.nn.Linear(3, 2))
    >>> net = from_torch(module)
    >>> net[0].bias.value[:] = [5, 6]
    >>> to_torch(net, module)[0].bias.detach()
    tensor([5., 6.])
    """
    if not isinstance(net, fnn.Layer):
        raise TypeError(f"net: must be a layer of fastconv.nn, not {type(net).__name__}")
    reading = Reading(_check_module(module))
    tensors = {id(buffer): tensor for buffer, tensor in reading.owned}
    theirs = reading.net.named_buffers()
    ours = net.named_buffers()
    if [(path, buffer.value.shape) for path, buffer in ours.items()] != [
        (path, buffer.value.shape) for path, buffer in theirs.items()
    ]:
        raise ValueError(
            f"net: its arrays ({', '.join(ours) or 'none'}) must be those of from_torch(module) "
            f"({', '.join(theirs) or 'none'}), of the same shapes"
        )
    with torch.no_grad():
        for path, buffer in theirs.items():
            tensors[id(buffer)].copy_(torch.from_numpy(ours[path].value))
    return module
