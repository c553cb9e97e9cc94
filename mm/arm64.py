"""The arm64 page-table entry: bit positions. SAME, 4 KiB pages, 48-bit addresses, no LPA2.

Sources: arch/arm64/include/asm/pgtable-hwdef.h, pgtable-prot.h, pgtable.h, Linux
6.12.117 and 7.3.4. Constants have the kernel's names. PROT_NONE is encoded by
PTE_NG without PTE_VALID since v6.10, so in every version modelled here.
"""

import numpy as np

from .layout import Field, Layout, SwapLayout
from .version import Config


def _bit(number: int) -> np.uint64:
    return np.uint64(1 << number)


PTE_VALID = _bit(0)  # PTE_VALID
PTE_TABLE_BIT = _bit(1)  # PTE_TABLE_BIT; set in a page entry of the lowest level
PTE_TYPE_MASK = np.uint64(0x3)  # PTE_TYPE_MASK: the two bits above
PTE_ATTRINDX_MASK = np.uint64(0x1C)  # PTE_ATTRINDX_MASK, bits 2..4: memory type
PTE_NS = _bit(5)  # no name in the kernel; NS of the architecture
PTE_USER = _bit(6)  # PTE_USER, AP[1]
PTE_RDONLY = _bit(7)  # PTE_RDONLY, AP[2]; hardware clears it under PTE_DBM
PTE_SHARED = np.uint64(0x300)  # PTE_SHARED, SH[1:0]
PTE_AF = _bit(10)  # PTE_AF
PTE_NG = _bit(11)  # PTE_NG; without VALID it is PTE_PRESENT_INVALID
PTE_PRESENT_INVALID = PTE_NG
PTE_ADDR_MASK = np.uint64(0x0003_FFFF_FFFF_F000)  # PTE_ADDR_LOW, bits 12..49
PTE_GP = _bit(50)  # PTE_GP: BTI guarded
PTE_DBM = _bit(51)  # PTE_DBM
PTE_WRITE = PTE_DBM  # PTE_WRITE
PTE_CONT = _bit(52)  # PTE_CONT
PTE_PXN = _bit(53)  # PTE_PXN
PTE_UXN = _bit(54)  # PTE_UXN
PTE_DIRTY = _bit(55)  # PTE_DIRTY, set by software
PTE_SPECIAL = _bit(56)  # PTE_SPECIAL
PTE_DEVMAP = _bit(57)  # PTE_DEVMAP; no name from 6.17 on
PTE_UFFD = _bit(58)  # PTE_UFFD_WP (7.3: PTE_UFFD)
PTE_UNUSED = _bit(59)  # no name
PTE_PO_IDX_MASK = np.uint64(0x7000_0000_0000_0000)  # PTE_PO_IDX_MASK, bits 60..62
PTE_SOFTWARE = _bit(63)  # no name; ignored by hardware

PFN_SHIFT = np.uint64(12)
PO_IDX_SHIFT = np.uint64(60)
ATTRINDX_SHIFT = np.uint64(2)
MT_NORMAL_TAGGED = np.uint64(1)
MT_NORMAL_NC = np.uint64(2)
MT_DEVICE_NGNRE = np.uint64(4)

CONT_PTES = 16  # CONT_PTES: entries of a contpte block

PAGE_NONE = np.uint64(0x0060_0000_0000_0F82)  # PAGE_NONE
_RO = np.uint64(0x0060_0000_0000_0FC3)  # PAGE_READONLY
_RO_EXEC = np.uint64(0x0020_0000_0000_0FC3)  # PAGE_READONLY_EXEC
_RW = np.uint64(0x0068_0000_0000_0FC3)  # PAGE_SHARED: clean, so RDONLY
_RW_EXEC = np.uint64(0x0028_0000_0000_0FC3)  # PAGE_SHARED_EXEC

# protection_map[], arch/arm64/mm/mmap.c, without EPAN.
PROTECTION_MAP = (
    PAGE_NONE,
    _RO,
    _RO,
    _RO,
    _RO_EXEC,
    _RO_EXEC,
    _RO_EXEC,
    _RO_EXEC,
    PAGE_NONE,
    _RO,
    _RW,
    _RW,
    _RO_EXEC,
    _RO_EXEC,
    _RW_EXEC,
    _RW_EXEC,
)

# Swap-like entries: __swp_entry(), arch/arm64/include/asm/pgtable.h.
SWP_EXCLUSIVE = _bit(2)  # PTE_SWP_EXCLUSIVE
SWP_UFFD = _bit(3)  # PTE_SWP_UFFD_WP
SWP_TYPE_SHIFT = np.uint64(6)
SWP_TYPE_BITS = 5
SWP_OFFSET_SHIFT = np.uint64(12)
SWP_OFFSET_BITS = 50
SWP_PFN_BITS = 36
SWP_MIG_YOUNG_BIT = 36
SWP_MIG_DIRTY_BIT = 37

LAYOUT = Layout(
    arch="arm64",
    page_shift=12,
    entries_per_table=512,
    block=CONT_PTES,
    pfn_bits=36,
    config=Config(soft_dirty=False),
    fields=(
        Field("valid", "PTE_VALID", PTE_VALID),
        Field("type", "PTE_TABLE_BIT", PTE_TABLE_BIT),
        Field("attrindx", "PTE_ATTRINDX_MASK", PTE_ATTRINDX_MASK),
        Field("ns", "(bit 5)", PTE_NS),
        Field("user", "PTE_USER", PTE_USER),
        Field("rdonly", "PTE_RDONLY", PTE_RDONLY),
        Field("shared", "PTE_SHARED", PTE_SHARED),
        Field("accessed", "PTE_AF", PTE_AF),
        Field("ng", "PTE_NG", PTE_NG),
        Field("gp", "PTE_GP", PTE_GP),
        Field("write", "PTE_WRITE", PTE_WRITE),
        Field("cont", "PTE_CONT", PTE_CONT),
        Field("pxn", "PTE_PXN", PTE_PXN),
        Field("uxn", "PTE_UXN", PTE_UXN),
        Field("dirty", "PTE_DIRTY", PTE_DIRTY),
        Field("special", "PTE_SPECIAL", PTE_SPECIAL),
        Field("devmap", "PTE_DEVMAP", PTE_DEVMAP),
        Field("uffd", "PTE_UFFD", PTE_UFFD),
        Field("unused", "(bit 59)", PTE_UNUSED),
        Field("pkey", "PTE_PO_IDX_MASK", PTE_PO_IDX_MASK),
        Field("software", "(bit 63)", PTE_SOFTWARE),
    ),
    pfn_mask=PTE_ADDR_MASK,
    pfn_inverted=False,
    protection_map=PROTECTION_MAP,
    page_none=PAGE_NONE,
    hardware_bits=PTE_AF | PTE_RDONLY,
    hardware_clears=PTE_RDONLY,
    swap=SwapLayout(
        type_shift=6,
        type_bits=5,
        offset_shift=12,
        offset_bits=50,
        offset_inverted=False,
        always_set=np.uint64(0),
        soft_dirty=np.uint64(0),
        uffd=SWP_UFFD,
        exclusive=SWP_EXCLUSIVE,
        pfn_bits=36,
        young_bit=36,
        dirty_bit=37,
    ),
)
LAYOUTS = (LAYOUT,)
