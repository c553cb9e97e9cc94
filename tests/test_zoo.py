"""The zoo proves the judges: each known bug is killed by its case, and by the class it is known for."""

import functools
from collections.abc import Iterator

import numpy as np
import pytest

from fuzz.choices import WINDOW, empty_choices
from fuzz.generator import empty_case
from fuzz.generators import generator_of
from harness import classes, targets, zoo
from harness.anatomy import pfn_of
from harness.arrays import case_of
from harness.case import ARCHES, Case, layout_of
from harness.casefile import Expect, format_case, parse_case, read_case
from harness.differences import primary, red
from harness.relation import ANY
from harness.run import Judgement, judge_case
from harness.sane import broken_rules, is_sane
from harness.targets import Target
from mm.arm64 import PTE_CONT
from mm.jit import ROOT
from mm.version import DEFAULT_VERSION, VERSIONS

CORPUS = ROOT / "corpus"
BUGS = [mutant for mutant in zoo.all_mutants() if not mutant.equivalent]
EQUIVALENT = [mutant for mutant in zoo.all_mutants() if mutant.equivalent]
MID_FOLIO = [mutant for mutant in zoo.all_mutants() if mutant.mid_folio_only]
BATCHED = {arch: targets.load("batched", arch) for arch in ARCHES}


def target_of(mutant: zoo.Mutant, arch: str) -> Target:
    return targets.load(f"zoo:{mutant.name}", arch)


def case_for(mutant: zoo.Mutant) -> Case:
    return read_case(CORPUS / "mutants" / f"{mutant.name}.case").case


def kills(case: Case, target: Target) -> list[str]:
    return classes.names(red(judge_case(case, target)))


def random_cases(arch: str, seed: int, count: int, window: int = 0) -> Iterator[Case]:
    """Random cases of the default kernel; `window` entries each, 0: as it comes."""
    state = empty_case(arch, DEFAULT_VERSION)
    generate_case = generator_of(arch)
    choices = empty_choices()
    choices[WINDOW] = window
    for index in range(count):
        with np.errstate(over="ignore"):
            generate_case(choices, state, np.uint64(seed), np.uint64(index))
        yield case_of(state, arch, DEFAULT_VERSION)


def case_with_a_dirtied_head() -> Case:
    return parse_case(
        "midfolio-case 1\narch: x86_64\nkernel: 7.3\nvma: anon\nrange: [0, 3)\n"
        "newprot: --- accessed\nfolio A: pfn=0x1000 pages=4\npte 0..1: A+0 r-- soft_dirty\n"
        "pte 2: A+2 r-- soft_dirty saved_dirty\nhardware 0: dirty\n"
    ).case


@functools.cache
def corpus_cases(arch: str) -> tuple[tuple[str, Case], ...]:
    cases = ((path, read_case(path).case) for path in sorted(CORPUS.rglob("*.case")))
    return tuple(
        (str(path.relative_to(CORPUS)), case)
        for path, case in cases
        if case.arch == arch and VERSIONS[case.kernel].batched
    )


# The records.


def test_the_historical_mutant_comes_first():
    first = zoo.all_mutants()[0]
    assert first.name == "first-page-is-folio-head"
    assert "cac1db8c3aad" in first.origin
    assert "cf1b80dc31a1" in first.origin


def test_there_are_twenty_bugs_and_more():
    assert len(BUGS) >= 20
    assert EQUIVALENT


def test_names_are_unique_and_classes_exist():
    names = [mutant.name for mutant in zoo.all_mutants()]
    assert len(set(names)) == len(names)
    assert {mutant.shows for mutant in BUGS} <= set(classes.NUMBER)


def test_what_is_called_equivalent_is_proven_and_nothing_else():
    assert [m.name for m in zoo.all_mutants() if bool(m.proof) != m.equivalent] == []


def test_every_text_is_in_batched_exactly_once():
    for mutant in zoo.all_mutants():
        texts = zoo.mutated(mutant)
        assert texts[mutant.file] != (zoo.SIDE / mutant.file).read_text()


@pytest.mark.parametrize(
    ("text", "count"), [("no such text", 0), ("import", 3)], ids=["gone", "not-unique"]
)
def test_a_text_that_moved_is_stale(text, count):
    stale = BUGS[0]._replace(find=text)
    seen = (zoo.SIDE / stale.file).read_text().count(text)
    assert seen == 0 if count == 0 else seen > 1
    with pytest.raises(zoo.StaleMutant, match=f"occurs {seen} times in batched/{stale.file}"):
        zoo.mutated(stale)
    with pytest.raises(zoo.StaleMutant):
        zoo.load(stale, "x86_64")


def test_a_file_that_is_gone_is_stale():
    with pytest.raises(zoo.StaleMutant, match="occurs 0 times"):
        zoo.mutated(BUGS[0]._replace(file="gone.py"))


# The minimal cases.


def test_each_bug_has_a_case_and_no_case_is_left_over():
    files = {path.stem for path in (CORPUS / "mutants").iterdir()}
    assert files == {mutant.name for mutant in BUGS}


