"""The judges and the census in C find what the Python ones find, on sound and on spoiled outcomes.

pytest runs interpreted: a few hundred outcomes, against the very source that is compiled elsewhere.
"""

import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from bench.loops import PHASES
from bench.native_loop import ARCH, COUNT, JUDGE, Judged, Run, judge_c, run_c, run_staged
from bench.native_loop import PHASES as NATIVE_PHASES
from bench.native_sides import SOURCES
from fuzz.campaign import tally_case
from harness.canaries import NO_CANARY, Canary, canaries_of, number_of
from harness.census import CASES, DESCRIBE_EVERY, DESCRIBED, TALLY_SIZE, empty_tally
from harness.classes import NR_CLASSES, NUMBER, RED_BITS
from harness.handle import handle_of
from harness.judge import judges_of
from harness.relation import EXACT
from mm.jit import ROOT
from mm.state import NR_COUNTS

COMPILER = shutil.which("cc") or shutil.which("gcc")
pytestmark = pytest.mark.skipif(
    COMPILER is None or shutil.which("make") is None,
    reason="no C compiler or no make: the loop in C is untested",
)

SEED = 12
# What a mutant of the batched side is made of: the text, and what stands there instead.
MUTANTS = {
    "page 0 for the first page": ("first_page + (pfn - folio->start)", "first_page"),
    "no flush": (
        "if (pte_needs_flush(old, new))\n\t\tmidfolio_flush",
        "if (0)\n\t\tmidfolio_flush",
    ),
    "accessed is not merged": ("old |= others & ACCESSED;", ""),
    "loads where it should take": (
        "others |= midfolio_take(state, at)",
        "others |= midfolio_load(state, at)",
    ),
}


def mutant(where: Path, text: str, instead: str) -> str:
    """The library of our batched side with `text` replaced."""
    source = (SOURCES / f"batched_{ARCH}.c").read_text()
    assert source.count(text) == 1, text
    changed, library = where / "mutant.c", where / "mutant.so"
    changed.write_text(source.replace(text, instead))
    command = [str(COMPILER), "-O2", "-std=gnu11", "-shared", "-fPIC", f"-I{ROOT / 'harness'}"]
    subprocess.run([*command, str(changed), "-o", str(library)], check=True)
    return str(library)


def judged_by_python(run: Run, their_pages: int, whole: bool) -> tuple[int, np.ndarray]:
    """Union and tally of the Python judges, which fill the workspace."""
    workspace, judges, tally = run.workspace, judges_of(ARCH), empty_tally()
    workspace.whole[0] = whole
    with np.errstate(over="ignore"):
        handle, sane = handle_of(workspace), not run.wild
        union = judges.judge(handle, run.our_pages, their_pages, sane, EXACT)
        tally_case(workspace, np.uint64(union), tally)
        if whole:
            judges.describe(workspace, tally, bool(run.wild))
    return int(union), tally


def difference(run: Run, judged: Judged, union: int, tally: np.ndarray, whole: bool) -> list[str]:
    """What C says otherwise than the Python judges, which have filled the workspace."""
    workspace, verdict = run.workspace, judged.verdict
    nr_ptes = int(workspace.case.facts[0].nr_ptes)
    names = ["found", "needed", "covered"] + (["first", "changed"] if whole else [])
    wrong = [
        name
        for name in names
        if list(getattr(workspace, name)[:nr_ptes]) != list(getattr(verdict, name)[:nr_ptes])
    ]
    wrong += [] if judged.union == union else ["union"]
    wrong += [] if int(workspace.found_case[0]) == verdict.found_case else ["found_case"]
    return wrong + ([] if np.array_equal(judged.tally, tally) else ["tally"])


