"""Forked, spawned and threaded processes, signals: whatever surrounds a call, it answers and is right."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator

import numpy as np
import pytest

import fastconv
from fastconv.runtime import runnable_isas

pytestmark = pytest.mark.skipif(os.name != "posix", reason="processes and signals as POSIX has them")

Run = Callable[..., "subprocess.CompletedProcess[str]"]

#: A call large enough for several threads, and its right answer in exact integers.
WORK = """
import sys, warnings, numpy as np, fastconv
warnings.simplefilter("ignore", DeprecationWarning)  # CPython 3.12 on: forking where threads are
fastconv.set_num_threads(3)
generator = np.random.default_rng(0)
x = generator.integers(-3, 4, (4, 32, 30, 30)).astype("f")
w = generator.integers(-3, 4, (40, 32, 3, 3)).astype("f")
def work():
    return [
        fastconv.conv2d(x, w, padding=1),
        fastconv.grad.conv2d_weight(x, w.shape, np.ones((4, 40, 30, 30), "f"), padding=1),
    ]
def same(a, b):
    return all(np.array_equal(i, j) for i, j in zip(a, b))
"""


# ---- processes ---------------------------------------------------------------------------------------

FORK_WORK = """
import os
expected = work()
for generation in range(3):  # child of a child of a child, each using threads before it forks
    child = os.fork()
    if child:
        _, status = os.waitpid(child, 0)
        assert status == 0, status
        assert same(work(), expected)
        os._exit(0)
    threads = len(os.listdir("/proc/self/task")) if os.path.isdir("/proc/self/task") else None
    assert same(work(), expected)
    if threads is not None:  # the child has started workers of its own
        assert len(os.listdir("/proc/self/task")) == threads + 2, (threads, os.listdir("/proc/self/task"))
