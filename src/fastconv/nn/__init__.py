"""Nets: layers, losses, optimizers, training, and what shows whether it all works.

`y = net(x)` is inference. `y, backprop = net.vjp(x)` is training: `backprop(grad_y)` adds into the `grad` of
every parameter and returns the gradient of x; `net.vjp(x, training=False)` is the gradient of inference, and
changes nothing. A layer is a function with parameters; it keeps nothing else
between calls (but the running statistics of batch norm and the generator of dropout), so one layer may stand
twice in a net and one net may run on several threads.

| module | question it answers |
|---|---|
| `layers` | what can a net be made of? |
| `losses` | how wrong is a prediction? |
| `optimizer`, `optim`, `schedules`, `nudge` | how do parameters learn? |
| `training` | how are they shown the examples? |
| `init` | where do they start? |
| `serialize`, `archive` | how is a net kept in a file? |
| `summary`, `gradcheck` | what is in a net, and are its gradients right? |
"""

from fastconv.nn import init
from fastconv.nn.gradcheck import GradcheckReport, Kink, gradcheck
from fastconv.nn.layers import *  # noqa: F403
from fastconv.nn.layers import __all__ as _layers
from fastconv.nn.losses import *  # noqa: F403
from fastconv.nn.losses import __all__ as _losses
from fastconv.nn.nudge import Nudge, NudgeCost
from fastconv.nn.optim import SGD, AdaGrad, Adam, AdamW, RMSProp
from fastconv.nn.optimizer import Optimizer
from fastconv.nn.parameter import Buffer, Parameter
from fastconv.nn.schedules import CosineLR, ExponentialLR, ReduceLROnPlateau, StepLR, WarmupLR
from fastconv.nn.serialize import load, save
from fastconv.nn.summary import Summary, summary
from fastconv.nn.training import History, evaluate, fit

__all__ = [
    "SGD",
    "AdaGrad",
    "Adam",
    "AdamW",
    "Buffer",
    "CosineLR",
    "ExponentialLR",
    "GradcheckReport",
    "History",
    "Kink",
    "Nudge",
    "NudgeCost",
    "Optimizer",
    "Parameter",
    "RMSProp",
    "ReduceLROnPlateau",
    "StepLR",
    "Summary",
    "WarmupLR",
    "evaluate",
    "fit",
    "gradcheck",
    "init",
    "load",
    "save",
    "summary",
    *_layers,
    *_losses,
]
