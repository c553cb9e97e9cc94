"""Cases as arrays, and arrays as cases: the only place that knows both forms."""

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np

from mm.state import FACT_NAMES, FACTS, State, empty_state, set_kernel
from mm.version import VERSIONS, Config, Version

from .case import Call, Case, Folio, Mm, Vma

# Kernels and configurations whose records are kept.
KERNELS = 64


def state_of(case: Case) -> State:
    """A fresh state that holds `case`, with empty logs.

    `case` must keep the rules of `Case.check()`.
    """
    return states_of((case,))


def states_of(cases: Sequence[Case]) -> State:
    """A fresh state that holds `cases` one behind the other, each as `state_of` has it.

    `facts` has one record a case, which tells how many entries and folios are its own;
    where a folio's bits begin is counted from the first one of its case.
    """
    state = empty_state(
        sum(len(case.ptes) for case in cases),
        sum(len(case.folios) for case in cases),
        sum(folio.nr_pages for case in cases for folio in case.folios),
    )
    facts = np.zeros(len(cases), FACTS)
    pte, row, page = 0, 0, 0
    for number, case in enumerate(cases):
        _set_facts(facts, number, case)
        state.ptes[pte : pte + len(case.ptes)] = np.array(case.ptes, np.uint64)
        clears = int(case.layout.hardware_clears) if case.hardware else 0
        for index, bits in case.hardware:
            word = case.ptes[index]
            state.hardware[pte + index] = bits & (~word & ~clears | word & clears)
        pte += len(case.ptes)
        first_page = 0
        for folio in case.folios:
            nr_pages = folio.nr_pages
            state.folios[row] = (folio.pfn, nr_pages, folio.flags, folio.nid, first_page)
            state.exclusive[page : page + nr_pages] = _exclusive_bits(folio)
            row, page, first_page = row + 1, page + nr_pages, first_page + nr_pages
    return state._replace(facts=facts)


def _set_facts(facts: Any, number: int, case: Case) -> None:
    """Write what is no array of `case` into record `number` of `facts`."""
    facts[number] = _kernel_facts(VERSIONS[case.kernel], case.config)
    for name, value in (
        ("vma_flags", case.vma.flags),
        ("vma_anon", case.vma.anon),
        ("uffd_wp_unpopulated", case.vma.uffd_wp_unpopulated),
        ("newprot", case.call.newprot),
        ("cp_flags", case.call.cp_flags),
        ("start", case.call.start),
        ("end", case.call.end),
        ("table_addr", case.table_addr),
        ("nr_ptes", len(case.ptes)),
        ("nr_folios", len(case.folios)),
        ("mm_users", case.mm.users),
        ("numa_node", case.mm.numa_node),
        ("numa_balancing_mode", case.mm.numa_balancing_mode),
        ("toptier_nodes", case.mm.toptier_nodes),
    ):
        facts[name][number] = value


@lru_cache(KERNELS)
def _kernel_facts(version: Version, config: Config) -> Any:
    """A record with the switches of `version` and `config`, which many cases share."""
    facts = np.zeros(1, FACTS)
    set_kernel(facts[0], version, config)
    return facts[0]


def _exclusive_bits(folio: Folio) -> Any:
    """A uint8 for each page of `folio`, 1 where it is exclusive."""
    packed = folio.exclusive.to_bytes((folio.nr_pages + 7) // 8, "little")
    return np.unpackbits(np.frombuffer(packed, np.uint8), bitorder="little")[: folio.nr_pages]


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
