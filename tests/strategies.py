"""Hypothesis strategies for cases: as a kernel has them, and wild ones with any words."""

from hypothesis import strategies as st

from harness.case import LAYOUTS, MAX_FOLIO_PAGES, Call, Case, Folio, Mm, Vma
from mm import flags
from mm.version import VERSIONS, Config

WORDS = st.integers(0, (1 << 64) - 1)


def sums_of(known):
    """Sums of any of the flags in the table `known`."""
    return st.sets(st.sampled_from(sorted(known))).map(
        lambda names: sum(int(known[name]) for name in names)
    )


@st.composite
def folio_lists(draw, max_folios=4):
    """Folios in ascending order, some of them neighbours."""
    folios, free = [], draw(st.integers(0, 0x20000))
    for _ in range(draw(st.integers(0, max_folios))):
        pages = 1 << draw(
            st.one_of(st.integers(0, 5), st.integers(0, MAX_FOLIO_PAGES.bit_length() - 1))
        )
        pfn = -(-(free + draw(st.sampled_from((0, 0, 1, 100)))) // pages) * pages
        exclusive = draw(
            st.one_of(
                st.sampled_from((0, (1 << pages) - 1)),
                st.integers(0, (1 << pages) - 1),
            )
        )
        folio_flags = draw(sums_of(flags.FOLIO_FLAGS))
        folios.append(
            Folio(pfn, pages, folio_flags, draw(st.sampled_from((0, 0, 1, 63))), exclusive)
        )
        free = pfn + pages
    return tuple(folios)


@st.composite
def mapped_words(draw, layout, page_shift, pfns):
    """A word by the protection map, with a page of `pfns` and a few bits turned."""
    word = int(draw(st.sampled_from(layout.protection_map)))
    for mask in draw(st.lists(st.sampled_from([int(f.mask) for f in layout.fields]), max_size=3)):
        word ^= mask & -mask
    field = (draw(pfns) << page_shift) & int(layout.pfn_mask)
    if layout.pfn_inverted and not word & int(layout.fields[0].mask):
        field ^= int(layout.pfn_mask)
    return word | field


@st.composite
def swap_like_words(draw, layout, pfns):
    """A word that is made of the parts of a swap-like entry; special types come often."""
    swap = layout.swap
    top = (1 << swap.type_bits) - 1
    kind = draw(st.one_of(st.integers(0, top), st.integers(top - 9, top)))
    offset = draw(
        st.one_of(
            st.integers(0, 8),
            pfns,
            st.builds(lambda pfn, high: pfn | high << swap.young_bit, pfns, st.integers(0, 3)),
            st.integers(0, (1 << swap.offset_bits) - 1),
        )
    ) & ((1 << swap.offset_bits) - 1)
    if swap.offset_inverted:
        offset ^= (1 << swap.offset_bits) - 1
    word = int(swap.always_set) | kind << swap.type_shift | offset << swap.offset_shift
    for mask in (swap.soft_dirty, swap.uffd, swap.exclusive):
        if draw(st.booleans()):
            word |= int(mask)
    return word


@st.composite
def windows(draw, layout, page_shift, folios, max_ptes=24):
    """Entries of a window: runs over the folios' pages, swap-like entries, none, wild words."""
    known = [folio.pfn + page for folio in folios for page in {0, folio.nr_pages - 1}]
    pfns = st.one_of(
        st.sampled_from(known or [0]),
        st.integers(0, 0x20000),
        st.integers(0, (1 << 40) - 1),
    )
    word = st.one_of(
        mapped_words(layout, page_shift, pfns),
        swap_like_words(layout, pfns),
        st.just(0),
        WORDS,
    )
    ptes = []
    while len(ptes) < max_ptes and (not ptes or draw(st.integers(0, 9))):
        first = draw(word)
        # What a run of mapped pages looks like, and for other words just something new.
        step = draw(st.sampled_from((0, 1 << page_shift, (1 << 64) - (1 << page_shift))))
        for i in range(draw(st.sampled_from((1, 1, 2, 5)))):
            ptes.append((first + i * step) & (1 << 64) - 1)
    return tuple(ptes)


@st.composite
def cases(draw, arch="x86_64"):
    """Any case that keeps the rules of `Case.check()`."""
    layout = LAYOUTS[arch]
    config = Config(
        soft_dirty=draw(st.booleans()),
        uffd_wp=draw(st.booleans()),
        numa_balancing=draw(st.booleans()),
        zero_pfn=draw(st.sampled_from((0x2F7D, 0, 1, (1 << 40) - 1))),
        highest_memmap_pfn=draw(st.sampled_from((0x0FFF_FFFF, 0x3FFFF, (1 << 40) - 1))),
    )
    folios = draw(folio_lists())
    ptes = draw(windows(layout, config.page_shift, folios))
    start = draw(st.integers(0, len(ptes) - 1))
    allowed = [int(f.mask) for f in layout.fields if f.mask & layout.hardware_bits]
    hardware = draw(
        st.dictionaries(
            st.integers(0, len(ptes) - 1),
            st.sets(st.sampled_from(allowed), min_size=1).map(sum),
            max_size=3,
        )
    )
    slots = st.integers(0, 512 - len(ptes))
    return Case(
        arch=arch,
        kernel=draw(st.sampled_from(sorted(VERSIONS))),
        config=config,
        vma=Vma(draw(sums_of(flags.VM_FLAGS)), draw(st.booleans()), draw(st.booleans())),
        call=Call(
            draw(sums_of(flags.CP_FLAGS)),
            draw(st.one_of(st.sampled_from(layout.protection_map).map(int), WORDS)),
            start,
            draw(st.integers(start + 1, len(ptes))),
        ),
        ptes=ptes,
        hardware=tuple(sorted(hardware.items())),
        folios=folios,
        mm=Mm(
            users=draw(st.integers(1, 9)),
            numa_node=draw(st.integers(0, 63)),
            numa_balancing_mode=draw(st.integers(0, 3)),
            toptier_nodes=draw(WORDS),
        ),
        table_addr=draw(
            st.one_of(
                st.just(0x7F00_0000_0000),
                st.builds(lambda table, slot: table << 21 | slot << 12, st.integers(0, 9), slots),
            )
        ),
    )
