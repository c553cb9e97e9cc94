"""Memory of this process itself: mapped, advised, protected, and asked about, by system calls.

Sources of the numbers: include/uapi/asm-generic/mman-common.h, linux/userfaultfd.h,
linux/fs.h.
"""

import ctypes
import errno
import fcntl
import os
import struct
from typing import Any, NamedTuple

from mm.flags import VM_EXEC, VM_READ, VM_SHARED, VM_WRITE

from ..lane import LaneMissing
from .machines import PAGE

PROT_NONE, PROT_READ, PROT_WRITE, PROT_EXEC = 0, 1, 2, 4
MAP_SHARED, MAP_PRIVATE, MAP_FIXED, MAP_ANONYMOUS, MAP_NORESERVE = 1, 2, 0x10, 0x20, 0x4000
MADV_FREE, MADV_HUGEPAGE, MADV_NOHUGEPAGE, MADV_DONTNEED = 8, 14, 15, 4
MADV_REMOVE, MADV_DONTFORK, MADV_DOFORK = 9, 10, 11

UFFD_USER_MODE_ONLY = 1
UFFD_API = 0xAA
UFFDIO_API = 0xC018AA3F
UFFDIO_REGISTER = 0xC020AA00
UFFDIO_UNREGISTER = 0x8010AA01
UFFDIO_WRITEPROTECT = 0xC018AA06
REGISTER_MODE_WP = 2
WRITEPROTECT_MODE_WP = 1
FEATURE_PAGEFAULT_FLAG_WP = 1
FEATURE_WP_HUGETLBFS_SHMEM = 1 << 12

PROCMAP_QUERY = 0xC0686611
COVERING_OR_NEXT = 0x10  # PROCMAP_QUERY_COVERING_OR_NEXT_VMA
# struct procmap_query: size, flags, address, then what is answered, the first of it being
# start, end and vma_flags; what is not asked for is zero.
QUERY = struct.Struct("<QQQQQQQQQIIIIQQ")
QUERY_ADDRESS = struct.Struct("<Q")
ANSWER = struct.Struct("<QQQ")
ADDRESS_AT, ANSWER_AT = 16, 24
# Bits of its vma_flags are those of PROT_; 8 is shared.
QUERY_RIGHTS = 0xF

LIBC = ctypes.CDLL(None, use_errno=True)
LIBC.mmap.restype = ctypes.c_void_p
LIBC.mmap.argtypes = (
    ctypes.c_void_p,
    ctypes.c_size_t,
    ctypes.c_int,
    ctypes.c_int,
    ctypes.c_int,
    ctypes.c_long,
)
for _name in ("mprotect", "madvise"):
    getattr(LIBC, _name).argtypes = (ctypes.c_size_t, ctypes.c_size_t, ctypes.c_int)
LIBC.munmap.argtypes = (ctypes.c_size_t, ctypes.c_size_t)

RIGHTS = int(VM_READ | VM_WRITE | VM_EXEC | VM_SHARED)


def _checked(answer: int, what: str) -> None:
    if answer != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")


def map_memory(address: int, size: int, prot: int, flags: int, file: int = -1) -> int:
    """mmap(2): the address of the mapping."""
    found = LIBC.mmap(address or None, size, prot, flags, file, 0)
    if found in (None, ctypes.c_void_p(-1).value):
        number = ctypes.get_errno()
        raise OSError(number, f"mmap of {size} bytes: {os.strerror(number)}")
    return int(found)


def protect(address: int, size: int, prot: int) -> None:
    """mprotect(2)."""
    _checked(LIBC.mprotect(address, size, prot), "mprotect")


def advise(address: int, size: int, advice: int) -> None:
    """madvise(2)."""
    _checked(LIBC.madvise(address, size, advice), "madvise")


def bytes_at(address: int, size: int) -> Any:
    """The memory [address, address + size) as a memoryview; touching it is a real access."""
    return memoryview((ctypes.c_ubyte * size).from_address(address)).cast("B")


