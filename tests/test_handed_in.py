"""What users hand in that is no plain array or number: foreign arrays, masked ones, axes in another order."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import fastconv
from fastconv import grad, nn

F32 = np.float32
RNG = np.random.default_rng(8)


def array(*shape: int) -> np.ndarray:
    return RNG.standard_normal(shape).astype(F32)


class Table:
    """What pandas, xarray and h5py have in common: `__array__`, and neither buffer nor DLPack."""

    def __init__(self, values: Any) -> None:
        self.values = values

    def __array__(self, dtype: Any = None, copy: Any = None) -> Any:
        return self.values


class Closed(Table):
    def __array__(self, dtype: Any = None, copy: Any = None) -> Any:
        raise OSError("the file has been closed")


# ---- arrays of other libraries -----------------------------------------------------------------------


def test_an_object_that_hands_out_an_array_is_read_where_it_lies() -> None:
    """In the place of any argument, without a copy; what it computes has the bits of the array itself."""
    x, weight, bias = array(2, 3, 8, 8), array(4, 3, 3, 3), array(4)
    expected = fastconv.conv2d(x, weight, bias)
    np.testing.assert_array_equal(fastconv.conv2d(Table(x), Table(weight), Table(bias)), expected)
    assert np.shares_memory(fastconv.geometry.as_array("x", Table(x)), x)
    assert fastconv.max_pool2d(Table(x), 2).shape == (2, 3, 4, 4)
    output, indices = fastconv.max_pool2d(x, 2, return_indices=True)
    np.testing.assert_array_equal(
        fastconv.max_unpool2d(Table(output), Table(indices), 2), fastconv.max_unpool2d(output, indices, 2)
    )
    np.testing.assert_array_equal(nn.Parameter(Table(bias)).value, bias)


NET = nn.Sequential(nn.Conv2d(3, 4, 3, rng=0), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(36, 2, rng=1))
LAYERS = [
    *(NET, *NET[:3], nn.ConvTranspose2d(3, 2, 2), nn.Linear(8, 2), nn.AvgPool2d(2), nn.LPPool2d(2, 2)),
    *(nn.AdaptiveAvgPool2d(2), nn.AdaptiveMaxPool2d(2), nn.GlobalAvgPool(), nn.GlobalMaxPool(), nn.GELU()),
    *(nn.PReLU(3), nn.Softmax(), nn.BatchNorm2d(3), nn.LayerNorm(8), nn.LocalResponseNorm(3)),
    *(nn.Residual(nn.ReLU()), nn.Concat(nn.ReLU(), nn.Tanh()), nn.Identity(), nn.Dropout(0.0)),
]


@pytest.mark.parametrize("layer", LAYERS, ids=lambda layer: type(layer).__name__)
def test_layers_and_nets_take_them_too(layer: nn.Layer) -> None:
    """Also through the buffer protocol alone: to infer, to learn, made ready."""
    x = array(2, 3, 8, 8)
    trained = layer.vjp(x)[0]
    prepared = layer.prepare()
    for foreign in (Table(x), memoryview(x)):
        np.testing.assert_array_equal(layer(foreign), layer(x))
        np.testing.assert_array_equal(prepared(foreign), prepared(x))
        output, backprop = layer.vjp(foreign)
        np.testing.assert_array_equal(output, trained)
        assert backprop(np.ones_like(trained)).shape == x.shape


class Interface:
    """`__array_interface__` and nothing else."""

    def __init__(self, values: np.ndarray) -> None:
        self.values = values

    @property
    def __array_interface__(self) -> dict[str, Any]:
        return self.values.__array_interface__


class Capsule:
    """DLPack 1.0 and nothing else: consumers say what they understand, arrays may be read-only."""

    def __init__(self, values: np.ndarray) -> None:
        self.values = values

    def __dlpack__(self, *, stream: Any = None, max_version: Any = None, **options: Any) -> Any:
        if not self.values.flags.writeable and (max_version is None or max_version < (1, 0)):
            raise BufferError("a read-only array needs max_version of at least (1, 0)")
        return self.values.__dlpack__(max_version=max_version, **options)

    def __dlpack_device__(self) -> tuple[int, int]:
        return self.values.__dlpack_device__()


PROTOCOLS = {"array": Table, "interface": Interface, "buffer": memoryview, "dlpack": Capsule}


@pytest.mark.parametrize("writeable", [True, False])
@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_one_protocol_is_enough(protocol: str, writeable: bool) -> None:
    """For functions, nets and prepared ones; strided and read-only arrays are read where they lie."""
    if protocol == "dlpack" and np.lib.NumpyVersion(np.__version__) < "2.1.0":
        pytest.skip("DLPack 1.0 came with NumPy 2.1")
    speaks = PROTOCOLS[protocol]
    for plain in (
        array(2, 3, 8, 8),
        array(2, 8, 8, 3).transpose(0, 3, 1, 2),
        array(2, 6, 8, 16)[:, ::2, :, ::2],
    ):
        weight = array(4, 3, 3, 3)
        plain.flags.writeable = weight.flags.writeable = writeable
        x, w = speaks(plain), speaks(weight)
        assert np.shares_memory(fastconv.geometry.as_array("x", x), plain)
        np.testing.assert_array_equal(fastconv.conv2d(x, w), fastconv.conv2d(plain, weight))
        np.testing.assert_array_equal(fastconv.max_pool2d(x, 2), fastconv.max_pool2d(plain, 2))
        np.testing.assert_array_equal(NET(x), NET(plain))
        np.testing.assert_array_equal(NET.prepare()(x), NET.prepare()(plain))
        output = fastconv.conv2d(plain, weight)
        np.testing.assert_array_equal(
            fastconv.grad.conv2d_weight(x, weight.shape, speaks(output)),
            fastconv.grad.conv2d_weight(plain, weight.shape, output),
        )


def test_pandas_columns() -> None:
    pandas = pytest.importorskip("pandas")
    table = pandas.DataFrame(array(5, 4))
    weight = array(2, 4)
    np.testing.assert_array_equal(fastconv.linear(table, weight), fastconv.linear(table.to_numpy(), weight))
    loss = nn.CrossEntropyLoss()
    labels = pandas.Series([0, 3, 1, 1, 2])
    assert loss(table, labels) == loss(table.to_numpy(), labels.to_numpy())
    mixed = pandas.DataFrame({"a": [1.0, 2.0], "b": ["x", "y"]})
    with pytest.raises(TypeError, match=r"input: dtype .* not object, as mixed or missing values make it"):
        fastconv.relu(mixed)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (Closed(None), "input: Closed cannot be read as an array: the file has been closed"),
        (Table([1.0]), "input: Table cannot be read as an array: "),
        (Table(np.ones(3, object)), "input: dtype must be .* not object, as mixed"),
        (Table(np.ma.masked_array([1.0])), "input: is a masked array"),
        (np.ndarray, "input: must be an array .* not type"),
        (Table, "input: must be an array .* not type"),
        ({"a": 1.0}, "input: must be an array .* not dict"),
    ],
)
def test_what_hands_out_none_is_refused_in_words(value: Any, message: str) -> None:
    with pytest.raises(TypeError, match=message):
        fastconv.relu(value)


@pytest.mark.parametrize(
    ("dtype", "name"),
    [(bool, "bool"), (np.uint8, "uint8"), (">f4", ">f4"), (np.float16, "float16"), ("M8[s]", "datetime64")],
)
def test_dtypes_have_the_names_that_numpy_prints(dtype: Any, name: str) -> None:
    x = np.zeros((1, 2, 4, 4), dtype)
    with pytest.raises(TypeError, match=rf"input: dtype .* not {name}"):
        fastconv.avg_pool2d(x, 2)
    with pytest.raises(TypeError, match=rf"indices: dtype must be int64 .* not {name}"):
        fastconv.max_unpool2d(np.ones(x.shape), x, 2)


@pytest.mark.parametrize("dtype", ["nonsense", None, np.uint8, np.float16])
def test_conv_info_names_a_dtype_that_is_none(dtype: Any) -> None:
    with pytest.raises(TypeError, match=r"^dtype=.*: must be float32 or float64$"):
        fastconv.conv_info((1, 1, 3), (1, 1, 3), dtype=dtype)


# ---- masked arrays -----------------------------------------------------------------------------------


def masked(*shape: int, value: Any = 1.0) -> np.ma.MaskedArray:
    """One with nothing masked: refused as well, for whether something is may differ from day to day."""
    return np.ma.masked_array(np.full(shape, value, F32))


MASKED: dict[str, tuple[Callable[[], Any], str]] = {
    "out of conv2d": (
        lambda: fastconv.conv2d(array(1, 1, 3, 3), array(1, 1, 3, 3), out=masked(1, 1, 1, 1)),
        "out",
    ),
    "out of linear_weight": (
        lambda: grad.linear_weight(array(2, 3), array(2, 4), out=masked(4, 3)),
        "out",
    ),
    "pack_weight": (lambda: fastconv.pack_weight(masked(1, 1, 3)), "weight"),
    "a packed convolution": (lambda: fastconv.pack_weight(array(1, 1, 3))(masked(1, 1, 3)), "input"),
    "softmax": (lambda: fastconv.softmax(masked(3)), "input"),
    "softmax_input": (lambda: grad.softmax_input(array(3), masked(3)), "grad_output"),
    "prelu": (lambda: fastconv.prelu(array(1, 3), masked(3)), "weight"),
    "Parameter": (lambda: nn.Parameter(masked(3)), "value"),
    "Buffer": (lambda: nn.Buffer(masked(3)), "value"),
    "assignment to a parameter": (
        lambda: setattr(nn.Parameter(array(3), "weight"), "value", masked(3)),
        "weight",
    ),
    "load_state_dict": (
        lambda: nn.Linear(2, 1).load_state_dict({"weight": masked(1, 2), "bias": array(1)}),
        r"state\['weight'\]",
    ),
    "a net": (lambda: NET(masked(1, 3, 8, 8)), "input"),
    "a net that learns": (lambda: NET.vjp(masked(1, 3, 8, 8)), "input"),
    "a layer that only looks": (lambda: nn.Flatten()(masked(1, 3)), "input"),
    "backprop": (lambda: nn.Linear(2, 1).vjp(array(1, 2))[1](masked(1, 1)), "grad_output"),
    "a gradient of one's own": (
        lambda: nn.Parameter(array(3), "weight").add_grad(masked(3)),
        r"weight\.grad",
    ),
    "a loss": (lambda: nn.MSELoss()(masked(3), array(3)), "prediction"),
    "class weights": (lambda: nn.NLLLoss(masked(3)), "weight"),
    "an initialiser": (lambda: nn.init.he_uniform(masked(3, 3)), "target"),
}


@pytest.mark.parametrize("name", MASKED)
def test_masked_arrays_are_refused_by_every_door(name: str) -> None:
    """Naming the argument and the way out; what is under the mask is never used."""
    call, argument = MASKED[name]
    with pytest.raises(TypeError, match=rf"^{argument}: is a masked array.* \.filled\(value\)"):
        call()


def test_other_subclasses_are_read_as_the_arrays_they_are() -> None:
    class Picture(np.ndarray):
        pass

    x, weight = array(3, 4), array(2, 4)
    output = fastconv.linear(x.view(Picture), weight)
    assert type(output) is np.ndarray
    np.testing.assert_array_equal(output, fastconv.linear(x, weight))


# ---- axes in another order, or missing -----------------------------------------------------------------

LAST = {1: (0, 2, 1), 2: (0, 3, 1, 2), 3: (0, 4, 1, 2, 3)}


@pytest.mark.parametrize("rank", [1, 2, 3])
def test_channels_last_arrays_are_recognised(rank: int) -> None:
    """By convolutions, batch norm and prelu, functions and layers; and the way out that is named is right."""
    x, taps = array(2, *(7, 8, 9)[:rank], 3), (3,) * rank
    conv, conv_transpose = getattr(fastconv, f"conv{rank}d"), getattr(fastconv, f"conv_transpose{rank}d")
    statistics = np.zeros(3, F32), np.ones(3, F32)
    calls = [
        lambda x: conv(x, array(4, 3, *taps)),
        lambda x: conv(x, array(3, 1, *taps), groups=3),
        lambda x: conv_transpose(x, array(3, 4, *taps)),
        lambda x: fastconv.pack_weight(array(4, 3, *taps))(x),
        getattr(nn, f"Conv{rank}d")(3, 4, 3),
        getattr(nn, f"ConvTranspose{rank}d")(3, 4, 3),
        getattr(nn, f"BatchNorm{rank}d")(3),
        nn.PReLU(3),
        lambda x: fastconv.prelu(x, np.ones(3, F32)),
        lambda x: fastconv.batch_norm(x, *statistics),
        lambda x: fastconv.batch_norm(x, *statistics, training=True),
        lambda x: grad.batch_norm(x, x, weight=statistics[1]),
        nn.Sequential(nn.ReLU(), getattr(nn, f"Conv{rank}d")(3, 4, 3)),
    ]
    for call in calls:
        with pytest.raises(ValueError, match="channels-last") as caught:
            call(x)
        assert f"input.transpose{LAST[rank]} is a view" in str(caught.value)
        assert len(str(caught.value)) < 400
        call(x.transpose(LAST[rank]))
    alone = tuple(axis - 1 for axis in LAST[rank][1:])
    with pytest.raises(ValueError, match="channels-last") as caught:
        conv(x[0], array(4, 3, *taps))
    assert f"input.transpose{alone} is a view" in str(caught.value)
    conv(x[0].transpose(alone), array(4, 3, *taps))


def test_nothing_is_said_where_no_other_order_fits() -> None:
    for shape in ((2, 5, 8, 8), (2, 8, 3, 8)):
        with pytest.raises(ValueError, match=r"input: \d channels, .* needs 3$"):
            fastconv.conv2d(array(*shape), array(4, 3, 3, 3))


def test_a_batch_of_one_channel_without_its_axis() -> None:
    with pytest.raises(ValueError, match=r"input\[:, None\] has the axis that is missing"):
        fastconv.conv2d(array(64, 28, 28), array(8, 1, 3, 3))


PLAIN = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(36, 2))
NESTED = nn.Sequential(PLAIN[:2], nn.Sequential(PLAIN[2], nn.Sequential(*PLAIN[3:])))
NORMED = nn.Sequential(nn.BatchNorm2d(3), PLAIN)


@pytest.mark.parametrize("net", [PLAIN, NESTED, NORMED])
def test_a_forgotten_batch_axis_is_noticed_by_the_net(net: nn.Sequential) -> None:
    """Though only a layer further back fails; once, and in training as in inference."""
    x = array(3, 8, 8)
    for call in (net, net.vjp, net.vjp_parameters, net.prepare(), lambda x: net.output_shape(x.shape)):
        with pytest.raises(ValueError, match="the batch axis seems to be missing") as caught:
            call(x)
        assert str(caught.value).count("seems to be missing") == 1
        call(np.stack([x, x]))


def test_nothing_is_said_of_the_batch_where_it_would_not_help() -> None:
    """Wrong features stay wrong features; a layer that objects to values is not about shapes."""

    class Positive(nn.ReLU):
        def __call__(self, input: np.ndarray) -> np.ndarray:
            if (input < 0).any():
                raise ValueError("input: must not be negative")
            return input

    for net, x in ((PLAIN, array(1, 3, 9, 12)), (nn.Sequential(Positive()), -np.ones((2, 3), F32))):
        with pytest.raises(ValueError, match="layer ") as caught:
            net(x)
        assert "missing" not in str(caught.value)


def test_an_input_of_the_other_dtype_is_told_from_a_weight_of_it() -> None:
    """NumPy's default is float64, that of layers float32."""
    for net, x in ((PLAIN, np.ones((1, 3, 8, 8))), (PLAIN.astype(np.float64), array(1, 3, 8, 8))):
        for call in (net, net.vjp):
            with pytest.raises(TypeError, match=r"the net's parameters are float.., its input is float.."):
                call(x)


