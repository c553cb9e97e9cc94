"""The symmetries by which raw cases become canonical ones, one named function each.

Each maps a call or a state to the one that stands for it, and keeps the verdict of
every single case of a target that diverges nowhere: no rule reads what it changes.
tests/test_exhaust.py runs both cases of many pairs, and compares all verdicts of the
two alphabets; docs/exhaust.md has the figures.
"""

from collections import Counter
from dataclasses import replace
from itertools import product

from .alphabet import ASKS, PROTNONE_ASKS, Call, EntryState, Kind, Place, Right, access_index

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
    del call
    kind = _LONE_KINDS.get(state.kind, state.kind)
    if kind is Kind.ORDER_0:
        if state.right is Right.WRITE:
            return EntryState(kind, Right.WRITE, True, True, True, True)
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


def raw_calls() -> list[Call]:
    """Every ask in every VMA at every place."""
    return [Call(*parts) for parts in product(ASKS, _BOOLS, _BOOLS, _BOOLS, Place)]


def raw_states() -> list[EntryState]:
    """Every state of an entry: 130."""
    read_only = (Right.READ, Right.UFFD)
    states = []
    for kind, rights in ((Kind.FOLIO, tuple(Right)), (Kind.PROTNONE, read_only)):
        for right, dirty, accessed in product(rights, _BOOLS, _BOOLS):
            for soft_dirty, exclusive in product(_BOOLS, _BOOLS):
                states.append(EntryState(kind, right, dirty, accessed, soft_dirty, exclusive))
    for right, dirty, soft_dirty, exclusive in product(Right, _BOOLS, _BOOLS, _BOOLS):
        states.append(EntryState(Kind.ORDER_0, right, dirty, True, soft_dirty, exclusive))
    states += [EntryState(Kind.NONE, exclusive=on) for on in _BOOLS]
    states += [EntryState(Kind.ZERO_PAGE, soft_dirty=on) for on in _BOOLS]
    for right, soft_dirty, exclusive in product(read_only, _BOOLS, _BOOLS):
        states.append(EntryState(Kind.SWAP, right, soft_dirty=soft_dirty, exclusive=exclusive))
    states += [
        EntryState(kind)
        for kind in Kind
        if kind.value.startswith(("migration", "device", "hwpoison", "marker"))
    ]
    states.append(EntryState(Kind.ASTRAY))
    states.append(EntryState(Kind.ASTRAY, Right.WRITE, dirty=True, accessed=True, soft_dirty=True))
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


def canonical_calls() -> list[Call]:
    """The calls that stand for all, in the order of the raw ones."""
    return list(dict.fromkeys(canonical_call(call) for call in raw_calls()))


def canonical_states(call: Call) -> list[EntryState]:
    """The states that stand for all in `call`, in the order of the raw ones."""
    return list(dict.fromkeys(canonical_state(call, state) for state in raw_states()))


def calls_for(call: Call) -> int:
    """How many raw calls canonical `call` stands for, itself included."""
    return sum(canonical_call(other) == call for other in raw_calls())


def states_for(call: Call) -> list[int]:
    """How many raw states each of the canonical ones in `call` stands for, itself included."""
    counts = Counter(canonical_state(call, state) for state in raw_states())
    return [counts[state] for state in canonical_states(call)]
