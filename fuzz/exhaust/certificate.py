"""The certificate of an exhaustive run: what was enumerated, and what it came to.

It holds nothing that depends on the number of jobs, on their order or on the clock,
so two runs of one scope from the same sources write the same bytes.
"""

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from harness import classes

from .alphabet import NOT_VARIED, Call, EntryState, alphabet_of
from .scope import Scope, Sums
from .symmetries import (
    CALL_SYMMETRIES,
    STATE_SYMMETRIES,
    raw_calls,
    raw_states,
)

VERSION = 1


def described(scope: Scope, target: str, batching: str, sources: str) -> dict[str, Any]:
    """The scope as JSON: two runs with equal ones enumerate and judge the same cases."""
    return {
        "arch": scope.arch,
        "kernel": scope.kernel,
        "target": target,
        "batching": batching,
        "entries": scope.k,
        "alphabet": "raw" if scope.raw else "canonical",
        "flags": list(scope.asks),
        "cases": scope.total,
        "sources": sources,
    }


def left_out(scope: Scope) -> list[tuple[str, int]]:
    """Name of each symmetry, in the order of application, and how many cases it leaves out."""
    calls = [call for call in raw_calls(scope.arch) if call.ask in scope.asks]
    states = {call: raw_states(call) for call in calls}
    before, found = _size(states, scope.k), []
    for call_symmetry in CALL_SYMMETRIES:
        states = {call_symmetry(call): known for call, known in states.items()}
        found.append((_name(call_symmetry), before - _size(states, scope.k)))
        before = _size(states, scope.k)
    for symmetry in STATE_SYMMETRIES:
        states = {
            call: list(dict.fromkeys(symmetry(call, state) for state in known))
            for call, known in states.items()
        }
        found.append((_name(symmetry), before - _size(states, scope.k)))
        before = _size(states, scope.k)
    return found


def _size(states: dict[Call, list[EntryState]], k: int) -> int:
    return sum(int(len(known) ** k) for known in states.values())


def _name(function: Callable[..., Any]) -> str:
    return function.__name__.replace("_", "-")


def certificate(
    scope: Scope, about: dict[str, Any], sums: Sums, red: int, findings: list[dict[str, Any]]
) -> dict[str, Any]:
    """The certificate as JSON. `red`: the classes that count as unexplained."""
    by_class: dict[str, dict[str, int]] = {}
    for union, (cases, raw_cases) in sums.verdicts.items():
        for name in classes.names(union):
            known = by_class.setdefault(name, {"cases": 0, "raw_cases": 0})
            known["cases"] += cases
            known["raw_cases"] += raw_cases
    whole = replace(scope, raw=True)
    return {
        "certificate": VERSION,
        "scope": about,
        "complete": sums.cases == scope.total,
        "executed": sums.cases,
        "stands_for": whole.total,
        "left_out": {} if scope.raw or scope.k == 1 else dict(left_out(scope)),
        "blocks": [
            {"call": str(b.call), "entries": b.k, "states": len(b.states), "first": b.base}
            for b in scope.blocks
        ],
        "digest": f"{sums.digest:016x}",
        "classes": dict(sorted(by_class.items())),
        "verdicts": [
            {"classes": classes.names(union), "cases": cases, "raw_cases": raw_cases}
            for union, (cases, raw_cases) in sorted(sums.verdicts.items())
        ],
        "tables_unlike_the_reference": sums.differing,
        "unexplained": sum(n for union, (n, _) in sums.verdicts.items() if union & red),
        "findings": findings,
        "not_varied": [*NOT_VARIED, *alphabet_of(scope.arch).not_varied],
    }


def lines(record: dict[str, Any]) -> list[str]:
    """The certificate as text."""
    about = record["scope"]
    kept = [b for b in record["blocks"] if b["entries"] == about["entries"]]
    states = sorted({block["states"] for block in kept})
    text = [
        f"certificate of midfolio exhaust, {'complete' if record['complete'] else 'INCOMPLETE'}",
        "",
        f"  target         {about['target']} on {about['arch']}, kernel {about['kernel']}, "
        f"batching {about['batching']}",
        f"  entries        {about['entries']}, {about['alphabet']} alphabet: {len(kept)} calls, "
        f"{' or '.join(map(str, states))} states of an entry",
        f"  flags          {', '.join(about['flags'])}",
        f"  sources        {about['sources']}",
        f"  executed       {record['executed']} of {about['cases']} cases",
        f"  stands for     {record['stands_for']} raw cases",
        f"  digest         {record['digest']}",
        f"  unexplained    {record['unexplained']}",
        f"  tables unlike the reference's: {record['tables_unlike_the_reference']} cases",
        "",
        f"  {'classes':<28}{'cases':>16}{'raw cases':>16}",
        *(
            f"    {name:<26}{count['cases']:>16}{count['raw_cases']:>16}"
            for name, count in record["classes"].items()
        ),
        f"    {'distinct verdicts':<26}{len(record['verdicts']):>16}",
    ]
    if record["left_out"]:
        text += ["", "  raw cases that another one stands for, by symmetry"]
        text += [f"    {name:<26}{cases:>16}" for name, cases in record["left_out"].items()]
    text += ["", "  not varied", *(f"    {what}" for what in record["not_varied"])]
    return text


def to_json(record: dict[str, Any]) -> str:
    """`record` as the text of a JSON file."""
    return json.dumps(record, indent=1) + "\n"
