"""Embedding: rows of a table by number, learned by the places that read them."""

from __future__ import annotations

import io
import pickle
from typing import Any

import numpy as np
import pytest

from fastconv import nn

WORDS = np.random.default_rng(0).integers(0, 12, (5, 7))


def layer(padding: int | None = None, dtype: Any = np.float64) -> nn.Embedding:
    return nn.Embedding(12, 4, padding, rng=0, dtype=dtype)


def net(dtype: Any = np.float32) -> nn.Sequential:
    return nn.Sequential(
        layer(0, dtype),
        nn.Conv1d(4, 3, 3, rng=0, dtype=dtype),
        nn.ReLU(),
        nn.GlobalMaxPool(),
        nn.Flatten(),
        nn.Linear(3, 2, rng=1, dtype=dtype),
    )


@pytest.mark.parametrize("kind", [np.int64, np.int32, np.uint8])
def test_every_number_becomes_its_row(kind: type) -> None:
    """Rows are channels, whatever integers number them."""
    made = layer(3)
    found = made(WORDS.astype(kind))
    assert found.shape == made.output_shape(WORDS.shape) == (5, 4, 7)
    for (n, place), word in np.ndenumerate(WORDS):
        np.testing.assert_array_equal(found[n, :, place], made.weight.value[word])
    assert not made.weight.value[3].any()
    assert made(WORDS[:0]).shape == (0, 4, 7)


def test_it_is_a_convolution_over_a_grid_of_words() -> None:
    """A table is a kernel of one position, as high as the dictionary."""
    made, grid = layer(), np.zeros((5, 12, 7))
    n, place = np.indices(WORDS.shape)
    grid[n, WORDS, place] = 1
    same = nn.Conv1d(12, 4, 1, bias=False, dtype=np.float64)
    same.weight.value = made.weight.value.T[:, :, None]
    (y, backprop), (expected, other) = made.vjp(WORDS), same.vjp(grid)
    np.testing.assert_allclose(y, expected)
    gradient = np.random.default_rng(1).standard_normal(y.shape)
    assert backprop(gradient) is None
    other(gradient)
    np.testing.assert_allclose(made.weight.grad, same.weight.grad[:, :, 0].T, atol=1e-14)
    backprop(gradient)  # adds
    np.testing.assert_allclose(made.weight.grad, 2 * same.weight.grad[:, :, 0].T, atol=1e-14)


def test_gradients() -> None:
    """Against central differences, alone and in front of others."""
    alone = nn.gradcheck(layer(), (WORDS,))
    assert alone, str(alone)
    inside = nn.gradcheck(nn.Sequential(layer(), *net(np.float64)[1:]), (WORDS,))
    assert inside, str(inside)
    with pytest.raises(TypeError, match="nothing to move"):
        nn.gradcheck(layer(), (WORDS,), training=False)


def test_what_stands_for_no_word_does_not_learn() -> None:
    made = layer(2)
    y, backprop = made.vjp(WORDS)
    backprop(np.ones_like(y))
    assert not made.weight.grad[2].any()
    counts = np.bincount(WORDS.ravel(), minlength=12)
    counts[2] = 0
    np.testing.assert_array_equal(made.weight.grad, np.repeat(counts[:, None], 4, 1))


def test_the_gradient_of_inference_adds_nothing() -> None:
    made = layer()
    y, backprop = made.vjp(WORDS, training=False)
    assert backprop(np.ones_like(y)) is None
    assert not made.weight.grad.any()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_prepared(dtype: Any) -> None:
    """As a graph, the same to the bit; with the same errors."""
    made = net(dtype)
    prepared = made.prepare(WORDS.shape)
    assert "_graph" in vars(prepared._net)
    for words in (WORDS, WORDS.astype(np.int32), WORDS[:1], np.asfortranarray(WORDS)):
        np.testing.assert_array_equal(prepared(words), made(words))
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(prepared))(WORDS), made(WORDS))
    for bad in (WORDS - 1, WORDS + 1, WORDS.astype(dtype)):
        with pytest.raises((IndexError, TypeError)) as expected:
            made(bad)
        with pytest.raises(type(expected.value)) as found:
            prepared(bad)
        assert str(found.value) == str(expected.value)


