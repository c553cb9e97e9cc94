"""The classes of what a judge can say of an entry or a case: one bit, one name, one line each.

A judgement is a uint64 of class bits per entry, and one per case. *Explained*
classes are what batching may do: counted, and red only with `--deny`.
*Divergences* are never legal. *Invariants* judge an outcome without a reference.
"""

from typing import NamedTuple

import numpy as np

EXPLAINED = "explained"
DIVERGENCE = "divergence"
INVARIANT = "invariant"


class Class(NamedTuple):
    """One class; its place in CLASSES is its bit."""

    name: str
    kind: str
    means: str


CLASSES: tuple[Class, ...] = (
    # Explained: the exact merge of the legal batch yields the word, the entry alone does not.
    Class("accessed-merged", EXPLAINED, "accessed, because another entry of the batch is"),
    Class("dirty-merged", EXPLAINED, "dirty, because another entry of the batch is"),
    Class("soft-dirty-merged", EXPLAINED, "soft-dirty, because pte_mkdirty() merged a dirty entry"),
    Class("write-by-merged-dirty", EXPLAINED, "writable (shared), because a merged entry is dirty"),
    Class(
        "write-by-merged-soft-dirty",
        EXPLAINED,
        "writable (private), because the merge set soft-dirty",
    ),
    Class("dirty-moved", EXPLAINED, "dirty in another bit, with the same write permission"),
    # arm64: repainting a contpte block gives all 16 entries what any of them has.
    Class("accessed-by-unfold", EXPLAINED, "accessed, because another entry of its block was"),
    Class("dirty-by-unfold", EXPLAINED, "dirty, because another entry of its block was"),
    Class("accessed-by-fold", EXPLAINED, "accessed, because another entry of the new block is"),
    Class("dirty-by-fold", EXPLAINED, "dirty, because another entry of the new block is"),
    # Information: the kernel's comments forbid it, no bug is known. docs/findings.md.
    Class(
        "cont-set-without-tlbi",
        EXPLAINED,
        "a live block became contiguous with no invalidation in between",
    ),
    Class(
        "cont-cleared-without-tlbi",
        EXPLAINED,
        "a live block is contiguous no more, with no invalidation in between",
    ),
    Class(
        "not-judged",
        EXPLAINED,
        "an input is so wild that no kernel rule says what becomes of it, as a torn contpte block",
    ),
    Class("extra-nmmu", EXPLAINED, "coprocessors are told, though only the merged entry needs it"),
    Class("extra-flush", EXPLAINED, "flushed, though only the merged entry needs it"),
    Class("flush-elided", EXPLAINED, "not flushed, though the entry alone would need it"),
    # Divergences in the word of an entry.
    Class("cow-write", DIVERGENCE, "writable in a private mapping, but the page is not exclusive"),
    Class("write-gained", DIVERGENCE, "writable, but no legal merge makes it so"),
    Class("write-lost", DIVERGENCE, "read-only, but every legal merge makes it writable"),
    Class("entry-lost", DIVERGENCE, "no longer present, but the entry must stay"),
    Class("pfn-changed", DIVERGENCE, "maps another page"),
    Class("dirty-lost", DIVERGENCE, "clean, but it was dirty"),
    Class("dirty-gained", DIVERGENCE, "dirty, but no entry of its batch is"),
    Class("accessed-lost", DIVERGENCE, "not accessed, but it was"),
    Class("accessed-gained", DIVERGENCE, "accessed, but no entry of its batch is"),
    Class("soft-dirty-lost", DIVERGENCE, "not soft-dirty, but it was"),
    Class("soft-dirty-gained", DIVERGENCE, "soft-dirty, but no legal merge makes it so"),
    Class("uffd-changed", DIVERGENCE, "the userfaultfd bit is wrong"),
    Class("protection-changed", DIVERGENCE, "a protection, key or caching bit is wrong"),
    Class("bits-changed", DIVERGENCE, "another bit is wrong"),
    Class("skipped-changed", DIVERGENCE, "changed, but this call skips it"),
    Class("swap-changed", DIVERGENCE, "a swap-like entry or marker is wrong"),
    Class("none-changed", DIVERGENCE, "a none entry became something it must not be"),
    Class("outside-changed", DIVERGENCE, "outside the range, but changed"),
    # Divergences in flushes.
    Class("flush-missing", DIVERGENCE, "its transition needs a flush, and none covers it"),
    Class("flush-unneeded", DIVERGENCE, "flushed, though no legal merge needs it"),
    # Divergences in invalidations that are sent at once.
    Class("unfold-missing", DIVERGENCE, "a cut block is unfolded without an invalidation"),
    Class("unfold-unneeded", DIVERGENCE, "an unfold is logged for a block that nothing cuts"),
    Class(
        "fold-missing", DIVERGENCE, "a block is folded by its last entry without an invalidation"
    ),
    Class("fold-unneeded", DIVERGENCE, "a fold is logged for a block that was not folded so"),
    Class("nmmu-missing", DIVERGENCE, "a write upgrade is not told to the coprocessors"),
    Class("nmmu-unneeded", DIVERGENCE, "coprocessors are told, though no legal merge needs it"),
    # Divergences of the case as a whole.
    Class("invalidation-wrong", DIVERGENCE, "an invalidation is malformed or out of order"),
    Class("flush-outside", DIVERGENCE, "a flush request is empty or leaves the range"),
    Class("pages-wrong", DIVERGENCE, "the return value differs"),
    Class("bad-map-wrong", DIVERGENCE, "the number of bad-map reports differs"),
    Class("warn-wrong", DIVERGENCE, "the set of WARNs differs"),
    Class("access-time-wrong", DIVERGENCE, "the set of access-time stamps differs"),
    Class("input-changed", DIVERGENCE, "an input other than the table was written to"),
    Class("log-overflow", DIVERGENCE, "more requests or stamps than entries allow"),
    # Divergences of the run: the target did not come back, so there is no outcome to judge.
    Class("target-crash", DIVERGENCE, "the target ended its process"),
    Class("target-hang", DIVERGENCE, "the target did not return"),
    Class("target-overrun", DIVERGENCE, "the target wrote behind the last entry"),
    Class("target-raised", DIVERGENCE, "the target raised an exception"),
    # Invariants; the letters are those of docs/relation.md.
    Class("invariant-N", INVARIANT, "nothing outside the range is touched or flushed"),
    Class("invariant-W", INVARIANT, "private and writable only on an anon-exclusive page"),
    Class("invariant-V", INVARIANT, "writable only in a VMA with VM_WRITE"),
    Class("invariant-U", INVARIANT, "userfaultfd bit set means not writable"),
    Class("invariant-D", INVARIANT, "no dirty or accessed bit is lost"),
    Class("invariant-S", INVARIANT, "no soft-dirty bit is lost"),
    Class("invariant-F", INVARIANT, "the page or swap entry behind an entry stays"),
    Class("invariant-T", INVARIANT, "a TLB with the old entries keeps no stale right"),
    Class("invariant-B", INVARIANT, "a contpte block is whole and consistent, or none"),
    Class("invariant-X", INVARIANT, "no bit combination that the kernel never makes"),
)

NUMBER = {c.name: number for number, c in enumerate(CLASSES)}
NR_CLASSES = len(CLASSES)


def bit(name: str) -> np.uint64:
    """The bit of class `name`; KeyError for a name that is none."""
    return np.uint64(1 << NUMBER[name])


def bits_of(kind: str) -> np.uint64:
    """The bits of all classes of `kind`."""
    return np.uint64(sum(1 << number for number, c in enumerate(CLASSES) if c.kind == kind))


EXPLAINED_BITS = bits_of(EXPLAINED)
DIVERGENCE_BITS = bits_of(DIVERGENCE)
INVARIANT_BITS = bits_of(INVARIANT)
RED_BITS = DIVERGENCE_BITS | INVARIANT_BITS
# Of a target that did not come back. No judge sees these: there is no outcome.
OF_THE_RUN = frozenset({"target-crash", "target-hang", "target-overrun", "target-raised"})


def names(bits: int) -> list[str]:
    """The names of the classes in `bits`, in order."""
    return [c.name for number, c in enumerate(CLASSES) if int(bits) >> number & 1]
