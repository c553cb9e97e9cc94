"""A plan made real: memory of this process with the folios, masks and bits that were drawn.

How each part is brought about, on a kernel with large folios (measured, docs/live.md):

folio        a piece is advised MADV_HUGEPAGE alone, so that no larger folio fits, and touched
exclusive    fork and exit of the child leave no page exclusive; a write takes one back in
             place. Or MADV_DONTFORK keeps pages exclusive over the fork
clean        MADV_FREE on whole folios clears accessed and dirty, and nothing else
shared       MADV_DONTNEED empties the table and keeps the folios; a touch maps them again
"""

import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from . import memory
from .machines import ENTRIES, PAGE
from .memory import (
    MADV_DOFORK,
    MADV_DONTFORK,
    MADV_DONTNEED,
    MADV_FREE,
    MADV_HUGEPAGE,
    MADV_NOHUGEPAGE,
    PROT_READ,
    PROT_WRITE,
    Uffd,
)
from .plans import FOLIO, HOLE, SMALL, ZERO, Plan

READ_WRITE = PROT_READ | PROT_WRITE


def runs(pages: Iterable[int]) -> Iterator[tuple[int, int]]:
    """The maximal runs [first, last) of ascending `pages`."""
    first = last = -1
    for page in pages:
        if page != last:
            if first >= 0:
                yield first, last
            first = page
        last = page + 1
    if first >= 0:
        yield first, last


def unnamed_file(directory: Path) -> int:
    """A new file in `directory` that vanishes with this process."""
    directory.mkdir(parents=True, exist_ok=True)
    try:
        return os.open(directory, os.O_TMPFILE | os.O_RDWR | os.O_CLOEXEC, 0o600)
    except OSError:
        path = directory / f"window-{os.getpid()}"
        file = os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_CLOEXEC, 0o600)
        path.unlink()
        return file


class Site:
    """A place in the address space, one page table wide, that one layout at a time is made in."""

    def __init__(self, uffd: Uffd | None, directory: Path) -> None:
        """Reserve it. `directory`: where files of the page cache are made."""
        self.address = memory.reserve(ENTRIES * PAGE, ENTRIES * PAGE)
        self.view = memory.bytes_at(self.address, ENTRIES * PAGE)
        self._uffd = uffd
        self._directory = directory
        self._file = -1

    # What a step does.

    def write(self, pages: Iterable[int]) -> None:
        """Write one byte to each of `pages`."""
        view = self.view
        for page in pages:
            view[page * PAGE] = 1

    def read(self, pages: Iterable[int]) -> int:
        """Read one byte of each of `pages`; their sum."""
        view = self.view
        return sum(view[page * PAGE] for page in pages)

    def protect(self, first: int, last: int, prot: int) -> None:
        """mprotect() pages [first, last)."""
        memory.protect(self.address + first * PAGE, (last - first) * PAGE, prot)

    def protect_uffd(self, first: int, last: int, on: bool) -> None:
        """Let userfaultfd protect pages [first, last), or no longer."""
        assert self._uffd is not None
        self._uffd.write_protect(self.address + first * PAGE, (last - first) * PAGE, on)

    def clean(self, pages: int, *, shared: bool) -> None:
        """Clear accessed and dirty of all pages; those that are shared are no longer mapped."""
        # Whole folios only: a part of one would be split off.
        self._advise(0, pages, MADV_DONTNEED if shared else MADV_FREE)

    def _advise(self, first: int, last: int, advice: int) -> None:
        memory.advise(self.address + first * PAGE, (last - first) * PAGE, advice)

    # Making a layout.

    def before_fork(self, plan: Plan) -> None:
        """Everything of `plan` up to the fork."""
        self._clear()
        if plan.kind == "file":
            self._map_file(plan)
        else:
            self._map_memory(plan)
        if plan.clean:
            self.clean(plan.pages, shared=plan.shared_memory)
            self._touch_writable(plan)
        if plan.forked == "keep":
            for first, last in runs(plan.exclusive):
                self._advise(first, last, MADV_DONTFORK)

    def after_fork(self, plan: Plan) -> None:
        """The rest of `plan`."""
        if plan.forked == "keep":
            self._advise(0, plan.pages, MADV_DOFORK)
        elif plan.forked == "write":
            self.write(plan.exclusive)
        self.read(plan.touched)
        for first, last in runs(sorted(plan.holes)):
            self._advise(first, last, MADV_DONTNEED)
        if plan.kind == "uffd":
            assert self._uffd is not None
            self._uffd.register(self.address, plan.pages * PAGE)
            for first, last in plan.protected:
                self.protect_uffd(first, last, True)

    def _clear(self) -> None:
        size = ENTRIES * PAGE
        flags = memory.MAP_PRIVATE | memory.MAP_ANONYMOUS | memory.MAP_NORESERVE
        memory.map_memory(self.address, size, memory.PROT_NONE, flags | memory.MAP_FIXED)
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    def _map_memory(self, plan: Plan) -> None:
        size = plan.pages * PAGE
        if plan.named:
            self._file = os.memfd_create("midfolio", os.MFD_CLOEXEC)
            os.truncate(self._file, size)
        flags = memory.MAP_FIXED | (0 if plan.named else memory.MAP_ANONYMOUS)
        flags |= memory.MAP_SHARED if plan.shared_memory else memory.MAP_PRIVATE
        memory.map_memory(self.address, size, READ_WRITE, flags, self._file)
        self._advise(0, plan.pages, MADV_NOHUGEPAGE)
        # One page gives the whole VMA its anon_vma, so that its parts are merged again.
        self.write((0,))
        self._advise(0, 1, memory.MADV_REMOVE if plan.shared_memory else MADV_DONTNEED)
        for first, last, what in plan.pieces:
            if what == FOLIO:
                self._advise(first, last, MADV_HUGEPAGE)
                self.write((first,))
                self._advise(first, last, MADV_NOHUGEPAGE)
            elif what == SMALL:
                self.write(range(first, last))
            elif what == ZERO:
                self.read(range(first, last))

    def _map_file(self, plan: Plan) -> None:
        self._file = unnamed_file(self._directory)
        for first, last, what in plan.pieces:
            # One write for each piece: the page cache takes folios as large as that.
            if what in (FOLIO, SMALL):
                os.pwrite(self._file, bytes((last - first) * PAGE), first * PAGE)
        os.truncate(self._file, plan.pages * PAGE)
        flags = memory.MAP_SHARED | memory.MAP_FIXED
        memory.map_memory(self.address, plan.pages * PAGE, READ_WRITE, flags, self._file)
        self._touch_writable(plan)

    def _touch_writable(self, plan: Plan) -> None:
        self.write(plan.written)
        if plan.shared_memory:
            self.read(
                page
                for first, last, what in plan.pieces
                if what not in (HOLE, ZERO)
                for page in range(first, last, 2)
            )


def fork_and_exit() -> None:
    """Fork a child that ends at once: what was exclusive before is no longer, but what was kept."""
    child = os.fork()
    if child == 0:
        os._exit(0)
    os.waitpid(child, 0)
