"""Random cases of powerpc: machines, states of entries, what wild cases break.

Read from raw bits here, with the numbers of the kernel's headers, so that neither
the generator's tables nor the rules of `harness.sanity` have to be right.
"""

from collections import Counter

import pytest

from harness.case import Case
from mm import flags

from .generator_stream import folio_of, random_cases, share

EXEC, WRITE, READ = 1, 2, 4
PRIVILEGED, SAO, NON_IDEMPOTENT = 1 << 3, 1 << 4, 1 << 5
DIRTY, ACCESSED, SOFT_DIRTY, SPECIAL = 1 << 7, 1 << 8, 1 << 9, 1 << 10
INVALID, PTE, PRESENT = 1 << 61, 1 << 62, 1 << 63
HIDDEN = int(flags.VM_PFNMAP | flags.VM_MIXEDMAP)
NR_CASES = 1500


def rpn_mask(case: Case) -> int:
    return 0x001F_FFFF_FFFF_0000 if case.config.page_shift == 16 else 0x001F_FFFF_FFFF_F000


def pfn_of(case: Case, word: int) -> int:
    return (word & rpn_mask(case)) >> case.config.page_shift


def is_present(word: int) -> bool:
    return bool(word & PTE and word & (PRESENT | INVALID))


@pytest.fixture(scope="module")
def cases() -> list[tuple[int, Case]]:
    return random_cases("powerpc", 3, NR_CASES)


@pytest.fixture(scope="module")
def sane(cases) -> list[Case]:
    return [case for wild, case in cases if not wild]


def present(sane) -> list[tuple[Case, int]]:
    return [(case, word) for case in sane for word in case.ptes if is_present(word)]


# Machines.


def test_both_page_sizes_occur_with_their_tables(cases):
    large = share(cases, lambda _, case: case.config.page_shift == 16)
    assert 0.65 < large < 0.85
    for _, case in cases:
        entries = 32 if case.config.page_shift == 16 else 512
        first = case.table_addr >> case.config.page_shift
        assert first % entries + len(case.ptes) <= entries
    for shift, entries in ((16, 32), (12, 512)):
        sizes = [len(case.ptes) for _, case in cases if case.config.page_shift == shift]
        assert min(sizes) == 1
        assert max(sizes) == entries


def test_machines_differ(cases):
    assert 0.2 < share(cases, lambda _, case: case.config.coprocessors) < 0.5
    assert 0.3 < share(cases, lambda _, case: case.config.isa_31) < 0.7
    assert 0.02 < share(cases, lambda _, case: case.config.hash_mmu) < 0.15
    # radix__ptep_set_access_flags(): what a coprocessor must be told of at once.
    told = share(
        cases, lambda _, c: c.config.coprocessors and not c.config.isa_31 and not c.config.hash_mmu
    )
    assert told > 0.1


def test_folios_may_be_larger_than_a_table(sane):
    orders = Counter(
        folio.nr_pages for case in sane if case.config.page_shift == 16 for folio in case.folios
    )
    assert {1, 2, 4, 8, 16, 32, 64} <= set(orders)
    assert orders[64] + orders[128] < orders.total() / 10


# States of entries.


def test_present_entries_have_the_form_that_a_kernel_makes(sane):
    for case, word in present(sane):
        assert word & PRESENT, hex(word)
        assert not word & (INVALID | PRIVILEGED), hex(word)
        assert not word & WRITE or word & READ, hex(word)
        assert not word & (SAO | NON_IDEMPOTENT) or case.vma.flags & HIDDEN, hex(word)
        hashed = word & ~rpn_mask(case) & 0x1FE0_0000_0000_F840
        assert not hashed or case.config.hash_mmu, hex(word)
        assert pfn_of(case, word) < 1 << 51 - case.config.page_shift


def test_rights_of_entries(sane):
    seen = Counter(word & (EXEC | WRITE | READ) for _, word in present(sane))
    assert set(seen) == {0, EXEC, READ, READ | EXEC, READ | WRITE, READ | WRITE | EXEC}
    assert min(seen.values()) > seen.total() / 200


def test_accessed_dirty_and_soft_dirty_are_free_of_each_other(sane):
    seen = Counter(
        (bool(word & ACCESSED), bool(word & DIRTY), bool(word & SOFT_DIRTY))
        for _, word in present(sane)
    )
    assert len(seen) == 8
    assert min(seen.values()) > seen.total() / 100


def test_private_entries_are_writable_on_exclusive_pages_only(sane):
    for case, word in present(sane):
        if word & WRITE and not case.vma.flags & int(flags.VM_SHARED):
            folio = folio_of(case, pfn_of(case, word))
            assert folio is not None
            assert folio.exclusive >> pfn_of(case, word) - folio.pfn & 1


