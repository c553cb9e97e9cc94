"""Chunks: ranges of case numbers, run in this process, in several, or in some that may die of it.

Results come in the order of the ranges, so one job or eight report the same.
"""

import multiprocessing
import os
import signal
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import dataclass
from typing import Any

from harness.contain import die_with_parent

from .hunter import NO_GROWTH, Found, Growth, Hunter
from .workers import Bounds


@dataclass
class Chunk:
    """What one range of cases gave."""

    first: int
    last: int
    tally: Any
    seen: Any
    found: list[Found]
    growth: Growth = NO_GROWTH


def run_chunk(hunter: Hunter, first: int, last: int) -> Chunk:
    """Run cases [first, last) and give what they added; the hunter's counts restart."""
    hunter.tally[:] = 0
    hunter.seen[:] = 0
    found = [hunter.found(index) for index in hunter.finds(first, last)]
    return Chunk(first, last, hunter.tally.copy(), hunter.seen.copy(), found, hunter.growth())


_worker: Hunter | None = None


def _start_worker(parent: int, make: Callable[[], Hunter]) -> None:
    """Make this process's hunter; Ctrl-C is the parent's business, and a killed one takes it along."""
    global _worker
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    die_with_parent(parent)
    _worker = make()


def _work(bounds: Bounds) -> Chunk:
    assert _worker is not None
    return run_chunk(_worker, *bounds)


def run_in_jobs(make: Callable[[], Hunter], jobs: int, bounds: Iterator[Bounds]) -> Iterator[Chunk]:
    """Run `bounds` in `jobs` processes with a hunter each that `make` gives.

    Forked here: after everything is compiled and loaded. One that dies is an error.
    """
    context = multiprocessing.get_context("fork")
    with ProcessPoolExecutor(jobs, context, _start_worker, (os.getpid(), make)) as pool:
        under_way: list[Future[Chunk]] = []
        for mine in bounds:
            under_way.append(pool.submit(_work, mine))
            if len(under_way) > 2 * jobs:
                yield under_way.pop(0).result()
        for future in under_way:
            yield future.result()
