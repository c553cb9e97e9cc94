"""Whole blocks: the invariant that they stay so, and the inputs with a torn one, which are not judged.

Windows are drawn as in `tests/blocks.py`, verdicts as in `tests/block_verdicts.py`.
"""

import numpy as np
import pytest

from harness import classes
from harness.case import Folio
from harness.contpte.blocks import has_torn_block, is_consistent
from harness.relation import ANY, EXACT, NONE
from harness.run import judge_case
from harness.sane import is_sane
from harness.targets import load
from harness.words.arm64 import WORDS
from mm import flags as f

from .block_verdicts import RED, drawn_case, found_by, places, verdict
from .blocks import CONT, DBM, DIRTY, NONE_PROT, NUMA, PRIVATE, RDONLY, TRY, state_of, words_of
from .drawing import judged

ANON = int(f.FOLIO_ANON)
INVARIANT = (classes.INVARIANT,)
FOLDED = "<---------------->"
PLAIN = "-" * 16


def rung(before: str, after: str | tuple[int, ...], tlbi: str = "", **arguments) -> dict[str, str]:
    """The invariants that ring."""
    if isinstance(after, str):
        return verdict(before, after, tlbi, kinds=INVARIANT, **arguments)
    found = judged(drawn_case(before, **arguments), after, kinds=INVARIANT)
    return places(found.entries, found.case)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (f"[{PLAIN}]", PLAIN),
        (f"[{PLAIN}]", FOLDED),
        (f"<[{PLAIN}]>", FOLDED),
        (f"<[{PLAIN}]>", PLAIN),
        # A block may be uneven in what the hardware marks it with.
        ("[abd-abd-abd-abd-]", "<abd-abd-abd-abd->"),
        ("[wWwWwWwWwWwWwWwW]", "<wWwWwWwWwWwWwWwW>"),
        # No block begins there.
        ("----[---]---------", "----------------"),
    ],
)
def test_whole_blocks_are_silent(before, after):
    assert "invariant-B" not in rung(before, after)


@pytest.mark.parametrize(
    ("before", "after", "base"),
    [
        # Torn: some entries are folded, and others are not.
        (f"<[{PLAIN}]>", "<-------->--------", "0"),
        (f"<[{PLAIN}]>", "--------<-------->", "0"),
        (f"<[{PLAIN}]>", "<--------------->-", "0"),
        (f"[{PLAIN}]", "-------<->--------", "0"),
        ("<-----[b--]-------->", "<bbbbb>bbb<bbbbbbbb>", "0"),
        (f"{PLAIN}<[{PLAIN}]>", f"{PLAIN}<-------->--------", "16"),
        # A folded block with a hole, or with a PROT_NONE entry.
        (f"<[{PLAIN}]>", "<-------.-------->", "0"),
        (f"<[{PLAIN}]>", "<-------n-------->", "0"),
        # Its entries differ in more than accessed and dirty.
        (f"<[{PLAIN}]>", "<-------w-------->", "0"),
        (f"<[{PLAIN}]>", "<-------u-------->", "0"),
        (f"<[{PLAIN}]>", "<---------------s>", "0"),
    ],
)
def test_torn_blocks_ring(before, after, base):
    assert rung(before, after)["invariant-B"] == base


@pytest.mark.parametrize("at", [0, 7, 15])
def test_pages_of_a_block_follow_each_other(at):
    words = list(words_of(FOLDED)[0])
    words[at] += 1 << 12
    assert rung(f"<[{PLAIN}]>", tuple(words))["invariant-B"] == "0"


@pytest.mark.parametrize("pfn", [0x12341, 0x12348, 0x1234F])
def test_block_begins_at_its_memory(pfn):
    """The pages follow each other, but 64 KiB of memory do not begin with the first."""
    assert rung(f"[{PLAIN}]", FOLDED, pfn=pfn) == {"invariant-B": "0"}
    assert rung(f"[{PLAIN}]", PLAIN, pfn=pfn) == {}


TWO = (Folio(0x12340, 8, ANON, 0, 0), Folio(0x12348, 8, ANON, 0, 0))


@pytest.mark.parametrize(
    ("folios", "rings"),
    [
        (TWO, True),
        # Pages of no folio, and of some.
        ((), True),
        (TWO[:1], True),
        (TWO[1:], True),
        ((Folio(0x12340, 16, ANON, 0, 0),), False),
        ((Folio(0x12340, 32, ANON, 0, 0),), False),
        ((Folio(0x12300, 128, ANON, 0, 0),), False),
    ],
)
@pytest.mark.parametrize(("before", "tlbi"), [("---------------[-]", "+0"), (f"[{PLAIN}]", "")])
def test_block_that_the_call_folds_maps_one_folio(before, tlbi, folios, rings):
    found = rung(before, FOLDED, tlbi, folios=folios)
    assert found == ({"invariant-B": "0"} if rings else {})
    # Of one that was folded before, the call is not to blame.
    assert rung(f"<[{PLAIN}]>", FOLDED, folios=folios) == {}


