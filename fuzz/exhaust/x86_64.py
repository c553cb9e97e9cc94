"""x86_64: the words of the alphabet, and its compiled loop."""

from harness.relation import judge_relation, reference_rules
from harness.words.x86_64 import WORDS
from mm import x86_64 as x86
from mm.jit import entry

from .alphabet import PROTNONE_ASKS, Alphabet, Call, EntryState, Kind, Right, access_index
from .loop import run_cases, signature
from .payload import page_of, swap_of

RULES = reference_rules("x86_64")

# A readable entry that cannot be executed, old and clean: PAGE_READONLY without its A.
_READABLE = int(x86.PAGE_PRESENT | x86.PAGE_USER | x86.PAGE_NX)
_OFFSET_MASK = (1 << x86.SWP_OFFSET_BITS) - 1


@entry(signature)
def loop(reference, target, workspace, cases):
    """As `run_cases`, for x86_64."""
    return run_cases(WORDS, RULES, judge_relation, reference, target, workspace, cases)


def word(state: EntryState, pfn: int, index: int, kernel: str) -> int:
    """The entry in `state`, which is number `index` of the range; `pfn` is its page of the folio."""
    if state.kind is Kind.NONE:
        return 0
    own = page_of(state, pfn, index)
    if own is None:
        return _swap_word(state, kernel)
    field = own << int(x86.PFN_SHIFT)
    if state.kind is Kind.PROTNONE:
        return _with_bits(int(x86.PAGE_GLOBAL) | ~field & int(x86.PTE_PFN_MASK), state)
    special = int(x86.PAGE_SPECIAL) if state.kind is Kind.ZERO_PAGE else 0
    return _with_bits(_READABLE | special | field, state)


def _with_bits(bits: int, state: EntryState) -> int:
    write = state.right is Right.WRITE
    # Dirtiness of what is read-only lives in the software bit: pte_mksaveddirty().
    dirty = x86.PAGE_DIRTY if write else x86.PAGE_SAVED_DIRTY
    for on, bit in (
        (write, x86.PAGE_RW),
        (state.right is Right.UFFD, x86.PAGE_UFFD),
        (state.dirty, dirty),
        (state.accessed, x86.PAGE_ACCESSED),
        (state.soft_dirty, x86.PAGE_SOFT_DIRTY),
    ):
        bits |= int(bit) if on else 0
    return bits


def _swap_word(state: EntryState, kernel: str) -> int:
    number, offset = swap_of(state, kernel)
    bits = number << int(x86.SWP_TYPE_SHIFT)
    bits |= (~offset & _OFFSET_MASK) << int(x86.SWP_OFFSET_SHIFT)
    bits |= int(x86.SWP_SOFT_DIRTY) if state.soft_dirty else 0
    bits |= int(x86.SWP_UFFD) if state.right is Right.UFFD else 0
    return bits | (int(x86.SWP_EXCLUSIVE) if state.exclusive else 0)


def newprot(call: Call) -> int:
    """The protection that the caller hands over."""
    if call.ask in PROTNONE_ASKS:
        return int(x86.PAGE_NONE)
    return int(x86.PROTECTION_MAP[access_index(call)])


ALPHABET = Alphabet(arch="x86_64", word=word, newprot=newprot, loop=loop)
