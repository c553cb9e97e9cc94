"""Guests that are booted: kernels that batch and kernels that do not, each against both sides.

Not collected by `make test`: a guest takes a minute or more, and its kernel comes from
Debian's archive. `make test-vm` runs it. Logs stay below `.midfolio/vm/runs/`.
"""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from harness.vm import machine, session

ROOT = Path(__file__).resolve().parent.parent
# Enough for hundreds of batches, and little enough for a busy machine.
OPERATIONS = 150
SECONDS = 900
KERNELS = {"6.12": "reference", "6.16": "reference", "6.17": "batched", "7.3": "batched"}
SIDES = ("reference", "batched")

pytestmark = pytest.mark.skipif(
    machine.own_arch() != "x86_64", reason="these guests are of x86_64, and take the running Python"
)


def vm(kernel: str, *arguments: str) -> tuple[int, dict[str, Any]]:
    """Exit code and record of `midfolio vm`, whose logs are there."""
    done = subprocess.run(
        [
            *(sys.executable, "-m", "fuzz.cli", "vm", "--kernel", kernel, "--json", "--quiet"),
            *(f"--time={SECONDS}", "--", f"--ops={OPERATIONS}", *arguments),
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout, done.stderr
    record = json.loads(done.stdout)
    assert record["live"] is not None, record["stderr"]
    print(f"{kernel} {arguments}: {record['live']['operations']} operations, {record['logs']}")
    logs = Path(record["logs"])
    assert logs.is_relative_to(session.directory())
    assert record["kernel"] in (logs / "kernel.log").read_text()
    assert (logs / "console.log").stat().st_size > 0
    return done.returncode, record


@pytest.mark.parametrize(("kernel", "side"), KERNELS.items())
def test_a_kernel_is_as_its_own_side_is(kernel: str, side: str) -> None:
    code, record = vm(kernel)
    live = record["live"]
    assert record["kernel"].startswith(f"{kernel}.")
    assert (code, live["target"], live["version"]) == (0, side, kernel)
    assert live["mismatches"] == 0
    assert live["operations"] >= OPERATIONS
    assert live["ptes"] > OPERATIONS


@pytest.mark.parametrize("kernel", ["6.12", "6.17"])
def test_a_kernel_is_told_from_the_other_side(kernel: str) -> None:
    other = next(side for side in SIDES if side != KERNELS[kernel])
    code, record = vm(kernel, f"--target={other}")
    assert (code, record["live"]["target"]) == (1, other)
    assert record["live"]["mismatches"] > 0
    assert record["findings"]
    assert [path for path in record["findings"] if not Path(path).is_file()] == []


def test_the_matrix_tells_kernels_apart(tmp_path: Path) -> None:
    kernels = [f"--kernel={kernel}" for kernel in ("6.12", "6.16", "6.17")]
    done = subprocess.run(
        [
            *(sys.executable, "-m", "fuzz.cli", "vm", "--matrix", "--json", "--quiet"),
            *(f"--out={tmp_path}", *kernels),
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    rows = json.loads((tmp_path / "matrix.json").read_text())["rows"]
    values = [{name: a["value"] for name, a in row["properties"].items()} for row in rows]
    assert [value["walk"] for value in values] == ["per PTE", "per PTE", "batched"]
    assert [value["soft-dirty merged"] for value in values] == ["no", "no", "yes"]
    # ext4 has large folios since 6.16.
    shared = [value["shared write by merged dirty"] for value in values]
    assert shared == ["not shown", "no", "yes"]
    assert {value["exclusive by page"] for value in values} == {"yes"}
