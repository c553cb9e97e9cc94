"""`midfolio shrink` as a user meets it: what it writes, where, and how it ends."""

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from harness.casefile import case_line, read_case

from .test_cli import HISTORICAL, ROOT, assert_one_line, midfolio

SMALL = ROOT / "corpus" / "mutants" / "first-page-is-folio-head.case"
# A case that this mutant gets wrong in two ways.
NUMBER = "x86_64:7.3:3:1:3"
TARGET = "zoo:no-range-clip"
COMPILER = shutil.which("cc") or shutil.which("gcc")

MINE = """
calls = []


def fickle(state):
    calls.append(1)
    return 77 if len(calls) %% %d else 0


def wrong(state):
    return 77
"""


def test_a_number_shrinks_to_a_finding_and_its_slip_to_another(tmp_path: Path) -> None:
    """One run tells all: the drawing, how to replay, the certificate, where things went."""
    findings = tmp_path / "findings"
    done = midfolio(
        *("shrink", NUMBER, "--target", TARGET, "--pairs", "20"),
        cwd=tmp_path,
        MIDFOLIO_FINDINGS=str(findings),
    )
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert "UNEXPLAINED  outside-changed" in done.stdout
    assert lines[-1].startswith("shrink: outside-changed: entries 63 -> 2, in range 25 -> 1, ")
    small, slip = sorted(findings.iterdir())
    assert small.name.startswith("outside-changed-")
    assert small.name.endswith(".min.case")
    assert lines[-1].endswith(f"minimal, written to {small}; exit 0")
    assert slip.name.startswith("pages-wrong-")
    assert f"Another class was met on the way: {slip}" in lines
    # The certificate stands in the file, too; nothing of the input's does but its name.
    text = small.read_text()
    certificate = next(line for line in lines if line.startswith("Minimal: none of "))
    assert f"# {certificate}\n" in text
    assert "(limit 20)" in certificate
    assert f"# Shrunk from {NUMBER}.\n" in text
    # Each is a file that diverges as it says, and each replay line does.
    for path in (small, slip):
        assert midfolio("replay", str(path)).returncode == 0
    replays = [line.split("midfolio ")[1] for line in lines if "replay:" in line]
    assert len(replays) == 2
    for replay in replays:
        again = midfolio(*replay.split(), cwd=tmp_path)
        assert "outside-changed" in again.stdout


def test_what_is_minimal_is_written_nowhere(tmp_path: Path) -> None:
    """A file goes beside it, the same bytes each time; again, and there is nothing left to do."""
    path = tmp_path / "small.case"
    path.write_bytes(SMALL.read_bytes())
    done = midfolio("shrink", str(path), "--quiet", "--pairs", "0")
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("\n") == 1
    small = tmp_path / "small.min.case"
    assert path.read_bytes() == SMALL.read_bytes()
    expected = read_case(small).expect[0]
    assert (expected.target, expected.divergence) == (HISTORICAL, "cow-write")
    before = small.read_bytes()
    done = midfolio("shrink", str(small), "--pairs", "0")
    assert done.returncode == 0
    assert f"shrink: {small} is minimal for cow-write; exit 0" in done.stdout
    assert sorted(tmp_path.iterdir()) == [path, small]
    # From a line, to where it is told: the same case.
    line = case_line(read_case(path).case)
    other = tmp_path / "new" / "other.case"
    done = midfolio(
        *("shrink", line, "--target", HISTORICAL, "--pairs", "0", "-o", str(other), "--json")
    )
    record = json.loads(done.stdout)
    assert (record["keep"], record["path"], record["exit"]) == ("cow-write", str(other), 0)
    assert record["certificate"]["pairs"] == 0
    assert read_case(other).case == read_case(small).case
    # In place, and only then.
    done = midfolio("shrink", str(path), "--in-place", "--pairs", "0", "--quiet")
    assert done.returncode == 0
    assert path.read_bytes() == before.replace(b"small.min", b"small")
    assert not list(tmp_path.glob(".*"))


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        (("no-such-file",), ("no-such-file", "expected a case file")),
        (("corpus",), ("corpus is a directory", "expected one case")),
        ((str(SMALL), "--keep", "cow-wriet"), ("unknown class 'cow-wriet'", "--keep", "cow-write")),
        ((str(SMALL), "-o", str(SMALL)), ("is what is shrunk", "--in-place")),
        ((str(SMALL), "-o", "x", "--in-place"), ("--output and --in-place exclude",)),
        ((NUMBER, "--in-place", "--target", TARGET), ("--in-place needs a case file",)),
        ((str(SMALL), "--kernel", "6.12"), ("kernel 6.12 does not batch",)),
        ((str(SMALL), "--target", "zoo:fold-ignores-folio"), ("is of arm64, not of x86_64",)),
    ],
    ids=lambda value: " ".join(value)[-40:] if isinstance(value, tuple) else str(value),
)
def test_bad_usage_is_one_line_and_2(arguments: tuple[str, ...], parts: tuple[str, ...]) -> None:
    before = SMALL.read_bytes()
    assert_one_line(midfolio("shrink", *arguments), 2, *parts)
    assert SMALL.read_bytes() == before


