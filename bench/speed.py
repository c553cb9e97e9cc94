"""How fast a campaign's loop is: each phase, each side, against C, interpreted mode and two jobs."""

import os
import subprocess
import sys
from functools import partial
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np

from fuzz.hunter import Hunter
from harness.census import ACTIVE, DESCRIBED_ENTRIES, ENTRIES
from harness.targets import load
from mm.jit import ROOT

from .loops import COUNT, JUDGE, PHASES, staged
from .rounds import ROUNDS, back_to_back

SEED = 1
KERNEL = "7.3"
WINDOWS = (8, 64, 512)
# Entries of a measurement: some 20 ms.
ENTRIES_MEASURED = 256_000


class Speed(NamedTuple):
    """What one loop takes for each entry of its windows, in ns."""

    name: str
    ns: float
    cases_per_second: float


class Phases(NamedTuple):
    """The loop with windows of one size."""

    window: int
    cases: int
    in_range: float  # entries of the range, for each of the window
    active: float  # of those in the range, the share that the reference changes or flushes
    phases: list[Speed]
    verdict: Speed  # generate, both sides, relation, invariants
    whole: Speed  # and the counters


def _hunter(arch: str, window: int) -> Hunter:
    return Hunter(load("batched", arch), KERNEL, SEED, window=window)


def run_staged(
    hunter: Hunter, cases: int, last: int, reference: Any = None, target: Any = None
) -> None:
    """Run `cases` up to phase `last`, with the hunter's own sides or others."""
    staged(
        hunter.generate,
        reference or hunter.reference,
        target or hunter.target.function,
        hunter.judge,
        hunter.describe,
        hunter.workspace,
        hunter.handle,
        hunter.choices,
        hunter.tally,
        np.uint64(hunter.seed),
        cases,
        last,
    )


def phases_of(arch: str, window: int, rounds: int = ROUNDS) -> Phases:
    """The cost of each phase: the difference of two loops that end one phase apart."""
    hunter = _hunter(arch, window)
    cases = ENTRIES_MEASURED // window
    run_staged(hunter, cases, COUNT)
    tally = hunter.tally.copy()
    taken = back_to_back(
        {name: partial(run_staged, hunter, cases, last) for last, name in enumerate(PHASES)},
        rounds,
    )
    until = [taken[name].median for name in PHASES]
    alone = [until[0], *(b - a for a, b in pairwise(until))]

    def speed(name: str, seconds: float) -> Speed:
        return Speed(
            name, 1e9 * seconds / (cases * window), cases / seconds if seconds > 0 else 0.0
        )

    return Phases(
        window,
        cases,
        int(tally[ENTRIES]) / (cases * window),
        int(tally[ACTIVE]) / int(tally[DESCRIBED_ENTRIES]),
        [speed(name, seconds) for name, seconds in zip(PHASES, alone, strict=True)],
        speed("verdict", until[JUDGE]),
        speed("whole", until[COUNT]),
    )


def against_c(arch: str, window: int) -> dict[str, float]:
    """Cost of each entry in the loop up to its verdict, ns: our own, both sides in C, all of it in C; in turn.

    NoCompiler where there is nothing in C.
    """
    from .native_loop import Loop
    from .native_sides import native_sides

    native = native_sides(arch)
    hunter = _hunter(arch, window)
    cases = ENTRIES_MEASURED // window
    in_c = (native["reference"].function, native["batched"].function)
    taken = back_to_back(
        {
            "compiled Python": partial(run_staged, hunter, cases, JUDGE),
            "both sides in C": partial(run_staged, hunter, cases, JUDGE, *in_c),
            "everything in C": partial(Loop(window, KERNEL).run, SEED, 0, cases, JUDGE),
        }
    )
    return {name: 1e9 * t.median / (cases * window) for name, t in taken.items()}


def interpreted(arch: str, window: int, cases: int = 40) -> float:
    """Cost of each entry in the loop up to its verdict, ns, interpreted, in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-m", "bench.speed", arch, str(window), str(cases)],
        cwd=ROOT,
        env={**os.environ, "MIDFOLIO_MODE": "interpreted"},
        capture_output=True,
        text=True,
        check=True,
    )
    return 1e9 * float(done.stdout) / (cases * window)


def jobs(arch: str, cases: int) -> dict[int, float]:
    """Cases a second of whole campaigns of `cases`, windows free, with one job and with two."""
    from fuzz.runner import Campaign, Plan

    found: dict[int, list[float]] = {1: [], 2: []}
    for _ in range(3):
        for number in found:
            campaign = Campaign(
                Plan(arch, KERNEL, "batched", SEED, cases=cases, jobs=number), quiet=True
            )
            campaign.run()
            found[number].append(cases / campaign.elapsed)
    return {number: sorted(speeds)[1] for number, speeds in found.items()}


def main() -> None:
    """Print the CPU seconds of ARCH WINDOW CASES, in whichever mode this process is."""
    arch, window, cases = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    hunter = _hunter(arch, window)
    with np.errstate(over="ignore"):
        taken = back_to_back({"it": partial(run_staged, hunter, cases, JUDGE)}, rounds=3)
    print(taken["it"].median)


if __name__ == "__main__":
    main()
