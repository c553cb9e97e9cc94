"""The text form of a case, `midfolio-case 1`: what `corpus/` holds and people write by hand.

`parse_case(format_case(case)).case == case` for every case that keeps the rules
of `Case.check()`, and the text of `format_case` is canonical: equal cases have
equal text. Lines may come in any order and wording that the grammar in
`corpus/README.md` allows; whatever it does not allow is an error with file and
line, never ignored.
"""

import base64
import binascii
import hashlib
import re
import zlib
from bisect import bisect_left
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

from mm import flags
from mm.layout import Layout
from mm.version import VERSIONS, Config

from . import entrytext
from .case import ARCHES, LAYOUTS, Call, Case, CaseError, Folio, Mm, Vma, folio_of, layout_of
from .caselines import MAGIC, Lines, entries_of, facts_of, flags_of, one_of
from .pagetext import (
    Context,
    Entry,
    TextError,
    folio_name,
    format_folio,
    parse_folio,
    parse_number,
)
from .vocabulary import Vocabulary, vocabulary_of

# No case that a person or the generator makes comes near it.
MAX_BYTES = 1 << 20

DEFAULT_TABLE_ADDR = 0x7F00_0000_0000  # as `Case` has it
# Numbers that are read as bits or as page frames.
HEXADECIMAL = ("highest_memmap_pfn", "toptier_nodes", "zero_pfn")

_RANGE = re.compile(r"\[ *(\w+) *, *(\w+) *\)", re.ASCII)
_FOLIO_NAME = re.compile(r"[A-Z][A-Z0-9]*", re.ASCII)
_CLASS = re.compile(r"[A-Za-z0-9]+(?:-[A-Za-z0-9]+)*", re.ASCII)
_TARGET = re.compile(r"[!-~]+", re.ASCII)
_CASE_LINE = re.compile(r"case:([A-Za-z0-9_-]+)", re.ASCII)


@dataclass(frozen=True, slots=True, order=True)
class Expect:
    """What a case is recorded to do on a target ("" is any): a class of divergence, "" to agree."""

    target: str = ""
    divergence: str = ""


class ParsedCase(NamedTuple):
    """A case, and what its text says besides, which is no part of the case's identity."""

    case: Case
    expect: tuple[Expect, ...]
    comments: tuple[str, ...]  # of whole lines and of line ends, in order, without "#"


# Writing.


def format_case(
    case: Case, *, comments: tuple[str, ...] = (), expect: tuple[Expect, ...] = ()
) -> str:
    """The canonical text of `case`. Comments are collected at its top.

    Raises CaseError for a case that breaks a rule, and for a comment or target
    that would not read back.
    """
    broken = case.check()
    if broken:
        raise CaseError(f"cannot be written: {broken}")
    for comment in comments:
        if not (comment.isascii() and comment.isprintable()):
            raise CaseError(f"cannot be written: {comment!r} must be one line of printable ASCII")
    lines = [MAGIC, *(f"# {comment.strip()}".rstrip() for comment in comments)]
    lines += _header_lines(case)
    context = _context(case, tuple(folio_name(i) for i in range(len(case.folios))))
    lines += [
        f"folio {name}: {format_folio(folio)}"
        for name, folio in zip(context.folio_names, case.folios, strict=True)
    ]
    lines += _pte_lines(context, case.ptes)
    lines += [
        f"hardware {index}: {entrytext.format_bits(context.names, bits)}"
        for index, bits in case.hardware
    ]
    targets = [e.target for e in expect]
    for target in targets:
        if targets.count(target) > 1:
            raise CaseError(f"cannot be written: second expectation for {target or 'any target'}")
    lines += [_expect_line(e) for e in sorted(expect)]
    return "\n".join(lines) + "\n"


def _header_lines(case: Case) -> list[str]:
    lines = [f"arch: {case.arch}", f"kernel: {case.kernel}"]
    lines += _changed_line("config", case.config._asdict(), _default_config(case.layout)._asdict())
    words = ["anon" if case.vma.anon else "file"]
    if case.vma.uffd_wp_unpopulated:
        words.append("uffd_wp_unpopulated")
    words += [name for name, bit in flags.VM_FLAGS.items() if case.vma.flags & int(bit)]
    lines.append(f"vma: {' '.join(words)}")
    lines += _changed_line("mm", _mm_facts(case.mm), _mm_facts(Mm()))
    if case.table_addr != DEFAULT_TABLE_ADDR:
        lines.append(f"table_addr: {case.table_addr:#x}")
    lines.append(f"range: [{case.call.start}, {case.call.end})")
    newprot = entrytext.format_newprot(vocabulary_of(case.layout), case.call.newprot)
    lines.append(f"newprot: {newprot}")
    cp = [name for name, bit in flags.CP_FLAGS.items() if case.call.cp_flags & int(bit)]
    if cp:
        lines.append(f"cp: {' '.join(cp)}")
    return lines


