"""The reference rules of arm64 on single entries, with words of compiled kernel code."""

import random
from typing import Any

import numpy as np
import pytest

from harness.arrays import state_of
from harness.case import Mm, Vma
from mm import flags as f
from mm.version import VERSIONS
from reference import arm64, arm64_pte

from .blocks import (
    CONFIG,
    CONT,
    DBM,
    DEVMAP,
    DIRTY,
    NONE_PROT,
    NUMA,
    OLD,
    PRIVATE,
    RDONLY,
    RESOLVE,
    RO,
    RO_EXEC,
    RW,
    SHARED,
    TRY,
    WP,
    Outcome,
    case_of,
    run,
)


def change(word: int, **arguments: Any) -> tuple[int, bool, int]:
    """Of a lone `word`, at the entry of page 0x12345: the new word, whether flushed, the count."""
    words = (0,) * 5 + (word,) + (0,) * 10
    outcome = run(case_of(words, 5, 6, **arguments))
    assert outcome.tlbi == ()
    assert not any(outcome.words[:5] + outcome.words[6:])
    return outcome.words[5], outcome.flushed == (5,), outcome.pages


def facts_of(kernel: str = "7.3", **config: Any) -> Any:
    """The facts of a case of `kernel`."""
    changed = CONFIG._replace(**config)
    return state_of(case_of((0,) * 16, 0, 1, kernel=kernel, config=changed)).facts[0]


def test_decoding_loses_no_bit() -> None:
    draw = random.Random(1)
    words = [1 << i for i in range(64)] + [(1 << 64) - 1 - (1 << i) for i in range(64)] + [0]
    words += [draw.getrandbits(64) for _ in range(2000)]
    facts = facts_of()
    for number in words:
        word = np.uint64(number)
        assert arm64_pte.encode(facts, arm64_pte.decode(facts, word)) == word
        assert arm64.encode_swap(facts, arm64.decode_swap(facts, word)) == word


@pytest.mark.parametrize(
    ("old", "newprot", "cp", "new", "flush"),
    [
        (0x0068000012345F43, RO, 0, 0x00E0000012345FC3, True),  # the hardware's mark is saved
        (0x0068000012345FC3, RO, 0, 0x0060000012345FC3, True),
        (0x00E0000012345FC3, RO, TRY, 0x00E8000012345F43, True),  # dirty, so not read-only
        (0x0060000012345FC3, RO, TRY, 0x0068000012345FC3, True),  # clean, so it waits for a write
        (0x0068000012345F43, NONE_PROT, 0, 0x00E0000012345F82, True),
        (0x00E0000012345F82, RO, 0, 0x00E0000012345FC3, False),
        (0x0068000012345F43, RW, 0, 0x00E8000012345F43, False),  # only software's mark is new
        (0x0060000012345FC3, RO_EXEC, 0, 0x0020000012345FC3, True),
        (0x0460000012345FC3, RO, 0, 0x0460000012345FC3, False),
        (0x0060000012345FC3, RO, WP, 0x0460000012345FC3, False),
        (0x0068000012345F43, RW, WP, 0x04E0000012345FC3, True),  # write-protects by itself
        (0x0068000012345FC3, RW, WP, 0x0460000012345FC3, True),
        (0x0460000012345FC3, RO, RESOLVE, 0x0060000012345FC3, False),
        (0x00E0000012345F82, RO, TRY, 0x00E8000012345F43, False),
    ],
)
def test_worked_examples(old: int, newprot: int, cp: Any, new: int, flush: bool) -> None:
    assert change(old, newprot=newprot, cp=cp) == (new, flush, 1)
    # Until 6.19 the rule of arm64 is that of all: flush.
    assert change(old, newprot=newprot, cp=cp, kernel="6.12") == (new, True, 1)
    assert change(old, newprot=newprot, cp=cp, kernel="6.18") == (new, True, 1)


def bits_of(mask: int) -> set[int]:
    return {i for i in range(64) if mask >> i & 1}


