"""Shrinking keeps the class, ends where no edit helps, and says so truly.

The findings are random cases of the generator, by number; each is small again
after its mutant's bug is all that is left of it.
"""

import functools
from collections.abc import Iterator

import numpy as np
import pytest

from fuzz.sources import case_of_number
from harness import classes
from harness.anatomy import is_present, pfn_of
from harness.arrays import state_of, states_of
from harness.case import ARCHES, LAYOUTS, Call, Case, Folio, Vma
from harness.casefile import format_case, parse_case
from harness.differences import primary, red
from harness.relation import EXACT
from harness.run import Judgement, judge_case
from harness.sane import is_sane
from harness.shrink import shrinker as shrinking
from harness.shrink.dullness import dullness, page_edits, plain_page, swap_edits, with_pfn
from harness.shrink.order import key
from harness.shrink.passes import PASSES, edits, name_of
from harness.shrink.shrinker import Certificate, Flaky, Shrinker
from harness.shrink.spans import spans
from harness.shrink.trial import Trials
from harness.shrink.window import cut_to_range, drop_pages, without_entries
from harness.targets import Target, load
from mm import flags
from mm.state import State

# Mutant, a random case that it gets wrong, its class, and how large a case must be to show
# it: entries in range, entries that are not empty, folios, pages of these.
FINDINGS = [
    ("first-page-is-folio-head", "x86_64:7.3:3:1:12", "cow-write", (1, 1, 1, 2)),
    ("no-range-clip", "x86_64:7.3:3:1:3", "outside-changed", (1, 2, 1, 2)),
    ("load-instead-of-take", "x86_64:7.3:3:1:17", "accessed-lost", (2, 2, 1, 2)),
    ("migration-loses-soft-dirty", "x86_64:7.3:3:1:43", "swap-changed", (1, 1, 0, 0)),
    ("stale-nr", "x86_64:7.3:3:1:14", "pages-wrong", (4, 3, 1, 2)),
    ("modify-keeps-rdonly", "arm64:7.3:3:1:4", "bits-changed", (1, 1, 0, 0)),
    ("unfold-without-tlbi", "arm64:7.3:3:1:2", "unfold-missing", (1, 16, 1, 16)),
    ("coprocessors-told-once", "powerpc:7.3:3:1:33", "nmmu-missing", (2, 2, 1, 2)),
    ("page-size-forgotten", "powerpc:7.3:3:1:2", "pfn-changed", (2, 2, 1, 2)),
]
# Enough to see that pairs are tried; all of them are where a test is about pairs.
SOME_PAIRS = 30


@functools.cache
def found(mutant: str, number: str) -> Judgement:
    case = case_of_number(number)
    return judge_case(case, load(f"zoo:{mutant}", case.arch))


@functools.cache
def shrunk(mutant: str, number: str) -> tuple[Shrinker, Certificate]:
    judgement = found(mutant, number)
    keep = primary(red(judgement))
    shrinker = Shrinker(
        judgement, load(f"zoo:{mutant}", judgement.case.arch), keep, EXACT, SOME_PAIRS
    )
    return shrinker, shrinker.run()


def size(case: Case) -> tuple[int, int, int, int]:
    return (
        case.call.end - case.call.start,
        sum(word != 0 for word in case.ptes),
        len(case.folios),
        sum(folio.nr_pages for folio in case.folios),
    )


@pytest.mark.parametrize(
    ("mutant", "number", "name", "most"), FINDINGS, ids=[f"{f[0]} {f[1]}" for f in FINDINGS]
)
def test_a_finding_shrinks_to_its_bug(
    mutant: str, number: str, name: str, most: tuple[int, ...]
) -> None:
    shrinker, _ = shrunk(mutant, number)
    first, last = shrinker.first, shrinker.current
    assert primary(red(first)) == name == shrinker.keep
    assert primary(red(last)) == name
    assert all(a <= b for a, b in zip(size(last.case), most, strict=True)), size(last.case)
    assert len(last.case.ptes) <= max(last.case.layout.block, *most[:2])
    assert last.case.check() is None
    assert first.sane
    assert last.sane
    assert is_sane(last.case)
    # A replay in any checkout shows the same.
    assert parse_case(format_case(last.case)).case == last.case
    assert judge_case(last.case, shrinker.target) == last


