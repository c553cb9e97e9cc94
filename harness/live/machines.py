"""What a live machine's architecture decides: numbers of system calls, shape of its page tables.

SIMPLIFIED: pages of 4 KiB; arm64 without LPA2. Sources: arch/x86/include/asm/
pgtable_types.h, arch/arm64/include/asm/pgtable-hwdef.h, the tables of system calls
of both, Linux 6.12 and 7.3.
"""

import platform
from typing import NamedTuple

from mm import arm64, x86_64

from ..lane import LaneMissing

PAGE_SHIFT = 12
PAGE = 1 << PAGE_SHIFT
TABLE_SHIFT = 9  # entries of one table, of every level
ENTRIES = 1 << TABLE_SHIFT


class Calls(NamedTuple):
    """Numbers of the system calls that the C library has no function for."""

    bpf: int
    perf_event_open: int
    userfaultfd: int


class Paging(NamedTuple):
    """How tables above the lowest are read, and what an entry of the lowest is at a glance."""

    levels: tuple[int, ...]  # how many there may be, the likeliest first
    table_mask: int  # physical address in an entry that points to a table
    present: int  # set in an entry that points to anything
    table_bits: int  # of these, `table_value` is set in one that points to a table,
    table_value: int  # and not in one that maps a huge page
    pte_present: int  # any of these: pte_present()
    pte_valid: int  # the hardware may use it; the PFN of others is inverted if the layout says so
    writable: int
    accessed: int
    uffd: int
    dirty: int  # any of these is set in a dirty entry,
    dirty_set: int  # or all of these
    dirty_clear: int  # and none of these


class Machine(NamedTuple):
    """One architecture, as the live oracle needs it."""

    arch: str
    calls: Calls
    paging: Paging


MACHINES = {
    "x86_64": Machine(
        arch="x86_64",
        calls=Calls(bpf=321, perf_event_open=298, userfaultfd=323),
        paging=Paging(
            levels=(4, 5),
            table_mask=int(x86_64.PTE_PFN_MASK),
            present=int(x86_64.PAGE_PRESENT),
            table_bits=1 << 7,  # _PAGE_PSE
            table_value=0,
            pte_present=int(x86_64.PAGE_PRESENT | x86_64.PAGE_GLOBAL),
            pte_valid=int(x86_64.PAGE_PRESENT),
            writable=int(x86_64.PAGE_RW),
            accessed=int(x86_64.PAGE_ACCESSED),
            uffd=int(x86_64.PAGE_UFFD),
            dirty=int(x86_64.PAGE_DIRTY | x86_64.PAGE_SAVED_DIRTY),
            dirty_set=0,
            dirty_clear=0,
        ),
    ),
    # Written from the headers; tried in emulated guests only.
    "arm64": Machine(
        arch="arm64",
        calls=Calls(bpf=280, perf_event_open=241, userfaultfd=282),
        paging=Paging(
            levels=(4, 3),
            table_mask=0x0000_FFFF_FFFF_F000,
            present=int(arm64.PTE_VALID),
            table_bits=int(arm64.PTE_TABLE_BIT),
            table_value=int(arm64.PTE_TABLE_BIT),
            pte_present=int(arm64.PTE_VALID | arm64.PTE_PRESENT_INVALID),
            pte_valid=int(arm64.PTE_VALID),
            writable=int(arm64.PTE_WRITE),
            accessed=int(arm64.PTE_AF),
            uffd=int(arm64.PTE_UFFD),
            dirty=int(arm64.PTE_DIRTY),
            dirty_set=int(arm64.PTE_WRITE),
            dirty_clear=int(arm64.PTE_RDONLY),
        ),
    ),
}
# What uname calls them.
NAMES = {"x86_64": "x86_64", "aarch64": "arm64"}


def this_machine(name: str | None = None) -> Machine:
    """The record of this machine (or of the one that uname calls `name`); LaneMissing for another."""
    name = platform.machine() if name is None else name
    if name not in NAMES:
        raise LaneMissing(f"the live oracle reads page tables of {' and '.join(NAMES)}, not {name}")
    return MACHINES[NAMES[name]]
