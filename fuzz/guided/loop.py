"""The hot loop of a guided campaign: random and mutated cases, judged and kept; no Python per case.

As `fuzz.campaign`, whose loop for random cases stays as it is: that one neither
looks for features nor keeps a case.
"""

from typing import Any

import numpy as np

from harness.canaries import numba_spoil
from harness.census import numba_describe
from harness.features.rules import numba_features
from harness.handle import numba_handle
from harness.judge import numba_judge
from harness.workspace import numba_workspace
from mm.jit import entry, rule
from mm.state import numba_state, numba_target

from ..campaign import is_to_be_shown, judge_runs
from ..choices import POSITION, fill
from ..generators import signature as generate_signature
from ..given import signature as given_signature
from .breeding import RANDOM, STATE, breed
from .corpus import NR_WORDS, ORIGIN, USED, consider, numba_corpus, pick, restore, roll

ZERO = np.uint64(0)
# The streams that decide about mutations are others than those of the random cases.
_SALT = np.uint64(0x6A09_E667_F3BC_C908)
# `shares` says how each of so many parts of all cases is made.
NR_SHARES = 64


def numba_mutate() -> Any:
    """The numba signature of an architecture's `mutate`."""
    from numba import int64, uint64, void

    return void(uint64[::1], numba_corpus(), int64, numba_state())


@rule
def next_case(generate, given, mutate, corpus, dice, choices, state, seed, index, shares, scene):
    """Make case `index` in `state`; whether it is wild. ORIGIN says how it was made.

    One part of NR_SHARES of all cases is made as each of `shares` says, once two cases
    are kept. A random one is the random case of the same seed and index.
    """
    fill(dice, seed ^ _SALT, np.uint64(index))
    way = shares[roll(dice, NR_SHARES)]
    if corpus.sums[USED] < 2 or way == RANDOM:
        corpus.sums[ORIGIN] = RANDOM
        state.facts[0] = corpus.kernel[0]
        return generate(choices, state, seed, np.uint64(index)) != 0
    parent = pick(corpus, dice)
    if way == STATE or corpus.meta[parent, NR_WORDS] == 0:
        corpus.sums[ORIGIN] = STATE
        restore(corpus, parent, state)
        mutate(dice, corpus, roll(dice, corpus.sums[USED]), state)
        # No choices make it, and nobody knows whether a kernel could.
        choices[POSITION] = ZERO
        return True
    corpus.sums[ORIGIN] = way
    breed(corpus, dice, choices, parent, way, scene)
    state.facts[0] = corpus.kernel[0]
    return given(choices, state) != 0


def _makers() -> tuple[Any, ...]:
    """Types of what makes a case."""
    from numba import types

    return (
        types.FunctionType(generate_signature()),
        types.FunctionType(given_signature()),
        types.FunctionType(numba_mutate()),
    )


def _next_signature() -> Any:
    from numba import boolean, int64, uint64

    return boolean(
        *_makers(),
        numba_corpus(),
        uint64[::1],  # dice
        uint64[::1],  # choices
        numba_state(),
        uint64,  # seed
        int64,  # index
        int64[::1],  # shares
        int64,  # scene
    )


@entry(_next_signature)
def make_case(generate, given, mutate, corpus, dice, choices, state, seed, index, shares, scene):
    """`next_case`, for a target that is called from Python."""
    return next_case(
        generate, given, mutate, corpus, dice, choices, state, seed, index, shares, scene
    )


def _learn_signature() -> Any:
    from numba import int64, uint64, void

    return void(numba_corpus(), uint64[::1], uint64[::1], numba_state(), uint64[::1], int64)


@entry(_learn_signature)
def learn(corpus, dice, choices, state, features, count):
    """`consider`, to be called from Python."""
    consider(corpus, dice, choices, state, features, count)


def _signature() -> Any:
    from numba import int64, types, uint64

    return int64(
        *_makers(),
        types.FunctionType(numba_target()),  # reference
        types.FunctionType(numba_target()),  # target
        types.FunctionType(numba_judge()),
        types.FunctionType(numba_describe()),
        types.FunctionType(numba_spoil()),
        types.FunctionType(numba_features()),
        numba_workspace(),
        numba_handle(),
        numba_corpus(),
        uint64[::1],  # features
        uint64[::1],  # dice
        uint64[::1],  # choices
        uint64,  # seed
        int64,  # first
        int64,  # last
        int64[::1],  # shares
        int64,  # scene
        uint64,  # red
        int64,  # cap
        int64,  # batching
        int64,  # canary
        int64[::1],  # seen
        int64[::1],  # tally
    )


@entry(_signature)
def hunt_guided(
    generate,
    given,
    mutate,
    reference,
    target,
    judge,
    describe,
    spoil,
    find,
    workspace,
    handle,
    corpus,
    features,
    dice,
    choices,
    seed,
    first,
    last,
    shares,
    scene,
    red,
    cap,
    batching,
    canary,
    seen,
    tally,
):
    """Run the cases [first, last) of `seed` until one is to be shown, as `fuzz.campaign.hunt` does.

    They depend on the corpus, which is added to: a range gives the same cases if it
    is begun with the same corpus.
    """
    for index in range(first, last):
        wild = next_case(
            generate,
            given,
            mutate,
            corpus,
            dice,
            choices,
            workspace.case,
            seed,
            index,
            shares,
            scene,
        )
        union = judge_runs(
            reference,
            target,
            judge,
            describe,
            spoil,
            workspace,
            handle,
            index,
            wild,
            batching,
            canary,
            tally,
        )
        count = find(handle, features)
        consider(corpus, dice, choices, workspace.case, features, count)
        if is_to_be_shown(union & red, cap, seen):
            return index
    return last
