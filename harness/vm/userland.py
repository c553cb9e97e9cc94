"""The Python of a guest, with the libraries that this tool needs there: as entries of an archive.

Two ways. The running interpreter is carried as it is, at the path that it has
here, with the shared libraries that `ldd` names: starts soonest, but only in a
guest of this machine's architecture. Debian's packages make one for each.
"""

import importlib.metadata
import re
import shutil
import stat
import subprocess
import sys
import sysconfig
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from ..lane import LaneMissing
from .cpio import Entry, link, on_disk
from .debian import Archive, unpack
from .machine import Machine

# Distributions that an interpreted run imports. numba is not among them: see mm.jit.
LIBRARIES = ("click", "msgspec", "numpy")
PACKAGES = ("python3", *(f"python3-{name}" for name in LIBRARIES))
SITE = "midfolio-site"

# Half of a Python's files are tests, and tools that no guest runs.
_UNUSED = {
    "__phello__",
    "ensurepip",
    "idlelib",
    "lib2to3",
    "pydoc_data",
    "site-packages",
    "test",
    "tests",
    "tkinter",
    "turtledemo",
}
_UNUSED_NAME = re.compile(
    r".+\.opt-[12]\.pyc|config-.+|libpython.+\.a|.+\.(pyi|pxd|h)"
    r"|_(tkinter|curses|curses_panel|sqlite3|dbm|gdbm|ssl|test.+|xx.+)\..+\.so|xx.+\.so"
)
_UNUSED_SHARE = re.compile(
    r"usr/share/(?!python)|usr/bin/(?!python)|usr/sbin/|etc/|var/|usr/lib/(?:systemd|init|valgrind)"
)
_LDD = re.compile(r"^\s*(?:\S+ => )?(/\S+) \(0x[0-9a-f]+\)$", re.MULTILINE)
_LDD_MISSING = re.compile(r"^\s*(\S+) => not found", re.MULTILINE)
# Debian lists these folders as links to those below usr.
_MERGED = ("bin", "lib", "lib64", "sbin")


class Userland(NamedTuple):
    """A Python and what it needs."""

    python: str  # its path in the guest
    environment: dict[str, str]
    entries: list[Entry]


def own() -> Userland:
    """The running interpreter, its standard library, the libraries, and what they link."""
    python = Path(sys.executable).resolve()
    # A script's first line: BINPRM_BUF_SIZE in include/uapi/linux/binfmts.h, and no blank in it.
    if len(f"#!{python} -I\n") > 255 or " " in str(python):
        raise LaneMissing(f"no script can name {python}; --python debian does without")
    stdlib = Path(sysconfig.get_path("stdlib")).resolve()
    entries = [_at(python), *(_at(path) for path in _used(stdlib))]
    for name in LIBRARIES:
        entries += _distribution(name)
    programs = [
        entry.content
        for entry in entries
        if isinstance(entry.content, Path)
        and (entry.content == python or ".so" in entry.content.name)
    ]
    known = {entry.path for entry in entries} | {str(program)[1:] for program in programs}
    entries += [
        # What a link is called counts, what it links is what is there.
        Entry(str(path)[1:], stat.S_IFREG | 0o755, path.resolve())
        for path in linked(programs)
        if str(path)[1:] not in known and path.resolve() not in programs
    ]
    return Userland(str(python), {"PYTHONPATH": f"/{SITE}"}, entries)


def _at(path: Path) -> Entry:
    return on_disk(str(path)[1:], path)


def _used(folder: Path) -> Iterator[Path]:
    for path in sorted(folder.iterdir()):
        if path.name in _UNUSED or _UNUSED_NAME.fullmatch(path.name):
            continue
        if path.is_dir() and not path.is_symlink():
            yield from _used(path)
        else:
            yield path


def _distribution(name: str) -> Iterator[Entry]:
    files = importlib.metadata.files(name)
    if files is None:
        raise LaneMissing(f"{name} is not installed as a distribution with a list of its files")
    for file in files:
        parts = set(file.parts)
        if ".." in parts or parts & _UNUSED or _UNUSED_NAME.fullmatch(file.name):
            continue
        path = Path(str(file.locate())).resolve()
        if path.is_file():
            yield on_disk(f"{SITE}/{file.as_posix()}", path)


def linked(programs: Iterable[Path]) -> list[Path]:
    """The shared libraries that `programs` and those libraries load at their start, sorted."""
    if shutil.which("ldd") is None:
        raise LaneMissing("ldd is not installed; --python debian does without")
    done = subprocess.run(["ldd", *map(str, programs)], capture_output=True, text=True, check=False)
    missing = sorted(set(_LDD_MISSING.findall(done.stdout)))
    if missing:
        raise LaneMissing(f"this Python does not find its own {', '.join(missing)}")
    return sorted({Path(path) for path in _LDD.findall(done.stdout)})


def debian(archive: Archive, machine: Machine, directory: Path) -> Userland:
    """Debian's Python and libraries for `machine`, unpacked below `directory`."""
    root = directory / f"python-{machine.debian}"
    if not root.exists():
        partial = root.with_name(f".{root.name}")
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        for deb in archive.download_closure(PACKAGES):
            unpack(deb, partial)
        partial.replace(root)
    libraries = f"/usr/lib/{machine.triplet}"
    environment = {
        # Without the links that `update-alternatives` makes at the installation.
        "LD_LIBRARY_PATH": ":".join([f"{libraries}/blas", f"{libraries}/lapack"]),
        "PYTHONPATH": "",
    }
    return Userland("/usr/bin/python3", environment, list(_unpacked(root)))


def _unpacked(root: Path) -> Iterator[Entry]:
    for path in sorted(root.rglob("*")):
        name = path.relative_to(root).as_posix()
        if set(Path(name).parts) & _UNUSED or _UNUSED_NAME.fullmatch(path.name):
            continue
        # An interpreter of another kind of entry: folders come with what is in them.
        if _UNUSED_SHARE.match(name) or (path.is_dir() and not path.is_symlink()):
            continue
        yield on_disk(name, path)
    for folder in _MERGED:
        if not (root / folder).exists():
            yield link(folder, f"usr/{folder}")
