"""What the campaigns of a work directory came to, as lines and as records."""

from collections import defaultdict
from typing import Any

from harness.classes import CLASSES, EXPLAINED
from mm.jit import sources_hash

from .counts import CASES, CLASS_CASES, CLASS_ENTRIES, DIVERGING, ENTRIES, TOTAL
from .lock import moment
from .store import Past

_ORDER = {known.name: number for number, known in enumerate(CLASSES)}
_EXPLAINED = {known.name for known in CLASSES if known.kind == EXPLAINED}


def is_current(past: Past) -> bool:
    """Whether the campaign is of the sources that are there now."""
    return past.key.content.split("+")[0] == sources_hash()


def _counts(past: Past, what: str) -> dict[str, int]:
    """The counts of one sort, classes in their order."""
    found = {name: count for kind, name, count in past.counts if kind == what}
    return dict(sorted(found.items(), key=lambda item: _ORDER.get(item[0], len(_ORDER))))


def record(past: Past) -> dict[str, Any]:
    """One campaign as plain data."""
    entries = _counts(past, CLASS_ENTRIES)
    totals = _counts(past, TOTAL)
    return {
        **past.key._asdict(),
        "current": is_current(past),
        "started": past.started,
        "updated": past.updated,
        "seconds": round(past.seconds, 3),
        "first_finding_seconds": past.first_finding,
        "cases": totals.get(CASES, 0),
        "entries": totals.get(ENTRIES, 0),
        "done": [list(bounds) for bounds in past.cases_done],
        "classes": {
            name: {"cases": count, "entries": entries.get(name, 0)}
            for name, count in _counts(past, CLASS_CASES).items()
        },
        "diverging": _counts(past, DIVERGING),
        "flaky": past.flaky,
        "findings": [
            {"class": kept.name, "file": str(kept.path), "number": kept.number}
            for kept in past.findings
        ],
        "corpus": past.entries,
    }


def lines(past: Past, *, quiet: bool) -> list[str]:
    """One campaign as text; `quiet` leaves out what is explained."""
    key, known = past.key, record(past)
    about = f"{key.arch}, kernel {key.kernel}, target {key.target}, seed {key.seed}, {key.engine}"
    if key.batching != "exact":
        about += f", batching {key.batching}"
    if key.denied:
        about += f", denied {key.denied}"
    if not known["current"]:
        about += " (other sources)"
    done = ", ".join(f"[{first}, {last})" for first, last in past.cases_done) or "none"
    text = [
        about,
        f"  cases      {known['cases']:>16,}   in {past.seconds:.1f} s; last {moment(past.updated)}",
        f"  done       {done}",
    ]
    if past.entries:
        text.append(f"  corpus     {past.entries:>16,}")
    if past.flaky:
        text.append(f"  flaky      {len(past.flaky):>16,}   {past.flaky[0]}")
    shown = {n: c for n, c in known["classes"].items() if not (quiet and n in _EXPLAINED)}
    if shown:
        text.append(f"  {'classes':<28}{'cases':>16}{'entries':>20}")
    text += [f"    {n:<26}{c['cases']:>16,}{c['entries']:>20,}" for n, c in shown.items()]
    files = defaultdict(list)
    for kept in past.findings:
        files[kept.name].append(str(kept.path))
    if known["diverging"]:
        text.append("  diverging cases by their first class, and the findings that were written")
    for name, count in known["diverging"].items():
        text.append(f"    {name:<26}{count:>16,}")
        text += [f"      {file}" for file in files.pop(name, [])]
    return text
