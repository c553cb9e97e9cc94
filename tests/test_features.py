"""Features: each has an identity and a line of its own, known cases have the ones they are made for."""

import random
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from fuzz.hunter import Hunter
from harness.case import ARCHES
from harness.casefile import read_case
from harness.features import FAMILIES, MAX_FEATURES, describe, features_of, finder_of, parse
from harness.features.families import family, shifts
from harness.run import judge_case
from harness.targets import load
from harness.workspace import set_up
from mm.jit import ROOT

SEEDS = ROOT / "corpus" / "seeds"

# Case, and what must be among its features.
KNOWN = [
    ("mid-folio-start-exclusive", "offset page=1"),
    ("mid-folio-start-exclusive", "length entries=3"),
    ("mid-folio-start-exclusive", "batch length=3 offset=1 began=range ended=range"),
    (
        "mid-folio-start-exclusive",
        "sub-batch length=3 place=only is=exclusive+mid-folio+asked-for-write",
    ),
    ("mid-folio-start-exclusive", "edge side=start kind=anon joins=yes"),
    ("range-ends-inside-folio", "edge side=end kind=anon joins=yes"),
    (
        "mixed-exclusivity-mid-folio",
        "sub-batch length=2 place=middle is=mid-folio+asked-for-write",
    ),
    ("mixed-exclusivity-mid-folio", "flush runs=2 longest=2 reaches=start+end"),
    (
        "numa-tiering-access-time",
        "numa flags=anon+use_access_time node=- mm=other-users+cow mode=tiering",
    ),
    ("numa-tiering-access-time", "report warned=- stamps=1"),
    ("pfn-jump-ends-batch", "batch length=2 offset=0 began=range ended=page"),
    ("hole-ends-batch", "batch length=2 offset=0 began=range ended=absent"),
    ("pfn-jump-ends-batch", "neighbours left=anon right=anon step=elsewhere differ=-"),
    (
        "hardware-bits-before-take",
        "merge accessed=later+missing dirty=later+missing template=soft-dirty+writable "
        "hardware=flips",
    ),
    ("shared-write-by-merged-dirty", "class name=write-by-merged-dirty kind=file"),
    (
        "arm64-folded-block-cut-at-start",
        "block length=5..8 cuts=first folded=first+last has=accessed+dirty",
    ),
]


def described(path: Path) -> set[str]:
    case = read_case(path).case
    found = features_of(judge_case(case, load("batched", case.arch)))
    assert list(found) == sorted(set(found))
    return {describe(feature) for feature in found}


@pytest.mark.parametrize(("name", "feature"), KNOWN)
def test_a_case_has_the_features_it_was_made_for(name: str, feature: str) -> None:
    assert feature in described(SEEDS / f"{name}.case")


def test_a_case_has_none_that_it_was_not_made_for() -> None:
    """The offset is the batch's in its folio, not the range's in the window."""
    offsets = {text for text in described(SEEDS / "hole-ends-batch.case") if "offset page" in text}
    assert "offset page=0" in offsets
    lines = described(SEEDS / "range-ends-inside-folio.case")
    assert not any(line.startswith(("offset page=1", "edge side=start")) for line in lines)
    assert not any("mid-folio" in line for line in lines)


def identities(name: str) -> Iterator[int]:
    """Some identities of a family: each field at its ends, the others at random."""
    fields = FAMILIES[name]
    rng = random.Random(name)
    limits = [1 << f.width if f.is_set else len(f.names) for f in fields]
    for turned, limit in enumerate(limits):
        for value in {0, 1, limit - 1}:
            values = [rng.randrange(n) for n in limits]
            values[turned] = value
            yield int(family(name)) | sum(
                v << int(s) for v, s in zip(values, shifts(name), strict=True)
            )


@pytest.mark.parametrize("name", FAMILIES)
def test_identity_and_line_are_each_others_inverse(name: str) -> None:
    seen = list(identities(name))
    lines = [describe(identity) for identity in seen]
    assert [parse(line) for line in lines] == seen
    assert len(set(lines)) == len(set(seen))


@pytest.mark.parametrize("identity", [0, 1, 255 << 56, int(family("length")) | 1 << 20])
def test_no_other_number_is_a_feature(identity: int) -> None:
    with pytest.raises(ValueError, match=r"feature|value"):
        describe(identity)


@pytest.mark.parametrize("text", ["", "length", "length page=1", "length entries=x", "odd a=1"])
def test_no_other_line_is_a_feature(text: str) -> None:
    with pytest.raises(ValueError, match=r"feature|not in"):
        parse(text)


@pytest.mark.parametrize("arch", ARCHES)
def test_a_campaign_and_a_replay_see_the_same_features(arch: str) -> None:
    """Whether all entries are explained or only those that differ, and with a wrong target, too."""
    hunter = Hunter(load("zoo:first-page-is-folio-head", arch), "7.3", seed=3)
    workspace, finder = hunter.workspace, finder_of(arch)
    out = np.zeros(MAX_FEATURES, np.uint64)
    with np.errstate(over="ignore"):
        for index in range(40):
            wild = hunter.generate(hunter.choices, workspace.case, np.uint64(3), np.uint64(index))
            set_up(workspace)
            pages = hunter.reference(workspace.ours), hunter.target.function(workspace.theirs)
            workspace.whole[0] = index & 1
            hunter.judge(hunter.handle, *pages, wild == 0, 0)
            count = finder(hunter.handle, out)
            assert count < MAX_FEATURES
            again = hunter.found(index).judgement
            if again.sane == (wild == 0):
                assert set(features_of(again)) == {int(feature) for feature in out[:count]}
                assert all(parse(describe(int(f))) == int(f) for f in out[:count])


def test_the_widest_case_fits() -> None:
    """512 entries, each another kind of neighbour of the one before: nothing is cut off."""
    hunter = Hunter(load("batched", "x86_64"), "7.3", seed=5, window=512)
    for index in range(3):
        hunter.hunt(index, index + 1)
        assert 12 < len(features_of(hunter.found(index).judgement)) < MAX_FEATURES // 8
