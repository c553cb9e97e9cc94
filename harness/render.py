"""The one renderer of cases and differences: from records to lines of styled text.

A line is a list of (text, style) pairs; `fuzz.terminal` prints them with or
without colour. `plain` joins them, for files and tests.
"""

from collections.abc import Iterable, Sequence

from mm import flags
from mm.version import VERSIONS

from . import classes
from .case import LAYOUTS, Case
from .differences import CASE, Difference, differences
from .pagetext import folio_name, folio_of
from .run import Judgement, Outcome

Line = list[tuple[str, str]]

MAX_COLUMNS = 12
# The classes of one entry are listed up to this many lines.
MAX_DETAILS = 12


def plain(lines: Iterable[Line]) -> str:
    """The text of `lines` without styles."""
    return "\n".join("".join(text for text, _ in line).rstrip() for line in lines) + "\n"


def header(case: Case) -> str:
    """One line that says what is called on what."""
    vm = case.vma.flags
    words = [
        "shared" if vm & int(flags.VM_SHARED) else "private",
        "anon" if case.vma.anon else "file",
    ]
    rights = "".join(
        letter if vm & int(bit) else "-"
        for letter, bit in (
            ("r", flags.VM_READ),
            ("w", flags.VM_WRITE),
            ("x", flags.VM_EXEC),
        )
    )
    words.append(rights)
    words += [
        name.lower()
        for name in ("PFNMAP", "MIXEDMAP", "UFFD_WP", "UFFD_RWP")
        if vm & int(flags.VM_FLAGS[name])
    ]
    if not vm & int(flags.VM_SOFTDIRTY):
        words.append("soft-dirty-tracked")
    call = [name.lower() for name, bit in flags.CP_FLAGS.items() if case.call.cp_flags & int(bit)]
    verb = (
        " ".join(call)
        if call and call[0] != "try_change_writable"
        else " ".join(["mprotect", *call])
    )
    return (
        f"{case.arch}, kernel {case.kernel}, {' '.join(words)} vma, {verb}, "
        f"newprot {case.call.newprot:#x}, range [{case.call.start}, {case.call.end})"
    )


def cell(case: Case, word: int) -> str:
    """An entry in a few letters: r w x? a d s u, or what else it is."""
    return _CELLS[case.arch](case, word)


def _x86_64_cell(case: Case, word: int) -> str:
    named = {f.name: int(f.mask) for f in LAYOUTS[case.arch].fields}
    if word & (named["present"] | named["global"]):
        letters = (
            ("r" if word & named["present"] else "n"),
            ("w" if word & named["write"] else "-"),
            ("a" if word & named["accessed"] else "-"),
            ("d" if word & (named["dirty"] | named["saved_dirty"]) else "-"),
            ("s" if word & named["soft_dirty"] else "-"),
            ("u" if word & named["uffd"] else "-"),
        )
        return "".join(letters)
    if not word & ~(named["accessed"] | named["dirty"]):
        return "none"
    types = VERSIONS[case.kernel].swap_types
    kind = word >> 59
    offset = ~word >> 9 & (1 << 50) - 1
    if kind == types.marker:
        return {1: "m:wp", 2: "m:psn", 4: "m:grd"}.get(offset, "m:?")
    names = {
        types.hwpoison: "hwpsn",
        types.migration_read: "mig:r",
        types.migration_read_exclusive: "mig:rx",
        types.migration_write: "mig:w",
        types.device_write: "dev:w",
        types.device_read: "dev:r",
        types.device_exclusive: "dev:x",
        types.device_exclusive_write: "dev:xw",
    }
    return names.get(kind, "swap")


_CELLS = {"x86_64": _x86_64_cell}


def page_name(case: Case, word: int) -> str:
    """The page behind an entry: `A+1` by folio, else its PFN; empty for one without a page."""
    pfn = pfn_of(case, word)
    if pfn is None:
        return ""
    row = folio_of(case.folios, pfn)
    if row is None:
        return "zero" if pfn == case.config.zero_pfn else f"{pfn:#x}"
    return f"{folio_name(row)}+{pfn - case.folios[row].pfn}"


