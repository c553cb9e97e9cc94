"""What features there are, and the identity of each: one number, and one line that people read.

An identity is a uint64: the number of its family in the highest byte, and below
it the family's fields side by side, the first one lowest. `describe` and `parse`
turn it into text and back without loss.
"""

from typing import NamedTuple

import numpy as np

from mm import flags

from ..census import KINDS
from ..classes import CLASSES

_FAMILY_SHIFT = 56

# Small numbers are told apart, large ones by their power of two.
BUCKETS = (
    *("0", "1", "2", "3", "4", "5..8", "9..16", "17..32", "33..64"),
    *("65..128", "129..256", "257..512", "513.."),
)
# Lengths and offsets below this are told apart one by one; what is larger counts as this.
MANY = 64
# Why a legal batch begins or ends where it does.
REASONS = (
    "range",  # the range does
    "absent",  # the entry on one of the sides is not present
    "small",  # there is no large folio
    "folio",  # the folio does, though the next page follows
    "page",  # the next entry maps another page than the next
    "soft-dirty",
    "write",
    "uffd",
    "other",  # another bit differs
)
RANGE, ABSENT, SMALL, FOLIO_END, PAGE, BY_SOFT_DIRTY, BY_WRITE, BY_UFFD, BY_OTHER = range(
    len(REASONS)
)
PLACES = ("only", "first", "middle", "last")
STEPS = ("absent", "next", "same", "previous", "elsewhere")
WHOLE_CASE = len(KINDS)  # the kind of a class that is found on no entry

_CALLS = tuple(flags.CP_FLAGS)
_ENTRY_BITS = ("accessed", "dirty", "soft-dirty", "writable", "uffd")


class Field(NamedTuple):
    """One part of an identity."""

    name: str
    names: tuple[str, ...]  # what its values are called; its bits, if it is a set
    is_set: bool = False

    @property
    def width(self) -> int:
        """How many bits it takes."""
        return len(self.names) if self.is_set else (len(self.names) - 1).bit_length()

    def text(self, value: int) -> str:
        """What `value` says; ValueError if the field has no such value."""
        if self.is_set:
            return "+".join(n for bit, n in enumerate(self.names) if value >> bit & 1) or "-"
        if value >= len(self.names):
            raise ValueError(f"{self.name} has no value {value}; expected 0..{len(self.names) - 1}")
        return self.names[value]

    def value(self, text: str) -> int:
        """The value that `text` says; ValueError if there is none."""
        if self.is_set:
            return sum(1 << self.names.index(name) for name in text.split("+") if text != "-")
        return self.names.index(text)


def _set(name: str, *names: str) -> Field:
    return Field(name, names, is_set=True)


def _bucket(name: str) -> Field:
    return Field(name, BUCKETS)


_NUMBERS = (*(str(number) for number in range(MANY)), f"{MANY}..")
_ORDER = Field("order", tuple(str(order) for order in range(13)))
_CP = _set("cp", *_CALLS)
_FOLIO_FLAGS = _set("flags", *flags.FOLIO_FLAGS)
_KIND = Field("kind", (*KINDS, "case"))

