"""Native targets: the header, the loader, our own C sides, and what a bad library does.

Real libraries, built with the system's C compiler.
"""

import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from fuzz import exits
from fuzz.hunter import Hunter
from fuzz.runner import Campaign, Plan
from fuzz.workers import Workers
from harness import contain, native
from harness.arrays import case_of
from harness.case import Case
from harness.casefile import read_case
from harness.contain import die_with_parent, run_contained, shared_zeros
from harness.targets import load
from mm import flags, state
from mm.jit import ROOT

COMPILER = shutil.which("cc") or shutil.which("gcc")
pytestmark = pytest.mark.skipif(COMPILER is None, reason="no C compiler: native targets untested")

SIDES = ROOT / "bench" / "native"
CASES = str(ROOT / "corpus" / "regressions")
# Sound, but for one case in some hundreds.
BAD = """
#define midfolio_change_pte_range sound
#include "batched_x86_64.c"
#undef midfolio_change_pte_range
int64_t midfolio_change_pte_range(struct midfolio_state *state)
{
	const struct midfolio_facts *facts = state->facts;

	if (%s) { %s }
	return sound(state);
}
"""
NOW_AND_THEN = "facts->end - facts->start == 37"
ALWAYS = "facts->nr_ptes"
NR_CASES = 100
STATE = state.empty_state(1, 1, 1)


def build(where: Path, name: str, text: str, *options: str) -> Path:
    """The shared library made of `text`."""
    source = where / f"{name}.c"
    source.write_text(text)
    assert COMPILER is not None
    library = where / f"{name}.so"
    includes = (f"-I{ROOT / 'harness'}", f"-I{SIDES}")
    command = [COMPILER, "-O2", "-shared", "-fPIC", *options, *includes, str(source)]
    subprocess.run([*command, "-o", str(library)], check=True)
    return library


def bad(where: Path, what: str, when: str = NOW_AND_THEN) -> Path:
    return build(where, "bad", BAD % (when, what))


