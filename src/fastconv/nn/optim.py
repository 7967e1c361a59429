"""Optimizers: how parameters follow their gradients. Names, defaults and formulas are torch's."""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np

from fastconv._kernels.pointwise.learning import descend
from fastconv.geometry import flag
from fastconv.nn.arguments import real
from fastconv.nn.optimizer import Optimizer, Row
from fastconv.nn.parameter import Parameter


class SGD(Optimizer):
    """Stochastic gradient descent, with momentum and Nesterov's look ahead if asked for.

    Parameters
    ----------
    parameters : iterable of Parameter
    lr : float
        Learning rate.
    momentum : float, default 0.0
        Share of the last step that is kept.
    nesterov : bool, default False
        Needs momentum.
    weight_decay : float, default 0.0
        Added to the gradient, times the value.

    Raises
    ------
    TypeError, ValueError
        Naming the argument, its value and the rule.

    Notes
    -----
    Sutskever et al., "On the importance of initialization and momentum in deep learning", ICML 2013.

    Examples
    --------
    >>> import numpy as np
    >>> from fastconv import nn
    >>> weight = nn.Parameter(np.array([1.0]))
    >>> weight.add_grad(np.array([2.0]))
    >>> nn.SGD([weight], lr=0.1).step()
    >>> weight.value
    array([0.8])
    """

    def __init__(
        self,
        parameters: Iterable[Parameter],
        lr: float,
        momentum: float = 0.0,
        nesterov: bool = False,
        weight_decay: float = 0.0,
    ) -> None:
        self.momentum = real("momentum", momentum, at_least=0)
        self.nesterov = flag("nesterov", nesterov)
        if self.nesterov and not self.momentum:
            raise ValueError(f"nesterov=True: needs a momentum above 0, not {momentum!r}")
        self._state = ("momentum_buffer",) if self.momentum else ()
        super().__init__(parameters, lr, weight_decay)

    def step(self) -> None:
        """See `Optimizer.step`: one pass over values, gradients and momentum."""
        self._follow()
        self.steps += 1
        descend(*self._pieces, self.lr, self.momentum, self.weight_decay, self.nesterov)

    def _bind(self) -> None:
        super()._bind()
        velocities = None
        if self.momentum:
            velocities = [part for row in self._rows for part in row.split(row.state["momentum_buffer"])]
        self._pieces = (
            [value for row in self._rows for value in row.values],
            [gradient for row in self._rows for gradient in row.grads],
            velocities,
        )


class RMSProp(Optimizer):
    """Gradients divided by the root of a running mean of their squares.

    Parameters
    ----------
    parameters : iterable of Parameter
    lr : float, default 0.01
    alpha : float, default 0.99
        Share of the running mean that is kept.
    eps : float, default 1e-8
        Added to the root.
    weight_decay, momentum : float, default 0.0

    Raises
    ------
    TypeError, ValueError
        Naming the argument, its value and the rule.

    Notes
    -----
    Tieleman & Hinton, lecture 6.5 of "Neural networks for machine learning", 2012.
    """

    def __init__(
        self,
        parameters: Iterable[Parameter],
        lr: float = 0.01,
        alpha: float = 0.99,
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        momentum: float = 0.0,
    ) -> None:
        self.alpha = real("alpha", alpha, at_least=0, at_most=1)
        self.eps = real("eps", eps, at_least=0)
        self.momentum = real("momentum", momentum, at_least=0)
        self._state = ("square_avg", "momentum_buffer") if self.momentum else ("square_avg",)
        super().__init__(parameters, lr, weight_decay)

    def _update(self, row: Row) -> None:
        gradient, square = row.gradient(self.weight_decay), row.state["square_avg"]
        _mean_square(square, gradient, self.alpha, row.work)
        np.sqrt(square, out=row.work)
        row.work += self.eps
        np.divide(gradient, row.work, out=row.work)
        if self.momentum:
            buffer = row.state["momentum_buffer"]
            buffer *= self.momentum
            buffer += row.work
            np.multiply(buffer, self.lr, out=row.work)
        else:
            row.work *= self.lr


