"""The powerpc page-table entry: bit positions. SAME, book3s64 radix, 64 KiB and 4 KiB pages.

Sources: arch/powerpc/include/asm/book3s/64/pgtable.h, hash-64k.h, hash-4k.h,
Linux 6.12.117 and 7.3.4. Words are in CPU order (pte_val()), as the kernel's
rules see them; in memory they are big-endian. Constants have the kernel's names
without the leading underscore. Where the two page sizes differ, a name ends in
_64K or _4K.
"""

import numpy as np

from .layout import Field, Layout, SwapLayout
from .version import Config


def _bit(number: int) -> np.uint64:
    return np.uint64(1 << number)


PAGE_EXEC = _bit(0)  # _PAGE_EXEC
PAGE_WRITE = _bit(1)  # _PAGE_WRITE
PAGE_READ = _bit(2)  # _PAGE_READ
PAGE_PRIVILEGED = _bit(3)  # _PAGE_PRIVILEGED
PAGE_SAO = _bit(4)  # _PAGE_SAO; with the next one _PAGE_TOLERANT
PAGE_NON_IDEMPOTENT = _bit(5)  # _PAGE_NON_IDEMPOTENT
H_PAGE_BUSY = _bit(6)  # H_PAGE_BUSY of the hash MMU; reserved with radix
PAGE_DIRTY = _bit(7)  # _PAGE_DIRTY
PAGE_ACCESSED = _bit(8)  # _PAGE_ACCESSED
PAGE_SOFT_DIRTY = _bit(9)  # _PAGE_SOFT_DIRTY, _RPAGE_SW3
PAGE_SPECIAL = _bit(10)  # _PAGE_SPECIAL, _RPAGE_SW2
PAGE_DEVMAP = _bit(11)  # _PAGE_DEVMAP, _RPAGE_SW1; no name from 6.17 on
PAGE_INVALID = _bit(61)  # _PAGE_INVALID, _RPAGE_SW0
PAGE_PTE = _bit(62)  # _PAGE_PTE
PAGE_PRESENT = _bit(63)  # _PAGE_PRESENT

PTE_RPN_MASK_64K = np.uint64(0x001F_FFFF_FFFF_0000)  # PTE_RPN_MASK
PTE_RPN_MASK_4K = np.uint64(0x001F_FFFF_FFFF_F000)
# _PAGE_HPTEFLAGS: bits of the hash MMU, which pte_modify() keeps with radix, too.
PAGE_HPTEFLAGS_64K = np.uint64(0x0080_0000_0000_1040)
PAGE_HPTEFLAGS_4K = np.uint64(0x11E0_0000_0000_0040)

PAGE_NONE = np.uint64(0x8000_0000_0000_0100)  # PAGE_NONE: PRESENT | ACCESSED
_READONLY = np.uint64(0x8000_0000_0000_0104)  # PAGE_READONLY, PAGE_COPY
_EXECONLY = np.uint64(0x8000_0000_0000_0101)  # PAGE_EXECONLY
_READONLY_X = np.uint64(0x8000_0000_0000_0105)  # PAGE_READONLY_X, PAGE_COPY_X
_SHARED = np.uint64(0x8000_0000_0000_0106)  # PAGE_SHARED
_SHARED_X = np.uint64(0x8000_0000_0000_0107)  # PAGE_SHARED_X

# protection_map[], arch/powerpc/mm/book3s64/pgtable.c. None has _PAGE_PTE.
PROTECTION_MAP = (
    PAGE_NONE,
    _READONLY,
    _READONLY,
    _READONLY,
    _EXECONLY,
    _READONLY_X,
    _READONLY_X,
    _READONLY_X,
    PAGE_NONE,
    _READONLY,
    _SHARED,
    _SHARED,
    _EXECONLY,
    _READONLY_X,
    _SHARED_X,
    _SHARED_X,
)

# Swap-like entries: __swp_entry(), book3s/64/pgtable.h. The offset is the RPN field.
SWP_EXCLUSIVE = PAGE_NON_IDEMPOTENT  # _PAGE_SWP_EXCLUSIVE
SWP_SOFT_DIRTY = PAGE_SOFT_DIRTY  # _PAGE_SWP_SOFT_DIRTY
SWP_TYPE_SHIFT = np.uint64(0)
SWP_TYPE_BITS = 5
SWP_OFFSET_BITS_64K = 37
SWP_OFFSET_BITS_4K = 41
SWP_PFN_BITS_64K = 35  # MAX_PHYSMEM_BITS 51 - PAGE_SHIFT
SWP_PFN_BITS_4K = 39


