"""Settings of the whole machine, changed for a run and put back, whatever becomes of the run.

Each value is written to a journal before it is changed. The journal is taken away once
everything is as it was; one that a killed run left behind is undone by the next start. A
value that somebody else changed meanwhile is left as it is.
"""

import contextlib
import fcntl
import json
import os
import re
from pathlib import Path
from typing import NamedTuple

from ..lane import LaneMissing

THP = Path("/sys/kernel/mm/transparent_hugepage")
BOOT = Path("/proc/sys/kernel/random/boot_id")


def chosen(text: str) -> str:
    """The value that the text of a setting marks by brackets, else all of it."""
    found = re.search(r"\[([^\]]+)\]", text)
    return found[1] if found else text.strip()


class Change(NamedTuple):
    """One setting, what it was, and what it is to be."""

    path: str
    old: str
    new: str


class Settings:
    """Changes settings and undoes that. A context: leaving it puts everything back."""

    def __init__(self, journal: Path, lock: Path = THP, boot: Path = BOOT) -> None:
        """`journal`: where to note changes; `lock`: a directory that only one run may hold."""
        self.journal, self._lock_path = journal, lock
        self._boot = boot.read_text().strip() if boot.exists() else ""
        self._changes: list[Change] = []
        self._lock = -1

    def __enter__(self) -> "Settings":
        return self

    def __exit__(self, *_: object) -> None:
        self.restore()

    def hold(self) -> None:
        """Keep other runs from changing settings until `restore`; LaneMissing if one does."""
        if self._lock >= 0:
            return
        try:
            lock = os.open(self._lock_path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError as error:
            raise LaneMissing(f"no {self._lock_path}: {error.strerror}") from None
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(lock)
            raise LaneMissing(
                "another run has changed settings of this machine; wait until it ends"
            ) from None
        self._lock = lock

    def undo_leftovers(self) -> list[str]:
        """Put back what a killed run left; the paths of what was put back."""
        if not self.journal.exists():
            return []
        self.hold()
        with contextlib.suppress(ValueError, KeyError, TypeError):
            record = json.loads(self.journal.read_text())
            # A restart of the machine has forgotten them all.
            if record["boot"] == self._boot:
                self._changes = [Change(*change) for change in record["changes"]]
        return self.restore()

    def change(self, path: Path, value: str) -> None:
        """Set `path` to `value` until the end; a no-op if it is. LaneMissing if that is refused."""
        self.hold()
        try:
            old = chosen(path.read_text())
            if old == value:
                return
            self._changes.append(Change(str(path), old, value))
            self._note()
            path.write_text(value)
        except OSError as error:
            raise LaneMissing(f"cannot set {path} to {value}: {error.strerror}") from None

    def _note(self) -> None:
        self.journal.parent.mkdir(parents=True, exist_ok=True)
        partial = self.journal.with_name(f".{self.journal.name}.{os.getpid()}")
        with partial.open("w") as file:
            json.dump({"boot": self._boot, "changes": self._changes}, file)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(self.journal)

    def restore(self) -> list[str]:
        """Put everything back and take the journal away; the paths of what was put back."""
        back = []
        for change in reversed(self._changes):
            path = Path(change.path)
            with contextlib.suppress(OSError):
                if chosen(path.read_text()) == change.new:
                    path.write_text(change.old)
                    back.append(change.path)
        self._changes = []
        if self._lock >= 0:
            self.journal.unlink(missing_ok=True)
            os.close(self._lock)
            self._lock = -1
        return back
