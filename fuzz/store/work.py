"""A work directory: who uses it, and where a campaign finds what earlier runs left.

findings/          findings as case files, for people
campaigns.sqlite   all else, for the next run and `midfolio report`
fuzzer_stats       how the campaign does, about once a second
lock               whose the directory is
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType

from harness import findings
from harness.case import CaseError

from ..exits import FULL, NotWritten
from .database import Database
from .lock import Lock
from .store import Store

FILE = "campaigns.sqlite"


@contextmanager
def writing(what: str) -> Iterator[None]:
    """Say of an OSError that `what` could not be written: NotWritten, CaseError for a bad place."""
    try:
        yield
    except OSError as error:
        if error.errno in FULL:
            raise NotWritten(
                f"cannot write {what}: {error.strerror}; what was written before is whole"
            ) from None
        raise CaseError(
            f"cannot write {what}: {error.strerror}; expected a work directory to write to "
            "(--work, MIDFOLIO_FINDINGS)"
        ) from None


class WorkDirectory:
    """A work directory, held by this process."""

    def __init__(self, path: Path | None = None) -> None:
        """Take the directory, made if absent; CaseError if another process has it."""
        self.path = path or findings.default_work()
        with writing(str(self.path)):
            self.path.mkdir(parents=True, exist_ok=True)
            self._lock = Lock(self.path)
        try:
            self.store = Store(Database(self.path / FILE))
        except BaseException:
            self._lock.release()
            raise

    def __enter__(self) -> "WorkDirectory":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            self.store.close()
        finally:
            self._lock.release()

    @property
    def findings(self) -> Path:
        """Where findings are written."""
        if findings.VARIABLE in os.environ:
            return findings.directory()
        return self.path / "findings"

    @property
    def stats(self) -> Path:
        """The file of `fuzzer_stats`."""
        return self.path / "fuzzer_stats"
