"""Exported programs: compiled by the real compiler and run on this machine's kernel."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from harness.case import CaseError
from harness.casefile import read_case
from harness.export.text import program

ROOT = Path(__file__).parents[1]
HISTORICAL = "mutants/first-page-is-folio-head"
MIXED = "seeds/mixed-exclusivity-mid-folio"
THP = Path("/sys/kernel/mm/transparent_hugepage")

needs_cc = pytest.mark.skipif(shutil.which("cc") is None, reason="no C compiler")


def exported(name: str) -> str:
    return program(read_case(ROOT / "corpus" / f"{name}.case").case, name)


def settings() -> dict[Path, str]:
    return {path: path.read_text() for path in THP.glob("hugepages-*/enabled")}


def run(text: str, directory: Path, *arguments: str) -> tuple[int, list[str]]:
    """The exit code of the program `text` and its lines; settings are as before, whatever it did."""
    source, binary = directory / "case.c", directory / "case"
    source.write_text(text)
    flags = ["-O2", "-Wall", "-Wextra", "-Werror"]
    subprocess.run(["cc", *flags, "-o", binary, source], check=True)
    before = settings()
    try:
        done = subprocess.run(
            [binary, *arguments], capture_output=True, text=True, timeout=60, check=False
        )
        assert settings() == before
    finally:
        for path, text_ in settings().items():
            if text_ != before[path]:
                path.write_text(re.search(r"\[(\w+)\]", before[path])[1])
    lines = done.stdout.splitlines()
    assert lines[0] == "TAP version 13", done.stderr
    if done.returncode == 4:
        assert re.fullmatch(r"1\.\.0 # SKIP .+", lines[1])
        return 4, lines
    count = int(lines[1].removeprefix("1.."))
    numbers = [int(re.match(r"(?:not )?ok (\d+) ", line)[1]) for line in lines[2:]]
    assert numbers == list(range(1, count + 1))
    return done.returncode, lines


def run_or_skip(text: str, directory: Path) -> tuple[int, list[str]]:
    code, lines = run(text, directory, "-e")
    if code == 4:
        pytest.skip(lines[1])
    return code, lines


@needs_cc
@pytest.mark.parametrize("name", [HISTORICAL, MIXED, "seeds/to-prot-none"])
def test_a_sound_kernel_passes(name: str, tmp_path: Path) -> None:
    code, lines = run_or_skip(exported(name), tmp_path)
    assert code == 0
    assert not [line for line in lines if line.startswith("not ok")]


@needs_cc
def test_a_wrong_expectation_fails(tmp_path: Path) -> None:
    text = exported(MIXED)
    assert 'expected[] = "...wffww"' in text
    code, lines = run_or_skip(text.replace('"...wffww"', '"...wwfww"'), tmp_path)
    assert code == 1
    bad = [line for line in lines if line.startswith("not ok")]
    assert bad == ["not ok 2 page 4: written with a fault"]


@needs_cc
def test_a_write_through_a_shared_page_is_seen_by_the_child(tmp_path: Path) -> None:
    """A kernel with the bug writes without copying; shared memory does the same here."""
    text = exported(MIXED).replace(
        "MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED", "MAP_SHARED | MAP_ANONYMOUS | MAP_FIXED"
    )
    # Shared memory takes a fault for each page, and no MADV_FREE.
    text = text.replace("if (poke(i, content(i)))", "if (poke(i, content(i)) > 1)")
    text = text.replace("if (strchr(clean, 'c'))", "if (0 && clean[0])")
    code, lines = run_or_skip(text, tmp_path)
    assert code == 1
    assert lines[-1].startswith("not ok 6 the child sees")


@needs_cc
def test_without_folios_it_skips(tmp_path: Path) -> None:
    text = exported(MIXED).replace("transparent_hugepage/", "no_such_hugepage/")
    code, lines = run(text, tmp_path, "-e")
    assert code == 4
    assert "no folios of 8 pages" in lines[1]


def test_the_head_of_the_historical_case_is_exclusive_beside_the_window() -> None:
    text = exported(HISTORICAL)
    assert 'exclusive[] = "x..."' in text
    assert 'expected[] = ".f.."' in text
    assert "Replay: midfolio replay case:" in text


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("seeds/uffd-wp-set", "userfaultfd"),
        ("seeds/arm64-two-folded-blocks", "arch arm64"),
        ("seeds/shared-write-by-merged-dirty", "not private anonymous"),
        ("mutants/migration-read-not-exclusive", "neither a page nor empty"),
    ],
)
def test_what_no_program_can_build_is_refused(name: str, why: str) -> None:
    with pytest.raises(CaseError, match=f"cannot be exported: .*{why}"):
        exported(name)
