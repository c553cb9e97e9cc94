"""How many cases each engine takes to detect each mutant of the zoo, and whether they differ.

A run is one mutant, one engine, one seed. It ends with the first finding or at the
limit; a run that found nothing counts as longer than any that did. Engines are
compared with blind random: two-sided Mann-Whitney tests, corrected by Holm over
all mutants.

Interpreted, a run is made of stages (fuzz.stages), and engines that are slow can be
measured beside the others, all within the same small limit.
"""

from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from math import exp, log
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from harness import zoo
from harness.targets import Target, load, trusted
from harness.whole import write_figure
from mm.jit import COMPILED

from .engines import SLOW, module_of
from .hunter import Hunter
from .runner import hunter_of
from .stages import Run, run_of, staged

RANDOM = "random"
# The mutants that random cases take longest to detect, by median.
HARDEST = 10
# Guided grows its corpus by so many cases where it is interpreted, not by 50,000.
MOST_GROWN = 1_000
NOT_STAGED: Any = (0, 0, 0)
_RESAMPLES = 2_000


@dataclass(frozen=True)
class Runs:
    """What one engine took for one mutant, run by run."""

    mutant: str
    engine: str
    cases: tuple[int, ...]  # until detection; the limit + 1 if there was none
    missed: int
    entries: int  # in the ranges of all cases of all runs
    # Until the mutated code was reached, and until it changed an outcome; as `cases`, and
    # empty where that is not measured.
    reached: tuple[int, ...] = ()
    triggered: tuple[int, ...] = ()

    @property
    def median(self) -> float:
        """The median of `cases`."""
        return median(self.cases)

    @property
    def stages(self) -> tuple[float, ...]:
        """The medians of `reached` and of `triggered`, where they are measured."""
        return tuple(median(cases) for cases in (self.reached, self.triggered) if cases)

    @property
    def interval(self) -> tuple[float, float]:
        """A bootstrap interval of the median: 95 of 100."""
        rng = np.random.default_rng(1)
        picks = rng.integers(0, len(self.cases), (_RESAMPLES, len(self.cases)))
        low, high = np.quantile(np.median(np.array(self.cases)[picks], axis=1), (0.025, 0.975))
        return float(low), float(high)


def bench(
    mutants: list[zoo.Mutant], arch: str, kernel: str, engines: list[str], seeds: range, limit: int
) -> Iterator[Runs]:
    """The runs of each mutant with each engine, one for each of `seeds`; equivalent ones have none."""
    hunt = Hunts(kernel, limit)
    for mutant in mutants:
        if arch not in mutant.arches or not mutant.shows:
            continue
        for engine in engines:
            if engine in SLOW:
                measure = module_of(engine).first_finding
                taken = [measure(mutant, arch, kernel, seed, limit) for seed in seeds]
            else:
                taken = [hunt.first_finding(mutant, arch, engine, seed) for seed in seeds]
            yield Runs(
                mutant.name,
                engine,
                tuple(run.cases if run.found else limit + 1 for run in taken),
                sum(not run.found for run in taken),
                sum(run.entries for run in taken),
                *_stages(taken, limit),
            )


def _stages(taken: list[Run], limit: int) -> tuple[tuple[int, ...], ...]:
    """The first two stages of each run, where they are measured."""
    if COMPILED:
        return ()
    reached = tuple(run.reached or limit + 1 for run in taken)
    return reached, tuple(run.triggered or limit + 1 for run in taken)


@dataclass
class Hunts:
    """Runs of the engines that are compiled loops, or their interpreted selves."""

    kernel: str
    limit: int
    # A grown corpus depends on the seed alone, so each serves all mutants.
    hunters: dict[tuple[str, int], Hunter] = field(default_factory=dict)

    def first_finding(self, mutant: zoo.Mutant, arch: str, engine: str, seed: int) -> Run:
        """What `engine` takes to find `mutant`."""
        if COMPILED:
            target, counts = trusted(load(f"zoo:{mutant.name}", arch)), NOT_STAGED
        else:
            target, stages = staged(mutant, arch)
            counts = stages.counts
        hunter = self._hunter(target, engine, seed)
        found = next(hunter.finds(0, self.limit), None) is not None
        return run_of(hunter.tally, counts, found=found)

    def _hunter(self, target: Target, engine: str, seed: int) -> Hunter:
        if (engine, seed) not in self.hunters:
            made = self.hunters[engine, seed] = hunter_of(engine)(target, self.kernel, seed, cap=1)
            if engine == "guided" and not COMPILED:
                made.grown = grown(self.limit)  # type: ignore[attr-defined]
        hunter = self.hunters[engine, seed]
        hunter.target = target
        hunter.seen[:] = 0
        hunter.tally[:] = 0
        return hunter


def grown(limit: int) -> int:
    """Cases that grow the corpus of guided where it runs interpreted: what it grows on takes a minute."""
    return min(limit, MOST_GROWN)


