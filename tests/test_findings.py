"""docs/findings.md: each claim of its table is run again, on every kernel that is modelled."""

from pathlib import Path
from typing import NamedTuple

import pytest

from harness import classes
from harness.case import ARCHES
from harness.casefile import Expect, read_case
from harness.relation import EXACT, NONE
from harness.run import Judgement, judge_case
from harness.sane import is_sane
from harness.shrink.shrinker import Shrinker
from harness.targets import load
from mm.jit import ROOT
from mm.version import VERSIONS

TEXT = (ROOT / "docs" / "findings.md").read_text()
FILES = ROOT / "corpus" / "findings"
EXPLAINED = [c.name for c in classes.CLASSES if c.kind == classes.EXPLAINED]
TABLE = TEXT.split("## Classes, kernels, harm\n")[1].split("\n## ")[0]
HEADER, _, *ROWS = (
    [cell.strip() for cell in line.strip("|").split("|")]
    for line in TABLE.splitlines()
    if line.startswith("|")
)


class Claim(NamedTuple):
    """A cell of the table: on which kernels the smallest case of a class shows it."""

    name: str
    arch: str
    kernels: tuple[str, ...]
    wild: bool

    @property
    def path(self) -> Path:
        """Its file."""
        return FILES / self.arch / f"{'wild-' if self.wild else ''}{self.name}.case"


def claims() -> list[Claim]:
    """All cells of the table, but those that say that there is none."""
    found = []
    for row in ROWS:
        for arch, cell in zip(HEADER[1:-1], row[1:-1], strict=True):
            words = cell.split()
            if words != ["-"]:
                kernels = tuple(word for word in words if word != "wild")
                found.append(Claim(row[0].strip("`"), arch, kernels, "wild" in words))
    return found


CLAIMS = claims()


def as_kernel_does(path: Path, kernel: str) -> Judgement:
    """The case, run by the side that models `kernel`."""
    case = read_case(path).case.replace(kernel=kernel)
    if VERSIONS[kernel].batched:
        return judge_case(case, load("batched", case.arch), EXACT)
    return judge_case(case, load("reference", case.arch), NONE)


def test_the_table_has_every_explained_class_and_its_harm() -> None:
    assert HEADER[0] == "class"
    assert HEADER[1:-1] == list(ARCHES)
    assert [row[0] for row in ROWS] == [f"`{name}`" for name in EXPLAINED]
    assert all(len(row[-1]) > 5 for row in ROWS)
    below = TEXT.split("\n## ", 2)[2]
    assert [name for name in EXPLAINED if f"`{name}`" not in below] == []


def test_the_table_has_every_file_and_every_kernel() -> None:
    assert {claim.path for claim in CLAIMS} == set(FILES.rglob("*.case"))
    assert {kernel for claim in CLAIMS for kernel in claim.kernels} == set(VERSIONS)
    assert f"({', '.join(VERSIONS)})" in TABLE


@pytest.mark.parametrize("claim", CLAIMS, ids=lambda c: f"{c.arch} {c.name}")
def test_the_case_shows_the_class_on_these_kernels_and_no_other(claim: Claim) -> None:
    parsed = read_case(claim.path)
    assert parsed.case.arch == claim.arch
    assert parsed.comments
    assert parsed.expect == (Expect(target="batched"),)
    assert is_sane(parsed.case) != claim.wild
    shown = [k for k in VERSIONS if claim.name in names(as_kernel_does(claim.path, k))]
    assert tuple(shown) == claim.kernels


@pytest.mark.parametrize("claim", CLAIMS, ids=lambda c: f"{c.arch} {c.name}")
def test_no_edit_makes_the_case_smaller(claim: Claim) -> None:
    judgement = as_kernel_does(claim.path, claim.kernels[-1])
    target = load("batched", claim.arch)
    shrinker = Shrinker(judgement, target, claim.name, EXACT, pairs=0, any_kernel=True)
    assert shrinker.run().singles
    assert shrinker.kept == 0


def names(judgement: Judgement) -> list[str]:
    return classes.names(judgement.union)


def test_what_shows_no_class_and_what_could_be_smaller_is_seen() -> None:
    """The two tests above can fail: the order matters to soft-dirty, and a page more is one too many."""
    path = FILES / "powerpc" / "dirty-merged.case"
    assert "soft-dirty-merged" not in names(as_kernel_does(path, "7.3"))
    case = read_case(ROOT / "corpus" / "witnesses" / "dirty-merged.case").case
    target = load("batched", case.arch)
    shrinker = Shrinker(judge_case(case, target), target, "dirty-merged", EXACT, pairs=0)
    shrinker.run()
    assert shrinker.kept
