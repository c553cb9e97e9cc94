"""The C program of one or more cases: `program/*.c`, one after the other, with the marks filled in."""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from ..case import Case
from ..casefile import Expect, case_line, format_case
from .plan import Plan, plan_of
from .scope import is_registered
from .sight import HOLE, expected_of, remains_of, stops_of, told_apart

# In the order in which C wants them.
PARTS = ("top", "settings", "memory", "uffd", "build", "main")
RIGHTS = ((1, "PROT_READ"), (2, "PROT_WRITE"), (4, "PROT_EXEC"))


class Layout(NamedTuple):
    """A case as a program has it."""

    name: str
    text: str  # its entry in the table
    # (target, what a kernel like it shows; None: the same) for each mutant that the case names.
    apart: tuple[tuple[str, str | None], ...]
    page_size: int


def layout_of(
    case: Case, name: str, comments: tuple[str, ...] = (), expect: tuple[Expect, ...] = ()
) -> Layout:
    """The entry of `case`, called `name`; CaseError if it cannot be built."""
    plan = plan_of(case)
    expected = expected_of(case, plan)
    mutants = sorted({e.target for e in expect if e.divergence and e.target.startswith("zoo:")})
    apart = tuple((target, told_apart(case, plan, expected, target)) for target in mutants)
    lines = [*_comment(case, name, comments, plan, apart), *_entry(case, name, plan, expected)]
    text = "".join(f"\t{line}".rstrip() + "\n" for line in lines)
    return Layout(name, text, apart, 1 << case.config.page_shift)


def program(layouts: Sequence[Layout]) -> str:
    """The program of `layouts`, one at least, which share a size of pages."""
    parts = [(Path(__file__).parent / "program" / f"{part}.c").read_text() for part in PARTS]
    if len(layouts) == 1:
        head = f"Case {layouts[0].name}, exported by midfolio."
    else:
        head = f"{len(layouts)} cases, exported by midfolio."
    marks = {
        "HEAD": f" * {_harmless(head)}",
        "PAGE": str(layouts[0].page_size),
        "LAYOUTS": "".join(layout.text for layout in layouts),
    }
    return re.sub(r"@([A-Z]+)@", lambda mark: marks[mark[1]], "".join(parts))


def _harmless(line: str) -> str:
    """`line` as it may stand in a comment: a name may hold anything."""
    plain = line.encode("ascii", "backslashreplace").decode()
    return re.sub(r"[\x00-\x1f\x7f]", "?", plain).replace("*/", "* /").replace("/*", "/ *")


def _comment(
    case: Case,
    name: str,
    comments: tuple[str, ...],
    plan: Plan,
    apart: tuple[tuple[str, str | None], ...],
) -> Iterator[str]:
    yield "/*"
    lines = [name, "", *format_case(case, comments=comments).splitlines(), ""]
    lines += [f"Replay: midfolio replay {case_line(case)}", "", "Not exactly as in the case:"]
    lines += [f"  {note}" for note in plan.notes]
    if apart:
        lines.append("")
    for target, shows in apart:
        if shows is None:
            lines.append(f"A kernel like {target} leaves no entry that shows here.")
        else:
            lines.append(f"A kernel like {target} fails: {shows}.")
    yield from (f" * {_harmless(line)}".rstrip() for line in lines)
    yield " */"


def _entry(case: Case, name: str, plan: Plan, expected: str) -> Iterator[str]:
    larges = "".join(f"{{ {large.first}, {large.pages} }}, " for large in plan.larges)
    yield "{"
    yield f"\t.name = {_string(name)},"
    yield f"\t.backing = {plan.backing},"
    yield f"\t.places = {plan.places},"
    yield f"\t.start = {plan.start}, .end = {plan.end},"
    yield f"\t.before = {_prot(plan.before)}, .after = {_prot(plan.after)},"
    yield f"\t.call = {plan.call},"
    if is_registered(case):
        yield f"\t.uffd = 1, .unpopulated = {int(case.vma.uffd_wp_unpopulated)},"
    yield f"\t.larges = (const struct folio[]){{ {larges}{{ 0, 0 }} }},"
    rows = {
        "pages": _pages(plan),
        "exclusive": _row(plan, plan.exclusive, "x"),
        "clean": _row(plan, plan.clean, "c"),
        "stops": stops_of(case, plan),
        "remains": remains_of(case, plan),
        "expected": expected,
    }
    for row, letters in rows.items():
        yield f'\t.{row:<9} = "{_without_trigraphs(letters)}",'
    yield "},"


def _without_trigraphs(letters: str) -> str:
    return letters.replace("??", "?\\?").replace("??", "?\\?")


def _string(name: str) -> str:
    """A C string of one line of printable ASCII; `#` would begin a directive of TAP."""
    return '"' + re.sub(r'[\\"?#]', "_", _harmless(name)) + '"'


def _pages(plan: Plan) -> str:
    row = ["l"] * plan.places
    for letter, places in (
        ("s", plan.smalls),
        ("z", plan.zeros),
        ("a", plan.copies),
        (HOLE, plan.holes),
    ):
        for place in places:
            row[place] = letter
    return "".join(row)


def _row(plan: Plan, places: frozenset[int], letter: str) -> str:
    return "".join(letter if place in places else HOLE for place in range(plan.places))


def _prot(rights: int) -> str:
    return " | ".join(name for bit, name in RIGHTS if rights & bit) or "PROT_NONE"
