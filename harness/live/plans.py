"""What a layout is to be: drawn from a number, before any memory is touched.

A layout is one window of one VMA: folios of many sizes, small pages, holes; which of its
pages are exclusive, dirty, accessed, protected by userfaultfd; and the steps that are
then taken on it. Everything comes from `random.Random` seeded by the run's seed, the
layout's number and its kind, so that the same step can be taken again on the same layout.
"""

import random
from dataclasses import dataclass, field
from typing import NamedTuple

from .memory import PROT_EXEC, PROT_NONE, PROT_READ, PROT_WRITE

KINDS = ("anon", "uffd", "file", "shmem")
PROTECTIONS = (
    PROT_READ,
    PROT_READ | PROT_WRITE,
    PROT_READ | PROT_WRITE,  # the one that asks for write upgrades
    PROT_READ | PROT_EXEC,
    PROT_READ | PROT_WRITE | PROT_EXEC,
    PROT_NONE,
)
# Layouts that are made at one time, because one fork serves them all: it copies the page tables
# of all that a compiled run has loaded, which takes 20 ms.
GROUP = 16
STEPS = 64
# The smallest large folio of anon memory is of order 2.
ORDERS = (2, 3, 4, 5, 6, 7, 8)

FOLIO, SMALL, ZERO, HOLE = "folio", "small", "zero", "hole"


class Piece(NamedTuple):
    """Some pages of a window, half open, and what stands there."""

    first: int
    last: int
    what: str


class Step(NamedTuple):
    """One thing that is done to a layout.

    `what` is protect (`value` is the protection), protect-uffd (`value` is on or off), write
    or read (the `pages`), or clean.
    """

    what: str
    first: int = 0
    last: int = 0
    value: int = 0
    pages: tuple[int, ...] = ()


@dataclass
class Plan:
    """One layout, as drawn."""

    index: int
    kind: str
    pages: int
    pieces: tuple[Piece, ...]
    shared_memory: bool  # shared with nobody, yet MAP_SHARED: file and shmem, some of uffd
    named: bool  # shmem with a file (memfd), which is mapped in other steps than without
    armed: bool  # soft-dirty tracking is armed before the steps, where the kernel has it
    forked: str  # "": not; "write": pages are taken back by writing; "keep": by MADV_DONTFORK
    clean: bool  # accessed and dirty are cleared before the last touches
    exclusive: tuple[int, ...] = ()
    written: tuple[int, ...] = ()  # before the fork
    touched: tuple[int, ...] = ()  # read after everything
    protected: tuple[tuple[int, int], ...] = ()  # ranges that userfaultfd protects
    holes: tuple[int, ...] = ()  # pages that are taken away from their folios
    steps: tuple[Step, ...] = field(default=(), repr=False)


def kind_of(seed: int, index: int, kinds: tuple[str, ...]) -> str:
    """The kind of layout `index`, one of `kinds`."""
    return random.Random(f"kind {seed} {index}").choice(kinds)


def is_armed(seed: int, index: int) -> bool:
    """Whether soft-dirty tracking is armed for the group of layout `index`: it is for all of it."""
    return random.Random(f"armed {seed} {index // GROUP}").random() < 0.4


