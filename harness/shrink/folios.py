"""Passes over the folios: fewer, smaller, plainer, their pages near the start, all of them low."""

from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise

from mm import flags

from ..anatomy import is_present, pfn_of
from ..case import Case, Folio, folio_of, layout_of
from .dullness import LOOSE_PFN, with_pfn
from .spans import spans

# Where folios go that are moved: above loose pages, below what the generator makes.
LOWEST_PFN = 0x1000
# Where in its folio a batch is moved to: to the start, just behind it, and the same in the
# second block of arm64.
STARTS = (0, 1, 2, 3, 16, 17, 18)


def drop_folios(case: Case) -> Iterator[Case]:
    """Leave folios out, those that nothing maps first. Their pages become small ones without a flag."""
    if not case.folios:
        return
    mapped = {row for row, _ in _mapped(case)}
    yield case.replace(folios=tuple(f for row, f in enumerate(case.folios) if row in mapped))
    for start, end in spans(len(case.folios)):
        yield case.replace(folios=case.folios[:start] + case.folios[end:])


def repack_folios(case: Case) -> Iterator[Case]:
    """Make a folio smaller, and move the pages that are mapped of it towards its start."""
    for row, folio in enumerate(case.folios):
        pages = [page for r, page in _mapped(case) if r == row]
        low, high = (min(pages), max(pages)) if pages else (0, 0)
        size = 1
        while size <= folio.nr_pages:
            for start in sorted({*STARTS, low, low % size}):
                if start <= low and start + high - low < size:
                    yield _repacked(case, row, size, low - start)
            size *= 2


def clear_folio_flags(case: Case) -> Iterator[Case]:
    """Take flags from a folio, all of them first, and put it on node 0."""
    for row, folio in enumerate(case.folios):
        anon = folio.flags & int(flags.FOLIO_ANON)
        for changed in (
            replace(folio, flags=0, nid=0),
            replace(folio, flags=anon, nid=0),
            replace(folio, nid=0),
            *(replace(folio, flags=folio.flags & ~(1 << n)) for n in _bits(folio.flags)),
        ):
            yield _with_folio(case, row, changed)


def clear_exclusive(case: Case) -> Iterator[Case]:
    """Make pages not exclusive, half of a folio first."""
    for row, folio in enumerate(case.folios):
        for start, end in spans(folio.nr_pages):
            mask = (1 << end) - (1 << start)
            if folio.exclusive & mask:
                yield _with_folio(case, row, replace(folio, exclusive=folio.exclusive & ~mask))


def lower_pages(case: Case) -> Iterator[Case]:
    """Move folios and single pages down, all of them first, side by side or with gaps between."""
    rows = range(len(case.folios))
    for gap in (0, 1):
        places = _low_places(case.folios, gap)
        yield _moved(case, dict(zip(rows, places, strict=True)))
        for row in rows:
            yield _moved(case, {row: places[row]})
    loose = _loose_pfns(case)
    for gap in (0, 1):
        lowered = _lowered(loose, gap)
        yield _renamed(case, lowered)
        for pfn in loose:
            yield _renamed(case, {pfn: lowered[pfn]})


def default_zero_page(case: Case) -> Iterator[Case]:
    """Put the zero page where it is by default, with what maps it."""
    default = layout_of(case.arch, case.config.page_shift).config.zero_pfn
    old = case.config.zero_pfn
    if old != default:
        moved = case.replace(config=case.config._replace(zero_pfn=default))
        yield moved
        yield _renamed(moved, {old: default})


def _bits(word: int) -> Iterator[int]:
    return (n for n in range(word.bit_length()) if word >> n & 1)


def _with_folio(case: Case, row: int, folio: Folio) -> Case:
    return case.replace(folios=(*case.folios[:row], folio, *case.folios[row + 1 :]))


def _mapped(case: Case) -> Iterator[tuple[int, int]]:
    """Folio and page of each present entry that maps one of a folio."""
    for word in case.ptes:
        if is_present(case.layout, word):
            pfn = pfn_of(case.layout, word)
            row = folio_of(case.folios, pfn)
            if row is not None:
                yield row, pfn - case.folios[row].pfn


def _loose_pfns(case: Case) -> list[int]:
    """The PFNs, ascending, of present entries that no folio holds, the zero page left out."""
    layout = case.layout
    pfns = {pfn_of(layout, word) for word in case.ptes if is_present(layout, word)}
    return sorted(
        pfn for pfn in pfns - {case.config.zero_pfn} if folio_of(case.folios, pfn) is None
    )


def _renamed(case: Case, pfns: dict[int, int]) -> Case:
    """`case` with other pages in the entries that map one of `pfns`."""
    layout = case.layout

    def renamed(word: int) -> int:
        if not is_present(layout, word):
            return word
        pfn = pfn_of(layout, word)
        return with_pfn(layout, word, pfns[pfn]) if pfn in pfns else word

    return case.replace(ptes=tuple(renamed(word) for word in case.ptes))


def _repacked(case: Case, row: int, size: int, down: int) -> Case:
    """`case` with folio `row` of `size` pages, what is mapped of it moved `down` by pages."""
    folio = case.folios[row]
    pages = {folio.pfn + page: folio.pfn + page - down for r, page in _mapped(case) if r == row}
    exclusive = folio.exclusive >> down & (1 << size) - 1
    smaller = replace(folio, nr_pages=size, exclusive=exclusive)
    return _with_folio(_renamed(case, pages), row, smaller)


def _low_places(folios: tuple[Folio, ...], gap: int) -> list[int]:
    """A low PFN for each folio, in order; `gap`: with at least a page between any two."""
    places = []
    free = LOWEST_PFN
    for folio in folios:
        place = -(-free // folio.nr_pages) * folio.nr_pages
        places.append(place)
        free = place + folio.nr_pages + gap
    return places


def _moved(case: Case, places: dict[int, int]) -> Case:
    """`case` with each folio of `places` at the PFN that it has there, and what maps it."""
    pages = {}
    for row, page in _mapped(case):
        if row in places:
            pages[case.folios[row].pfn + page] = places[row] + page
    folios = tuple(
        replace(folio, pfn=places.get(row, folio.pfn)) for row, folio in enumerate(case.folios)
    )
    return _renamed(case, pages).replace(folios=folios)


def _lowered(pfns: list[int], gap: int) -> dict[int, int]:
    """A low PFN for each of `pfns`, ascending; those side by side stay so, others get a `gap`."""
    lowered = dict.fromkeys(pfns[:1], LOOSE_PFN)
    for before, pfn in pairwise(pfns):
        lowered[pfn] = lowered[before] + (1 if pfn == before + 1 else 1 + gap)
    return lowered
