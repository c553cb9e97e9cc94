"""Which decisions stand in which word of the choices: for whoever writes words by the decision.

Nothing depends on it: any words give a lawful case, and a word that is read as
another one than it was meant for is only another decision.
"""

from importlib import import_module

from .choices import Part
from .generator import WALKER_CHOICE
from .layout.entries import DETAIL_CHOICE
from .layout.folios import BLOCK_CHOICE
from .layout.runs import SHAPE_CHOICE
from .scene import CALL_CHOICE, MM_CHOICE, WINDOW_CHOICE
from .wild import BREAK_CHOICE

Word = tuple[Part, ...]

# A run on a new block of folios takes all three; one on a block that is there no second
# one, a hole only the first.
RUN: tuple[Word, ...] = (SHAPE_CHOICE, BLOCK_CHOICE, DETAIL_CHOICE)
# Behind the last run; in wild cases what is broken follows, and a word of noise that says how.
WALKER: Word = WALKER_CHOICE
BREAKS: Word = BREAK_CHOICE


def opening_of(arch: str) -> tuple[Word, ...]:
    """The words before the runs of a case of `arch`: machine, if it has a choice, call, window, mm."""
    machine: Word = import_module(f".words.{arch}", __package__).MACHINE_CHOICE
    return (*([machine] if machine else []), CALL_CHOICE, WINDOW_CHOICE, MM_CHOICE)


def call_place(arch: str) -> int:
    """Where the choice of the call, which says whether the case is wild, stands among the words."""
    return opening_of(arch).index(CALL_CHOICE)
