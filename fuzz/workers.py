"""Workers: processes that run chunks of a campaign and may die of it.

For targets that can take their process down (`Target.contained`). Each worker
keeps its counts in shared memory, so what it did before it died is not lost,
and the case it died of is the one behind the last that it counted. A worker that
counts no further case for too long (`harness.contain.Watch`) is killed. The campaign goes on behind
the case with a new worker, up to MOST_LOST times.
"""

import contextlib
import os
import signal
from collections import deque
from collections.abc import Callable, Generator, Iterator
from multiprocessing import get_context
from multiprocessing.connection import Connection, wait
from typing import Any

from harness import classes
from harness.census import CASES, empty_tally
from harness.contain import Watch, die_with_parent, ending_of, shared_zeros
from mm.state import State

from .hunter import NO_GROWTH, Found, Growth, Hunter, count_lost

Bounds = tuple[int, int]

# A target that dies of every case would never end a campaign; so many are enough to see it.
MOST_LOST = 500
MOST_HANGS = 3


class Part:
    """What a worker did of its range: counts and findings up to `last`."""

    def __init__(
        self, bounds: Bounds, tally: Any, seen: Any, found: list[Found], growth: Growth
    ) -> None:
        """A part of `bounds`."""
        self.first, self.last = bounds
        self.tally, self.seen, self.found, self.growth = tally, seen, found, growth


class Worker:
    """One process and the memory that it shares with this one."""

    def __init__(self, make: Callable[[], Hunter], seconds: float, case: State | None) -> None:
        """Fork the process; `make` gives its hunter, `seconds` as for Watch.

        `case`: of `Hunter.shared_case`, for this worker alone.
        """
        context = get_context("fork")
        self.tally = shared_zeros(len(empty_tally()))
        self.seen = shared_zeros(classes.NR_CLASSES)
        self.pipe, theirs = context.Pipe()
        self.case = case
        self.found: list[Found] = []
        self.growth = NO_GROWTH
        self.bounds: Bounds | None = None  # the range that it works on
        self.cases = -1
        serve = (make, theirs, os.getpid())
        self.process = context.Process(target=self._serve, args=serve, daemon=True)
        self.process.start()
        theirs.close()
        assert self.process.pid is not None
        self.watch = Watch(self.process.pid, seconds)

    def _serve(self, make: Callable[[], Hunter], pipe: Connection, parent: int) -> None:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        die_with_parent(parent)
        try:
            hunter = make()
            hunter.tally, hunter.seen = self.tally, self.seen
            if self.case is not None:
                hunter.work_on(self.case)
            while True:
                first, last = pipe.recv()
                for index in hunter.finds(first, last):
                    pipe.send(hunter.found(index))
                pipe.send(hunter.growth())
        except EOFError:  # the parent is done
            return
        except Exception as error:
            # Ours, not the target's: it must not pass for a crash of it.
            pipe.send(RuntimeError(f"a worker ended by {type(error).__name__}: {error}"))

    def give(self, bounds: Bounds) -> None:
        """Let the idle worker run the cases of `bounds`."""
        self.tally[:] = 0
        self.seen[:] = 0
        self.found = []
        self.growth = NO_GROWTH
        self.bounds = bounds
        self.cases = -1
        self.watch.moved()
        # One that died while idle, by a thread of the target's, is found dead by the next look.
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            self.pipe.send(bounds)

    def read(self) -> bool:
        """Take what the worker has sent; whether its range is done."""
        while self.pipe.poll():
            try:
                found = self.pipe.recv()
            except (EOFError, ConnectionResetError):
                return False
            self.watch.moved()
            if isinstance(found, Growth):
                self.growth = found
                return True
            if isinstance(found, RuntimeError):
                raise found
            self.found.append(found)
        return False

    def hangs(self) -> bool:
        """Whether the worker has counted no case for too long."""
        cases = int(self.tally[CASES])
        if cases != self.cases:
            self.cases = cases
            self.watch.moved()
        return self.watch.hangs()

    def part(self, last: int) -> Part:
        """What the worker did up to `last`; it is idle then, or dead."""
        assert self.bounds is not None
        first, self.bounds = self.bounds[0], None
        tally, seen = self.tally.copy(), self.seen.copy()
        return Part((first, last), tally, seen, self.found, self.growth)

    def kill(self) -> None:
        """End the process."""
        self.process.kill()
        self.process.join()
        self.pipe.close()


