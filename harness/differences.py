"""Differences as records: what a judgement found, one record per entry and class.

The renderer, the finding files and the tests work on these; nothing parses text.
"""

from collections.abc import Iterator
from typing import NamedTuple

from . import classes
from .run import Judgement

CASE = -1  # the place of a difference that belongs to no entry


class Difference(NamedTuple):
    """One class that a judge found at one entry, or for the case as a whole."""

    pte: int  # index in the window, or CASE
    name: str  # the class
    kind: str  # explained, divergence, invariant
    means: str
    before: int
    reference: int  # what the entry alone becomes
    merged: int  # what it becomes with accessed and dirty merged from its legal batch
    target: int


def differences(judgement: Judgement, mask: int = (1 << 64) - 1) -> Iterator[Difference]:
    """Every difference of the classes in `mask`, by entry, the case's own last."""
    for index, bits in enumerate(judgement.found):
        ours = judgement.ours.ptes[index]
        merged = judgement.result[index] if judgement.changed[index] else ours
        for name in classes.names(bits & mask):
            c = classes.CLASSES[classes.NUMBER[name]]
            yield Difference(
                index,
                name,
                c.kind,
                c.means,
                judgement.case.ptes[index],
                ours,
                merged,
                judgement.theirs.ptes[index],
            )
    for name in classes.names(judgement.found_case & mask):
        c = classes.CLASSES[classes.NUMBER[name]]
        yield Difference(CASE, name, c.kind, c.means, 0, 0, 0, 0)


def red(judgement: Judgement, denied: int = 0) -> int:
    """The class bits of `judgement` that count as a finding; `denied` are asked for besides."""
    return judgement.union & (int(classes.RED_BITS) | denied)


def primary(bits: int) -> str:
    """The class that a finding is named for: the first in `bits`, which must not be empty."""
    return classes.names(bits)[0]
