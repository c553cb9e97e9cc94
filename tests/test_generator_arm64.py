"""Random cases of arm64: states of entries, contpte blocks, what wild cases break.

Read from raw bits here, with the numbers of the kernel's headers, so that neither
the generator's tables nor the rules of `harness.sanity` have to be right.
"""

from collections import Counter

import pytest

from fuzz.generators import generator_of
from harness.case import Case
from mm import flags

from .generator_stream import folio_of, random_cases, share

VALID, USER, RDONLY, AF, NG = 1 << 0, 1 << 6, 1 << 7, 1 << 10, 1 << 11
DBM, CONT, UXN, DIRTY, SPECIAL, UFFD = 1 << 51, 1 << 52, 1 << 54, 1 << 55, 1 << 56, 1 << 58
ATTRINDX, KEY = 7 << 2, 7 << 60
BLOCK = 16
NR_CASES = 1500


def pfn_of(word: int) -> int:
    return (word & 0x0003_FFFF_FFFF_F000) >> 12


def is_present(word: int) -> bool:
    return bool(word & (VALID | NG))


def blocks(case: Case) -> range:
    return range(0, len(case.ptes), BLOCK)


def is_uniform(case: Case, first: int) -> bool:
    """Whether 16 valid entries map 16 aligned pages of one folio, alike but for accessed and dirty."""
    words = case.ptes[first : first + BLOCK]
    pfn = pfn_of(words[0])
    folio = folio_of(case, pfn)
    return (
        all(word & VALID and not word & SPECIAL for word in words)
        and len({(word - (i << 12)) & ~(AF | DIRTY | RDONLY) for i, word in enumerate(words)}) == 1
        and pfn % BLOCK == 0
        and folio is not None
        and pfn + BLOCK <= folio.pfn + folio.nr_pages
    )


def is_folded(case: Case, first: int) -> bool:
    return all(word & VALID and word & CONT for word in case.ptes[first : first + BLOCK])


def folded(case: Case) -> list[int]:
    return [first for first in blocks(case) if is_folded(case, first)]


def unfolded(case: Case) -> list[int]:
    """First entries of blocks that are not folded, but could be."""
    return [f for f in blocks(case) if not is_folded(case, f) and is_uniform(case, f)]


@pytest.fixture(scope="module")
def cases() -> list[tuple[int, Case]]:
    return random_cases("arm64", 3, NR_CASES)


@pytest.fixture(scope="module")
def sane(cases) -> list[Case]:
    return [case for wild, case in cases if not wild]


# Windows.


def test_windows_are_whole_aligned_blocks_and_ranges_are_free(cases):
    for _, case in cases:
        assert len(case.ptes) % BLOCK == 0
        assert case.table_addr % (BLOCK << 12) == 0
    assert len({case.table_addr >> 16 & 31 for _, case in cases}) == 32
    assert {case.call.start % BLOCK for _, case in cases} == set(range(BLOCK))
    assert {case.call.end % BLOCK for _, case in cases} == set(range(BLOCK))


def test_a_window_of_one_block_is_common_but_not_the_rule(cases):
    assert 0.05 < share(cases, lambda _, case: len(case.ptes) == BLOCK) < 0.3


# States of entries.


def test_entries_are_dirty_in_the_ways_that_a_kernel_makes(sane):
    seen = Counter()
    for case in sane:
        for word in case.ptes:
            if word & VALID:
                seen[bool(word & DBM), bool(word & RDONLY), bool(word & DIRTY)] += 1
            elif is_present(word):
                assert not word & DBM, hex(word)
                assert word & RDONLY, hex(word)
    clean_ro, dirty_ro = (False, True, False), (False, True, True)
    clean_rw, dirty_rw, both_rw = (True, True, False), (True, False, False), (True, False, True)
    assert set(seen) == {clean_ro, dirty_ro, clean_rw, dirty_rw, both_rw}
    assert min(seen.values()) > seen.total() / 100