# ---- tuples and names as torch has them ----------------------------------------------------------------

X = {rank: array(2, 2, *(9, 8, 7)[:rank]) for rank in (1, 2, 3)}


def _calls(rank: int) -> dict[str, tuple[Callable[..., Any], dict[str, int]]]:
    """By name: a call, and the numbers it takes for every axis."""
    x, taps = X[rank], (3,) * rank
    weight = array(2, 2, *taps)

    def of(home: Any, name: str) -> Any:
        return getattr(home, name.replace("#", f"{rank}d"))

    strided = {"stride": 2, "padding": 1, "dilation": 1}
    pooled, window = {"kernel_size": 3, "stride": 2, "padding": 1}, {"kernel_size": 2, "stride": 2}
    output = of(fastconv, "conv#")(x, weight, **strided)
    grown = of(fastconv, "conv_transpose#")(x, weight, **strided, output_padding=1)
    maxima, indices = of(fastconv, "max_pool#")(x, **window, return_indices=True)
    averages = of(fastconv, "avg_pool#")(x, **pooled)
    norms = of(fastconv, "lp_pool#")(x, 2, **window)
    return {
        "conv": (lambda **n: of(fastconv, "conv#")(x, weight, **n), strided),
        "pack_weight": (lambda **n: fastconv.pack_weight(weight, **n)(x), strided),
        "conv_input": (lambda **n: of(grad, "conv#_input")(x.shape, weight, output, **n), strided),
        "conv_weight": (lambda **n: of(grad, "conv#_weight")(x, weight.shape, output, **n), strided),
        "conv_transpose": (
            lambda **n: of(fastconv, "conv_transpose#")(x, weight, **n),
            {**strided, "output_padding": 1},
        ),
        "conv_transpose_input": (
            lambda **n: grad.conv_transpose_input(x.shape, weight, grown, **n),
            {**strided, "output_padding": 1},
        ),
        "conv_transpose_weight": (
            lambda **n: grad.conv_transpose_weight(x, weight.shape, grown, **n),
            {**strided, "output_padding": 1},
        ),
        "max_pool": (lambda **n: of(fastconv, "max_pool#")(x, **n), {**pooled, "dilation": 1}),
        "avg_pool": (lambda **n: of(fastconv, "avg_pool#")(x, **n), pooled),
        "avg_pool_input": (lambda **n: of(grad, "avg_pool#_input")(x.shape, averages, **n), pooled),
        "lp_pool": (lambda **n: of(fastconv, "lp_pool#")(x, 2, **n), window),
        "lp_pool_input": (lambda **n: of(grad, "lp_pool#_input")(x, norms, norms, 2, **n), window),
        "max_unpool": (
            lambda **n: of(fastconv, "max_unpool#")(maxima, indices, **n, output_size=x.shape),
            window,
        ),
        "adaptive_avg_pool": (lambda **n: of(fastconv, "adaptive_avg_pool#")(x, **n), {"output_size": 2}),
        "Conv": (lambda **n: of(nn, "Conv#")(2, 2, rng=0, **n)(x), {"kernel_size": 3, **strided}),
        "ConvTranspose": (
            lambda **n: of(nn, "ConvTranspose#")(2, 2, rng=0, **n)(x),
            {"kernel_size": 3, **strided, "output_padding": 1},
        ),
        "MaxPool": (lambda **n: of(nn, "MaxPool#")(**n)(x), {**pooled, "dilation": 1}),
        "AvgPool": (lambda **n: of(nn, "AvgPool#")(**n)(x), pooled),
        "MaxUnpool": (
            lambda **n: of(nn, "MaxUnpool#")(**n)(maxima, indices, x.shape),
            window,
        ),
        "LPPool": (lambda **n: of(nn, "LPPool#")(2, **n)(x), window),
    }


