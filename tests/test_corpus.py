"""The corpus: every file is canonical and does what it is recorded to do."""

from pathlib import Path

import pytest

from fuzz.sources import case_files
from harness import classes
from harness.casefile import Expect, format_case, read_case
from harness.differences import primary, red
from harness.run import judge_case
from harness.sane import is_sane
from harness.targets import load

CORPUS = Path(__file__).resolve().parent.parent / "corpus"
FILES = case_files(CORPUS)


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(CORPUS)))
def test_case_is_canonical_and_named_for_what_it_is(path: Path) -> None:
    """That it does what it is recorded to do is a test of its own: pytest collects the file."""
    parsed = read_case(path)
    text = format_case(parsed.case, comments=parsed.comments, expect=parsed.expect)
    assert text == path.read_text()
    assert is_sane(parsed.case) != path.name.startswith("wild-")
    assert parsed.expect
    assert all(expect.target for expect in parsed.expect)


# Each file of mutants/ is run in tests/test_zoo.py.
DIVERGING = [
    (path, expect)
    for path in FILES
    if path.parent.name != "mutants"
    for expect in read_case(path).expect
    if expect.divergence
]


@pytest.mark.parametrize(("path", "expect"), DIVERGING, ids=str)
def test_a_divergence_is_recorded_by_its_first_class(path: Path, expect: Expect) -> None:
    case = read_case(path).case
    found = red(judge_case(case, load(expect.target, case.arch)))
    assert primary(found) == expect.divergence, classes.names(found)


def test_the_corpus_is_all_there() -> None:
    assert len([p for p in FILES if p.parent.name == "seeds"]) >= 25
    assert len([p for p in FILES if p.parent.name == "mutants"]) >= 47
    assert len([p for p in FILES if p.parent.name == "regressions"]) >= 10
    assert len([p for p in FILES if p.parent.name == "witnesses"]) >= 16


def test_the_golden_copies_stay_small() -> None:
    assert sum(p.stat().st_size for p in (CORPUS / "vectors").rglob("*")) < 6 << 20
