"""Everything that `midfolio bench` measures, as a record, and the record as lines."""

from collections.abc import Callable, Iterator
from math import inf
from typing import Any

from . import detect, series, speed
from .native_sides import NoCompiler

JOBS_CASES = 2_000_000
SEEDS = range(1, 6)


def measure(arch: str, say: Callable[[str], None]) -> dict[str, Any]:
    """All figures of `arch`; `say` is told what is being measured."""
    record: dict[str, Any] = {"arch": arch, "kernel": speed.KERNEL, "seed": speed.SEED}
    for window in speed.WINDOWS:
        say(f"phases at {window} entries")
        measured = speed.phases_of(arch, window)
        record.setdefault("phases", []).append(
            {
                "window": window,
                "cases": measured.cases,
                "in_range": measured.in_range,
                "active": measured.active,
                "ns": {s.name: s.ns for s in (*measured.phases, measured.verdict, measured.whole)},
                "cases_per_second": measured.whole.cases_per_second,
            }
        )
    say("against C")
    try:
        record["loops_ns"] = speed.against_c(arch, 64)
        with_c = True
    except NoCompiler as error:
        record["no_c"] = str(error)
        with_c = False
    say("interpreted")
    record["interpreted_ns"] = speed.interpreted(arch, 64)
    say("one job and two")
    record["jobs"] = speed.jobs(arch, JOBS_CASES)
    say("the series' benchmark")
    record["series"] = [
        {
            "memory": row.memory,
            "means": row.means,
            "sides": {n: s._asdict() for n, s in row.sides.items()},
        }
        for row in series.rows(arch, with_c=with_c)
    ]
    say("the historical bug")
    found = detect.detection(arch)
    record["detection"] = {**found._asdict(), "after_imports": found.after_imports}
    say("the historical bug, by engine")
    record["time_to_bug"] = times(detect.by_engine(arch, SEEDS))
    return record


def times(by_engine: dict[str, detect.ToBug | str]) -> dict[str, dict[str, Any]]:
    """The times as plain data: null for what never came, since JSON has no infinity."""
    return {
        name: {"missing": took}
        if isinstance(took, str)
        else {key: None if value == inf else value for key, value in took._asdict().items()}
        for name, took in by_engine.items()
    }


def lines(record: dict[str, Any]) -> Iterator[str]:
    """The record, drawn."""
    yield f"{record['arch']}, kernel {record['kernel']}, seed {record['seed']}; CPU time, medians, back to back"
    yield ""
    yield from _phase_lines(record["phases"])
    at_64 = next(p for p in record["phases"] if p["window"] == 64)
    yield ""
    yield "  generate, both sides, relation, invariants, at 64 entries"
    for name, ns in record.get("loops_ns", {"compiled Python": at_64["ns"]["verdict"]}).items():
        yield _loop_line(name, ns, record)
    if "no_c" in record:
        yield f"    in C: not measured: {record['no_c']}"
    yield _loop_line("interpreted", record["interpreted_ns"], record)
    one, two = record["jobs"][1], record["jobs"][2]
    yield ""
    yield f"  whole campaigns: {one:,.0f} cases/s with one job, {two:,.0f} with two ({two / one:.2f}x)"
    yield ""
    yield from _series_lines(record["series"])
    d = record["detection"]
    yield ""
    yield (
        f"  the historical bug: found by a whole process in {d['found']:.2f} s of CPU time, "
        f"{d['after_imports']:.2f} s after imports"
    )
    yield ""
    yield f"  and by engine, seconds of a campaign until it shows the bug, {len(SEEDS)} seeds"
    yield from engine_lines(record["time_to_bug"])


def engine_lines(by_engine: dict[str, dict[str, Any]]) -> Iterator[str]:
    """What each engine took: the median, and from the fastest to the slowest campaign."""
    for name, took in by_engine.items():
        if "missing" in took:
            yield f"    {name:<29}NOT MEASURED: {took['missing']}"
            continue
        lost = (
            f"; {took['missed']} of {took['seeds']} missed it within {detect.BUDGETS[name]:,} cases"
        )
        yield (
            f"    {name:<29}{_seconds(took['seconds']):>10}   "
            f"[{_seconds(took['least'])}, {_seconds(took['most'])}]"
            + (lost if took["missed"] else "")
        )


def _seconds(value: float | None) -> str:
    return "never" if value is None else f"{value:.2f}"


def _phase_lines(phases: list[dict[str, Any]]) -> Iterator[str]:
    yield "  ns for each entry of the window" + "".join(f"{p['window']:>10}" for p in phases)
    names = [name for name in phases[0]["ns"] if name not in ("verdict", "whole")]
    for name in names:
        yield f"    {name:<29}" + "".join(f"{p['ns'][name]:>10.1f}" for p in phases)
    yield "    up to the verdict            " + "".join(
        f"{p['ns']['verdict']:>10.1f}" for p in phases
    )
    yield "    with the counters            " + "".join(
        f"{p['ns']['whole']:>10.1f}" for p in phases
    )
    rows: tuple[tuple[str, Callable[[dict[str, Any]], str]], ...] = (
        ("million entries/s, to verdict", lambda p: f"{1e3 / p['ns']['verdict']:.1f}"),
        ("cases/s, with the counters", lambda p: f"{p['cases_per_second']:,.0f}"),
        ("entries in the range", lambda p: f"{100 * p['in_range']:.0f} %"),
        ("of them changed or flushed", lambda p: f"{100 * p['active']:.0f} %"),
        ("of the window", lambda p: f"{100 * p['in_range'] * p['active']:.0f} %"),
    )
    for name, text in rows:
        yield f"  {name:<31}" + "".join(f"{text(p):>10}" for p in phases)


def _loop_line(name: str, ns: float, record: dict[str, Any]) -> str:
    own = record.get("loops_ns", {}).get("compiled Python", ns)
    return f"    {name:<29}{ns:>10.1f} ns{ns / own:>10.2f} x compiled Python"


def _series_lines(rows: list[dict[str, Any]]) -> Iterator[str]:
    yield "  1 GiB made read-only and writable again: ns for each entry and call (seconds for all)"
    for row in rows:
        yield f"    {row['memory']}, {row['means']}"
        reference = row["sides"]["reference"]["ns"]
        for name, side in row["sides"].items():
            yield (
                f"      {name:<27}{side['ns']:>10.2f}  ({side['seconds']:.4f} s)"
                f"{reference / side['ns']:>8.2f} x as fast as the reference"
            )