def _default_config(layout: Layout) -> Config:
    """What is left out of a text: all that is as `layout` has it, but the choice of `layout`."""
    return layout.config._replace(page_shift=layout_of(layout.arch).page_shift)


def _mm_facts(mm: Mm) -> dict[str, int]:
    return {name: getattr(mm, name) for name in Mm.__dataclass_fields__}


def _changed_line(key: str, facts: Mapping[str, int], defaults: Mapping[str, int]) -> list[str]:
    """One line with the facts that are not at their default, or none."""
    texts = []
    for name, value in facts.items():
        if value == defaults[name]:
            continue
        if isinstance(defaults[name], bool):
            texts.append(f"{name}={'y' if value else 'n'}")
        else:
            texts.append(f"{name}={value:#x}" if name in HEXADECIMAL else f"{name}={value}")
    return [f"{key}: {' '.join(texts)}"] if texts else []


def _pte_lines(context: Context, ptes: tuple[int, ...]) -> list[str]:
    """One line for each entry, or for a run that is equal but for the page, which advances."""
    entries = [entrytext.describe(context, word) for word in ptes]
    starts = [0]
    starts += [i for i, (a, b) in enumerate(pairwise(entries), 1) if not _continues(context, a, b)]
    lines = []
    for start, end in pairwise((*starts, len(entries))):
        where = str(start) if end == start + 1 else f"{start}..{end - 1}"
        lines.append(f"pte {where}: {entrytext.entry_text(context, entries[start])}")
    return lines


def _continues(context: Context, before: Entry, entry: Entry) -> bool:
    if before.pfn is None or entry.pfn is None:
        return before == entry
    return before._replace(pfn=entry.pfn) == entry == entry._replace(pfn=before.pfn + 1) and (
        folio_of(context.folios, before.pfn) == folio_of(context.folios, entry.pfn)
    )


def _expect_line(expect: Expect) -> str:
    words = f"diverge {expect.divergence}" if expect.divergence else "agree"
    words += f" target={expect.target}" if expect.target else ""
    try:
        read = _expectation(words.split())
    except TextError as wrong:
        raise CaseError(f"cannot be written: {wrong}") from None
    if read != expect:
        raise CaseError(f"cannot be written: {expect} would read as {read}")
    return f"expect: {words}"


def _context(case: Case, names: tuple[str, ...]) -> Context:
    return Context(
        names=vocabulary_of(case.layout),
        kernel=case.kernel,
        swap_types=VERSIONS[case.kernel].swap_types,
        folios=case.folios,
        folio_names=names,
    )


# Reading.


def parse_case(text: str, path: str = "<text>") -> ParsedCase:
    """The case that `text` describes.

    Raises CaseError, `path:line: what is wrong; what would have been right`.
    """
    lines = Lines(path)
    try:
        lines.add_all(text)
        return _build(lines)
    except TextError as error:
        raise lines.located(error) from None


def read_case(path: Path) -> ParsedCase:
    """The case in the file at `path`; errors as of `parse_case`."""
    try:
        with path.open("rb") as stream:
            content = stream.read(MAX_BYTES + 1)
    except OSError as error:
        raise CaseError(f"{path}:1: cannot be read: {error.strerror or error}") from None
    if len(content) > MAX_BYTES:
        raise CaseError(f"{path}:1: longer than {MAX_BYTES} bytes; no case file is")
    # Each byte is a character, so that the check for ASCII can name line and column.
    return parse_case(content.decode("latin-1"), str(path))


def _build(lines: Lines) -> ParsedCase:
    arch = one_of(lines.words("arch"), "arch", ARCHES)
    kernel = one_of(lines.words("kernel"), "kernel", tuple(VERSIONS))
    facts = facts_of(lines.words("config"), "config", Config()._asdict())
    probe = _probe(arch, facts)
    broken = probe.check()
    if broken:
        raise TextError(broken)
    names, folios = _folios(lines, probe)
    case = probe.replace(
        vma=_vma(lines.words("vma")),
        mm=Mm(**facts_of(lines.words("mm"), "mm fact", _mm_facts(Mm()))),
        table_addr=_table_addr(lines),
        call=_call(lines, vocabulary_of(probe.layout)),
        folios=folios,
        kernel=kernel,
    )
    case = case.replace(ptes=_ptes(lines, _context(case, names)))
    case = case.replace(hardware=_hardware(lines, vocabulary_of(case.layout)))
    _check(lines, case, probe)
    return ParsedCase(case, _expectations(lines), tuple(lines.comments))


