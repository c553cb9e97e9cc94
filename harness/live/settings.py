"""Settings of the whole machine, changed for a run and put back, whatever becomes of the run.

Each value is written to a journal before it is changed. The journal is taken away once
everything is as it was; one that a killed run left behind is undone by the next start. A
value that somebody else changed meanwhile is left as it is.

SIGTERM and SIGHUP end a process without a word to Python, so that they are taken here and
raised as `Interrupted`; SIGINT comes as that, too.
"""

import contextlib
import fcntl
import json
import os
import re
import signal
import threading
from pathlib import Path
from types import FrameType
from typing import Any, NamedTuple

from ..lane import LaneMissing

THP = Path("/sys/kernel/mm/transparent_hugepage")
BOOT = Path("/proc/sys/kernel/random/boot_id")


def chosen(text: str) -> str:
    """The value that the text of a setting marks by brackets, else all of it."""
    found = re.search(r"\[([^\]]+)\]", text)
    return found[1] if found else text.strip()


# What asks a process to end. kill -9 asks nobody: for that there is the journal.
ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Interrupted(KeyboardInterrupt):
    """A signal asked this run to end; says which."""


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise Interrupted(signal.Signals(number).name)


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
        self._owner = os.getpid()
        self._handlers: dict[signal.Signals, Any] = {}

    def __enter__(self) -> "Settings":
        # Python lets no other thread set handlers; and what is ignored, as under nohup, stays so.
        if threading.current_thread() is threading.main_thread():
            for number in ENDING:
                if signal.getsignal(number) is not signal.SIG_IGN:
                    self._handlers[number] = signal.signal(number, _interrupt)
        return self

    def __exit__(self, *_: object) -> None:
        # A forked child that a signal takes the same way out must not undo what its parent uses.
        if os.getpid() != self._owner:
            return
        # A second signal waits until everything is back.
        old = signal.pthread_sigmask(signal.SIG_BLOCK, ENDING)
        try:
            self.restore()
            for number, handler in self._handlers.items():
                signal.signal(number, handler)
        finally:
            self._handlers = {}
            signal.pthread_sigmask(signal.SIG_SETMASK, old)

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
