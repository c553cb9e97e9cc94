"""Minimizing a corpus: the choice is the smallest there is, and what is killed stays killed."""

import itertools
import random
from collections.abc import Sequence
from dataclasses import replace

import highspy
import pytest

from harness.case import ARCHES, Case
from harness.casefile import Expect, read_case
from harness.corpus.cover import Cover, smallest_cover
from harness.corpus.jury import Feature, Jury
from harness.corpus.kills import Quarry, kills, left_behind, models, quarries, target_of
from harness.corpus.minimize import Minimum, lost, minimize
from harness.relation import EXACT
from harness.targets import batched_side
from mm.jit import ROOT

MUTANTS = ROOT / "corpus" / "mutants"
HEAD = Quarry("first-page-is-folio-head", "x86_64")
STALE = Quarry("stale-nr", "x86_64")


def killer(name: str) -> Case:
    return read_case(MUTANTS / f"{name}.case").case


def plain(name: str) -> Case:
    return read_case(ROOT / "corpus" / "seeds" / f"{name}.case").case


# The choice.


def order(chosen: Sequence[int], sizes: Sequence[int]) -> tuple[int, int, int]:
    """What makes one set better than another: fewer files, fewer entries, earlier names."""
    return len(chosen), sum(sizes[file] for file in chosen), sum(chosen) + len(chosen)


def best_of_all(wanted: list[frozenset[int]], sizes: Sequence[int]) -> tuple[int, int, int]:
    """The order of the best set, by looking at every one."""
    files = range(len(sizes))
    return min(
        order(chosen, sizes)
        for count in range(len(sizes) + 1)
        for chosen in itertools.combinations(files, count)
        if all(row.intersection(chosen) for row in wanted)
    )


def instance(seed: int) -> tuple[list[frozenset[int]], list[int]]:
    """What is wanted of up to nine files, and their sizes: few, so that ties are many."""
    rng = random.Random(seed)
    nr = rng.randrange(1, 10)
    sizes = [rng.choice([1, 2, 3, 5]) for _ in range(nr)]
    most = rng.choice([2, 3, nr])
    rows = [
        frozenset(rng.choices(range(nr), k=rng.randrange(min(2, most), most + 1)))
        for _ in range(rng.randrange(2 * nr))
    ]
    return rows, sizes


def test_the_choice_is_the_best_of_all() -> None:
    open_ones = 0
    for seed in range(80):
        wanted, sizes = instance(seed)
        cover = smallest_cover(wanted, sizes)
        assert order(cover.chosen, sizes) == best_of_all(wanted, sizes), seed
        assert (cover.gap, list(cover.chosen)) == (0, sorted(cover.chosen))
        open_ones += any(len(row) > 1 for row in wanted)
    assert open_ones > 50


def knot(seed: int, nr: int = 30) -> list[frozenset[int]]:
    """What no simple argument unties: each thing is brought by four of `nr` files."""
    rng = random.Random(seed)
    return [frozenset(rng.sample(range(nr), 4)) for _ in range(2 * nr)]


def test_a_search_that_meets_its_limit_says_so() -> None:
    best = smallest_cover(knot(1), [1] * 30)
    assert best.gap == 0
    gaps = []
    for nodes in (0, 1):
        cover = smallest_cover(knot(1), [1] * 30, nodes)
        assert all(row.intersection(cover.chosen) for row in knot(1))
        assert cover.least <= best.least <= len(cover.chosen)
        gaps.append(cover.gap)
    # Without a node nothing is known but that it takes a file.
    assert gaps[0] > gaps[1] > 0
    assert smallest_cover(knot(1), [1] * 30, 0).least == 1


def test_what_is_found_without_a_node_is_a_cover_all_the_same() -> None:
    for seed in range(30):
        wanted, sizes = instance(seed)
        cover = smallest_cover(wanted, sizes, nodes=0)
        assert all(row.intersection(cover.chosen) for row in wanted)
        count = best_of_all(wanted, sizes)[0]
        assert cover.least <= count <= len(cover.chosen)


def test_a_solver_that_is_wrong_is_not_believed(monkeypatch: pytest.MonkeyPatch) -> None:
    """It reckons with floating point."""
    nothing = highspy.HighsSolution()
    nothing.col_value = [0.0] * 30
    monkeypatch.setattr(highspy.Highs, "getSolution", lambda solver: nothing)
    chosen = smallest_cover(knot(1), [1] * 30, nodes=0).chosen
    assert all(row.intersection(chosen) for row in knot(1))


def test_parts_that_share_nothing_are_solved_each() -> None:
    rows = [frozenset(file + 30 * part for file in row) for part in range(3) for row in knot(part)]
    cover = smallest_cover(rows, [1] * 90, nodes=0)
    assert cover.least == 3
    assert smallest_cover(reversed(rows), [1] * 90, nodes=0) == cover
    assert smallest_cover([], [1]) == Cover((), 0)


# Mutants.


def is_killed(case: Case, quarry: Quarry) -> bool:
    return kills(case, target_of(quarry), left_behind(case, batched_side(case.arch)))


def test_a_case_kills_the_mutant_that_it_is_for_and_no_other() -> None:
    assert is_killed(killer("first-page-is-folio-head"), HEAD)
    assert not is_killed(killer("first-page-is-folio-head"), STALE)
    assert is_killed(killer("stale-nr"), STALE)
    # Its outcome is that of `batched`: it writes to an input, which only a judge of inputs sees.
    writes = Quarry("stamp-clears-flag", "x86_64")
    assert is_killed(killer(writes.name), writes)


