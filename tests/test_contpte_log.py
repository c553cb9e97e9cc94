"""The log of folds and unfolds: which a call must send at once, in order, and which it may not.

Windows are drawn as in `tests/blocks.py`, verdicts as in `tests/block_verdicts.py`.
"""

from pathlib import Path

import numpy as np
import pytest

from harness import classes
from harness.case import Folio
from harness.relation import EXACT, NONE
from harness.vectors import read
from mm import flags as f
from mm.jit import ROOT
from mm.state import FOLD, NMMU, NR_FLUSHES, UNFOLD

from .block_verdicts import RED, drawn_case, left_by, places, verdict
from .blocks import ADDR, CONFIG, NONE_PROT, TRY, words_of
from .drawing import judged

MINIMAL = {v.id: v for v in read(Path(ROOT / "corpus/vectors/arm64/minimal.jsonl.xz"))}
BBML3 = {"config": CONFIG._replace(bbml3=True)}

TWO_CUT = ("<--------[--------><--------]-------->", "-" * 32)
FOLDED = ("---------------[-]", "<---------------->")
TWO_FOLDED = (
    "---------------[-a--------------]",
    "<----------------><aaaaaaaaaaaaaaaa>",
)


@pytest.mark.parametrize(
    ("picture", "tlbi", "rung"),
    [
        (TWO_CUT, "-0 -1", {}),
        (TWO_CUT, "-0", {"unfold-missing": "16"}),
        (TWO_CUT, "", {"unfold-missing": "0,16"}),
        (TWO_CUT, "-1 -0", {"invalidation-wrong": "case"}),
        (TWO_CUT, "-0 -0 -1", {"invalidation-wrong": "case"}),
        (TWO_CUT, "-0 -1 -1", {"invalidation-wrong": "case"}),
        (TWO_CUT, "-0 +0 -1", {"fold-unneeded": "0"}),
        (TWO_CUT, "+0 +1", {"unfold-missing": "0,16", "fold-unneeded": "0,16"}),
        (FOLDED, "+0", {}),
        (FOLDED, "", {"fold-missing": "0"}),
        (FOLDED, "-0", {"unfold-unneeded": "0", "fold-missing": "0"}),
        (FOLDED, "-0 +0", {"unfold-unneeded": "0"}),
        (FOLDED, "+0 +0", {"invalidation-wrong": "case"}),
        # Nothing is cut, nothing folded.
        (("[---]-------------", "-" * 16), "-0", {"unfold-unneeded": "0"}),
        (("[---]-------------", "-" * 16), "+0", {"fold-unneeded": "0"}),
        # A fold that is not tried is no fault, only one that is said and not done.
        ((FOLDED[0], "-" * 16), "", {}),
        ((FOLDED[0], "-" * 16), "+0", {"fold-unneeded": "0"}),
        # A block that the batch covers stays as it is.
        (("<[----------------]>", "<---------------->"), "", {}),
        (("<[----------------]>", "<---------------->"), "-0", {"unfold-unneeded": "0"}),
        (("<[----------------]>", "<---------------->"), "+0", {"fold-unneeded": "0"}),
    ],
)
def test_log_is_exact(picture, tlbi, rung):
    assert verdict(*picture, tlbi, kinds=RED) == rung


@pytest.mark.parametrize(
    "before", ["<-----[-]---------->", "<---------------[-]>", "<[-]--------------->"]
)
def test_cut_block_is_unfolded_even_if_its_words_say_nothing(before):
    """With CONT in place again, or as if nothing had happened."""
    for after in ("-" * 16, "<---------------->"):
        assert verdict(before, after, kinds=RED)["unfold-missing"] == "0"