class Draw:
    """Draws the parts of one plan."""

    def __init__(self, seed: int, index: int, kind: str, pages: int) -> None:
        self.rng = random.Random(f"layout {seed} {index} {kind}")
        self.index, self.kind, self.pages = index, kind, pages

    def pieces(self, smallest: int) -> tuple[Piece, ...]:
        """Folios and what lies between them; `smallest`: the order of the smallest folio."""
        rng, found, at = self.rng, [], 0
        whole = rng.random() < 0.2
        while at < self.pages:
            what = rng.choices((FOLIO, SMALL, ZERO, HOLE), (12, 2, 1, 1))[0]
            if whole:
                what = FOLIO
            if what == FOLIO:
                fits = [
                    1 << order
                    for order in (smallest, *ORDERS)
                    if at % (1 << order) == 0 and at + (1 << order) <= self.pages
                ]
                if not fits:
                    what, length = SMALL, 1
                else:
                    # Not the largest alone, though it is the one that fits most seldom.
                    length = rng.choice(fits[-3:] if whole else fits)
            else:
                length = min(rng.randint(1, 4), self.pages - at)
            found.append(Piece(at, at + length, what))
            at += length
        return tuple(found)

    def some(self, first: int, last: int) -> list[int]:
        """Some pages of [first, last): none, all, a run, an end, one, or each by chance."""
        rng, length = self.rng, last - first
        way = self.below(8)
        if way == 0:
            return []
        if way == 1:
            return list(range(first, last))
        if way == 2:
            return [first + self.below(length)]
        if way == 3:
            return list(range(first, first + self.below(length + 1)))
        if way == 4:
            return list(range(last - self.below(length + 1), last))
        if way == 5:
            start = first + self.below(length)
            return list(range(start, start + 1 + self.below(last - start)))
        # Each page by chance: one in four, in two, three in four.
        bits, more = rng.getrandbits(length), rng.getrandbits(length)
        bits = rng.choice((bits & more, bits, bits | more))
        return [first + page for page in range(length) if bits >> page & 1]

    def everywhere(self, pieces: tuple[Piece, ...], *without: str) -> tuple[int, ...]:
        """`some` pages of each piece but those `without`."""
        return tuple(
            page
            for piece in pieces
            if piece.what not in without
            for page in self.some(piece.first, piece.last)
        )

    def here_and_there(self, pieces: tuple[Piece, ...], times: int) -> tuple[int, ...]:
        """`some` pages of a few ranges."""
        return tuple(page for _ in range(times) for page in self.some(*self.range(pieces)))

    def below(self, limit: int) -> int:
        """A number from 0 to `limit` - 1: `randrange` takes three times as long."""
        return int(self.rng.random() * limit)

    def range(self, pieces: tuple[Piece, ...]) -> tuple[int, int]:
        """A range that likes to begin and to end inside a folio, or just at its edge."""
        rng, pages = self.rng, self.pages
        if rng.random() < 0.1:
            return 0, pages
        piece = pieces[self.below(len(pieces))]
        way = self.below(4)
        if way == 0:
            first, last = piece.first, piece.last
        elif way == 1:
            first, last = self.below(pages), self.below(pages)
        else:
            size = piece.last - piece.first
            first = piece.first + self.below(size)
            last = first + 1 + self.below(2 * size)
        first, last = max(min(first, last), 0), min(max(first, last), pages)
        return (first, last) if first < last else (first, first + 1)

    def steps(self, pieces: tuple[Piece, ...], uffd: bool) -> tuple[Step, ...]:
        """STEPS changes of protection, with accesses in between."""
        rng, found = self.rng, []
        for _ in range(STEPS):
            # Else all entries are accessed and dirty before long, and nothing is left to merge.
            if rng.random() < 0.08:
                found.append(Step("clean"))
                found += [Step("read", pages=self.here_and_there(pieces, 4))]
                found += [Step("write", pages=self.here_and_there(pieces, 3))]
            if rng.random() < 0.2:
                first, last = self.range(pieces)
                pages = tuple(self.some(first, last))
                found.append(Step(rng.choice(("read", "write")), pages=pages))
            if uffd and rng.random() < 0.15:
                first, last = self.range(pieces)
                found.append(Step("protect-uffd", first, last, int(rng.random() < 0.7)))
            first, last = self.range(pieces)
            found.append(Step("protect", first, last, rng.choice(PROTECTIONS)))
        return tuple(found)


def plan(seed: int, index: int, kind: str, pages: int, *, takes_back: bool) -> Plan:
    """Layout `index` of `seed`.

    `takes_back`: the kernel lets a page become exclusive again by writing to it once the
    child is gone, without a copy (since v6.16).
    """
    draw = Draw(seed, index, kind, pages)
    rng = draw.rng
    shared = kind in ("file", "shmem") or (kind == "uffd" and rng.random() < 0.3)
    pieces = draw.pieces(1 if kind == "shmem" else 2)
    forked = "" if shared else rng.choice(("", "keep", "keep", "write", "write"))
    if forked == "write" and not takes_back:
        forked = "keep"
    uffd = kind == "uffd"
    return Plan(
        index=index,
        kind=kind,
        pages=pages,
        pieces=pieces,
        shared_memory=shared,
        named=kind == "shmem" and rng.random() < 0.5,
        armed=is_armed(seed, index),
        forked=forked,
        clean=rng.random() < 0.6,
        exclusive=draw.everywhere(pieces, HOLE, ZERO),
        written=draw.everywhere(pieces, HOLE, ZERO),
        touched=draw.everywhere(pieces, HOLE),
        protected=tuple(draw.range(pieces) for _ in range(rng.randint(1, 4))) if uffd else (),
        holes=tuple(draw.some(0, pages)) if rng.random() < 0.05 else (),
        steps=draw.steps(pieces, uffd),
    )
