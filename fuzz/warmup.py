"""Compile what a campaign needs on two cores at once, when nothing is cached yet.

numba compiles one function after the other. Two processes at a time that import
one part each fill the same disk cache in about half the time.
"""

import contextlib
import subprocess
import sys

from mm.jit import COMPILED, ROOT, cache_directory

# The longest first. The judges need the reference's rules, so they go together.
PARTS = ("import harness.judges.{arch}", "import fuzz.generators.{arch}")
PROCESSES = 2


def is_cold(arch: str) -> bool:
    """Whether nothing of `arch` is compiled yet for these sources."""
    return COMPILED and not any((cache_directory()).rglob(f"{arch}.judge-*.nbi"))


def compile_parts(arch: str, target: str, mutants: tuple[str, ...] = ()) -> None:
    """Fill the cache if it is cold, for `target` and the named mutants of the zoo; else a no-op.

    A part that fails is left to the import that comes next, which says why.
    """
    if not is_cold(arch):
        return
    print(
        f"midfolio: compiling for {arch} (once; cached until a source changes)",
        file=sys.stderr,
        flush=True,
    )
    load = "from harness import zoo; zoo.load(zoo.find({!r}), {!r})"
    parts = [part.format(arch=arch) for part in PARTS]
    if target == "batched":
        parts.append(f"import batched.{arch}")
    waiting = [*parts, *(load.format(name, arch) for name in mutants), "import fuzz.campaign"]
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
