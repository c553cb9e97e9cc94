"""The one renderer of cases and differences: from records to lines of styled text.

A line is a list of (text, style) pairs; `fuzz.terminal` prints them with or
without colour. `plain` joins them, for files and tests.
"""

from collections.abc import Iterable, Sequence

from mm import flags

from . import anatomy, classes
from .case import Case, folio_of, layout_of
from .cells import cell
from .differences import CASE, Difference, differences
from .pagetext import folio_name
from .run import Judgement, Outcome

Line = list[tuple[str, str]]

MAX_COLUMNS = 12
# The same where blocks are drawn: a row begins with a block, or in its middle.
BLOCK_COLUMNS = 8
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
    if case.config.soft_dirty and not vm & int(flags.VM_SOFTDIRTY):
        words.append("soft-dirty-tracked")
    call = [name.lower() for name, bit in flags.CP_FLAGS.items() if case.call.cp_flags & int(bit)]
    verb = (
        " ".join(call)
        if call and call[0] != "try_change_writable"
        else " ".join(["mprotect", *call])
    )
    return (
        f"{_machine(case)}, kernel {case.kernel}, {' '.join(words)} vma, {verb}, "
        f"newprot {case.call.newprot:#x}, range [{case.call.start}, {case.call.end})"
    )


def _machine(case: Case) -> str:
    """The architecture, with what makes its flushes or its pages other than they are by default."""
    config = case.config
    words = [case.arch]
    if config.page_shift != layout_of(case.arch).page_shift:
        words.append(f"{(1 << config.page_shift) >> 10}K pages")
    if config.hash_mmu:
        words.append("hash MMU")
    if config.bbml3:
        words.append("BBML3")
    if config.coprocessors and not config.isa_31:
        words.append("coprocessors")
    return " ".join(words)


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
    """The PFN of a present entry, None for any other."""
    if not anatomy.is_present(case.layout, word):
        return None
    return anatomy.pfn_of(case.layout, word)


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


def implicit(case: Case, outcome: Outcome) -> str:
    """The invalidations that were sent at once: `unfold {0..15} fold {16..31}`, by kind and in order."""
    by_kind: dict[str, list[str]] = {}
    for address, pages, kind in outcome.invalidations:
        first = (address - case.table_addr) >> case.config.page_shift
        if first >= 0 and first + pages <= len(case.ptes):
            text = spans(range(first, first + pages))[1:-1]
        else:
            text = f"{address:#x} x {pages}"
        by_kind.setdefault(kind, []).append(text)
    return " ".join(f"{kind} {{{','.join(texts)}}}" for kind, texts in by_kind.items()) or "none"


def _flush_lines(judgement: Judgement, target: str, columns: Sequence[int]) -> list[Line]:
    """What both sides flush of the entries in `columns`, and what they invalidated at once."""
    case, ours, theirs = judgement.case, judgement.ours, judgement.theirs
    drawn = set(columns)
    of_these = "" if len(columns) == len(case.ptes) else " (of the entries drawn)"
    reference = spans(pages_flushed(case, ours) & drawn)
    flushed = spans(pages_flushed(case, theirs) & drawn)
    lines: list[Line] = [[(f"    flush{of_these}: reference {reference}, {target} {flushed}", "")]]
    if ours.invalidations or theirs.invalidations:
        text = f"reference {implicit(case, ours)}, {target} {implicit(case, theirs)}"
        lines.append([(f"    tlbi: {text}", "")])
    return lines


def table(
    case: Case,
    columns: Sequence[int],
    rows: Sequence[tuple[str, Sequence[int]]],
    marks: frozenset[int] = frozenset(),
) -> list[Line]:
    """A drawing of the entries in `columns`: where they map, and each of `rows` of words."""
    heads: list[tuple[str, list[str]]] = [("pte", [str(c) for c in columns])]
    if case.layout.block > 1:
        heads.append(("block", _blocks(case.layout.block, columns)))
    heads.append(("page", [page_name(case, case.ptes[c]) for c in columns]))
    heads.append(("exclusive", [exclusive_mark(case, case.ptes[c]) for c in columns]))
    cells = [(name, [cell(case, words[c]) for c in columns]) for name, words in rows]
    name_width = max([9, *(len(name) for name, _ in rows)]) + 2
    width = max([6, *(len(text) for _, texts in (*heads, *cells) for text in texts)]) + 1

    def line(name: str, texts: Sequence[str], style: str = "") -> Line:
        first = f"    {name:<{name_width}}"
        return [(first, "dim"), *((f"{text:<{width}}", style) for text in texts)]

    lines = [line(name, texts, "bold" if name == "pte" else "") for name, texts in heads]
    for name, texts in cells:
        drawn = line(name, texts)
        for at, column in enumerate(columns):
            if column in marks and name == "target":
                drawn[at + 1] = (drawn[at + 1][0], "bold red")
        lines.append(drawn)
    if marks:
        lines.append(line("", ["^" if c in marks else "" for c in columns], "red"))
    return lines


def _blocks(size: int, columns: Sequence[int]) -> list[str]:
    """`B1` where a block of `size` entries begins, `B1+5` where the first one drawn is inside it."""
    texts = []
    last = -1
    for column in columns:
        block, inside = divmod(column, size)
        new = block != last
        texts.append((f"B{block}+{inside}" if inside else f"B{block}") if new else "")
        last = block
    return texts


def _rows(judgement: Judgement, columns: Sequence[int]) -> list[tuple[str, Sequence[int]]]:
    """The words to draw; the merged ones only if an entry in `columns` becomes another by merging."""
    ours = judgement.ours.ptes
    merged = [judgement.result[i] if judgement.changed[i] else word for i, word in enumerate(ours)]
    # One entry alone cannot be folded, so no merged word is.
    folded = sum(int(f.mask) for f in judgement.case.layout.fields if f.name == "cont")
    rows: list[tuple[str, Sequence[int]]] = [("before", judgement.case.ptes), ("reference", ours)]
    if any((merged[c] ^ ours[c]) & ~folded for c in columns):
        rows.append(("merged", merged))
    return [*rows, ("target", judgement.theirs.ptes)]


def finding(judgement: Judgement, denied: int = 0) -> list[Line]:
    """The screen of a divergence: clipped to the differing entries and their batch."""
    case = judgement.case
    mask = int(classes.RED_BITS) | denied
    found = list(differences(judgement, mask))
    marked = frozenset(d.pte for d in found if d.pte != CASE)
    columns = _columns(judgement, marked)
    lines: list[Line] = [[(header(case), "bold")], []]
    lines += table(case, columns, _rows(judgement, columns), marked)
    lines += _details(judgement, found)
    lines += _how(judgement)
    return lines + _flush_lines(judgement, "target", columns)


def _how(judgement: Judgement) -> list[Line]:
    """How a run ended that did not come back."""
    return [[(f"        {text}", "dim")] for text in judgement.how]


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
    """A whole case with both outcomes, in rows of as many entries as fit."""
    case = judgement.case
    step = MAX_COLUMNS if case.layout.block == 1 else BLOCK_COLUMNS
    every = range(len(case.ptes))
    # All tables have the same rows, so that one reads on from one to the next.
    rows = _rows(judgement, every)
    lines: list[Line] = [[(header(case), "bold")], []]
    for start in range(0, len(case.ptes), step):
        lines += table(case, every[start : start + step], rows)
        lines.append([])
    lines += _flush_lines(judgement, judgement.target, every)
    named = classes.names(judgement.union)
    lines.append([(f"    classes: {', '.join(named) if named else 'none'}", "")])
    return lines + _how(judgement)
