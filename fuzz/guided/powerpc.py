"""Mutations of cases of powerpc, compiled for a campaign's loop."""

import numpy as np

from harness.words.powerpc import WORDS
from mm import powerpc as mmu
from mm.jit import entry

from ..words.powerpc import POWERPC
from .loop import numba_mutate
from .mutations import mutate_some

# Bits of a present entry that a mutation flips; those that bear on batches more often.
FLIPS = np.array(
    [mmu.PAGE_WRITE] * 3
    + [mmu.PAGE_SOFT_DIRTY] * 4
    + [mmu.PAGE_READ] * 2
    + [mmu.PAGE_EXEC, mmu.PAGE_PRIVILEGED, mmu.PAGE_SAO, mmu.PAGE_SPECIAL],
    np.uint64,
)


# Choices of a case that come before those of its runs: machine, call and VMA, window, mm.
SCENE_WORDS = 4


@entry(numba_mutate)
def mutate(dice, corpus, donor, state):
    """Change a few things in `state`; `donor` is the slot of another case."""
    mutate_some(WORDS, POWERPC, FLIPS, dice, corpus, donor, state)
