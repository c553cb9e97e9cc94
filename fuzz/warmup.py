"""Compile what a campaign needs on two cores at once, when nothing is cached yet.

numba compiles one function after the other. Two processes at a time that import
one part each fill the same disk cache in about half the time.
"""

import contextlib
import subprocess
import sys

from mm.jit import COMPILED, ROOT, cache_directory

# The longest first. The judges need the reference's rules, so they go together.
PARTS = (
    "import harness.judge",
    "import fuzz.generators",
    "import harness.census",
    "import harness.canaries",
)
PROCESSES = 2


def is_cold() -> bool:
    """Whether nothing is compiled yet for these sources."""
    return COMPILED and not any(cache_directory().rglob("*.nbi"))


def compile_parts(target: str, mutants: tuple[str, ...] = ()) -> None:
    """Fill the cache if it is cold, for `target` and the named mutants of the zoo; else a no-op.

    A part that fails is left to the import that comes next, which says why.
    """
    if not is_cold():
        return
    print("midfolio: compiling (once; cached until a source changes)", file=sys.stderr, flush=True)
    load = "from harness import zoo; zoo.load(zoo.find({!r}), 'x86_64')"
    sides = ["import batched.x86_64"] if target == "batched" else []
    waiting = [*PARTS[:2], *sides, *(load.format(name) for name in mutants), *PARTS[2:]]
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