def compare(run: Run, canary: int) -> int:
    """Compare both judges on one outcome, spoiled by `canary`, described and not; the union."""
    workspace, union = run.workspace, 0
    their_pages = run.their_pages
    if canary != NO_CANARY:
        with np.errstate(over="ignore"):
            their_pages += int(judges_of(ARCH).spoil(workspace, canary))
    counts = workspace.ours.counts.copy()
    for whole in (True, False):
        # The judges apply the reference's rules, which report again.
        workspace.ours.counts[:] = counts
        union, tally = judged_by_python(run, their_pages, whole)
        workspace.ours.counts[:] = counts
        judged = judge_c(workspace, run.our_pages, their_pages, not run.wild, whole)
        assert difference(run, judged, union, tally, whole) == []
    return union


def test_numbers_are_those_of_the_python_source() -> None:
    header = (SOURCES / "judge.h").read_text()
    bits = re.findall(r"#define (\w+) BIT\((\d+)\)", header)
    assert {name.lower().replace("_", "-"): int(number) for name, number in bits}.items() <= {
        name.lower(): number for name, number in NUMBER.items()
    }.items()
    assert len(bits) > 30
    numbers = dict(re.findall(r"#define (\w+) (\d+)\n", header))
    assert int(numbers["NR_CLASSES"]) == NR_CLASSES
    assert int(numbers["MIDFOLIO_TALLY_SIZE"]) == TALLY_SIZE
    assert int(numbers["DESCRIBE_EVERY"]) == DESCRIBE_EVERY
    red = re.search(r"#define RED \(~UINT64_C\(0\) << (\d+)\)", header)
    assert red is not None
    assert (1 << 64) - (1 << int(red[1])) == int(RED_BITS)
    assert len(NUMBER) == NR_CLASSES == 64
    assert NATIVE_PHASES == PHASES


@pytest.mark.parametrize(("window", "cases"), [(0, 60), (8, 120), (64, 30), (512, 4)])
def test_sound_outcomes(window: int, cases: int) -> None:
    unions = {
        compare(run_staged(SEED, index, index + 1, window, "7.3"), NO_CANARY)
        for index in range(cases)
    }
    assert len(unions) > 1
    assert not any(union & int(RED_BITS) for union in unions)


@pytest.mark.parametrize("kernel", ["6.12", "6.16", "6.17", "6.18"])
def test_other_kernels(kernel: str) -> None:
    for index in range(40):
        compare(run_staged(SEED, index, index + 1, 0, kernel), NO_CANARY)


@pytest.mark.parametrize("canary", canaries_of(ARCH), ids=lambda c: "-".join(c[:2]))
def test_spoiled_outcomes(canary: Canary) -> None:
    number, shows = number_of(canary), NUMBER[canary.shows]
    for index in range(200):
        run = run_staged(SEED, index, index + 1, 12, "7.3")
        if compare(run, number) >> shows & 1:
            return
    pytest.fail("no outcome shows the canary")


@pytest.mark.parametrize("name", MUTANTS)
def test_mutants(name: str, tmp_path: Path) -> None:
    library = mutant(tmp_path, *MUTANTS[name])
    red = 0
    for index in range(60):
        run = run_staged(SEED, index, index + 1, 24, "7.3", target=library)
        red += bool(compare(run, NO_CANARY) & int(RED_BITS))
    assert red > 0
    assert run_c(SEED, 0, 60, 24, "7.3", target=library).diverging == red


def test_a_tally_is_the_sum_of_its_cases() -> None:
    cases = 3 * DESCRIBE_EVERY
    at_once = run_c(SEED, 0, cases, 0, "7.3").tally
    summed = empty_tally()
    for index in range(cases):
        run = run_staged(SEED, index, index + 1, 0, "7.3")
        summed += judged_by_python(run, run.their_pages, index % DESCRIBE_EVERY == 0)[1]
    assert np.array_equal(at_once, summed)
    assert at_once[CASES] == cases
    assert at_once[DESCRIBED] == 3
    assert len(run.workspace.ours.counts) == NR_COUNTS


def test_nothing_is_counted_up_to_the_verdict() -> None:
    assert not run_c(SEED, 0, 20, 8, "7.3", phase=JUDGE).tally.any()
    assert run_c(SEED, 0, 20, 8, "7.3", phase=COUNT).tally.any()
