"""Other engines, given the same problems: each as fast as its own documentation knows how.

Every engine gets its input in the form it likes best, made outside the timing, and writes into an output of
its own making where it offers that. The inference engines also have their weights packed beforehand, which is
how they are meant to be used; fastconv, torch, SciPy and the NumPy loops get them with each call. An engine
raises `CannotError` for what it does not offer; one that is not installed raises `ImportError` when made.

Of fastconv nothing is used here but the reader of lines, which says what is to be computed.
"""

from __future__ import annotations

import importlib
import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import naive
from benchmarks.cases import (
    LEARNING_RATE,
    MOMENTUM,
    TIMED_LEARNING_RATE,
    Case,
    Conv,
    Pool,
    TrainCase,
    examples,
    parameters,
)
from benchmarks.corners import CornerCase, corner_arrays, corner_call
from benchmarks.problems import CONV_KINDS, STEPS, Problem, conv_arrays, conv_bias, pool_input

#: Larger convolutions would take the loops over taps longer than anybody waits.
LOOPS_FLOPS = 10**8


class CannotError(Exception):
    """The engine does not offer this; the message says why."""


@dataclass(frozen=True)
class Job:
    """A problem made ready: `call` is timed, `result` makes an array of what it returned."""

    call: Callable[[], Any]
    result: Callable[[Any], np.ndarray] = np.asarray


class Engine:
    """One way to compute a problem."""

    packages: tuple[str, ...] = ()

    def versions(self) -> dict[str, str]:
        """Of the packages it consists of."""
        return {name: str(importlib.import_module(name).__version__) for name in self.packages}

    def job(self, problem: Problem, threads: int) -> Job:
        """Make everything ready."""
        raise NotImplementedError


def corner_job(engine: str, case: CornerCase, given: Callable[[np.ndarray], Any] = np.asarray) -> Job:
    """The engine's line, on arrays in the form that it is given them."""
    if engine not in case.lines:
        raise CannotError("no line for it")
    return Job(corner_call(engine, case, {name: given(array) for name, array in corner_arrays(case).items()}))


def train_job(make: Callable[[float], Callable[[], float]]) -> Job:
    """Steps by what `make` makes at a learning rate; the result is the losses of the first steps."""

    def losses(_: float) -> np.ndarray:
        step = make(LEARNING_RATE)
        return np.array([step() for _ in range(STEPS)])

    return Job(make(TIMED_LEARNING_RATE), losses)


def forward_case(problem: Problem, dtypes: tuple[str, ...] = ("float32",)) -> Case:
    """The case of a plain forward convolution, all that inference engines are asked for here."""
    case = problem.case
    if problem.kind != "forward" or not isinstance(case, Case):
        raise CannotError("inference only")
    if case.dtype not in dtypes:
        raise CannotError(f"no {case.dtype}")
    return plain(case)


def plain(case: Case) -> Case:
    """The case, if it is a convolution and nothing else."""
    if case.operation != "conv" or case.bias or case.activation:
        raise CannotError("plain convolutions only")
    return case


def one_padding(case: Case) -> list[int]:
    """Per axis, for those that pad both ends alike."""
    if any(before != after for before, after in case.padding_pairs):
        raise CannotError("pads both ends of an axis alike")
    return [before for before, _ in case.padding_pairs]


