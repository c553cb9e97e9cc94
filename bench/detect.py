"""How long it takes to find the historical bug, warm: a whole process, and each engine's campaign."""

import json
import resource
import subprocess
import sys
from math import inf
from statistics import median
from tempfile import TemporaryDirectory
from typing import NamedTuple

from fuzz import engines
from harness.conform import HISTORICAL
from mm.jit import ROOT

# What the campaign imports before it does anything.
IMPORTS = "import fuzz.runner, fuzz.sweep, fuzz.summary, fuzz.generators.{arch}, harness.judges.{arch}, reference.{arch}"

# Cases after which an engine has missed it: some times what each takes.
BUDGETS = {"random": 500, "guided": 500, "hypothesis": 1_000, "atheris": 1_500}


class ToBug(NamedTuple):
    """What an engine's campaigns took until they showed the bug, each with another seed.

    Seconds from the beginning of the campaign: growing a corpus, starting processes and
    shrinking are part of it, imports and canaries are not.
    """

    seconds: float  # the median; one that missed it counts as longer than any
    least: float
    most: float
    missed: int
    seeds: int


class Detection(NamedTuple):
    """CPU seconds of whole processes, medians."""

    imports: float  # one that only imports
    found: float  # one that imports, proves its canaries and finds the bug
    cases: int  # until it was found

    @property
    def after_imports(self) -> float:
        """CPU seconds that finding takes beside the imports."""
        return self.found - self.imports


def _cpu_of(*arguments: str) -> tuple[float, str]:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(
        [sys.executable, *arguments], cwd=ROOT, capture_output=True, text=True, check=False
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    seconds = after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime
    return seconds, done.stdout


def detection(arch: str, rounds: int = 5) -> Detection:
    """The first finding of `fuzz --target` the historical mutant, each round with another seed."""
    imports, found, cases = [], [], []
    for seed in range(rounds + 1):
        alone, _ = _cpu_of("-c", IMPORTS.format(arch=arch))
        options = ["--arch", arch, "--target", HISTORICAL, "--seed", str(seed), "--cases", "500"]
        with TemporaryDirectory() as work:  # no campaign of the user's goes on
            options += ["--work", work, "--json"]
            whole, printed = _cpu_of("-m", "fuzz.cli", "fuzz", *options)
        # The first round may still compile.
        if seed:
            record = json.loads(printed)
            if not record["diverging"]:
                raise RuntimeError(f"the historical bug was not found with seed {seed}")
            imports.append(alone)
            found.append(whole)
            cases.append(record["cases"])
    return Detection(median(imports), median(found), int(median(cases)))


def time_to_bug(arch: str, engine: str, seeds: range) -> ToBug:
    """Let `engine` look for the historical bug with each of `seeds`."""
    seconds = []
    for seed in seeds:
        options = ["--arch", arch, "--engine", engine, "--target", HISTORICAL, "--json"]
        options += ["--seed", str(seed), "--cases", str(BUDGETS[engine]), "--per-class", "1"]
        with TemporaryDirectory() as work:
            _, printed = _cpu_of("-m", "fuzz.cli", "fuzz", *options, "--work", work)
        first = json.loads(printed)["first_finding_seconds"]
        seconds.append(inf if first is None else first)
    return ToBug(median(seconds), min(seconds), max(seconds), seconds.count(inf), len(seconds))


def by_engine(
    arch: str, seeds: range, names: tuple[str, ...] = engines.NAMES
) -> dict[str, ToBug | str]:
    """The time to the bug by engine; for one that cannot run here, why."""
    return {name: engines.missing(name) or time_to_bug(arch, name, seeds) for name in names}
