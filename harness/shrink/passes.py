"""The passes, in the order in which they are tried: what takes most away comes first.

A pass is a function of a case that gives cases which may be simpler, the boldest
first. It need not know what makes a case diverge, nor whether what it gives is
legal: `harness.shrink.shrinker` keeps what is legal, simpler (`order.key`) and
still diverges. A certificate names these passes: none has anything left to give.
"""

from collections.abc import Callable, Iterator

from ..case import Case
from .entries import blank_entries, drop_hardware, settle_pages, settle_swaps
from .facts import default_address, default_kernel, plain_call, plain_machine, plain_vma
from .folios import (
    clear_exclusive,
    clear_folio_flags,
    default_zero_page,
    drop_folios,
    lower_pages,
    repack_folios,
)
from .window import cut_to_range, drop_entries, drop_pages, narrow_range

Pass = Callable[[Case], Iterator[Case]]

PASSES: tuple[Pass, ...] = (
    cut_to_range,
    drop_entries,
    drop_pages,
    narrow_range,
    blank_entries,
    drop_folios,
    repack_folios,
    settle_pages,
    settle_swaps,
    drop_hardware,
    clear_folio_flags,
    clear_exclusive,
    plain_call,
    plain_vma,
    plain_machine,
    default_kernel,
    default_zero_page,
    default_address,
    lower_pages,
)


def name_of(one: Pass) -> str:
    """The name of a pass as users read it."""
    return one.__name__.replace("_", "-")


def edits(case: Case) -> Iterator[Case]:
    """Everything that any pass makes of `case`."""
    for one in PASSES:
        yield from one(case)
