"""Drawings of cases: cells of each architecture, blocks of arm64, what is invalidated at once."""

import pytest

from harness.casefile import parse_case
from harness.cells import cell
from harness.render import finding, header, layout, pfn_of, plain, table
from harness.run import Judgement, Outcome

ARM64 = "arch: arm64\nkernel: 7.3\nvma: anon READ\nrange: [0, 1)\nnewprot: r-- accessed\n"
POWERPC = ARM64.replace("arm64", "powerpc")
X86_64 = ARM64.replace("arm64", "x86_64")
FOLIO = "folio A: pfn=0x12340 pages=64 anon exclusive=x*32.*32\n"


def case_of(head: str, *entries: str, folio: str = FOLIO):
    lines = "".join(f"pte {entry}\n" for entry in entries)
    return parse_case(f"midfolio-case 1\n{head}{folio}{lines}").case


def outcome(ptes, flushes=(), invalidations=()) -> Outcome:
    return Outcome(len(ptes), tuple(ptes), flushes, invalidations, 0, 0, (), (), (), 0, 0, 0)


def judgement(case, ours: Outcome, theirs: Outcome, merged=()) -> Judgement:
    """A judgement that found nothing; `merged` are the entries' merged words."""
    nr = len(case.ptes)
    return Judgement(
        case=case,
        sane=True,
        target="mine",
        ours=ours,
        theirs=theirs,
        found=(0,) * nr,
        found_case=0,
        union=0,
        first=(0,) * nr,
        changed=(1 if merged else 0,) * nr,
        result=tuple(merged) or (0,) * nr,
    )


# One entry.


@pytest.mark.parametrize(
    ("head", "entry", "drawn"),
    [
        (X86_64, "A+0 r-- accessed soft_dirty", "r-a-s-"),
        (X86_64, "A+0 rw- dirty", "rw-d--"),
        (X86_64, "A+0 r-- saved_dirty uffd", "r--d-u"),
        (X86_64, "A+0 --- accessed", "n-a---"),
        (X86_64, "raw 0x20", "none"),
        (X86_64, "marker guard", "m:grd"),
        (ARM64, "A+0 r-- accessed", "r-a---"),
        (ARM64, "A+0 rw- accessed cont", "rwa-c-"),
        # Dirty by the hardware, by software, by both.
        (ARM64, "A+0 rw- -rdonly", "rw-d--"),
        (ARM64, "A+0 r-- dirty uffd", "r--d-u"),
        (ARM64, "A+0 rw- -rdonly dirty cont", "rw-dc-"),
        # No PTE_RDONLY says nothing of an entry that is not writable.
        (ARM64, "A+0 r-- -rdonly", "r-----"),
        (ARM64, "A+0 --- accessed dirty", "n-ad--"),
        (ARM64, "none", "none"),
        (ARM64, "swap type=1 offset=0x1000", "swap"),
        (ARM64, "migration-write A+3 young dirty", "mig:w"),
        (ARM64, "migration-read-exclusive A+3", "mig:rx"),
        (ARM64, "device-private-read A+3", "dev:r"),
        (ARM64, "hwpoison A+3", "hwpsn"),
        (ARM64, "marker uffd-wp", "m:wp"),
        (ARM64, "marker uffd-wp guard", "m:?"),
        (POWERPC, "A+0 r-- accessed", "r-a---"),
        (POWERPC, "A+0 rwx dirty soft_dirty", "rw-ds-"),
        (POWERPC, "A+0 --x accessed", "x-a---"),
        (POWERPC, "A+0 --- accessed", "n-a---"),
        (POWERPC, "A+0 rw- -read", "-w----"),
        (POWERPC, "A+0 rw- invalid -present", "iw----"),
        (POWERPC, "raw 0x180", "none"),
        (POWERPC, "swap type=1 offset=0x1000 soft_dirty", "swap"),
        (POWERPC, "device-exclusive A+3", "dev:x"),
        (POWERPC, "marker poison", "m:psn"),
        (POWERPC.replace("vma", "config: page_shift=12\nvma"), "marker poison", "m:psn"),
    ],
)
def test_a_cell(head, entry, drawn):
    rest = ("1..15: none",) if head is ARM64 else ()
    case = case_of(head, f"0: {entry}", *rest)
    assert cell(case, case.ptes[0]) == drawn


def test_types_of_other_kernels_are_read_by_their_numbers():
    head = POWERPC.replace("7.3", "6.12")
    case = case_of(head, "0: device-exclusive-write A+3", "1: migration-write A+3")
    assert [cell(case, word) for word in case.ptes] == ["dev:xw", "mig:w"]


@pytest.mark.parametrize(
    "head", [X86_64, POWERPC, POWERPC.replace("vma", "config: page_shift=12\nvma")]
)
def test_a_page_is_found_whatever_its_size(head):
    case = case_of(head, "0: A+5 r--", "1: A+6 ---", "2: none")
    assert [pfn_of(case, word) for word in case.ptes] == [0x12345, 0x12346, None]


# Tables.


def test_blocks_are_drawn_where_they_begin():
    case = case_of(ARM64, "0..31: A+0 r-- accessed cont")
    drawn = plain(table(case, [14, 15, 16, 17], [("before", case.ptes)]))
    assert drawn == (
        "    pte        14     15     16     17\n"
        "    block      B0+14         B1\n"
        "    page       A+14   A+15   A+16   A+17\n"
        "    exclusive  x      x      x      x\n"
        "    before     r-a-c- r-a-c- r-a-c- r-a-c-\n"
    )


