"""Whether a call flushed this CPU's TLB: the tracepoint tlb:tlb_flush, counted by perf.

Its number stands in tracefs, which is read through a mount of its own that nobody else
sees. Where one of the two is not there, or does not count what is known to flush,
flushes are not judged, and the report says so.
"""

import ctypes
import fcntl
import os
import struct

from .memory import LIBC

# include/uapi/linux/mount.h, fcntl.h; the numbers are the same on every architecture.
FSOPEN, FSCONFIG, FSMOUNT = 430, 431, 432
FSCONFIG_CMD_CREATE = 6
CLOEXEC = 1
EVENT = "events/tlb/tlb_flush/id"
# include/uapi/linux/perf_event.h
TYPE_TRACEPOINT = 2
ATTR_SIZE = 64  # PERF_ATTR_SIZE_VER0
IOC_SET_FILTER = 0x40082406
# TLB_LOCAL_SHOOTDOWN and TLB_LOCAL_MM_SHOOTDOWN, include/trace/events/tlb.h: not switches
# of tasks, and not the messages to other CPUs.
FILTER = b"reason == 2 || reason == 3\0"


def _event_number() -> int:
    """The number of the tracepoint; OSError where tracefs does not give it."""
    for known in ("/sys/kernel/tracing", "/sys/kernel/debug/tracing"):
        path = os.path.join(known, EVENT)
        if os.path.exists(path):
            with open(path) as file:
                return int(file.read())
    return _number_by_own_mount()


def _number_by_own_mount() -> int:
    files = []
    try:
        files.append(_descriptor(LIBC.syscall(FSOPEN, b"tracefs", CLOEXEC)))
        if LIBC.syscall(FSCONFIG, files[0], FSCONFIG_CMD_CREATE, None, None, 0) != 0:
            raise OSError(ctypes.get_errno(), "fsconfig")
        files.append(_descriptor(LIBC.syscall(FSMOUNT, files[0], CLOEXEC, 0)))
        files.append(os.open(EVENT, os.O_RDONLY, dir_fd=files[1]))
        return int(os.read(files[2], 32))
    finally:
        for file in files:
            os.close(file)


def _descriptor(answer: int) -> int:
    if answer < 0:
        raise OSError(ctypes.get_errno(), "tracefs cannot be mounted")
    return int(answer)


class Flushes:
    """Counts the flushes of this thread. OSError where that cannot be done."""

    def __init__(self, call: int) -> None:
        """Begin to count; `call` is the number of perf_event_open(2)."""
        attributes = struct.pack("<IIQ", TYPE_TRACEPOINT, ATTR_SIZE, _event_number())
        buffer = ctypes.create_string_buffer(attributes, ATTR_SIZE)
        fd = LIBC.syscall(call, buffer, 0, -1, -1, ctypes.c_ulong(8))  # close on exec
        if fd < 0:
            raise OSError(ctypes.get_errno(), "perf_event_open")
        self._fd = int(fd)
        fcntl.ioctl(self._fd, IOC_SET_FILTER, FILTER)

    def count(self) -> int:
        """How many flushes there were so far."""
        return int.from_bytes(os.read(self._fd, 8), "little")
