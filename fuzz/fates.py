"""What becomes of the zoo's mutants: by their case in the corpus, and from scratch."""

import multiprocessing
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import closing
from dataclasses import dataclass

from harness import classes, zoo
from harness.casefile import read_case
from harness.contain import hang_seconds
from harness.differences import primary, red
from harness.run import judge_case
from harness.targets import Target, load
from mm.jit import ROOT

from .hunter import Hunter
from .workers import Workers

CASES = ROOT / "corpus" / "mutants"
CHUNK = 500  # cases of which none is run behind the one that has the first finding


@dataclass
class Fate:
    """What became of one mutant."""

    name: str
    arch: str
    shows: str
    by_case: str  # the class by which its case in the corpus kills it, "-" without
    cases: int | None  # random cases until it was found, None if it was not
    by: str  # the class by which it was found
    problem: str  # what is wrong, "" if all is well


def fate(name: str, arch: str, kernel: str, cases: int, seed: int) -> Fate:
    """Run the mutant called `name` on its case and on up to `cases` random ones."""
    mutant = zoo.find(name)
    target = load(f"zoo:{name}", arch)
    by_case, problem = "-", ""
    path = CASES / f"{name}.case"
    recorded = read_case(path).case if path.exists() else None
    if recorded is not None and recorded.arch == arch:
        bits = red(judge_case(recorded, target))
        by_case = primary(bits) if bits else "survives"
        if not bits:
            problem = f"survives its case {path.relative_to(ROOT)}"
    elif mutant.shows and recorded is None:
        problem = f"has no case {path.relative_to(ROOT)}"
    first = first_finding(target, kernel, cases, seed)
    found: int | None = None
    by = "-"
    if first is not None:
        index, bits = first
        found, by = index + 1, ", ".join(classes.names(bits)[:3])
    if mutant.shows and found is None:
        problem = f"survives {cases} random cases of seed {seed}"
    if mutant.equivalent and found is not None:
        problem = f"is equivalent, but killed by {by} in case {index} of seed {seed}"
    return Fate(name, arch, mutant.shows, by_case, found, by, problem)


def first_finding(target: Target, kernel: str, cases: int, seed: int) -> tuple[int, int] | None:
    """The index of the first of so many random cases that `target` diverges on, and its red classes.

    The target runs in a process of its own: a new mutant may do anything.
    """
    workers = Workers(lambda: Hunter(target, kernel, seed, cap=1), 1, hang_seconds())
    bounds = ((first, min(first + CHUNK, cases)) for first in range(0, cases, CHUNK))
    with closing(workers.run(bounds)) as parts:
        for found in (found for part in parts for found in part.found):
            assert found.number is not None
            return found.number.index, red(found.judgement)
    return None


def _fate(arguments: tuple[str, str, str, int, int]) -> Fate:
    return fate(*arguments)


def fates(
    mutants: list[zoo.Mutant], arch: str | None, kernel: str, cases: int, seed: int, jobs: int
) -> Iterator[Fate]:
    """The fate of each mutant on each of its architectures, or on `arch`, in order.

    `jobs` processes compile and run them.
    """
    work = [
        (mutant.name, name, kernel, cases, seed)
        for mutant in mutants
        for name in mutant.arches
        if arch in (None, name)
    ]
    if jobs == 1 or len(work) == 1:
        yield from map(_fate, work)
        return
    context = multiprocessing.get_context("fork")
    with ProcessPoolExecutor(min(jobs, len(work)), context) as pool:
        yield from pool.map(_fate, work)
