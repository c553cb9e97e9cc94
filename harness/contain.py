"""Containment of targets that can take their process down: guarded arrays, and a child per run.

A native target may crash, loop, or write where it must not. Its arrays stand in
shared memory between inaccessible pages, and it runs in a forked child, so that
the parent sees what it left and how it ended.
"""

import ctypes
import mmap
import os
import signal
import sys
import time
import traceback
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from mm.state import MAX_PTES, State

from .case import CaseError
from .workspace import Workspace

# Of CPU time: the longest legal run of a target takes microseconds of it, however busy
# the machine is. One that sleeps uses none, so it is given up after so many times as long.
HANG_SECONDS = 10.0
ASLEEP = 6.0
HANG_VARIABLE = "MIDFOLIO_HANG_SECONDS"
PAGE = mmap.PAGESIZE
PROT_NONE = 0
PR_SET_PDEATHSIG = 1  # include/uapi/linux/prctl.h

# The caller of a native target ends its process with this status when it finds its
# guard words changed: it cannot say more, since the target may have written anywhere.
OVERRUN_STATUS = 86

# How a run that came back did so, and the bytes of what it raised that are kept.
RETURNED, RAISED = 1, 2
MAX_SAID = 4096
# Lines of a traceback that are kept: the last calls and the error.
MAX_TRACEBACK = 20


def hang_seconds() -> float:
    """How long a run may take: MIDFOLIO_HANG_SECONDS, else ten seconds; CaseError if it is no number."""
    text = os.environ.get(HANG_VARIABLE)
    if text is None:
        return HANG_SECONDS
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not seconds > 0:
        raise CaseError(f"{HANG_VARIABLE} is {text!r}; expected a number of seconds above 0")
    return seconds


class Ending(NamedTuple):
    """How a contained run ended: a class of `harness.classes` and lines of words, or the return value."""

    name: str
    how: tuple[str, ...]
    pages: int


