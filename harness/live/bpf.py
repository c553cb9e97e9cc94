"""Kernel memory, read through bpf(2): no compiler, no library, no module.

One program of 17 instructions copies `len` bytes from a kernel address into a map that
this process has mapped; BPF_PROG_TEST_RUN runs it. It cannot write.
"""

import ctypes
import errno
import mmap
import os
import struct
from typing import Any

import numpy as np

from .lane import LaneMissing

# include/uapi/linux/bpf.h
MAP_CREATE, PROG_LOAD, TEST_RUN = 0, 5, 10
MAP_TYPE_ARRAY = 2
MAP_MMAPABLE = 1 << 10
PROG_TYPE_SYSCALL = 31
PROG_SLEEPABLE = 1 << 4
PSEUDO_MAP_VALUE = 2
GET_CURRENT_TASK = 35
PROBE_READ_KERNEL = 113

# The map's value: where to read, how much, then what was read.
DATA = 16
MAX_BYTES = 1 << 16
ATTRIBUTES = 144  # bytes of union bpf_attr that this file uses


def _instruction(
    opcode: int, to: int = 0, source: int = 0, offset: int = 0, value: int = 0
) -> bytes:
    return struct.pack("<BBhi", opcode, source << 4 | to, offset, value)


def _program(map_fd: int) -> bytes:
    """r6 = the map's value; address 0 asks for the current task."""
    i = _instruction
    return b"".join(
        (
            i(0x18, 6, PSEUDO_MAP_VALUE, 0, map_fd),  # r6 = &value, two words
            i(0),
            i(0x79, 3, 6, 0),  # r3 = address
            i(0x79, 2, 6, 8),  # r2 = length
            i(0x55, 3, 0, 4),  # if r3 != 0 skip 4
            i(0x85, value=GET_CURRENT_TASK),
            i(0x7B, 6, 0, DATA),  # data[0] = r0
            i(0xB7, 0, 0, 0, 0),  # r0 = 0
            i(0x95),
            i(0x25, 2, 0, 4, MAX_BYTES),  # if r2 > MAX_BYTES skip 4
            i(0xBF, 1, 6),  # r1 = r6
            i(0x07, 1, 0, 0, DATA),  # r1 += DATA
            i(0x85, value=PROBE_READ_KERNEL),
            i(0x95),
            i(0xB7, 0, 0, 0, -1),
            i(0x95),
        )
    )


class ReadError(OSError):
    """An address that the kernel could not read."""


class Reader:
    """Reads kernel memory. LaneMissing where bpf(2) is not allowed or not there."""

    def __init__(self, call: int) -> None:
        """Load the program; `call` is the number of bpf(2)."""
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._call = call
        size = DATA + MAX_BYTES
        attributes = struct.pack("<IIIII", MAP_TYPE_ARRAY, 4, size, 1, MAP_MMAPABLE)
        self._map = self._bpf(MAP_CREATE, attributes, "a map")
        memory = mmap.mmap(self._map, -(-size // mmap.PAGESIZE) * mmap.PAGESIZE)
        self._question = np.frombuffer(memory, np.uint64, 2)
        self._answer = np.frombuffer(memory, np.uint64, MAX_BYTES // 8, DATA)
        code, license_ = _program(self._map), b"GPL\0"
        # Kept while the kernel reads them.
        code_at, license_at = (
            ctypes.create_string_buffer(code),
            ctypes.create_string_buffer(license_),
        )
        attributes = struct.pack(
            "<IIQQIIQII",
            PROG_TYPE_SYSCALL,
            len(code) // 8,
            ctypes.addressof(code_at),
            ctypes.addressof(license_at),
            0,
            0,
            0,
            0,
            PROG_SLEEPABLE,
        )
        self._program = self._bpf(PROG_LOAD, attributes, "a program")
        self._run = ctypes.create_string_buffer(struct.pack("<II", self._program, 0), ATTRIBUTES)
        self._result = np.frombuffer(memoryview(self._run), np.int32, 2)
        self._syscall = self._libc.syscall
        self._arguments = (call, TEST_RUN, ctypes.byref(self._run), ctypes.c_long(80))

    def _bpf(self, command: int, attributes: bytes, what: str) -> int:
        buffer = ctypes.create_string_buffer(attributes, ATTRIBUTES)
        answer = int(self._libc.syscall(self._call, command, buffer, ctypes.c_long(ATTRIBUTES)))
        if answer >= 0:
            return answer
        number = ctypes.get_errno()
        why = {
            errno.EPERM: "needs root with CAP_BPF and CAP_PERFMON, and a kernel that is not locked down",
            errno.ENOSYS: "this kernel has none (CONFIG_BPF_SYSCALL)",
        }.get(number, os.strerror(number))
        raise LaneMissing(f"bpf(2) refuses {what}: {why}")

    def _do(self, address: int, size: int) -> None:
        self._question[0] = address
        self._question[1] = size
        if self._syscall(*self._arguments) != 0:
            raise OSError(ctypes.get_errno(), "BPF_PROG_TEST_RUN")
        if self._result[1] != 0:
            raise ReadError(errno.EFAULT, f"kernel address {address:#x} is not mapped")

    def task(self) -> int:
        """The address of this thread's task_struct."""
        self._do(0, 0)
        return int(self._answer[0])

    def words(self, address: int, count: int) -> Any:
        """uint64[count] from kernel `address`, at most MAX_BYTES; overwritten by the next read.

        ReadError where nothing is mapped.
        """
        self._do(address, count * 8)
        return self._answer[:count]

    def word(self, address: int) -> int:
        """The 64-bit word at kernel `address`."""
        return int(self.words(address, 1)[0])
