"""Kernel memory, read through bpf(2): no compiler, no library, no module.

One program of 16 instructions copies bytes from a kernel address into a map that this
process has mapped, another one a few bytes from each of many addresses;
BPF_PROG_TEST_RUN runs them. They cannot write.
"""

import ctypes
import errno
import mmap
import os
import struct
from typing import Any

import numpy as np

from ..lane import LaneMissing

# include/uapi/linux/bpf.h
MAP_CREATE, PROG_LOAD, TEST_RUN = 0, 5, 10
MAP_TYPE_ARRAY = 2
MAP_MMAPABLE = 1 << 10
PROG_TYPE_SYSCALL = 31
PROG_SLEEPABLE = 1 << 4
PSEUDO_MAP_VALUE = 2
GET_CURRENT_TASK = 35
PROBE_READ_KERNEL = 113

# The map's value: where to read, how much, then what was read, then many addresses.
DATA = 16
MAX_BYTES = 1 << 17
MAX_PLACES = 1024
PLACES = DATA + MAX_BYTES
SLOT = MAX_BYTES // MAX_PLACES  # bytes for what one of them has
SLOT_SHIFT = 7
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


def _gathering_program(map_fd: int) -> bytes:
    """The same from each of many addresses; the first word is how many, the second the length."""
    i = _instruction
    return b"".join(
        (
            i(0x18, 6, PSEUDO_MAP_VALUE, 0, map_fd),  # r6 = &value, two words
            i(0),
            i(0x79, 8, 6, 0),  # r8 = how many
            i(0x79, 9, 6, 8),  # r9 = length
            i(0x25, 9, 0, 21, SLOT),  # if r9 > SLOT skip 21: it fails
            i(0xB7, 7, 0, 0, 0),  # r7 = 0
            i(0x3D, 7, 8, 17),  # if r7 >= r8 skip 17: it is done
            i(0x25, 7, 0, 16, MAX_PLACES - 1),
            i(0xBF, 1, 7),  # r3 = places[r7]
            i(0x67, 1, 0, 0, 3),
            i(0xBF, 2, 6),
            i(0x07, 2, 0, 0, PLACES),
            i(0x0F, 2, 1),
            i(0x79, 3, 2, 0),
            i(0xBF, 4, 7),  # r1 = &data[r7 << SLOT_SHIFT]
            i(0x67, 4, 0, 0, SLOT_SHIFT),
            i(0xBF, 1, 6),
            i(0x07, 1, 0, 0, DATA),
            i(0x0F, 1, 4),
            i(0xBF, 2, 9),
            i(0x85, value=PROBE_READ_KERNEL),
            i(0x55, 0, 0, 4),  # if r0 != 0 skip 4: it fails
            i(0x07, 7, 0, 0, 1),
            i(0x05, 0, 0, -18),
            i(0xB7, 0, 0, 0, 0),
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
        """Load the programs; `call` is the number of bpf(2)."""
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._call = call
        size = PLACES + 8 * MAX_PLACES
        attributes = struct.pack("<IIIII", MAP_TYPE_ARRAY, 4, size, 1, MAP_MMAPABLE)
        self._map = self._bpf(MAP_CREATE, attributes, "a map")
        memory = mmap.mmap(self._map, -(-size // mmap.PAGESIZE) * mmap.PAGESIZE)
        self._question = np.frombuffer(memory, np.uint64, 2)
        self._answer = np.frombuffer(memory, np.uint64, MAX_BYTES // 8, DATA)
        self._slots = self._answer.reshape(MAX_PLACES, SLOT // 8)
        self._places = np.frombuffer(memory, np.uint64, MAX_PLACES, PLACES)
        self._one = self._load(_program(self._map))
        self._many = self._load(_gathering_program(self._map))
        self._syscall = self._libc.syscall

    def _load(self, code: bytes) -> tuple[Any, Any]:
        """The arguments of a run of the program, and where its result will be."""
        license_ = b"GPL\0"
        # Kept while the kernel reads them.
        code_at, license_at = (ctypes.create_string_buffer(text) for text in (code, license_))
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
        program = self._bpf(PROG_LOAD, attributes, "a program")
        run = ctypes.create_string_buffer(struct.pack("<II", program, 0), ATTRIBUTES)
        result = np.frombuffer(memoryview(run), np.int32, 2)
        return (self._call, TEST_RUN, ctypes.byref(run), ctypes.c_long(80)), result

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

    def _do(self, program: tuple[Any, Any], first: int, second: int) -> None:
        self._question[0] = first
        self._question[1] = second
        if self._syscall(*program[0]) != 0:
            raise OSError(ctypes.get_errno(), "BPF_PROG_TEST_RUN")
        if program[1][1] != 0:
            raise ReadError(errno.EFAULT, "a kernel address is not mapped")

    def task(self) -> int:
        """The address of this thread's task_struct."""
        self._do(self._one, 0, 0)
        return int(self._answer[0])

    def words(self, address: int, count: int) -> Any:
        """uint64[count] from kernel `address`, at most MAX_BYTES; overwritten by the next read.

        ReadError where nothing is mapped.
        """
        self._do(self._one, address, count * 8)
        return self._answer[:count]

    def word(self, address: int) -> int:
        """The 64-bit word at kernel `address`."""
        return int(self.words(address, 1)[0])

    def gather(self, places: Any, count: int) -> Any:
        """uint64[places, count], words at each of kernel addresses `places` (uint64[]).

        At most MAX_PLACES, SLOT bytes each; overwritten by the next read.
        """
        self._places[: len(places)] = places
        self._do(self._many, len(places), count * 8)
        return self._slots[: len(places), :count]
