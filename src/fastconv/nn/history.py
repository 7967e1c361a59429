"""The record of a training."""

from __future__ import annotations

from dataclasses import dataclass, field

#: What is noted once per epoch.
COLUMNS = ("loss", "accuracy", "validation_loss", "validation_accuracy", "seconds", "lr")


@dataclass
class History:
    """What `fit` saw, one entry per epoch.

    Attributes
    ----------
    loss, accuracy : list of float
        Over the training data, as the batches went by. `accuracy` is a share from 0 to 1 of the examples that
        have a label, and stays empty for a loss that does not choose among classes. `loss` is what the loss
        gives for all the examples together: a weighted mean is weighted over the whole epoch.
    validation_loss, validation_accuracy : list of float
        Over the validation data after the epoch; empty without them.
    seconds, lr : list of float
        How long the epoch took, and the learning rate of its last step.
    best_epoch : int or None
        The epoch (from 0) whose parameters the net has now; None unless `patience` was given.
    stopped_early : bool
        Patience ran out or a callback asked to stop, before the last epoch.
    """

    loss: list[float] = field(default_factory=list)
    accuracy: list[float] = field(default_factory=list)
    validation_loss: list[float] = field(default_factory=list)
    validation_accuracy: list[float] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    lr: list[float] = field(default_factory=list)
    best_epoch: int | None = None
    stopped_early: bool = False

    def __len__(self) -> int:
        return len(self.loss)

    def note(self, loss: float, accuracy: float | None) -> None:
        """Record an epoch's training loss and, if there is one, accuracy."""
        self.loss.append(loss)
        if accuracy is not None:
            self.accuracy.append(accuracy)

    def note_validation(self, loss: float, accuracy: float | None) -> None:
        """Record an epoch's validation loss and, if there is one, accuracy."""
        self.validation_loss.append(loss)
        if accuracy is not None:
            self.validation_accuracy.append(accuracy)

    def line(self) -> str:
        """The last epoch in one line."""
        text = f"loss {self.loss[-1]:.4g}"
        if self.accuracy:
            text += f", {self.accuracy[-1]:.1%} right"
        if self.validation_loss:
            text += f"; validation {self.validation_loss[-1]:.4g}"
        if self.validation_accuracy:
            text += f", {self.validation_accuracy[-1]:.1%} right"
        return text
