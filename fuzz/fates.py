"""What becomes of the zoo's mutants: by their case in the corpus, and from scratch."""

import multiprocessing
from collections.abc import Iterator
from dataclasses import dataclass

from harness import classes, zoo
from harness.casefile import read_case
from harness.differences import primary, red
from harness.run import judge_case
from harness.targets import load
from mm.jit import ROOT

from .hunter import Hunter

CASES = ROOT / "corpus" / "mutants"


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
    hunter = Hunter(target, kernel, seed, cap=1)
    index = hunter.hunt(0, cases)
    found: int | None = None
    by = "-"
    if index < cases:
        bits = red(hunter.found(index).judgement)
        found, by = index + 1, ", ".join(classes.names(bits)[:3])
    if mutant.shows and found is None:
        problem = f"survives {cases} random cases of seed {seed}"
    if mutant.equivalent and found is not None:
        problem = f"is equivalent, but killed by {by} in case {index} of seed {seed}"
    return Fate(name, arch, mutant.shows, by_case, found, by, problem)


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
    with context.Pool(min(jobs, len(work))) as pool:
        yield from pool.imap(_fate, work)