# Of both page sizes: below the PFN field, and above the bits of the hash MMU.
_LOW = (
    Field("exec", "_PAGE_EXEC", PAGE_EXEC),
    Field("write", "_PAGE_WRITE", PAGE_WRITE),
    Field("read", "_PAGE_READ", PAGE_READ),
    Field("privileged", "_PAGE_PRIVILEGED", PAGE_PRIVILEGED),
    Field("sao", "_PAGE_SAO", PAGE_SAO),
    Field("non_idempotent", "_PAGE_NON_IDEMPOTENT", PAGE_NON_IDEMPOTENT),
    Field("busy", "H_PAGE_BUSY", H_PAGE_BUSY),
    Field("dirty", "_PAGE_DIRTY", PAGE_DIRTY),
    Field("accessed", "_PAGE_ACCESSED", PAGE_ACCESSED),
    Field("soft_dirty", "_PAGE_SOFT_DIRTY", PAGE_SOFT_DIRTY),
    Field("special", "_PAGE_SPECIAL", PAGE_SPECIAL),
    Field("devmap", "_PAGE_DEVMAP", PAGE_DEVMAP),
)
_HIGH = (
    Field("invalid", "_PAGE_INVALID", PAGE_INVALID),
    Field("pte", "_PAGE_PTE", PAGE_PTE),
    Field("present", "_PAGE_PRESENT", PAGE_PRESENT),
)


_SWAP_64K = SwapLayout(
    type_shift=0,
    type_bits=5,
    offset_shift=16,
    offset_bits=SWP_OFFSET_BITS_64K,
    offset_inverted=False,
    always_set=PAGE_PTE,
    soft_dirty=SWP_SOFT_DIRTY,
    uffd=np.uint64(0),
    exclusive=SWP_EXCLUSIVE,
    pfn_bits=SWP_PFN_BITS_64K,
    young_bit=SWP_PFN_BITS_64K,
    dirty_bit=SWP_PFN_BITS_64K + 1,
)
_SWAP_4K = _SWAP_64K._replace(
    offset_shift=12,
    offset_bits=SWP_OFFSET_BITS_4K,
    pfn_bits=SWP_PFN_BITS_4K,
    young_bit=SWP_PFN_BITS_4K,
    dirty_bit=SWP_PFN_BITS_4K + 1,
)

LAYOUT_64K = Layout(
    arch="powerpc",
    page_shift=16,
    entries_per_table=32,
    block=1,
    pfn_bits=35,
    config=Config(uffd_wp=False, page_shift=16),
    fields=(
        *_LOW,
        Field("combo", "H_PAGE_COMBO", _bit(12)),
        Field("rpage", "(bits 13..15)", np.uint64(0xE000)),
        Field("high", "(bits 53, 54)", np.uint64(0x0060_0000_0000_0000)),
        Field("hashpte", "(bit 55)", _bit(55)),
        Field("pkey", "(bits 56..60)", np.uint64(0x1F00_0000_0000_0000)),
        *_HIGH,
    ),
    pfn_mask=PTE_RPN_MASK_64K,
    pfn_inverted=False,
    protection_map=PROTECTION_MAP,
    page_none=PAGE_NONE,
    hardware_bits=PAGE_ACCESSED | PAGE_DIRTY,
    hardware_clears=np.uint64(0),
    swap=_SWAP_64K,
)

LAYOUT_4K = LAYOUT_64K._replace(
    page_shift=12,
    entries_per_table=512,
    pfn_bits=39,
    config=Config(uffd_wp=False, page_shift=12),
    fields=(
        *_LOW,
        Field("gix", "(bits 53..56)", np.uint64(0x01E0_0000_0000_0000)),
        Field("pkey", "(bits 57..59)", np.uint64(0x0E00_0000_0000_0000)),
        Field("hashpte", "(bit 60)", _bit(60)),
        *_HIGH,
    ),
    pfn_mask=PTE_RPN_MASK_4K,
    swap=_SWAP_4K,
)
LAYOUTS = (LAYOUT_64K, LAYOUT_4K)
