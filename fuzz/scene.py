"""The call and its VMA: everything of a case that is not an entry or a folio.

Which flags and protections go together follows the callers of
change_protection() in Linux 7.3: mprotect_fixup(), change_prot_numa(),
uffd_wp_range() and its read-write-protect counterpart.
"""

from typing import Any, NamedTuple

import numpy as np

from mm.flags import (
    MM_CP_PROT_NUMA,
    MM_CP_TRY_CHANGE_WRITABLE,
    MM_CP_UFFD_RWP,
    MM_CP_UFFD_RWP_RESOLVE,
    MM_CP_UFFD_WP,
    MM_CP_UFFD_WP_RESOLVE,
    VM_MAYEXEC,
    VM_MAYREAD,
    VM_MAYSHARE,
    VM_MAYWRITE,
    VM_MIXEDMAP,
    VM_PFNMAP,
    VM_SHARED,
    VM_SOFTDIRTY,
    VM_UFFD_RWP,
    VM_UFFD_WP,
)
from mm.jit import rule

from .choices import WINDOW, bits, draw, parts, scaled
from .layout.folios import FAR_NODES
from .words.table import PROTNONE, SOFT_DIRTY, UFFD, WRITE

NONE = np.uint64(0)
ONE = np.uint64(1)


class Scene(NamedTuple):
    """What the layout must know of the call and its VMA."""

    wild: Any  # 1: break_rules() follows
    contents: Any  # row of layout.kinds.RUNS: what such a VMA maps
    private: Any  # 1: a writable entry needs an exclusive anon page
    armed_none: Any  # 1: an entry with the uffd bit is PAGE_NONE too (VM_UFFD_RWP)
    prot: Any  # read-only protection of the entries before the call
    allowed: Any  # properties (words.*) that an entry of the VMA may have
    first_pfn: Any  # where folios may begin


def _weighted(*pairs: tuple[int, int]) -> Any:
    """An array with each value as often as its weight says, in order; a power of two long."""
    values = [value for value, weight in pairs for _ in range(weight)]
    assert len(values) & (len(values) - 1) == 0, len(values)
    return np.array(values, np.int64)


_MPROTECT, _NUMA, _WP, _WP_RESOLVE, _RWP, _RWP_RESOLVE = range(6)
_CALLS = _weighted(
    (_MPROTECT, 36), (_NUMA, 6), (_WP, 5), (_WP_RESOLVE, 9), (_RWP, 4), (_RWP_RESOLVE, 4)
)
_CP_FLAGS = np.array(
    [
        0,
        MM_CP_PROT_NUMA,
        MM_CP_UFFD_WP,
        MM_CP_UFFD_WP_RESOLVE,
        MM_CP_UFFD_RWP,
        MM_CP_UFFD_RWP_RESOLVE,
    ],
    np.uint64,
)

# Rows of layout.kinds.RUNS.
ANON_VMA, FILE_VMA, SHARED_VMA, DEVICE_VMA = range(4)
_DEVICE_SHARED_VMA = 4
_VMAS = _weighted(
    (ANON_VMA, 38), (FILE_VMA, 10), (SHARED_VMA, 13), (DEVICE_VMA, 2), (_DEVICE_SHARED_VMA, 1)
)

# Access: READ 1 | WRITE 2 | EXEC 4, the values of the VM_ flags.
_R, _W, _RW, _X, _RX, _RWX = 1, 2, 3, 4, 5, 7
_NEW_ACCESS = _weighted((_R, 2), (_RW, 8), (_RWX, 2), (_RX, 1), (0, 1), (_W, 1), (_X, 1))
_OLD_ACCESS = _weighted((_RW, 6), (_R, 5), (_RX, 2), (0, 1), (_RWX, 1), (_W, 1))
# A VMA that is not being changed, for NUMA and uffd.
_ACCESS = _weighted((_R, 2), (_RW, 10), (_RWX, 2), (_RX, 2))

_USERS = _weighted((1, 11), (2, 2), (3, 1), (5, 1), (8, 1))
_MODES = _weighted((1, 4), (0, 1), (2, 1), (3, 2))
_TOPTIER = np.array([0x1, 0x3, 0xF, 0xF << FAR_NODES | 0x3], np.uint64)

# Window lengths: least, and how many from there on. About 40 entries on average.
_SIZES = (
    *[(1, 1)],
    *[(1, 4)] * 5,
    *[(4, 13)] * 20,
    *[(16, 25)] * 22,
    *[(40, 25)] * 9,
    *[(65, 64)] * 5,
    *[(129, 383)],
    *[(512, 1)],
)
assert len(_SIZES) == 64
_SIZE_LEAST = np.array([least for least, _ in _SIZES], np.int64)
_SIZE_SPAN = np.array([span for _, span in _SIZES], np.int64)