FAMILIES: dict[str, tuple[Field, ...]] = {
    # The call, and what its protection gives.
    "call": (
        _CP,
        _set("access", "read", "write", "exec", "shared"),
        _set("vma", "anon", "tracks-soft-dirty", "uffd-wp", "uffd-rwp", "pfnmap", "mixedmap"),
        _set("newprot", "valid", "writable"),
        _set("unpopulated", "yes"),
    ),
    "machine": (
        _set("config", "soft-dirty", "uffd-wp", "bbml3", "coprocessors", "isa-31", "hash-mmu"),
        Field("page_shift", tuple(str(shift) for shift in range(32))),
    ),
    # What a scan of PROT_NUMA looks at, for each batch and single page.
    "numa": (
        _FOLIO_FLAGS,
        _set("node", "own", "top-tier"),
        _set("mm", "other-users", "cow"),
        _set("mode", "normal", "tiering"),
    ),
    # The folio behind a batch, by call.
    "folio": (_FOLIO_FLAGS, _ORDER, _CP),
    # Legal batches: exact length, exact first page inside the folio, and all of it roughly.
    "length": (Field("entries", _NUMBERS),),
    "offset": (Field("page", _NUMBERS),),
    "batch": (
        _bucket("length"),
        _bucket("offset"),
        Field("began", REASONS),
        Field("ended", REASONS),
    ),
    # A run of pages of one exclusivity inside a batch on an anon folio.
    "sub-batch": (
        _bucket("length"),
        Field("place", PLACES),
        _set("is", "exclusive", "mid-folio", "asked-for-write"),
    ),
    # Who brings accessed and dirty into a batch of several entries.
    "merge": (
        _set("accessed", "first", "later", "missing"),
        _set("dirty", "first", "later", "missing"),
        _set("template", "soft-dirty", "writable", "uffd"),
        _set("hardware", "flips"),
    ),
    # Two neighbouring entries that are not in one batch.
    "neighbours": (
        Field("left", KINDS),
        Field("right", KINDS),
        Field("step", STEPS),
        _set("differ", *_ENTRY_BITS, "other"),
    ),
    # What lies just outside of the range, and whether it could join the batch inside.
    "edge": (
        Field("side", ("start", "end")),
        Field("kind", KINDS),
        _set("joins", "yes"),
    ),
    # One entry: what it is, what is asked, what the reference makes of it.
    "entry": (
        Field("kind", KINDS),
        _CP,
        _set("before", *_ENTRY_BITS, "exclusive", "flips"),
        _set("after", "changed", "writable", "flushed", "told"),
    ),
    # The entries that must be flushed, as runs.
    "flush": (
        _bucket("runs"),
        _bucket("longest"),
        _set("reaches", "start", "end"),
    ),
    # A legal batch against the blocks of contpte.
    "block": (
        _bucket("length"),
        _set("cuts", "first", "last"),
        _set("folded", "first", "last"),
        _set("has", "accessed", "dirty"),
    ),
    # What the target reported besides entries and flushes.
    "report": (_set("warned", "bad-map", "no-vm-write"), _bucket("stamps")),
    # What the judges found, and on what.
    "class": (Field("name", tuple(c.name for c in CLASSES)), _KIND),
}
_NAMES = tuple(FAMILIES)


def family(name: str) -> np.uint64:
    """The identity of family `name` with all fields 0."""
    return np.uint64((_NAMES.index(name) + 1) << _FAMILY_SHIFT)


def shifts(name: str) -> tuple[np.uint64, ...]:
    """Where the fields of family `name` begin, in order."""
    widths = [field.width for field in FAMILIES[name]]
    assert sum(widths) <= _FAMILY_SHIFT, name
    return tuple(np.uint64(sum(widths[:i])) for i in range(len(widths)))


def describe(identity: int) -> str:
    """What the feature says, as `family field=value ...`; ValueError if there is no such feature."""
    identity = int(identity)
    number, rest = (identity >> _FAMILY_SHIFT) - 1, identity & (1 << _FAMILY_SHIFT) - 1
    if not 0 <= number < len(_NAMES):
        raise ValueError(f"{identity:#x} is no feature; expected one of {len(_NAMES)} families")
    words = [_NAMES[number]]
    for field in FAMILIES[_NAMES[number]]:
        words.append(f"{field.name}={field.text(rest & (1 << field.width) - 1)}")
        rest >>= field.width
    if rest:
        raise ValueError(f"{identity:#x} is no feature; bits above its fields are set")
    return " ".join(words)


def parse(text: str) -> int:
    """The identity that `describe` tells as `text`; ValueError if it tells none so."""
    name, *parts = text.split(" ")
    fields = FAMILIES.get(name)
    if fields is None or [part.partition("=")[0] for part in parts] != [f.name for f in fields]:
        raise ValueError(f"{text!r} is no feature; expected FAMILY FIELD=VALUE ...")
    identity = int(family(name))
    for part, field, shift in zip(parts, fields, shifts(name), strict=True):
        identity |= field.value(part.partition("=")[2]) << int(shift)
    return identity
