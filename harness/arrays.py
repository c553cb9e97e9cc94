"""Cases as arrays, and arrays as cases: the only place that knows both forms."""

import numpy as np

from mm.state import FACT_NAMES, State, empty_state, set_kernel
from mm.version import VERSIONS, Config

from .case import Call, Case, Folio, Mm, Vma


def state_of(case: Case) -> State:
    """A fresh state that holds `case`, with empty logs.

    `case` must keep the rules of `Case.check()`.
    """
    pages = sum(folio.nr_pages for folio in case.folios)
    state = empty_state(len(case.ptes), len(case.folios), pages)
    facts = state.facts[0]
    facts.vma_flags = case.vma.flags
    facts.vma_anon = case.vma.anon
    facts.uffd_wp_unpopulated = case.vma.uffd_wp_unpopulated
    facts.newprot = case.call.newprot
    facts.cp_flags = case.call.cp_flags
    facts.start = case.call.start
    facts.end = case.call.end
    facts.table_addr = case.table_addr
    facts.nr_ptes = len(case.ptes)
    facts.nr_folios = len(case.folios)
    facts.mm_users = case.mm.users
    facts.numa_node = case.mm.numa_node
    facts.numa_balancing_mode = case.mm.numa_balancing_mode
    facts.toptier_nodes = case.mm.toptier_nodes
    set_kernel(facts, VERSIONS[case.kernel], case.config)
    state.ptes[:] = np.array(case.ptes, np.uint64)
    clears = int(case.layout.hardware_clears)
    for index, bits in case.hardware:
        word = case.ptes[index]
        state.hardware[index] = bits & (~word & ~clears | word & clears)
    first_page = 0
    for row, folio in enumerate(case.folios):
        state.folios[row] = (folio.pfn, folio.nr_pages, folio.flags, folio.nid, first_page)
        for page in range(folio.nr_pages):
            state.exclusive[first_page + page] = folio.exclusive >> page & 1
        first_page += folio.nr_pages
    return state


def case_of(state: State, arch: str, kernel: str) -> Case:
    """The case that the inputs of `state` hold; `arch` and `kernel` name what the arrays do not."""
    facts = state.facts[0]
    config = Config(
        **{
            name: type(default)(facts[name])
            for name, default in Config._field_defaults.items()
            if name in FACT_NAMES
        }
    )
    nr_ptes, nr_folios = int(facts.nr_ptes), int(facts.nr_folios)
    return Case(
        arch=arch,
        kernel=kernel,
        config=config,
        vma=Vma(int(facts.vma_flags), bool(facts.vma_anon), bool(facts.uffd_wp_unpopulated)),
        call=Call(int(facts.cp_flags), int(facts.newprot), int(facts.start), int(facts.end)),
        table_addr=int(facts.table_addr),
        ptes=tuple(int(word) for word in state.ptes[:nr_ptes]),
        hardware=tuple(
            (index, int(bits)) for index, bits in enumerate(state.hardware[:nr_ptes]) if bits
        ),
        folios=tuple(_folio_of(state, row) for row in range(nr_folios)),
        mm=Mm(
            int(facts.mm_users),
            int(facts.numa_node),
            int(facts.numa_balancing_mode),
            int(facts.toptier_nodes),
        ),
    )


def _folio_of(state: State, row: int) -> Folio:
    folio = state.folios[row]
    first, pages = int(folio.first_page), int(folio.nr_pages)
    bits = state.exclusive[first : first + pages]
    exclusive = int.from_bytes(np.packbits(bits, bitorder="little").tobytes(), "little")
    return Folio(int(folio.pfn), pages, int(folio.folio_flags), int(folio.nid), exclusive)
