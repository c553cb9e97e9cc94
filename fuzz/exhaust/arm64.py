"""arm64: the words of the alphabet, and its compiled loop."""

from harness.contpte.blocks import judge_blocks
from harness.contpte.relation import judge_relation
from harness.relation import reference_rules
from harness.words.arm64 import WORDS
from mm import arm64 as mmu
from mm.jit import entry, rule

from .alphabet import PROTNONE_ASKS, Alphabet, Call, EntryState, Kind, Right, access_index
from .loop import run_cases, signature
from .payload import page_of, swap_of

RULES = reference_rules("arm64")

# PAGE_READONLY and PAGE_NONE without their AF: old and clean.
_READABLE = int(mmu.PROTECTION_MAP[1] & ~mmu.PTE_AF)
_INACCESSIBLE = int(mmu.PAGE_NONE & ~mmu.PTE_AF)
_OFFSET_MASK = (1 << mmu.SWP_OFFSET_BITS) - 1


@rule
def _relate(words, rules, workspace, our_pages, their_pages, batching):
    # No case of the alphabet has a torn block.
    judge_relation(words, rules, workspace, our_pages, their_pages, batching)
    judge_blocks(words, workspace)


@entry(signature)
def loop(reference, target, workspace, cases):
    """As `run_cases`, for arm64."""
    return run_cases(WORDS, RULES, _relate, reference, target, workspace, cases)


def word(state: EntryState, pfn: int, index: int, kernel: str) -> int:
    """The entry in `state`, not folded, number `index` of the range; `pfn` is its page of the folio."""
    if state.kind is Kind.NONE:
        return 0
    own = page_of(state, pfn, index)
    if own is None:
        return _swap_word(state, kernel)
    write = state.right is Right.WRITE
    bits = _INACCESSIBLE if state.kind is Kind.PROTNONE else _READABLE
    for on, bit in (
        (state.kind is Kind.ZERO_PAGE, mmu.PTE_SPECIAL),
        (write, mmu.PTE_WRITE),
        (state.right is Right.UFFD, mmu.PTE_UFFD),
        (state.dirty, mmu.PTE_DIRTY),
        (state.accessed, mmu.PTE_AF),
    ):
        bits |= int(bit) if on else 0
    if write and state.dirty:
        bits &= ~int(mmu.PTE_RDONLY)
    return bits | own << int(mmu.PFN_SHIFT)


def _swap_word(state: EntryState, kernel: str) -> int:
    number, offset = swap_of(state, kernel)
    bits = number << int(mmu.SWP_TYPE_SHIFT)
    bits |= (offset & _OFFSET_MASK) << int(mmu.SWP_OFFSET_SHIFT)
    bits |= int(mmu.SWP_UFFD) if state.right is Right.UFFD else 0
    return bits | (int(mmu.SWP_EXCLUSIVE) if state.exclusive else 0)


def newprot(call: Call) -> int:
    """The protection that the caller hands over."""
    if call.ask in PROTNONE_ASKS:
        return int(mmu.PAGE_NONE)
    return int(mmu.PROTECTION_MAP[access_index(call)])


ALPHABET = Alphabet(
    arch="arm64",
    word=word,
    newprot=newprot,
    loop=loop,
    cont=int(mmu.PTE_CONT),
    not_varied=(
        "BBML3 is absent; entries that are dirty and writable have both of its marks",
        "one block: its other entries are alike, old and clean, and folded with those of the range",
    ),
)