class Workers:
    """So many workers, kept alive."""

    def __init__(self, make: Callable[[], Hunter], jobs: int, seconds: float) -> None:
        """Start `jobs` workers; `make` gives each its hunter, `seconds` until one hangs."""
        self.make, self.seconds = make, seconds
        # For the cases that workers die of: this process generates them, and judges nothing.
        self.own = make()
        self.lost = self.hangs = 0
        self.why = ""  # why no more is done, once too many are lost
        self.workers = [self._worker() for _ in range(jobs)]

    def _worker(self) -> Worker:
        return Worker(self.make, self.seconds, self.own.shared_case())

    def run(self, bounds: Iterator[Bounds]) -> Generator[Part, None, None]:
        """Run all `bounds`; their parts in order, as soon as those before are there."""
        order: deque[list[Part | None]] = deque()
        slots: dict[Worker, list[Part | None]] = {}
        waiting: deque[tuple[Bounds, list[Part | None]]] = deque()
        more = True
        try:
            while True:
                more = self._fill(bounds, order, slots, waiting, more)
                if not slots:
                    break
                wait([w.pipe for w in slots], timeout=0.5)
                for worker in list(slots):
                    self._look(worker, order, slots, waiting)
                while order and order[0][0] is not None:
                    part = order.popleft()[0]
                    assert part is not None
                    yield part
        finally:
            for worker in self.workers:
                worker.kill()
        for slot in order:
            if slot[0] is not None:
                yield slot[0]

    def _fill(self, bounds: Any, order: Any, slots: Any, waiting: Any, more: bool) -> bool:
        """Give each idle worker something to do; whether `bounds` may have more."""
        for worker in self.workers:
            if worker in slots or self.why:
                continue
            if waiting:
                mine, slot = waiting.popleft()
            else:
                mine = next(bounds, None) if more else None
                if mine is None:
                    return False
                slot = [None]
                order.append(slot)
            slots[worker] = slot
            worker.give(mine)
        return more

    def _look(self, worker: Worker, order: Any, slots: Any, waiting: Any) -> None:
        """Take what `worker` has done, or replace it if it is lost."""
        assert worker.bounds is not None
        last = worker.bounds[1]
        if worker.read():
            slots.pop(worker)[0] = worker.part(last)
            return
        hung = worker.hangs()
        if not hung and worker.process.is_alive():
            return
        if not hung and worker.read():  # it ended between the two looks
            slots.pop(worker)[0] = worker.part(last)
            return
        self._replace(worker, hung, last, order, slots, waiting)

    def _replace(
        self, worker: Worker, hung: bool, last: int, order: Any, slots: Any, waiting: Any
    ) -> None:
        worker.kill()
        if hung:
            name, how = "target-hang", f"it did not return within {self.seconds:g} s"
        else:
            name, how = ending_of(worker.process.exitcode or 0)
        assert worker.bounds is not None
        # Each case is counted when it is judged: the next one is the one that never came back.
        index = worker.bounds[0] + int(worker.tally[CASES])
        part = worker.part(index + 1)
        if self.own.loses_too(index, name):
            part.tally[CASES] += 1
        elif count_lost(part.tally, part.seen, name) <= self.own.cap:
            part.found.append(self.own.lost(index, name, how, worker.case))
        self.lost += 1
        self.hangs += hung
        slots.pop(worker)[0] = part
        if self.lost >= MOST_LOST or self.hangs >= MOST_HANGS:
            hangs = f", {self.hangs} of them by never returning" if self.hangs else ""
            self.why = f"stopped: the target took {self.lost} processes down{hangs}"
        elif index + 1 < last:
            # Its place is right behind the part that was lost.
            slot: list[Part | None] = [None]
            order.insert(next(i for i, s in enumerate(order) if s[0] is part) + 1, slot)
            waiting.append(((index + 1, last), slot))
        self.workers[self.workers.index(worker)] = self._worker()
