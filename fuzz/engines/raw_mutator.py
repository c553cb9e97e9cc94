"""Mutations of inputs by the decision: what atheris tries instead of flipping bytes.

Bytes flipped anywhere turn fourteen decisions of a word at once. Each operator here
does one thing that somebody who looks for a bug would do: move the window's edge, add,
drop or repeat a run, turn one decision.
"""

import random
from collections.abc import Callable
from dataclasses import replace

from ..choice_table import RUN, WALKER, opening_of
from .raw_input import MAX_WORD, Input

# Entries of a window at most, but for a block that is made whole.
MAX_WINDOW = 40
MAX_WORDS = 48
# One mutation in so many is a new input altogether, whatever guidance says.
BLIND = 8
MAX_STEPS = 4

Operator = Callable[[random.Random, Input], Input]


def fresh(rng: random.Random, like: Input) -> Input:
    """A random input for the architecture and kernel of `like`."""
    runs = rng.randint(1, 5)
    return replace(
        like,
        window=rng.randint(1, MAX_WINDOW),
        key=rng.choice((0, rng.getrandbits(64))),
        words=tuple(
            rng.getrandbits(64) for _ in range(len(opening_of(like.arch)) + runs * len(RUN))
        ),
    )


def turn_decision(rng: random.Random, what: Input) -> Input:
    """Another value for one decision of one word; for the walker's behind the last too."""
    opening = opening_of(what.arch)
    words = [*what.words, 0]
    place = rng.randrange(len(words))
    word = opening[place] if place < len(opening) else rng.choice((*RUN, WALKER))
    part = rng.choice(word)
    shift, top = int(part.shift), int(part.mask)
    old = words[place] >> shift & top
    new = rng.choice((0, top, rng.randint(0, top), max(old - 1, 0), min(old + 1, top)))
    words[place] = words[place] & ~(top << shift) | new << shift
    return replace(what, words=tuple(words))


def move_edge(rng: random.Random, what: Input) -> Input:
    """A window of another length."""
    window = rng.choice((what.window - 1, what.window + 1, rng.randint(1, MAX_WINDOW)))
    return replace(what, window=min(max(window, 1), MAX_WINDOW))


def change_key(rng: random.Random, what: Input) -> Input:
    """Something else behind the words, or nothing."""
    return replace(what, key=rng.choice((0, rng.getrandbits(64))))


def _run_place(rng: random.Random, what: Input) -> int:
    first = len(opening_of(what.arch))
    return rng.randint(min(first, len(what.words)), len(what.words))


def add_run(rng: random.Random, what: Input) -> Input:
    """A random run somewhere."""
    at = _run_place(rng, what)
    run = tuple(rng.getrandbits(64) for _ in RUN)
    return replace(what, words=(*what.words[:at], *run, *what.words[at:]))


def drop_words(rng: random.Random, what: Input) -> Input:
    """Up to a run less."""
    at = _run_place(rng, what)
    return replace(what, words=(*what.words[:at], *what.words[at + rng.randint(1, len(RUN)) :]))


def repeat_run(rng: random.Random, what: Input) -> Input:
    """A run once more, behind itself."""
    at = _run_place(rng, what)
    run = what.words[at : at + len(RUN)]
    return replace(what, words=(*what.words[:at], *run, *what.words[at:]))


# As often as each stands here.
OPERATORS: tuple[Operator, ...] = (
    *[turn_decision] * 6,
    *[add_run] * 2,
    drop_words,
    repeat_run,
    move_edge,
    change_key,
)


def mutate(what: Input, rng: random.Random, max_words: int = MAX_WORDS) -> Input:
    """An input like `what` with at most `max_words` words, a few steps away from it."""
    if not what.words or rng.randrange(BLIND) == 0:
        what = fresh(rng, what)
    else:
        for _ in range(rng.randint(1, MAX_STEPS)):
            what = rng.choice(OPERATORS)(rng, what)
    return _within(what, max_words)


def splice(one: Input, other: Input, rng: random.Random, max_words: int = MAX_WORDS) -> Input:
    """The call and first runs of `one`, then runs of `other`."""
    words = (*one.words[: _run_place(rng, one)], *other.words[_run_place(rng, other) :])
    return _within(replace(one, words=words), max_words)


def _within(what: Input, max_words: int) -> Input:
    words = what.words[: min(max_words, MAX_WORDS)]
    assert all(0 <= word <= MAX_WORD for word in words), words
    return replace(what, words=words)
