"""The passes that are compared: which cases, against whom, and what the comparison is meant to show."""

from __future__ import annotations

from dataclasses import dataclass

from benchmarks.cases import CONV, MAX_POOL, TRAIN_STEP, VERY_LARGE, case_of
from benchmarks.corners import CORNERS
from benchmarks.problems import CONV_KINDS, Problem
from benchmarks.worker import PEERS

FLOAT32 = tuple(name for name in CONV if case_of(name).dtype == "float32")
FLOAT64 = tuple(name for name in CONV if case_of(name).dtype == "float64")
POOLS = tuple(MAX_POOL)
NETWORKS = tuple(case.id for case in TRAIN_STEP)

#: Who computes gradients too.
LEARNERS = ("torch", "torch channels-last", "numpy loops")


@dataclass(frozen=True)
class Contest:
    """One table: `ours` against the fastest of `peers`, problem by problem."""

    name: str
    title: str
    about: str
    kinds: tuple[str, ...]
    cases: tuple[str, ...]
    ours: str
    peers: tuple[str, ...]
    geomean: float | None = None  #: what the geometric mean of the ratios should be at least
    worst: float | None = None  #: and each of them

    def problems(self) -> list[Problem]:
        """Case by case."""
        return [Problem(kind, case) for case in self.cases for kind in self.kinds]


CONTESTS = (
    Contest(
        "forward",
        "Forward, float32",
        'Precision "highest", the default: at most twice the rounding error of plain float32 accumulation.',
        ("forward",), FLOAT32, "fastconv", PEERS, 1.3, 0.9,
    ),
    Contest(
        "forward-high",
        'Forward, float32, precision "high"',
        "An error of at most 1e-5 of the output's rms is allowed, which lets larger Winograd tiles in. The"
        " peers are the same; ncnn works at about this precision.",
        ("forward",), FLOAT32, "fastconv high", PEERS, 1.6, 0.9,
    ),
    Contest(
        "grad-input",
        "Gradient of the input, float32",
        "The inference engines have none.",
        ("grad_input",), FLOAT32, "fastconv", LEARNERS, 1.8, 1.0,
    ),
    Contest(
        "grad-weight",
        "Gradient of the weight, float32",
        "The inference engines have none.",
        ("grad_weight",), FLOAT32, "fastconv", LEARNERS, 1.8, 1.0,
    ),
    Contest(
        "float64",
        "All passes, float64",
        "",
        CONV_KINDS, FLOAT64, "fastconv", LEARNERS, 2.5, 1.3,
    ),
    Contest(
        "max-pool",
        "Max-pooling",
        "With the places of the maxima, as training needs them (max_pool_indices), and without (max_pool).",
        ("max_pool", "max_pool_indices"), POOLS, "fastconv", ("torch",), 12, 5,
    ),
    Contest(
        "max-pool-gradient",
        "Gradient of max-pooling",
        "From indices (max_pool_input), and in a net (max_pool_backprop), whose layer remembers a byte where"
        " torch has an index.",
        ("max_pool_input", "max_pool_backprop"), POOLS, "fastconv", ("torch",), 3, 1.5,
    ),
    Contest(
        "training",
        "Training steps",
        "Forward, mean squared error, backward, one step of gradient descent with momentum; the same network"
        " from the same parameters. The error is that of the losses of the first steps.",
        ("train_step",), NETWORKS, "fastconv", ("torch",), 3, 1.5,
    ),
    Contest(
        "tiny-call",
        "A tiny call",
        "One 9x9 picture and three 3x3 kernels, by the plain function: next to no arithmetic.",
        ("forward",), ("toy",), "fastconv new output", PEERS, 3.3, None,
    ),
    Contest(
        "tiny-call-packed",
        "A tiny call, weight packed beforehand",
        "The same by `pack_weight`, as the inference engines have theirs.",
        ("forward",), ("toy",), "fastconv packed", PEERS, 6, None,
    ),
    Contest(
        "very-large",
        "A very large kernel",
        "63x63, forward: by FFT.",
        ("forward",), tuple(VERY_LARGE), "fastconv", PEERS,
    ),
    Contest(
        "corners",
        "Off the beaten track",
        "Calls that picture nets do not make, beside the line that one would write with NumPy, SciPy, torch."
        " What is slower here by orders of magnitude is a fault.",
        ("corner",), tuple(case.id for case in CORNERS), "fastconv", ("scipy", "torch"), None, 1.0,
    ),
    Contest(
        "channels-last",
        "Channels-last arrays",
        "fastconv's time for contiguous arrays over its time for channels-last ones.",
        CONV_KINDS, FLOAT32, "fastconv channels-last", ("fastconv",), None, 0.9,
    ),
)  # fmt: skip
