"""docs/zoo.md against the zoo: every known bug, every mutant, and every proof is there."""

import re

import pytest

from harness import zoo
from mm.jit import ROOT

TEXT = (ROOT / "docs" / "zoo.md").read_text()
MUTANTS = {mutant.name: mutant for mutant in zoo.all_mutants()}
COUNTS = {"MA": 6, "FB": 14, "CP": 8, "MP": 18}
REASONS = ("*other call*: ", "*other level*: ", "*no such state*: ", "*nothing to see*: ")


def rows(heading: str) -> list[list[str]]:
    """The cells of the table below `heading`, without its head."""
    below = TEXT.split(f"\n## {heading}\n")[1].split("\n## ")[0]
    lines = [line for line in below.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


def named(cell: str) -> list[str]:
    """The mutants in a cell: what is set as code and looks like a name."""
    return [name for name in re.findall(r"`([a-z0-9-]+)`", cell) if "-" in name or name in MUTANTS]


KNOWN = rows("Known bugs")
SYSTEMATIC = rows("Systematic mutants")
PROVEN = rows("Equivalent mutants")


def test_every_known_bug_has_its_row() -> None:
    assert [row[0] for row in KNOWN] == [
        f"{group}{number}" for group, count in COUNTS.items() for number in range(1, count + 1)
    ]


@pytest.mark.parametrize("row", KNOWN, ids=lambda row: row[0])
def test_a_known_bug_has_a_mutant_or_a_reason(row: list[str]) -> None:
    assert row[2].startswith(REASONS) or named(row[2])
    if row[2].startswith(REASONS):
        assert len(row[2].split(": ", 1)[1]) > 3
        assert f"{row[2].split(': ')[0]}" in TEXT.split("| bug |")[0]
    else:
        # Nothing but mutants, and one of them may be seen, or is proven not to be.
        assert row[2] == " ".join(f"`{name}`" for name in named(row[2]))


def test_a_mutant_stands_beside_the_commit_that_fixed_its_bug() -> None:
    fixed = {m.name: re.findall(r"fixed by ([0-9a-f]{12})", m.origin) for m in zoo.all_mutants()}
    for name, commits in fixed.items():
        beside = [row[2] for row in KNOWN if any(commit in row[1] for commit in commits)]
        assert bool(beside) == bool(commits), name
        assert not commits or name in named(" ".join(beside)), name
    assert sum(map(len, fixed.values())) >= 12


def test_every_mutant_that_is_named_exists() -> None:
    everywhere = [*KNOWN, *SYSTEMATIC, *PROVEN]
    assert [name for row in everywhere for name in named(row[-1]) if name not in MUTANTS] == []


def test_every_mutant_has_one_step_or_more() -> None:
    assert {name for row in SYSTEMATIC for name in named(row[2])} == set(MUTANTS)


def test_every_equivalent_mutant_is_proven_in_the_words_of_its_record() -> None:
    assert {row[0]: row[1] for row in PROVEN} == {
        f"`{mutant.name}`": mutant.proof.replace("midfolio exhaust", "`midfolio exhaust`")
        for mutant in zoo.all_mutants()
        if mutant.equivalent
    }