os._exit(0)
"""


def test_fork_after_use(run_python: Run) -> None:
    """A child inherits no worker threads: it must neither wait for them nor do without."""
    result = run_python(WORK + FORK_WORK, timeout=60, OPENBLAS_NUM_THREADS="1")
    assert result.returncode == 0, result.stderr


def test_fork_while_another_thread_computes(run_python: Run) -> None:
    """Locks may be held at the moment of the fork; the child must not wait for their absent owner."""
    result = run_python(
        WORK + "import os, threading, time\n"
        "expected = work()\n"
        "stop = threading.Event()\n"
        "def busy():\n"
        "    while not stop.is_set(): work()\n"
        "threads = [threading.Thread(target=busy) for _ in range(2)]\n"
        "for thread in threads: thread.start()\n"
        "for attempt in range(20):\n"
        "    child = os.fork()\n"
        "    if not child: os._exit(0 if same(work(), expected) else 1)\n"
        "    assert os.waitpid(child, 0)[1] == 0\n"
        "stop.set()\n"
        "for thread in threads: thread.join()\n"
        "assert same(work(), expected)\n",
        timeout=60,
    )
    assert result.returncode == 0, result.stderr


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_multiprocessing(run_python: Run, tmp_path: object, method: str) -> None:
    """Every start method, after the parent has used its threads."""
    script = os.path.join(str(tmp_path), "pool.py")
    with open(script, "w") as file:
        file.write(
            WORK + "import multiprocessing\n"
            "def job(_): return work()\n"
            "if __name__ == '__main__':\n"
            "    expected = work()\n"
            f"    with multiprocessing.get_context({method!r}).Pool(2) as pool:\n"
            "        assert all(same(result, expected) for result in pool.map(job, range(4)))\n"
            "        pool.close()\n"
            "        pool.join()\n"
            "    assert same(work(), expected)\n"
        )
    result = subprocess.run(
        [sys.executable, "-X", "faulthandler", script],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert result.returncode == 0, result.stderr


# ---- Python threads ----------------------------------------------------------------------------------


def test_python_threads_at_once(isa: str) -> None:
    """Several threads calling in at the same time, every one gets its own right answer."""
    fastconv.set_num_threads(3)
    generator = np.random.default_rng(1)
    inputs = [generator.integers(-3, 4, (2, 24, 20 + i, 31)).astype(np.float32) for i in range(4)]
    weight = generator.integers(-3, 4, (30, 24, 3, 3)).astype(np.float32)
    expected = [fastconv.conv2d(input, weight, padding=1) for input in inputs]
    gradients = [
        fastconv.grad.conv2d_input(i.shape, weight, e, padding=1)
        for i, e in zip(inputs, expected, strict=True)
    ]
    wrong: list[str] = []
    together = threading.Barrier(4)

    def caller(number: int) -> None:
        together.wait()
        for _ in range(15):
            output = fastconv.conv2d(inputs[number], weight, padding=1)
            gradient = fastconv.grad.conv2d_input(inputs[number].shape, weight, output, padding=1)
            if not np.array_equal(output, expected[number]):
                wrong.append(f"output of thread {number}")
            if not np.array_equal(gradient, gradients[number]):
                wrong.append(f"gradient of thread {number}")

    threads = [threading.Thread(target=caller, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_changing_the_number_of_threads_while_others_compute() -> None:
    """A setting that changes under a running call changes nothing about its result."""
    generator = np.random.default_rng(2)
    input = generator.integers(-3, 4, (2, 32, 30, 30)).astype(np.float32)
    weight = generator.integers(-3, 4, (32, 32, 3, 3)).astype(np.float32)
    expected = fastconv.conv2d(input, weight)
    stop = threading.Event()

    def change() -> None:
        while not stop.is_set():
            for count in (1, 4, 2, 7):
                fastconv.set_num_threads(count)

    thread = threading.Thread(target=change)
    thread.start()
    try:
        for _ in range(40):
            np.testing.assert_array_equal(fastconv.conv2d(input, weight), expected)
    finally:
        stop.set()
        thread.join()


def test_other_python_threads_run_during_a_large_call() -> None:
    """The GIL is given up: a counter in another thread goes on counting while one call computes."""
    input = np.ones((4, 64, 60, 60), np.float32)
    weight = np.ones((64, 64, 5, 5), np.float32)
    fastconv.set_num_threads(1)
    fastconv.set_isa(runnable_isas()[-1])
    count, stop = 0, threading.Event()

    def counter() -> None:
        nonlocal count
        while not stop.is_set():
            count += 1
            time.sleep(0.001)

    thread = threading.Thread(target=counter)
    thread.start()
    try:
        before = count
        fastconv.conv2d(input, weight)
        during = count - before
    finally:
        stop.set()
        thread.join()
    assert during >= 5


# ---- signals -----------------------------------------------------------------------------------------

# Each takes far longer than the test waits; broadcasting keeps the memory small.
LONG_CALLS = {
    "forward": "fastconv.conv2d(big(64, 128, 256, 256), big(128, 128, 15, 15), out=out)",
    "forward, one image": "fastconv.conv2d(big(1, 256, 512, 512), big(64, 256, 31, 31), padding=15)",
    "depthwise": "fastconv.conv2d(big(64, 64, 512, 512), big(64, 1, 63, 63), groups=64, padding=31)",
    "input gradient": (
        "fastconv.grad.conv2d_input((1, 64, 512, 512), big(256, 64, 31, 31), big(1, 256, 482, 482))"
    ),
    "weight gradient": (
        "fastconv.grad.conv2d_weight(big(4096, 256, 62, 62), (256, 256, 3, 3), big(4096, 256, 60, 60))"
    ),
    "weight gradient, short rounds": (
        "fastconv.grad.conv2d_weight(big(2**18, 32, 18, 18), (32, 32, 3, 3), big(2**18, 32, 16, 16))"
    ),
    "weight gradient, one filter": (
        "fastconv.grad.conv2d_weight(big(2**18, 3, 64, 64), (1, 3, 9, 9), big(2**18, 1, 56, 56))"
    ),
    "fft": "fastconv.conv2d(big(256, 3, 1024, 1024), big(3, 3, 63, 63), algorithm='fft')",
    "weight gradient by FFT": (
        "fastconv.grad.conv2d_weight(big(256, 3, 1024, 1024), (3, 3, 63, 63), big(256, 3, 962, 962),"
        " algorithm='fft')"
    ),
    "linear": "fastconv.linear(big(8192, 2**16), big(2**13, 2**16))",
    "reference": "fastconv.conv2d(big(8, 64, 128, 128), big(64, 64, 9, 9), algorithm='reference')",
    "reference pool": "fastconv.avg_pool2d(big(64, 64, 256, 256), 31, 1, 15, algorithm='reference')",
}

INTERRUPTED = """
import signal, sys, time, numpy as np, fastconv
from fastconv.runtime import runnable_isas
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs ignore it
fastconv.set_isa(runnable_isas()[-1]); fastconv.set_num_threads(2)
def big(*shape): return np.broadcast_to(np.float32(1), shape)
x, w = np.ones((4, 32, 30, 30), "f"), np.ones((8, 32, 3, 3), "f")
for call in map(str.rstrip, sys.stdin):
    out = np.zeros((64, 128, 242, 242), "f") if "out=" in call else None
    try:
        print("ready", flush=True)
        eval(call)
    except KeyboardInterrupt:
        print(time.monotonic(), flush=True)
    else:
        print("finished", flush=True)
    del out
    print((fastconv.conv2d(x, w) == 288).all(), flush=True)