def test_pte_modify_takes_and_keeps() -> None:
    facts = facts_of()
    taken, kept = set(), set()
    for i in range(64):
        # Read-only in both, so that no bit makes the entry dirty by the way.
        words = [np.uint64(word | RDONLY) for word in (1 << i, 0)]
        one, none = (arm64_pte.decode(facts, word) for word in words)
        if int(arm64_pte.encode(facts, arm64_pte.pte_modify(facts, none, one))) >> i & 1:
            taken.add(i)
        if int(arm64_pte.encode(facts, arm64_pte.pte_modify(facts, one, none))) >> i & 1:
            kept.add(i)
    assert taken == bits_of(0x706C_0000_0000_08DD)
    assert kept == set(range(64)) - taken | {7}
    assert change(0x0060000012345FC3, newprot=RO & ~RDONLY)[0] == 0x0060000012345F43


def test_the_hardware_sees_all_but_five_bits() -> None:
    old = np.uint64(0x0060000012345FC3)
    seen = set()
    for i in range(64):
        facts = facts_of()
        new = arm64_pte.decode(facts, old ^ np.uint64(1 << i))
        if arm64_pte.pte_needs_flush(facts, arm64_pte.decode(facts, old), new):
            seen.add(i)
    assert seen == set(range(64)) - bits_of(0x8780_0000_0000_0000)


@pytest.mark.parametrize(
    ("old", "mkdirty", "mkclean", "wrprotect", "mkwrite"),
    [
        ("clean RO", "dirty RO", "clean RO", "clean RO", "clean RW"),
        ("dirty RO", "dirty RO", "clean RO", "dirty RO", "dirty RW"),
        ("clean RW", "dirty RW", "clean RW", "clean RO", "clean RW"),
        ("dirty RW", "dirty RW", "clean RW", "dirty RO", "dirty RW"),
        # Marked by the hardware alone.
        ("written", "dirty RW", "clean RW", "dirty RO", "written"),
    ],
)
def test_dirty_states(old: str, mkdirty: str, mkclean: str, wrprotect: str, mkwrite: str) -> None:
    states = {
        "clean RO": RDONLY,
        "dirty RO": RDONLY | DIRTY,
        "clean RW": DBM | RDONLY,
        "dirty RW": DBM | DIRTY,
        "written": DBM,
    }
    facts = facts_of()
    pte = arm64_pte.decode(facts, np.uint64(OLD & ~RDONLY | states[old]))
    for operation, state in (
        (arm64_pte.pte_mkdirty, mkdirty),
        (arm64_pte.pte_mkclean, mkclean),
        (arm64_pte.pte_wrprotect, wrprotect),
    ):
        assert arm64_pte.encode(facts, operation(pte)) == OLD & ~RDONLY | states[state], operation
    assert arm64_pte.pte_dirty(pte) == (old not in ("clean RO", "clean RW"))
    for kernel in VERSIONS:
        facts = facts_of(kernel)
        # 6.16 lets the hardware write, and takes it for dirty: PTE_RDONLY goes, whatever was.
        state = mkwrite.replace("clean RW", "written") if kernel == "6.16" else mkwrite
        upgraded = arm64_pte.encode(facts, arm64_pte.pte_mkwrite(facts, pte))
        assert upgraded == OLD & ~RDONLY | states[state], kernel


@pytest.mark.parametrize(
    ("word", "protnone"),
    [
        (0x00E0000012345F82, True),
        (0x00E0000012345F83, False),  # valid
        (0x00E0000012345FC2, False),  # accessible to the user, were it valid
        (0x00A0000012345F82, False),  # executable by the user, were it valid
    ],
)
def test_protnone_is_one_encoding_of_not_valid(word: int, protnone: bool) -> None:
    facts = facts_of()
    assert arm64_pte.pte_protnone(facts, arm64_pte.decode(facts, np.uint64(word))) == protnone
    # Before RWP nobody but NUMA balancing asks.
    off = facts_of("6.18", numa_balancing=False)
    assert not arm64_pte.pte_protnone(off, arm64_pte.decode(off, np.uint64(word)))
    skipped = change(word, cp=NUMA, newprot=NONE_PROT, mm=Mm(users=2))[2] == 0
    assert skipped == protnone


