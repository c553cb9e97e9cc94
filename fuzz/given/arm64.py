"""Cases of arm64 from given choices."""

from mm.jit import entry

from ..choices import rewind
from ..generator import generate
from ..words.arm64 import ARM64
from . import signature


@entry(signature)
def generate_given(choices, state):
    """Fill `state` with the case that `choices` give; 1 if it was made wild, else 0."""
    rewind(choices)
    return generate(ARM64, choices, state)
