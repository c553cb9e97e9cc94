"""The loop in C makes the cases of the Python one, and its runs of the sides leave the same bytes.

pytest runs interpreted: a few hundred cases, against the very source that is compiled elsewhere.
"""

import shutil

import numpy as np
import pytest

from bench.loops import PHASES
from bench.native_loop import ARCH, TARGET, run_staged
from bench.native_loop import PHASES as NATIVE_PHASES
from fuzz.choices import WINDOW, empty_choices
from fuzz.generator import empty_case
from fuzz.generators import generator_of
from harness.relation import reference_side
from harness.targets import load
from harness.workspace import Workspace, copy_case, workspace_for
from mm.state import FACT_NAMES, NR_FLUSHES, NR_STAMPS, State
from mm.version import VERSIONS

pytestmark = pytest.mark.skipif(
    shutil.which("cc") is None or shutil.which("make") is None,
    reason="no C compiler or no make: the loop in C is untested",
)

SEED = 11
# Windows, kernels, cases of each.
SERIES = [(0, kernel, 40) for kernel in VERSIONS] + [(8, "7.3", 100), (64, "7.3", 40)]
SERIES += [(512, "7.3", 6)]


def python_workspace(window: int, kernel: str, index: int) -> tuple[Workspace, int]:
    """A workspace with case `index`, made and copied by Python, and whether it is wild."""
    case = empty_case(ARCH, kernel)
    choices = empty_choices()
    choices[WINDOW] = window
    with np.errstate(over="ignore"):
        wild = generator_of(ARCH)(choices, case, np.uint64(SEED), np.uint64(index))
        workspace = workspace_for(case)
        copy_case(workspace)
    return workspace, wild


def differences(one: State, other: State) -> list[str]:
    """The arrays and facts that are not the same, up to the last element that anybody wrote."""
    names = [name for name in FACT_NAMES if one.facts[0][name] != other.facts[0][name]]
    arrays = ("ptes", "hardware", "folios", "exclusive", "counts")
    names += [
        name for name in arrays if not np.array_equal(getattr(one, name), getattr(other, name))
    ]
    flushes, stamps = int(one.counts[NR_FLUSHES]), int(one.counts[NR_STAMPS])
    names += [] if np.array_equal(one.flushes[:flushes], other.flushes[:flushes]) else ["flushes"]
    names += [] if np.array_equal(one.stamps[:stamps], other.stamps[:stamps]) else ["stamps"]
    return names


def test_phases_are_those_of_the_python_loop() -> None:
    assert PHASES[: len(NATIVE_PHASES)] == NATIVE_PHASES


@pytest.mark.parametrize(("window", "kernel", "cases"), SERIES)
def test_same_cases_and_same_runs(window: int, kernel: str, cases: int) -> None:
    reference, batched = reference_side(ARCH), load("batched", ARCH).function
    wild_cases = 0
    for index in range(cases):
        python, wild = python_workspace(window, kernel, index)
        native = run_staged(SEED, index, index + 1, window, kernel, TARGET)
        assert native.wild == wild, index
        assert differences(python.case, native.workspace.case) == [], index
        with np.errstate(over="ignore"):
            pages = reference(python.ours), batched(python.theirs)
        assert (native.our_pages, native.their_pages) == pages, index
        assert differences(python.ours, native.workspace.ours) == [], index
        assert differences(python.theirs, native.workspace.theirs) == [], index
        wild_cases += wild
    assert wild_cases or cases < 40


def test_a_range_of_cases_ends_with_its_last_one() -> None:
    alone = run_staged(SEED, 29, 30, 0, "7.3")
    after_others = run_staged(SEED, 0, 30, 0, "7.3")
    facts = alone.workspace.case.facts[0]
    assert facts == after_others.workspace.case.facts[0]
    nr_ptes = int(facts.nr_ptes)
    for side in range(3):
        one, other = alone.workspace[side], after_others.workspace[side]
        assert np.array_equal(one.ptes[:nr_ptes], other.ptes[:nr_ptes])
    assert alone.their_pages == after_others.their_pages
    assert after_others.wild >= 1
