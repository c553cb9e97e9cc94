"""Cases from given choices: what mutation, atheris and Hypothesis fill.

Apart from `fuzz.x86_64`, because compiling it costs as much as the random
generator, which a campaign of random cases does without.
"""

from typing import Any

from mm.jit import entry
from mm.state import numba_state

from .choices import rewind
from .generator import generate
from .x86_64 import X86_64


def _signature() -> Any:
    from numba import int64, uint64

    return int64(uint64[::1], numba_state())


@entry(_signature)
def generate_given(choices, state):
    """Fill `state` with the case that `choices` give; 1 if it was made wild, else 0."""
    rewind(choices)
    return generate(X86_64, choices, state)