def test_special_entries_have_the_memory_type_of_their_vma(sane):
    types = Counter()
    for case, word in present(sane):
        if word & SPECIAL and case.vma.flags & HIDDEN and word & (READ | EXEC):
            kind = word & (SAO | NON_IDEMPOTENT)
            # pgprot_modify(): the call keeps what the driver chose.
            assert kind == case.call.newprot & (SAO | NON_IDEMPOTENT)
            types[kind] += 1
    assert len(types) == 4


def test_swap_like_entries_have_pte_and_nothing_that_the_architecture_lacks(sane):
    kinds = set()
    for case in sane:
        assert not case.config.uffd_wp
        assert not case.vma.flags & int(flags.VM_UFFD_WP | flags.VM_UFFD_RWP)
        assert case.call.cp_flags < int(flags.MM_CP_UFFD_WP)
        for word in case.ptes:
            if word and not is_present(word):
                assert word & PTE
                assert not word & ~(rpn_mask(case) | PTE | SOFT_DIRTY | NON_IDEMPOTENT | 0x1F)
                kinds.add(word & 0x1F)
    assert set(range(24, 32)) <= kinds
    assert kinds & set(range(24))


@pytest.mark.parametrize(("shift", "pfn_bits"), [(16, 35), (12, 39)])
def test_migration_entries_have_young_and_dirty_above_the_pfn(sane, shift, pfn_bits):
    high = Counter()
    for case in sane:
        for word in case.ptes:
            if case.config.page_shift == shift and not is_present(word) and word & 0x1F in (25, 27):
                offset = pfn_of(case, word)
                high[offset >> pfn_bits] += 1
                assert folio_of(case, offset & (1 << pfn_bits) - 1) is not None
    assert set(high) == {0, 1, 2, 3}


def test_the_hash_mmu_leaves_marks_in_accessed_entries_only(cases):
    marked = Counter()
    for wild, case in cases:
        if wild or not case.config.hash_mmu:
            continue
        bit = 1 << 55 if case.config.page_shift == 16 else 1 << 60
        for word in case.ptes:
            if is_present(word):
                assert not word & bit or word & ACCESSED
                marked[bool(word & bit), bool(word & ACCESSED)] += 1
    assert len(marked) == 3


# The page walker.


def test_the_walker_marks_what_it_can_use(cases):
    dirtied = 0
    for wild, case in cases:
        for index, bits in case.hardware:
            word = case.ptes[index]
            assert not bits & ~(ACCESSED | DIRTY) | bits & word
            if not wild:
                assert word & PRESENT
                assert word & (EXEC | WRITE | READ)
                assert not bits & DIRTY or word & WRITE
                dirtied += bool(bits & DIRTY)
    assert dirtied > 20


# Wild cases.


def test_no_newprot_maps_another_page(cases):
    """pte_modify() takes newprot unmasked: an RPN or SPECIAL in it would make another page of any."""
    odd = 0
    for wild, case in cases:
        assert not case.call.newprot & (rpn_mask(case) | SPECIAL)
        odd += wild and case.call.newprot & ~(PRESENT | ACCESSED | 0x37) != 0
    assert odd > 10


# What a present entry of a sane case may have; with 4 KiB pages some of the RPN, too.
ALLOWED = PRESENT | PTE | 0x7B7 | 0x001F_FFFF_FFFF_0000


@pytest.mark.parametrize(
    ("name", "bit"),
    [("PRIVILEGED", 3), ("busy", 6), ("DEVMAP", 11), ("high", 53), ("key", 56), ("INVALID", 61)],
)
def test_one_bit_makes_an_entry_of_a_wild_case_odd(cases, name, bit):
    wild = [(1, case) for is_wild, case in cases if is_wild]

    def has_one(case: Case) -> bool:
        return any(
            word & PTE and word & PRESENT and word >> bit & 1 and not word & ~(ALLOWED | 1 << bit)
            for word in case.ptes
        )

    assert share(wild, lambda _, case: has_one(case)) > 0.02, name


@pytest.mark.parametrize(
    ("name", "is_odd"),
    [
        ("none with accessed or dirty", lambda w: w and not w & ~(ACCESSED | DIRTY)),
        ("no PTE", lambda w: w & PRESENT and not w & ~(ALLOWED & ~PTE)),
        ("PTE alone", lambda w: w == PTE),
        ("WRITE without READ", lambda w: is_present(w) and w & WRITE and not w & READ),
        ("an unknown marker", lambda w: w == PTE | 0x1F),
    ],
)
def test_odd_words_of_wild_cases(cases, name, is_odd):
    wild = [(1, case) for is_wild, case in cases if is_wild]
    assert share(wild, lambda _, case: any(is_odd(word) for word in case.ptes)) > 0.02, name
