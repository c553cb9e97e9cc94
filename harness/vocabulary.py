"""The names that the text form has for the bits of an architecture's entries, from its `Layout`."""

from dataclasses import dataclass
from functools import cache

from mm.layout import Layout

# Layouts name the field that makes an entry usable for the MMU one of these.
VALID_FIELDS = ("present", "valid")

# Each protection's letters, and an index into protection_map that gives it.
# Shared: a private mapping never has a writable one.
LETTERS = {"---": 8, "r--": 9, "rw-": 11, "r-x": 13, "rwx": 15}


# Compared by identity: there is one for each layout, and hashing a layout is slow.
@dataclass(frozen=True, eq=False, slots=True)
class Vocabulary:
    """Names and masks, as plain numbers."""

    layout: Layout
    fields: dict[str, int]
    # The bits that each group of letters stands for. Accessed is none of them:
    # protection_map has it set, entries come both ways.
    letters: dict[str, int]
    lettered: int  # all fields that some letters set
    valid: int
    pfn_mask: int


@cache
def vocabulary_of(layout: Layout) -> Vocabulary:
    """The one vocabulary of `layout`."""
    fields = {field.name: int(field.mask) for field in layout.fields}
    accessed = fields.get("accessed", 0)
    letters = {name: int(layout.protection_map[i]) & ~accessed for name, i in LETTERS.items()}
    return Vocabulary(
        layout=layout,
        fields=fields,
        letters=letters,
        lettered=sum(
            mask for mask in fields.values() if any(mask & word for word in letters.values())
        ),
        valid=sum(fields.get(name, 0) for name in VALID_FIELDS),
        pfn_mask=int(layout.pfn_mask),
    )
