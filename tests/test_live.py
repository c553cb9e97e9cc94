"""What the live oracle draws, calls and judges, without a kernel of its own."""

import math
import random
import shlex
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from fuzz import exits
from fuzz.live.sides import verdict
from harness import classes
from harness.case import layout_of
from harness.live import calls, keeping, machines, plans, session
from harness.live.judging import Model, Verdict
from harness.live.kernel import Found
from harness.live.layouts import runs
from harness.live.memory import PROT_EXEC, PROT_NONE, PROT_READ, PROT_WRITE, Vma
from harness.live.oracle import Observed, Tally
from harness.live.window import Window
from harness.run import run
from harness.sane import broken_rules
from harness.targets import load
from mm.flags import MM_CP_TRY_CHANGE_WRITABLE, MM_CP_UFFD_WP, MM_CP_UFFD_WP_RESOLVE
from tests.test_cli import midfolio

READ_WRITE = PROT_READ | PROT_WRITE
TRY = int(MM_CP_TRY_CHANGE_WRITABLE)


# Which calls.


PRIVATE = calls.Mapping(shared=False, anon=True, uffd=False, armed=False, notifies=False)
FILE = PRIVATE._replace(shared=True, anon=False, notifies=True)
SHMEM = FILE._replace(notifies=False)
X86 = layout_of("x86_64")
RO, RW = 0x8000_0000_0000_0025, 0x8000_0000_0000_0027


@pytest.mark.parametrize(
    ("mapping", "old", "prot", "cp_flags", "newprot"),
    [
        (PRIVATE, PROT_READ, READ_WRITE, TRY, RO),
        (PRIVATE, READ_WRITE, PROT_READ, 0, RO),
        (PRIVATE, READ_WRITE, PROT_NONE, 0, 0x120),
        (FILE, PROT_READ, READ_WRITE, TRY, RO),
        (FILE, READ_WRITE, PROT_READ | PROT_EXEC, 0, 0x25),
        (SHMEM, PROT_READ, READ_WRITE, 0, RW),
        # Protected by userfaultfd a shared page must fault before it is written, but the
        # protection before the call is another one, so nothing is upgraded.
        (SHMEM._replace(uffd=True), PROT_READ, READ_WRITE, 0, RO),
        (SHMEM._replace(armed=True), PROT_READ, READ_WRITE, 0, RO),
    ],
)
def test_what_mprotect_asks_for(
    mapping: calls.Mapping, old: int, prot: int, cp_flags: int, newprot: int
) -> None:
    (call,) = calls.calls_of_mprotect(X86, mapping, [Vma(0, 8, old)], 2, 6, prot)
    assert (call.first, call.last, call.cp_flags, call.newprot) == (2, 6, cp_flags, newprot)


def test_writes_are_noticed_where_somebody_asks() -> None:
    flags = calls.vma_flags(SHMEM, READ_WRITE)
    assert calls.page_protection(X86, SHMEM, flags) == RW
    for change in ({"notifies": True}, {"uffd": True}, {"armed": True}):
        mapping = SHMEM._replace(**change)
        flags = calls.vma_flags(mapping, READ_WRITE)
        assert calls.page_protection(X86, mapping, flags) == RO
        # A file system is asked first; the others only where the protection is the VMA's own.
        assert calls.wants_writenotify(X86, mapping, flags, RO) == mapping.notifies
        assert calls.wants_writenotify(X86, mapping, flags, RW)


def test_each_vma_is_one_call_and_those_that_stay_are_none() -> None:
    vmas = [Vma(0, 4, PROT_READ), Vma(4, 6, READ_WRITE), Vma(6, 9, PROT_NONE)]
    found = calls.calls_of_mprotect(X86, PRIVATE, vmas, 1, 8, READ_WRITE)
    assert [(call.first, call.last) for call in found] == [(1, 4), (6, 8)]
    assert calls.calls_of_mprotect(X86, PRIVATE, vmas, 4, 6, READ_WRITE) == []


def test_what_userfaultfd_asks_for() -> None:
    vmas = [Vma(0, 4, PROT_READ), Vma(4, 6, READ_WRITE)]
    mapping = PRIVATE._replace(uffd=True)
    on = calls.calls_of_uffd(X86, mapping, vmas, 0, 6, True)
    off = calls.calls_of_uffd(X86, mapping, vmas, 0, 6, False)
    assert [call.cp_flags for call in on] == [int(MM_CP_UFFD_WP)] * 2
    resolve = int(MM_CP_UFFD_WP_RESOLVE)
    assert [call.cp_flags for call in off] == [resolve, resolve | TRY]
    # A neighbour may have other rights than the VMA that is asked about.
    assert {call.margin for call in (*on, *off)} == {0}


# Plans.


