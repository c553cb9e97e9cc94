"""The loop: layouts in groups, steps on each, every change of protection read back and judged."""

import math
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from harness import classes
from harness.case import Case
from harness.sane import broken_rules
from harness.targets import Target
from mm.layout import Layout

from .calls import Called, Mapping, calls_of_mprotect, calls_of_uffd
from .judging import Model, Verdict
from .kernel import NotThere
from .layouts import Site, fork_and_exit
from .memory import PROT_READ, PROT_WRITE, Vmas
from .plans import GROUP, Plan, Step, kind_of, plan
from .probes import Live
from .window import Window, pfns_of, present

# Of a window. Interpreted models take a hundred times as long.
PAGES, PAGES_INTERPRETED = 256, 64
# One call in so many is held against the rules of sane cases, which takes Python for each entry.
SANE_EVERY = 1_000
CLEAR_SOFT_DIRTY = "4"
# Between the two reads; a call takes a few microseconds. A host that takes the CPU away
# tells nobody, so that a count of switches does not see it.
PREEMPTED_NS = 500_000

# What a step may change beside words, each more than the one before.
NOTHING, MARKS, FOLIOS = "0 nothing", "1 marks", "2 folios"
# MADV_FREE splits a folio that it does not find mapped alike; a fault may bring a new one.
MAY_CHANGE = {"read": NOTHING, "write": MARKS, "clean": FOLIOS}


@dataclass
class Observed:
    """One call of change_pte_range() that contradicts the model, the relation or a rule."""

    seed: int
    layout: int
    kind: str
    step: int
    pages: int  # of the window
    case: Case
    after: tuple[int, ...]  # what the kernel left of the case's entries
    flushed: bool | None  # whether the kernel flushed; None where it is not counted
    preempted: bool  # the two reads were far apart: something else ran in between
    verdict: Verdict
    why: str  # words, flush, outside, exclusive, insane: ...


@dataclass
class Tally:
    """What a run did so far."""

    layouts: int = 0
    operations: int = 0  # calls of mprotect()
    userfaultfd: int = 0  # and of UFFDIO_WRITEPROTECT
    calls: int = 0  # of change_pte_range() by both
    ptes: int = 0
    mismatches: int = 0
    noise: dict[str, int] = field(default_factory=dict)  # by what it was taken for
    # As noise, but outside the range, or with the two reads far apart.
    apart: dict[str, int] = field(default_factory=dict)
    unsteady: int = 0  # a window that lost its page table or changed under us
    flushes: int = 0  # operations whose flush decision was compared
    sane: int = 0  # calls that were held against the rules of sane cases
    marked: int = 0  # layouts whose exclusive pages changed while only protections did
    by_kind: dict[str, int] = field(default_factory=dict)
    folios: dict[int, int] = field(default_factory=dict)
    explained: Any = field(default_factory=lambda: np.zeros(classes.NR_CLASSES, np.int64))


class Unsteady(Exception):
    """The window changed without us: its page table went, or a folio was split."""