class Torch(Engine):
    """Eager torch. Convolution gradients through the operator that autograd calls."""

    packages = ("torch",)

    def __init__(self, channels_last: bool = False) -> None:
        self.torch = importlib.import_module("torch")
        self.channels_last = channels_last
        self._mode = ExitStack()

    def job(self, problem: Problem, threads: int) -> Job:
        self.torch.set_num_threads(threads)
        self._mode.close()
        self._mode.enter_context(self.torch.inference_mode(problem.kind not in ("train_step", "corner")))
        case = problem.case
        if isinstance(case, CornerCase):
            return corner_job("torch", case, self._tensor)
        if problem.kind in CONV_KINDS:
            return self._conv(problem.kind, case)
        if self.channels_last:
            raise CannotError("compared with contiguous tensors")
        if isinstance(case, Case):
            return self._pool(problem.kind, case)
        return train_job(lambda learning_rate: self._step(case, learning_rate))

    def _tensor(self, array: np.ndarray) -> Any:
        torch = self.torch
        formats = {4: torch.channels_last, 5: torch.channels_last_3d}
        if self.channels_last and array.ndim not in formats:
            raise CannotError("no channels-last order in 1-D")
        order = formats[array.ndim] if self.channels_last else torch.contiguous_format
        return torch.from_numpy(array).clone(memory_format=order)

    def _conv(self, kind: str, case: Case) -> Job:
        input, weight, grad_output = map(self._tensor, conv_arrays(case))
        transposed = case.operation == "conv_transpose"
        if transposed:  # the arrays are those of the convolution that it runs backwards
            input, grad_output = grad_output, input
        where = ([*case.stride], one_padding(case), [*case.dilation], transposed, [*case.output_padding])
        if kind == "forward":
            bias = conv_bias(case)
            return self._forward(case, input, weight, None if bias is None else self.torch.from_numpy(bias))
        asked = [kind == "grad_input", kind == "grad_weight", False]
        backward = self.torch.ops.aten.convolution_backward.default
        return Job(
            lambda: backward(grad_output, input, weight, None, *where, case.groups, asked),
            lambda gradients: gradients[asked.index(True)].numpy(),
        )

    def _forward(self, case: Case, input: Any, weight: Any, bias: Any) -> Job:
        functional = self.torch.nn.functional
        function, how = getattr(functional, case.function), {**case.parameters, "padding": one_padding(case)}
        if case.activation is None:
            return Job(lambda: function(input, weight, bias, **how))
        activation = getattr(functional, case.activation)
        return Job(lambda: activation(function(input, weight, bias, **how), inplace=True))

    def _pool(self, kind: str, case: Case) -> Job:
        function = getattr(self.torch.nn.functional, case.function)
        input, window = self._tensor(pool_input(case)), {**case.parameters, "padding": one_padding(case)}
        if kind in ("max_pool", "avg_pool"):
            return Job(lambda: function(input, **window))
        if kind == "max_pool_indices":
            return Job(lambda: function(input, **window, return_indices=True), lambda pair: pair[0].numpy())
        if case.rank == 1:
            raise CannotError("no operator of its own in 1-D")
        axes = ([*case.kernel], [*case.stride], one_padding(case))
        backwards = self.torch.ops.aten
        if case.operation == "avg_pool":
            average = getattr(backwards, f"{case.function}_backward").default
            output = function(input, **window)
            return Job(lambda: average(output, input, *axes, case.ceil_mode, True, None))
        output, indices = function(input, **window, return_indices=True)
        maximum = getattr(backwards, f"{case.function}_with_indices_backward").default
        return Job(lambda: maximum(output, input, *axes, [*case.dilation], case.ceil_mode, indices))

    def _step(self, case: TrainCase, learning_rate: float) -> Callable[[], float]:
        """Forward, loss, backward, step; the picture needs no gradient."""
        torch = self.torch
        net = torch.nn.Sequential(*self._layers(case))
        for parameter, value in zip(net.parameters(), parameters(case), strict=True):
            parameter.data = torch.from_numpy(value)
        loss = torch.nn.MSELoss()
        optimizer = torch.optim.SGD(net.parameters(), learning_rate, momentum=MOMENTUM)
        input, target = map(torch.from_numpy, examples(case))

        def step() -> float:
            optimizer.zero_grad()
            value = loss(net(input), target)
            value.backward()
            optimizer.step()
            loss_value: float = value.item()
            return loss_value

        return step

    def _layers(self, case: TrainCase) -> list[Any]:
        nn, layers = self.torch.nn, []
        for layer in case.layers:
            if isinstance(layer, Pool):
                layers.append(nn.MaxPool2d(layer.kernel))
            elif isinstance(layer, Conv):
                window = (layer.kernel, layer.stride, layer.padding)
                layers += [nn.Conv2d(layer.in_channels, layer.out_channels, *window), nn.ReLU()]
            else:
                layers += [nn.Flatten(), nn.Linear(layer.in_features, layer.out_features), nn.ReLU()]
        return layers[:-1]  # no ReLU behind the last one