def test_prot_none_is_never_contiguous():
    case = drawn_case("[nnnnnnnnnnnnnnnn]", newprot=NONE_PROT, vm=int(PRIVATE) & ~0x3)
    assert is_sane(case)
    words = tuple(word | CONT for word in case.ptes)
    found = judged(case, words, kinds=RED)
    # Not valid, so no block; but a combination that is never made.
    assert places(found.entries, found.case) == {"bits-changed": "0-15", "invariant-X": "0-15"}


def test_dirty_writable_and_read_only_is_never_made():
    case = drawn_case("[-]---------------", cp=TRY)
    assert is_sane(case)
    words = (case.ptes[0] | DBM | DIRTY, *case.ptes[1:])
    found = judged(case, words, "f", kinds=INVARIANT)
    assert places(found.entries, found.case) == {"invariant-X": "0"}
    # Of a wild case nobody knows: no caller asks for both.
    wild = drawn_case("[-]---------------", cp=TRY | NUMA)
    assert not is_sane(wild)
    found = judged(wild, words, "f", kinds=INVARIANT)
    assert places(found.entries, found.case) == {}


def test_blocks_are_judged_for_wild_cases_too():
    assert rung(f"<[{PLAIN}]>", "<-------->--------", cp=TRY | NUMA)["invariant-B"] == "0"


def test_the_batched_side_and_the_reference_leave_whole_blocks():
    for before in (f"<[{PLAIN}]>", "<-----[b--]-------->", "---------------[-]", f"[{PLAIN}]"):
        for target, batching in (("batched", EXACT), ("reference", NONE)):
            judgement = judge_case(drawn_case(before), load(target, "arm64"), batching)
            assert found_by(judgement, RED) == {}


# Torn on input: no kernel knows such a block, so no rule says what becomes of it.

TORN = [
    "<-------->[--]------",
    "<[--------]>--------",
    "[-]<--------------->",
    "<------->-<[--]------>",
    "<[-------w--------]>",
    "<[-------.--------]>",
    "<[-------n--------]>",
    "<[-------u--------]>",
    # Also where the range is nowhere near.
    f"<-------->--------[{PLAIN}]",
    f"[{PLAIN}]<-------->--------",
]


@pytest.mark.parametrize("batching", [EXACT, ANY, NONE])
@pytest.mark.parametrize("before", TORN)
def test_case_with_a_torn_block_is_not_judged(before, batching):
    case = drawn_case(before)
    assert not is_sane(case)
    everything_wrong = tuple(~word & (1 << 64) - 1 for word in case.ptes)
    for after in (case.ptes, everything_wrong):
        found = judged(
            case,
            after,
            "f" * len(after),
            kinds=(classes.EXPLAINED, classes.DIVERGENCE, classes.INVARIANT),
            batching=batching,
            pages=1000,
            implicit=((1, 0), (2, 0)),
        )
        assert places(found.entries, found.case) == {"not-judged": "case"}


def test_a_target_that_writes_to_its_inputs_is_seen_even_so():
    def touch(workspace):
        workspace.theirs.exclusive[3] ^= 1

    case = drawn_case(TORN[0])
    found = judged(case, case.ptes, touch=touch)
    assert found.case == {"not-judged", "input-changed"}


@pytest.mark.parametrize(
    "before",
    ["<[-a-b-d----------]>", "<[wWxwwwwwwwwwwwww]>", f"[--]--------------<{PLAIN}>"],
)
def test_a_block_uneven_in_what_the_hardware_marks_is_not_torn(before):
    case = drawn_case(before)
    assert not has_torn_block(WORDS, state_of(case))
    assert "not-judged" not in judged(case, case.ptes).case


@pytest.mark.parametrize("before", ["<----[----]-------->", "<[-]--------------->"])
@pytest.mark.parametrize("at", [0, 4, 9])
def test_repainting_makes_rdonly_even(before, at):
    """Wild: read-only entries without RDONLY. pte_mkclean() sets it, so they make one block."""
    case = drawn_case(before)
    case = case.replace(ptes=tuple(w & ~RDONLY if i == at else w for i, w in enumerate(case.ptes)))
    judgement = judge_case(case, load("batched", "arm64"))
    assert found_by(judgement, RED) == {}
    # All are like the entry that was touched first.
    touched = case.ptes[case.call.start] & RDONLY
    outside = [i for i in range(16) if not case.call.start <= i < case.call.end]
    assert {judgement.theirs.ptes[i] & RDONLY for i in outside} == {touched}
    after = [word & ~CONT for word in judgement.theirs.ptes]
    after[15] ^= RDONLY
    requests = list(judgement.theirs.flushes)
    found = judged(case, tuple(after), requests, implicit=((1, 0),), kinds=(classes.DIVERGENCE,))
    assert places(found.entries, found.case) == {"outside-changed": "15"}


def test_unaligned_folded_block_is_torn():
    assert verdict(f"<[{PLAIN}]>", PLAIN, pfn=0x12341) == {"not-judged": "case"}


def test_blocks_next_to_each_other_are_judged_one_by_one():
    state = state_of(drawn_case(f"<{PLAIN}>[{PLAIN}]"))
    assert [bool(is_consistent(WORDS, state, base)) for base in (0, 16)] == [True, True]
    state.ptes[3] ^= np.uint64(CONT)
    assert [bool(is_consistent(WORDS, state, base)) for base in (0, 16)] == [False, True]
