"""Answers of an architecture that lacks what is asked for: filled into its `Words`."""

import numpy as np

from mm.jit import rule


@rule
def no_bit(word):
    """There is no such bit: it is never set."""
    return np.bool_(False)


@rule
def same(word):
    """There is no such bit to change: `word` as it is."""
    return word


@rule
def never_repainted(old, new):
    """There are no contpte blocks: nothing may happen to an entry beside the range."""
    return np.bool_(False)


@rule
def no_nmmu(state, old, new):
    """There are no coprocessors with an MMU of their own to tell."""
    return np.bool_(False)


@rule
def always_protection(state):
    """pte_modify() takes nothing from newprot but a protection."""
    return np.bool_(True)


@rule
def upgrade_not_asked(word, other):
    """Not asked, because `is_protection` always holds."""
    return other
