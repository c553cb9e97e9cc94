"""Passes over the window: fewer entries, and a shorter range."""

from collections.abc import Iterator
from dataclasses import replace

from ..anatomy import is_present, pfn_of
from ..case import Case, folio_of
from .dullness import with_pfn
from .spans import spans


def cut_to_range(case: Case) -> Iterator[Case]:
    """Leave out what is before and behind the range. Helps first: most findings need none of it."""
    block = case.layout.block
    first = case.call.start // block * block
    last = -(-case.call.end // block) * block
    behind = without_entries(case, last, len(case.ptes))
    for shorter in (behind, case):
        if shorter is not None:
            yield from _with_both_addresses(case, without_entries(shorter, 0, first), first)
    if behind is not None:
        yield behind


def drop_entries(case: Case) -> Iterator[Case]:
    """Leave out entries, half of the window first, one (arm64: one block) at last."""
    for start, end in spans(len(case.ptes), case.layout.block):
        shorter = without_entries(case, start, end)
        yield from _with_both_addresses(case, shorter, end if start == 0 else 0)


def drop_pages(case: Case) -> Iterator[Case]:
    """Leave out entries and close the gap in what they map. Helps where a batch must not be torn.

    The pages behind move up to the page of the first entry left out, and take
    along whether they are exclusive.
    """
    for start, end in spans(len(case.ptes), case.layout.block):
        if end == len(case.ptes):
            continue
        closed = _moved_up(case, start, end)
        if closed is not None:
            shorter = without_entries(closed, start, end)
            if shorter is not None:
                yield shorter


def narrow_range(case: Case) -> Iterator[Case]:
    """Take entries off either end of the range, half of it first."""
    start, end = case.call.start, case.call.end
    size = end - start
    while (size := size // 2) > 0:
        yield case.replace(call=replace(case.call, end=end - size))
        yield case.replace(call=replace(case.call, start=start + size))


def without_entries(case: Case, start: int, end: int) -> Case | None:
    """`case` without entries [start, end), or None if nothing of the range, or all, would be left."""
    if start == end:
        return case

    def place(index: int) -> int:
        return index - max(0, min(index, end) - start)

    call = replace(case.call, start=place(case.call.start), end=place(case.call.end))
    if call.start == call.end:
        return None
    return case.replace(
        ptes=case.ptes[:start] + case.ptes[end:],
        call=call,
        hardware=tuple(
            (place(index), bits) for index, bits in case.hardware if not start <= index < end
        ),
    )


def _with_both_addresses(case: Case, shorter: Case | None, dropped: int) -> Iterator[Case]:
    """`shorter`, of which the first `dropped` entries are gone: moved down, and where it was."""
    if shorter is None:
        return
    yield shorter
    if dropped:
        yield shorter.replace(table_addr=case.table_addr + (dropped << case.config.page_shift))


def _moved_up(case: Case, start: int, end: int) -> Case | None:
    """`case` with the run of pages behind entries [start, end) moved to the page of entry `start`.

    None if the entries do not map consecutive pages of one folio.
    """
    pages = _run_from(case, start)
    count = end - start
    if len(pages) <= count:
        return None
    row = folio_of(case.folios, pages[0])
    if row is None:
        return None
    folio = case.folios[row]
    ptes = list(case.ptes)
    exclusive = folio.exclusive
    for place, pfn in enumerate(pages[count:], end):
        ptes[place] = with_pfn(case.layout, ptes[place], pfn - count)
        page = pfn - folio.pfn
        bit = folio.exclusive >> page & 1
        exclusive = exclusive & ~(1 << page - count) | bit << page - count
    folios = list(case.folios)
    folios[row] = replace(folio, exclusive=exclusive)
    return case.replace(ptes=tuple(ptes), folios=tuple(folios))


def _run_from(case: Case, start: int) -> list[int]:
    """The PFNs of the entries from `start` on that map consecutive pages of one folio."""
    layout = case.layout
    pages: list[int] = []
    folio = None
    for word in case.ptes[start:]:
        if not is_present(layout, word):
            break
        pfn = pfn_of(layout, word)
        row = folio_of(case.folios, pfn)
        if pages and (pfn != pages[-1] + 1 or row != folio):
            break
        pages.append(pfn)
        folio = row
    return pages