def test_it_is_kept_in_a_file_and_told_in_a_table() -> None:
    made, file = net(), io.BytesIO()
    nn.save(made, file)
    file.seek(0)
    again = nn.load(file)
    assert repr(again) == repr(made)
    np.testing.assert_array_equal(again(WORDS), made(WORDS))
    other = net()
    other[0].weight.value += 1
    other.load_state_dict(made.state_dict())
    np.testing.assert_array_equal(other(WORDS), made(WORDS))
    rows = nn.summary(made, WORDS.shape).rows
    assert (rows[1].output_shape, rows[1].parameters, rows[1].flops) == ((5, 4, 7), 48, 0)
    assert repr(made[0]) == "Embedding(num_embeddings=12, embedding_dim=4, padding_index=0)"
    assert made.astype(np.float64)[0].dtype == np.float64


def test_it_learns_which_words_there_are() -> None:
    """Two classes by one word, whose row must find out."""
    rng = np.random.default_rng(0)
    words, made = rng.integers(2, 12, (200, 6)), net()
    labels = np.arange(200) % 2
    words[words == 5] = 6
    words[labels == 1, rng.integers(0, 6, 100)] = 5
    nn.fit(
        made,
        words,
        labels,
        loss=nn.CrossEntropyLoss(),
        optimizer=nn.Adam(made.parameters(), 0.02),
        epochs=15,
        rng=0,
        progress=False,
    )
    votes = nn.predict(made, words)
    assert (votes.argmax(1) == labels).mean() > 0.98
    # alone or as a tuple of one, in one piece or in batches, prepared or not
    np.testing.assert_array_equal(nn.predict(made, (words,)), votes)
    np.testing.assert_array_equal(nn.predict(made.prepare(), words, 64), votes)
    np.testing.assert_array_equal(np.concatenate(list(nn.predict(made, iter(np.split(words, 4))))), votes)
    _, accuracy = nn.evaluate(made, words, labels, loss=nn.CrossEntropyLoss())
    assert accuracy == (votes.argmax(1) == labels).mean()
    with pytest.raises(TypeError, match="dtype float32 must be one of integers"):
        nn.predict(made, words.astype(np.float32))


@pytest.mark.parametrize(
    ("words", "error", "message"),
    [
        (np.array([[0, 1], [12, 3]]), IndexError, r"input\[1, 0\] is 12: must be from 0 to 11"),
        (np.array([[0, -1]]), IndexError, r"input\[0, 1\] is -1: must be from 0 to 11"),
        (np.array([[2**63]], np.uint64), IndexError, r"input\[0, 0\] is 9223372036854775808"),
        (np.zeros((1, 2)), TypeError, "input: dtype float64 must be one of integers"),
        (np.zeros((1, 2), bool), TypeError, "input: dtype bool must be one of integers"),
        (np.zeros(3, int), ValueError, r"input: shape \(3,\) must be \(N, L\)"),
        ([[1, 2]], TypeError, "input"),
    ],
)
def test_bad_numbers(words: Any, error: type[Exception], message: str) -> None:
    """Each names place, value and rule."""
    with pytest.raises(error, match=message):
        layer()(words)
    with pytest.raises(error, match=message):
        layer().vjp(words)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((0, 4), "num_embeddings=0"),
        ((4, 0), "embedding_dim=0"),
        ((4, 4, 4), "padding_index=4: must be below num_embeddings=4"),
        ((4, 4, -1), "padding_index=-1"),
        ((4.5, 4), "num_embeddings=4.5"),
    ],
)
def test_bad_tables(arguments: tuple[Any, ...], message: str) -> None:
    with pytest.raises((TypeError, ValueError), match=message):
        nn.Embedding(*arguments)


def test_profile() -> None:
    """Where the time goes, layer by layer, of integers too."""
    told = str(nn.profile(net(), WORDS, repeats=2))
    assert "Embedding" in told
    assert "Linear" in told
