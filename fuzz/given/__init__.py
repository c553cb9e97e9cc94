"""Cases from given choices: what mutation, atheris and Hypothesis fill.

Apart from `fuzz.generators`, because compiling them costs as much as the random
generators, which a campaign of random cases does without.
"""

from collections.abc import Callable, Sequence
from importlib import import_module
from typing import Any

import numpy as np

from harness.arrays import case_of
from harness.case import Case
from mm.state import State, numba_state

from ..choices import POSITION, WINDOW, given_choices
from ..generator import empty_case


def given_of(arch: str) -> Callable[..., Any]:
    """`generate_given(choices, state)` of `arch`; compiled, if it is, only now."""
    generate_given: Callable[..., Any] = import_module(f".{arch}", __name__).generate_given
    return generate_given


def case_of_words(arch: str, kernel: str, words: Sequence[int], key: int, window: int) -> Case:
    """The case of `arch` and `kernel` that `words`, then `key`, give (fuzz.choices).

    `window` is the number of entries, 0 leaves it to the words.
    """
    return case_of(_filled(arch, kernel, given_choices(words, key), window), arch, kernel)


def words_drawn(arch: str, kernel: str, words: Sequence[int], window: int) -> int:
    """How many words the case that `words`, then zeros, give takes: some of them, or more."""
    choices = given_choices(words)
    _filled(arch, kernel, choices, window)
    return int(choices[POSITION])


def _filled(arch: str, kernel: str, choices: Any, window: int) -> State:
    choices[WINDOW] = window
    state = empty_case(arch, kernel)
    with np.errstate(over="ignore"):
        given_of(arch)(choices, state)
    return state


def signature() -> Any:
    """The numba signature of a `generate_given`."""
    from numba import int64, uint64

    return int64(uint64[::1], numba_state())
