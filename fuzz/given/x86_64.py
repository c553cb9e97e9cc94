"""Cases of x86_64 from given choices."""

from mm.jit import entry

from ..choices import rewind
from ..generator import generate
from ..words.x86_64 import X86_64
from . import signature


@entry(signature)
def generate_given(choices, state):
    """Fill `state` with the case that `choices` give; 1 if it was made wild, else 0."""
    rewind(choices)
    return generate(X86_64, choices, state)
