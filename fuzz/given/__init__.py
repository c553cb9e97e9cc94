"""Cases from given choices: what mutation, atheris and Hypothesis fill.

Apart from `fuzz.generators`, because compiling them costs as much as the random
generators, which a campaign of random cases does without.
"""

from collections.abc import Callable
from importlib import import_module
from typing import Any

from mm.state import numba_state


def given_of(arch: str) -> Callable[..., Any]:
    """`generate_given(choices, state)` of `arch`; compiled, if it is, only now."""
    generate_given: Callable[..., Any] = import_module(f".{arch}", __name__).generate_given
    return generate_given


def signature() -> Any:
    """The numba signature of a `generate_given`."""
    from numba import int64, uint64

    return int64(uint64[::1], numba_state())
