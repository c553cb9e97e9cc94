"""Settings of the whole machine: tests that change them, or look at them, take turns."""

import contextlib
import fcntl
import os
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

THP = Path("/sys/kernel/mm/transparent_hugepage")
SECONDS = 60


@contextlib.contextmanager
def alone() -> Iterator[None]:
    """Keep other processes of this suite away from the settings."""
    with (Path(tempfile.gettempdir()) / "midfolio-tests-settings.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        wait_for_others()
        yield


def wait_for_others() -> None:
    """Return once no run of somebody else has settings changed, which then holds this lock, or soon."""
    with contextlib.suppress(OSError):
        directory = os.open(THP, os.O_RDONLY)
        try:
            for _ in range(SECONDS * 10):
                with contextlib.suppress(BlockingIOError):
                    fcntl.flock(directory, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    return
                time.sleep(0.1)
        finally:
            os.close(directory)
