"""The names that the text form has for the bits of an architecture's entries, from its `Layout`."""

from dataclasses import dataclass
from functools import cache
from typing import NamedTuple

from mm.layout import Layout

# Layouts name the field that makes an entry usable for the MMU one of these.
VALID_FIELDS = ("present", "valid")

# Fields that an entry always has and a pgprot never: powerpc's _PAGE_PTE.
ENTRY_FIELDS = ("pte",)

# Each protection's letters, and an index into protection_map that gives it.
# Shared: a private mapping never has a writable one.
LETTERS = {"---": 8, "r--": 9, "rw-": 11, "r-x": 13, "rwx": 15}
# The same where pages can be executed only; elsewhere it gives the word of r-x.
EXECUTE_ONLY = {"--x": 12}


class Letters(NamedTuple):
    """The bits that each group of letters stands for, exactly."""

    words: dict[str, int]
    mask: int  # all fields that some letters set


# Compared by identity: there is one for each layout, and hashing a layout is slow.
@dataclass(frozen=True, eq=False, slots=True)
class Vocabulary:
    """Names and masks, as plain numbers."""

    layout: Layout
    fields: dict[str, int]
    # Accessed is in no letters: protection_map has it set, entries come both ways.
    protections: Letters  # of a pgprot
    entries: Letters  # of an entry
    valid: int
    pfn_mask: int


@cache
def vocabulary_of(layout: Layout) -> Vocabulary:
    """The one vocabulary of `layout`."""
    fields = {field.name: int(field.mask) for field in layout.fields}
    accessed = fields.get("accessed", 0)
    words = {name: int(layout.protection_map[i]) & ~accessed for name, i in LETTERS.items()}
    for name, i in EXECUTE_ONLY.items():
        word = int(layout.protection_map[i]) & ~accessed
        if word not in words.values():
            words[name] = word
    always = sum(fields.get(name, 0) for name in ENTRY_FIELDS)
    return Vocabulary(
        layout=layout,
        fields=fields,
        protections=_letters(fields, words),
        entries=_letters(fields, {name: word | always for name, word in words.items()}),
        valid=sum(fields.get(name, 0) for name in VALID_FIELDS),
        pfn_mask=int(layout.pfn_mask),
    )


def _letters(fields: dict[str, int], words: dict[str, int]) -> Letters:
    mask = sum(mask for mask in fields.values() if any(mask & word for word in words.values()))
    return Letters(words, mask)
