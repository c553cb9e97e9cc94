"""Cases of powerpc from given choices."""

from mm.jit import entry

from ..choices import rewind
from ..generator import generate
from ..words.powerpc import POWERPC
from . import signature


@entry(signature)
def generate_given(choices, state):
    """Fill `state` with the case that `choices` give; 1 if it was made wild, else 0."""
    rewind(choices)
    return generate(POWERPC, choices, state)