@pytest.mark.parametrize("rank", [1, 2, 3])
def test_a_tuple_of_one_entry_counts_for_all_axes(rank: int) -> None:
    """In the first call as in one whose plan is known; and a longer tuple that does not fit stays refused."""
    for name, (call, numbers) in _calls(rank).items():
        expected = call(**numbers)
        for argument, number in numbers.items():
            for _ in range(2):
                for alone in ((number,), [number]):
                    np.testing.assert_array_equal(
                        call(**{**numbers, argument: alone}), expected, err_msg=name
                    )
            with pytest.raises(ValueError, match=f"{argument}=.* {rank} entries"):
                call(**{**numbers, argument: (number,) * (rank + 1)})


@pytest.mark.parametrize("rank", [2, 3])
def test_a_pair_in_a_tuple_of_one_entry_counts_for_all_axes(rank: int) -> None:
    """And is not taken for one number per axis."""
    weight = array(2, 2, *(3,) * rank)
    conv, pool = getattr(fastconv, f"conv{rank}d"), getattr(fastconv, f"max_pool{rank}d")
    for _ in range(2):
        for padding in (((0, 1),), [[0, 1]]):
            np.testing.assert_array_equal(
                conv(X[rank], weight, padding=padding), conv(X[rank], weight, padding=((0, 1),) * rank)
            )
            np.testing.assert_array_equal(
                pool(X[rank], 2, padding=padding), pool(X[rank], 2, padding=((0, 1),) * rank)
            )
        for argument in ("stride", "dilation"):
            with pytest.raises(TypeError, match=f"{argument}="):
                conv(X[rank], weight, **{argument: ((1, 1),)})