class AdaGrad(Optimizer):
    """Gradients divided by the root of the sum of all their squares so far.

    Parameters
    ----------
    parameters : iterable of Parameter
    lr : float, default 0.01
    lr_decay : float, default 0.0
        The rate of step t is lr / (1 + (t - 1) * lr_decay).
    weight_decay : float, default 0.0
    eps : float, default 1e-10
        Added to the root.

    Raises
    ------
    TypeError, ValueError
        Naming the argument, its value and the rule.

    Notes
    -----
    Duchi, Hazan & Singer, "Adaptive subgradient methods for online learning", JMLR 12 (2011).
    """

    _state = ("sum",)

    def __init__(
        self,
        parameters: Iterable[Parameter],
        lr: float = 0.01,
        lr_decay: float = 0.0,
        weight_decay: float = 0.0,
        eps: float = 1e-10,
    ) -> None:
        self.lr_decay = real("lr_decay", lr_decay, at_least=0)
        self.eps = real("eps", eps, at_least=0)
        super().__init__(parameters, lr, weight_decay)

    def _update(self, row: Row) -> None:
        gradient, total = row.gradient(self.weight_decay), row.state["sum"]
        np.multiply(gradient, gradient, out=row.work)
        total += row.work
        np.sqrt(total, out=row.work)
        row.work += self.eps
        np.divide(gradient, row.work, out=row.work)
        row.work *= self.lr / (1.0 + (self.steps - 1) * self.lr_decay)


class Adam(Optimizer):
    """A running mean of the gradient over the root of one of its square, both corrected for starting at zero.

    Parameters
    ----------
    parameters : iterable of Parameter
    lr : float, default 1e-3
    betas : (float, float), default (0.9, 0.999)
        Shares of the two running means that are kept.
    eps : float, default 1e-8
        Added to the root.
    weight_decay : float, default 0.0
        Added to the gradient, times the value.

    Raises
    ------
    TypeError, ValueError
        Naming the argument, its value and the rule.

    Notes
    -----
    Kingma & Ba, "Adam: a method for stochastic optimization", arXiv:1412.6980.

    Examples
    --------
    >>> import numpy as np
    >>> from fastconv import nn
    >>> weight = nn.Parameter(np.array([1.0]))
    >>> weight.add_grad(np.array([2.0]))
    >>> nn.Adam([weight], lr=0.1).step()
    >>> weight.value.round(6)
    array([0.9])
    """

    _state = ("exp_avg", "exp_avg_sq")

    def __init__(
        self,
        parameters: Iterable[Parameter],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
    ) -> None:
        if not isinstance(betas, (tuple, list)) or len(betas) != 2:
            raise TypeError(f"betas={betas!r}: must be two numbers")
        self.betas = (
            real("betas[0]", betas[0], at_least=0, below=1),
            real("betas[1]", betas[1], at_least=0, below=1),
        )
        self.eps = real("eps", eps, at_least=0)
        super().__init__(parameters, lr, weight_decay)

    def _before_step(self) -> None:
        self._mean_correction = 1.0 - self.betas[0] ** self.steps
        self._root_correction = math.sqrt(1.0 - self.betas[1] ** self.steps)

    def _update(self, row: Row) -> None:
        self._moment_step(row, row.gradient(self.weight_decay))

    def _moment_step(self, row: Row, gradient: np.ndarray) -> None:
        mean, square = row.state["exp_avg"], row.state["exp_avg_sq"]
        _mean_square(square, gradient, self.betas[1], row.work)
        mean *= self.betas[0]
        gradient *= 1.0 - self.betas[0]
        mean += gradient
        np.sqrt(square, out=row.work)
        row.work /= self._root_correction
        row.work += self.eps
        np.divide(mean, row.work, out=row.work)
        row.work *= self.lr / self._mean_correction


class AdamW(Adam):
    """`Adam` whose weight decay shrinks the values themselves, by lr * weight_decay, not the gradient.

    Parameters
    ----------
    parameters, lr, betas, eps
        As `Adam`.
    weight_decay : float, default 0.01

    Raises
    ------
    TypeError, ValueError
        Naming the argument, its value and the rule.

    Notes
    -----
    Loshchilov & Hutter, "Decoupled weight decay regularization", arXiv:1711.05101.
    """

    def __init__(
        self,
        parameters: Iterable[Parameter],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.01,
    ) -> None:
        super().__init__(parameters, lr, betas, eps, weight_decay)

    def _update(self, row: Row) -> None:
        if self.weight_decay:
            for value in row.values:
                value *= 1.0 - self.lr * self.weight_decay
        self._moment_step(row, row.gradient(0.0))


def _mean_square(square: np.ndarray, gradient: np.ndarray, kept: float, work: np.ndarray) -> None:
    """Move the running mean `square` towards gradient ** 2."""
    np.multiply(gradient, gradient, out=work)
    work *= 1.0 - kept
    square *= kept
    square += work