@pytest.mark.parametrize(
    ("mutant", "number"), [f[:2] for f in FINDINGS], ids=[f"{f[0]} {f[1]}" for f in FINDINGS]
)
def test_the_certificate_is_true(mutant: str, number: str) -> None:
    """Each edit once more, by another way than the shrinker's: none keeps the class."""
    shrinker, certificate = shrunk(mutant, number)
    case = shrinker.current.case
    candidates = {
        edited
        for one in PASSES
        for edited in one(case)
        if edited.check() is None and key(edited) < key(case) and is_sane(edited)
    }
    for edited in candidates:
        judgement = judge_case(edited, shrinker.target)
        names = classes.names(red(judgement))
        before = set(classes.names(red(shrinker.first)))
        kept = shrinker.keep in names and before.issuperset(names[: names.index(shrinker.keep)])
        assert not kept, format_case(edited)
    assert certificate.singles == len(candidates) > 0
    assert certificate.limit == SOME_PAIRS
    assert 0 < certificate.pairs <= SOME_PAIRS
    text = " ".join(certificate.lines())
    assert f"none of {certificate.singles} single edits keeps {shrinker.keep}" in text
    assert all(name_of(one) in text for one in PASSES)


@pytest.mark.parametrize(
    ("mutant", "number"), [f[:2] for f in FINDINGS[:5]], ids=[f[0] for f in FINDINGS[:5]]
)
def test_what_is_minimal_stays_as_it_is(mutant: str, number: str) -> None:
    before, certificate = shrunk(mutant, number)
    again = Shrinker(before.current, before.target, before.keep, EXACT, SOME_PAIRS)
    assert again.run() == certificate
    assert again.kept == 0
    assert again.current == before.current


def test_the_same_finding_shrinks_the_same_way() -> None:
    first, certificate = shrunk(*FINDINGS[0][:2])
    second = Shrinker(first.first, first.target, first.keep, EXACT, SOME_PAIRS)
    assert second.run() == certificate
    assert (second.current, second.tried) == (first.current, first.tried)


def test_a_pass_that_is_missing_is_missed(monkeypatch: pytest.MonkeyPatch) -> None:
    """The brute force above would see what a shrinker leaves: without a pass the case is larger."""
    first, _ = shrunk(*FINDINGS[0][:2])
    for one in PASSES:
        if name_of(one) in ("plain-vma", "lower-pages"):
            fewer = tuple(other for other in PASSES if other is not one)
            monkeypatch.setattr(shrinking, "PASSES", fewer)
            worse = Shrinker(first.first, first.target, first.keep, EXACT, 0)
            worse._run_passes()
            assert key(worse.current.case) > key(first.current.case), name_of(one)


# Slips.


def test_what_shows_another_class_is_remembered() -> None:
    """Entries behind the range are counted, too: not what is kept, and a finding of its own."""
    shrinker, _ = shrunk("no-range-clip", "x86_64:7.3:3:1:3")
    slipped = list(shrinker.slipped())
    assert [primary(red(judgement)) for judgement in slipped] == ["pages-wrong"]
    for judgement in slipped:
        assert shrinker.keep not in classes.names(judgement.union)
        assert judgement.sane
        assert judge_case(judgement.case, shrinker.target) == judgement


def test_no_class_may_come_in_before_the_one_that_is_kept() -> None:
    """The target is wrong in two ways without a folio: that is another bug, and a slip."""

    def two_bugs(state: State) -> int:
        if int(state.facts[0].nr_folios) == 0:
            state.ptes[0] ^= np.uint64(1 << 20)
        return 77

    shrinker, _ = shrink_on(two_bugs, "pages-wrong")
    assert classes.names(red(shrinker.current)) == ["pages-wrong"]
    assert len(shrinker.current.case.folios) == 1
    assert shrinker.current.case.ptes == (0,)
    (slip,) = shrinker.slipped()
    assert "pages-wrong" in classes.names(red(slip)) != ["pages-wrong"]
    assert slip.case.folios == ()


# Targets of one's own.


def simple_case() -> Case:
    """Two pages of a folio in the middle of a table."""
    layout = LAYOUTS["x86_64"][0]
    word = int(layout.protection_map[9])
    return Case(
        vma=Vma(int(flags.VM_READ | flags.VM_MAYREAD)),
        call=Call(0, word, 0, 2),
        ptes=(word | 0x5000 << 12, word | 0x5001 << 12),
        folios=(Folio(0x5000, 2),),
        table_addr=0x7F00_0004_0000,
    )