def _probe(arch: str, facts: dict[str, int]) -> Case:
    """The plainest case with such a configuration: it keeps all rules, if the configuration does.

    A part that is put into it and breaks a rule is to blame for that.
    """
    shift = facts.get("page_shift")
    layout = next((lay for lay in LAYOUTS[arch] if lay.page_shift == shift), layout_of(arch))
    config = layout.config._replace(**facts)  # type: ignore[arg-type]  # names decide which are bool
    return Case(Vma(0), Call(0, 0, 0, 1), (0,) * layout.block, arch=arch, config=config)


def _vma(words: list[str]) -> Vma:
    if len([word for word in words if word in ("anon", "file")]) != 1:
        raise TextError(f"vma {' '.join(words)!r} must say one of anon and file")
    rest = [word for word in words if word not in ("anon", "file")]
    unpopulated = "uffd_wp_unpopulated" in rest
    if unpopulated:
        rest.remove("uffd_wp_unpopulated")
    return Vma(flags_of(rest, "VM_", flags.VM_FLAGS), "anon" in words, unpopulated)


def _table_addr(lines: Lines) -> int:
    if "table_addr" not in lines.once:
        return DEFAULT_TABLE_ADDR
    return parse_number(" ".join(lines.words("table_addr")), "table_addr")


def _call(lines: Lines, names: Vocabulary) -> Call:
    text = " ".join(lines.words("range"))
    match = _RANGE.fullmatch(text)
    if not match:
        raise TextError(f"range {text!r} must be '[START, END)', entries of the window")
    start, end = (parse_number(match[i], "range") for i in (1, 2))
    newprot = entrytext.parse_bits(names, lines.words("newprot"))
    cp_flags = flags_of(lines.words("cp"), "MM_CP_", flags.CP_FLAGS)
    return Call(cp_flags, newprot, start, end)


def _folios(lines: Lines, probe: Case) -> tuple[tuple[str, ...], tuple[Folio, ...]]:
    """Names and folios, ascending. Raises for the first folio that breaks a rule."""
    numbers: dict[str, int] = {}
    folios: dict[str, Folio] = {}
    for line in lines.each("folio"):
        lines.at = line.number
        if not _FOLIO_NAME.fullmatch(line.name):
            raise TextError(f"folio name {line.name!r} must be capitals, then digits: A, AB, C2")
        if line.name in numbers:
            raise TextError(f"second folio {line.name}; the first is line {numbers[line.name]}")
        numbers[line.name] = line.number
        folios[line.name] = parse_folio(line.words)
    names = sorted(folios, key=lambda name: folios[name].pfn)

    def broken(count: int) -> str | None:
        return probe.replace(folios=tuple(folios[name] for name in names[:count])).check()

    # Rules hold for a folio and those before it, so the first that breaks one can be bisected.
    counts = range(len(names) + 1)
    first = bisect_left(counts, True, key=lambda count: broken(count) is not None)
    if first < len(counts):
        lines.at = numbers[names[first - 1]]
        raise TextError(broken(first) or "")
    return tuple(names), tuple(folios[name] for name in names)


def _ptes(lines: Lines, context: Context) -> tuple[int, ...]:
    words: dict[int, int] = {}
    for line in lines.each("pte"):
        lines.at = line.number
        first, last = entries_of(line.name, context.names.layout.entries_per_table)
        for index in range(first, last + 1):
            if index in words:
                raise TextError(f"second pte {index}; each entry is given once")
            words[index] = entrytext.parse_entry(context, line.words, index - first)
    lines.at = lines.last
    missing = next(i for i in range(len(words) + 1) if i not in words)
    if missing < len(words) or not words:
        raise TextError(
            f"pte {missing} is not given; entries from 0 to the last one given, "
            f"{max(words, default=0)}, need a line each, if only 'pte {missing}: none'"
        )
    return tuple(words[i] for i in range(len(words)))


