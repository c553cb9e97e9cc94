"""The reference rules on entries that are not present, and the three questions of the walk."""

import random
from typing import Any

import numpy as np
import pytest

from harness.arrays import state_of
from harness.case import Call, Case, Folio, Vma
from harness.renumber import number_back, renumber, type_numbers
from mm import flags as f
from mm.jit import entry
from mm.state import numba_state
from mm.version import VERSIONS, Config
from mm.x86_64 import LAYOUT
from reference import walk, x86_64

RO = 0x8000000000000025  # PAGE_READONLY
NONE_PROT = 0x120  # PAGE_NONE
MPROTECT = 0
NUMA = f.MM_CP_PROT_NUMA
WP = f.MM_CP_UFFD_WP
RESOLVE = f.MM_CP_UFFD_WP_RESOLVE
RWP = f.MM_CP_UFFD_RWP
RWP_RESOLVE = f.MM_CP_UFFD_RWP_RESOLVE
CALLS = (MPROTECT, f.MM_CP_TRY_CHANGE_WRITABLE, NUMA, WP, RESOLVE, RWP, RWP_RESOLVE)
PLAIN = f.VM_READ | f.VM_WRITE | f.VM_MAYREAD | f.VM_MAYWRITE | f.VM_SOFTDIRTY

EVERYTHING_ON = Config()

# Bits of a swap-like entry.
SOFT_DIRTY, UFFD, EXCLUSIVE = 0x2, 0x4, 0x8
YOUNG, DIRTY = 1 << 34, 1 << 35  # in the offset of a migration entry

WP_MARKER = 0xFFFFFFFFFFFFFC00
POISON = 0xFFFFFFFFFFFFFA00
GUARD = 0xFFFFFFFFFFFFF600
UNKNOWN_MARKER = 0xFFFFFFFFFFFFEE00  # payload 8


def swap(number: int, offset: int, bits: int = 0) -> int:
    """The swap-like word of type `number`: the offset is stored inverted in bits 9..58."""
    return number << 59 | (~offset & (1 << 50) - 1) << 9 | bits


def change(
    word: int,
    cp: Any = MPROTECT,
    *,
    vm: Any = PLAIN,
    anon: bool = True,
    unpopulated: bool = False,
    kernel: str = "7.3",
    folio: Any = f.FOLIO_ANON,
    config: Config = EVERYTHING_ON,
) -> tuple[int, int]:
    """The word that becomes of `word`, and the count. It is never flushed, reported, stamped."""
    case = Case(
        vma=Vma(int(vm), anon, unpopulated),
        call=Call(int(cp), NONE_PROT if cp & NUMA else RO, 0, 1),
        ptes=(word,),
        folios=(Folio(0x12344, 2, int(folio)),),
        kernel=kernel,
        config=config,
    )
    assert case.check() is None
    state = state_of(case)
    pages = int(x86_64.change_pte_range(state))
    assert not state.counts.any()
    return int(state.ptes[0]), pages


def test_words_of_the_swap_layout() -> None:
    # Literals of compiled kernel code.
    assert swap(31, 1) == WP_MARKER
    assert swap(31, 2) == POISON
    assert swap(31, 4) == GUARD
    assert swap(0, 1) == 0x07FFFFFFFFFFFC00
    assert swap(1, 0x1000) == 0x0FFFFFFFFFDFFE00
    assert swap(27, 0x12345) == 0xDFFFFFFFFDB97400
    assert swap(27, 0x12345 | YOUNG | DIRTY) == 0xDFFFE7FFFDB97400


