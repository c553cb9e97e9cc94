"""Printing: styled on a terminal, plain elsewhere; progress that knows the difference."""

import sys
import time
from typing import TextIO

from harness.render import Line


def print_lines(lines: list[Line], stream: TextIO | None = None) -> None:
    """Print rendered lines; with colour only if `stream` (stdout) is a terminal."""
    stream = stream or sys.stdout
    if not stream.isatty():
        for line in lines:
            print("".join(text for text, _ in line).rstrip(), file=stream)
        return
    from rich.console import Console
    from rich.text import Text

    console = Console(file=stream, highlight=False, soft_wrap=True)
    for line in lines:
        console.print(Text.assemble(*line))


class Progress:
    """One line on stderr that is written over on a terminal, and now and then elsewhere."""

    def __init__(self, *, quiet: bool) -> None:
        """Say nothing at all if `quiet`."""
        self.quiet = quiet
        self.live = sys.stderr.isatty()
        self.shown = False
        # A log wants a line now and then, a person sees one change at once.
        self.interval = 0.2 if self.live else 10.0
        self.last = time.monotonic() if not self.live else 0.0

    def update(self, text: str) -> None:
        """Show `text` if it is time to."""
        now = time.monotonic()
        if self.quiet or now - self.last < self.interval:
            return
        self.last = now
        if self.live:
            print(f"\r\x1b[K{text}", end="", file=sys.stderr, flush=True)
            self.shown = True
        else:
            print(text, file=sys.stderr, flush=True)

    def clear(self) -> None:
        """Take the line away, before something else is printed."""
        if self.shown:
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)
            self.shown = False