def test_prot_none_has_the_encoding_of_the_kernel(sane):
    seen = Counter()
    for case in sane:
        for word in case.ptes:
            if is_present(word) and not word & VALID:
                assert word & UXN, hex(word)
                assert not word & (USER | CONT), hex(word)
                seen[bool(word & AF), bool(word & DIRTY)] += 1
    assert len(seen) == 4


def test_special_and_userfaultfd_entries_occur_and_there_is_no_soft_dirty(sane):
    # `sane` in a list of pairs, as `share` takes them.
    pairs = [(0, case) for case in sane]
    for case in sane:
        assert not case.config.soft_dirty
        assert not case.vma.flags & int(flags.VM_SOFTDIRTY)
        for word in case.ptes:
            if is_present(word) and word & UFFD:
                assert not word & DBM
                assert case.vma.flags & int(flags.VM_UFFD_WP | flags.VM_UFFD_RWP)
    assert share(pairs, lambda _, case: any(word & SPECIAL for word in case.ptes)) > 0.05
    uffd = share(pairs, lambda _, c: any(w & UFFD and is_present(w) for w in c.ptes))
    assert uffd > 0.05


def test_private_entries_are_writable_on_exclusive_pages_only(sane):
    for case in sane:
        if case.vma.flags & int(flags.VM_SHARED):
            continue
        for word in case.ptes:
            if word & VALID and word & DBM:
                folio = folio_of(case, pfn_of(word))
                assert folio is not None
                assert folio.exclusive >> pfn_of(word) - folio.pfn & 1


def test_memory_types_belong_to_the_vma_and_keys_to_a_few(sane):
    hidden = int(flags.VM_PFNMAP | flags.VM_MIXEDMAP)
    types = Counter()
    for case in sane:
        mapped = {word & ATTRINDX for word in case.ptes if word & VALID}
        if not case.vma.flags & hidden:
            assert mapped <= {0}
            assert case.call.newprot & ATTRINDX == 0
        elif mapped and not case.call.cp_flags & int(flags.MM_CP_UFFD_RWP):
            # pgprot_modify(): the call keeps what the driver chose.
            assert mapped == {case.call.newprot & ATTRINDX}
            types.update(mapped)
    assert set(types) == {0, 2 << 2, 4 << 2}
    keys = [case.call.newprot & KEY for case in sane]
    assert 0.02 < sum(map(bool, keys)) / len(keys) < 0.2
    assert len(set(keys)) == 8


def test_no_swap_entry_of_a_sane_case_has_the_bit_of_cont(sane):
    widest = 0
    for case in sane:
        for word in case.ptes:
            if word and not is_present(word):
                assert not word & CONT, hex(word)
                widest = max(widest, word)
    assert widest >> 50 & 3, "offsets below it get that large"


def test_some_cases_need_no_invalidation_to_change_cont(cases):
    assert 0.02 < share(cases, lambda _, case: case.config.bbml3) < 0.15


# The page walker.


def test_the_walker_accesses_and_dirties_as_the_mmu_does(cases):
    dirtied = 0
    for wild, case in cases:
        for index, bits in case.hardware:
            word = case.ptes[index]
            assert bits
            assert not bits & ~(AF | RDONLY)
            assert not bits & AF or not word & AF
            if bits & RDONLY:
                assert word & RDONLY, hex(word)
                assert word & DBM, hex(word)
                dirtied += 1
            if not wild:
                assert word & VALID
                assert case.call.start <= index < case.call.end
    assert dirtied > 20


# Contpte blocks.


def test_folded_blocks_are_whole_aligned_and_of_one_folio(sane):
    for case in sane:
        for first in blocks(case):
            words = case.ptes[first : first + BLOCK]
            if any(word & CONT and is_present(word) for word in words):
                assert is_folded(case, first)
                assert is_uniform(case, first)