def midfolio(where: Path, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    environment = {
        **os.environ,
        "MIDFOLIO_MODE": "interpreted",
        "MIDFOLIO_FINDINGS": str(where / "findings"),
        "MIDFOLIO_HANG_SECONDS": "1",
        **variables,
    }
    return subprocess.run(
        [sys.executable, "-m", "fuzz.cli", *arguments],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )


def test_the_header_has_the_layout_of_the_state(tmp_path: Path) -> None:
    lines = ["#include <stdio.h>", "#include <stddef.h>", '#include "midfolio_target.h"']
    lines += ["int main(void) {"]
    wanted = {}

    def ask(text: str, value: int) -> None:
        lines.append(f'printf("%s %lld\\n", "{text}", (long long)({text}));')
        wanted[text.replace(" ", "")] = value

    flush = np.dtype([("kind", "u8"), ("address", "u8"), ("pages", "u8")])
    for struct, dtype in (("facts", state.FACTS), ("folio", state.FOLIO), ("flush", flush)):
        ask(f"sizeof(struct midfolio_{struct})", dtype.itemsize)
        for field in dtype.names or ():
            assert dtype.fields is not None
            ask(f"offsetof(struct midfolio_{struct}, {field})", dtype.fields[field][1])
            # Signed where Python's is: the header's comparison of -1 tells.
            lines.append(
                f'printf("sign:{struct}.{field} %d\\n", '
                f"(__typeof__(((struct midfolio_{struct} *)0)->{field}))-1 < 0);"
            )
            wanted[f"sign:{struct}.{field}"] = int(dtype.fields[field][0].kind == "i")
    for name, _ in native.NativeState._fields_:
        ask(f"offsetof(struct midfolio_state, {name})", getattr(native.NativeState, name).offset)
    for prefix, table in (("VM", flags.VM_FLAGS), ("CP", flags.CP_FLAGS)):
        for name, value in table.items():
            ask(f"MIDFOLIO_{prefix}_{name}", int(value))
    for name in dir(flags):
        if name.startswith(("FOLIO_", "NUMA_")) and name != "FOLIO_FLAGS":
            ask(f"MIDFOLIO_{name}", int(getattr(flags, name)))
    for name in ("FLUSH", "UNFOLD", "FOLD", "NMMU", "NR_FLUSHES", "NR_STAMPS"):
        ask(f"MIDFOLIO_{name}", int(getattr(state, name)))
    for name in ("BAD_MAP", "NO_VM_WRITE", "NR_COUNTS", "MAX_PTES"):
        ask(f"MIDFOLIO_{name}", int(getattr(state, name)))
    ask("MIDFOLIO_ABI", native.ABI)
    lines += ["return 0; }"]
    source = tmp_path / "layout.c"
    source.write_text("\n".join(lines))
    assert COMPILER is not None
    program = tmp_path / "layout"
    subprocess.run([COMPILER, f"-I{ROOT / 'harness'}", str(source), "-o", str(program)], check=True)
    said = subprocess.run([program], capture_output=True, text=True, check=True).stdout
    got = {
        text.replace(" ", ""): int(number)
        for text, number in (line.rsplit(" ", 1) for line in said.splitlines())
    }
    assert got == wanted


@pytest.mark.parametrize("side", ["batched", "reference"])
def test_our_c_side_is_the_python_side(tmp_path: Path, side: str) -> None:
    text = (SIDES / f"{side}_x86_64.c").read_text()
    library = build(tmp_path, side, text, "-Wall", "-Wextra", "-Werror")
    from fuzz.choices import empty_choices
    from fuzz.generator import NR_FOLIOS, NR_PAGES
    from fuzz.generators import generator_of
    from harness.case import layout_of
    from harness.relation import reference_side
    from harness.targets import batched_side
    from mm.version import VERSIONS

    ours = batched_side("x86_64") if side == "batched" else reference_side("x86_64")
    theirs = native.load_native(str(library), "x86_64")
    generate = generator_of("x86_64")
    changed = 0
    for kernel in VERSIONS:
        case = state.empty_state(state.MAX_PTES, NR_FOLIOS, NR_PAGES)
        state.set_kernel(case.facts[0], VERSIONS[kernel], layout_of("x86_64").config)
        for index in range(40):
            with np.errstate(over="ignore"):
                generate(empty_choices(), case, np.uint64(3), np.uint64(index))
                copies = [state.State(*(array.copy() for array in case)) for _ in range(2)]
                for copy in copies:
                    copy.counts[:] = 0
                pages = [int(f(c)) for f, c in zip((ours, theirs), copies, strict=True)]
            assert pages[0] == pages[1], (kernel, index)
            changed += pages[0]
            nr = int(case.facts[0].nr_ptes)
            for name in state.State._fields:
                arrays = [getattr(copy, name) for copy in copies]
                # Behind the window are the guard words of the call.
                both = [a[:nr] if name in ("ptes", "hardware") else a for a in arrays]
                assert both[0].tobytes() == both[1].tobytes(), (kernel, index, name)
    assert changed > 1000


def test_our_c_batched_side_agrees_on_the_corpus(tmp_path: Path) -> None:
    library = build(tmp_path, "sound", '#include "batched_x86_64.c"\n')
    done = midfolio(tmp_path, "replay", CASES, "--arch", "x86_64", "--target", str(library))
    assert done.returncode == 0, done.stdout + done.stderr
    assert "agrees" in done.stdout


@pytest.mark.parametrize(
    ("what", "shows"),
    [
        ("*(volatile int *)8 = 1;", "target-crash"),
        ("__builtin_trap();", "target-crash"),
        ("extern void _exit(int); _exit(0);", "target-crash"),
        ("for (volatile int i = 0;; i++);", "target-hang"),
        ("state->ptes[facts->nr_ptes] = 1;", "target-overrun"),
        ("state->ptes[-1] = 1;", "target-crash"),
        ("state->flushes[state->flushes_room].kind = 1;", "target-crash"),
        ("state->stamps[state->stamps_room] = 1;", "target-crash"),
    ],
)
def test_a_campaign_outlives_its_target(tmp_path: Path, what: str, shows: str) -> None:
    # A full window has the inaccessible page right behind it.
    library = bad(tmp_path, what, f"{NOW_AND_THEN} && facts->nr_ptes < 512")
    run = ("fuzz", "--arch", "x86_64", "--cases", "400", "--target", str(library))
    done = midfolio(tmp_path, *run, "--jobs", "2")
    assert done.returncode == 1, done.stdout + done.stderr
    ending = done.stdout.splitlines()[-1]
    # Waiting for a hang costs seconds, so a campaign bears few.
    whole = ending.startswith("fuzz: 400 cases, ")
    assert whole or (
        shows == "target-hang"
        and "; stopped: the target took " in ending
        and " of them by never returning; exit 1" in ending
    ), ending
    findings = list((tmp_path / "findings").glob("*.case"))
    assert findings
    assert all(path.name.startswith(shows) for path in findings)
    replayed = midfolio(tmp_path, "replay", str(findings[0]))
    assert replayed.returncode == 0, replayed.stdout + replayed.stderr
    assert f"diverges as expected: {shows}" in replayed.stdout
    number = re.search(r"Random case (\S+)\.", findings[0].read_text())
    assert number is not None
    replayed = midfolio(tmp_path, "replay", number[1], "--target", str(library))
    assert replayed.returncode == 1
    assert f"diverges: {shows}" in replayed.stdout


def test_the_compiled_loop_takes_libraries(tmp_path: Path) -> None:
    compiled = {"MIDFOLIO_MODE": "compiled"}
    run = ("fuzz", "--arch", "x86_64", "--jobs", "2", "--cases", "5000", "--target")
    sound = build(tmp_path, "sound", '#include "batched_x86_64.c"\n')
    done = midfolio(tmp_path, *run, str(sound), **compiled)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "fuzz: 5000 cases, nothing unexplained" in done.stdout
    when = f"{NOW_AND_THEN} && facts->nr_ptes < 512"
    library = bad(tmp_path, "state->ptes[facts->nr_ptes] = 1;", when)
    done = midfolio(tmp_path, *run, str(library), **compiled)
    assert done.returncode == 1, done.stdout + done.stderr
    assert "target-overrun" in done.stdout
    assert "target-crash" not in done.stdout
    assert done.stdout.splitlines()[-1].startswith("fuzz: 5000 cases, ")


def test_one_job_and_two_report_the_same(tmp_path: Path) -> None:
    library = bad(tmp_path, "*(volatile int *)8 = 1;")
    run = ("fuzz", "--arch", "x86_64", "--cases", "400", "--target", str(library))
    one, two = (midfolio(tmp_path, *run, "--jobs", jobs).stdout for jobs in "12")
    assert one.splitlines()[-1] == two.splitlines()[-1]
    assert "target-crash" in one


def _made(hunter: Hunter, index: int) -> Case:
    hunter.make(index)
    return case_of(hunter.workspace.case, hunter.arch, hunter.kernel)


def test_a_guided_campaign_outlives_its_target(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also of a case that only its corpus could make again."""
    monkeypatch.setenv("MIDFOLIO_FINDINGS", str(tmp_path / "findings"))
    library = bad(tmp_path, "*(volatile int *)8 = 1;", "facts->end - facts->start < 3")
    plan = Plan("x86_64", "7.3", str(library), seed=1, engine="guided", jobs=2)
    campaign = Campaign(replace(plan, window=16, cases=NR_CASES, cap=1_000), quiet=True)
    campaign.hunter.grown, campaign.hunter.python_chunk = 30, 60
    campaign.run()
    assert campaign.ending().startswith(f"{NR_CASES} cases, ")
    assert campaign.exit_code() == exits.DIVERGENCE
    found = [read_case(path).case for path in campaign.paths]
    assert all(path.name.startswith("target-crash-") for path in campaign.paths)
    assert all(case.call.end - case.call.start < 3 for case in found)
    random = Hunter(load("batched", "x86_64"), "7.3", plan.seed, window=16)
    with np.errstate(over="ignore"):
        known = [_made(random, index) for index in range(NR_CASES)]
    assert any(case not in known for case in found)


class Broken:
    """A hunter whose own code fails."""

    cap = 1

    def finds(self, first: int, last: int) -> list[int]:
        raise KeyError(first)

    def shared_case(self) -> None:
        """Its cases have numbers."""


def test_an_error_of_ours_in_a_worker_is_no_crash_of_the_target() -> None:
    workers = Workers(Broken, 1, 5.0)  # type: ignore[arg-type]
    with pytest.raises(RuntimeError, match="KeyError: 7"):
        list(workers.run(iter([(7, 8)])))


def test_a_worker_that_died_while_idle_is_no_error_of_ours() -> None:
    workers = Workers(Broken, 1, 5.0)  # type: ignore[arg-type]
    worker = workers.workers[0]
    worker.process.kill()
    worker.process.join()
    worker.give((7, 8))
    assert not worker.read()
    assert worker.process.exitcode == -signal.SIGKILL


def children_of(pid: int) -> list[int]:
    """The processes that `pid` forked, and theirs."""
    mine = [int(p) for p in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    return [*mine, *(below for child in mine for below in children_of(child))]


@pytest.mark.parametrize("verb", ["fuzz", "replay"])
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_no_looping_child_is_left_behind(tmp_path: Path, verb: str, number: int) -> None:
    library = bad(tmp_path, "for (volatile int i = 0;; i++);", ALWAYS)
    what = ("--cases", "10") if verb == "fuzz" else ("x86_64:7.3:3:1:0",)
    running = subprocess.Popen(
        [sys.executable, "-m", "fuzz.cli", verb, *what, "--arch", "x86_64", "--target", library],
        cwd=ROOT,
        env={**os.environ, "MIDFOLIO_MODE": "interpreted", "MIDFOLIO_HANG_SECONDS": "600"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        children: list[int] = []
        while not children:
            assert running.poll() is None
            time.sleep(0.05)
            children = children_of(running.pid)
        while running.poll() is None:
            running.send_signal(number)
            time.sleep(0.2)
    finally:
        running.kill()
        running.wait()
    until = time.monotonic() + 20
    while any(Path(f"/proc/{child}").exists() for child in children):
        assert time.monotonic() < until, children
        time.sleep(0.05)


def test_a_child_whose_parent_ended_before_it_could_ask_ends_too() -> None:
    ended, wrote = os.pipe()
    parent = os.fork()
    if parent == 0:
        mine = os.getpid()
        if os.fork() == 0:
            while os.getppid() == mine:
                time.sleep(0.01)
            with contextlib.suppress(BaseException):
                die_with_parent(mine)
            os.write(wrote, b"alive")
        os._exit(0)
    os.waitpid(parent, 0)
    os.close(wrote)
    assert os.read(ended, 5) == b""
    os.close(ended)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("int x;", "has no midfolio_abi"),
        ("#include <stdint.h>\nconst uint64_t midfolio_abi = 99;", "built for ABI 99; expected 2"),
        ('#include "midfolio_target.h"\nMIDFOLIO_TARGET("arm64")', "is of arm64"),
        (
            '#include "midfolio_target.h"\nMIDFOLIO_TARGET("x86_64")',
            "has no midfolio_change_pte_range",
        ),
    ],
)
def test_a_wrong_library_is_refused_in_one_line(tmp_path: Path, text: str, says: str) -> None:
    library = build(tmp_path, "wrong", text)
    done = midfolio(tmp_path, "replay", CASES, "--arch", "x86_64", "--target", str(library))
    assert done.returncode == 2
    assert says in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_what_is_no_library_is_refused_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "text.so").write_text("no library")
    for name, says in (("text.so", "cannot load"), ("none.so", "no such file")):
        done = midfolio(tmp_path, "replay", CASES, "--target", str(tmp_path / name))
        assert done.returncode == 2
        assert says in done.stderr
        assert len(done.stderr.splitlines()) == 1


def test_a_contained_run_gives_what_it_returns() -> None:
    counts = shared_zeros(1)

    def function(given: state.State) -> int:
        counts[0] += 1
        return 7

    ending = run_contained(function, STATE)
    assert (ending.name, ending.pages, int(counts[0])) == ("", 7, 1)


def test_a_run_hangs_by_its_own_time_and_not_by_the_clock(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def hangs(function: Callable[[], object]) -> str:
        return run_contained(lambda _: int(bool(function())), STATE, 0.1).name

    def loop() -> None:
        until = time.process_time() + 5
        while time.process_time() < until:
            pass

    # A busy machine may take the processor away for longer than the limit.
    assert hangs(lambda: time.sleep(0.3)) == ""
    assert hangs(lambda: time.sleep(5)) == "target-hang"
    monkeypatch.setattr(contain, "ASLEEP", 1000.0)
    assert hangs(loop) == "target-hang"
