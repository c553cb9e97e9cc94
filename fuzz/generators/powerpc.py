"""Random cases of powerpc."""

from mm.jit import entry

from ..choices import fill
from ..generator import generate
from ..words.powerpc import POWERPC
from . import signature


@entry(signature)
def generate_case(choices, state, seed, index):
    """Fill `state` with random case `index` of `seed`; 1 if it was made wild, else 0.

    `choices` is scratch of at least `choices.FIRST` words; its WINDOW is respected.
    """
    fill(choices, seed, index)
    return generate(POWERPC, choices, state)