@pytest.mark.parametrize("kind", plans.KINDS)
def test_a_plan_is_the_same_each_time_and_fits_its_window(kind: str) -> None:
    for index in range(20):
        made = plans.plan(7, index, kind, 64, takes_back=True)
        assert made == plans.plan(7, index, kind, 64, takes_back=True)
        at = 0
        for first, last, what in made.pieces:
            assert first == at
            at = last
            if what == plans.FOLIO:
                assert (last - first).bit_count() == 1
                assert first % (last - first) == 0
        assert at == 64
        for step in made.steps:
            if step.what.startswith("protect"):
                assert 0 <= step.first < step.last <= 64
            assert all(0 <= page < 64 for page in step.pages)
    assert plans.plan(7, 1, kind, 64, takes_back=True) != plans.plan(
        8, 1, kind, 64, takes_back=True
    )


def test_plans_begin_and_end_inside_folios() -> None:
    inside = 0
    for index in range(50):
        made = plans.plan(1, index, "anon", 64, takes_back=True)
        edges = {edge for first, last, _ in made.pieces for edge in (first, last)}
        inside += sum(s.what == "protect" and s.first not in edges for s in made.steps)
    assert inside > 50 * plans.STEPS / 4


def test_a_kernel_that_copies_gets_its_exclusive_pages_otherwise() -> None:
    ways = {plans.plan(1, i, "anon", 64, takes_back=False).forked for i in range(40)}
    assert ways == {"", "keep"}


def test_a_layout_does_not_depend_on_the_other_kinds() -> None:
    kinds = {plans.kind_of(1, index, plans.KINDS) for index in range(40)}
    assert kinds == set(plans.KINDS)
    assert plans.kind_of(1, 3, ("file",)) == "file"


def test_runs() -> None:
    assert list(runs([])) == []
    assert list(runs([0, 1, 5, 6, 7, 9])) == [(0, 2), (5, 8), (9, 10)]
    pages = sorted(random.Random(1).sample(range(500), 200))
    assert [page for first, last in runs(pages) for page in range(first, last)] == pages


# Judging.


def a_window() -> tuple[Window, tuple[int, int]]:
    """A folio of four pages, the middle two of which become writable if they are exclusive."""
    window = Window("x86_64", "6.18", X86.config._replace(soft_dirty=False))
    window.set_folios(np.array([Found(64, 4, True)]), np.array([1, 1, 0, 1], bool))
    before = np.array([RO | pfn << 12 for pfn in range(64, 68)], np.uint64)
    (call,) = calls.calls_of_mprotect(X86, PRIVATE, [Vma(0, 4, PROT_READ)], 1, 3, READ_WRITE)
    return window, window.set_call(PRIVATE, call, 0x7F00_0000_0000, before)


def test_the_case_is_what_was_read() -> None:
    window, shown = a_window()
    case = window.case()
    assert shown == (0, 4)
    assert case.check() is None
    assert list(broken_rules(case)) == []
    assert (case.call.start, case.call.end, case.call.cp_flags) == (1, 3, TRY)
    assert [(f.pfn, f.nr_pages, f.exclusive) for f in case.folios] == [(64, 4, 0b1011)]


@pytest.mark.parametrize("name", ["batched", "reference"])
def test_each_bit_of_each_entry_counts(name: str) -> None:
    window, _ = a_window()
    model = Model(load(name, "x86_64"), window)
    right = np.array(window.case().ptes, np.uint64)
    right[1] |= np.uint64(2)
    verdict = model.judge(right)
    assert (verdict.same, verdict.wrong, verdict.differing, verdict.flushes) == (
        True,
        False,
        0,
        True,
    )
    for entry in range(4):
        for bit in range(64):
            other = right.copy()
            other[entry] ^= np.uint64(1 << bit)
            verdict = model.judge(other)
            assert verdict.wrong
            assert (verdict.same, verdict.differing) == (False, 1 << bit)


def test_the_relation_names_what_the_kernel_did() -> None:
    window, _ = a_window()
    wrong = np.array(window.case().ptes, np.uint64)
    # The page that is not exclusive becomes writable, and not the one that is.
    wrong[2] |= np.uint64(2)
    union = Model(load("batched", "x86_64"), window).judge(wrong).union
    assert {"cow-write", "write-lost", "invariant-W"} <= set(classes.names(union))


# Budgets and noise.


class Again:
    """An oracle that sees an observation again, or does not."""

    def __init__(self, *answers: bool) -> None:
        self.tally = Tally(operations=100)
        self.live = SimpleNamespace(machine=machines.MACHINES["x86_64"])
        self.answers = list(answers)
        self.deadline, self.stopped = math.inf, False

    def again(self, layout: int, step: int) -> list[Observed]:
        return [observed(1 << 5)] if self.answers.pop(0) else []


def observed(differing: int, why: str = "words", *, preempted: bool = False) -> Observed:
    """An observation of entries that differ in the bits `differing`."""
    window, _ = a_window()
    verdict = Verdict(same=False, union=0, flushes=False, differing=differing)
    return Observed(1, 2, "anon", 3, 64, window.case(), (), None, preempted, verdict, why)


def settled(found: Observed, *answers: bool, apart: str = "") -> tuple[int, dict[str, int]]:
    oracle: Any = Again(*answers)
    run = session.Session(oracle, session.Budget(1, None), lambda _: None, lambda _: None)
    run._settle(found)
    assert oracle.tally.apart == ({apart: 1} if apart else {})
    return oracle.tally.mismatches, oracle.tally.noise


