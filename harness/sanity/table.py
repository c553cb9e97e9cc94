"""The record that an architecture fills for `harness.sane`: what a kernel keeps in its entries.

Each rule is one name; where two architectures keep the same rule, they give it
the same name.
"""

from collections.abc import Callable, Iterator
from typing import NamedTuple

from ..case import Case


class Sanity(NamedTuple):
    """The rules of one architecture; each yields the names of those that are broken."""

    # (case, word, bits that the hardware flips in it)
    entry: Callable[[Case, int, int], Iterator[str]]
    # Rules of several entries together, each name with the entry where it is seen.
    window: Callable[[Case], Iterator[tuple[str, int]]]
    # (case, newprot) -> newprot without what a VMA adds to an entry of protection_map[].
    plain_protection: Callable[[Case, int], int]


def no_window_rules(case: Case) -> Iterator[tuple[str, int]]:
    """Of an architecture whose entries do not bear on each other."""
    del case
    return iter(())
