"""`Layer.replaced`: another layer in one place of a net, all the rest shared with the net as it was."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest

from fastconv import nn

X = np.random.default_rng(0).standard_normal((6, 1, 6, 6), np.float32)


class Named(nn.Layer):
    """Layers as attributes and in a dict of lists."""

    def __init__(self) -> None:
        self.features = nn.Sequential(nn.Conv2d(1, 4, 3, rng=0), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten())
        self.heads = {"x": [nn.Linear(16, 3, rng=1), nn.Tanh()], "y": [nn.Linear(16, 3, rng=2)]}

    def __call__(self, input: np.ndarray) -> np.ndarray:
        total = features = self.features(input)
        for name, head in self.heads.items():
            end = features
            for layer in head:
                end = layer(end)
            total = end if name == "x" else total + end
        return total


def picture_net() -> nn.Sequential:
    body = nn.Sequential(nn.Conv2d(1, 4, 3, padding=1, rng=0), nn.ReLU(), nn.MaxPool2d(2))
    return nn.Sequential(
        body,
        nn.Residual(nn.Conv2d(4, 4, 1, rng=1), shortcut=nn.Identity()),
        nn.Flatten(),
        nn.Linear(36, 10, rng=2),
    )


@pytest.mark.parametrize(
    ("make", "path", "place", "layer"),
    [
        (picture_net, -1, "3", nn.Linear(36, 2, rng=5)),
        (picture_net, 0, "0", nn.MaxPool2d(2)),
        (picture_net, "3", "3", nn.Linear(36, 2, rng=5)),
        (picture_net, "0.0", "0.0", nn.Conv2d(1, 4, 5, padding=2, rng=5)),
        (picture_net, "0.1", "0.1", nn.Tanh()),
        (picture_net, "1.0", "1.0", nn.Conv2d(4, 4, 3, padding=1, rng=5)),
        (picture_net, "1.shortcut", "1.shortcut", nn.Conv2d(4, 4, 1, rng=5)),
        (Named, "features.0", "features.0", nn.Conv2d(1, 4, 3, rng=5)),
        (Named, "heads.x.0", "heads.x.0", nn.Linear(16, 3, rng=5)),
        (Named, "heads.y.0", "heads.y.0", nn.Linear(16, 3, rng=5)),
    ],
)
def test_one_layer_is_another_and_the_rest_is_shared(make, path, place, layer) -> None:
    """The old net gives the same bits as before; activations fused into the layer in front follow."""
    net: nn.Layer = make()
    before, output, paths = net.state_dict(), net(X), [p for p, _ in net.walk()]
    new = net.replaced(path, layer)
    assert type(new) is type(net)
    found, old = dict(new.walk()), dict(net.walk())
    assert found[f"{place}."] is layer
    changed = {p for p in old if f"{place}.".startswith(p)}
    assert all(found[p] is old[p] for p in old if p not in changed and not p.startswith(f"{place}."))
    assert all(found[p] is not old[p] for p in changed)
    assert [p for p, _ in net.walk()] == paths
    assert list(net.state_dict()) == list(before)
    np.testing.assert_array_equal(net(X), output)
    for name, parameter in new.named_parameters().items():
        shared = not name.startswith(f"{place}.")
        assert (net.named_parameters().get(name) is parameter) == shared


def test_the_new_net_computes_with_the_new_layer() -> None:
    """As one that was made with it, also where an activation was fused into what is replaced."""
    net = picture_net()
    conv = nn.Conv2d(1, 4, 5, padding=2, rng=5)
    made = nn.Sequential(nn.Sequential(conv, net[0][1], net[0][2]), *net[1:])
    for found in (
        net.replaced("0.0", conv),
        net.replaced(0, nn.Sequential(conv, nn.ReLU(), nn.MaxPool2d(2))),
    ):
        np.testing.assert_array_equal(found(X), made(X))
        np.testing.assert_array_equal(found.prepare()(X), made(X))
    assert nn.gradcheck(net.replaced("0.1", nn.Tanh()), X, limit=20)


def test_a_head_is_trained_and_the_old_net_stays() -> None:
    """Fine-tuning in words: a new head, an optimizer of it alone; then the whole of it is shared."""
    net, y = picture_net(), np.arange(6) % 2
    tuned = net.replaced(-1, nn.Linear(36, 2, rng=3))
    before = net.state_dict()
    options = {"loss": nn.CrossEntropyLoss(), "epochs": 3, "rng": 0, "progress": False}
    history = nn.fit(tuned, X, y, optimizer=nn.Adam(tuned[-1].parameters(), 0.05), **options)
    assert history.loss[-1] < history.loss[0]
    assert all((value == before[name]).all() for name, value in net.state_dict().items())
    nn.fit(tuned, X, y, optimizer=nn.SGD(tuned.parameters(), 0.05), **options)
    assert (net[0][0].weight.value != before["0.0.weight"]).any()
    file = io.BytesIO()
    nn.save(tuned, file)
    file.seek(0)
    np.testing.assert_array_equal(nn.load(file)(X), tuned(X))


def test_a_layer_in_two_places_is_replaced_in_one() -> None:
    shared = nn.Linear(3, 3, rng=0)
    net = nn.Sequential(shared, nn.Tanh(), shared)
    new = net.replaced(-1, nn.Linear(3, 2, rng=1))
    assert new[0] is shared
    assert new[2] is not shared
    assert net[2] is shared


@pytest.mark.parametrize(
    ("path", "layer", "error", "message"),
    [
        (4, nn.ReLU(), ValueError, "path=4: Sequential has 4 layers"),
        (-5, nn.ReLU(), ValueError, "path=-5: Sequential has 4 layers"),
        ("head", nn.ReLU(), ValueError, "path='head': no layer is there, but at 0, 1, 2, 3"),
        ("0.7", nn.ReLU(), ValueError, "path='0.7': path='7': no layer is there, but at 0, 1, 2"),
        ("0.0.weight", nn.ReLU(), ValueError, "path='weight': no layer is there, but at no path"),
        ("", nn.ReLU(), ValueError, "path='': no layer is there"),
        (True, nn.ReLU(), TypeError, "path=True: must be a position or a path"),
        (1.0, nn.ReLU(), TypeError, "path=1.0: must be a position or a path"),
        (-1, nn.ReLU, TypeError, "layer: must be a layer, not type"),
    ],
)
def test_places_that_are_none_are_refused(path: Any, layer: Any, error, message: str) -> None:
    with pytest.raises(error, match=message):
        picture_net().replaced(path, layer)


def test_layers_of_ones_own_have_names_not_numbers() -> None:
    with pytest.raises(ValueError, match="path=-1: Named does not number its layers; give a name"):
        Named().replaced(-1, nn.ReLU())
