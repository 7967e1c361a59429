"""Nets: layers, losses, optimizers, training, and what shows whether it all works.

`y = net(x)` is inference. `y, backprop = net.vjp(x)` is training: `backprop(grad_y)` adds into the `grad` of
every parameter and returns the gradient of x; `net.vjp(x, training=False)` is the gradient of inference, and
changes nothing. A layer is a function with parameters; it keeps nothing else between calls (but the running
statistics of batch norm and the generator of dropout), so one layer may stand twice in a net and one net may
run on several threads. It may take several arrays, and return a tuple of several.

| module | question it answers |
|---|---|
| `layers` | what can a net be made of? |
| `losses` | how wrong is a prediction? |
| `optimizer`, `optim`, `schedules`, `nudge` | how do parameters learn? |
| `training`, `examples`, `checkpoint` | how are they shown the examples, and how does that go on later? |
| `evaluation` | what does a net make of examples? |
| `init` | where do they start? |
| `serialize`, `archive` | how is a net kept in a file? |
| `summary`, `profile`, `gradcheck` | what is in a net, where does its time go, are its gradients right? |
"""

from fastconv.nn import init
from fastconv.nn.clipping import clip_grad_norm
from fastconv.nn.evaluation import evaluate, predict
from fastconv.nn.gradcheck import GradcheckReport, Kink, gradcheck
from fastconv.nn.history import History
from fastconv.nn.layers import *  # noqa: F403
from fastconv.nn.layers import __all__ as _layers
from fastconv.nn.losses import *  # noqa: F403
from fastconv.nn.losses import __all__ as _losses
from fastconv.nn.nudge import Nudge, NudgeCost
from fastconv.nn.optim import SGD, AdaGrad, Adam, AdamW, RMSProp
from fastconv.nn.optimizer import Optimizer
from fastconv.nn.parameter import Buffer, Parameter
from fastconv.nn.profile import Profile, profile
from fastconv.nn.schedules import CosineLR, ExponentialLR, PerStep, ReduceLROnPlateau, StepLR, WarmupLR
from fastconv.nn.serialize import load, save
from fastconv.nn.summary import Summary, summary
from fastconv.nn.training import TrainingState, fit

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
    "PerStep",
    "Profile",
    "RMSProp",
    "ReduceLROnPlateau",
    "StepLR",
    "Summary",
    "TrainingState",
    "WarmupLR",
    "clip_grad_norm",
    "evaluate",
    "fit",
    "gradcheck",
    "init",
    "load",
    "predict",
    "profile",
    "save",
    "summary",
    *_layers,
    *_losses,
]
