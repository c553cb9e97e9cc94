"""Wild cases: rules that a kernel keeps are broken on purpose.

Many readings of the rules are told apart by such cases only. What a case is
(`Case.check()`) still holds; see `harness.case`.
"""

import numpy as np

from mm.flags import (
    CP_FLAGS,
    FOLIO_FLAGS,
    MM_CP_PROT_NUMA,
    MM_CP_TRY_CHANGE_WRITABLE,
    MM_CP_UFFD_RWP,
    MM_CP_UFFD_RWP_RESOLVE,
    MM_CP_UFFD_WP,
    MM_CP_UFFD_WP_RESOLVE,
    VM_FLAGS,
    VM_UFFD_RWP,
)
from mm.jit import rule

from .choices import bits, draw, mix, parts

NONE = np.uint64(0)
ONE = np.uint64(1)

_ALL_FOLIO_FLAGS = np.uint64(sum(int(flag) for flag in FOLIO_FLAGS.values()))
_VM_FLAGS = np.array(list(VM_FLAGS.values()), np.uint64)
_NR_VM_FLAGS = len(VM_FLAGS)
# Two of them at once are a BUG or WARN in change_protection(), before the walk.
_UFFD_CALLS = np.array(
    [
        0,
        0,
        0,
        0,
        MM_CP_UFFD_WP,
        MM_CP_UFFD_WP_RESOLVE,
        MM_CP_UFFD_RWP,
        MM_CP_UFFD_RWP_RESOLVE,
    ],
    np.uint64,
)
assert set(CP_FLAGS.values()) >= set(_UFFD_CALLS[4:])
# One entry in so many is broken, out of 8 choices; 0 breaks none.
_RARITY = np.array([0, 1, 2, 4, 8, 16, 32, 0], np.int64)


_FEW_PAGES = np.int64(32)

# What is broken, and how.
BREAK_CHOICE = parts(2, 2, 1, 1, 3, 3)
_CP, _PROT, _VMA, _FOLIOS, _ENTRIES, _WALKER = BREAK_CHOICE
_UFFD_CALL, _TRY, _NUMA, _ANON, _UNPOPULATED, _VM = parts(3, 1, 2, 1, 1, 2 * _NR_VM_FLAGS)
# Of the noise of a folio or entry.
_FLAGS_TOO, _EXCLUSIVE_TOO = parts(1, 2)
_WALKED, _ODD = parts(2, 8)


@rule
def break_rules(arch, choices, state):
    """Break some of: the call's flags, the VMA, the protection, folios, entries, the walker."""
    facts = state.facts[0]
    what = draw(choices)
    choice = draw(choices)
    if bits(what, _CP) == 3:
        cp_flags = _UFFD_CALLS[bits(choice, _UFFD_CALL)]
        if facts.uffd_rwp == 0 and bits(choice, _UFFD_CALL) >= 6:
            cp_flags = MM_CP_UFFD_WP
        if bits(choice, _TRY):
            cp_flags |= MM_CP_TRY_CHANGE_WRITABLE
        if bits(choice, _NUMA) == 3:
            cp_flags |= MM_CP_PROT_NUMA
        facts.cp_flags = cp_flags
    if bits(what, _PROT) == 3:
        facts.newprot = arch.odd_prot(facts, facts.newprot, mix(choice))
    if bits(what, _VMA):
        _break_vma(state, choice)
    if bits(what, _FOLIOS):
        _break_folios(state, mix(choice + ONE))
    _break_entries(arch, state, _RARITY[bits(what, _ENTRIES)], mix(choice + np.uint64(2)))
    arch.break_window(state, mix(choice + np.uint64(3)))
    if bits(what, _WALKER) == 7:
        for i in range(np.int64(facts.nr_ptes)):
            noise = mix(choice + np.uint64(i))
            if bits(noise, _WALKED) == 0:
                state.hardware[i] = arch.any_walker(noise >> np.uint64(2))
    # Whatever was drawn, and for whichever word: what is flipped is a change.
    for i in range(np.int64(facts.nr_ptes)):
        if state.hardware[i] != NONE:
            state.hardware[i] = arch.flips(state.ptes[i], state.hardware[i])


@rule
def _break_vma(state, choice):
    facts = state.facts[0]
    flags = facts.vma_flags
    for i in range(_NR_VM_FLAGS):
        # One flag in four is flipped.
        if (bits(choice, _VM) >> (2 * i)) & 3 == 3 and (
            _VM_FLAGS[i] != VM_UFFD_RWP or facts.uffd_rwp == 1
        ):
            flags ^= _VM_FLAGS[i]
    facts.vma_flags = flags
    facts.vma_anon = bits(choice, _ANON)
    facts.uffd_wp_unpopulated = bits(choice, _UNPOPULATED)


@rule
def _break_folios(state, choice):
    facts = state.facts[0]
    for row in range(np.int64(facts.nr_folios)):
        noise = mix(choice + np.uint64(row))
        folio = state.folios[row]
        if bits(noise, _FLAGS_TOO):
            folio.folio_flags ^= (
                (noise >> np.uint64(8)) & (noise >> np.uint64(16)) & _ALL_FOLIO_FLAGS
            )
        if bits(noise, _EXCLUSIVE_TOO) == 3:
            first = np.int64(folio.first_page)
            for i in range(min(np.int64(folio.nr_pages), _FEW_PAGES)):
                state.exclusive[first + i] ^= np.uint8((noise >> np.uint64(32 + i)) & ONE)


@rule
def _break_entries(arch, state, rarity, choice):
    facts = state.facts[0]
    if rarity == 0:
        return
    for i in range(np.int64(facts.nr_ptes)):
        noise = mix(choice + np.uint64(i))
        if bits(noise, _ODD) & (rarity - 1) == 0:
            state.ptes[i] = arch.odd_word(facts, state.ptes[i], mix(noise))