def pfn_of(case: Case, word: int) -> int | None:
    """The PFN of a present entry as it is drawn, None for any other."""
    layout = LAYOUTS[case.arch]
    named = {f.name: int(f.mask) for f in layout.fields}
    if not word & (named["present"] | named["global"]):
        return None
    inverted = layout.pfn_inverted and not word & named["present"]
    return ((~word if inverted else word) & int(layout.pfn_mask)) >> 12


def exclusive_mark(case: Case, word: int) -> str:
    """`x` for an anon-exclusive page, `.` for another page, empty without one."""
    pfn = pfn_of(case, word)
    if pfn is None:
        return ""
    row = folio_of(case.folios, pfn)
    if row is None:
        return "."
    return "x" if case.folios[row].exclusive >> (pfn - case.folios[row].pfn) & 1 else "."


def pages_flushed(case: Case, outcome: Outcome) -> set[int]:
    """The entries that the flush requests of `outcome` cover."""
    covered: set[int] = set()
    for address, pages in outcome.flushes:
        first = (address - case.table_addr) >> case.config.page_shift
        covered.update(range(max(first, 0), min(first + pages, len(case.ptes))))
    return covered


def spans(numbers: Iterable[int]) -> str:
    """`{1,3..5}` for a set of numbers."""
    parts: list[str] = []
    ordered = sorted(numbers)
    start = 0
    for at in range(1, len(ordered) + 1):
        if at == len(ordered) or ordered[at] != ordered[at - 1] + 1:
            low, high = ordered[start], ordered[at - 1]
            parts.append(str(low) if low == high else f"{low}..{high}")
            start = at
    return "{" + ",".join(parts) + "}"


def table(
    case: Case,
    columns: Sequence[int],
    rows: Sequence[tuple[str, Sequence[int]]],
    marks: frozenset[int] = frozenset(),
) -> list[Line]:
    """A drawing of the entries in `columns`: where they map, and each of `rows` of words."""
    name_width = max([9, *(len(name) for name, _ in rows)]) + 2
    names = [page_name(case, case.ptes[c]) for c in columns]
    width = max([7, *(len(name) + 1 for name in names)])

    def line(name: str, texts: Sequence[str], style: str = "") -> Line:
        first = f"    {name:<{name_width}}"
        return [(first, "dim"), *((f"{text:<{width}}", style) for text in texts)]

    lines = [
        line("pte", [str(c) for c in columns], "bold"),
        line("page", names),
        line("exclusive", [exclusive_mark(case, case.ptes[c]) for c in columns]),
    ]
    for name, words in rows:
        drawn = line(name, [cell(case, words[c]) for c in columns])
        for at, column in enumerate(columns):
            if column in marks and name == "target":
                drawn[at + 1] = (drawn[at + 1][0], "bold red")
        lines.append(drawn)
    if marks:
        lines.append(line("", ["^" if c in marks else "" for c in columns], "red"))
    return lines


def finding(judgement: Judgement, denied: int = 0) -> list[Line]:
    """The screen of a divergence: clipped to the differing entries and their batch."""
    case = judgement.case
    mask = int(classes.RED_BITS) | denied
    found = list(differences(judgement, mask))
    marked = frozenset(d.pte for d in found if d.pte != CASE)
    columns = _columns(judgement, marked)
    merged = [
        judgement.result[i] if judgement.changed[i] else word
        for i, word in enumerate(judgement.ours.ptes)
    ]
    rows: list[tuple[str, Sequence[int]]] = [
        ("before", case.ptes),
        ("reference", judgement.ours.ptes),
    ]
    if any(merged[c] != judgement.ours.ptes[c] for c in columns):
        rows.append(("merged", merged))
    rows.append(("target", judgement.theirs.ptes))
    lines: list[Line] = [[(header(case), "bold")], []]
    lines += table(case, columns, rows, marked)
    lines += _details(judgement, found)
    drawn = set(columns)
    ours = spans(pages_flushed(case, judgement.ours) & drawn)
    theirs = spans(pages_flushed(case, judgement.theirs) & drawn)
    of_these = "" if len(columns) == len(case.ptes) else " (of the entries drawn)"
    lines.append([(f"    flush{of_these}: reference {ours}, target {theirs}", "")])
    return lines


