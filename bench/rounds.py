"""Back to back: several things timed in turn, so that what slows one slows the others too."""

import time
from collections.abc import Callable, Mapping
from statistics import median
from typing import NamedTuple

ROUNDS = 11


class Spread(NamedTuple):
    """CPU seconds of one thing: the median of all rounds, the fastest, the slowest."""

    median: float
    least: float
    most: float


def back_to_back(
    tasks: Mapping[str, Callable[[], object]], rounds: int = ROUNDS
) -> dict[str, Spread]:
    """CPU time of this thread for each task; all of them in turn, `rounds` times, after one unmeasured."""
    taken: dict[str, list[float]] = {name: [] for name in tasks}
    for number in range(rounds + 1):
        for name, task in tasks.items():
            before = time.thread_time()
            task()
            if number:
                taken[name].append(time.thread_time() - before)
    return {name: Spread(median(t), min(t), max(t)) for name, t in taken.items()}
