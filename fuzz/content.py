"""What a verdict depends on, as a hash: with another one, what was done before says nothing."""

import functools
import hashlib
import inspect
from pathlib import Path
from typing import Any

from harness.targets import load
from mm.jit import sources_hash


@functools.cache
def content_of(target: str, arch: str) -> str:
    """A hash of all that a verdict on `target` depends on.

    These are our sources, which hold the built-in targets and the mutants, and of a target of
    one's own the library or the file of the function. What that file imports is not followed.
    """
    if target.endswith(".so"):
        own: str | None = target
    elif ":" not in target or target.startswith("zoo:"):
        return sources_hash()
    else:
        function: Any = load(target, arch).function
        own = inspect.getsourcefile(inspect.unwrap(getattr(function, "py_func", function)))
    text = Path(own).read_bytes() if own else b""
    return f"{sources_hash()}+{hashlib.sha256(text).hexdigest()[:16]}"