class Slot:
    """A site with a layout on it, and what is known of the folios behind it."""

    def __init__(self, live: Live, directory: Path) -> None:
        self.live, self.kernel = live, live.kernel
        self.site = Site(live.uffd, directory)
        self.plan: Plan | None = None
        self.mapping = Mapping(False, True, False, False, False)
        self.table = 0
        self.last = b""  # the words that the last change of protection left
        self.counted = False  # the folios of the layout were just looked at
        self._pfns: Any = None
        self.folios: Any = np.zeros((0, 3), np.int64)
        self.exclusive: Any = np.zeros(0, bool)

    def words(self, pages: int) -> Any:
        """The raw words of the window, copied."""
        return self.kernel.reader.words(self.table, pages).copy()

    def settle(self, plan: Plan, notifies: bool, armed: bool) -> None:
        """Take over the layout that was made."""
        self.plan = plan
        self.mapping = Mapping(
            shared=plan.shared_memory,
            anon=not plan.shared_memory,
            uffd=plan.kind == "uffd",
            armed=armed,
            notifies=notifies and plan.kind == "file",
        )
        try:
            self.table = self.kernel.table(self.site.address)
        except NotThere:
            raise Unsteady from None
        self._pfns, self.last, self.counted = None, b"", False

    def look(self, layout: Layout, words: Any, changed: str) -> bool:
        """Know the folios behind `words`; whether anything had to be read for it.

        `changed`: what may be other than at the last look: FOLIOS, MARKS (which of their
        pages are exclusive) or NOTHING.
        """
        if changed == NOTHING and words.tobytes() == self.last:
            return False
        pfns = pfns_of(layout, words)
        if changed == FOLIOS or not np.array_equal(pfns, self._pfns):
            self._pfns = pfns
            self.folios = self._read_folios()
        elif changed == NOTHING:
            return False
        self.exclusive = self.kernel.exclusive(self.folios)
        return True

    def _read_folios(self) -> Any:
        return self.kernel.folios(self._pfns[self._pfns != np.uint64(self.live.config.zero_pfn)])

    def is_steady(self) -> bool:
        """Whether the folios, and which of their pages are exclusive, are as at the last look."""
        try:
            return np.array_equal(self.folios, self._read_folios()) and not self.marks_changed()
        except NotThere:
            return False

    def marks_changed(self) -> bool:
        """Whether a page is exclusive that was not, or the reverse, since the last look."""
        return not np.array_equal(self.exclusive, self.kernel.exclusive(self.folios))


