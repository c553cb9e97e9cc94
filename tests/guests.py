"""What the tests of guests share: a report, and programs that take another's place."""

from pathlib import Path

from harness.vm.report import Report

# A report as a guest sends it.
SENT = Report(0, "x" * 500, "", "6.12", 1.0, 2.0, "log", {})._asdict()


def tool(folder: Path, name: str, script: str) -> None:
    """An executable `name` in `folder`."""
    folder.mkdir(exist_ok=True)
    path = folder / name
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
