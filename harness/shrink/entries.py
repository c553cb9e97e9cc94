"""Passes over what stands in the entries: empty ones, plain ones, fewer bits."""

from collections.abc import Callable, Iterator

from ..case import Case
from .dullness import page_edits, swap_edits
from .spans import spans


def blank_entries(case: Case) -> Iterator[Case]:
    """Make entries empty, half of the window first. Helps where leaving them out moves too much."""
    yield from _changed(case, lambda word: 0)


def settle_pages(case: Case) -> Iterator[Case]:
    """Make present entries plain: in all that they hold, in their letters, in one field."""
    for edit in page_edits(case.arch, case.config.page_shift):
        yield from _changed(case, edit.change)


def settle_swaps(case: Case) -> Iterator[Case]:
    """Make swap-like entries plain pages or plain swap, or take a flag or the offset away."""
    for edit in swap_edits(case.arch, case.config.page_shift):
        yield from _changed(case, edit.change)


def drop_hardware(case: Case) -> Iterator[Case]:
    """Let the hardware flip nothing, in a part of the entries, or one bit less in one."""
    for start, end in spans(len(case.hardware)):
        yield case.replace(hardware=case.hardware[:start] + case.hardware[end:])
    for place, (index, bits) in enumerate(case.hardware):
        rest = bits
        while rest:
            bit = rest & -rest
            rest ^= bit
            if bits != bit:
                event = ((index, bits ^ bit),)
                yield case.replace(
                    hardware=case.hardware[:place] + event + case.hardware[place + 1 :]
                )


def _changed(case: Case, change: Callable[[int], int]) -> Iterator[Case]:
    """`case` with `change` in spans of its entries, where it changes any."""
    changed = tuple(change(word) for word in case.ptes)
    if changed == case.ptes:
        return
    # What is empty cannot be flipped by the hardware.
    hardware = {index for index, _ in case.hardware}
    for start, end in spans(len(case.ptes)):
        if changed[start:end] == case.ptes[start:end]:
            continue
        ptes = case.ptes[:start] + changed[start:end] + case.ptes[end:]
        edited = case.replace(ptes=ptes)
        yield edited
        if any(start <= index < end for index in hardware):
            yield edited.replace(
                hardware=tuple(h for h in case.hardware if not start <= h[0] < end)
            )
