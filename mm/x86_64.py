"""The x86_64 page-table entry: bit positions. SAME, 4 KiB pages, 4 levels, no SME.

Sources: arch/x86/include/asm/pgtable_types.h and pgtable_64.h, Linux 6.12.117
and 7.3.4. Constants have the kernel's names without the leading underscore.
"""

import numpy as np

from .layout import Field, Layout, SwapLayout
from .version import Config


def _bit(number: int) -> np.uint64:
    return np.uint64(1 << number)


PAGE_PRESENT = _bit(0)  # _PAGE_PRESENT
PAGE_RW = _bit(1)  # _PAGE_RW
PAGE_USER = _bit(2)  # _PAGE_USER
PAGE_PWT = _bit(3)  # _PAGE_PWT
PAGE_PCD = _bit(4)  # _PAGE_PCD
PAGE_ACCESSED = _bit(5)  # _PAGE_ACCESSED
PAGE_DIRTY = _bit(6)  # _PAGE_DIRTY, set by hardware
PAGE_PAT = _bit(7)  # _PAGE_PAT of a 4 KiB entry
PAGE_GLOBAL = _bit(8)  # _PAGE_GLOBAL; without PRESENT it is _PAGE_PROTNONE
PAGE_SPECIAL = _bit(9)  # _PAGE_SPECIAL, _PAGE_BIT_SOFTW1
PAGE_UFFD = _bit(10)  # _PAGE_UFFD_WP (7.3: _PAGE_UFFD), _PAGE_BIT_SOFTW2
PAGE_SOFT_DIRTY = _bit(11)  # _PAGE_SOFT_DIRTY, _PAGE_BIT_SOFTW3
PTE_PFN_MASK = np.uint64(0x000F_FFFF_FFFF_F000)  # PTE_PFN_MASK, bits 12..51
PAGE_UNNAMED = np.uint64(0x01F0_0000_0000_0000)  # bits 52..56, no name in the kernel
PAGE_DEVMAP = _bit(57)  # _PAGE_DEVMAP, _PAGE_BIT_SOFTW4; no name from 6.17 on
PAGE_SAVED_DIRTY = _bit(58)  # _PAGE_SAVED_DIRTY, _PAGE_BIT_SOFTW5
PAGE_PKEY_MASK = np.uint64(0x7800_0000_0000_0000)  # _PAGE_PKEY_MASK, bits 59..62
PAGE_NX = _bit(63)  # _PAGE_NX

PFN_SHIFT = np.uint64(12)
PKEY_SHIFT = np.uint64(59)

PAGE_NONE = np.uint64(0x120)  # PAGE_NONE: ACCESSED | PROTNONE
_RO_NX = np.uint64(0x8000_0000_0000_0025)  # PAGE_READONLY, PAGE_COPY
_RO_EXEC = np.uint64(0x25)  # PAGE_READONLY_EXEC, PAGE_COPY_EXEC
_RW_NX = np.uint64(0x8000_0000_0000_0027)  # PAGE_SHARED
_RW_EXEC = np.uint64(0x27)  # PAGE_SHARED_EXEC

# protection_map[], arch/x86/mm/pgprot.c. A private mapping is never RW here.
PROTECTION_MAP = (
    PAGE_NONE,
    _RO_NX,
    _RO_NX,
    _RO_NX,
    _RO_EXEC,
    _RO_EXEC,
    _RO_EXEC,
    _RO_EXEC,
    PAGE_NONE,
    _RO_NX,
    _RW_NX,
    _RW_NX,
    _RO_EXEC,
    _RO_EXEC,
    _RW_EXEC,
    _RW_EXEC,
)

# Swap-like entries: __swp_entry(), arch/x86/include/asm/pgtable_64.h.
SWP_SOFT_DIRTY = _bit(1)  # _PAGE_SWP_SOFT_DIRTY is _PAGE_RW
SWP_UFFD = _bit(2)  # _PAGE_SWP_UFFD_WP is _PAGE_USER
SWP_EXCLUSIVE = _bit(3)  # _PAGE_SWP_EXCLUSIVE is _PAGE_PWT
SWP_TYPE_SHIFT = np.uint64(59)
SWP_TYPE_BITS = 5
SWP_OFFSET_SHIFT = np.uint64(9)
SWP_OFFSET_BITS = 50  # stored inverted
SWP_PFN_BITS = 34  # MAX_PHYSMEM_BITS - PAGE_SHIFT with 4 levels
SWP_MIG_YOUNG_BIT = 34
SWP_MIG_DIRTY_BIT = 35

LAYOUT = Layout(
    arch="x86_64",
    page_shift=12,
    entries_per_table=512,
    block=1,
    pfn_bits=40,
    config=Config(),
    fields=(
        Field("present", "_PAGE_PRESENT", PAGE_PRESENT),
        Field("write", "_PAGE_RW", PAGE_RW),
        Field("user", "_PAGE_USER", PAGE_USER),
        Field("pwt", "_PAGE_PWT", PAGE_PWT),
        Field("pcd", "_PAGE_PCD", PAGE_PCD),
        Field("accessed", "_PAGE_ACCESSED", PAGE_ACCESSED),
        Field("dirty", "_PAGE_DIRTY", PAGE_DIRTY),
        Field("pat", "_PAGE_PAT", PAGE_PAT),
        Field("global", "_PAGE_GLOBAL", PAGE_GLOBAL),
        Field("special", "_PAGE_SPECIAL", PAGE_SPECIAL),
        Field("uffd", "_PAGE_UFFD", PAGE_UFFD),
        Field("soft_dirty", "_PAGE_SOFT_DIRTY", PAGE_SOFT_DIRTY),
        Field("unnamed", "(bits 52..56)", PAGE_UNNAMED),
        Field("devmap", "_PAGE_DEVMAP", PAGE_DEVMAP),
        Field("saved_dirty", "_PAGE_SAVED_DIRTY", PAGE_SAVED_DIRTY),
        Field("pkey", "_PAGE_PKEY_MASK", PAGE_PKEY_MASK),
        Field("nx", "_PAGE_NX", PAGE_NX),
    ),
    pfn_mask=PTE_PFN_MASK,
    pfn_inverted=True,
    protection_map=PROTECTION_MAP,
    page_none=PAGE_NONE,
    hardware_bits=PAGE_ACCESSED | PAGE_DIRTY,
    hardware_clears=np.uint64(0),
    swap=SwapLayout(
        type_shift=59,
        type_bits=5,
        offset_shift=9,
        offset_bits=50,
        offset_inverted=True,
        always_set=np.uint64(0),
        soft_dirty=SWP_SOFT_DIRTY,
        uffd=SWP_UFFD,
        exclusive=SWP_EXCLUSIVE,
        pfn_bits=34,
        young_bit=34,
        dirty_bit=35,
    ),
)
LAYOUTS = (LAYOUT,)