_FIRST_PFN = np.uint64(0x1_2340)
_TABLE_ADDR = np.uint64(0x7F00_0000_0000)
# PMD_SHIFT: one page table maps 2 MiB, on every architecture modelled.
_PMD_SHIFT = np.uint64(21)


# The choice of call and VMA.
CALL_CHOICE = parts(6, 6, 6, 4, 4, 4, 3, 2, 1, 2, 3, 1, 1, 1, 8)
(
    _WILD,
    _CALL,
    _VMA,
    _ACCESS_NOW,
    _ACCESS_BEFORE,
    _PKEY,
    _HAS_PKEY,
    _OTHER_PKEY,
    _MIXED,
    _TRACKS_SOFT_DIRTY,
    _UFFD_MODE,
    _HAS_RWP,
    _UNPOPULATED,
    _NOTIFIES,
    _DEVICE,
) = CALL_CHOICE
# Cases are wild from this value of the first part on.
WILD_FROM = 54
# The choice of the window.
WINDOW_CHOICE = parts(6, 9, 3, 9, 9, 9, 14, 4)
_SIZE, _IN_SIZE, _RANGE, _START, _END, _SLOT, _PLACE, _AT_END = WINDOW_CHOICE
# The choice of mm and machine.
MM_CHOICE = parts(4, 2, 3, 2, 5)
_MM_USERS, _NODE, _MODE, _TIERS, _CONFIG = MM_CHOICE
# What a kernel was configured without, in one case of 32 each.
_NO_SOFT_DIRTY, _NO_UFFD_WP, _NO_NUMA_BALANCING = 29, 30, 31


@rule
def set_scene(arch, choices, state):
    """Choose window, call, VMA and machine facts into state.facts; returns the Scene."""
    facts = state.facts[0]
    arch.set_machine(choices, facts)
    choice = draw(choices)
    wild = np.int64(1) if bits(choice, _WILD) >= WILD_FROM else np.int64(0)
    first_pfn = _set_window(arch, choices, state)
    _set_mm(arch, choices, state)

    call = _CALLS[bits(choice, _CALL)]
    if facts.uffd_rwp == 0 and call >= _RWP:
        call -= 2
    if (facts.uffd_wp == 0 and call >= _WP) or (facts.numa_balancing == 0 and call == _NUMA):
        call = _MPROTECT
    vma = _VMAS[bits(choice, _VMA)]
    # task_numa_work() passes over VMAs that map no pages of their own.
    if call == _NUMA and vma >= DEVICE_VMA:
        vma -= 2
    shared = vma == SHARED_VMA or vma == _DEVICE_SHARED_VMA

    access, old_access, pkey, old_pkey = _rights(arch, choice, call)
    flags = np.uint64(access) | VM_MAYREAD | VM_MAYWRITE | VM_MAYEXEC
    if shared:
        flags |= VM_SHARED | VM_MAYSHARE
    if vma >= DEVICE_VMA:
        flags |= VM_MIXEDMAP if bits(choice, _MIXED) else VM_PFNMAP
    tracks_soft_dirty = facts.soft_dirty == 1 and bits(choice, _TRACKS_SOFT_DIRTY) == 3
    if facts.soft_dirty == 1 and not tracks_soft_dirty:
        flags |= VM_SOFTDIRTY
    uffd = _uffd_mode(choice, facts, call)
    flags |= uffd
    facts.vma_flags = flags
    facts.vma_anon = 1 if vma == ANON_VMA else 0
    facts.uffd_wp_unpopulated = bits(choice, _UNPOPULATED) if uffd != NONE else np.int64(0)

    # vma_wants_writenotify(): the file system asks, or tracking does.
    writenotify = shared and (
        bits(choice, _NOTIFIES) == 1 or tracks_soft_dirty or uffd == VM_UFFD_WP
    )
    upgrades = access & _W != 0 and (writenotify or not shared)
    cp_flags = _CP_FLAGS[call]
    if upgrades and (call == _MPROTECT or call == _WP_RESOLVE or call == _RWP_RESOLVE):
        cp_flags |= MM_CP_TRY_CHANGE_WRITABLE
    facts.cp_flags = cp_flags
    if call == _NUMA or call == _RWP:
        facts.newprot = arch.page_none()
    else:
        facts.newprot = arch.protection(access + (8 if shared and not writenotify else 0), pkey)
    prot = arch.protection(old_access, old_pkey)
    if vma >= DEVICE_VMA:
        # pgprot_modify(): mprotect() keeps the memory type that the driver chose.
        device = choice >> _DEVICE.shift
        prot = arch.device_prot(prot, device)
        if call != _RWP:
            facts.newprot = arch.device_prot(facts.newprot, device)

    allowed = SOFT_DIRTY if facts.soft_dirty == 1 else NONE
    if uffd != NONE:
        allowed |= UFFD
    if old_access & _W != 0:
        allowed |= WRITE
    if old_access != 0 and (facts.numa_balancing == 1 or uffd == VM_UFFD_RWP):
        allowed |= PROTNONE
    return Scene(
        wild,
        DEVICE_VMA if vma > DEVICE_VMA else vma,
        np.int64(0) if shared else np.int64(1),
        np.int64(1) if uffd == VM_UFFD_RWP else np.int64(0),
        prot,
        allowed,
        first_pfn,
    )