def test_accessed_and_dirty_differ_inside_folded_blocks(sane):
    differing = Counter()
    for case in sane:
        for first in folded(case):
            words = case.ptes[first : first + BLOCK]
            for name, bit in (("accessed", AF), ("rdonly", RDONLY), ("dirty", DIRTY)):
                differing[name] += len({word & bit for word in words}) > 1
            differing["blocks"] += 1
    assert differing["accessed"] > differing["blocks"] / 10, differing
    assert differing["dirty"] > differing["blocks"] / 10, differing
    # Of writable blocks, which are one in ten.
    assert differing["rdonly"] > differing["blocks"] / 100, differing


def test_folded_blocks_are_common(cases):
    assert share(cases, lambda _, case: folded(case)) >= 0.37
    assert share(cases, lambda _, case: len(folded(case)) >= 4) >= 0.03


def cut_by_range(case: Case) -> bool:
    start, end = case.call.start, case.call.end
    return any(
        first < end and start < first + BLOCK and (first < start or end < first + BLOCK)
        for first in folded(case)
    )


def cut_by_exclusivity(case: Case) -> bool:
    """Whether an upgrade of private pages must split a folded block into sub-batches."""
    if not case.call.cp_flags & int(flags.MM_CP_TRY_CHANGE_WRITABLE):
        return False
    if case.vma.flags & int(flags.VM_SHARED):
        return False
    for first in folded(case):
        folio = folio_of(case, pfn_of(case.ptes[first]))
        inside = case.call.start <= first and first + BLOCK <= case.call.end
        if inside and folio is not None and folio.flags & int(flags.FOLIO_ANON):
            bits = folio.exclusive >> pfn_of(case.ptes[first]) - folio.pfn & 0xFFFF
            if bits not in (0, 0xFFFF):
                return True
    return False


def test_ranges_and_sub_batches_cut_folded_blocks(cases):
    assert share(cases, lambda _, c: cut_by_range(c) or cut_by_exclusivity(c)) >= 0.17
    assert share(cases, lambda _, case: cut_by_range(case)) >= 0.12
    assert share(cases, lambda _, case: cut_by_exclusivity(case)) >= 0.01


def test_whole_blocks_in_the_range_could_be_folded_but_are_not(cases):
    def has_one(case: Case) -> bool:
        start, end = case.call.start, case.call.end
        return any(start <= first and first + BLOCK <= end for first in unfolded(case))

    assert share(cases, lambda _, case: has_one(case)) >= 0.13


def side_by_side(case: Case, firsts: list[int], others: list[int]) -> bool:
    """Whether a block of `firsts` and the next one, of `others`, go on in one folio."""
    for first in firsts:
        if first + BLOCK not in others:
            continue
        here, there = pfn_of(case.ptes[first]), pfn_of(case.ptes[first + BLOCK])
        folio = folio_of(case, here)
        if there == here + BLOCK and folio is not None and there < folio.pfn + folio.nr_pages:
            return True
    return False


def test_blocks_of_one_folio_stand_side_by_side(cases):
    assert share(cases, lambda _, c: side_by_side(c, folded(c), folded(c))) >= 0.08
    assert share(cases, lambda _, c: side_by_side(c, folded(c), unfolded(c))) >= 0.03
    assert share(cases, lambda _, c: side_by_side(c, unfolded(c), folded(c))) >= 0.03


def test_addresses_and_pages_mostly_agree_in_alignment(sane):
    """Pages of large folios stand where a block of entries could be folded, but not always."""
    agree = disagree = 0
    for case in sane:
        for i, word in enumerate(case.ptes):
            folio = folio_of(case, pfn_of(word)) if word & VALID else None
            if folio is not None and folio.nr_pages >= BLOCK:
                agree += pfn_of(word) % BLOCK == i % BLOCK
                disagree += pfn_of(word) % BLOCK != i % BLOCK
    assert 0.03 < disagree / (agree + disagree) < 0.3


