"""powerpc: the words of the alphabet, and its compiled loop. Radix, 64 KiB pages."""

from harness.relation import judge_relation, reference_rules
from harness.words.powerpc import WORDS
from mm import powerpc as mmu
from mm.jit import entry

from .alphabet import PROTNONE_ASKS, Alphabet, Call, EntryState, Kind, Right, access_index
from .loop import run_cases, signature
from .payload import page_of, swap_of

RULES = reference_rules("powerpc")

# Readable, cannot be executed, old and clean.
_READABLE = int(mmu.PAGE_PRESENT | mmu.PAGE_PTE | mmu.PAGE_READ)
_INACCESSIBLE = int(mmu.PAGE_PRESENT | mmu.PAGE_PTE)
_PFN_SHIFT = 16
_OFFSET_MASK = (1 << mmu.SWP_OFFSET_BITS_64K) - 1


@entry(signature)
def loop(reference, target, workspace, cases):
    """As `run_cases`, for powerpc."""
    return run_cases(WORDS, RULES, judge_relation, reference, target, workspace, cases)


def word(state: EntryState, pfn: int, index: int, kernel: str) -> int:
    """The entry in `state`, which is number `index` of the range; `pfn` is its page of the folio."""
    if state.kind is Kind.NONE:
        return 0
    own = page_of(state, pfn, index)
    if own is None:
        return _swap_word(state, kernel)
    bits = _INACCESSIBLE if state.kind is Kind.PROTNONE else _READABLE
    for on, bit in (
        (state.kind is Kind.ZERO_PAGE, mmu.PAGE_SPECIAL),
        (state.right is Right.WRITE, mmu.PAGE_WRITE),
        (state.dirty, mmu.PAGE_DIRTY),
        (state.accessed, mmu.PAGE_ACCESSED),
        (state.soft_dirty, mmu.PAGE_SOFT_DIRTY),
    ):
        bits |= int(bit) if on else 0
    return bits | own << _PFN_SHIFT


def _swap_word(state: EntryState, kernel: str) -> int:
    number, offset = swap_of(state, kernel)
    bits = int(mmu.PAGE_PTE) | number | (offset & _OFFSET_MASK) << _PFN_SHIFT
    bits |= int(mmu.SWP_SOFT_DIRTY) if state.soft_dirty else 0
    return bits | (int(mmu.SWP_EXCLUSIVE) if state.exclusive else 0)


def newprot(call: Call) -> int:
    """The protection that the caller hands over."""
    if call.ask in PROTNONE_ASKS:
        return int(mmu.PAGE_NONE)
    return int(mmu.PROTECTION_MAP[access_index(call)])


ALPHABET = Alphabet(
    arch="powerpc",
    word=word,
    newprot=newprot,
    loop=loop,
    not_varied=("radix MMU, 64 KiB pages, ISA 3.0, no coprocessors",),
)