def shared_zeros(count: int, dtype: Any = np.int64) -> Any:
    """A zeroed array that forked children share, between two inaccessible pages.

    It ends where the page behind it begins, so that the first element too far
    is noticed; one before the first is only where the size is a multiple of a page.
    """
    dtype = np.dtype(dtype)
    size = count * dtype.itemsize
    inner = max(-(-size // PAGE), 1) * PAGE
    memory = mmap.mmap(-1, inner + 2 * PAGE)
    address = ctypes.addressof(ctypes.c_char.from_buffer(memory))
    libc = ctypes.CDLL(None, use_errno=True)
    libc.mprotect.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
    for guard in (address, address + PAGE + inner):
        if libc.mprotect(guard, PAGE, PROT_NONE) != 0:
            raise OSError(ctypes.get_errno(), "mprotect of a guard page")
    # `frombuffer` keeps the memory alive.
    return np.frombuffer(memory, dtype, count, PAGE + inner - size)


def _guarded(name: str, array: Any) -> Any:
    # The table has the size that it has in campaigns, so that a replay sees what they see;
    # behind a window as long as that, which no bait stands behind, is the inaccessible page.
    room = MAX_PTES if name in ("ptes", "hardware") else len(array)
    array = array[:room]
    flat = shared_zeros(room * (array.size // len(array)), array.dtype)
    shaped = flat.reshape(room, *array.shape[1:])
    shaped[: len(array)] = array
    return shaped.view(type(array))


def shared_state(state: State) -> State:
    """`state` in guarded, shared memory: what a child writes there outlives it."""
    return State(
        **{
            name: array if name == "trace" else _guarded(name, array)
            for name, array in state._asdict().items()
        }
    )


def contained_workspace(workspace: Workspace) -> Workspace:
    """`workspace` with the target's arrays in guarded, shared memory; the rest stays."""
    theirs = shared_state(workspace.theirs)
    return workspace._replace(
        theirs=theirs,
        their_facts=np.asarray(theirs.facts).view(np.uint64),
        their_folios=np.asarray(theirs.folios).view(np.uint64),
        their_exclusive=np.asarray(theirs.exclusive).view(np.uint64),
    )


def traceback_of(error: Exception) -> tuple[str, ...]:
    """The lines of the traceback of `error`, from the target on, the last MAX_TRACEBACK of them."""
    inner = error.__traceback__.tb_next if error.__traceback__ else None
    text = "".join(traceback.format_exception(type(error), error, inner))
    # Case files are ASCII.
    plain = text.encode("ascii", "backslashreplace").decode()
    return tuple(plain.rstrip().splitlines()[-MAX_TRACEBACK:])


def ending_of(exitcode: int) -> tuple[str, str]:
    """The class and the words for a process that ended so: its status, or minus the signal."""
    if exitcode < 0:
        return "target-crash", f"it was ended by {signal.Signals(-exitcode).name}"
    if exitcode == OVERRUN_STATUS:
        return "target-overrun", "it wrote behind the last entry of the window"
    return "target-crash", f"it ended its process with status {exitcode}"


class Watch:
    """Watches a process for standing still."""

    def __init__(self, pid: int, seconds: float) -> None:
        """`seconds` of CPU time are too long, and ASLEEP times as many of any time."""
        self.pid, self.seconds = pid, seconds
        self.moved()

    def moved(self) -> None:
        """The process has done something: count from here."""
        self.cpu, self.clock = self._cpu(), time.monotonic()

    def hangs(self) -> bool:
        """Whether too long has passed since the process last did something."""
        asleep = time.monotonic() - self.clock
        return self._cpu() - self.cpu > self.seconds or asleep > ASLEEP * self.seconds

    def _cpu(self) -> float:
        try:
            # The CPU clock of a process: CPUCLOCK_SCHED, include/linux/posix-timers_types.h.
            return time.clock_gettime(~self.pid << 3 | 2)
        except OSError:  # it has ended
            return 0.0


def run_contained(
    function: Callable[[State], int], state: State, seconds: float | None = None
) -> Ending:
    """Run `function` on `state`, whose arrays must be shared, in a child of its own."""
    limit = hang_seconds() if seconds is None else seconds
    # Its own word, which a target that ends the process with status 0 leaves clear.
    result, said = shared_zeros(2), shared_zeros(MAX_SAID, np.uint8)
    sys.stdout.flush()
    sys.stderr.flush()
    parent = os.getpid()
    child = os.fork()
    if child == 0:
        code = 1
        try:
            die_with_parent(parent)
            result[0] = function(state)
            result[1] = RETURNED
            code = 0
        except Exception as error:
            text = "\n".join(traceback_of(error)).encode()[-MAX_SAID:]
            said[: len(text)] = np.frombuffer(text, np.uint8)
            result[1] = RAISED
        finally:
            os._exit(code)
    return _wait(child, result, said, limit)


def die_with_parent(parent: int) -> None:
    """Let this process end when `parent`, which forked it, does: Ctrl-C does not end a loop in C."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:  # it ended before the call, and no signal comes
        os._exit(1)


def _wait(child: int, result: Any, said: Any, seconds: float) -> Ending:
    watch = Watch(child, seconds)
    pause = 0.0002
    while True:
        pid, status = os.waitpid(child, os.WNOHANG)
        if pid:
            break
        if watch.hangs():
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            return Ending("target-hang", (f"it did not return within {seconds:g} s",), 0)
        time.sleep(pause)
        pause = min(pause * 2, 0.05)
    if result[1] == RAISED:
        return Ending("target-raised", tuple(bytes(said[said > 0]).decode().splitlines()), 0)
    if result[1] != RETURNED:
        name, how = ending_of(os.waitstatus_to_exitcode(status))
        return Ending(name, (how,), 0)
    return Ending("", (), int(result[0]))
