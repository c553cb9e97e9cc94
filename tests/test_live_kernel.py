"""The live oracle on the running kernel, where it lets itself be read: root, BTF, bpf(2).

Sizes of large folios are switched on for seconds and put back, as `--allow-sysfs` says.
"""

import fcntl
import json
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from fuzz import exits
from fuzz.live.sides import own_side
from harness.lane import LaneMissing
from harness.live import matrix, memory, probes, session
from harness.live.kernel import Pagemap
from harness.live.layouts import fork_and_exit
from harness.live.machines import PAGE
from harness.live.oracle import Oracle
from harness.live.plans import STEPS
from harness.live.settings import Settings, chosen
from harness.targets import load
from mm.jit import ROOT
from mm.version import VERSIONS
from tests.machine_settings import alone
from tests.test_cli import midfolio


def lacks(kinds: tuple[str, ...]) -> str:
    """What this machine lacks for `kinds`, asked without changing anything, or ""."""
    try:
        probes.probe(probes.Places(), kinds)
        with Settings(Path("unused")) as settings:
            probes.need_large_folios(probes.Places(), settings, kinds, allowed=False)
    except LaneMissing as error:
        return "" if probes.SWITCH in str(error) else str(error)
    return ""


LACKS = lacks(("file",))
LACKS_FOLIOS = LACKS or lacks(("anon", "uffd", "shmem"))
pytestmark = pytest.mark.skipif(bool(LACKS), reason=f"NO LIVE KERNEL TO READ: {LACKS}")
needs_folios = pytest.mark.skipif(
    bool(LACKS_FOLIOS), reason=f"NO LARGE FOLIOS ON THIS KERNEL: {LACKS_FOLIOS}"
)


@pytest.fixture(autouse=True)
def _alone() -> Iterator[None]:
    with alone():
        yield


def all_settings() -> dict[str, str]:
    """What the settings of large folios are."""
    return {
        str(path): chosen(path.read_text())
        for path in sorted(probes.THP.rglob("*enabled"))
        if path.is_file()
    }