def test_accessed_bits_that_do_not_come_again_are_noise() -> None:
    accessed, dirty = 1 << 5, 1 << 6
    assert settled(observed(accessed), True, False) == (0, {"unlike-model": 1})
    assert settled(observed(accessed), True, True) == (1, {})
    assert settled(observed(0, "flush"), False, False) == (0, {"flush": 1})
    # All else is a mismatch at once.
    assert settled(observed(dirty), False, False) == (1, {})
    assert settled(observed(accessed | dirty), False, False) == (1, {})


def test_what_happened_while_another_task_ran_is_counted_apart() -> None:
    away = observed(1 << 5, preempted=True)
    assert settled(away, False, False, apart="preempted") == (0, {})
    # And is a mismatch as any other if it comes again.
    assert settled(observed(1 << 5, preempted=True), True, True) == (1, {})
    assert settled(observed(1 << 6, preempted=True), False, False) == (1, {})


def test_accessed_bits_outside_the_range_are_counted_apart() -> None:
    assert settled(observed(1 << 5, "outside"), False, False, apart="outside") == (0, {})
    assert settled(observed(1 << 6, "outside"), False, False) == (1, {})


def test_noise_has_a_limit() -> None:
    oracle: Any = Again()
    run = session.Session(oracle, session.Budget(1, None), lambda _: None, lambda _: None)
    for operations, noise, noisy in ((10, 3, False), (10, 4, True), (50_000, 11, True)):
        oracle.tally.operations, oracle.tally.noise = operations, {"flush": noise}
        assert run.is_noisy is noisy


@pytest.mark.parametrize(
    ("reference", "batched", "own", "code", "says"),
    [
        (0, 9, "reference", exits.OK, "matches reference; batched is contradicted 9 times"),
        (9, 0, "batched", exits.OK, "matches batched; reference is contradicted 9 times"),
        (9, 0, "reference", exits.DIVERGENCE, "though its version says reference"),
        (9, 1, "batched", exits.DIVERGENCE, "matches neither reference nor batched"),
        (0, 0, "batched", exits.TOO_LITTLE, "nothing that was tried tells the sides apart"),
    ],
)
def test_which_side_a_kernel_matches(
    reference: int, batched: int, own: str, code: int, says: str
) -> None:
    found, words = verdict({"reference": reference, "batched": batched}, own)
    assert (found, says in words) == (code, True), words


def test_the_control_has_its_time() -> None:
    oracle: Any = Again()
    oracle.is_over, oracle.model = False, SimpleNamespace(target=SimpleNamespace(compiled=True))
    oracle.tally.operations = 0
    made: list[float] = []

    def make(indices: list[int]) -> list[int]:
        made.append(time.perf_counter())
        oracle.is_over = time.perf_counter() >= oracle.deadline
        return []

    oracle.make = make
    assert not session.catches(oracle, seconds=0.01)
    assert oracle.deadline <= made[0] + 0.01
    assert session.CONTROL_SECONDS <= 10.0


# What is printed and saved.


def merged_on_an_old_kernel() -> Observed:
    """A folio whose second page alone is dirty, of a kernel that does not batch."""
    window = Window("x86_64", "6.12", X86.config._replace(soft_dirty=False))
    window.set_folios(np.array([Found(64, 4, True)]), np.ones(4, bool))
    dirty = [0, 1 << 6, 0, 0]
    before = np.array([RW | 1 << 63 | bit | (64 + i) << 12 for i, bit in enumerate(dirty)])
    (call,) = calls.calls_of_mprotect(X86, PRIVATE, [Vma(0, 4, READ_WRITE)], 0, 4, PROT_READ)
    window.set_call(PRIVATE, call, 0x7F00_0000_0000, before.astype(np.uint64))
    case = window.case()
    after = tuple(run(case, load("reference", "x86_64").function).ptes)
    verdict = Verdict(same=False, union=0, flushes=False, differing=1 << 6)
    return Observed(1, 2, "anon", 3, 64, case, after, None, False, verdict, "words")


def test_a_finding_of_an_old_kernel_replays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MIDFOLIO_FINDINGS", str(tmp_path))
    target = load("batched", "x86_64")
    finding = session.Finding(merged_on_an_old_kernel(), "unlike-model", True)
    path = keeping.save(finding, target, "6.12.1", [])
    lines = keeping.commands(finding.observed, "batched", path)
    assert len(lines) == 3
    for line in lines[1:]:
        done = midfolio(*shlex.split(line)[1:])
        assert done.returncode == exits.DIVERGENCE, done.stderr
        assert "dirty-gained" in done.stdout
    assert midfolio("replay", str(path)).returncode == exits.OK
    # One that batches needs no more than it did.
    assert keeping.commands(observed(0), "batched", path)[1].endswith("--target batched")


def test_a_budget_ends_with_whichever_comes_first() -> None:
    both = session.Budget(100, 5.0)
    assert not both.is_used_up(99, 4.9)
    assert both.is_used_up(100, 0.0)
    assert both.is_used_up(0, 5.0)
    assert not session.Budget(None, None).is_used_up(1 << 40, 1e9)