# 7.3 numbers: 24 hwpoison, 25 26 27 migration read, read-exclusive, write,
# 28 29 device write, read, 30 device exclusive.
KINDS = {
    "swap": (swap(0, 1), swap(0, 1)),
    "swap exclusive": (swap(3, 77, SOFT_DIRTY | EXCLUSIVE), swap(3, 77, SOFT_DIRTY | EXCLUSIVE)),
    "hwpoison": (swap(24, 0x12345), swap(24, 0x12345)),
    "migration read": (swap(25, 0x12345), swap(25, 0x12345)),
    "migration read exclusive": (swap(26, 0x12345), swap(26, 0x12345)),
    "migration write": (swap(27, 0x12345), swap(26, 0x12345)),
    "migration write, young and dirty": (
        swap(27, 0x12345 | YOUNG | DIRTY, SOFT_DIRTY | EXCLUSIVE),
        swap(26, 0x12345 | YOUNG | DIRTY, SOFT_DIRTY),
    ),
    "device write": (swap(28, 0x12345, SOFT_DIRTY | EXCLUSIVE), swap(29, 0x12345)),
    "device read": (swap(29, 0x12345, SOFT_DIRTY), swap(29, 0x12345, SOFT_DIRTY)),
    "device exclusive": (swap(30, 0x12345), swap(30, 0x12345)),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("cp", CALLS)
@pytest.mark.parametrize("uffd", [0, UFFD])
def test_swap_like_entries(kind: str, cp: Any, uffd: int) -> None:
    old, readable = KINDS[kind]
    old |= uffd
    if not kind.startswith("migration write"):  # its userfaultfd bit is not carried over
        readable |= uffd
    if cp in (WP, RWP):
        readable |= UFFD
    if cp in (RESOLVE, RWP_RESOLVE):
        readable &= ~UFFD
    assert change(old, cp) == (readable, int(readable != old))


def test_a_file_page_under_migration_becomes_plain_read() -> None:
    assert change(swap(27, 0x12345, SOFT_DIRTY), folio=0) == (swap(25, 0x12345, SOFT_DIRTY), 1)
    # A page of no folio that the case lists is not anonymous.
    assert change(swap(27, 0x99999)) == (swap(25, 0x99999), 1)
    # The folio ends at 0x12345.
    assert change(swap(27, 0x12346)) == (swap(25, 0x12346), 1)
    # The page is found under young and dirty.
    assert change(swap(27, 0x12345 | DIRTY)) == (swap(26, 0x12345 | DIRTY), 1)


def test_device_exclusive_write_is_a_kind_of_its_own_until_6_14() -> None:
    old = swap(29, 0x12345, SOFT_DIRTY | UFFD | EXCLUSIVE)
    assert change(old, kernel="6.12") == (swap(30, 0x12345, SOFT_DIRTY | UFFD), 1)
    assert change(old, kernel="7.3") == (old, 0)


def test_bits_that_mean_nothing_go_only_when_the_entry_is_rewritten() -> None:
    assert change(swap(27, 0x12345) | 0x10) == (swap(26, 0x12345), 1)
    assert change(swap(26, 0x12345) | 0x10) == (swap(26, 0x12345) | 0x10, 0)


@pytest.mark.parametrize("kernel", ["6.12", "6.16", "6.17", "7.3"])
@pytest.mark.parametrize("cp", CALLS)
def test_markers(kernel: str, cp: Any) -> None:
    resolves = cp == RESOLVE or (cp == RWP_RESOLVE and kernel == "7.3")
    lifted = (0, 1) if resolves else None
    assert change(WP_MARKER, cp, kernel=kernel) == (lifted or (WP_MARKER, 0))
    assert change(UNKNOWN_MARKER, cp, kernel=kernel) == (lifted or (UNKNOWN_MARKER, 0))
    assert change(POISON, cp, kernel=kernel) == (POISON, 0)
    # 6.12 does not know the guard marker.
    guarded = (lifted if kernel == "6.12" else None) or (GUARD, 0)
    assert change(GUARD, cp, kernel=kernel) == guarded


@pytest.mark.parametrize("word", [0, 0x20, 0x40, 0x60])
@pytest.mark.parametrize(
    ("arguments", "marked"),
    [
        ({"anon": False}, True),
        ({"anon": True}, False),
        ({"anon": True, "unpopulated": True}, True),
        ({"anon": False, "vm": PLAIN}, False),
        # userfaultfd_wp_use_markers() asks the VMA alone: no configuration test.
        ({"anon": False, "config": Config(uffd_wp=False)}, True),
    ],
)
def test_an_empty_entry_is_marked_where_write_protection_must_outlive_it(
    word: int, arguments: dict[str, Any], marked: bool
) -> None:
    full = {"vm": PLAIN | f.VM_UFFD_WP, **arguments}
    assert change(word, WP, **full) == ((WP_MARKER, 1) if marked else (word, 0))
    for cp in CALLS:
        if cp != WP:
            assert change(word, cp, **full) == (word, 0)


def test_a_configuration_that_is_off_drops_the_bit_of_rewritten_entries() -> None:
    off = Config(soft_dirty=False, uffd_wp=False)
    assert change(swap(27, 0x12345, SOFT_DIRTY), config=off) == (swap(26, 0x12345), 1)
    assert change(swap(28, 0x12345, UFFD), config=off) == (swap(29, 0x12345), 1)
    assert change(swap(0, 1), WP, config=off) == (swap(0, 1), 0)
    assert change(swap(0, 1, UFFD | SOFT_DIRTY), RESOLVE, config=off) == (
        swap(0, 1, UFFD | SOFT_DIRTY),
        0,
    )


def _of_one_word():
    from numba import types

    return types.int64(numba_state(), types.uint64, types.uint64[:])


@entry(_of_one_word)
def ask(state, old, answer):
    """The questions of the walk about `old`: bit 0 present and changed, 1 flush; pages from bit 2."""
    if walk.is_changed(x86_64.ARCH, state, old):
        changed = walk.change_present(x86_64.ARCH, state, old)
        answer[0] = changed.word
        return np.int64(7) if changed.flush else np.int64(5)
    if x86_64.pte_present(x86_64.decode(state.facts[0], old)):
        return np.int64(0)
    replaced = walk.change_nonpresent(x86_64.ARCH, state, old)
    answer[0] = replaced.word
    return replaced.pages << np.int64(2)


def test_the_questions_answer_as_the_walk_does_and_leave_the_table_alone() -> None:
    draw = random.Random(5)
    words = [RO | 0x12344 << 12, RO | 2 | 0x12345 << 12, 0x040FFFFFEDCBA920, 0, WP_MARKER, POISON]
    words += [old for old, _ in KINDS.values()] + [draw.getrandbits(64) for _ in range(40)]
    for cp in (*CALLS, RESOLVE | f.MM_CP_TRY_CHANGE_WRITABLE):
        case = Case(
            vma=Vma(int(PLAIN | f.VM_UFFD_WP), anon=False),
            call=Call(int(cp), NONE_PROT if cp & (NUMA | RWP) else RO, 0, len(words)),
            ptes=tuple(words),
            folios=(Folio(0x12344, 2, int(f.FOLIO_ANON), 1, 0b10),),
        )
        asked, walked = state_of(case), state_of(case)
        pages, flushes, answer = 0, 0, np.zeros(1, np.uint64)
        results = []
        for word in words:
            answer[0] = word
            told = int(ask(asked, np.uint64(word), answer))
            results.append(int(answer[0]))
            pages, flushes = pages + (told >> 2), flushes + (told >> 1 & 1)
        assert tuple(asked.ptes) == case.ptes
        assert pages == x86_64.change_pte_range(walked)
        assert results == [int(word) for word in walked.ptes]
        assert flushes == walked.counts[0]
        assert asked.counts[0] == 0
        assert list(asked.counts[1:]) == list(walked.counts[1:])


def test_swap_types_are_renumbered_between_versions() -> None:
    assert type_numbers("7.3", "6.12") == {
        **{number: number - 1 for number in range(24, 30)},
        30: 30,
        31: 31,
    }
    present = 0xF000000012345025  # a key and NX, no type
    words = (swap(27, 0x12345), present, swap(26, 5), swap(3, 9), 0, WP_MARKER, swap(30, 1))
    case = Case(vma=Vma(int(PLAIN)), call=Call(0, RO, 0, len(words)), ptes=words)
    older, entries = renumber(case, LAYOUT, "6.12")
    assert older.kernel == "6.12"
    assert older.ptes == (swap(26, 0x12345), present, swap(25, 5), *words[3:])
    assert entries == {0, 2}
    assert number_back(older.ptes, entries, LAYOUT, "6.12", "7.3") == words
    # Type 24 of an entry whose input was not renumbered means what it did.
    assert number_back((swap(24, 1),), (), LAYOUT, "6.12", "7.3") == (swap(24, 1),)


def test_renumbering_is_the_identity_within_a_version() -> None:
    for kernel in VERSIONS:
        assert all(old == new for old, new in type_numbers(kernel, kernel).items())
