"""ConvNets as scikit-learn estimators: in pipelines, grid searches and cross-validation.

Images are rows of a 2-D X, as everywhere in scikit-learn, and `image_shape` says what a row is. Training is
`fastconv.nn.fit`, with Adam and a learning rate that falls along half a cosine.

Source: https://scikit-learn.org/stable/developers/develop.html.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from fastconv import nn
from fastconv.geometry import whole_number
from fastconv.geometry.numbers import integer
from fastconv.interop import missing

try:
    from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin, TransformerMixin
    from sklearn.utils import check_random_state
    from sklearn.utils.multiclass import check_classification_targets, type_of_target
    from sklearn.utils.validation import (
        _check_sample_weight,
        check_is_fitted,
        column_or_1d,
        validate_data,
    )
except ImportError as error:
    raise missing("sklearn", error) from error

__all__ = ["ConvNetClassifier", "ConvNetRegressor", "ConvNetTransformer"]

#: Makes a net: (shape of an image with channels first, outputs, generator) to a layer.
Build = Callable[[tuple[int, ...], int, np.random.Generator], nn.Layer]

_CONV = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}
_POOL = {1: nn.MaxPool1d, 2: nn.MaxPool2d, 3: nn.MaxPool3d}


def _default_net(
    shape: tuple[int, ...], outputs: int, rng: np.random.Generator, channels: int
) -> nn.Sequential:
    """Two rounds of two 3-wide convolutions and a pool, with twice the channels in the second; then votes."""
    rank, size, features = len(shape) - 1, shape[1:], shape[0]
    layers: list[nn.Layer] = []
    for width in (channels, 2 * channels):
        for _ in range(2):
            layers.append(_CONV[rank](features, width, 3, padding=1, activation="relu", rng=rng))
            features = width
        window = tuple(2 if axis >= 4 else 1 for axis in size)
        if max(window) > 1:
            layers.append(_POOL[rank](window))
            size = tuple(axis // w for axis, w in zip(size, window))
    layers += [nn.Flatten(), nn.Dropout(0.25, rng=rng)]
    return nn.Sequential(*layers, nn.Linear(features * math.prod(size), outputs, rng=rng))


class _ConvNet(BaseEstimator):
    """What the estimators have in common: images out of rows, a net, and its training."""

    def __init__(
        self,
        image_shape: tuple[int, ...] | None = None,
        *,
        net: Build | None = None,
        channels: int = 32,
        epochs: int = 30,
        batch_size: int = 32,
        learning_rate: float = 2e-3,
        weight_decay: float = 0.0,
        warm_start: bool = False,
        random_state: Any = None,
        verbose: bool = False,
    ) -> None:
        self.image_shape = image_shape
        self.net = net
        self.channels = channels
        self.epochs = epochs
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.weight_decay = weight_decay
        self.warm_start = warm_start
        self.random_state = random_state
        self.verbose = verbose

    # ---- rows and images -----------------------------------------------------------------------------

    def _shape(self, features: int) -> tuple[int, ...]:
        """Channels and size of an image, of which a row holds this many values."""
        if self.image_shape is None:
            return (1, features)
        given = self.image_shape
        if not isinstance(given, (tuple, list)):
            raise ValueError(f"image_shape={given!r}: must be a tuple of positive integers")
        shape = tuple(whole_number("image_shape", n, 1) for n in given)
        if len(shape) not in (1, 2, 3, 4):
            raise ValueError(f"image_shape={given!r}: must be (W,), (H, W), (C, H, W) or (C, D, H, W)")
        if math.prod(shape) != features:
            raise ValueError(
                f"image_shape={given!r}: has {math.prod(shape)} values, but X has {features} features"
            )
        return shape if len(shape) > 2 else (1, *shape)

    def _images(self, X: np.ndarray) -> np.ndarray:
        """Rows as images, with the mean and deviation of the examples learned from taken out."""
        images: np.ndarray = (X - np.float32(self.mean_)) / np.float32(self.scale_)
        return images.reshape(len(X), *self._shape(X.shape[1]))

    def _checked(self, X: Any) -> np.ndarray:
        check_is_fitted(self)
        return validate_data(self, X, dtype=np.float32, order="C", reset=False)  # type: ignore[no-any-return]

    def _outputs(self, X: Any) -> np.ndarray:
        X = self._checked(X)
        outputs: np.ndarray = nn.predict(self.net_, self._images(X))
        return outputs.astype(np.float64)

    # ---- learning ------------------------------------------------------------------------------------

    def _start(self, X: np.ndarray, outputs: int) -> None:
        """A new net, and what its training carries from one call to the next."""
        shape = self._shape(X.shape[1])
        seed = check_random_state(self.random_state).randint(np.iinfo(np.int32).max)
        self._rng = np.random.default_rng(seed)
        self.mean_, self.scale_ = float(X.mean(dtype=np.float64)), float(X.std(dtype=np.float64)) or 1.0
        if self.net is None:
            self.net_: nn.Layer = _default_net(shape, outputs, self._rng, self.channels)
        else:
            self.net_ = self.net(shape, outputs, self._rng)
        self._optimizer = nn.Adam(
            self.net_.parameters(), lr=self.learning_rate, weight_decay=self.weight_decay
        )
        self.history_: list[float] = []

    def _learn(
        self, X: np.ndarray, y: np.ndarray, loss: nn.Loss, epochs: int, sample_weight: Any, falling: bool
    ) -> None:
        weight = None
        if sample_weight is not None:
            weight = _check_sample_weight(sample_weight, X, dtype=np.float32, ensure_non_negative=True)
        self._optimizer.lr = self.learning_rate
        history = nn.fit(
            self.net_,
            self._images(X),
            y,
            loss=loss,
            optimizer=self._optimizer,
            epochs=epochs,
            batch_size=self.batch_size,
            sample_weight=weight,
            schedule=nn.CosineLR(self.learning_rate, epochs) if falling else None,
            rng=self._rng,
            progress=None if self.verbose else False,
        )
        self.history_ += history.loss

    def _train(self, X: Any, y: Any, sample_weight: Any, epochs: int | None, classes: Any = None) -> Any:
        """`fit`, where epochs are given, or one more epoch of `partial_fit`."""
        starts = not hasattr(self, "net_") or (epochs is not None and not self.warm_start)
        X, y = validate_data(
            self, X, y, dtype=np.float32, order="C", reset=starts, multi_output=True, y_numeric=False
        )
        targets, outputs, loss = self._targets(y, starts, classes)
        if starts:
            self._start(X, outputs)
        self._learn(X, targets, loss, epochs or 1, sample_weight, epochs is not None)
        return self

    def _targets(self, y: np.ndarray, starts: bool, classes: Any) -> tuple[np.ndarray, int, nn.Loss]:
        """What the net learns for these targets, how many outputs it needs, and the loss."""
        raise NotImplementedError

    def _label_targets(self, y: np.ndarray, starts: bool, classes: Any) -> tuple[np.ndarray, int, nn.Loss]:
        """Labels as numbers from 0."""
        y = column_or_1d(y, warn=True)
        check_classification_targets(y)
        if starts:
            self.classes_ = np.unique(y if classes is None else classes)
        labels = np.searchsorted(self.classes_, y).clip(max=len(self.classes_) - 1)
        unknown = self.classes_[labels] != y
        if unknown.any():
            label, known = y[unknown][:1].tolist()[0], self.classes_.tolist()
            raise ValueError(f"y: label {label!r} is none of the classes {known} of the first call")
        return labels, len(self.classes_), nn.CrossEntropyLoss()

    def _number_targets(self, y: np.ndarray, starts: bool) -> tuple[np.ndarray, int, nn.Loss]:
        """Numbers with mean 0 and deviation 1."""
        y = np.asarray(y, np.float64)
        if starts:
            self._one_target = y.ndim == 1
            self._target_mean = y.mean(axis=0)
            self._target_scale = np.where(y.std(axis=0) > 0, y.std(axis=0), 1.0)
        if y.shape[1:] != self._target_mean.shape:
            raise ValueError(
                f"y: shape {y.shape} must end in {self._target_mean.shape}, as in the first call"
            )
        targets = ((y - self._target_mean) / self._target_scale).astype(np.float32).reshape(len(y), -1)
        return targets, targets.shape[1], nn.MSELoss()

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Any:
        """Learn from images and their targets.

        Parameters
        ----------
        X : array-like, shape (N, features)
            A row is an image of `image_shape`.
        y : array-like, shape (N,)
            Labels, or numbers; of a regressor also (N, outputs).
        sample_weight : array-like, shape (N,), optional
            What each example counts in the loss.

        Returns
        -------
        self

        Raises
        ------
        ValueError, TypeError
            Naming the argument, its value and the rule.
        """
        return self._train(X, y, sample_weight, whole_number("epochs", self.epochs, 1))


class ConvNetClassifier(ClassifierMixin, _ConvNet):
    """Classifies images by a ConvNet.

    Parameters
    ----------
    image_shape : tuple of int, optional
        What a row of X is: (W,), (H, W), (C, H, W) or (C, D, H, W). Without it a signal of one channel.
    net : function, optional
        `net((C, *spatial), outputs, rng)` returns the layer to train, such as an `nn.Sequential`. Without it
        two rounds of two convolutions and a max-pool, dropout, and a fully connected layer.
    channels : int, default 32
        Features of the first convolutions of that net.
    epochs, batch_size, learning_rate, weight_decay
        Of the training, by Adam; in `fit` the learning rate falls along half a cosine.
    warm_start : bool, default False
        Whether `fit` goes on with the net that is there.
    random_state : int, RandomState instance or None
        Starting values, shuffling and dropout; an int gives the same bits again, at any number of threads.
    verbose : bool, default False
        Show the progress.

    Attributes
    ----------
    net_ : nn.Layer
    classes_ : ndarray
    n_features_in_ : int
    history_ : list of float
        The loss of every epoch.
    mean_, scale_ : float
        Of all values of the first X; they are taken out of every image.

    Notes
    -----
    Kingma & Ba, arXiv:1412.6980, for Adam; Loshchilov & Hutter, arXiv:1608.03983, for the cosine.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from fastconv.interop.sklearn import ConvNetClassifier
    >>> X, y = load_digits(return_X_y=True)
    >>> model = ConvNetClassifier((8, 8), channels=8, epochs=4, random_state=0).fit(X[:1000], y[:1000])
    >>> model.score(X[1000:], y[1000:]) > 0.85
    True
    """

    def _targets(self, y: np.ndarray, starts: bool, classes: Any) -> tuple[np.ndarray, int, nn.Loss]:
        return self._label_targets(y, starts, classes)

    def partial_fit(self, X: Any, y: Any, classes: Any = None, sample_weight: Any = None) -> Any:
        """One epoch more, at the full learning rate; the first call starts a net.

        Parameters
        ----------
        X, y, sample_weight
            As `fit`.
        classes : array-like, optional
            All labels there will be, where the first y does not have them all.

        Returns
        -------
        self

        Raises
        ------
        ValueError, TypeError
            Naming the argument, its value and the rule.
        """
        return self._train(X, y, sample_weight, None, classes)

    def predict_proba(self, X: Any) -> np.ndarray:
        """Probabilities of the classes, (N, classes), in the order of `classes_`."""
        votes = self._outputs(X)
        shares = np.exp(votes - votes.max(axis=1, keepdims=True))
        probabilities: np.ndarray = shares / shares.sum(axis=1, keepdims=True)
        return probabilities

    def predict(self, X: Any) -> np.ndarray:
        """The class with most votes, (N,)."""
        places = self._outputs(X).argmax(axis=1)
        chosen: np.ndarray = self.classes_[places]
        return chosen


class ConvNetRegressor(RegressorMixin, _ConvNet):
    """Tells numbers from images by a ConvNet; parameters and attributes as `ConvNetClassifier`.

    Targets may be (N,) or (N, outputs); the net learns them with mean 0 and deviation 1.

    Examples
    --------
    >>> import numpy as np
    >>> from fastconv.interop.sklearn import ConvNetRegressor
    >>> X = np.random.default_rng(0).normal(size=(200, 36))
    >>> model = ConvNetRegressor((6, 6), channels=8, epochs=40, random_state=0).fit(X, X.sum(axis=1))
    >>> model.score(X, X.sum(axis=1)) > 0.5
    True
    """

    def _targets(self, y: np.ndarray, starts: bool, classes: Any) -> tuple[np.ndarray, int, nn.Loss]:
        return self._number_targets(y, starts)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.single_output, tags.target_tags.multi_output = True, True
        return tags

    def partial_fit(self, X: Any, y: Any, sample_weight: Any = None) -> Any:
        """One epoch more, at the full learning rate; the first call starts a net. Arguments as `fit`."""
        return self._train(X, y, sample_weight, None)

    def predict(self, X: Any) -> np.ndarray:
        """The numbers, in the shape of the y learned from."""
        outputs = self._outputs(X)
        if self._one_target:
            outputs = outputs[:, 0]
        numbers: np.ndarray = outputs * self._target_scale + self._target_mean
        return numbers


class ConvNetTransformer(TransformerMixin, _ConvNet):
    """Features of images: what a layer of a trained ConvNet makes of them, one row per image.

    Trained for labels, or for numbers where y has them. Parameters and attributes as `ConvNetClassifier`,
    and:

    Parameters
    ----------
    layer : int, default -1
        The layer of the net, by its position, whose input is the features: -1, the last, has what the votes
        are made of. The net must be an `nn.Sequential`.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from sklearn.linear_model import LogisticRegression
    >>> from sklearn.pipeline import make_pipeline
    >>> from fastconv.interop.sklearn import ConvNetTransformer
    >>> X, y = load_digits(return_X_y=True)
    >>> features = ConvNetTransformer((8, 8), channels=4, epochs=2, random_state=0)
    >>> model = make_pipeline(features, LogisticRegression(max_iter=500)).fit(X[:500], y[:500])
    >>> features.transform(X[:3]).shape
    (3, 32)
    """

    def __init__(
        self,
        image_shape: tuple[int, ...] | None = None,
        *,
        layer: int = -1,
        net: Build | None = None,
        channels: int = 32,
        epochs: int = 30,
        batch_size: int = 32,
        learning_rate: float = 2e-3,
        weight_decay: float = 0.0,
        warm_start: bool = False,
        random_state: Any = None,
        verbose: bool = False,
    ) -> None:
        super().__init__(
            image_shape,
            net=net,
            channels=channels,
            epochs=epochs,
            batch_size=batch_size,
            learning_rate=learning_rate,
            weight_decay=weight_decay,
            warm_start=warm_start,
            random_state=random_state,
            verbose=verbose,
        )
        self.layer = layer

    def _targets(self, y: np.ndarray, starts: bool, classes: Any) -> tuple[np.ndarray, int, nn.Loss]:
        if starts:
            self._of_numbers = type_of_target(y).startswith("continuous")
        return self._number_targets(y, starts) if self._of_numbers else self._label_targets(y, starts, None)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.required = True
        tags.transformer_tags.preserves_dtype = []
        return tags

    def transform(self, X: Any) -> np.ndarray:
        """The features of images, (N, features), float32."""
        X = self._checked(X)
        net = self.net_
        if not isinstance(net, nn.Sequential):
            raise ValueError(f"net: must make an nn.Sequential, not {type(net).__name__}")
        if not -len(net) <= integer("layer", self.layer) < len(net):
            raise ValueError(f"layer={self.layer!r}: must be a position in a net of {len(net)} layers")
        features: np.ndarray = nn.predict(net[: self.layer], self._images(X))
        return features.reshape(len(X), -1)
