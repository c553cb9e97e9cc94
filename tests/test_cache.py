"""Compiled code is never older than any source it was made from, and is kept while none changes.

numba looks at the file of the compiled function alone; what is edited here is another file.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from mm.jit import KEPT_CACHES, ROOT, SOURCES

ENTRY = """
import numpy as np
from mm.jit import entry, rule
from mm.scale import FACTOR
from reference.helper import add

def signature():
    from numba import int64
    return int64(int64)

@entry(signature)
def answer(number):
    return add(number * FACTOR)
"""
HELPER = """
from mm.jit import rule

@rule
def add(number):
    return number + 1
"""


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A checkout with one compiled function, a rule and a constant in files of their own."""
    for package in SOURCES:
        (tmp_path / package).mkdir()
        (tmp_path / package / "__init__.py").touch()
    shutil.copy(ROOT / "mm" / "jit.py", tmp_path / "mm" / "jit.py")
    (tmp_path / "mm" / "scale.py").write_text("FACTOR = 10\n")
    (tmp_path / "reference" / "helper.py").write_text(HELPER)
    (tmp_path / "fuzz" / "answers.py").write_text(ENTRY)
    return tmp_path


def answer(tree: Path) -> int:
    """What a new process gets from the compiled function, asked for 4."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith("MIDFOLIO_")}
    done = subprocess.run(
        [sys.executable, "-c", "from fuzz.answers import answer; print(answer(4))"],
        cwd=tree,
        env={**environment, "PYTHONPATH": str(tree)},
        capture_output=True,
        text=True,
        check=True,
    )
    return int(done.stdout)


def compiled(tree: Path) -> dict[Path, int]:
    """The files of compiled code, and when each was written."""
    return {p: p.stat().st_mtime_ns for p in (tree / ".midfolio" / "cache").rglob("*.nb*")}


def test_an_edited_constant_or_rule_is_seen_at_once(tree: Path) -> None:
    assert answer(tree) == 41
    (tree / "mm" / "scale.py").write_text("FACTOR = 20\n")
    assert answer(tree) == 81
    helper = tree / "reference" / "helper.py"
    helper.write_text(HELPER.replace("+ 1", "+ 2"))
    assert answer(tree) == 82
    # Back to a state that was compiled before.
    helper.write_text(HELPER)
    before = compiled(tree)
    assert answer(tree) == 81
    assert compiled(tree) == before


def test_nothing_is_compiled_twice(tree: Path) -> None:
    assert answer(tree) == 41
    before = compiled(tree)
    assert before
    assert answer(tree) == 41
    assert compiled(tree) == before


def test_old_code_is_forgotten(tree: Path) -> None:
    base = tree / ".midfolio" / "cache"
    for number in range(KEPT_CACHES + 3):
        (base / f"old-{number}").mkdir(parents=True)
    answer(tree)
    assert len(list(base.iterdir())) == KEPT_CACHES
