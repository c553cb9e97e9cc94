"""The scope of an exhaustive run: its calls and states, and the number of each case.

A case is a number below `Scope.total`. Cases of one call follow each other; within a
call the states of the entries are the digits of the number, the last entry's the
lowest. `Scope.locate` and `Scope.number` are inverse to each other.
"""

from bisect import bisect_right
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from harness.arrays import case_of
from harness.case import Case, CaseError, layout_of
from harness.relation import reference_side
from harness.sane import is_sane
from harness.targets import Target
from harness.workspace import workspace_for
from mm.state import NR_COUNTS, empty_state, set_kernel
from mm.version import VERSIONS

from .alphabet import (
    FOLIO_PAGES,
    MAX_K,
    NR_FOLIOS,
    NR_PAGES,
    Alphabet,
    Call,
    EntryState,
    Fixed,
    Kind,
    Right,
    alphabet_of,
    asks_of,
    write_fixed,
)
from .loop import CASES, NO_ROOM, NR_COLUMNS, NR_SUMS, NR_VERDICTS, RAW_CASES, Cases
from .symmetries import (
    calls_for,
    canonical_calls,
    canonical_states,
    raw_calls,
    raw_states,
    states_for,
)


@dataclass(frozen=True)
class Block:
    """All cases of one call with `k` entries: numbers [base, base + len(states) ** k)."""

    call: Call
    states: tuple[EntryState, ...]
    k: int
    base: int
    # Raw calls, and raw states for each state, that this one stands for.
    weight: int
    weights: tuple[int, ...]

    @property
    def size(self) -> int:
        """How many cases there are."""
        return int(len(self.states) ** self.k)


@dataclass
class Scope:
    """What is enumerated."""

    arch: str
    kernel: str
    k: int
    raw: bool
    asks: tuple[str, ...] = ()  # names of ASKS; empty for all that the kernel has
    blocks: list[Block] = field(init=False)

    def __post_init__(self) -> None:
        """Lay out the numbers."""
        known = asks_of(self.arch, self.kernel)
        unknown = set(self.asks) - set(known)
        if unknown:
            raise CaseError(f"unknown flags {min(unknown)!r}; expected some of {', '.join(known)}")
        self.asks = tuple(sorted(self.asks or known))
        if not 1 <= self.k <= MAX_K:
            raise CaseError(f"cannot enumerate {self.k} entries; expected 1 to {MAX_K}")
        self.blocks = []
        if self.raw or self.k == 1:
            self._lay_out(raw_calls(self.arch), self.k, raw=True, weight=1)
        else:
            # What stands alone is enumerated whole as a case of one entry, beside those of
            # K entries: it stands for none of them.
            self._lay_out(raw_calls(self.arch), 1, raw=True, weight=0)
            self._lay_out(canonical_calls(self.arch), self.k, raw=False)

    def _lay_out(self, calls: list[Call], k: int, *, raw: bool, weight: int | None = None) -> None:
        for call in calls:
            if call.ask not in self.asks:
                continue
            states = raw_states(call) if raw else canonical_states(call)
            weights = [1] * len(states) if raw else states_for(call)
            stands_for = calls_for(call) if weight is None else weight
            self.blocks.append(
                Block(call, tuple(states), k, self.total, stands_for, tuple(weights))
            )

    @property
    def total(self) -> int:
        """How many cases there are."""
        return self.blocks[-1].base + self.blocks[-1].size if self.blocks else 0

    def locate(self, number: int) -> tuple[Block, tuple[EntryState, ...]]:
        """The call of case `number`, and the states of its entries."""
        if not 0 <= number < self.total:
            raise CaseError(f"no case {number}; expected 0 to {self.total - 1}")
        block = self.blocks[bisect_right(self.blocks, number, key=lambda b: b.base) - 1]
        rest, states = number - block.base, []
        for _ in range(block.k):
            rest, digit = divmod(rest, len(block.states))
            states.append(block.states[digit])
        return block, tuple(reversed(states))

    def number(self, block: Block, states: tuple[EntryState, ...]) -> int:
        """The number of the case of `block` whose entries are in `states`."""
        place = 0
        for state in states:
            place = place * len(block.states) + block.states.index(state)
        return block.base + place

    def chunks(self, size: int) -> list[tuple[int, int]]:
        """The numbers cut into ranges [first, last) of at most `size`, none of two calls."""
        found = []
        for block in self.blocks:
            end = block.base + block.size
            found += [(at, min(at + size, end)) for at in range(block.base, end, size)]
        return found


@dataclass
class Sums:
    """What ranges of cases add up to, in any order."""

    cases: int = 0
    digest: int = 0
    differing: int = 0
    # Union of class bits -> cases, and the raw cases that they stand for.
    verdicts: dict[int, tuple[int, int]] = field(default_factory=dict)

    def add(self, other: "Sums") -> None:
        """Add what other cases gave."""
        self.cases += other.cases
        self.digest = (self.digest + other.digest) % (1 << 64)
        self.differing += other.differing
        for union, (cases, raw_cases) in other.verdicts.items():
            known = self.verdicts.get(union, (0, 0))
            self.verdicts[union] = (known[0] + cases, known[1] + raw_cases)