@pytest.fixture(autouse=True)
def _alone() -> Iterator[None]:
    """One of these tests at a time on the whole machine, which has these settings but once."""
    with (Path(tempfile.gettempdir()) / "midfolio-live-tests.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


@pytest.fixture
def window() -> Iterator[int]:
    """The address of 16 pages of private anon memory, written, beside unmapped ones."""
    address = memory.reserve(16 * PAGE, 16 * PAGE)
    flags = memory.MAP_FIXED | memory.MAP_PRIVATE | memory.MAP_ANONYMOUS
    memory.map_memory(address, 16 * PAGE, memory.PROT_READ | memory.PROT_WRITE, flags)
    memory.advise(address, 16 * PAGE, memory.MADV_NOHUGEPAGE)
    view = memory.bytes_at(address, 16 * PAGE)
    for page in range(16):
        view[page * PAGE] = page
    yield address
    memory.LIBC.munmap(address, 16 * PAGE)


def test_entries_are_what_pagemap_says(window: int) -> None:
    live = probes.probe(probes.Places(), ("file",))
    words = live.kernel.reader.words(live.kernel.table(window), 16).copy()
    mask = np.uint64(live.machine.paging.table_mask)
    pfns = [int(word & mask) // PAGE for word in words]
    assert pfns == [Pagemap().pfn(window + page * PAGE) for page in range(16)]
    assert all(words & np.uint64(live.machine.paging.writable) != 0)


def test_fork_takes_exclusivity_and_a_write_gives_it_back(window: int) -> None:
    live = probes.probe(probes.Places(), ("file",))
    seen = live.kernel
    table = seen.table(window)
    writable = np.uint64(live.machine.paging.writable)

    def marks() -> tuple[list[bool], list[bool]]:
        words = seen.reader.words(table, 16).copy()
        pfns = [int(word) & live.machine.paging.table_mask for word in words]
        folios = [seen.folio(pfn // PAGE) for pfn in pfns]
        assert all(folio.anon and folio.nr_pages == 1 for folio in folios)
        exclusive = [bool(seen.exclusive(np.array([folio]))[0]) for folio in folios]
        return exclusive, (words & writable != 0).tolist()

    assert marks() == ([True] * 16, [True] * 16)
    fork_and_exit()
    assert marks() == ([False] * 16, [False] * 16)
    memory.bytes_at(window, 16 * PAGE)[3 * PAGE] = 1
    taken = [page == 3 for page in range(16)]
    assert marks() == (taken, taken)


@pytest.mark.parametrize("by_ioctl", [True, False])
def test_vmas_are_those_of_the_window(window: int, by_ioctl: bool) -> None:
    memory.protect(window + 4 * PAGE, 2 * PAGE, memory.PROT_READ)
    vmas = memory.Vmas()
    vmas._has_query = by_ioctl
    assert vmas.within(window, 1, 5) == [(1, 4, 3), (4, 5, 1)]
    assert vmas.within(window, 0, 16) == [(0, 4, 3), (4, 6, 1), (6, 16, 3)]


def test_files_without_any_setting(tmp_path: Path) -> None:
    before = all_settings()
    findings = str(tmp_path / "findings")
    done = midfolio("live", "--kind", "file", "--ops", "100", "--json", MIDFOLIO_FINDINGS=findings)
    assert done.returncode == exits.OK, done.stdout + done.stderr
    record = json.loads(done.stdout)
    assert record["operations"] >= 100
    assert record["mismatches"] == 0
    assert set(record["kinds"]) == {"file"}
    assert max(map(int, record["folios"])) > 1
    assert all_settings() == before
    assert not (tmp_path / "findings").exists()


@needs_folios
def test_without_the_switch_one_line_and_nothing_changed() -> None:
    before = all_settings()
    if {value for path, value in before.items() if "64kB" in path} != {"never"}:
        pytest.skip("LARGE FOLIOS ARE ON HERE: nothing to ask for")
    done = midfolio("live", "--time", "1")
    assert done.returncode == exits.LANE_MISSING
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1
    assert "--allow-sysfs" in done.stderr
    assert all_settings() == before


@needs_folios
def test_the_kernel_does_what_the_model_does(tmp_path: Path) -> None:
    before = all_settings()
    done = midfolio(
        *("live", "--allow-sysfs", "--ops", "150", "--seed", "3"),
        MIDFOLIO_FINDINGS=str(tmp_path / "findings"),
    )
    assert done.returncode == exits.OK, done.stdout + done.stderr
    lines = done.stdout.splitlines()
    assert lines[1].startswith("control: zoo:first-page-is-folio-head contradicted after ")
    assert " 0 mismatches, " in lines[-1]
    assert lines[-1].endswith("operation budget reached; exit 0")
    assert all_settings() == before


@needs_folios
@pytest.mark.parametrize(
    ("number", "begun"), [(signal.SIGTERM, False), (signal.SIGHUP, False), (signal.SIGHUP, True)]
)
def test_a_signal_puts_settings_back(number: signal.Signals, begun: bool) -> None:
    """As soon as a setting is changed, or once the control was caught and the run has begun."""
    before = all_settings()
    if "never" not in before.values():
        pytest.skip("EVERY SIZE OF LARGE FOLIOS IS ON HERE: nothing is changed")
    command = [sys.executable, "-m", "fuzz.cli", "live", "--allow-sysfs", "--time", "60"]
    with subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        while all_settings() == before and process.poll() is None:
            time.sleep(0.01)
        assert process.returncode is None, process.communicate()
        assert process.stdout is not None
        while begun and not process.stdout.readline().startswith("control:"):
            pass
        time.sleep(0.2 * begun)
        process.send_signal(number)
        out, err = process.communicate(timeout=60)
    assert all_settings() == before
    said = "interrupted; exit " if begun else f"live: ended by {number.name} before its end; exit 5"
    assert said in out.splitlines()[-1], out + err
    assert process.returncode == int(out.split()[-1])


@needs_folios
def test_the_kernel_matches_one_side(tmp_path: Path) -> None:
    findings = tmp_path / "findings"
    done = midfolio(
        *("live", "--allow-sysfs", "--kind", "anon", "--ops", "100", "--against", "both"),
        MIDFOLIO_FINDINGS=str(findings),
    )
    assert done.returncode == exits.OK, done.stdout + done.stderr
    *_, reference, batched, last = done.stdout.splitlines()
    assert (reference.split(":")[0], batched.split(":")[0]) == ("reference", "batched")
    assert (" 0 mismatches" in reference) != (" 0 mismatches" in batched)
    assert "; the kernel matches " in last
    # One side is wrong about any kernel: that is no finding.
    assert not findings.exists()


@needs_folios
def test_one_layout_after_the_other_in_the_same_place(tmp_path: Path) -> None:
    """What is known of the folios of one is not taken for those of the next."""
    kinds = ("anon",)
    live = probes.probe(probes.Places(), kinds)
    with Settings(tmp_path / "settings.json") as settings:
        probes.need_large_folios(probes.Places(), settings, kinds, allowed=True)
        target = load(own_side(live.version), live.machine.arch)
        oracle = Oracle(live, target, 1, kinds, tmp_path, 16)
        for index in range(4):
            (slot,) = oracle.make([index])
            oracle.count_folios(slot)
            wrong = [o for o in oracle.run(slot) if not session.is_quiet(o, oracle)]
            assert wrong == []
    assert oracle.tally.operations == 4 * STEPS


@needs_folios
def test_the_row_of_this_kernel(tmp_path: Path) -> None:
    before = all_settings()
    done = midfolio("live", "--matrix", "--allow-sysfs", "--out", str(tmp_path), "--json")
    assert done.returncode == exits.OK, done.stdout + done.stderr
    row = json.loads(done.stdout)["row"]
    assert matrix.read(tmp_path / "matrix.json") == [row]
    batched = VERSIONS[row["version"]].batched
    assert row["properties"]["walk"]["value"] == ("batched" if batched else "per PTE")
    assert row["properties"]["exclusive by page"]["value"] == "yes"
    # On a kernel as this one, or on another: an answer, or a reason.
    assert all(answer["detail"] for answer in row["properties"].values())
    assert all_settings() == before


@needs_folios
def test_a_wrong_model_is_refuted_saved_and_replayed(tmp_path: Path) -> None:
    target = "zoo:first-page-is-folio-head"
    done = midfolio(
        *("live", "--allow-sysfs", "--kind", "anon", "--ops", "100", "--target", target),
        MIDFOLIO_FINDINGS=str(tmp_path / "findings"),
    )
    assert done.returncode == exits.DIVERGENCE, done.stdout + done.stderr
    assert done.stdout.splitlines()[-1].endswith("exit 1")
    assert (
        f"replay:  midfolio live --seed 1 --layout 0 --kind anon --pages 64 --target {target}"
        in (done.stdout)
    )
    found = sorted((tmp_path / "findings").iterdir())
    assert found
    # What the model does with the case is what it did here, and the case is one of a kernel.
    assert midfolio("replay", str(found[0])).returncode == exits.OK
    shown = midfolio("show", str(found[0]))
    assert shown.returncode == exits.OK
    assert "wild" not in shown.stdout
