"""Conformance: both sides, the relation and the invariants against golden vectors.

Per case and kernel: the reference at 6.12 must equal `expect_6_12`, the batched
side at 7.3 `expect_7_3`, and the historical mutant `expect_7_3_bug`, field by
field. The relation between the reference at 7.3 and the golden outcome of the
batched kernel must leave nothing unexplained, and must see the historical bug
wherever it changes an entry. The invariants may ring on no sane golden outcome.

An unbatched golden outcome goes through the relation too, as that of a target
that changes one entry at a time. Batches and commits, and (counted apart) the
raw reads, writes and exchanges of entries are compared in a traced build
(`MIDFOLIO_TRACE=1`).
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import numpy as np

from mm.jit import TRACED
from mm.state import (
    BAD_MAP,
    FLUSH,
    FOLD,
    NMMU,
    NO_VM_WRITE,
    NR_FLUSHES,
    NR_STAMPS,
    UNFOLD,
    State,
)

from . import classes, renumber
from .case import Case
from .relation import EXACT, NONE
from .run import Judgement, Outcome, judge_outcome, prepare, run
from .targets import Target, load
from .vectors import EXPECTATIONS, Expectation, Vector

HISTORICAL = "zoo:first-page-is-folio-head"
# Why a vector's implicit invalidation was sent, and its kind in the log.
REASONS = {"unfold": UNFOLD, "fold": FOLD, "nmmu": NMMU}


class Mismatch(NamedTuple):
    """One check that failed."""

    path: str
    line: int
    id: int
    expectation: str
    field: str
    expected: str
    got: str


@dataclass
class Report:
    """What a conformance run did."""

    cases: int = 0
    checks: int = 0
    mismatches: list[Mismatch] = field(default_factory=list)
    mismatched: int = 0  # all of them; `mismatches` keeps those of the first ten cases
    class_cases: Counter[str] = field(default_factory=Counter)
    class_entries: Counter[str] = field(default_factory=Counter)
    raw_checks: int = 0  # of reads, writes and exchanges of entries; in `checks`, too
    raw_mismatched: int = 0
    related: int = 0  # golden outcomes of 7.3 that went through the relation
    bug_revealed: int = 0


def conform(
    vectors: Iterator[Vector],
    target: str = "batched",
    kernel: str | None = None,
    report: Report | None = None,
) -> Report:
    """Run every vector and add to `report`.

    `target` takes the place of the batched side at 7.3; `kernel` leaves the
    expectations of that kernel only.
    """
    report = report or Report()
    loaded: dict[tuple[str, str], Target] = {}

    def side(name: str, arch: str) -> Target:
        if (name, arch) not in loaded:
            loaded[name, arch] = load(name, arch)
        return loaded[name, arch]

    for vector in vectors:
        report.cases += 1
        arch = vector.case.arch
        found: list[Mismatch] = []
        for name, expect in vector.expect.items():
            if kernel is not None and EXPECTATIONS[name] != kernel:
                continue
            if name == "expect_6_12":
                found += _check_unbatched(vector, expect, side("reference", arch), report)
            else:
                found += _check_batched(
                    vector,
                    name,
                    expect,
                    side(HISTORICAL if name == "expect_7_3_bug" else target, arch),
                    report,
                )
        report.raw_mismatched += sum(m.field.startswith("raw_") for m in found)
        report.mismatched += len(found)
        if len({m.line for m in report.mismatches}) < 10:
            report.mismatches += found
    return report


def _check_batched(
    vector: Vector, name: str, expect: Expectation, target: Target, report: Report
) -> list[Mismatch]:
    """`expect_7_3` and `expect_7_3_bug`: the batched side or what takes its place."""
    case = vector.case.replace(kernel=EXPECTATIONS[name])
    found = _compare(vector, name, expect, run(case, target.function), report)
    return found + _check_relation(vector, name, case, expect, report)


def _check_unbatched(
    vector: Vector, expect: Expectation, reference: Target, report: Report
) -> list[Mismatch]:
    """`expect_6_12`: the reference, in 6.12's swap type numbers."""
    golden = tuple(int(word, 16) for word in expect.ptes)
    layout = vector.case.layout
    if vector.native_6_12:
        case = vector.case.replace(kernel="6.12")
        outcome = run(case, reference.function)
    else:
        case, entries = renumber.renumber(vector.case, layout, "6.12")
        outcome = run(case, reference.function)
        ptes = renumber.number_back(outcome.ptes, entries, layout, "6.12", "7.3")
        outcome = replace(outcome, ptes=ptes)
        golden = renumber.number_back(golden, entries, layout, "7.3", "6.12")
    found = _compare(vector, "expect_6_12", expect, outcome, report)
    judgement = _judge_golden(case, expect, golden, NONE)
    found += _check_explained(vector, "expect_6_12", judgement, report)
    if not vector.wild:
        found += _check_invariants(vector, "expect_6_12", judgement, report)
    return found