@rule
def _rights(arch, choice, call):
    """Access and protection key of the VMA, now and before: (access, before, pkey, before)."""
    pkey = np.uint64(bits(choice, _PKEY)) & arch.pkey_mask
    if bits(choice, _HAS_PKEY) < 7:
        pkey = NONE
    if call != _MPROTECT:
        access = _ACCESS[bits(choice, _ACCESS_NOW)]
        return access, access, pkey, pkey
    access = _NEW_ACCESS[bits(choice, _ACCESS_NOW)]
    old_access = _OLD_ACCESS[bits(choice, _ACCESS_BEFORE)]
    if arch.exec_only == 1 and old_access == _W:
        # WRITE alone gives what READ gives.
        old_access = np.int64(_X)
    old_pkey = NONE if bits(choice, _OTHER_PKEY) == 3 else pkey
    # mprotect() with nothing to change walks no table.
    if old_access == access and old_pkey == pkey:
        old_access = np.int64(_R if access == _RW else _RW)
    return access, old_access, pkey, old_pkey


@rule
def _uffd_mode(choice, facts, call):
    """The VM_UFFD_ flag of the VMA: the call's own, else one in a few."""
    if facts.uffd_wp == 0:
        return NONE
    if call == _WP or call == _WP_RESOLVE:
        return VM_UFFD_WP
    if call == _RWP or call == _RWP_RESOLVE:
        return VM_UFFD_RWP
    mode = bits(choice, _UFFD_MODE)
    if mode == 7:
        return VM_UFFD_WP
    if mode == 6 and facts.uffd_rwp == 1 and bits(choice, _HAS_RWP) == 1:
        return VM_UFFD_RWP
    return NONE


@rule
def _set_window(arch, choices, state):
    """Choose length, place and range of the window; returns where its folios may begin."""
    facts = state.facts[0]
    entries = np.int64(ONE << (_PMD_SHIFT - facts.page_shift))
    block = arch.block
    choice = draw(choices)
    size = bits(choice, _SIZE)
    # More where a window is made of blocks: too few would have two of them otherwise.
    nr_ptes = _SIZE_LEAST[size] + scaled(choice, _IN_SIZE, _SIZE_SPAN[size]) + (block * 3 >> 2)
    if choices[WINDOW] != NONE:
        nr_ptes = np.int64(choices[WINDOW])
    nr_ptes = (min(nr_ptes, entries) + block - 1) & -block
    nr_ptes = min(nr_ptes, np.int64(state.ptes.shape[0]) & -block)
    facts.nr_ptes = nr_ptes

    form = bits(choice, _RANGE)
    start = np.int64(0)
    end = nr_ptes
    if form >= 7:
        start = scaled(choice, _START, nr_ptes)
        end = start + 1
    elif form >= 3:
        # Up to half of the window is left out in front, up to half of the rest behind.
        start = scaled(choice, _START, nr_ptes) >> 1
        end = nr_ptes - (scaled(choice, _END, nr_ptes - start) >> 1)
    facts.start = start
    facts.end = end

    slot = scaled(choice, _SLOT, entries - nr_ptes + block) & -block
    facts.table_addr = _TABLE_ADDR + (np.uint64(slot) << facts.page_shift)

    # One case in 16 lives at the end of the memory map.
    place = np.uint64(bits(choice, _PLACE))
    if bits(choice, _AT_END) == 15:
        room = place & np.uint64(0xFF)
        if facts.highest_memmap_pfn > room:
            return facts.highest_memmap_pfn - room
    return _FIRST_PFN + (place << np.uint64(4))


@rule
def _set_mm(arch, choices, state):
    """Choose the facts of the mm and of NUMA balancing, and what is configured."""
    facts = state.facts[0]
    choice = draw(choices)
    facts.mm_users = _USERS[bits(choice, _MM_USERS)]
    facts.numa_node = bits(choice, _NODE)
    facts.numa_balancing_mode = np.uint64(_MODES[bits(choice, _MODE)])
    facts.toptier_nodes = _TOPTIER[bits(choice, _TIERS)]
    config = bits(choice, _CONFIG)
    facts.soft_dirty = arch.soft_dirty if config != _NO_SOFT_DIRTY else 0
    facts.uffd_wp = arch.uffd_wp if config != _NO_UFFD_WP else 0
    facts.numa_balancing = 1 if config != _NO_NUMA_BALANCING else 0
