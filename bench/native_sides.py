"""Our own C sides, built with the system's compiler, to measure against."""

import subprocess
from pathlib import Path

from harness.targets import Target, load
from mm.jit import ROOT

SOURCES = ROOT / "bench" / "native"
SIDES = ("reference", "batched")


class NoCompiler(Exception):
    """The C sides cannot be built here; the message says why in one line."""


def build() -> Path:
    """The directory of the built libraries; NoCompiler if make or the compiler is missing or fails."""
    try:
        done = subprocess.run(
            ["make", "-s", "-C", SOURCES], capture_output=True, text=True, check=False
        )
    except FileNotFoundError:
        raise NoCompiler("make is not installed") from None
    if done.returncode:
        raise NoCompiler((done.stderr.strip().splitlines() or ["make failed"])[0])
    return SOURCES / "build"


def native_sides(arch: str) -> dict[str, Target]:
    """The C reference and the C batched side of `arch`; NoCompiler where there are none."""
    if not (SOURCES / f"batched_{arch}.c").exists():
        raise NoCompiler(f"no C sides for {arch}")
    directory = build()
    return {side: load(str(directory / f"{side}_{arch}.so"), arch) for side in SIDES}
