"""The text form of one page-table entry, for any architecture that has a `Layout`.

The grammar is in `corpus/README.md`. A form is chosen only if it reads back as
the same 64 bits; an entry that none fits is `raw 0x...`, so every word has a
text. Nothing here decides what an entry means to a kernel: names are looked up
in tables, and an entry is called swap-like if the parts of a swap-like entry
account for each of its bits.
"""

from functools import lru_cache

from .anatomy import is_present
from .case import MAX_WORD
from .pagetext import Context, Entry, TextError, format_page, parse_number, parse_page, small_or_hex
from .swaptext import SWAP_KINDS, describe_swap, parse_swap
from .vocabulary import Letters, Vocabulary

# Entries of one window differ in their page more often than in their other bits.
REMEMBERED = 1024


def _bits(mask: int) -> int:
    return (mask & -mask).bit_length() - 1


# Fields.


def format_fields(names: Vocabulary, word: int) -> str:
    """Names of the fields of `word`; the PFN field is left out."""
    return " ".join(
        name if mask == mask & -mask else f"{name}={small_or_hex((word & mask) >> _bits(mask))}"
        for name, mask in names.fields.items()
        if word & mask
    )


def _letters_of(names: Vocabulary, letters: Letters, word: int) -> str | None:
    """Those of `letters` that say most of `word`: no more than one of their fields differs."""
    if not word & letters.mask:
        return None

    def differing(name: str) -> int:
        difference = (letters.words[name] ^ word) & letters.mask
        return sum(1 for field in names.fields.values() if difference & field)

    best = min(letters.words, key=differing)
    return best if differing(best) <= 1 else None


def _format_lettered(names: Vocabulary, letters: Letters, word: int) -> str:
    """`r-x accessed -user pkey=5`: letters, then each field that they do not say."""
    name = _letters_of(names, letters, word)
    base = letters.words[name] if name else 0
    texts = [name] if name else []
    for field, mask in names.fields.items():
        if not (word ^ base) & mask:
            continue
        texts.append(format_fields(names, word & mask) or f"-{field}")
    return " ".join(texts)


@lru_cache(REMEMBERED)
def _format_entry_fields(names: Vocabulary, word: int) -> str:
    return _format_lettered(names, names.entries, word)


def _parse_fields(names: Vocabulary, letters: Letters, words: list[str]) -> int:
    """The word that letters and field names stand for, with an empty PFN field."""
    fields = names.fields
    value = 0
    if words and words[0] in letters.words:
        value = letters.words[words[0]]
        words = words[1:]
    seen = set()
    for word in words:
        name, has_value, text = word.partition("=")
        cleared = name.startswith("-")
        name = name.removeprefix("-")
        if name not in fields or (cleared and has_value):
            raise TextError(
                f"unknown word {word!r}; one of {' '.join(letters.words)} may come first, then "
                f"fields of {names.layout.arch}: {' '.join(fields)}"
            )
        if name in seen:
            raise TextError(f"field {name} is given twice, {word!r} being the second time")
        seen.add(name)
        value = value & ~fields[name] | _field_value(name, fields[name], cleared, has_value, text)
    return value


def _field_value(name: str, mask: int, cleared: bool, has_value: str, text: str) -> int:
    if cleared:
        return 0
    top = mask >> _bits(mask)
    if top == 1:
        if has_value:
            raise TextError(f"field {name} is one bit; write {name!r} or '-{name}', not a value")
        return mask
    if not has_value:
        raise TextError(f"field {name} needs a value, {name}=0..{top:#x}")
    value = parse_number(text, name)
    if value & ~top:
        raise TextError(f"{name}={text} does not fit; it must be 0..{top:#x}")
    return value << _bits(mask)


# Words without a page: the call's newprot, bits that the hardware flips.


def format_newprot(names: Vocabulary, word: int) -> str:
    """The text of a pgprot, which is an entry without a PFN."""
    text = _format_lettered(names, names.protections, word)
    return text if text and _reads_back(names, text, word) else f"raw {word:#x}"


def format_bits(names: Vocabulary, word: int) -> str:
    """The text of a set of bits: fields by name, no letters."""
    text = format_fields(names, word)
    return text if text and _reads_back(names, text, word) else f"raw {word:#x}"


def _reads_back(names: Vocabulary, text: str, word: int) -> bool:
    return _parse_fields(names, names.protections, text.split()) == word


def parse_bits(names: Vocabulary, words: list[str]) -> int:
    """The word that the text of a pgprot or of a set of bits stands for."""
    if words and words[0] == "raw":
        return _parse_raw(words)
    if not words:
        raise TextError("nothing is given; letters like r-x, names of fields, or raw 0x...")
    return _parse_fields(names, names.protections, words)


def _parse_raw(words: list[str]) -> int:
    if len(words) != 2 or not words[1].startswith("0x"):
        raise TextError(f"{' '.join(words)!r} must be 'raw 0x...', 64 bits")
    return parse_number(words[1], "raw")


# Entries.


def describe(context: Context, word: int) -> Entry:
    """The text of an entry in three pieces, so that runs of entries can be joined."""
    if word == 0:
        return Entry("none", None, "")
    for form in (describe_swap, _describe_mapped):
        entry = form(context, word)
        if entry is not None and parse_entry(context, entry_text(context, entry).split()) == word:
            return entry
    return Entry(f"raw {word:#x}", None, "")


def entry_text(context: Context, entry: Entry) -> str:
    """The pieces of `entry` as one text."""
    page = "" if entry.pfn is None else format_page(context, entry.pfn)
    return " ".join(piece for piece in (entry.head, page, entry.tail) if piece)


def parse_entry(context: Context, words: list[str], advance: int = 0) -> int:
    """The word of an entry; if the text names a page, that of the page `advance` further on."""
    if not words:
        raise TextError("nothing is given; a page (A+0, pfn=0x...), a kind, none, or raw 0x...")
    first = words[0]
    if first == "none" and len(words) == 1:
        return 0
    if first == "raw":
        return _parse_raw(words)
    if first == "swap" or first in SWAP_KINDS:
        return parse_swap(context, words, advance)
    pfn = parse_page(context, first, advance, _pfn_bits(context))
    if pfn is None:
        raise TextError(
            f"{' '.join(words)!r} must begin with a page (A+0, pfn=0x...), none, raw, swap, "
            f"or one of {' '.join(SWAP_KINDS)}"
        )
    word = _parse_fields(context.names, context.names.entries, words[1:])
    return word | _pfn_field(context, word, pfn)


def _pfn_bits(context: Context) -> int:
    return context.names.pfn_mask.bit_length() - context.names.layout.page_shift


def _pfn_field(context: Context, word: int, pfn: int) -> int:
    """The bits that hold `pfn` in an entry whose other bits are `word`."""
    names = context.names
    inverted = names.layout.pfn_inverted and not word & names.valid
    return ((pfn << names.layout.page_shift) ^ (MAX_WORD if inverted else 0)) & names.pfn_mask


def _describe_mapped(context: Context, word: int) -> Entry | None:
    """A valid or present entry; fields would say nothing of what another word is."""
    names, mask = context.names, context.names.pfn_mask
    if not word & names.valid and not is_present(names.layout, word):
        return None
    rest = word & ~mask
    pfn = ((word & mask) ^ _pfn_field(context, rest, 0)) >> names.layout.page_shift
    return Entry("", pfn, _format_entry_fields(names, rest))