@pytest.mark.parametrize(
    ("word", "present", "none"),
    [
        (0x0060000012345FC3, True, False),
        (0x00E0000012345F82, True, False),  # PROT_NONE
        (0x0000000012345800, True, False),  # PTE_PRESENT_INVALID alone makes it present
        (0x123456C0, False, False),
        (0, False, True),
        (1 << 10, False, False),  # no bit of an empty entry is the hardware's
    ],
)
def test_kinds_of_entries(word: int, present: bool, none: bool) -> None:
    facts = facts_of()
    pte = arm64_pte.decode(facts, np.uint64(word))
    assert bool(arm64_pte.pte_present(pte)) == present
    assert bool(arm64_pte.pte_none(facts, pte)) == none


def test_the_userfaultfd_bit_holds_the_write_right_back() -> None:
    marked = 0x0460000012345FC3
    assert change(marked, cp=TRY)[0] == marked | DBM
    assert change(marked, cp=TRY, vm=PRIVATE | f.VM_UFFD_WP)[0] == marked
    # 7.3: access protection that is in place already is skipped.
    protected = marked & ~1 & ~(1 << 6)
    assert change(protected, cp=f.MM_CP_UFFD_RWP, newprot=NONE_PROT)[2] == 0
    assert change(protected, cp=f.MM_CP_UFFD_RWP, newprot=NONE_PROT, kernel="6.18")[2] == 1


def test_devmap_excuses_a_special_entry_until_6_16() -> None:
    facts = facts_of("6.16"), facts_of("6.17")
    pte = arm64_pte.decode(facts[0], np.uint64(DEVMAP))
    assert [bool(arm64_pte.pte_devmap(x, pte)) for x in facts] == [True, False]
    # Nothing clears the bit in either.
    assert change(0x0260000012345FC3, kernel="6.17")[0] == 0x0260000012345FC3


# Entries that are not present: type in bits 6..10, offset from bit 12 on.


@pytest.mark.parametrize(
    ("old", "cp", "new"),
    [
        (0x1000040, 0, 0x1000040),  # swap type 1, offset 0x1000
        (0x1000040, WP, 0x1000048),
        (0x100004C, RESOLVE, 0x1000044),  # the exclusive bit stays
        (0x123456C0, 0, 0x12345680),  # migration write -> read exclusive
        (0x123456CC | 3 << 48, 0, 0x12345680 | 3 << 48),  # young and dirty stay, bits 2 and 3 go
        (0x99999_6C0, 0, 0x99999_640),  # a page of no anon folio
        (0x12345_70C, 0, 0x12345_748),  # device write -> read, with its userfaultfd bit
        (0x17C0, RESOLVE, 0),
        (0x17C0, WP, 0x17C0),
        (0x27C0, RESOLVE, 0x27C0),  # poison
        (0x47C0, RESOLVE, 0x47C0),  # guard
    ],
)
def test_swap_like_entries(old: int, cp: Any, new: int) -> None:
    assert change(old, cp=cp) == (new, False, int(new != old))
    facts = facts_of()
    assert arm64.decode_swap(facts, np.uint64(old)).rest == 0


def test_a_store_clears_bit_52_of_whatever_it_stores() -> None:
    far = 0x1000040 | CONT  # bit 52 is a bit of the offset here
    assert change(far) == (far, False, 0)
    assert change(far, cp=WP) == (0x1000048, False, 1)


def test_the_marker_of_an_empty_entry() -> None:
    changes: dict[str, Any] = {"cp": WP, "vm": SHARED | f.VM_UFFD_WP}
    case = case_of((0,) * 16, 3, 4, **changes).replace(vma=Vma(int(changes["vm"]), anon=False))
    assert run(case) == Outcome((0, 0, 0, 0x17C0, *(0,) * 12), (), (), 1)