def _hardware(lines: Lines, names: Vocabulary) -> tuple[tuple[int, int], ...]:
    bits: dict[int, int] = {}
    for line in lines.each("hardware"):
        lines.at = line.number
        index = parse_number(line.name, "hardware entry")
        if index in bits:
            raise TextError(f"second hardware {index}; each entry is given once")
        bits[index] = entrytext.parse_bits(names, line.words)
    return tuple(sorted(bits.items()))


def _check(lines: Lines, case: Case, probe: Case) -> None:
    """Raise at the line that breaks a rule of `Case.check()`.

    The parts are put one by one into `probe`, which keeps all rules: the one that
    makes it break one is to blame.
    """
    if case.check() is None:
        return
    probe = probe.replace(ptes=case.ptes)
    broken = probe.check()
    if broken:
        # Too few entries: the last one is where more would have to come.
        lines.at = max(lines.each("pte"), key=lambda line: int(line.name.split("..")[-1])).number
        raise TextError(broken)
    parts: tuple[tuple[str, dict[str, object]], ...] = (
        ("table_addr", {"table_addr": case.table_addr}),
        ("range", {"call": case.call}),
        ("vma", {"vma": case.vma}),
        ("mm", {"mm": case.mm}),
    )
    for key, part in parts:
        probe = probe.replace(**part)
        lines.go_to(key)
        broken = probe.check()
        if broken:
            raise TextError(broken)
    hardware = dict(case.hardware)
    for line in lines.each("hardware"):
        lines.at = line.number
        index = parse_number(line.name, "hardware entry")
        broken = probe.replace(hardware=((index, hardware[index]),)).check()
        if broken:
            raise TextError(broken)
    raise AssertionError(f"{case.check()}, and no line is to blame")


def _expectations(lines: Lines) -> tuple[Expect, ...]:
    found: dict[str, Expect] = {}
    for line in lines.each("expect"):
        lines.at = line.number
        expect = _expectation(line.words)
        if expect.target in found:
            raise TextError(f"second expectation for {expect.target or 'any target'}")
        found[expect.target] = expect
    return tuple(sorted(found.values()))


def _expectation(words: list[str]) -> Expect:
    text = " ".join(words)
    verb, rest = (words[0], words[1:]) if words else ("", [])
    divergence = rest.pop(0) if verb == "diverge" and rest else ""
    target = rest.pop(0).removeprefix("target=") if rest and rest[0][:7] == "target=" else ""
    complete = _CLASS.fullmatch(divergence) and target if verb == "diverge" else verb == "agree"
    if rest or not complete or not (target == "" or _TARGET.fullmatch(target)):
        raise TextError(
            f"expectation {text!r} must be 'agree', 'agree target=NAME', or "
            "'diverge CLASS target=NAME'"
        )
    return Expect(target, divergence)


# The case as one line, and its name.


def case_id(case: Case) -> str:
    """A short name: 8 hexadecimal digits of a hash over the canonical text."""
    return hashlib.sha256(format_case(case).encode("ascii")).hexdigest()[:8]


def case_line(case: Case) -> str:
    """The case as one self-contained line, `case:` and letters, that any checkout can replay."""
    text = format_case(case).encode("ascii")
    if len(text) > MAX_BYTES:
        raise CaseError(f"cannot be written: {len(text)} bytes of text; {MAX_BYTES} at most")
    return "case:" + base64.urlsafe_b64encode(zlib.compress(text, 9)).decode("ascii").rstrip("=")


def parse_case_line(text: str) -> ParsedCase:
    """The case in a line of `case_line`; never unpacks more than a case file may hold."""
    match = _CASE_LINE.fullmatch(text.strip())
    if not match:
        raise CaseError(f"{_short(text)} must be 'case:' and letters, digits, - and _")
    inflate = zlib.decompressobj()
    try:
        packed = base64.urlsafe_b64decode(match[1] + "=" * (-len(match[1]) % 4))
        content = inflate.decompress(packed, MAX_BYTES + 1)
    except (binascii.Error, zlib.error):
        raise CaseError(f"{_short(text)} is damaged; was the whole line copied?") from None
    if len(content) > MAX_BYTES:
        raise CaseError(f"{_short(text)} unpacks to more than {MAX_BYTES} bytes; no case does")
    if not inflate.eof or inflate.unused_data:
        raise CaseError(f"{_short(text)} is cut or too long; was the whole line copied?")
    return parse_case(content.decode("latin-1"), _short(text))


def _short(text: str) -> str:
    """What an error shows of a long line."""
    text = text.strip()
    return repr(text if len(text) <= 24 else text[:21] + "...")[1:-1]
