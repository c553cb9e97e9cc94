"""The lock of a work directory: one campaign at a time, and the next one is told whose it is.

A record lock of POSIX: it ends with the process, however that ends, and forked workers do not
inherit it. A lock that is a file's existence would outlive a kill.
"""

import fcntl
import os
import shlex
import socket
import sys
import time
from pathlib import Path

from harness.case import CaseError


def command_line() -> str:
    """The command of this process, as one would type it."""
    return shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]])


def moment(seconds: float) -> str:
    """A time as text, to the second, UTC."""
    return time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(seconds))


class Lock:
    """The lock of a directory, held until `release` or the end of the process."""

    def __init__(self, directory: Path) -> None:
        """Take the lock; CaseError that names the owner if another process holds it."""
        path = directory / "lock"
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        try:
            fcntl.lockf(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            owner = os.read(self._file, 4096).decode("utf-8", "replace").strip()
            os.close(self._file)
            raise CaseError(
                f"{directory} is in use by {owner or 'another campaign'}; "
                "wait for its end, or choose another --work"
            ) from None
        text = (
            f"process {os.getpid()} on {socket.gethostname()} since {moment(time.time())}: "
            f"{command_line()}\n"
        )
        os.ftruncate(self._file, 0)
        os.pwrite(self._file, text.encode(), 0)

    def release(self) -> None:
        """Let others in."""
        os.ftruncate(self._file, 0)
        # Closing any descriptor of the file ends a record lock.
        os.close(self._file)