def test_no_blocks_where_there_are_none():
    case = case_of(POWERPC, "0..1: A+0 r-- accessed")
    assert "block" not in plain(table(case, [0, 1], [("before", case.ptes)]))


def test_columns_stay_aligned_with_wide_cells():
    folio = "".join(f"folio A{i}: pfn={0x10000 + i:#x} pages=1\n" for i in range(30))
    wide = "0: pfn=0xfffffffff r-- special", "1: A29+0 r--", "2..15: none"
    case = case_of(ARM64, *wide, folio=folio)
    lines = plain(table(case, [0, 1, 2], [("before", case.ptes)], frozenset({1}))).splitlines()
    assert lines[2] == "    page       0xfffffffff AD+0"
    starts = [lines[0].index("1"), lines[2].index("AD+0"), lines[4].index("r-----", 16)]
    assert starts == [lines[5].index("^")] * 3


# Whole cases.


def test_a_folded_case_is_drawn_by_half_blocks_and_says_what_is_invalidated():
    case = case_of(ARM64.replace("[0, 1)", "[0, 24)"), "0..31: A+0 rw- -rdonly accessed cont")
    address = case.table_addr
    words = [word & ~(1 << 52) for word in case.ptes]
    ours = outcome(
        words,
        ((address, 24),),
        (
            (address, 16, "unfold"),
            (address, 16, "fold"),
            (address + 0x10000, 16, "unfold"),
        ),
    )
    theirs = outcome(words, ((address, 16),), ((address + 0x10000, 16, "unfold"),))
    drawn = plain(layout(judgement(case, ours, theirs)))
    assert [line.split() for line in drawn.splitlines() if "block" in line] == [
        ["block", name] for name in ("B0", "B0+8", "B1", "B1+8")
    ]
    assert "    flush: reference {0..23}, mine {0..15}\n" in drawn
    assert "    tlbi: reference unfold {0..15,16..31} fold {0..15}, mine unfold {16..31}\n" in drawn
    assert max(len(line) for line in drawn.splitlines()) <= 100


def test_no_line_of_invalidations_without_any():
    case = case_of(POWERPC, "0..1: A+0 r-- accessed")
    both = outcome(case.ptes)
    assert "tlbi" not in plain(layout(judgement(case, both, both)))


def test_what_is_told_to_coprocessors_and_to_nobody():
    case = case_of(POWERPC, "0..1: A+0 r-- accessed")
    address = case.table_addr
    theirs = outcome(case.ptes, (), ((address + 0x10000, 1, "nmmu"), (address - 65536, 1, "nmmu")))
    drawn = plain(finding(judgement(case, outcome(case.ptes), theirs)))
    assert "    tlbi: reference none, target nmmu {1,0x7effffff0000 x 1}\n" in drawn


def test_an_invalidation_of_any_length_is_drawn():
    case = case_of(POWERPC, "0..1: A+0 r-- accessed")
    theirs = outcome(case.ptes, (), ((case.table_addr, 1 << 63, "nmmu"),))
    drawn = plain(layout(judgement(case, outcome(case.ptes), theirs)))
    assert "mine nmmu {0x7f0000000000 x 9223372036854775808}\n" in drawn


def test_the_merged_row_is_drawn_if_a_word_differs_besides_folding():
    case = case_of(ARM64, "0..15: A+0 r-- accessed cont")
    folded, dirty = outcome(case.ptes), 1 << 55
    unfolded = [word & ~(1 << 52) for word in case.ptes]
    for draw in (layout, finding):
        assert "merged" not in plain(draw(judgement(case, folded, folded)))
        assert "merged" not in plain(draw(judgement(case, folded, folded, unfolded)))
        merged = [word | dirty for word in unfolded]
        drawn = plain(draw(judgement(case, folded, folded, merged)))
        assert "    merged     r-ad--" in drawn
    # In each table of a case, if in any.
    last = [*unfolded[:15], unfolded[15] | dirty]
    assert plain(layout(judgement(case, folded, folded, last))).count("merged") == 2


@pytest.mark.parametrize(
    ("head", "config", "begins"),
    [
        (ARM64, "", "arm64, kernel 7.3, private anon r-- vma, mprotect, newprot 0x60"),
        (ARM64, "bbml3=y", "arm64 BBML3, kernel 7.3, private anon r-- vma"),
        (POWERPC, "", "powerpc, kernel 7.3, private anon r-- soft-dirty-tracked vma"),
        (POWERPC, "page_shift=12", "powerpc 4K pages, kernel 7.3"),
        (POWERPC, "coprocessors=1", "powerpc coprocessors, kernel 7.3"),
        (POWERPC, "coprocessors=1 isa_31=y", "powerpc, kernel 7.3"),
        (POWERPC, "hash_mmu=y soft_dirty=n", "powerpc hash MMU, kernel 7.3, private anon r-- vma"),
        (X86_64, "", "x86_64, kernel 7.3, private anon r-- soft-dirty-tracked vma, mprotect"),
    ],
)
def test_the_header_names_the_machine(head, config, begins):
    case = case_of(
        head.replace("vma:", f"config: {config}\nvma:") if config else head, "0..15: none"
    )
    assert header(case).startswith(begins)