def python_target(function: object) -> Target:
    return Target("mine:target", "x86_64", function, False, contained=False)  # type: ignore[arg-type]


def shrink_on(function: object, keep: str, pairs: int = 0) -> tuple[Shrinker, Certificate]:
    target = python_target(function)
    judgement = judge_case(simple_case(), target)
    shrinker = Shrinker(judgement, target, keep, EXACT, pairs)
    return shrinker, shrinker.run()


def test_a_pair_of_edits_helps_where_no_single_one_does() -> None:
    """The target is wrong iff the table is low and no folio there, or neither."""

    def wrong(state: State) -> int:
        low = int(state.facts[0].table_addr) < 0x7F00_0002_0000
        bare = int(state.facts[0].nr_folios) == 0
        return 77 if low == bare else 0

    alone, _ = shrink_on(wrong, "pages-wrong", pairs=0)
    assert len(alone.current.case.folios) == 1
    assert alone.current.case.table_addr == simple_case().table_addr
    paired, certificate = shrink_on(wrong, "pages-wrong", pairs=1000)
    assert paired.current.case.folios == ()
    assert paired.current.case.table_addr < 0x7F00_0002_0000
    assert certificate.whole
    assert "(all there are)" in certificate.lines()[0]


def test_a_limit_of_pairs_is_said() -> None:
    _, certificate = shrunk(*FINDINGS[0][:2])
    assert not certificate.whole
    assert certificate.pairs == SOME_PAIRS
    assert (
        f"the first {SOME_PAIRS} of their pairs does (limit {SOME_PAIRS})" in certificate.lines()[0]
    )
    assert "not asked for" in Certificate("x", 1, 0, 0, False).lines()[0]


def test_what_a_target_raises_shrinks() -> None:
    def raising(state: State) -> int:
        if int(state.facts[0].nr_ptes) == 1:
            return 0
        raise KeyError("two entries")

    shrinker, _ = shrink_on(raising, "target-raised")
    assert len(shrinker.current.case.ptes) == 2
    assert "two entries" in shrinker.current.how[-1]
    # Nothing else of the case mattered.
    assert shrinker.current.case.folios == ()


def test_a_target_that_changes_its_mind_is_flaky() -> None:
    calls: list[int] = []

    def fickle(state: State) -> int:
        calls.append(1)
        return 77 if len(calls) % 2 else 0

    with pytest.raises(Flaky):
        shrink_on(fickle, "pages-wrong")


# The parts.


def some_cases(arch: str, count: int) -> Iterator[Case]:
    for index in range(count):
        case = case_of_number(f"{arch}:7.3:3:5:{index}")
        if len(case.ptes) <= 64:
            yield case


@pytest.mark.parametrize("arch", ARCHES)
def test_a_stack_is_judged_as_each_case_is(arch: str) -> None:
    cases = list(some_cases(arch, 12))
    target = load("zoo:batch-crosses-cont" if arch == "arm64" else "zoo:merge-without-dirty", arch)
    largest = Case(
        **{
            **{n: getattr(cases[0], n) for n in Case.__dataclass_fields__},
            "ptes": (0,) * 64,
            "folios": tuple(f for case in cases for f in case.folios),
        }
    )
    trials = Trials(largest, target, EXACT)
    expected = [judge_case(case, target).union for case in cases]
    assert trials.unions(cases, [is_sane(case) for case in cases]) == expected
    assert len(set(expected)) > 1


@pytest.mark.parametrize("arch", ARCHES)
def test_states_of_holds_each_case(arch: str) -> None:
    *cases, last = some_cases(arch, 9)
    assert len(cases) > 1
    # What the hardware flips has its place behind the entries of the cases before it, too.
    bits = int(last.layout.hardware_bits)
    flipped = tuple((i, bits) for i in range(len(last.ptes)))
    cases.append(last.replace(ptes=(0,) * len(flipped), hardware=flipped))
    assert state_of(cases[-1]).hardware.any()
    stack = states_of(cases)
    pte = page = row = 0
    for number, case in enumerate(cases):
        alone = state_of(case)
        pages = sum(folio.nr_pages for folio in case.folios)
        assert stack.facts[number] == alone.facts[0]
        for name, at, length in (
            ("ptes", pte, len(case.ptes)),
            ("hardware", pte, len(case.ptes)),
            ("folios", row, len(case.folios)),
            ("exclusive", page, pages),
        ):
            there = getattr(stack, name)[at : at + length]
            assert np.array_equal(there, getattr(alone, name)[:length]), name
        pte, row, page = pte + len(case.ptes), row + len(case.folios), page + pages