def test_batches_start_and_end_inside_blocks_and_folios_at_their_seams(sane):
    """Runs of large folios begin in the middle of a block of entries, in the middle of a folio."""
    middles = 0
    for case in sane:
        for i in range(1, len(case.ptes)):
            here, before = case.ptes[i], case.ptes[i - 1]
            if i % BLOCK and here & VALID and pfn_of(here) != pfn_of(before) + 1:
                folio = folio_of(case, pfn_of(here))
                middles += (
                    folio is not None and folio.nr_pages >= BLOCK and pfn_of(here) > folio.pfn
                )
    assert middles > len(sane) / 4


# Wild cases.


def has_broken_block(case: Case) -> bool:
    for first in blocks(case):
        words = case.ptes[first : first + BLOCK]
        if any(word & VALID and word & CONT for word in words):
            alike = {(word - (i << 12)) & ~(AF | DIRTY | RDONLY) for i, word in enumerate(words)}
            if len(alike) > 1 or not is_folded(case, first) or pfn_of(words[0]) % BLOCK:
                return True
    return False


def test_a_quarter_of_the_wild_cases_or_less_has_broken_blocks(cases):
    """On a broken block nothing can be foretold, so most wild cases have none."""
    wild = [(1, case) for is_wild, case in cases if is_wild]
    assert 0.05 < share(wild, lambda _, case: has_broken_block(case)) < 0.3
    whole = share(wild, lambda _, case: folded(case) and not has_broken_block(case))
    assert whole > 0.15


# The protections of the map without what is decided entry by entry.
DECIDED = AF | RDONLY | DBM | CONT | DIRTY | SPECIAL | UFFD | ATTRINDX | KEY | 0x0003_FFFF_FFFF_F000
PLAIN = {prot & ~DECIDED for prot in (0x0060_0000_0000_0FC3, 0x0020_0000_0000_0FC3)}


@pytest.mark.parametrize(
    ("name", "bit"),
    [("type", 1), ("user", 6), ("GP", 50), ("PXN", 53), ("DEVMAP", 57), ("59", 59), ("63", 63)],
)
def test_one_bit_makes_an_entry_of_a_wild_case_odd(cases, name, bit):
    wild = [(1, case) for is_wild, case in cases if is_wild]

    def has_one(case: Case) -> bool:
        return any((word ^ 1 << bit) & ~DECIDED in PLAIN for word in case.ptes)

    assert share(wild, lambda _, case: has_one(case)) > 0.02, name


@pytest.mark.parametrize(
    ("name", "is_odd"),
    [
        ("CONT of PROT_NONE", lambda w: w & CONT and w & NG and not w & VALID and w & UXN),
        ("CONT of a swap-like entry", lambda w: w & CONT and not is_present(w)),
        (
            "DBM, RDONLY and DIRTY",
            lambda w: w & ~DECIDED in PLAIN and w & DBM and w & RDONLY and w & DIRTY,
        ),
        ("present-invalid without UXN", lambda w: w & NG and not w & (VALID | UXN)),
        ("CONT alone", lambda w: w == CONT),
        (
            "a PFN above memory",
            lambda w: w & ~DECIDED in PLAIN and pfn_of(w) > 0x0FFF_FFFF and not w & SPECIAL,
        ),
    ],
)
def test_odd_words_of_wild_cases(cases, name, is_odd):
    wild = [(1, case) for is_wild, case in cases if is_wild]
    assert share(wild, lambda _, case: any(is_odd(word) for word in case.ptes)) > 0.02, name


def test_wild_blocks_have_cont_in_some_entries_only_and_with_unequal_pfns(cases):
    partly = unequal = 0
    for wild, case in cases:
        if not wild:
            continue
        for first in blocks(case):
            words = case.ptes[first : first + BLOCK]
            marked = [bool(word & VALID and word & CONT) for word in words]
            partly += any(marked) and not all(marked)
            pfns = {pfn_of(word) - i for i, word in enumerate(words)}
            unequal += all(marked) and len(pfns) > 1
    assert partly > 5
    assert unequal > 0


def test_the_generator_is_found_by_its_name():
    assert generator_of("arm64").__module__ == "fuzz.generators.arm64"