@pytest.mark.parametrize("mutant", BUGS, ids=lambda mutant: mutant.name)
def test_each_bug_is_killed_by_its_case(mutant):
    path = CORPUS / "mutants" / f"{mutant.name}.case"
    parsed = read_case(path)
    arch = parsed.case.arch
    assert arch in mutant.arches
    assert parsed.comments
    assert (list(broken_rules(parsed.case)) == []) != mutant.name.startswith("wild-")
    assert set(parsed.expect) == {
        Expect(target="batched"),
        Expect(target=f"zoo:{mutant.name}", divergence=mutant.shows),
    }
    assert path.read_text() == format_case(
        parsed.case, comments=parsed.comments, expect=parsed.expect
    )
    assert kills(parsed.case, BATCHED[arch]) == []
    found = red(judge_case(parsed.case, target_of(mutant, arch)))
    assert found, "survives"
    assert primary(found) == mutant.shows


def test_each_judge_is_rung_by_some_mutant():
    # No mutant is in C or ends its process: tests/test_native.py shows the classes of a run.
    rung = sum(int(classes.bit(name)) for name in classes.OF_THE_RUN)
    for mutant in BUGS:
        case = case_for(mutant)
        rung |= red(judge_case(case, target_of(mutant, case.arch)))
    assert classes.names(int(classes.RED_BITS) & ~rung) == []


# Equivalent mutants.


@pytest.mark.parametrize(
    ("mutant", "arch"),
    [(mutant, arch) for mutant in EQUIVALENT for arch in mutant.arches],
    ids=lambda x: x if x in ARCHES else x.name,
)
def test_what_is_no_bug_is_not_killed(mutant, arch):
    target = target_of(mutant, arch)
    for name, case in corpus_cases(arch):
        assert kills(case, target) == [], name
    for index, case in enumerate(random_cases(arch, seed=11, count=120, window=16)):
        assert kills(case, target) == [], index


def test_a_batch_that_minds_dirty_is_legal_to_any_in_sane_cases():
    target = target_of(zoo.find("batch-respects-dirty"), "x86_64")
    exact = 0
    for index, case in enumerate(random_cases("x86_64", seed=11, count=60, window=16)):
        exact += bool(kills(case, target))
        found = red(judge_case(case, target, ANY))
        assert not found or not is_sane(case), index
    assert exact
    # A shorter batch begins with a read-only entry that the hardware dirties, which is wild.
    wild = case_with_a_dirtied_head()
    assert red(judge_case(wild, target, ANY))
    assert not is_sane(wild)


# Batches that start in the middle of a folio.


def page_of(case: Case, judgement: Judgement, index: int) -> int:
    """The page of its folio that the batch around entry `index` starts with; 0 without a folio."""
    pfn = pfn_of(case.layout, case.ptes[judgement.first[index]])
    for folio in case.folios:
        if folio.pfn <= pfn < folio.pfn + folio.nr_pages:
            return pfn - folio.pfn
    return 0


def only_from_page_0(case: Case) -> tuple[Case, int]:
    """`case` without its batches that start elsewhere, and how many entries that took away.

    A folded block goes as a whole: what is left of it would be torn.
    """
    judgement = judge_case(case, BATCHED[case.arch])
    block = case.layout.block
    gone = {
        i for i in range(len(case.ptes)) if judgement.first[i] >= 0 and page_of(case, judgement, i)
    }
    for base in {i // block * block for i in gone}:
        if block > 1 and any(word & int(PTE_CONT) for word in case.ptes[base : base + block]):
            gone |= set(range(base, base + block))
    ptes = tuple(0 if i in gone else word for i, word in enumerate(case.ptes))
    return case.replace(ptes=ptes), sum(a != b for a, b in zip(ptes, case.ptes, strict=True))


@pytest.mark.parametrize("arch", ARCHES)
def test_only_a_mid_folio_start_shows_some_mutants(arch):
    mutants = [(mutant.name, target_of(mutant, arch)) for mutant in MID_FOLIO]
    killed = dict.fromkeys((name for name, _ in mutants), 0)
    removed = 0
    # Folios have to end, and others to begin, inside the window.
    window = max(16, 2 * layout_of(arch).block)
    for index, case in enumerate(random_cases(arch, seed=5, count=60, window=window)):
        page_0, count = only_from_page_0(case)
        removed += count
        for name, target in mutants:
            # An interpreted mutant may leave the bounds of the exclusive bits.
            try:
                killed[name] += bool(kills(case, target))
            except IndexError:
                killed[name] += 1
            assert kills(page_0, target) == [], (name, index)
    assert removed
    assert all(killed.values()), killed


@pytest.mark.parametrize("arch", ARCHES)
@pytest.mark.parametrize("name", ["first-page-decides", "new-not-advanced"])
def test_others_need_none(name, arch):
    target = target_of(zoo.find(name), arch)
    cases = random_cases(arch, seed=5, count=60, window=16)
    assert any(kills(only_from_page_0(case)[0], target) for case in cases)


# Loading.


def test_mutants_do_not_mix():
    a, b = zoo.find("batch-counts-once"), zoo.find("flush-always")
    loaded = {mutant.name: target_of(mutant, "x86_64") for mutant in (a, b)}
    assert zoo.package_of(a) != zoo.package_of(b)
    for mutant in (a, b, a):
        assert kills(case_for(mutant), loaded[mutant.name])
        assert kills(case_for(mutant), BATCHED["x86_64"]) == []
    assert kills(case_for(b), loaded[a.name]) == []
    assert kills(case_for(a), loaded[b.name]) == ["flush-unneeded"]


@pytest.mark.parametrize("arch", ARCHES)
def test_a_mutant_is_a_whole_copy(arch):
    module = target_of(BUGS[0], arch).function.__module__
    assert module.startswith("zoo_")
    assert BATCHED[arch].function.__module__ == f"batched.{arch}"
