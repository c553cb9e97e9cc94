"""The first file system of a guest: a Python, this checkout, the first process and its orders."""

import importlib.util
import json
import os
import py_compile
import stat
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from mm.jit import ROOT, SOURCES

from . import init
from .cpio import Entry, file, folder, on_disk, write
from .userland import Userland

CHECKOUT = "midfolio"
FINDINGS = f"/{CHECKOUT}/.midfolio/findings"
# Cases that a command may be given; golden vectors are large and no work for a guest.
CASES = ("corpus/mutants", "corpus/regressions", "corpus/seeds")


def entries(userland: Userland, command: list[str], *, disk: bool) -> Iterator[Entry]:
    """All of it. `command` is midfolio's arguments; with a `disk`, its findings and files go there."""
    yield from userland.entries
    yield from sources(compiled=_same_python(userland))
    # Until devtmpfs is there; the kernel opens it for the first process.
    yield Entry("dev/console", stat.S_IFCHR | 0o600, device=(5, 1))
    yield folder("tmp")
    yield file("init", _init(userland.python), executable=True)
    yield file(str(init.ORDERS)[1:], orders(userland, command, disk=disk))


def _same_python(userland: Userland) -> bool:
    return Path(userland.python) == Path(os.path.realpath(sys.executable))


def _init(python: str) -> bytes:
    # Isolated: nothing but its own code decides what the first process does.
    return f"#!{python} -I\n".encode() + Path(init.__file__).read_bytes()


def orders(userland: Userland, command: list[str], *, disk: bool) -> bytes:
    """What the first process is told."""
    path = [f"/{CHECKOUT}", userland.environment.get("PYTHONPATH", "")]
    environment = {
        **userland.environment,
        "PYTHONPATH": ":".join(filter(None, path)),
        "MIDFOLIO_MODE": "interpreted",
        "MIDFOLIO_FINDINGS": FINDINGS,
        "OPENBLAS_NUM_THREADS": "1",
        "PYTHONUNBUFFERED": "1",
        "HOME": f"/{CHECKOUT}",
        "PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
    }
    return json.dumps(
        {
            "command": [userland.python, "-m", "fuzz.cli", *command],
            "environment": environment,
            "folder": f"/{CHECKOUT}",
            "files": FINDINGS,
            "disk": f"/{CHECKOUT}/.midfolio" if disk else "",
        },
        indent=1,
        sort_keys=True,
    ).encode()


def sources(*, compiled: bool) -> Iterator[Entry]:
    """The code and the cases of this checkout, with its compiled code if the guest's Python is this one.

    Emulated, a guest takes a minute to compile what this machine does in a second.
    """
    for package in SOURCES:
        for path in sorted((ROOT / package).rglob("*.py")):
            name = f"{CHECKOUT}/{path.relative_to(ROOT).as_posix()}"
            yield on_disk(name, path)
            if compiled:
                yield _compiled(path, name)
    for cases in CASES:
        for path in sorted((ROOT / cases).rglob("*.case")):
            yield on_disk(f"{CHECKOUT}/{path.relative_to(ROOT).as_posix()}", path)


def _compiled(path: Path, name: str) -> Entry:
    with tempfile.TemporaryDirectory() as place:
        made = Path(place) / "module.pyc"
        py_compile.compile(
            str(path),
            cfile=str(made),
            dfile=f"/{name}",
            doraise=True,
            invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH,
        )
        content = made.read_bytes()
    return file(str(importlib.util.cache_from_source(name)), content)


def build(path: Path, userland: Userland, command: list[str], *, disk: bool) -> int:
    """Write the archive to `path` and return its size in bytes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    with partial.open("wb") as out:
        size = write(out, entries(userland, command, disk=disk))
    partial.replace(path)
    return size
