"""Samples per second of a training beside torch: the same net, batch, optimizer and data.

Each engine in a process of its own, in turns; the others stand still meanwhile, for their threads would wait
awake and take a CPU, and told to sleep they would wake slowly. Data loading is included. fastconv learns by
`nn.fit` from the batches of an open data set, as `fastconv train` does. torch is given what is quickest for
it: all samples as one float32 tensor that is normalised beforehand, rows of which are gathered for each
batch; its layers as they come, and channels-last, of which the better counts.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import zip_longest
from multiprocessing.connection import Connection
from statistics import median
from typing import Any

import numpy as np

ENGINES = ("fastconv", "torch", "torch channels-last")

#: Of Adam, in both.
RATE = 0.002


@dataclass(frozen=True)
class Contest:
    """What both learn.

    Attributes
    ----------
    path : str
        Of the data, for `open_dataset`.
    net : str
        In the words of `fastconv train`; of those, `torch_net` knows the usual ones.
    batch : int
    turn : int
        Samples that are learned from in a turn.
    """

    path: str
    net: str
    batch: int
    turn: int


def compare(contest: Contest, threads: int, turns: int) -> dict[str, float]:
    """Samples per second of each engine: medians over the turns."""
    context = multiprocessing.get_context("spawn")
    pipes: dict[str, Connection] = {}
    workers: dict[str, Any] = {}
    for engine in ENGINES:
        pipes[engine], there = context.Pipe()
        workers[engine] = context.Process(target=_work, args=(there, engine, contest, threads), daemon=True)
        workers[engine].start()
    seconds: dict[str, list[float]] = {engine: [] for engine in ENGINES}
    try:
        for turn in range(turns + 1):  # the first warms up
            for engine, pipe in pipes.items():
                os.kill(workers[engine].pid, signal.SIGCONT)
                pipe.send(True)
                taken = pipe.recv()
                os.kill(workers[engine].pid, signal.SIGSTOP)
                if turn:
                    seconds[engine].append(taken)
    finally:
        for pipe in pipes.values():
            pipe.close()
        for worker in workers.values():
            with contextlib.suppress(ProcessLookupError):
                os.kill(worker.pid, signal.SIGCONT)
            worker.join()
    return {engine: contest.turn / median(taken) for engine, taken in seconds.items()}


def _work(pipe: Connection, engine: str, contest: Contest, threads: int) -> None:
    """A process of one engine: each message is a turn, answered with its seconds."""
    opened = _fastconv if engine == "fastconv" else _torch
    learn = opened(contest, threads, engine.endswith("channels-last"))
    while True:
        try:
            pipe.recv()
        except EOFError:
            return
        began = time.perf_counter()
        learn()
        pipe.send(time.perf_counter() - began)


def _fastconv(contest: Contest, threads: int, _: bool) -> Callable[[], Any]:
    import fastconv
    from fastconv import nn
    from fastconv.data import open_dataset
    from fastconv.train import parse_net

    fastconv.set_num_threads(threads)
    dataset = open_dataset(contest.path).fitted()
    net = parse_net(contest.net, dataset.preprocessing.shape, dataset.classes, rng=0)
    optimizer, loss = nn.Adam(net.parameters(), RATE), nn.CrossEntropyLoss()
    rng = np.random.default_rng(0)

    def learn() -> None:
        some = rng.permutation(len(dataset))[: contest.turn]
        batches = dataset.batches(some, contest.batch, rng=rng)
        nn.fit(net, batches, loss=loss, optimizer=optimizer, epochs=1, progress=False)

    return learn


def _torch(contest: Contest, threads: int, channels_last: bool) -> Callable[[], Any]:
    import torch

    from fastconv.data import open_dataset

    torch.set_num_threads(threads)
    torch.manual_seed(0)
    dataset = open_dataset(contest.path).fitted()
    x, y = (torch.from_numpy(array) for array in dataset.batch(slice(None)))
    layout = torch.channels_last if channels_last else torch.contiguous_format
    x = x.to(memory_format=layout)
    net = torch_net(contest.net, len(dataset.classes))
    net(x[:2])  # its sizes follow from the first input
    net = net.to(memory_format=layout)
    optimizer, loss = torch.optim.Adam(net.parameters(), RATE), torch.nn.CrossEntropyLoss()

    def learn() -> None:
        net.train()
        some = torch.randperm(len(x))[: contest.turn]
        for start in range(0, contest.turn, contest.batch):
            which = some[start : start + contest.batch]
            optimizer.zero_grad(set_to_none=True)
            loss(net(x[which]), y[which]).backward()
            optimizer.step()

    return learn


def torch_net(spec: str, classes: int) -> Any:
    """The same net in torch.

    Raises
    ------
    ValueError
        A word that is not among the usual ones.
    """
    from torch import nn

    from fastconv.train.spec import read_items

    layers: list[Any] = []
    flat = False
    items = read_items(spec)
    for item, then in zip_longest(items, items[1:]):
        words = str(item).split()
        bias = then is None or then.kind != "bn"  # batch norm takes it away again; nor have ours one
        if words[0] == "fc" and not flat:
            layers.append(nn.Flatten())
            flat = True
        match words:
            case ["conv", count, size, "pad", "same"]:
                layers.append(nn.LazyConv2d(int(count), int(size), padding="same", bias=bias))
            case ["conv", count, size]:
                layers.append(nn.LazyConv2d(int(count), int(size), bias=bias))
            case ["pool", size]:
                layers.append(nn.MaxPool2d(int(size), ceil_mode=True))
            case ["bn"]:
                layers.append(nn.LazyBatchNorm2d())
            case ["relu"]:
                layers.append(nn.ReLU())
            case ["drop", share]:
                layers.append(nn.Dropout(float(share)))
            case ["fc", *count]:
                layers.append(nn.LazyLinear(int(count[0]) if count else classes))
            case _:
                raise ValueError(f"{item}: torch_net does not know it")
    return nn.Sequential(*layers)