class OnnxRuntime(Engine):
    """A graph of one Conv node whose weight is a constant; input and output bound beforehand."""

    packages = ("onnxruntime", "onnx")

    def __init__(self) -> None:
        self.onnx = importlib.import_module("onnx")
        self.runtime = importlib.import_module("onnxruntime")

    def job(self, problem: Problem, threads: int) -> Job:
        case = forward_case(problem)
        input, weight, _ = conv_arrays(case)
        options = self.runtime.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
        options.log_severity_level = 3
        session = self.runtime.InferenceSession(
            self._model(case, weight), options, providers=["CPUExecutionProvider"]
        )
        output = self.runtime.OrtValue.ortvalue_from_numpy(np.empty(case.output_shape, np.float32))
        binding = session.io_binding()
        binding.bind_ortvalue_input("input", self.runtime.OrtValue.ortvalue_from_numpy(input))
        binding.bind_ortvalue_output("output", output)
        return Job(lambda: session.run_with_iobinding(binding), lambda _: output.numpy())

    def _model(self, case: Case, weight: np.ndarray) -> bytes:
        helper = self.onnx.helper
        node = helper.make_node(
            "Conv",
            ["input", "weight"],
            ["output"],
            strides=[*case.stride],
            pads=[*(before for before, _ in case.padding_pairs), *(after for _, after in case.padding_pairs)],
            dilations=[*case.dilation],
            group=case.groups,
        )
        ends = [
            helper.make_tensor_value_info(name, self.onnx.TensorProto.FLOAT, shape)
            for name, shape in (("input", case.input_shape), ("output", case.output_shape))
        ]
        constant = self.onnx.numpy_helper.from_array(weight, "weight")
        graph = helper.make_graph([node], "convolution", ends[:1], ends[1:], [constant])
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
        made: bytes = model.SerializeToString()
        return made


class OpenVino(Engine):
    """One convolution whose weight is a constant, in float32: the default may be bfloat16."""

    packages = ("openvino",)

    def __init__(self) -> None:
        self.openvino = importlib.import_module("openvino")
        self.operators = importlib.import_module("openvino.opset13")

    def job(self, problem: Problem, threads: int) -> Job:
        case = forward_case(problem)
        input, weight, _ = conv_arrays(case)
        source = self.operators.parameter(list(case.input_shape), np.float32)
        before, after = ([pair[end] for pair in case.padding_pairs] for end in (0, 1))
        where = ([*case.stride], before, after, [*case.dilation])
        if case.groups == 1:
            node = self.operators.convolution(source, self.operators.constant(weight), *where)
        else:
            split = weight.reshape(case.groups, -1, *weight.shape[1:])
            node = self.operators.group_convolution(source, self.operators.constant(split), *where)
        how = {
            "INFERENCE_PRECISION_HINT": "f32",
            "INFERENCE_NUM_THREADS": threads,
            "NUM_STREAMS": 1,
            "PERFORMANCE_HINT": "LATENCY",
        }
        model = self.openvino.Model([node], [source])
        request = self.openvino.Core().compile_model(model, "CPU", how).create_infer_request()
        output = np.empty(case.output_shape, np.float32)
        request.set_input_tensor(self.openvino.Tensor(input, shared_memory=True))
        request.set_output_tensor(self.openvino.Tensor(output, shared_memory=True))
        kept = (input, output)  # the request reads and writes them in place, but does not own them
        return Job(request.infer, lambda _: kept[1])


