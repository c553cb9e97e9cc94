"""A verdict does not depend on whether a case is described, and a tally not on how it is cut."""

import numpy as np
import pytest

from fuzz.hunter import Hunter
from harness.canaries import CANARIES, NO_CANARY
from harness.case import ARCHES, layout_of
from harness.census import CASES, CLASS_CASES, DESCRIBE_EVERY, DESCRIBED, KIND_CASES
from harness.conform import HISTORICAL
from harness.relation import ANY, EXACT, NONE
from harness.targets import load
from harness.workspace import set_up


def verdicts(hunter: Hunter, index: int, canary: int) -> list[list[int]]:
    """What the judge finds in one outcome, described and not."""
    workspace = hunter.workspace
    wild = hunter.generate(hunter.choices, workspace.case, np.uint64(9), np.uint64(index))
    found = []
    for whole in (1, 0):
        # Once more, because the judge applies the reference's rules, which report again.
        set_up(workspace)
        ours = hunter.reference(workspace.ours)
        theirs = hunter.target.function(workspace.theirs)
        theirs += hunter.spoil(workspace, canary) if canary else 0
        workspace.whole[0] = whole
        union = hunter.judge(hunter.handle, ours, theirs, wild == 0, hunter.batching)
        entries = workspace.found[: workspace.case.facts[0].nr_ptes]
        found.append([int(union), int(workspace.found_case[0]), *map(int, entries)])
    return found


@pytest.mark.parametrize("batching", [EXACT, ANY, NONE])
@pytest.mark.parametrize("target", ["batched", HISTORICAL])
@pytest.mark.parametrize("arch", ARCHES)
def test_described_or_not(arch: str, target: str, batching: int) -> None:
    window = 2 * max(4, layout_of(arch).block)
    hunter = Hunter(load(target, arch), "7.3", seed=9, batching=batching, window=window)
    seen = set()
    with np.errstate(over="ignore"):
        for index in range(150):
            whole, quick = verdicts(hunter, index, NO_CANARY)
            assert quick == whole, (index, quick, whole)
            seen.add(tuple(whole))
    assert len(seen) > 20


@pytest.mark.parametrize("arch", ARCHES)
def test_described_or_not_when_spoiled(arch: str) -> None:
    hunter = Hunter(load("reference", arch), "7.3", seed=9, window=max(8, layout_of(arch).block))
    rang = 0
    with np.errstate(over="ignore"):
        for canary in range(1, len(CANARIES) + 1):
            for index in range(8):
                whole, quick = verdicts(hunter, index, canary)
                assert quick == whole, (CANARIES[canary - 1], index)
                rang += whole[0] != 0
    assert rang > 20


def test_what_is_described() -> None:
    hunter = Hunter(load(HISTORICAL, "x86_64"), "7.3", seed=9, cap=0, window=8)
    hunter.hunt(0, 3 * DESCRIBE_EVERY)
    at_once = hunter.tally.copy()
    hunter.tally[:] = 0
    hunter.hunt(0, 5)
    hunter.hunt(5, 3 * DESCRIBE_EVERY)
    assert (hunter.tally == at_once).all()
    assert at_once[CASES] == 3 * DESCRIBE_EVERY
    assert at_once[DESCRIBED] == 3
    # Classes are counted in every case.
    assert at_once[CLASS_CASES:KIND_CASES].sum() > 3
