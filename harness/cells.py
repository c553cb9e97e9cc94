"""The cell of one entry in a drawing: six letters, or a word for what maps no page.

The letters, `-` where one does not apply: right, write, accessed, dirty, the
fifth as the architecture has it, userfaultfd. README's "Reading a difference"
explains each.
"""

import numpy as np

from mm import arm64, powerpc
from mm import x86_64 as x86
from mm.layout import PTE_MARKER_GUARD, PTE_MARKER_POISONED, PTE_MARKER_UFFD_WP
from mm.version import VERSIONS

from .anatomy import is_none, is_present
from .case import Case

_MARKERS = {PTE_MARKER_UFFD_WP: "m:wp", PTE_MARKER_POISONED: "m:psn", PTE_MARKER_GUARD: "m:grd"}


def cell(case: Case, word: int) -> str:
    """An entry in a few letters: r w a d s u (arm64: r w a d c u), or what else it is."""
    if is_present(case.layout, word):
        return _CELLS[case.arch](word)
    if is_none(case.layout, word):
        return "none"
    return _swap_like_cell(case, word)


def _swap_like_cell(case: Case, word: int) -> str:
    types, swap = VERSIONS[case.kernel].swap_types, case.layout.swap
    kind = word >> swap.type_shift & (1 << swap.type_bits) - 1
    offset = word >> swap.offset_shift & (1 << swap.offset_bits) - 1
    if swap.offset_inverted:
        offset ^= (1 << swap.offset_bits) - 1
    if kind == types.marker:
        return _MARKERS.get(offset, "m:?")
    names = {
        types.hwpoison: "hwpsn",
        types.migration_read: "mig:r",
        types.migration_read_exclusive: "mig:rx",
        types.migration_write: "mig:w",
        types.device_write: "dev:w",
        types.device_read: "dev:r",
        types.device_exclusive: "dev:x",
        types.device_exclusive_write: "dev:xw",
    }
    return names.get(kind, "swap")


def _has(word: int, bits: np.uint64) -> bool:
    return bool(word & int(bits))


def _letters(right: str, **others: bool) -> str:
    return right + "".join(letter if applies else "-" for letter, applies in others.items())


def _x86_64_cell(word: int) -> str:
    return _letters(
        "r" if _has(word, x86.PAGE_PRESENT) else "n",
        w=_has(word, x86.PAGE_RW),
        a=_has(word, x86.PAGE_ACCESSED),
        d=_has(word, x86.PAGE_DIRTY | x86.PAGE_SAVED_DIRTY),
        s=_has(word, x86.PAGE_SOFT_DIRTY),
        u=_has(word, x86.PAGE_UFFD),
    )


def _arm64_cell(word: int) -> str:
    write = _has(word, arm64.PTE_WRITE)
    hardware_dirty = write and not _has(word, arm64.PTE_RDONLY)
    return _letters(
        "r" if _has(word, arm64.PTE_VALID) else "n",
        w=write,
        a=_has(word, arm64.PTE_AF),
        d=_has(word, arm64.PTE_DIRTY) or hardware_dirty,
        # There is no soft-dirty bit, so its place is free.
        c=_has(word, arm64.PTE_CONT),
        u=_has(word, arm64.PTE_UFFD),
    )


def _powerpc_cell(word: int) -> str:
    if not _has(word, powerpc.PAGE_PRESENT):
        right = "i"  # as ptep_modify_prot_start() leaves it
    elif _has(word, powerpc.PAGE_READ):
        right = "r"
    elif _has(word, powerpc.PAGE_EXEC):
        right = "x"
    else:
        right = "-" if _has(word, powerpc.PAGE_WRITE) else "n"
    return _letters(
        right,
        w=_has(word, powerpc.PAGE_WRITE),
        a=_has(word, powerpc.PAGE_ACCESSED),
        d=_has(word, powerpc.PAGE_DIRTY),
        s=_has(word, powerpc.PAGE_SOFT_DIRTY),
        u=False,  # no userfaultfd bit
    )


_CELLS = {"x86_64": _x86_64_cell, "arm64": _arm64_cell, "powerpc": _powerpc_cell}