class Ncnn(Engine):
    """A net of one layer, run image by image: ncnn has no batches. All in float32, Winograd on."""

    packages = ("ncnn",)
    HALF = ("fp16_packed", "fp16_storage", "fp16_arithmetic", "bf16_storage", "bf16_packed")

    def __init__(self) -> None:
        self.ncnn = importlib.import_module("ncnn")

    def job(self, problem: Problem, threads: int) -> Job:
        case = forward_case(problem)
        input, weight, _ = conv_arrays(case)
        net = self._net(case, weight, threads)
        images = [self.ncnn.Mat(np.ascontiguousarray(image)).clone() for image in input]  # clones are aligned

        def run() -> list[Any]:
            outputs = []
            for image in images:
                extractor = net.create_extractor()
                extractor.input("input", image)
                outputs.append(extractor.extract("output")[1])
            return outputs

        return Job(run, lambda outputs: np.stack([np.array(output) for output in outputs]))

    def _net(self, case: Case, weight: np.ndarray, threads: int) -> Any:
        net = self.ncnn.Net()
        net.opt.num_threads = threads
        net.opt.use_winograd_convolution = True
        net.opt.use_vulkan_compute = False
        for option in self.HALF:
            setattr(net.opt, f"use_{option}", False)
        rank = {1: "1D", 2: "", 3: "3D"}[case.rank]
        layer = "Convolution" + ("DepthWise" if case.groups > 1 else "") + rank
        numbers = {0: case.out_channels, 5: 0, 6: weight.size}
        if case.groups > 1:
            numbers[7] = case.groups
        # 1 to 4 are of width, 11 to 14 of height, 21 to 24 of depth
        axes = zip(case.kernel, case.dilation, case.stride, one_padding(case), strict=True)
        for axis, values in enumerate(reversed([*axes])):
            numbers |= {10 * axis + place: value for place, value in enumerate(values, 1)}
        settings = " ".join(f"{key}={value}" for key, value in numbers.items())
        text = f"7767517\n2 2\nInput input 0 1 input\n{layer} convolution 1 1 input output {settings}\n"
        with tempfile.TemporaryDirectory() as folder:
            description, weights = Path(folder, "net.param"), Path(folder, "net.bin")
            description.write_text(text)
            weights.write_bytes(bytes(4) + weight.tobytes())  # the four bytes mean: float32 follows
            if net.load_param(str(description)) or net.load_model(str(weights)):
                raise CannotError(f"ncnn does not load its layer {layer}")
        return net


class SciPy(Engine):
    """Overlap-add by FFT, for one input channel per group and stride 1: there is nothing to sum over.

    Of the corners it has what one would write with NumPy or SciPy.
    """

    packages = ("scipy",)

    def __init__(self) -> None:
        self.signal = importlib.import_module("scipy.signal")

    def job(self, problem: Problem, threads: int) -> Job:
        if isinstance(problem.case, CornerCase):
            return corner_job("scipy", problem.case)
        case = forward_case(problem, ("float32", "float64"))
        if case.in_channels != case.groups or {*case.stride, *case.dilation} != {1}:
            raise CannotError("no sum over channels, no stride")
        if threads > 1:
            raise CannotError("one thread only")
        input, weight, _ = conv_arrays(case)
        axes = tuple(range(3, 3 + case.rank))
        source = np.expand_dims(input, 2)  # (n, groups, 1, ...) with (1, groups, outputs of a group, ...)
        flipped = np.flip(weight, range(2, weight.ndim)).reshape(1, case.groups, -1, *case.kernel)
        inside = tuple(
            slice(kernel - 1 - before, kernel - 1 - before + size)
            for kernel, size, (before, _) in zip(
                case.kernel, case.output_shape[2:], case.padding_pairs, strict=True
            )
        )

        def run() -> np.ndarray:
            whole = self.signal.oaconvolve(source, flipped, axes=axes)
            return whole[(..., *inside)].reshape(case.output_shape)

        return Job(run)


class NumPyLoops(Engine):
    """Loops over the taps of the kernel with einsum, as in `naive`."""

    packages = ("numpy",)

    def job(self, problem: Problem, threads: int) -> Job:
        case = problem.case
        if problem.kind not in CONV_KINDS or not isinstance(case, Case):
            raise CannotError("convolutions only")
        if problem.flops > LOOPS_FLOPS:
            raise CannotError("small cases only")
        if threads > 1:
            raise CannotError("one thread only")
        input, weight, grad_output = conv_arrays(plain(case))
        how = case.parameters
        if not all(isinstance(value, int) for value in how.values()):
            raise CannotError("the same stride, padding and dilation on all axes")
        calls: dict[str, Callable[[], np.ndarray]] = {
            "forward": lambda: naive.conv(input, weight, **how),
            "grad_input": lambda: naive.conv_input(case.input_shape, weight, grad_output, **how),
            "grad_weight": lambda: naive.conv_weight(input, case.weight_shape, grad_output, **how),
        }
        return Job(calls[problem.kind])