def test_a_case_of_two_targets_wants_one_named(tmp_path: Path) -> None:
    path = tmp_path / "two.case"
    path.write_text(SMALL.read_text() + "expect: diverge cow-write target=zoo:first-page-decides\n")
    assert_one_line(midfolio("shrink", str(path)), 2, "zoo:first-page-decides", "--target")


def test_what_does_not_diverge_is_3(tmp_path: Path) -> None:
    path = tmp_path / "small.case"
    path.write_bytes(SMALL.read_bytes())
    done = midfolio("shrink", str(path), "--target", "batched")
    assert done.returncode == 3
    assert done.stdout.endswith("it agrees, so there is nothing to shrink; exit 3\n")
    done = midfolio("shrink", str(path), "--keep", "dirty-lost", "--json")
    assert done.returncode == 3
    assert "it diverges by cow-write, " in json.loads(done.stdout)["why"]
    # The class that a file expects is the one that must be there.
    path.write_text(path.read_text().replace("diverge cow-write", "diverge dirty-lost"))
    done = midfolio("shrink", str(path))
    assert done.returncode == 3
    assert "not by dirty-lost" in done.stdout
    assert list(tmp_path.iterdir()) == [path]


def test_an_explained_class_can_be_kept(tmp_path: Path) -> None:
    """The smallest witness of what batching may do."""
    seed = ROOT / "corpus" / "regressions" / "write-by-merged-soft-dirty.case"
    small = tmp_path / "witness.case"
    done = midfolio(
        *("shrink", str(seed), "--keep", "write-by-merged-soft-dirty", "-o", str(small)),
        *("--target", "batched", "--quiet", "--pairs", "0"),
    )
    assert done.returncode == 0, done.stderr
    assert len(read_case(small).case.ptes) == 2
    done = midfolio("replay", str(small), "--deny", "write-by-merged-soft-dirty")
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("turns", [2, 5], ids=["at once", "after a while"])
def test_a_target_that_changes_its_mind_is_7(turns: int, tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(MINE % turns)
    path = tmp_path / "small.case"
    path.write_bytes(SMALL.read_bytes())
    done = midfolio("shrink", "small.case", "--target", "mine:fickle", cwd=tmp_path)
    assert done.returncode == 7, done.stdout + done.stderr
    assert "two runs of " in done.stdout
    assert not (tmp_path / "small.min.case").exists()
    done = midfolio("shrink", "small.case", "--target", "mine:wrong", "-q", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "pages-wrong" in done.stdout


CRASH = """
#include "midfolio_target.h"

MIDFOLIO_TARGET("x86_64");

int64_t midfolio_change_pte_range(struct midfolio_state *state)
{
	if (state->facts->end - state->facts->start >= 3)
		__builtin_trap();
	return 0;
}
"""


@pytest.mark.skipif(COMPILER is None, reason="no C compiler: native targets untested")
def test_a_crash_of_a_native_target_shrinks(tmp_path: Path) -> None:
    """Every candidate that crashes takes only a child with it."""
    (tmp_path / "mine.c").write_text(CRASH)
    library = str(tmp_path / "mine.so")
    assert COMPILER is not None
    command = [COMPILER, "-shared", "-fPIC", f"-I{ROOT / 'harness'}", str(tmp_path / "mine.c")]
    subprocess.run([*command, "-o", library], check=True)
    small = tmp_path / "small.case"
    done = midfolio(
        *("shrink", "x86_64:7.3:3:1:17", "--target", library, "-o", str(small), "--pairs", "10"),
        MIDFOLIO_FINDINGS=str(tmp_path / "findings"),
    )
    assert done.returncode == 0, done.stderr
    assert "target-crash: entries 21 -> 3, in range 21 -> 3, not empty 21 -> 0" in done.stdout
    assert read_case(small).case.ptes == (0, 0, 0)
    assert midfolio("replay", str(small)).returncode == 0