def holm(p_values: list[float]) -> list[float]:
    """The p-values, corrected for being so many, in their order."""
    order = sorted(range(len(p_values)), key=lambda i: p_values[i])
    corrected, worst = [0.0] * len(p_values), 0.0
    for rank, i in enumerate(order):
        worst = max(worst, min(1.0, p_values[i] * (len(p_values) - rank)))
        corrected[i] = worst
    return corrected


@dataclass(frozen=True)
class Comparison:
    """One engine against random cases, on one mutant."""

    mutant: str
    engine: str
    ratio: float  # geometric mean of random's cases by that of the engine's
    by_entries: float  # entries of random's runs by those of the engine's
    p: float  # corrected


def compare(runs: list[Runs], engine: str) -> list[Comparison]:
    """`engine` against random cases on each mutant that both ran on."""
    from scipy.stats import mannwhitneyu

    by = {(r.mutant, r.engine): r for r in runs}
    pairs = [(r, by[r.mutant, engine]) for r in runs if r.engine == RANDOM]
    tests = [float(mannwhitneyu(ours.cases, theirs.cases).pvalue) for ours, theirs in pairs]
    return [
        Comparison(
            ours.mutant,
            engine,
            geometric(ours.cases) / geometric(theirs.cases),
            ours.entries / theirs.entries,
            p,
        )
        for (ours, theirs), p in zip(pairs, holm(tests), strict=True)
    ]


def geometric(values: tuple[float, ...] | tuple[int, ...]) -> float:
    """The geometric mean."""
    return exp(sum(log(value) for value in values) / len(values))


def hardest(runs: list[Runs]) -> list[str]:
    """The mutants that random cases take longest to detect, the hardest first."""
    random = sorted((r for r in runs if r.engine == RANDOM), key=lambda r: (-r.median, r.mutant))
    return [r.mutant for r in random[:HARDEST]]


def gain(runs: list[Runs], engine: str) -> tuple[float, float]:
    """How many times fewer cases, and entries, `engine` takes on the hardest; geometric means."""
    names = hardest(runs)
    found = [c for c in compare(runs, engine) if c.mutant in names]
    return geometric(tuple(c.ratio for c in found)), geometric(tuple(c.by_entries for c in found))


def record(runs: list[Runs], engines: list[str]) -> dict[str, Any]:
    """All of it as plain data."""
    others = [engine for engine in engines if engine != RANDOM] if RANDOM in engines else []
    return {
        "runs": [
            {**asdict(r), "median": r.median, "interval": r.interval, "stages": r.stages}
            for r in runs
        ],
        "comparisons": [asdict(c) for engine in others for c in compare(runs, engine)],
        "hardest": hardest(runs),
        "gain": {engine: gain(runs, engine) for engine in others},
    }


def lines(runs: list[Runs], engines: list[str]) -> Iterator[str]:
    """The same as a table, the hardest mutant first."""
    medians = {r.mutant: r.median for r in runs if r.engine == engines[0]}
    by = {(r.mutant, r.engine): r for r in runs}
    width = 36 if any(r.stages for r in runs) else 26
    yield f"{'mutant':<34}" + "".join(f"{engine:>{width}}" for engine in engines)
    for name in sorted(medians, key=lambda m: (-medians[m], m)):
        cells = []
        for engine in engines:
            r = by[name, engine]
            low, high = r.interval
            lost = f" -{r.missed}" if r.missed else ""
            stages = "".join(f"{cases:,.0f} / " for cases in r.stages)
            cells.append(f"{stages}{r.median:,.0f} [{low:,.0f}, {high:,.0f}]{lost}".rjust(width))
        yield f"{name:<34}" + "".join(cells)
    for engine in engines if RANDOM in engines else []:
        if engine == RANDOM:
            continue
        cases, entries = gain(runs, engine)
        worse = [c.mutant for c in compare(runs, engine) if c.ratio < 1 and c.p < 0.05]
        yield (
            f"{engine}: on the {len(hardest(runs))} hardest {cases:.2f} times fewer cases and {entries:.2f} "
            f"times fewer entries than random; worse on {', '.join(worse) or 'none'}"
        )


def draw(runs: list[Runs], engines: list[str], limit: int, path: Path) -> None:
    """Write to `path` (.svg or .png) what share of all runs is left after so many cases."""
    import matplotlib

    matplotlib.use("agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(7, 4.5), layout="constrained")
    for engine in engines:
        cases = sorted(n for r in runs if r.engine == engine for n in r.cases)
        left = [1 - (i + 1) / len(cases) for i in range(len(cases)) if cases[i] <= limit]
        axes.step([1, *cases[: len(left)]], [1.0, *left], where="post", label=engine)
    axes.set_xscale("log")
    axes.set_xlabel("cases")
    axes.set_ylabel("share of runs without a finding")
    axes.grid(alpha=0.3)
    axes.legend()
    write_figure(path, figure)
    pyplot.close(figure)