class Oracle:
    """Drives the running kernel and judges what it does."""

    def __init__(
        self,
        live: Live,
        target: Target,
        seed: int,
        kinds: tuple[str, ...],
        directory: Path,
        pages: int = PAGES,
    ) -> None:
        """Reserve the sites; nothing is run yet. `directory`: for files of the page cache."""
        self.live, self.seed, self.kinds, self.pages = live, seed, kinds, pages
        self.window = Window(live.machine.arch, live.version, live.config)
        self.layout = self.window.layout
        self.model = Model(target, self.window)
        self.tally = Tally()
        self.stopped = False
        self.deadline = math.inf  # of time.perf_counter()
        self._vmas = Vmas()
        self._slots = [Slot(live, directory) for _ in range(GROUP)]
        self._in_window: Slot | None = None
        self._preempted = False  # in the last change
        # What to look at where no step moved anything: a contained target forks, which leaves no
        # page exclusive.
        self._unmoved = MARKS if target.contained else NOTHING
        self._notifies = "file" in kinds and self._asks_for_notice()

    @property
    def is_over(self) -> bool:
        """Whether no further step is to be taken."""
        return self.stopped or time.perf_counter() >= self.deadline

    # Making layouts.

    def plan(self, index: int) -> Plan:
        """The plan of layout `index`."""
        kind = kind_of(self.seed, index, self.kinds)
        takes_back = tuple(map(int, self.live.version.split("."))) >= (6, 16)
        return plan(self.seed, index, kind, self.pages, takes_back=takes_back)

    def make(self, indices: list[int]) -> list[Slot]:
        """Make the layouts `indices` of one group; those that came to stand."""
        slots = self._slots[: len(indices)]
        # A slot may get another layout than the one that the window shows.
        self._in_window = None
        plans = [self.plan(index) for index in indices]
        for slot, drawn in zip(slots, plans, strict=True):
            slot.site.before_fork(drawn)
        if any(drawn.forked for drawn in plans):
            fork_and_exit()
        armed = self.live.config.soft_dirty and plans[0].armed
        if armed:
            Path("/proc/self/clear_refs").write_text(CLEAR_SOFT_DIRTY)
        made = []
        for slot, drawn in zip(slots, plans, strict=True):
            slot.site.after_fork(drawn)
            try:
                slot.settle(drawn, self._notifies, armed)
            except Unsteady:
                self.tally.unsteady += 1
                continue
            made.append(slot)
        return made

    def _asks_for_notice(self) -> bool:
        """Whether the file system wants to be told of first writes: a page that was only read is read-only then."""
        site = self._slots[0].site
        drawn = plan(0, 0, "file", self.pages, takes_back=True)
        site.before_fork(Plan(**{**drawn.__dict__, "written": (), "clean": False}))
        words = self.live.kernel.reader.words(self.live.kernel.table(site.address), self.pages)
        mapped = words[present(self.layout, words)]
        return not bool(np.any(mapped & np.uint64(self.live.machine.paging.writable)))

    # Steps.

    def run(self, slot: Slot, last: int | None = None) -> Iterator[Observed]:
        """Take the steps of the slot's plan, up to step `last`; what contradicts, as it comes."""
        assert slot.plan is not None
        # Nothing has happened to it since its folios were counted, if they were.
        moved = self._unmoved if slot.counted else FOLIOS
        slot.counted = False
        self.tally.layouts += 1
        for number, step in enumerate(slot.plan.steps):
            if self.is_over or (last is not None and number > last):
                return
            if step.what not in ("protect", "protect-uffd"):
                self._touch(slot, step)
                moved = max(moved, MAY_CHANGE[step.what])
                continue
            judged = last is None or number == last
            try:
                yield from self._change(slot, number, step, moved, judged)
            except Unsteady:
                self.tally.unsteady += 1
                return
            moved = self._unmoved
        if moved == NOTHING and slot.marks_changed():
            self.tally.marked += 1

    def count_folios(self, slot: Slot) -> None:
        """Add the folios of a layout that was just made to the tally."""
        slot.look(self.layout, slot.words(self.pages), FOLIOS)
        slot.counted = True
        for pages in slot.folios[:, 1].tolist():
            self.tally.folios[pages] = self.tally.folios.get(pages, 0) + 1

    def again(self, index: int, step: int) -> list[Observed]:
        """What step `step` of layout `index`, made anew, shows."""
        return [found for slot in self.make([index]) for found in self.run(slot, step)]

    def _touch(self, slot: Slot, step: Step) -> None:
        """Access those of the step's pages that may be, by their VMA and by userfaultfd."""
        if step.what == "clean":
            slot.site.clean(self.pages, shared=slot.mapping.shared)
            return
        if not step.pages:
            return
        paging = self.live.machine.paging
        wanted = PROT_WRITE if step.what == "write" else PROT_READ
        may = np.zeros(self.pages, bool)
        first, last = min(step.pages), max(step.pages) + 1
        for vma in self._vmas.within(slot.site.address, first, last):
            if vma.rights & wanted and vma.rights & PROT_READ:
                may[vma.first : vma.last] = True
        if slot.mapping.uffd:
            words = slot.words(self.pages)
            may &= present(self.layout, words) & (words & np.uint64(paging.uffd) == 0)
        allowed = may.tolist()
        pages = [page for page in step.pages if allowed[page]]
        if step.what == "write":
            slot.site.write(pages)
        else:
            slot.site.read(pages)

    def _change(
        self, slot: Slot, number: int, step: Step, moved: str, judged: bool
    ) -> Iterator[Observed]:
        """One change of protection, read before and after."""
        site, flushes = slot.site, self.live.flushes
        vmas = self._vmas.within(site.address, step.first, step.last)
        started = time.perf_counter_ns()
        before = slot.words(self.pages)
        if slot.look(self.layout, before, moved) or self._in_window is not slot:
            self.window.set_folios(slot.folios, slot.exclusive)
            self._in_window = slot
            # What took its time to look at is read once more, close to the call.
            started = time.perf_counter_ns()
            before = slot.words(self.pages)
        counted = flushes.count() if flushes else 0
        if step.what == "protect":
            site.protect(step.first, step.last, step.value)
        else:
            site.protect_uffd(step.first, step.last, bool(step.value))
        flushed = flushes.count() > counted if flushes else None
        after = slot.words(self.pages)
        self._preempted = time.perf_counter_ns() - started > PREEMPTED_NS
        slot.last = after.tobytes()
        place = self.layout, slot.mapping, vmas, step.first, step.last
        if step.what == "protect":
            called = calls_of_mprotect(*place, step.value)
        else:
            called = calls_of_uffd(*place, bool(step.value))
        if judged:
            self._count(slot, step)
            yield from self._judge(slot, number, called, before, after, flushed)

    def _count(self, slot: Slot, step: Step) -> None:
        assert slot.plan is not None
        if step.what != "protect":
            self.tally.userfaultfd += 1
            return
        self.tally.operations += 1
        kinds, kind = self.tally.by_kind, slot.plan.kind
        kinds[kind] = kinds.get(kind, 0) + 1

    def _judge(
        self,
        slot: Slot,
        number: int,
        called: list[Called],
        before: Any,
        after: Any,
        flushed: bool | None,
    ) -> Iterator[Observed]:
        assert slot.plan is not None
        tally = self.tally
        rest = after.copy()
        asks = False
        last: tuple[Called, Verdict] | None = None
        for call in called:
            verdict = self._verdict(slot, call, before, after)
            asks = asks or verdict.flushes
            rest[call.first : call.last] = before[call.first : call.last]
            last = call, verdict
            why = ""
            if verdict.wrong:
                why = "words" if not verdict.same else "relation"
            elif tally.calls % SANE_EVERY == 0 and (broken := self._broken_rule()):
                why = f"not sane: {broken}"
            if why:
                if not slot.is_steady():
                    raise Unsteady
                yield self._observed(slot, number, call, before, after, flushed, verdict, why)
        if rest.tobytes() != before.tobytes():
            if last is None:
                raise Unsteady
            changed = int(np.bitwise_or.reduce(rest ^ before))
            verdict = last[1]._replace(same=False, differing=changed)
            yield self._observed(slot, number, last[0], before, after, flushed, verdict, "outside")
        if flushed is not None and last is not None:
            tally.flushes += 1
            if asks != flushed:
                call, verdict = last
                yield self._observed(slot, number, call, before, after, flushed, verdict, "flush")

    def _verdict(self, slot: Slot, call: Called, before: Any, after: Any) -> Verdict:
        low, high = self.window.set_call(slot.mapping, call, slot.site.address, before)
        expected = before[low:high].copy()
        expected[call.first - low : call.last - low] = after[call.first : call.last]
        verdict = self.model.judge(expected)
        self.tally.calls += 1
        self.tally.ptes += call.last - call.first
        union = verdict.union & int(classes.EXPLAINED_BITS)
        while union:
            number = (union & -union).bit_length() - 1
            self.tally.explained[number] += 1
            union &= union - 1
        return verdict

    def _broken_rule(self) -> str:
        """The rule of sane cases, which are what a kernel keeps, that the window breaks, or ""."""
        self.tally.sane += 1
        return next(broken_rules(self.window.case()), "")

    def _observed(
        self,
        slot: Slot,
        number: int,
        call: Called,
        before: Any,
        after: Any,
        flushed: bool | None,
        verdict: Verdict,
        why: str,
    ) -> Observed:
        assert slot.plan is not None
        low, high = self.window.set_call(slot.mapping, call, slot.site.address, before)
        words = (after if why == "outside" else before)[low:high].copy()
        words[call.first - low : call.last - low] = after[call.first : call.last]
        return Observed(
            seed=self.seed,
            layout=slot.plan.index,
            kind=slot.plan.kind,
            step=number,
            pages=self.pages,
            case=self.window.case(),
            after=tuple(int(word) for word in words),
            flushed=flushed,
            preempted=self._preempted,
            verdict=verdict,
            why=why,
        )
