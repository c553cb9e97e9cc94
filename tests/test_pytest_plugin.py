"""Case files as tests: collected, named, run against what they record, and a failure that replays."""

import os
import subprocess
import sys
from pathlib import Path

from mm.jit import ROOT

CORPUS = ROOT / "corpus"
MUTANT = CORPUS / "mutants" / "first-page-is-folio-head.case"


def pytest_of(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    """A run of pytest as a user starts it, with nothing of our configuration."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("MIDFOLIO", "PYTEST"))}
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *arguments],
        cwd=cwd,
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def test_cases_are_run_and_a_failure_draws_and_replays(tmp_path: Path) -> None:
    text = MUTANT.read_text()
    (tmp_path / "good.case").write_text(text)
    (tmp_path / "bad.case").write_text(text.replace("diverge cow-write", "diverge write-lost"))
    (tmp_path / "broken.case").write_text(text.replace("kernel: 7.3", "kernel: 9.9"))
    (tmp_path / "gone.case").write_text(text.replace("first-page-is-folio-head", "flush-one-page"))
    (tmp_path / "witnesses").mkdir()
    (tmp_path / "witnesses" / "extra-flush.case").write_text(text)
    (tmp_path / "notes.txt").write_text("no case\n")
    done = pytest_of("-q", "-rA", cwd=tmp_path)
    assert done.returncode == 1, done.stdout + done.stderr
    assert "1 passed" in done.stdout
    assert "4 failed" in done.stdout
    out = done.stdout
    assert "PASSED good.case::good" in out
    assert "diverges, but not by write-lost" in out
    assert "UNEXPLAINED  cow-write" in out
    assert f"replay:  midfolio replay {'bad.case'} --target zoo:first-page" in out
    assert "broken.case:" in out
    assert "9.9" in out
    assert "expected cow-write, but it agrees" in out
    assert "is a witness of extra-flush, but no longer shows it" in out
    # What is wrong with a case is told without a traceback through our code.
    assert "Traceback" not in out
    assert "fuzz/gate" not in out


def test_k_works_on_names_and_the_target_can_be_chosen(tmp_path: Path) -> None:
    link = tmp_path / "mutants"
    link.symlink_to(MUTANT.parent)
    done = pytest_of("mutants", "-q", "-k", "first-page-is", "--collect-only", cwd=tmp_path)
    assert "mutants/first-page-is-folio-head.case::first-page-is-folio-head" in done.stdout
    assert "flush" not in done.stdout
    chosen = ("--midfolio-target", "zoo:hint-without-clip")
    done = pytest_of("mutants", "-q", "-rs", "-k", "first-page-is or hint", *chosen, cwd=tmp_path)
    assert done.returncode == 0, done.stdout
    # It is of arm64 only.
    assert "1 passed, 1 skipped" in done.stdout


def test_the_plugin_imports_nothing_of_ours_for_other_tests() -> None:
    code = (
        "import sys, fuzz.gate.pytest_plugin;"
        "assert not {'mm', 'harness', 'numpy', 'click'} & set(sys.modules), sys.modules"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
