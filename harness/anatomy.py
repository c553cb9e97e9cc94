"""What an entry is, in plain Python, for whoever draws, writes or translates entries.

The judges do not use this: they have a reading of their own, `harness.words`.
"""

from collections.abc import Callable
from typing import NamedTuple

from mm import arm64, powerpc, x86_64
from mm.layout import Layout


class Anatomy(NamedTuple):
    """One architecture's questions about a word."""

    present: Callable[[int], bool]  # pte_present(), PROT_NONE included
    none: Callable[[int], bool]  # pte_none()
    valid: Callable[[int], bool]  # the MMU may use it to reach a page


ANATOMY = {
    "x86_64": Anatomy(
        present=lambda word: bool(word & int(x86_64.PAGE_PRESENT | x86_64.PAGE_GLOBAL)),
        none=lambda word: not word & ~int(x86_64.PAGE_ACCESSED | x86_64.PAGE_DIRTY),
        valid=lambda word: bool(word & int(x86_64.PAGE_PRESENT)),
    ),
    "arm64": Anatomy(
        present=lambda word: bool(word & int(arm64.PTE_VALID | arm64.PTE_PRESENT_INVALID)),
        none=lambda word: word == 0,
        valid=lambda word: bool(word & int(arm64.PTE_VALID)),
    ),
    "powerpc": Anatomy(
        present=lambda word: (
            bool(word & int(powerpc.PAGE_PTE))
            and bool(word & int(powerpc.PAGE_PRESENT | powerpc.PAGE_INVALID))
        ),
        none=lambda word: not word & ~int(powerpc.PAGE_ACCESSED | powerpc.PAGE_DIRTY),
        # PROT_NONE is valid to the hardware, but grants nothing.
        valid=lambda word: (
            bool(word & int(powerpc.PAGE_PTE))
            and bool(word & int(powerpc.PAGE_PRESENT))
            and bool(word & int(powerpc.PAGE_READ | powerpc.PAGE_WRITE | powerpc.PAGE_EXEC))
        ),
    ),
}


def is_present(layout: Layout, word: int) -> bool:
    """Whether `word` maps a page, accessible or not."""
    return ANATOMY[layout.arch].present(word)


def is_none(layout: Layout, word: int) -> bool:
    """Whether `word` is empty."""
    return ANATOMY[layout.arch].none(word)


def is_valid(layout: Layout, word: int) -> bool:
    """Whether `word` maps a page that can be accessed."""
    return ANATOMY[layout.arch].valid(word)


def pfn_of(layout: Layout, word: int) -> int:
    """The PFN of present `word`."""
    inverted = layout.pfn_inverted and not is_valid(layout, word)
    return ((~word if inverted else word) & int(layout.pfn_mask)) >> layout.page_shift
