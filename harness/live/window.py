"""Raw words of the kernel as the arrays of a case: copied, never walked in Python."""

from typing import Any

import numpy as np

from harness.arrays import case_of
from harness.case import Case, layout_of
from harness.workspace import FOLIO_WORDS, workspace_for
from mm.flags import FOLIO_ANON
from mm.layout import Layout
from mm.state import FACT_NAMES, MAX_PTES, empty_state, set_kernel
from mm.version import VERSIONS, Config

from .calls import Called, Mapping
from .machines import MACHINES, PAGE

# Folios of a window may be larger than their part in it.
NR_PAGES = 1 << 14

_VMA_FLAGS, _VMA_ANON, _NEWPROT, _CP_FLAGS, _START, _END, _TABLE_ADDR, _NR_PTES, _NR_FOLIOS = (
    FACT_NAMES.index(name)
    for name in (
        "vma_flags",
        "vma_anon",
        "newprot",
        "cp_flags",
        "start",
        "end",
        "table_addr",
        "nr_ptes",
        "nr_folios",
    )
)


class Window:
    """The workspace that all calls are judged in."""

    def __init__(self, arch: str, kernel: str, config: Config) -> None:
        """Make the arrays, once; `kernel` is a modelled version."""
        self.arch, self.kernel, self.config = arch, kernel, config
        self.layout = layout_of(arch, config.page_shift)
        self.state = empty_state(MAX_PTES, MAX_PTES, NR_PAGES)
        set_kernel(self.state.facts[0], VERSIONS[kernel], config)
        self.state.facts[0].mm_users = 1
        self.state.facts[0].toptier_nodes = 1
        self.workspace = workspace_for(self.state)
        # Seen as plain words: a field of a record takes twenty times as long to set.
        self._facts = self.workspace.case_facts
        self._rows = self.workspace.case_folios.reshape(-1, FOLIO_WORDS)

    def set_folios(self, folios: Any, exclusive: Any) -> None:
        """The folios behind the window, rows of `Found`, and PageAnonExclusive of all their pages."""
        nr, sizes, rows = len(folios), folios[:, 1], self._rows
        rows[:nr, :2] = folios[:, :2]
        rows[:nr, 2] = folios[:, 2] * int(FOLIO_ANON)
        rows[:nr, 3] = 0
        rows[:nr, 4] = np.cumsum(sizes) - sizes
        pages = len(exclusive)
        self.state.exclusive[:pages] = exclusive
        # The judges compare whole words.
        self.state.exclusive[pages : pages + 8] = 0
        self._facts[_NR_FOLIOS] = nr

    def set_call(
        self, mapping: Mapping, call: Called, address: int, before: Any
    ) -> tuple[int, int]:
        """Make `call` on the words `before` of a window at `address` the case.

        Returns which entries of `before` it shows, half open: the range and a little around it.
        """
        block = self.layout.block
        low = max(call.first - call.margin, 0) // block * block
        high = min(-(-(call.last + call.margin) // block) * block, len(before))
        facts = self._facts
        facts[_VMA_FLAGS] = call.vma_flags
        facts[_VMA_ANON] = mapping.anon
        facts[_NEWPROT] = call.newprot
        facts[_CP_FLAGS] = call.cp_flags
        facts[_START], facts[_END] = call.first - low, call.last - low
        facts[_TABLE_ADDR] = address + low * PAGE
        facts[_NR_PTES] = high - low
        self.state.ptes[: high - low] = before[low:high]
        return low, high

    def case(self) -> Case:
        """The case that stands here, with the folios that its entries map only."""
        case = case_of(self.state, self.arch, self.kernel)
        pfns = pfns_of(self.layout, np.array(case.ptes, np.uint64))
        folios = tuple(
            folio
            for folio in case.folios
            if np.any((pfns >= folio.pfn) & (pfns < folio.pfn + folio.nr_pages))
        )
        return case.replace(folios=folios)


def present(layout: Layout, words: Any) -> Any:
    """Which of `words` map a page, accessible or not."""
    return words & np.uint64(MACHINES[layout.arch].paging.pte_present) != 0


def pfns_of(layout: Layout, words: Any) -> Any:
    """The PFNs of those of `words` that map a page, in their order."""
    mapped = words[present(layout, words)]
    if layout.pfn_inverted:
        valid = mapped & np.uint64(MACHINES[layout.arch].paging.pte_valid) != 0
        mapped = np.where(valid, mapped, ~mapped)
    return (mapped & layout.pfn_mask) >> np.uint64(layout.page_shift)
