"""What is timed is the campaign's own loop and the series' own calls; how long it takes is no test's business."""

from functools import partial
from math import inf

import numpy as np
import pytest

from bench import detect, report, series, speed
from bench.cost import MEMORIES, lay_out
from bench.loops import COUNT, GENERATE, JUDGE, PHASES, cycle
from bench.rounds import back_to_back
from fuzz import engines
from fuzz.hunter import Hunter
from harness.case import layout_of
from harness.census import CASES
from harness.relation import reference_side
from harness.targets import load
from mm.state import empty_state, set_kernel
from mm.version import VERSIONS

ARCH = "x86_64"


@pytest.fixture(autouse=True)
def wrapping():
    with np.errstate(over="ignore"):
        yield


def test_the_timed_loop_is_the_campaigns():
    timed = Hunter(load("batched", ARCH), "7.3", seed=3, window=8)
    hunted = Hunter(load("batched", ARCH), "7.3", seed=3, window=8)
    speed.run_staged(timed, 40, COUNT)
    hunted.hunt(0, 40)
    assert (timed.tally == hunted.tally).all()
    assert timed.tally[CASES] == 40


@pytest.mark.parametrize("last", range(GENERATE, COUNT))
def test_a_phase_that_is_not_reached_does_not_run(last: int):
    hunter = Hunter(load("batched", ARCH), "7.3", seed=3, window=8)
    hunter.workspace.found_case[0] = 77
    hunter.workspace.ours.counts[:] = 77
    hunter.workspace.case.facts[0].nr_ptes = 0
    speed.run_staged(hunter, 1, last)
    assert hunter.workspace.case.facts[0].nr_ptes == 8
    assert (hunter.workspace.ours.counts[0] == 77) == (last < PHASES.index("copy"))
    assert (hunter.workspace.found_case[0] == 77) == (last < JUDGE)
    assert hunter.tally.sum() == 0


def test_things_are_timed_in_turn():
    calls: list[str] = []
    taken = back_to_back({name: partial(calls.append, name) for name in "ab"}, rounds=3)
    assert calls == list("ab" * 4)
    assert all(t.least <= t.median <= t.most for t in taken.values())


@pytest.mark.parametrize("memory", MEMORIES, ids=lambda m: m.name)
@pytest.mark.parametrize("side", ["reference", "batched"])
@pytest.mark.parametrize("arch", ["x86_64", "arm64", "powerpc"])
def test_the_calls_of_the_series_lead_back(arch: str, side: str, memory):
    """Else the second round would time something else."""
    layout = layout_of(arch)
    entries = layout.entries_per_table
    pages = max(1, min(entries, memory.folio_bytes >> layout.page_shift))
    state = empty_state(entries, entries, entries)
    set_kernel(state.facts[0], VERSIONS["7.3"], layout.config)
    lay_out(state, layout, 0, pages, layout.block > 1 and bool(memory.folio_bytes))
    function = reference_side(arch) if side == "reference" else load("batched", arch).function
    calls = series.calls_of(layout)
    changed = cycle(function, state, calls, 1, 1)
    first = state.ptes.copy()
    assert changed == 2 * entries
    assert cycle(function, state, calls, 2, 1) == 4 * entries
    assert (state.ptes == first).all()
    # And the call in between does something.
    cycle(function, state, calls[:1], 1, 1)
    assert (state.ptes != first).all()


def test_an_engine_is_timed_by_a_campaign_that_finds_the_bug(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(detect.BUDGETS, "random", 20)
    found = detect.time_to_bug(ARCH, "random", range(1, 2))
    assert (found.missed, found.seeds) == (0, 1)
    assert 0 < found.least == found.seconds == found.most < inf
    # Too few cases to find it in.
    monkeypatch.setitem(detect.BUDGETS, "random", 1)
    assert detect.time_to_bug(ARCH, "random", range(3, 4)) == (inf, inf, inf, 1, 1)


def test_an_engine_that_is_slow_or_cannot_run_says_so(monkeypatch: pytest.MonkeyPatch):
    for name in engines.SLOW:
        monkeypatch.setitem(engines._ENGINES, name, (name, "not_there", name))
    missing = detect.by_engine(ARCH, range(1, 4), engines.SLOW)
    took = {"random": detect.ToBug(1.5, 0.5, inf, 1, 3), **missing}
    lines = list(report.engine_lines(report.times(took)))
    assert " ".join(lines[0].split()) == (
        "random 1.50 [0.50, never]; 1 of 3 missed it within 500 cases"
    )
    assert len(lines) == 3
    assert all(" NOT MEASURED: the " in line for line in lines[1:])