class Runner:
    """Runs ranges of a scope's cases with one target, in this process."""

    def __init__(self, scope: Scope, target: Target, red: int, batching: int) -> None:
        """Make the arrays, once for all cases."""
        self.scope, self.target, self.batching = scope, target, batching
        self.red = np.uint64(red)
        self.alphabet: Alphabet = alphabet_of(scope.arch)
        self.reference = reference_side(scope.arch)
        block = layout_of(scope.arch).block
        state = empty_state(-(-(MAX_K + 2) // block) * block, NR_FOLIOS, NR_PAGES)
        set_kernel(state.facts[0], VERSIONS[scope.kernel], layout_of(scope.arch).config)
        self.workspace = workspace_for(state)
        self.digits = np.zeros(MAX_K, np.int64)
        self.at: Block | None = None
        self.tables: Any = None

    def set_block(self, block: Block) -> None:
        """Prepare for the cases of `block`, unless that is done."""
        if self.at is block:
            return
        fixed, case = Fixed(block.call, block.k), self.workspace.case
        write_fixed(self.alphabet, fixed, case)
        self.first_page = fixed.first_page
        case.ptes[:] = 0
        other = EntryState(Kind.FOLIO, block.call.place.others or Right.READ)
        for at in fixed.outside:
            case.ptes[at] = np.uint64(self._word(fixed, other, at - fixed.start))
        words = [[self._word(fixed, s, i) for s in block.states] for i in range(block.k)]
        own_page = (Kind.FOLIO, Kind.PROTNONE, Kind.NONE)
        exclusive = [s.exclusive and s.kind in own_page for s in block.states]
        self.tables = (
            np.array(words, np.uint64),
            np.array(exclusive, np.uint8),
            self._sane(block, fixed, words, exclusive),
            np.array(block.weights, np.int64),
        )
        self.workspace.theirs.counts[:NR_COUNTS] = 0
        self.at = block

    def _word(self, fixed: Fixed, state: EntryState, index: int) -> int:
        """The word of entry `index` of the range, or beside it, in `state`."""
        pfn = fixed.pfn(index, state.kind)
        word = self.alphabet.word(state, pfn, index, self.scope.kernel)
        return word | (self.alphabet.cont if fixed.call.place.folded else 0)

    def _sane(self, block: Block, fixed: Fixed, words: Any, exclusive: list[bool]) -> Any:
        """Which states are sane in the call: the rules judge one entry at a time."""
        # Built once and varied: a case from arrays costs more than judging it.
        fixed_case = case_of(self.workspace.case, self.scope.arch, self.scope.kernel)
        row, page = divmod(fixed.first_page, FOLIO_PAGES)
        sane = np.zeros(len(block.states), np.uint8)
        for digit in range(len(block.states)):
            ptes = list(fixed_case.ptes)
            ptes[fixed.start : fixed.start + block.k] = [0] * block.k
            # A folded block is whole, or it is not sane: all entries are in this state then.
            like = block.k if block.call.place.folded else 1
            for index in range(like):
                ptes[fixed.start + index] = words[index][digit]
            folios = list(fixed_case.folios)
            pages = (1 << like) - 1 << page
            others = folios[row].exclusive & ~pages
            bits = pages if exclusive[digit] else 0
            folios[row] = replace(folios[row], exclusive=others | bits)
            sane[digit] = is_sane(replace(fixed_case, ptes=tuple(ptes), folios=tuple(folios)))
        return sane

    def run(self, first: int, last: int) -> tuple[Sums, list[int]]:
        """Run the cases [first, last) of one call: their sums, and the first red case of each verdict."""
        block, _ = self.scope.locate(first)
        self.set_block(block)
        verdicts = np.zeros(NR_VERDICTS, np.uint64)
        counts = np.zeros((NR_VERDICTS, NR_COLUMNS), np.int64)
        sums = np.zeros(NR_SUMS, np.uint64)
        shown: dict[int, int] = {}
        at, end = first - block.base, last - block.base
        table, exclusive, sane, weights = self.tables
        cases = Cases(
            table=table,
            exclusive=exclusive,
            sane=sane,
            weights=weights,
            digits=self.digits,
            first_page=self.first_page,
            weight=block.weight,
            first=at,
            last=end,
            base=np.uint64(block.base),
            red=self.red,
            batching=self.batching,
            verdicts=verdicts,
            counts=counts,
            sums=sums,
        )
        with np.errstate(over="ignore"):
            while at < end:
                at = int(
                    self.alphabet.loop(
                        self.reference,
                        self.target.function,
                        self.workspace,
                        cases._replace(first=at),
                    )
                )
                if at == NO_ROOM:
                    raise RuntimeError(f"more than {NR_VERDICTS} verdicts in one range")
                if at < end:
                    union = self._union()
                    shown.setdefault(union, block.base + at)
                    at += 1
        used = int(sums[1])
        found = {
            int(union): (int(row[CASES]), int(row[RAW_CASES]))
            for union, row in zip(verdicts[:used], counts[:used], strict=True)
        }
        return Sums(last - first, int(sums[0]), int(sums[2]), found), list(shown.values())

    def _union(self) -> int:
        """The classes of the case that stands in the workspace."""
        nr_ptes = int(self.workspace.case.facts[0].nr_ptes)
        bits = int(self.workspace.found_case[0])
        for word in self.workspace.found[:nr_ptes]:
            bits |= int(word)
        return bits

    def case(self, number: int) -> Case:
        """Case `number` as a value."""
        block, states = self.scope.locate(number)
        self.set_block(block)
        table, exclusive, *_ = self.tables
        case, start = self.workspace.case, int(self.workspace.case.facts[0].start)
        for i, state in enumerate(states):
            digit = block.states.index(state)
            case.ptes[start + i] = table[i, digit]
            case.exclusive[self.first_page + i] = exclusive[digit]
        return case_of(case, self.scope.arch, self.scope.kernel)
