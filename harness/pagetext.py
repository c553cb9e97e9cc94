"""Numbers, folios and pages in the text of a case: `0x1f`, `A+1`, `pfn=0x12345`.

The grammar is in `corpus/README.md`.
"""

import re
from typing import NamedTuple

from mm import flags
from mm.version import SwapTypes

from .case import MAX_FOLIO_PAGES, MAX_NODES, MAX_WORD, CaseError, Folio, folio_of
from .vocabulary import Vocabulary

# Up to this many pages each has its own character; larger folios are written in runs.
SPELLED_PAGES = 16

_NUMBER = re.compile(r"0x[0-9a-fA-F]{1,16}|[0-9]{1,20}", re.ASCII)
_FOLIO_PAGE = re.compile(r"([A-Z][A-Z0-9]*)\+(\w+)", re.ASCII)

_EXCLUSIVE = re.compile(r"([x.])(?:\*([0-9]{1,4}))?", re.ASCII)


class TextError(CaseError):
    """A word of text that is wrong; whoever knows file and line adds them."""


class Entry(NamedTuple):
    """The text of an entry: `head`, its page if it has one, `tail`."""

    head: str
    pfn: int | None
    tail: str


class Context(NamedTuple):
    """What the text of an entry refers to: names and numbers that it does not carry itself."""

    names: Vocabulary
    kernel: str
    swap_types: SwapTypes
    folios: tuple[Folio, ...]  # ascending
    folio_names: tuple[str, ...]  # as they stand in the file


def parse_number(text: str, what: str) -> int:
    """The value of a decimal or 0x number of at most 64 bits; `what` names it in the error."""
    if (
        not _NUMBER.fullmatch(text)
        or (value := int(text, 0 if text[:2] == "0x" else 10)) > MAX_WORD
    ):
        raise TextError(f"{what} {text!r} must be a decimal or 0x number of at most 64 bits")
    return value


def small_or_hex(value: int) -> str:
    """`value` in decimal if one digit holds it, else in hexadecimal."""
    return str(value) if value < 10 else f"{value:#x}"


def folio_name(index: int) -> str:
    """The canonical name of folio number `index`: A, B, ... Z, AA, AB, ..."""
    name = ""
    index += 1
    while index:
        index, letter = divmod(index - 1, 26)
        name = chr(ord("A") + letter) + name
    return name


def format_page(context: Context, pfn: int) -> str:
    """`A+1`, or `pfn=0x...` for a page that no folio of the case holds."""
    row = folio_of(context.folios, pfn)
    if row is None:
        return f"pfn={pfn:#x}"
    return f"{context.folio_names[row]}+{pfn - context.folios[row].pfn}"


def parse_page(context: Context, text: str, advance: int, pfn_bits: int) -> int | None:
    """The PFN that `text` names, `advance` pages further on; None if it names no page."""
    match = _FOLIO_PAGE.fullmatch(text)
    if match:
        name, page = match[1], parse_number(match[2], "page") + advance
        if name not in context.folio_names:
            known = ", ".join(context.folio_names) or "none"
            raise TextError(f"no folio {name} is given for {text!r}; given: {known}")
        folio = context.folios[context.folio_names.index(name)]
        if page >= folio.nr_pages:
            raise TextError(
                f"page {name}+{page} is not there; {name} ends at +{folio.nr_pages - 1}"
            )
        pfn = folio.pfn + page
    elif text.startswith("pfn="):
        pfn = parse_number(text[4:], "pfn") + advance
    else:
        return None
    if pfn >> pfn_bits:
        raise TextError(f"pfn {pfn:#x} is out of range; it has at most {pfn_bits} bits here")
    return pfn


def format_folio(folio: Folio) -> str:
    """The facts of a folio, without its name."""
    words = [f"pfn={folio.pfn:#x}", f"pages={folio.nr_pages}"]
    words += [name for name, bit in flags.FOLIO_FLAGS.items() if folio.flags & int(bit)]
    if folio.nid:
        words.append(f"nid={folio.nid}")
    if folio.exclusive:
        words.append(f"exclusive={_draw_exclusive(folio)}")
    return " ".join(words)


def _draw_exclusive(folio: Folio) -> str:
    drawn = "".join("x" if folio.exclusive >> i & 1 else "." for i in range(folio.nr_pages))
    if folio.nr_pages <= SPELLED_PAGES:
        return drawn
    # A run of three is as long as what would replace it.
    return re.sub(r"(.)\1{3,}", lambda run: f"{run[1]}*{len(run[0])}", drawn)


def parse_folio(words: list[str]) -> Folio:
    """The folio that the words after its name describe; `Case.check()` judges the values."""
    facts: dict[str, str] = {}
    folio_flags = 0
    for word in words:
        name, equals, text = word.partition("=")
        known = ("pfn", "pages", "nid", "exclusive") if equals else tuple(flags.FOLIO_FLAGS)
        if name not in known:
            raise TextError(
                f"unknown word {word!r} for a folio; known: pfn=, pages=, nid=, exclusive=, "
                f"{', '.join(flags.FOLIO_FLAGS)}"
            )
        if words.count(word) > 1 or name in facts:
            raise TextError(f"{name} is given twice, {word!r} being one of them")
        if equals:
            facts[name] = text
        else:
            folio_flags |= int(flags.FOLIO_FLAGS[name])
    for name in ("pfn", "pages"):
        if name not in facts:
            raise TextError(f"no {name}= for a folio; it has pfn= and pages=")
    nid = parse_number(facts.get("nid", "0"), "nid")
    if nid >= MAX_NODES:
        raise TextError(f"nid={nid} is out of range; nodes are 0..{MAX_NODES - 1}")
    pages = parse_number(facts["pages"], "pages")
    if not 1 <= pages <= MAX_FOLIO_PAGES:
        raise TextError(f"pages={pages} must be a power of two up to {MAX_FOLIO_PAGES}")
    exclusive = _parse_exclusive(facts["exclusive"], pages) if "exclusive" in facts else 0
    return Folio(parse_number(facts["pfn"], "pfn"), pages, folio_flags, nid, exclusive)


def _parse_exclusive(text: str, pages: int) -> int:
    exclusive, page, at = 0, 0, 0
    while at < len(text):
        match = _EXCLUSIVE.match(text, at)
        if not match:
            raise TextError(f"exclusive={text} must be x and . for each page, or runs like x*16")
        run = int(match[2] or 1)
        if page + run > pages:
            break
        if match[1] == "x":
            exclusive |= ((1 << run) - 1) << page
        page, at = page + run, match.end()
    if page != pages or at < len(text):
        raise TextError(f"exclusive={text} must have exactly {pages} characters, one a page")
    return exclusive