def _columns(judgement: Judgement, marked: frozenset[int]) -> list[int]:
    """The entries to draw: the marked ones, then their batches, as many as fit."""
    wanted = sorted(marked)[:MAX_COLUMNS]
    if not wanted:
        start, end = judgement.case.call.start, judgement.case.call.end
        return list(range(start, min(end, start + MAX_COLUMNS)))
    shown = set(wanted)
    for index in wanted:
        first = judgement.first[index]
        batch = [i for i, f in enumerate(judgement.first) if f == first and first >= 0]
        near = sorted(batch, key=lambda i: abs(i - index))
        for i in near:
            if len(shown) >= MAX_COLUMNS:
                break
            shown.add(i)
    # One neighbour to the left shows where the batch begins.
    if len(shown) < MAX_COLUMNS and min(shown) > 0:
        shown.add(min(shown) - 1)
    return sorted(shown)


def _details(judgement: Judgement, found: list[Difference]) -> list[Line]:
    lines: list[Line] = []
    entries = sorted({d.pte for d in found if d.pte != CASE})
    for index in entries[:MAX_DETAILS]:
        here = [d for d in found if d.pte == index]
        first = here[0]
        where = page_name(judgement.case, first.before)
        invariants = [
            d.name.removeprefix("invariant-") for d in here if d.kind == classes.INVARIANT
        ]
        names = ", ".join(d.name for d in here if d.kind != classes.INVARIANT)
        verdict = "DENIED" if first.kind == classes.EXPLAINED else "UNEXPLAINED"
        if not names:
            verdict, names = "INVARIANT", ", ".join(invariants)
        text = f"pte {index}" + (f" ({where})" if where else "") + f": {first.means}"
        also = (
            f"   (also invariant {', '.join(invariants)})"
            if invariants and verdict != "INVARIANT"
            else ""
        )
        lines.append([(f"    {text:<66}  ", ""), (f"{verdict}  {names}", "red"), (also, "dim")])
        merged = f", merged {first.merged:#x}" if first.merged != first.reference else ""
        words = (
            f"{first.before:#x} -> reference {first.reference:#x}{merged}, target {first.target:#x}"
        )
        lines.append([(f"        {words}", "dim")])
    if len(entries) > MAX_DETAILS:
        lines.append([(f"    ... and {len(entries) - MAX_DETAILS} more entries", "")])
    for d in found:
        if d.pte == CASE:
            text = d.means + _numbers(judgement, d.name)
            lines.append([(f"    {text:<66}  ", ""), (f"{_verdict(d)}  {d.name}", "red")])
    return lines


def _verdict(difference: Difference) -> str:
    return "INVARIANT" if difference.kind == classes.INVARIANT else "UNEXPLAINED"


def _numbers(judgement: Judgement, name: str) -> str:
    """The two numbers that a case-wide difference is about."""
    ours, theirs = judgement.ours, judgement.theirs
    if name == "pages-wrong":
        return f": reference {ours.pages}, target {theirs.pages}"
    if name == "bad-map-wrong":
        return f": reference {ours.bad_map}, target {theirs.bad_map}"
    if name == "flush-outside":
        requests = ", ".join(f"{address:#x} x {pages}" for address, pages in theirs.flushes[:4])
        return f": {requests}"
    return ""


def layout(judgement: Judgement) -> list[Line]:
    """A whole case with both outcomes, in rows of MAX_COLUMNS entries."""
    case = judgement.case
    lines: list[Line] = [[(header(case), "bold")], []]
    rows: list[tuple[str, Sequence[int]]] = [
        ("before", case.ptes),
        ("reference", judgement.ours.ptes),
        ("target", judgement.theirs.ptes),
    ]
    for start in range(0, len(case.ptes), MAX_COLUMNS):
        columns = list(range(start, min(start + MAX_COLUMNS, len(case.ptes))))
        lines += table(case, columns, rows)
        lines.append([])
    ours = spans(pages_flushed(case, judgement.ours))
    theirs = spans(pages_flushed(case, judgement.theirs))
    lines.append([(f"    flush: reference {ours}, {judgement.target} {theirs}", "")])
    named = classes.names(judgement.union)
    lines.append([(f"    classes: {', '.join(named) if named else 'none'}", "")])
    return lines
