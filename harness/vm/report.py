"""What comes back from a guest: lines on its serial console, and a report in a frame.

The kernel may write to the same console at any time, so the frame has a
checksum, and the guest silences the kernel before it sends one.
"""

import base64
import hashlib
import json
import re
import zlib
from typing import NamedTuple

from .init import BEGIN, END, STARTED

_BASE64 = re.compile(r"[A-Za-z0-9+/=]+")
_ESCAPE = re.compile(r"\x1b(\[[0-9;?=]*[A-Za-z]|[a-z])")


class Report(NamedTuple):
    """What the command in the guest did."""

    exit_code: int
    stdout: str
    stderr: str
    release: str  # of the kernel that ran
    boot_seconds: float  # from the kernel's start to the command's
    run_seconds: float
    kernel_log: str
    files: dict[str, str]  # what the command left, by name


class BadReport(ValueError):
    """A console without a whole report: one line with what it ended on."""


def parse(console: str) -> Report:
    """The report in the text of a console; BadReport if there is none, or it is damaged."""
    lines = console.replace("\r", "").split("\n")
    begins = [at for at, line in enumerate(lines) if line == BEGIN]
    if not begins:
        raise BadReport(_how_it_ended(lines))
    body: list[str] = []
    for line in lines[begins[-1] + 1 :]:
        if line.startswith(END):
            return _decode("".join(body), line.removeprefix(END).strip())
        if _BASE64.fullmatch(line):
            body.append(line)
    raise BadReport("the guest ended in the middle of its report")


def printable(line: str) -> str:
    """A line of a console without what moves cursors: firmware clears the screen."""
    return "".join(c for c in _ESCAPE.sub("", line) if c.isprintable()).strip()


def _how_it_ended(lines: list[str]) -> str:
    said = [text for line in lines if (text := printable(line))]
    panics = [line for line in said if "Kernel panic" in line]
    if panics:
        return f"the guest's kernel gave up: {panics[0]}"
    if STARTED in said:
        return f"the guest sent no report; its last words: {said[-1]}"
    return "the guest did not start" + (f"; its last words: {said[-1]}" if said else "")


def _decode(body: str, checksum: str) -> Report:
    try:
        packed = base64.b64decode(body, validate=True)
        if hashlib.sha256(packed).hexdigest() != checksum:
            raise BadReport("the guest's report is damaged: its checksum differs")
        return Report(**json.loads(zlib.decompress(packed)))
    except (ValueError, TypeError, zlib.error) as error:
        if isinstance(error, BadReport):
            raise
        raise BadReport(f"the guest's report is damaged: {error}") from None
