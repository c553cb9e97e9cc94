"""Writes the reports of a gate, each beside its place and renamed, so that none is ever half there."""

import os
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from harness.whole import write_whole

from .checks import Result
from .junit import junit
from .markdown import markdown
from .sarif import sarif

REPORTS: dict[str, Callable[[Result], str]] = {"junit": junit, "sarif": sarif, "markdown": markdown}


def problem(path: Path) -> str:
    """Why no report can be written at `path`, "" if one can; makes the directories that are missing."""
    try:
        if path.is_dir():
            return f"{path}: is a directory; expected a file"
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_name(f".{path.name}.{os.getpid()}")
        partial.touch()
        partial.unlink()
    except OSError as error:
        return f"{path}: {error.strerror or error}"
    return ""


def write(result: Result, kind: str, path: Path) -> str:
    """Write the report `kind`; why it could not be written, "" if it was."""
    try:
        write_whole(path, REPORTS[kind](result))
    except OSError as error:
        return f"{path}: {error.strerror or error}"
    return ""


def record(result: Result) -> dict[str, Any]:
    """The result as plain data, for --json."""
    plan = asdict(result.plan)
    del plan["sizes"]
    return {
        **plan,
        "seconds_by_stage": {name: round(s, 3) for name, s in result.seconds.items()},
        "not_run": result.not_run(),
        "checks": [asdict(check) for check in result.checks],
        "ending": result.ending(),
        "exit": result.exit_code(),
    }