def test_what_batched_gets_wrong_as_well_kills_nothing() -> None:
    """A case on which `batched` itself is red must not pass for one that kills all."""
    case, target = killer("first-page-is-folio-head"), target_of(HEAD)
    assert not kills(case, target, left_behind(case, target.function))


def test_a_mutant_that_raises_is_killed() -> None:
    def raises(state: object) -> int:
        raise IndexError(state)

    case = plain("pfnmap")
    right = left_behind(case, batched_side("x86_64"))
    assert kills(case, replace(target_of(HEAD), function=raises), right)


def test_mutants_are_those_that_a_case_can_be_run_on() -> None:
    arm = quarries(frozenset({"arm64"}))
    assert {quarry.arch for quarry in arm} == {"arm64"}
    # What nobody may see is not among them.
    names = {quarry.name for quarry in quarries(frozenset(ARCHES))}
    assert names.isdisjoint({"nothing", "batch-of-one"})
    case = killer("first-page-is-folio-head")
    assert models(case, HEAD)
    assert not models(case.replace(kernel="6.12"), HEAD)
    assert not models(case, arm[0])


def feature(number: int) -> Feature:
    return ("x86_64", "7.3", number)


def smallest(
    cases: list[Case],
    features: list[set[int]],
    mutants: Sequence[Quarry] = (),
    nodes: int = 100,
    expects: Sequence[tuple[Expect, ...]] | None = None,
) -> tuple[Minimum, list[str]]:
    """What stays of `cases`, and what that loses."""
    shown = [frozenset(map(feature, numbers)) for numbers in features]
    with Jury(cases, "batched", EXACT, jobs=1) as jury:
        found = minimize(jury, shown, expects or [()] * len(cases), mutants, nodes)
        return found, lost(jury, shown, found)


def test_the_only_killer_stays_though_it_brings_no_feature() -> None:
    cases = [
        plain("range-starts-inside-folio"),
        killer("first-page-is-folio-head"),
        plain("pfnmap"),
    ]
    kept, missing = smallest(cases, [{1}, set(), {1}], [HEAD, STALE])
    assert not missing
    assert kept.killed.keys() >= {HEAD}
    assert kept.spared == (STALE,)
    killing = [is_killed(case, HEAD) for case in cases]
    assert any(killing[number] for number in kept.chosen)
    # Without mutants, one file is enough.
    assert len(smallest(cases, [{1}, set(), {1}])[0].chosen) == 1


def test_of_many_killers_one_is_enough() -> None:
    """The killers are one more requirement, so the choice stays the smallest."""
    cases = [plain("pfnmap"), killer("stale-nr"), killer("first-page-is-folio-head")]
    cases.append(cases[2].replace(table_addr=0x7E00_0000_0000))
    kept, missing = smallest(cases, [{1, 2}, {1}, set(), {3}], [HEAD, STALE])
    assert not missing
    # 0 and 3 bring all features, and 3 kills HEAD; 1 is there for the other mutant.
    assert kept.chosen == (0, 1, 3)
    assert (kept.least, kept.killed) == (3, {HEAD: 3, STALE: 1})


def test_what_is_lost_is_told() -> None:
    cases = [plain("pfnmap"), killer("first-page-is-folio-head")]
    shown = [frozenset({feature(1 << 56)}), frozenset({feature(2 << 56)})]
    good = Minimum((0, 1), 2, 2, {HEAD: 1}, ())
    with Jury(cases, "batched", EXACT, jobs=1) as jury:
        assert lost(jury, shown, good) == []
        (missing,) = lost(jury, shown, good._replace(chosen=(1,)))
        assert missing.startswith("x86_64 7.3: call cp=- ")
        assert f"the kill of {HEAD}" in lost(jury, shown, good._replace(killed={HEAD: 0}))
        assert len(lost(jury, shown, good._replace(chosen=(0,)))) == 2


def test_a_recorded_divergence_of_ones_own_target_stays() -> None:
    """It is not run, so only the file knows of it."""
    cases = [plain("pfnmap"), plain("order-0-run")]
    own = (Expect("./mine.so", "cow-write"),)
    assert smallest(cases, [{1}, set()], expects=[(), own])[0].chosen == (0, 1)
    for other in ((Expect("./mine.so", ""),), (Expect("zoo:stale-nr", "pages-wrong"),)):
        assert smallest(cases, [{1}, set()], expects=[(), other])[0].chosen == (0,)


@pytest.mark.parametrize(("nodes", "seed"), [(0, 3), (0, 19), (1, 3), (1000, 3)])
def test_what_stays_stays_when_it_is_minimized_again(nodes: int, seed: int) -> None:
    """Whether or not the limit of nodes was met; with these seeds and no node, one look is not enough."""
    rng = random.Random(seed)
    features = [set(rng.sample(range(50), 6)) for _ in range(40)]
    cases = [plain("pfnmap")] * len(features)
    kept, missing = smallest(cases, features, nodes=nodes)
    assert not missing
    assert nodes < 1000 or kept.gap == 0
    rest = [features[number] for number in kept.chosen]
    again, _ = smallest(cases[: len(rest)], rest, nodes=nodes)
    assert 0 < len(again.chosen) == len(rest) < len(features)
