"""Random cases as the tests of the generator look at them, in either mode."""

import hashlib

import numpy as np

from fuzz.choices import FIRST, empty_choices
from fuzz.generator import NR_FOLIOS, NR_PAGES
from fuzz.generators import generator_of
from harness.arrays import case_of
from harness.case import Case, Folio, layout_of
from mm.state import State, empty_state, set_kernel
from mm.version import DEFAULT_VERSION, VERSIONS, Config

# What the generator writes of FACTS; the rest is set_kernel()'s.
DRAWN = (
    *("vma_flags", "newprot", "cp_flags", "table_addr", "start", "end", "nr_ptes", "nr_folios"),
    *("vma_anon", "uffd_wp_unpopulated", "mm_users", "numa_node", "numa_balancing_mode"),
    "toptier_nodes",
)
# The same of some architectures only: what machines of one kernel, and kernels of one version,
# differ in.
MACHINE = (
    *("soft_dirty", "uffd_wp", "numa_balancing"),
    *("page_shift", "bbml3", "coprocessors", "isa_31", "hash_mmu"),
)
FOLIO_FIELDS = ("pfn", "nr_pages", "folio_flags", "nid", "first_page")


def fresh_state(
    arch: str = "x86_64", kernel: str = DEFAULT_VERSION, config: Config | None = None
) -> State:
    """An empty state with room for any case."""
    state = empty_state(nr_folios=NR_FOLIOS, nr_pages=NR_PAGES)
    set_kernel(state.facts[0], VERSIONS[kernel], config or layout_of(arch).config)
    return state


def inputs(state: State) -> bytes:
    """Every input of the case that stands in `state`, and nothing else."""
    facts = state.facts[0]
    nr_ptes, nr_folios = int(facts.nr_ptes), int(facts.nr_folios)
    folios = state.folios[:nr_folios]
    words = [int(facts[name]) for name in (*DRAWN, *MACHINE)]
    words += [int(folio[name]) for folio in folios for name in FOLIO_FIELDS]
    pages = int(folios["nr_pages"].sum())
    return b"".join(
        (
            np.array(words, np.uint64).tobytes(),
            state.ptes[:nr_ptes].tobytes(),
            state.hardware[:nr_ptes].tobytes(),
            state.exclusive[:pages].tobytes(),
        )
    )


def generate_into(state: State, arch: str, seed: int, index: int) -> int:
    """Fill `state` with a random case; 1 if it was made wild."""
    choices = empty_choices()
    assert len(choices) == FIRST
    with np.errstate(over="ignore"):
        return int(generator_of(arch)(choices, state, np.uint64(seed), np.uint64(index)))


def random_cases(
    arch: str, seed: int, count: int, kernel: str = DEFAULT_VERSION, config: Config | None = None
) -> list[tuple[int, Case]]:
    """The first `count` cases of `seed`, each with 1 if it was made wild."""
    state, made = fresh_state(arch, kernel, config), []
    for index in range(count):
        wild = generate_into(state, arch, seed, index)
        made.append((wild, case_of(state, arch, kernel)))
    return made


def stream_hash(arch: str, cases: int) -> str:
    """A hash over the first `cases` cases of seed 1."""
    digest, state = hashlib.sha256(), fresh_state(arch)
    for index in range(cases):
        wild = generate_into(state, arch, 1, index)
        digest.update(bytes([wild]) + inputs(state))
    return digest.hexdigest()


def folio_of(case: Case, pfn: int) -> Folio | None:
    """The folio of `case` that lists page `pfn`."""
    for folio in case.folios:
        if folio.pfn <= pfn < folio.pfn + folio.nr_pages:
            return folio
    return None


def share(cases, condition) -> float:
    """In how many of `cases`, from 0 to 1, `condition(wild, case)` holds."""
    return sum(1 for wild, case in cases if condition(wild, case)) / len(cases)
