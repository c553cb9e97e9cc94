"""Cases and words of any kind on a layout, for whatever must bear them all, as the text form must.

Whether a case makes sense is not asked here: each keeps the rules of
`Case.check()`, and that is all. Cases that make sense are `fuzz.strategies.drawn`.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from hypothesis import strategies as st

from harness.case import Call, Case, Folio, Mm, Vma
from mm import flags
from mm.layout import Layout
from mm.version import VERSIONS, Config

TOP = (1 << 64) - 1
ANY_WORD = st.integers(0, TOP)
Pfns = st.SearchStrategy[int]
# Configuration that is not on every architecture; what has none of it must leave it off.
OPTIONS = {
    "x86_64": ("soft_dirty", "uffd_wp"),
    "arm64": ("uffd_wp", "bbml3"),
    "powerpc": ("soft_dirty", "isa_31", "hash_mmu"),
}


def some_of(known: Mapping[str, Any]) -> st.SearchStrategy[int]:
    """Sums of any of the flags in the table `known`."""
    return st.sets(st.sampled_from(sorted(known))).map(
        lambda names: sum(int(known[name]) for name in names)
    )


def with_page(layout: Layout, word: int, pfn: int) -> int:
    """`word`, whose PFN field is empty, as an entry of page `pfn`."""
    field = pfn << layout.page_shift & int(layout.pfn_mask)
    if layout.pfn_inverted and not word & 1:
        field ^= int(layout.pfn_mask)
    return word | field


def swap_like(layout: Layout, kind: int, offset: int, flag_bits: int = 0) -> int:
    """A swap-like entry of these parts."""
    swap = layout.swap
    top = (1 << swap.offset_bits) - 1
    stored = offset & top ^ (top if swap.offset_inverted else 0)
    return int(swap.always_set) | kind << swap.type_shift | stored << swap.offset_shift | flag_bits


@st.composite
def mapped_words(draw: st.DrawFn, layout: Layout, pfns: Pfns) -> int:
    """A word by the protection map, with a page of `pfns` and a few bits turned."""
    word = int(draw(st.sampled_from(layout.protection_map)))
    if draw(st.integers(0, 3)):
        word |= int(layout.swap.always_set)
    word &= ~int(layout.pfn_mask)
    for mask in draw(st.lists(st.sampled_from([int(f.mask) for f in layout.fields]), max_size=3)):
        word ^= mask & -mask
    return with_page(layout, word, draw(pfns))


@st.composite
def swap_like_words(draw: st.DrawFn, layout: Layout, pfns: Pfns) -> int:
    """A word that is made of the parts of a swap-like entry; special types come often."""
    swap = layout.swap
    top = (1 << swap.type_bits) - 1
    offsets = st.one_of(
        st.integers(0, 8),
        pfns,
        st.builds(lambda pfn, high: pfn | high << swap.young_bit, pfns, st.integers(0, 3)),
        st.integers(0, (1 << swap.offset_bits) - 1),
    )
    masks = [int(mask) for mask in (swap.soft_dirty, swap.uffd, swap.exclusive) if mask]
    return swap_like(
        layout,
        draw(st.one_of(st.integers(0, top), st.integers(top - 9, top))),
        draw(offsets),
        sum(draw(st.sets(st.sampled_from(masks)))),
    )


def some_words(layout: Layout, folios: Sequence[Folio] = ()) -> st.SearchStrategy[int]:
    """Words of every kind; half of the pages are those of `folios`."""
    known = [folio.pfn + page for folio in folios for page in {0, folio.nr_pages - 1}]
    pfns = st.one_of(
        st.sampled_from(known or [0]),
        st.integers(0, 0x20000),
        st.integers(0, (1 << layout.pfn_bits) - 1),
    )
    return st.one_of(
        mapped_words(layout, pfns), swap_like_words(layout, pfns), st.just(0), ANY_WORD
    )


@st.composite
def folio_lists(draw: st.DrawFn) -> tuple[Folio, ...]:
    """A few folios in ascending order, some of them neighbours."""
    folios: list[Folio] = []
    free = draw(st.integers(0, 0x20000))
    for _ in range(draw(st.integers(0, 3))):
        pages = 1 << draw(st.one_of(st.integers(0, 5), st.integers(0, 12)))
        pfn = max(-(-(free + draw(st.sampled_from((0, 0, 1, 100)))) // pages), 1) * pages
        top = (1 << pages) - 1
        exclusive = draw(st.one_of(st.sampled_from((0, top)), st.integers(0, top)))
        nid = draw(st.sampled_from((0, 0, 63)))
        folios.append(Folio(pfn, pages, draw(some_of(flags.FOLIO_FLAGS)), nid, exclusive))
        free = pfn + pages
    return tuple(folios)


@st.composite
def windows(draw: st.DrawFn, layout: Layout, folios: Sequence[Folio]) -> tuple[int, ...]:
    """Words of a window: runs over pages, and single ones; on arm64 whole blocks."""
    nr = draw(st.integers(1, min(24, layout.entries_per_table)))
    nr = -(-nr // layout.block) * layout.block
    ptes: list[int] = []
    while len(ptes) < nr:
        first = draw(some_words(layout, folios))
        page = 1 << layout.page_shift
        step = draw(st.sampled_from((0, page, -page)))
        ptes += [first + i * step & TOP for i in range(draw(st.sampled_from((1, 2, 5, 16))))]
    return tuple(ptes[:nr])


@st.composite
def configs(draw: st.DrawFn, layout: Layout) -> Config:
    """Any configuration that `layout` can have."""
    top = (1 << layout.pfn_bits) - 1
    config = layout.config._replace(
        numa_balancing=draw(st.booleans()),
        zero_pfn=draw(st.sampled_from((0x2F7D, 0, 1, top))),
        highest_memmap_pfn=draw(st.sampled_from((0x0FFF_FFFF, 0x3FFFF, top))),
        coprocessors=draw(st.integers(0, 2)) if layout.arch == "powerpc" else 0,
    )
    return config._replace(**{name: draw(st.booleans()) for name in OPTIONS[layout.arch]})


@st.composite
def any_cases(draw: st.DrawFn, layout: Layout) -> Case:
    """Any case on `layout` that keeps the rules of `Case.check()`."""
    folios = draw(folio_lists())
    ptes = draw(windows(layout, folios))
    start = draw(st.integers(0, len(ptes) - 1))
    flips = [int(f.mask) for f in layout.fields if f.mask & layout.hardware_bits]
    hardware = st.dictionaries(
        st.integers(0, len(ptes) - 1),
        st.sets(st.sampled_from(flips), min_size=1).map(sum),
        max_size=3,
    )
    entries = layout.entries_per_table
    slot = draw(st.integers(0, (entries - len(ptes)) // layout.block)) * layout.block
    table = draw(st.sampled_from((0, 1, 0x7F00_0000_0000 >> layout.page_shift)))
    table = table // entries * entries
    return Case(
        arch=layout.arch,
        kernel=draw(st.sampled_from(sorted(VERSIONS))),
        config=draw(configs(layout)),
        vma=Vma(draw(some_of(flags.VM_FLAGS)), draw(st.booleans()), draw(st.booleans())),
        call=Call(
            draw(some_of(flags.CP_FLAGS)),
            draw(st.one_of(st.sampled_from(layout.protection_map).map(int), ANY_WORD)),
            start,
            draw(st.integers(start + 1, len(ptes))),
        ),
        ptes=ptes,
        hardware=tuple(sorted(draw(hardware).items())),
        folios=folios,
        mm=Mm(
            users=draw(st.integers(1, 9)),
            numa_node=draw(st.integers(0, 63)),
            numa_balancing_mode=draw(st.integers(0, 3)),
            toptier_nodes=draw(ANY_WORD),
        ),
        table_addr=(table + slot) << layout.page_shift,
    )