def reserve(size: int, alignment: int) -> int:
    """The address of `size` bytes, aligned, in a private part of the address space without rights.

    There is room on both sides, so that nothing is ever merged with what is mapped there.
    """
    flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE
    whole = map_memory(0, size + 2 * alignment, PROT_NONE, flags)
    return (whole + alignment) & -alignment


class Vma(NamedTuple):
    """A part of a window that is one VMA: half open, in entries, and READ, WRITE, EXEC, SHARED."""

    first: int
    last: int
    rights: int


class Vmas:
    """What /proc says of this process's VMAs, asked by ioctl where the kernel has that (v6.11)."""

    def __init__(self) -> None:
        """Open /proc/self/maps, once."""
        self._maps = os.open("/proc/self/maps", os.O_RDONLY)
        self._buffer = bytearray(QUERY.pack(QUERY.size, COVERING_OR_NEXT, *[0] * 13))
        self._has_query = True

    def within(self, window: int, first: int, last: int) -> list[Vma]:
        """The VMAs that cover entries [first, last) of the window at `window`, cut to it, ascending."""
        address, end = window + first * PAGE, window + last * PAGE
        if self._has_query:
            try:
                return self._ask(window, address, end)
            except OSError as error:
                if error.errno not in (errno.ENOTTY, errno.EINVAL):
                    raise
                self._has_query = False
        return list(self._read(window, address, end))

    def _ask(self, window: int, address: int, end: int) -> list[Vma]:
        found: list[Vma] = []
        at, buffer = address, self._buffer
        while at < end:
            QUERY_ADDRESS.pack_into(buffer, ADDRESS_AT, at)
            try:
                fcntl.ioctl(self._maps, PROCMAP_QUERY, buffer)
            except FileNotFoundError:
                break
            start, last, rights = ANSWER.unpack_from(buffer, ANSWER_AT)
            if start >= end:
                break
            first, past = max(start, address), min(last, end)
            found.append(
                Vma((first - window) // PAGE, (past - window) // PAGE, rights & QUERY_RIGHTS)
            )
            at = last
        return found

    def _read(self, window: int, address: int, end: int) -> Any:
        os.lseek(self._maps, 0, os.SEEK_SET)
        data = b"".join(iter(lambda: os.read(self._maps, 1 << 16), b""))
        for line in data.splitlines():
            place, letters = line.split(maxsplit=2)[:2]
            start, last = (int(part, 16) for part in place.split(b"-"))
            if last > address and start < end:
                rights = sum(1 << bit for bit, want in enumerate(b"rwxs") if letters[bit] == want)
                first, past = max(start, address), min(last, end)
                yield Vma((first - window) // PAGE, (past - window) // PAGE, rights)


class Uffd:
    """A userfaultfd that write-protects. LaneMissing where the kernel has none."""

    def __init__(self, call: int) -> None:
        """Open it; `call` is the number of userfaultfd(2)."""
        fd = int(LIBC.syscall(call, os.O_CLOEXEC | os.O_NONBLOCK | UFFD_USER_MODE_ONLY))
        if fd < 0:
            raise LaneMissing(f"userfaultfd(2): {os.strerror(ctypes.get_errno())}")
        self._fd = fd
        answer = bytearray(struct.pack("<QQQ", UFFD_API, 0, 0))
        fcntl.ioctl(fd, UFFDIO_API, answer)
        self.features = struct.unpack("<QQQ", answer)[1]
        if not self.features & FEATURE_PAGEFAULT_FLAG_WP:
            raise LaneMissing("userfaultfd(2) of this kernel does not write-protect")

    def close(self) -> None:
        """Close it: what it registered is no longer."""
        os.close(self._fd)

    def register(self, address: int, size: int) -> None:
        """Register a mapping for write protection."""
        fcntl.ioctl(
            self._fd,
            UFFDIO_REGISTER,
            bytearray(struct.pack("<QQQQ", address, size, REGISTER_MODE_WP, 0)),
        )

    def write_protect(self, address: int, size: int, on: bool) -> None:
        """Set or clear the userfaultfd bit of a range."""
        mode = WRITEPROTECT_MODE_WP if on else 0
        fcntl.ioctl(
            self._fd, UFFDIO_WRITEPROTECT, bytearray(struct.pack("<QQQ", address, size, mode))
        )
