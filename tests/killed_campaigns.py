"""Kill campaigns with SIGKILL at random moments, and look at what they leave after each.

`python -m tests.killed_campaigns KILLS DIRECTORY`, in a process without threads, because it
forks: the campaigns share what was loaded here. It prints what it did as JSON, and fails
on the first thing that is lost or torn.
"""

import json
import os
import random
import signal
import sqlite3
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

from fuzz.runner import Campaign, Plan
from fuzz.store.database import Database
from fuzz.store.journal import Journal, key_of
from fuzz.store.standing import Standing
from fuzz.store.store import Entry, Store
from fuzz.store.work import FILE, WorkDirectory
from harness.casefile import parse_case, read_case
from harness.targets import trusted

# Narrow windows: many cases a second, interpreted as they are. Every finding is kept.
PLAN = Plan(
    "x86_64", "7.3", "zoo:first-page-is-folio-head", seed=1, cap=1_000_000, window=6, seconds=60.0
)
GUIDED = replace(PLAN, target="batched", engine="guided")
RANDOM = random.Random(1)
# Cases in a range: so few that every campaign gets somewhere before it is killed.
FEW = 5


def campaign(work: Path) -> None:
    """Go on with the campaign, as the command does."""
    with WorkDirectory(work) as directory:
        journal = Journal(directory, PLAN, fresh=False, repeat=False)
        running = Campaign(PLAN, quiet=False, journal=journal)
        running.hunter.python_chunk = FEW
        # In this process, whose CPU time says when it is killed.
        running.hunter.target = trusted(running.hunter.target)
        print(running.resume_line() or "begins", flush=True)
        running.run()


class Telling(Journal):
    """A journal that names each entry when it is written."""

    def note(self, seconds: float, *, at_once: bool, entries: Iterable[Entry] = ()) -> None:
        """As any journal."""
        entries = list(entries)
        super().note(seconds, at_once=at_once, entries=entries)
        for entry in entries:
            print(entry.name, flush=True)


def guided(work: Path) -> None:
    """Go on with a campaign of the guided engine, which says what it keeps."""
    with WorkDirectory(work) as directory:
        journal = Telling(directory, GUIDED, fresh=False, repeat=False)
        running = Campaign(GUIDED, quiet=True, journal=journal)
        running.hunter.python_chunk, running.hunter.grown = FEW, FEW
        print(f"begins with {running.taken_up}", flush=True)
        running.run()


def killed(run: Callable[[Path], None], work: Path, most: float) -> list[str]:
    """Run it in a process that is killed at a random moment after its first words; its whole lines.

    `most`: seconds of its CPU time, so that a busy machine kills no sooner.
    """
    ours, theirs = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.dup2(theirs, 1)
            run(work)
        finally:
            os._exit(1)
    os.close(theirs)
    with open(ours, "rb") as stream:
        text = stream.read1()
        assert text, "it ended before it said anything"
        # CPUCLOCK_SCHED of the child, include/linux/posix-timers_types.h.
        clock = ~child << 3 | 2
        until = time.clock_gettime(clock) + RANDOM.uniform(0.0, most)
        while time.clock_gettime(clock) < until:
            time.sleep(0.002)
        os.kill(child, signal.SIGKILL)
        text += stream.read()
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == -signal.SIGKILL
    return text.decode().split("\n")[:-1]


def is_whole(work: Path) -> None:
    """Let SQLite look at its file."""
    connection = sqlite3.connect(work / FILE)
    assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    assert connection.execute("PRAGMA foreign_key_check").fetchall() == []
    connection.close()


def standing(work: Path) -> Standing:
    """What the campaign has come to on disk."""
    store = Store(Database.to_read(work / FILE))
    known = store.find(key_of(PLAN))
    assert known is not None
    found = store.standing(known)
    store.close()
    return found


def look(work: Path, printed: list[str], before: Standing) -> Standing:
    """Check what a killed campaign left, with what it `printed`; what it came to."""
    is_whole(work)
    now = standing(work)
    first, end = now.done.next_missing(0)
    assert end is None, "a gap in the cases that are done"
    assert now.cases == len(now.done) == first >= len(before.done)
    if before.cases:
        assert f"goes on at case {before.cases}; " in printed[0], printed[0]
    kept = {kept.path for kept in now.kept}
    shown = [line.split()[3] for line in printed if " midfolio replay /" in line]
    for path in map(Path, shown):
        assert path in kept, f"{path} was shown, and is not in the store"
    for path in kept:
        read_case(path)
    return now


def kill_campaigns(kills: int, work: Path) -> dict[str, Any]:
    """Kill `kills` campaigns in `work`, then let one end, which must be as if none was killed."""
    # What is imported and loaded once here is not in each child.
    os.environ["MIDFOLIO_FINDINGS"] = str(work / "unkilled")
    Campaign(replace(PLAN, cases=60, seconds=None), quiet=True).run()
    del os.environ["MIDFOLIO_FINDINGS"]
    key_of(PLAN)
    known, shown, worked = Standing(), 0, 0
    for _ in range(kills):
        printed = killed(campaign, work, 0.3)
        shown += sum(" midfolio replay /" in line for line in printed)
        after = look(work, printed, known)
        worked += after.cases > known.cases
        known = after
    plan = replace(PLAN, cases=known.cases + 20, seconds=None)
    with WorkDirectory(work) as directory:
        last = Campaign(
            plan, quiet=True, journal=Journal(directory, plan, fresh=False, repeat=False)
        )
        last.run()
    os.environ["MIDFOLIO_FINDINGS"] = str(work / "unkilled")
    whole = Campaign(plan, quiet=True)
    whole.run()
    assert last.is_complete()
    assert last.tally.tolist() == whole.tally.tolist()
    assert last.seen.tolist() == whole.seen.tolist()
    assert {path.name for path in last.paths} == {path.name for path in whole.paths}
    return {"kills": kills, "shown": shown, "worked": worked, "cases": last.standing.cases}


def kill_corpora(kills: int, work: Path) -> int:
    """Kill `kills` writers of a corpus; how many entries it has."""
    said: set[str] = set()
    for _ in range(kills):
        begins, *names = killed(guided, work, 0.3)
        assert int(begins.split()[-1]) >= len(said)
        said |= set(names)
        is_whole(work)
        with WorkDirectory(work) as directory:
            entries = Journal(directory, GUIDED, fresh=False, repeat=False).entries()
        assert said <= {entry.name for entry in entries}, "an entry is lost"
        assert all(entry.features.tolist() for entry in entries)
        assert all(parse_case(entry.text).case.arch == GUIDED.arch for entry in entries)
    return len(said)


def main() -> None:
    """Kill, check, and print what was done."""
    kills, where = int(sys.argv[1]), Path(sys.argv[2])
    done = kill_campaigns(kills, where / "campaigns")
    print(json.dumps({**done, "entries": kill_corpora(kills // 5, where / "corpora")}))


if __name__ == "__main__":
    main()
