"""docs/ci.md: each command in its blocks is run, with a smaller budget; and what it says holds."""

import importlib.util
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from fuzz.gate.checks import STAGES, GatePlan
from fuzz.gate.floors import NAMES
from fuzz.gate.lanes import LANES
from mm.jit import ROOT
from tests.test_native import COMPILER, build

TEXT = (ROOT / "docs" / "ci.md").read_text()
BLOCKS = re.findall(r"^```\w+\n(.*?)^```$", TEXT, re.DOTALL | re.MULTILINE)
COMMAND = re.compile(r"^ *(?:- |- run: |exec )?((?:\.venv/bin/|make ).+)$", re.MULTILINE)
COMMANDS = [command for block in BLOCKS for command in COMMAND.findall(block)]
GATES = [c for c in COMMANDS if c.startswith(".venv/bin/midfolio gate")]
PYTESTS = [c for c in COMMANDS if c.startswith(".venv/bin/pytest")]
BUILD = next(block for block in BLOCKS if block.startswith("# .clusterfuzzlite/build.sh"))
SMALLER = "--cases 20 --floor-cases 1 --mutants 1 --arch x86_64"


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A directory that looks like the checkout to a command, and keeps what it writes."""
    # Whole: its python would not know its packages without pyvenv.cfg.
    (tmp_path / ".venv").symlink_to(Path(sys.executable).parent.parent)
    (tmp_path / "corpus").symlink_to(ROOT / "corpus")
    return tmp_path


def run(command: str, where: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run `command` as a shell of a CI job does."""
    return subprocess.run(
        ["bash", "-euo", "pipefail", "-c", command],
        cwd=where,
        env={
            **os.environ,
            "PYTHONPATH": str(ROOT),
            "MIDFOLIO_MODE": "interpreted",
            "MIDFOLIO_FINDINGS": str(where / "findings"),
            "GITHUB_STEP_SUMMARY": str(where / "summary.md"),
            **environment,
        },
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


@pytest.mark.parametrize("command", GATES)
def test_gate_of_the_page(command: str, checkout: Path) -> None:
    if ".so" in command:
        if COMPILER is None:
            pytest.skip("no C compiler: native targets untested")
        text = '#include "batched_x86_64.c"\n'
        shutil.copy(build(checkout, "old", text), checkout / "new.so")
    small = re.sub(r"--time \d+", SMALLER, command) + " corpus/regressions"
    # Tests run interpreted, and so does the gate here.
    small = small.replace("--require compiled", "--require x86_64").replace("--mutants 4", "")
    done = run(small, checkout)
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(r"^gate: \d+ checks, all as expected; exit 0$", done.stdout, re.MULTILINE)
    for name in re.findall(r"--(?:junit|sarif) (\S+)", command):
        assert (checkout / name).stat().st_size > 100
    if "GITHUB_STEP_SUMMARY" in command:
        assert (checkout / "summary.md").read_text().startswith("## midfolio gate: passed")


@pytest.mark.parametrize("command", PYTESTS)
def test_pytest_of_the_page(command: str, checkout: Path) -> None:
    done = run(command + " -q -p no:cacheprovider", checkout)
    assert done.returncode == 0, done.stdout + done.stderr
    passed = re.search(r"(\d+) passed", done.stdout)
    assert passed
    assert int(passed[1]) >= 3


@pytest.mark.skipif(
    importlib.util.find_spec("atheris") is None,
    reason="NO ATHERIS: the fuzzer of ClusterFuzzLite is untested",
)
def test_fuzzer_of_the_page(tmp_path: Path) -> None:
    """Built by its script, it runs wherever it is moved to, and writes to no other place than it may."""
    source, out, moved = tmp_path / "src" / "midfolio", tmp_path / "out", tmp_path / "other place"
    out.mkdir()
    source.mkdir(parents=True)
    for name in ("mm", "reference", "batched", "harness", "fuzz"):
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    (source / ".venv").symlink_to(Path(sys.executable).parent.parent)
    # What is large is linked.
    large = r'cp -r ("\$prefix\S+|"\.venv\S+) (\S+)'
    script = re.sub(large, r'ln -s "$(realpath \1)" \2', BUILD.replace("make setup", ":"))
    assert script.count("ln -s") == 2
    built = run(script, tmp_path, SRC=str(source.parent), OUT=str(out))
    assert built.returncode == 0, built.stdout + built.stderr
    out.rename(moved)
    before = {path: sorted(path.iterdir()) for path in (moved, moved / "midfolio")}
    for folder in before:
        folder.chmod(0o555)
    fuzzer = moved / "midfolio_fuzzer"
    assert b"LLVMFuzzerTestOneInput" in fuzzer.read_bytes()
    assert (moved / "midfolio_fuzzer.pkg").read_bytes().startswith(b"\x7fELF")
    (tmp_path / "kept").mkdir()

    def fuzz(*arguments: str) -> str:
        done = subprocess.run(
            [str(fuzzer), *arguments],
            cwd=tmp_path,
            env={"PATH": os.defpath, "TMPDIR": str(tmp_path)},
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout + done.stderr

    # As bad_build_check does, but with a corpus.
    assert "Done 4 runs" in fuzz("-seed=1337", "-runs=4", "kept")
    (tmp_path / "merged").mkdir()
    assert re.search(r"merged: [1-9]\d* of", fuzz("-merge=1", "merged", "kept"))
    # What it wrote is in its TMPDIR; root may write anywhere.
    assert {path: sorted(path.iterdir()) for path in before} == before
    assert (tmp_path / "midfolio").is_dir()


def test_no_command_is_overlooked() -> None:
    """All are in one of the lists above, or are targets of make."""
    code = "\n".join(block for block in BLOCKS if block != BUILD) + "make setup"
    assert len(COMMANDS) == code.count(".venv/bin/") + code.count("make ")
    assert len(GATES) >= 4
    assert len(PYTESTS) >= 3
    rest = {c for c in COMMANDS if c not in (*GATES, *PYTESTS)}
    assert rest == {"make setup"}
    assert re.search(r"^setup:", (ROOT / "Makefile").read_text(), re.MULTILINE)


def test_the_page_has_every_lane() -> None:
    sentence = TEXT.split("`--require` takes ")[1].split(", which are")[0]
    assert tuple(re.findall(r"`(\w+)`", sentence)) == LANES


def test_the_page_has_every_stage_default_and_floor() -> None:
    table = TEXT.split("## What a gate does")[1].split("## ")[0]
    assert re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE) == list(STAGES)
    plan = GatePlan("batched", ("x86_64",), "7.3")
    assert f"{plan.seconds:g} by default" in table
    assert f"{plan.floor_cases:,} per architecture by default" in table
    for name in re.findall(r"--floor ([a-z>-]+)=", TEXT):
        assert name in NAMES