def test_each_list_ascends_whatever_the_other_does():
    """Entry by entry, block 0 is unfolded and folded before block 1 is met."""
    picture = ("<[----------------><----------------]>", "<----------------><---------------->")
    for tlbi in ("-0 +0 -1 +1", "-0 -1 +0 +1"):
        assert verdict(*picture, tlbi, kinds=RED, batching=NONE) == {}
    for tlbi in ("-0 +1 -1 +0", "-1 +0 -0 +1"):
        found = verdict(*picture, tlbi, kinds=RED, batching=NONE)
        assert found == {"invalidation-wrong": "case"}


BLOCK = 16 * 0x1000


@pytest.mark.parametrize("kind", [UNFOLD, FOLD])
@pytest.mark.parametrize(
    ("address", "pages"),
    [
        (ADDR, 0),
        (ADDR, 1),
        (ADDR, 15),
        (ADDR, 17),
        (ADDR, 32),
        (ADDR, (1 << 64) - 16),
        (ADDR + 0x1000, 16),
        (ADDR + BLOCK // 2, 16),
        (ADDR + 8, 16),
        (ADDR + 2 * BLOCK, 16),
        (ADDR - BLOCK, 16),
        (0, 16),
        ((1 << 64) - BLOCK, 16),
    ],
)
def test_row_that_is_no_block_of_the_window(kind, address, pages):
    """It also stands for none that is demanded."""

    def touch(workspace):
        theirs = workspace.theirs
        theirs.flushes[0] = (int(kind), address, pages)
        theirs.counts[NR_FLUSHES] = 1

    picture = TWO_CUT
    found = verdict(*picture, kinds=RED, touch=touch)
    assert found == {"invalidation-wrong": "case", "unfold-missing": "0,16"}


@pytest.mark.parametrize(
    "entry",
    [
        0,
        3,
    ],
)
def test_arm64_has_no_coprocessors(entry):
    """Whether the call changes the entry, or finds none."""

    def touch(workspace):
        workspace.theirs.flushes[0] = (int(NMMU), ADDR + entry * 0x1000, 1)
        workspace.theirs.counts[NR_FLUSHES] = 1

    found = verdict("[---.]------------", "---.------------", kinds=RED, touch=touch)
    assert found == {"nmmu-unneeded": str(entry)}


def test_fold_and_unfold_cover_no_request():
    """The rule of pte_needs_flush() wants a request, whatever was invalidated at once."""
    case = drawn_case("<[www]------------->".replace("-", "w"))
    after = tuple(word & ~(1 << 51) & ~(1 << 52) for word in case.ptes[:3]) + tuple(
        word & ~(1 << 52) for word in case.ptes[3:]
    )
    for flush, rung in (("fff", {}), ("", {"flush-missing": "0-2"})):
        found = judged(case, after, flush, implicit=((int(UNFOLD), 0),), kinds=("divergence",))
        assert places(found.entries, found.case) == rung


# BBML3: the CPU bears a change of CONT.


@pytest.mark.parametrize("kernel", ["6.17", "6.18", "7.3"])
@pytest.mark.parametrize(
    ("picture", "tlbi", "rung"),
    [
        (TWO_CUT, "", {}),
        (TWO_CUT, "-0 -1", {"unfold-unneeded": "0,16"}),
        (FOLDED, "", {}),
        (FOLDED, "+0", {"fold-unneeded": "0"}),
        (FOLDED, "-0 +0", {"unfold-unneeded": "0", "fold-unneeded": "0"}),
    ],
)
def test_with_bbml3_nothing_is_invalidated(picture, tlbi, rung, kernel):
    # Until 7.3 every page that is changed is requested.
    _, start, end = words_of(picture[0])
    request = "" if kernel == "7.3" else "-" * start + "f" * (end - start)
    assert verdict(*picture, tlbi, request, **BBML3, kernel=kernel) == rung


@pytest.mark.parametrize("kernel", ["6.12", "6.16"])
def test_older_kernels_do_not_ask_for_it(kernel):
    request = "-" * 15 + "f"  # of every page that is changed
    plain = {"batching": NONE, "kernel": kernel, "kinds": RED}
    assert verdict(*FOLDED, "+0", request, **plain, **BBML3) == {}
    assert verdict(*FOLDED, "", request, **plain, **BBML3) == {"fold-missing": "0"}


@pytest.mark.parametrize("target", ["batched", "reference"])
def test_with_bbml3_both_sides_send_nothing(target):
    batching = EXACT if target == "batched" else NONE
    for before in (TWO_CUT[0], FOLDED[0], "[----------------]", "<[----------------]>"):
        assert left_by(target, drawn_case(before, **BBML3), batching)[1:] == ("", {})


# CONT that changes with no invalidation in between: information, of live entries only.


def golden(number: int, expectation: str = "expect_7_3") -> dict[str, str]:
    """What the judges say of a golden outcome."""
    vector = MINIMAL[number]
    expect = vector.expect[expectation]
    kinds = {"unfold": int(UNFOLD), "fold": int(FOLD)}
    table = vector.case.table_addr
    found = judged(
        vector.case,
        tuple(int(word, 16) for word in expect.ptes),
        [(int(address, 16), pages) for address, pages in expect.flush],
        implicit=tuple(
            (kinds[why], (int(address, 16) - table) >> 12) for address, _, why in expect.tlbi
        ),
        pages=expect.pages,
        kinds=(classes.EXPLAINED, classes.DIVERGENCE, classes.INVARIANT),
    )
    return places(found.entries, found.case)


@pytest.mark.parametrize(
    ("number", "name", "found"),
    [
        (4, "B sets CONT without any invalidation", {"cont-set-without-tlbi": "0"}),
        (5, "B sets CONT with the gather flush only", {"cont-set-without-tlbi": "0"}),
        (6, "B clears CONT without TLBI", {"cont-cleared-without-tlbi": "0"}),
        (7, "B clears CONT without TLBI", {"cont-cleared-without-tlbi": "0"}),
        (11, "PROT_NONE on a folded block", {}),
        (12, "PROT_NONE -> RW exclusive", {}),
        (13, "VA aligned, PFN not", {}),
    ],
)
def test_cont_that_changes_unnoticed(number, name, found):
    assert MINIMAL[number].name.startswith(name)
    assert golden(number) == found


EXCLUSIVE_HALF = {"cp": TRY, "folios": (Folio(0x12340, 64, int(f.FOLIO_ANON), 0, 0xFF),)}


@pytest.mark.parametrize(
    ("before", "after", "tlbi", "found", "arguments"),
    [
        ("[----------------]", "<---------------->", "", {"cont-set-without-tlbi": "0"}, {}),
        # With an invalidation it is no such thing.
        ("---------------[-]", "<---------------->", "+0", {}, {}),
        ("<----[----]-------->", "-" * 16, "-0", {}, {}),
        # Nothing of it was, or is, in a TLB.
        ("[nnnnnnnnnnnnnnnn]", "<---------------->", "", {}, {}),
        ("<[----------------]>", "nnnnnnnnnnnnnnnn", "", {}, {"newprot": NONE_PROT}),
        (
            "<[----------------]>",
            "wwwwwwww--------",
            "",
            {"cont-cleared-without-tlbi": "0"},
            EXCLUSIVE_HALF,
        ),
    ],
)
def test_cont_of_live_blocks(before, after, tlbi, found, arguments):
    flush = "f" * (after.count("w") + (after.count("n") if "n" not in before else 0))
    assert verdict(before, after, tlbi, flush, **arguments) == found


def test_cont_is_named_for_each_block():
    before = "[--------------------------------]"
    found = verdict(before, "<----------------><---------------->")
    assert found == {"cont-set-without-tlbi": "0,16"}


def test_rows_beyond_the_log_are_not_read():
    def touch(workspace):
        workspace.theirs.counts[NR_FLUSHES] = np.int64(1 << 20)

    assert "log-overflow" in verdict(*FOLDED, kinds=RED, touch=touch)
