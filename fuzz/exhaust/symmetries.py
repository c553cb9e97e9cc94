"""The symmetries by which raw cases become canonical ones, one named function each.

Each maps a call or a state to the one that stands for it, and keeps the verdict of
every single case of a target that diverges nowhere: no rule reads what it changes.
tests/test_exhaust.py runs both cases of many pairs, and compares all verdicts of the
two alphabets; docs/exhaust.md has the figures.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from itertools import product

from harness.case import layout_of
from mm.version import Config

from .alphabet import (
    PROTNONE_ASKS,
    Call,
    EntryState,
    Kind,
    Right,
    access_index,
    asks_of,
    places_of,
)

_BOOLS = (False, True)

# A kind whose entries are in no batch, and the kind that stands for it.
_LONE_KINDS = {
    Kind.MIGRATION_READ: Kind.SWAP,
    Kind.MIGRATION_READ_EXCLUSIVE: Kind.SWAP,
    Kind.DEVICE_READ: Kind.SWAP,
    Kind.DEVICE_EXCLUSIVE: Kind.SWAP,
    Kind.HWPOISON: Kind.SWAP,
    Kind.MARKER_POISON: Kind.MARKER_GUARD,
}


def tracking_is_unread(call: Call) -> Call:
    """Whether soft-dirty is tracked is read by a write upgrade only.

    And by the choice of the protection: in a shared VMA that may be written to, writes
    must be noticed where it is tracked.
    """
    untracked = replace(call, tracked=False)
    same_newprot = call.ask in PROTNONE_ASKS or access_index(call) == access_index(untracked)
    return call if call.tries or not same_newprot else untracked


def unmapped_is_unread(call: Call, state: EntryState) -> EntryState:
    """The exclusive bit of a page that its entry does not map is not read."""
    del call
    return replace(state, exclusive=False) if state.kind is Kind.NONE else state


def lone_is_lone(call: Call, state: EntryState) -> EntryState:
    """An entry that joins no batch neither gets nor gives a bit: one stands for its like.

    All of them, in every call, are among the cases of one entry, which each run has.
    """
    kind = _LONE_KINDS.get(state.kind, state.kind)
    if kind is Kind.ORDER_0:
        if state.right is Right.WRITE:
            soft_dirty = layout_of(call.arch).config.soft_dirty
            return EntryState(kind, Right.WRITE, True, True, soft_dirty, True)
        return EntryState(kind, accessed=True)
    if kind in (Kind.FOLIO, Kind.PROTNONE, Kind.ASTRAY):
        return state
    return EntryState(kind)


def exclusive_is_unread(call: Call, state: EntryState) -> EntryState:
    """Exclusive bits are read by a write upgrade of private pages only.

    A writable page is taken to be exclusive, as it is in a sane case.
    """
    if call.reads_exclusive or state.kind not in (Kind.FOLIO, Kind.PROTNONE):
        return state
    return replace(state, exclusive=state.right is Right.WRITE)


CALL_SYMMETRIES = (tracking_is_unread,)
STATE_SYMMETRIES = (unmapped_is_unread, lone_is_lone, exclusive_is_unread)


def raw_calls(arch: str) -> list[Call]:
    """Every ask in every VMA at every place."""
    config = layout_of(arch).config
    tracked, registered = (_BOOLS if on else (False,) for on in (config.soft_dirty, config.uffd_wp))
    parts = product(asks_of(arch), _BOOLS, tracked, registered, places_of(arch))
    return [Call(*values, arch=arch) for values in parts]


def raw_states(call: Call) -> list[EntryState]:
    """Every state that an entry may be in where `call` is made: of x86_64 130."""
    config = layout_of(call.arch).config
    others = call.place.others
    if call.place.folded and others is not None:
        return [EntryState(Kind.FOLIO, others, *bits) for bits in _bits(config)]
    return [
        state
        for state in _all_states(config)
        if config.uffd_wp or (state.right is not Right.UFFD and state.kind is not _MARKER)
    ]


_MARKER = Kind.MARKER_UFFD_WP


def _bits(config: Config) -> Iterator[tuple[bool, bool, bool, bool]]:
    """Each dirty, accessed, soft-dirty, exclusive."""
    soft_dirty = _BOOLS if config.soft_dirty else (False,)
    return product(_BOOLS, _BOOLS, soft_dirty, _BOOLS)


def _all_states(config: Config) -> list[EntryState]:
    read_only = (Right.READ, Right.UFFD)
    soft = _BOOLS if config.soft_dirty else (False,)
    states = []
    for kind, rights in ((Kind.FOLIO, tuple(Right)), (Kind.PROTNONE, read_only)):
        for right, bits in product(rights, _bits(config)):
            states.append(EntryState(kind, right, *bits))
    for right, dirty, soft_dirty, exclusive in product(Right, _BOOLS, soft, _BOOLS):
        states.append(EntryState(Kind.ORDER_0, right, dirty, True, soft_dirty, exclusive))
    states += [EntryState(Kind.NONE, exclusive=on) for on in _BOOLS]
    states += [EntryState(Kind.ZERO_PAGE, soft_dirty=on) for on in soft]
    for right, soft_dirty, exclusive in product(read_only, soft, _BOOLS):
        states.append(EntryState(Kind.SWAP, right, soft_dirty=soft_dirty, exclusive=exclusive))
    states += [
        EntryState(kind)
        for kind in Kind
        if kind.value.startswith(("migration", "device", "hwpoison", "marker"))
    ]
    states.append(EntryState(Kind.ASTRAY))
    states.append(
        EntryState(Kind.ASTRAY, Right.WRITE, dirty=True, accessed=True, soft_dirty=soft[-1])
    )
    states += [EntryState(Kind.PINNED, right) for right in (Right.READ, Right.WRITE)]
    return states


def canonical_call(call: Call) -> Call:
    """The call that stands for `call`."""
    for symmetry in CALL_SYMMETRIES:
        call = symmetry(call)
    return call


def canonical_state(call: Call, state: EntryState) -> EntryState:
    """The state that stands for `state` in `call`."""
    for symmetry in STATE_SYMMETRIES:
        state = symmetry(call, state)
    return state


def canonical_calls(arch: str) -> list[Call]:
    """The calls that stand for all, in the order of the raw ones."""
    return list(dict.fromkeys(canonical_call(call) for call in raw_calls(arch)))


def canonical_states(call: Call) -> list[EntryState]:
    """The states that stand for all in `call`, in the order of the raw ones."""
    return list(dict.fromkeys(canonical_state(call, state) for state in raw_states(call)))


def calls_for(call: Call) -> int:
    """How many raw calls canonical `call` stands for, itself included."""
    return sum(canonical_call(other) == call for other in raw_calls(call.arch))


def states_for(call: Call) -> list[int]:
    """How many raw states each of the canonical ones in `call` stands for, itself included."""
    counts = Counter(canonical_state(call, state) for state in raw_states(call))
    return [counts[state] for state in canonical_states(call)]