def _compare(
    vector: Vector, name: str, expect: Expectation, outcome: Outcome, report: Report
) -> list[Mismatch]:
    """Every field that the expectation gives, against `outcome`."""
    checks: list[tuple[str, object, object]] = [
        ("ptes", tuple(int(word, 16) for word in expect.ptes), outcome.ptes),
        ("flush", tuple((int(a, 16), n) for a, n in expect.flush), outcome.flushes),
        ("pages", expect.pages, outcome.pages),
        ("warns", expect.warns, ["no_vm_write"] * outcome.no_vm_write),
        ("bad_map", expect.bad_map, outcome.bad_map),
        (
            "access_time",
            tuple(int(pfn, 16) for pfn in expect.access_time),
            outcome.access_time,
        ),
    ]
    if expect.tlbi is not None:
        tlbi = tuple((int(a, 16), n, why) for a, n, why in expect.tlbi)
        checks.append(("tlbi", tlbi, outcome.invalidations))
    if TRACED and expect.batches is not None:
        checks.append(("batches", tuple(expect.batches), outcome.batches))
    if TRACED and expect.subs is not None:
        checks.append(("subs", tuple(expect.subs), outcome.commits))
    report.checks += len(checks)
    raw = [
        (what, expected, got)
        for what, expected, got in (
            ("raw_reads", expect.raw_reads, outcome.loads),
            ("raw_writes", expect.raw_writes, outcome.stores),
            ("raw_xchg", expect.raw_xchg, outcome.takes),
        )
        if TRACED and expected is not None
    ]
    report.checks += len(raw)
    report.raw_checks += len(raw)
    return [
        Mismatch(
            vector.path, vector.line, vector.id, name, what, *_shortest_difference(expected, got)
        )
        for what, expected, got in (*checks, *raw)
        if expected != got
    ]


def _shortest_difference(expected: object, got: object) -> tuple[str, str]:
    """Both values as text; of two sequences of one length only the first item that differs."""
    if isinstance(expected, tuple) and isinstance(got, tuple) and len(expected) == len(got):
        for index, (a, b) in enumerate(zip(expected, got, strict=True)):
            if a != b:
                return f"[{index}] {_text(a)}", f"[{index}] {_text(b)}"
    return _text(expected), _text(got)


def _text(value: object) -> str:
    if isinstance(value, int):
        return f"{value:#x}" if value > 9 else str(value)
    if isinstance(value, tuple):
        return "(" + ", ".join(_text(item) for item in value) + ")"
    return str(value)


def _judge_golden(
    case: Case, expect: Expectation, ptes: tuple[int, ...], batching: int
) -> Judgement:
    """The judges' verdict on a golden outcome, as if a target had produced it."""
    workspace, ours = prepare(case)
    _set_outcome(workspace.theirs, expect, ptes)
    return judge_outcome(case, "golden", workspace, ours, expect.pages, batching)


def _set_outcome(state: State, expect: Expectation, ptes: tuple[int, ...]) -> None:
    state.ptes[: len(ptes)] = np.array(ptes, np.uint64)
    rows = [(FLUSH, address, pages) for address, pages in expect.flush]
    rows += [(REASONS[why], address, pages) for address, pages, why in expect.tlbi or ()]
    for row, (kind, address, pages) in enumerate(rows):
        state.flushes[row] = (int(kind), int(address, 16), pages)
    state.counts[NR_FLUSHES] = len(rows)
    for row, pfn in enumerate(expect.access_time):
        state.stamps[row] = int(pfn, 16)
    state.counts[NR_STAMPS] = len(expect.access_time)
    state.counts[BAD_MAP] = expect.bad_map
    state.counts[NO_VM_WRITE] = len(expect.warns)


def _check_relation(
    vector: Vector, name: str, case: Case, expect: Expectation, report: Report
) -> list[Mismatch]:
    """The relation between the reference at 7.3 and the golden outcome of the batched kernel."""
    golden = tuple(int(word, 16) for word in expect.ptes)
    judgement = _judge_golden(case, expect, golden, EXACT)
    if name == "expect_7_3_bug":
        if not vector.bug_reveals:
            return []
        report.checks += 1
        if any(bits & int(classes.DIVERGENCE_BITS) for bits in judgement.found):
            report.bug_revealed += 1
            return []
        return [_mismatch(vector, name, "relation", "an unexplained entry", "none")]
    report.related += 1
    for number, c in enumerate(classes.CLASSES):
        entries = sum(bits >> number & 1 for bits in judgement.found)
        entries += judgement.found_case >> number & 1
        report.class_entries[c.name] += entries
        report.class_cases[c.name] += entries > 0
    return _check_invariants(vector, name, judgement, report) + _check_explained(
        vector, name, judgement, report
    )


def _check_explained(
    vector: Vector, name: str, judgement: Judgement, report: Report
) -> list[Mismatch]:
    """The relation leaves nothing of a golden outcome unexplained."""
    report.checks += 1
    diverges = judgement.union & int(classes.DIVERGENCE_BITS)
    if diverges:
        return [_mismatch(vector, name, "relation", "nothing", ", ".join(classes.names(diverges)))]
    return []


def _check_invariants(
    vector: Vector, name: str, judgement: Judgement, report: Report
) -> list[Mismatch]:
    report.checks += 1
    rung = judgement.union & int(classes.INVARIANT_BITS)
    if rung:
        return [_mismatch(vector, name, "invariants", "none", ", ".join(classes.names(rung)))]
    return []


def _mismatch(vector: Vector, name: str, what: str, expected: str, got: str) -> Mismatch:
    return Mismatch(vector.path, vector.line, vector.id, name, what, expected, got)
