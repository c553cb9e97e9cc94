"""Compile what a campaign needs on two cores at once, when nothing is cached yet.

numba compiles one function after the other. Two processes at a time that import
one part each fill the same disk cache in about half the time.
"""

import contextlib
import os
import subprocess
import sys

from mm.jit import COMPILED, ROOT, cache_directory

# The longest first. The judges need the reference's rules, so they go together.
JUDGES = "import harness.judges.{arch}"
PARTS = (JUDGES, "import fuzz.generators.{arch}")
CAMPAIGN = "import fuzz.campaign"
GUIDED = (
    "import fuzz.given.{arch}",
    "import fuzz.guided.{arch}, fuzz.guided.loop",
    "import harness.features.{arch}",
)
EXHAUST = "import fuzz.exhaust.{arch}"
PROCESSES = 2


def is_cold(arch: str, entry: str = "judge") -> bool:
    """Whether the `entry` of `arch` is not compiled yet for these sources."""
    return COMPILED and not any((cache_directory()).rglob(f"{arch}.{entry}-*.nbi"))


def interpret_if_cold(arch: str) -> None:
    """Begin this command anew, interpreted, if nothing is compiled for `arch` and no mode was asked for.

    For verbs that run one case some hundred times: they are done before it would be compiled.
    """
    if "MIDFOLIO_MODE" in os.environ or not is_cold(arch):
        return
    # The mode is fixed when mm.jit is imported, so there is no other way back.
    os.environ["MIDFOLIO_MODE"] = "interpreted"
    sys.stdout.flush()
    os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])


def compile_parts(
    arch: str,
    target: str,
    mutants: tuple[str, ...] = (),
    *,
    parts: tuple[str, ...] = PARTS,
    last: tuple[str, ...] = (CAMPAIGN,),
    entry: str = "judge",
) -> None:
    """Fill the cache if it is cold, for `target` and the named mutants of the zoo; else a no-op.

    It is cold if `entry` is not there. `parts` come before the target, `last` after the mutants.
    A part that fails is left to the import that comes next, which says why.
    """
    if not is_cold(arch, entry):
        return
    print(
        f"midfolio: compiling for {arch} (once; cached until a source changes)",
        file=sys.stderr,
        flush=True,
    )
    load = "from harness import zoo; zoo.load(zoo.find({!r}), {!r})"
    waiting = [part.format(arch=arch) for part in parts]
    if target == "batched":
        waiting.append(f"import batched.{arch}")
    waiting += [load.format(name, arch) for name in mutants]
    waiting += [part.format(arch=arch) for part in last]
    running: list[subprocess.Popen[bytes]] = []
    while waiting or running:
        while waiting and len(running) < PROCESSES:
            running.append(
                subprocess.Popen(
                    [sys.executable, "-c", waiting.pop(0)], cwd=ROOT, stderr=subprocess.DEVNULL
                )
            )
        with contextlib.suppress(subprocess.TimeoutExpired):
            running[0].wait(0.05)
        running = [process for process in running if process.poll() is None]
