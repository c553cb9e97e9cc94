"""Mutations of cases of x86_64, compiled for a campaign's loop."""

import numpy as np

from harness.words.x86_64 import WORDS
from mm import x86_64 as mmu
from mm.jit import entry

from ..words.x86_64 import X86_64
from .loop import numba_mutate
from .mutations import mutate_some

_PKEY = np.uint64(1) << mmu.PKEY_SHIFT
# Bits of a present entry that a mutation flips; those that bear on batches more often.
FLIPS = np.array(
    [mmu.PAGE_RW] * 3
    + [mmu.PAGE_SOFT_DIRTY] * 4
    + [mmu.PAGE_UFFD] * 3
    + [mmu.PAGE_USER, mmu.PAGE_PCD, mmu.PAGE_PWT, mmu.PAGE_NX, mmu.PAGE_SPECIAL, _PKEY],
    np.uint64,
)


# Choices of a case that come before those of its runs: call and VMA, window, mm.
SCENE_WORDS = 3


@entry(numba_mutate)
def mutate(dice, corpus, donor, state):
    """Change a few things in `state`; `donor` is the slot of another case."""
    mutate_some(WORDS, X86_64, FLIPS, dice, corpus, donor, state)
