"""Raw cases beside the canonical ones that stand for them, and whether their verdicts are equal."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

from fuzz.exhaust import symmetries
from fuzz.exhaust.alphabet import Call, EntryState, Kind
from fuzz.exhaust.scope import Block, Runner, Scope
from fuzz.hunter import RED
from harness.targets import load

Pair = tuple[EntryState, EntryState]


def changed(
    symmetry: Callable[..., Any], block: Block, step: int
) -> Iterator[tuple[Pair, Call, Pair]]:
    """(states, call, states): raw cases of two entries that `symmetry` changes, and what it makes.

    Every `step`-th case of the block is looked at.
    """
    of_call = symmetry in symmetries.CALL_SYMMETRIES
    call = symmetry(block.call) if of_call else block.call
    images = [state if of_call else symmetry(block.call, state) for state in block.states]
    same = [image == state for image, state in zip(images, block.states, strict=True)]
    for place in range(0, block.size, step):
        one, other = divmod(place, len(block.states))
        if call != block.call or not (same[one] and same[other]):
            yield (block.states[one], block.states[other]), call, (images[one], images[other])


def compare(
    symmetry: Callable[..., Any],
    target: str,
    step: int,
    asks: tuple[str, ...],
    arch: str = "x86_64",
) -> tuple[int, int]:
    """How many pairs were run, and how many of them had two verdicts."""
    scope = Scope(arch, "7.3", 2, raw=True, asks=asks)
    raw, canonical = (Runner(scope, load(target, arch), RED, 0) for _ in range(2))
    blocks = {block.call: block for block in scope.blocks}
    pairs = differ = 0
    for block in scope.blocks:
        for states, call, images in changed(symmetry, block, step):
            verdicts = []
            for runner, number in (
                (raw, scope.number(block, states)),
                (canonical, scope.number(blocks[call], images)),
            ):
                verdicts.append(list(runner.run(number, number + 1)[0].verdicts))
            pairs += 1
            differ += verdicts[0] != verdicts[1]
    return pairs, differ


def wrong(call: Call, state: EntryState) -> EntryState:
    """What is no symmetry: exclusive bits are read by a write upgrade."""
    del call
    own_page = state.kind in (Kind.FOLIO, Kind.PROTNONE)
    return replace(state, exclusive=True) if own_page else state
