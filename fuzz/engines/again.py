"""libFuzzer's modes that start the program again, and what they are believed.

It starts its own `argv[0]` through a shell, which must therefore be a program: the
launcher. Where that fails, a merge keeps nothing and succeeds, and a minimization takes
the shell's complaint for the crash. So results are looked at: the merged corpus, the
minimized input, the cases that were judged.
"""

import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from harness.case import CaseError
from harness.findings import directory
from mm.jit import ROOT

from .. import exits

# The options of the target, as JSON, for the processes that libFuzzer starts.
OPTIONS = "MIDFOLIO_ATHERIS"
_PLAIN = re.compile(r"[A-Za-z0-9_@%+=:,./-]+")


def flag(arguments: list[str], name: str) -> str:
    """The value of libFuzzer's flag `name`, the last one given, or ""."""
    values = [a.partition("=")[2] for a in arguments if a.startswith(f"-{name}=")]
    return values[-1] if values else ""


def starts_again(arguments: list[str]) -> bool:
    """Whether libFuzzer would start the program again."""
    modes = ("merge", "minimize_crash", "fork", "jobs")
    return any(flag(arguments, mode) not in ("", "0") for mode in modes)


def launcher() -> Path:
    """A program that runs the target as this process does; written if it is not there."""
    text = (
        f"#!/bin/sh\nexport PYTHONPATH='{ROOT}'${{PYTHONPATH:+:$PYTHONPATH}}\n"
        f"exec '{sys.executable}' -P -m fuzz.atheris_target \"$@\"\n"
    )
    folder = directory().parent / "atheris"
    if not _PLAIN.fullmatch(str(folder)):
        # libFuzzer quotes nothing.
        folder = Path(tempfile.gettempdir()) / f"midfolio-{os.getuid()}"
    path = folder / "again"
    if path.exists() and path.read_text() == text:
        return path
    folder.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".again.{os.getpid()}")
    partial.write_text(text)
    partial.chmod(0o755)
    partial.replace(path)
    return path


def files_of(arguments: list[str]) -> list[Path]:
    """Files and directories that `arguments` name; CaseError for a name that libFuzzer garbles."""
    for argument in arguments:
        if not _PLAIN.fullmatch(argument):
            raise CaseError(
                f"libFuzzer starts itself through a shell and quotes nothing, so {argument!r} "
                f"would be garbled; expected letters, digits and _@%+=:,./- only"
            )
    return [Path(argument) for argument in arguments if not argument.startswith("-")]


def inputs_in(folder: Path) -> list[Path]:
    """The files of a corpus."""
    return sorted(path for path in folder.rglob("*") if path.is_file()) if folder.is_dir() else []


def supervised(options: dict[str, Any], arguments: list[str]) -> int:
    """Run the mode that `arguments` ask for, and look at what it left; the exit code.

    libFuzzer's own code, but TOO_LITTLE for a merge that kept nothing or processes that
    judged nothing, STALE for an input that does not diverge.
    """
    files = files_of(arguments)
    if flag(arguments, "minimize_crash") not in ("", "0"):
        return _minimized(options, arguments, files)
    held = [path for folder in files for path in inputs_in(folder)]
    with tempfile.TemporaryDirectory() as counts:
        code = _run(options, arguments, counts)
        cases = sum(1 for _ in _counted(Path(counts)))
    if flag(arguments, "merge") not in ("", "0"):
        kept = inputs_in(files[0]) if files else []
        if held and not kept:
            return _fail(exits.TOO_LITTLE, f"the merge kept none of {len(held)} inputs")
        print(f"fuzz.atheris_target: merged: {len(kept)} of {len(held)} inputs are in {files[0]}")
    if not cases:
        return _fail(exits.TOO_LITTLE, "no process judged a case")
    return code


def _run(options: dict[str, Any], arguments: list[str], counts: str) -> int:
    """Run libFuzzer in a process of its own, each process counting in `counts`; its exit code."""
    environment = {**os.environ, OPTIONS: json.dumps({**options, "counts": counts})}
    command = [str(launcher()), *arguments]
    return subprocess.run(command, env=environment, check=False).returncode


def _counted(folder: Path) -> Iterator[int]:
    """The cases of each process that counted any in `folder`."""
    import numpy as np

    from harness.census import CASES

    for path in sorted(folder.glob("*.counts")):
        cases = int(np.fromfile(path, np.int64)[CASES])
        if cases:
            yield cases


def _minimized(options: dict[str, Any], arguments: list[str], files: list[Path]) -> int:
    from harness.differences import red
    from harness.run import judge_case
    from harness.targets import load

    from ..verbs.options import denied_bits
    from .raw_input import read

    if len(files) != 1 or not files[0].is_file():
        raise CaseError("-minimize_crash=1 takes one input file")
    target = load(options["target"], options["arch"])
    denied = denied_bits(tuple(options["deny"]))

    def diverges(path: Path) -> bool:
        return bool(red(judge_case(read(path), target, options["batching"]), denied))

    if not diverges(files[0]):
        return _fail(exits.STALE, f"{files[0]} does not diverge")
    exact = flag(arguments, "exact_artifact_path")
    prefix = flag(arguments, "artifact_prefix") or "./"
    before = _minimized_in(prefix)
    with tempfile.TemporaryDirectory() as counts:
        _run(options, arguments, counts)
    after = [Path(exact)] if exact else sorted(_minimized_in(prefix) - before)
    smaller = [
        path
        for path in after
        if path.is_file() and path.stat().st_size < files[0].stat().st_size and diverges(path)
    ]
    if not smaller:
        print(f"fuzz.atheris_target: nothing smaller than {files[0]} was found")
        return exits.OK
    least = min(smaller, key=lambda path: path.stat().st_size)
    sizes = f"{files[0].stat().st_size} bytes, now {least.stat().st_size}"
    print(f"fuzz.atheris_target: minimized: {least} ({sizes}), which diverges")
    return exits.OK


def _minimized_in(prefix: str) -> set[Path]:
    """What minimizations have left so far: libFuzzer puts `prefix` before the name, as it is."""
    folder, _, name = prefix.rpartition("/")
    return set(Path(folder or "/").glob(f"{name}minimized-from-*"))


def _fail(code: int, message: str) -> int:
    print(f"fuzz.atheris_target: {message}", file=sys.stderr)
    return code
