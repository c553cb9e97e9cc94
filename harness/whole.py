"""Files that are never half there."""

import contextlib
import os
from io import BytesIO
from pathlib import Path
from typing import Any


def write_whole(path: Path, content: str | bytes) -> None:
    """Write `content` beside `path` and rename it; OSError leaves what was there, and nothing beside."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        partial.write_bytes(content.encode() if isinstance(content, str) else content)
        partial.replace(path)
    except OSError as error:
        with contextlib.suppress(OSError):
            partial.unlink(missing_ok=True)
        # write() names no file, and who called knows nothing of the one beside.
        raise OSError(error.errno, error.strerror, str(path)) from None


def write_figure(path: Path, figure: Any) -> None:
    """Write a figure of matplotlib's as its suffix says, as `write_whole` does."""
    drawn = BytesIO()
    figure.savefig(drawn, format=path.suffix[1:])
    write_whole(path, drawn.getvalue())