@pytest.mark.parametrize("empty", [(), []])
@pytest.mark.parametrize("rank", [1, 2, 3])
def test_no_stride_of_a_pool_is_the_window(rank: int, empty: Any) -> None:
    """As `stride=None`; a convolution has no such default."""
    for name, (call, numbers) in _calls(rank).items():
        if "kernel_size" in numbers and "stride" in numbers and "Conv" not in name:
            right = {**numbers, "stride": numbers["kernel_size"]}
            if name == "avg_pool_input":
                continue  # takes the shape that goes with its stride
            np.testing.assert_array_equal(call(**{**right, "stride": empty}), call(**right), err_msg=name)
    with pytest.raises(ValueError, match="stride="):
        getattr(fastconv, f"conv{rank}d")(X[rank], array(1, 2, *(1,) * rank), stride=empty)


def test_torch_counts_batches_and_load_state_dict_leaves_that_out() -> None:
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Sequential(nn.BatchNorm2d(4)))
    state = {name: value + 1 for name, value in net.state_dict().items()}
    net.load_state_dict({**state, "1.0.num_batches_tracked": np.array(7)})
    for name, value in net.state_dict().items():
        np.testing.assert_array_equal(value, state[name])
    with pytest.raises(ValueError, match=r"state: '1\.0\.num_batches' is unknown"):
        net.load_state_dict({**state, "1.0.num_batches": np.array(7)})
    with pytest.raises(TypeError, match="state: must be a mapping from names to arrays, not list"):
        net.load_state_dict(list(state.items()))  # type: ignore[arg-type]