@pytest.mark.parametrize("arch", ARCHES)
def test_edits_read_back_and_keep_the_page(arch: str) -> None:
    """Whatever a pass gives is a case or breaks a rule by name; an edit of an entry keeps its PFN."""
    for layout in LAYOUTS[arch]:
        none = int(layout.page_none)
        for pfn in (0, 0x800, (1 << layout.pfn_bits) - 1):
            for word in (plain_page(layout, pfn), with_pfn(layout, none, pfn)):
                assert pfn_of(layout, word) == pfn
                assert pfn_of(layout, with_pfn(layout, word, 0x77)) == 0x77
                for edit in page_edits(arch, layout.page_shift):
                    edited = edit.change(word)
                    if is_present(layout, edited):
                        assert pfn_of(layout, edited) == pfn, edit.name
            plain = plain_page(layout, pfn)
            assert dullness(arch, layout.page_shift, plain) < dullness(
                arch, layout.page_shift, with_pfn(layout, none, pfn)
            )
    case = next(some_cases(arch, 9))
    legal = [edited for edited in edits(case) if edited.check() is None]
    assert len(legal) > 50
    for edited in legal[::17]:
        assert parse_case(format_case(edited)).case == edited


def test_a_swap_entry_becomes_duller_step_by_step() -> None:
    layout = LAYOUTS["x86_64"][0]
    # Type 26, offset 5, soft-dirty: the offset stands inverted.
    word = 26 << 59 | (~5 & (1 << 50) - 1) << 9 | int(layout.swap.soft_dirty)
    by_name = {edit.name: edit.change(word) for edit in swap_edits("x86_64", 12)}
    assert by_name["offset 0"] == 26 << 59 | ((1 << 50) - 1) << 9 | int(layout.swap.soft_dirty)
    assert by_name["no flag"] == word & ~int(layout.swap.soft_dirty)
    assert by_name["type 0"] == word & (1 << 59) - 1
    assert is_present(layout, by_name["a page"])
    costs = {name: dullness("x86_64", 12, other) for name, other in by_name.items()}
    assert all(cost < dullness("x86_64", 12, word) for cost in costs.values())
    assert costs["a page"] < costs["swap"] < costs["offset 0"]


def test_spans_are_the_whole_then_its_parts() -> None:
    assert list(spans(1)) == [(0, 1)]
    assert list(spans(3)) == [(0, 3), (2, 3), (0, 2), (2, 3), (1, 2), (0, 1)]
    assert list(spans(32, 16)) == [(0, 32), (16, 32), (0, 16)]
    assert {(i, i + 1) for i in range(7)} <= set(spans(7))


def test_entries_are_left_out_with_what_belongs_to_them() -> None:
    case = simple_case().replace(ptes=(1, 2, 3, 4), call=Call(0, 0, 1, 3), folios=())
    case = case.replace(hardware=((1, 32), (2, 32)))
    shorter = without_entries(case, 0, 2)
    assert shorter is not None
    assert (shorter.ptes, shorter.call.start, shorter.call.end) == ((3, 4), 0, 1)
    assert shorter.hardware == ((0, 32),)
    assert without_entries(case, 1, 3) is None
    cut = next(cut_to_range(case))
    assert (cut.ptes, cut.call.start, cut.call.end) == ((2, 3), 0, 2)


def test_a_gap_is_closed_with_its_exclusive_bits() -> None:
    # Pages A+0 A+1 A+2 A+3, exclusive x . . x: without A+1 it is x . x.
    layout = LAYOUTS["x86_64"][0]
    word = int(layout.protection_map[9])
    case = simple_case().replace(
        ptes=tuple(word | 0x5000 + i << 12 for i in range(4)),
        call=Call(0, word, 0, 4),
        folios=(Folio(0x5000, 4, exclusive=0b1001),),
    )
    closed = [c for c in drop_pages(case) if len(c.ptes) == 3]
    expected = tuple(word | 0x5000 + i << 12 for i in range(3))
    assert (expected, 0b1101) in [(c.ptes, c.folios[0].exclusive) for c in closed]
    assert all(c.ptes == expected for c in closed)
