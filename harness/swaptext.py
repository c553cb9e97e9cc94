"""The text form of a swap-like entry: `swap type=1 offset=0x10`, `migration-write A+3 young`.

A word is called swap-like if the parts of a swap-like entry account for each of
its bits; what an entry means to a kernel is not decided here.
"""

from mm import layout as layouts

from .pagetext import Context, Entry, TextError, parse_number, parse_page

SWAP_KINDS = {
    "hwpoison": "hwpoison",
    "migration-read": "migration_read",
    "migration-read-exclusive": "migration_read_exclusive",
    "migration-write": "migration_write",
    "device-private-write": "device_write",
    "device-private-read": "device_read",
    "device-exclusive-write": "device_exclusive_write",
    "device-exclusive": "device_exclusive",
    "marker": "marker",
}
MIGRATION_KINDS = ("migration-read", "migration-read-exclusive", "migration-write")
MARKERS = {
    "uffd-wp": layouts.PTE_MARKER_UFFD_WP,
    "poison": layouts.PTE_MARKER_POISONED,
    "guard": layouts.PTE_MARKER_GUARD,
}
SWAP_FLAGS = ("soft_dirty", "uffd", "exclusive")


def describe_swap(context: Context, word: int) -> Entry | None:
    """The text of `word` as a swap-like entry; the caller checks that it reads back."""
    swap = context.names.layout.swap
    kind_nr = word >> swap.type_shift & (1 << swap.type_bits) - 1
    offset = word >> swap.offset_shift & (1 << swap.offset_bits) - 1
    if swap.offset_inverted:
        offset ^= (1 << swap.offset_bits) - 1
    flags = " ".join(name for name in SWAP_FLAGS if word & int(getattr(swap, name)))
    kinds = {getattr(context.swap_types, field): kind for kind, field in SWAP_KINDS.items()}
    kind = kinds.get(kind_nr)
    if kind is None:
        return Entry(f"swap type={kind_nr} offset={offset:#x}", None, flags)
    if kind == "marker":
        names = " ".join(name for name, bit in MARKERS.items() if offset & bit)
        if not names or offset & ~sum(MARKERS.values()):
            names = f"offset={offset:#x}"
        return Entry(f"marker {names}", None, flags)
    pfn = offset & (1 << swap.pfn_bits) - 1
    extra = []
    if kind in MIGRATION_KINDS:
        extra = [name for name, bit in _migration_bits(context) if offset & bit]
        pfn_and_bits = pfn | sum(bit for name, bit in _migration_bits(context) if name in extra)
    else:
        pfn_and_bits = pfn
    if offset != pfn_and_bits:
        return Entry(f"{kind} offset={offset:#x}", None, flags)
    return Entry(kind, pfn, " ".join((*extra, flags)).strip())


def _migration_bits(context: Context) -> tuple[tuple[str, int], ...]:
    swap = context.names.layout.swap
    return ("young", 1 << swap.young_bit), ("dirty", 1 << swap.dirty_bit)


def parse_swap(context: Context, words: list[str], advance: int) -> int:
    """The entry that `words` describe; if they name a page, that of the page `advance` further."""
    layout = context.names.layout
    swap = layout.swap
    kind, words = words[0], words[1:]
    top_type = (1 << swap.type_bits) - 1
    if kind == "swap":
        kind_nr = _parse_part(words, "type", top_type)
        offset, words = _parse_part(words[1:], "offset", (1 << swap.offset_bits) - 1), words[2:]
    else:
        kind_nr = getattr(context.swap_types, SWAP_KINDS[kind])
        if kind_nr < 0:
            raise TextError(f"kernel {context.kernel} has no {kind} entries; use 'swap type=...'")
        parse = _parse_marker if kind == "marker" else _parse_pfn_kind
        offset, words = parse(context, kind, words, advance)
    value = int(swap.always_set)
    allowed = [name for name in SWAP_FLAGS if int(getattr(swap, name))]
    for word in words:
        if word not in allowed:
            raise TextError(
                f"unknown word {word!r} for {kind}; on {layout.arch}: {' '.join(allowed)}"
            )
        if words.count(word) > 1:
            raise TextError(f"word {word!r} is given twice")
        value |= int(getattr(swap, word))
    if swap.offset_inverted:
        offset ^= (1 << swap.offset_bits) - 1
    return value | kind_nr << swap.type_shift | offset << swap.offset_shift


def _parse_part(words: list[str], name: str, top: int) -> int:
    given = words[0] if words else ""
    if not given.startswith(f"{name}="):
        raise TextError(
            f"{given!r} must be {name}=0..{top:#x}; a swap entry has type=, then offset="
        )
    value = parse_number(given[len(name) + 1 :], name)
    if value > top:
        raise TextError(f"{given} is out of range; it must be {name}=0..{top:#x}")
    return value


# What a kind's own words say: (offset, words that are left).
Rest = tuple[int, list[str]]


def _parse_marker(context: Context, kind: str, words: list[str], advance: int) -> Rest:
    del kind, advance
    if words and words[0].startswith("offset="):
        return _parse_part(
            words, "offset", (1 << context.names.layout.swap.offset_bits) - 1
        ), words[1:]
    names = [word for word in words if word in MARKERS]
    if not names or len(set(names)) != len(names):
        raise TextError(f"a marker is {', '.join(MARKERS)} or offset=0x..., each word once")
    offset = sum(MARKERS[name] for name in names)
    return offset, [word for word in words if word not in MARKERS]


def _parse_pfn_kind(context: Context, kind: str, words: list[str], advance: int) -> Rest:
    swap = context.names.layout.swap
    first = words[0] if words else ""
    if first.startswith("offset="):
        return _parse_part(words, "offset", (1 << swap.offset_bits) - 1), words[1:]
    pfn = parse_page(context, first, advance, swap.pfn_bits)
    if pfn is None:
        raise TextError(f"{kind} needs a page (A+0, pfn=0x...) or offset=0x..., got {first!r}")
    words = words[1:]
    if kind in MIGRATION_KINDS:
        for name, bit in _migration_bits(context):
            if name in words:
                pfn |= bit
                words = [word for word in words if word != name]
    return pfn, words
