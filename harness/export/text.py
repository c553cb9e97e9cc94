"""The C program of a plan: `program.c` with its marks filled in."""

import re
from collections.abc import Iterable
from pathlib import Path

from ..case import Case
from ..casefile import case_line, format_case
from .plan import Plan, plan_of

TEMPLATE = Path(__file__).with_name("program.c")
RIGHTS = ((1, "PROT_READ"), (2, "PROT_WRITE"), (4, "PROT_EXEC"))


def program(case: Case, name: str) -> str:
    """The program of `case`, called `name` in its head; CaseError if it cannot be built."""
    plan = plan_of(case)
    marks = {
        "HEAD": _head(case, name, plan),
        "PAGE": str(plan.page_size),
        "PLACES": str(plan.places),
        "LARGES": "".join(f"{{ {large.first}, {large.pages} }}, " for large in plan.larges),
        "LAYOUT": _layout(plan),
        "EXCLUSIVE": _row(plan, plan.exclusive, "x"),
        "CLEAN": _row(plan, plan.clean, "c"),
        # Two of them in a row could begin a trigraph.
        "EXPECTED": plan.expected.replace("?", "\\?"),
        "START": str(plan.start),
        "END": str(plan.end),
        "BEFORE": _prot(plan.before),
        "AFTER": _prot(plan.after),
    }
    return re.sub(r"@([A-Z]+)@", lambda mark: marks[mark[1]], TEMPLATE.read_text())


def _head(case: Case, name: str, plan: Plan) -> str:
    lines = [f"Case {name}, exported by midfolio.", "", *format_case(case).splitlines(), ""]
    lines += [f"Replay: midfolio replay {case_line(case)}", "", "Not exactly as in the case:"]
    lines += [f"  {note}" for note in plan.notes]
    # A name may hold anything.
    return "\n".join(f" * {line}".rstrip().replace("*/", "* /") for line in lines)


def _layout(plan: Plan) -> str:
    row = ["l"] * plan.places
    for letter, places in (("s", plan.smalls), ("z", plan.zeros), (".", plan.holes)):
        for place in places:
            row[place] = letter
    return "".join(row)


def _row(plan: Plan, places: Iterable[int], letter: str) -> str:
    chosen = set(places)
    return "".join(letter if place in chosen else "." for place in range(plan.places))


def _prot(rights: int) -> str:
    return " | ".join(name for bit, name in RIGHTS if rights & bit) or "PROT_NONE"