"""


@pytest.fixture(scope="module")
def interrupted() -> Iterator[subprocess.Popen[str]]:
    """A process that makes the calls it is given, each long enough to be interrupted, one after the other."""
    command = [sys.executable, "-c", INTERRUPTED]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


@pytest.mark.parametrize("call", LONG_CALLS.values(), ids=LONG_CALLS)
def test_ctrl_c_ends_a_long_call(interrupted: subprocess.Popen[str], call: str) -> None:
    """KeyboardInterrupt within half a second on the slowest instruction set; and the engine works afterwards.

    What is asserted is twice that, for machines that are busy with something else: without a look for signals
    every one of these calls would go on for many seconds.
    """
    assert interrupted.stdin is not None
    assert interrupted.stdout is not None
    interrupted.stdin.write(call + "\n")
    interrupted.stdin.flush()
    assert interrupted.stdout.readline() == "ready\n"
    time.sleep(0.3)
    sent = time.monotonic()
    interrupted.send_signal(signal.SIGINT)
    answer = interrupted.stdout.readline().strip()
    assert answer != "finished"
    assert float(answer) - sent < 1.0
    assert interrupted.stdout.readline() == "True\n"  # what the next call gives is right


def test_a_signal_handler_may_call_fastconv(run_python: Run) -> None:
    """Handlers run between slices of a long call; what they compute must not mix with it."""
    result = run_python(
        "import signal, numpy as np, fastconv\n"
        "from fastconv.runtime import runnable_isas\n"
        "fastconv.set_num_threads(1); fastconv.set_isa(runnable_isas()[-1])\n"
        "rng = np.random.default_rng(0)\n"
        "def integers(*shape): return rng.integers(-3, 4, shape).astype('f')\n"
        "x, w, g = integers(8, 96, 64, 64), integers(96, 96, 3, 3), integers(8, 96, 62, 62)\n"
        "x2, w2, g2 = integers(8, 128, 24, 24), integers(128, 128, 3, 3), integers(8, 128, 22, 22)\n"
        "outer = {\n"
        "    'forward': lambda: fastconv.conv2d(x, w),\n"
        "    'input gradient': lambda: fastconv.grad.conv2d_input(x.shape, w, g),\n"
        "    'weight gradient': lambda: fastconv.grad.conv2d_weight(x, w.shape, g),\n"
        "}\n"
        "def inner(): return [\n"
        "    fastconv.conv2d(x2, w2),\n"
        "    fastconv.grad.conv2d_input(x2.shape, w2, g2),\n"
        "    fastconv.grad.conv2d_weight(x2, w2.shape, g2)]\n"
        "right, answers = inner(), []\n"
        "signal.signal(signal.SIGALRM, lambda *_: answers.append(inner()))\n"
        "for name, call in outer.items():\n"
        "    expected = call()\n"
        "    for attempt in range(3):\n"
        "        signal.setitimer(signal.ITIMER_REAL, 0.01)\n"
        "        assert np.array_equal(call(), expected), name\n"
        "        assert len(answers) == 1, 'the handler did not run: the call is too short'\n"
        "        assert all(map(np.array_equal, answers.pop(), right)), name\n"
    )
    assert result.returncode == 0, result.stderr[-1500:]


def test_a_handler_that_raises_leaves_the_engine_usable(run_python: Run) -> None:
    """An exception out of the middle of a call, many times over, with several threads at work."""
    result = run_python(
        WORK + "import signal\n"
        "class Stop(Exception): pass\n"
        "def stop(*_): raise Stop\n"
        "signal.signal(signal.SIGALRM, stop)\n"
        "big = np.ones((16, 128, 64, 64), 'f'), np.ones((128, 128, 5, 5), 'f')\n"
        "expected, stopped = work(), 0\n"
        "for attempt in range(10):\n"
        "    try:\n"
        "        signal.setitimer(signal.ITIMER_REAL, 0.01 + attempt * 0.003)\n"
        "        fastconv.conv2d(*big)\n"
        "    except Stop: stopped += 1\n"
        "    finally: signal.setitimer(signal.ITIMER_REAL, 0)\n"
        "    assert same(work(), expected)\n"
        "assert stopped >= 5, stopped\n"
    )
    assert result.returncode == 0, result.stderr[-1500:]
