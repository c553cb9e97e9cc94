"""`midfolio live`: the running kernel against a model of it, page table by page table."""

import signal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from .. import exits
from . import options

if TYPE_CHECKING:
    from harness.live.oracle import Oracle
    from harness.live.probes import Live
    from harness.live.session import Finding, Session
    from harness.targets import Target

KINDS = ("anon", "uffd", "file", "shmem")
SECONDS = 10.0
# Fewer operations than this prove nothing, unless --ops asked for fewer.
FLOOR = 100
# A mutant for each sort of memory, which the running kernel must contradict.
CONTROLS = {"private": "zoo:first-page-is-folio-head", "shared": "zoo:merge-without-dirty"}


@click.command()
@click.option(
    "--time",
    "seconds",
    type=click.FloatRange(min=0, min_open=True),
    help="Stop after so many seconds [default: 10].",
)
@click.option("--ops", type=click.IntRange(min=1), help="Stop after so many mprotect operations.")
@click.option(
    "--seed",
    type=click.IntRange(0, (1 << 64) - 1),
    default=1,
    show_default=True,
    help="Which layouts and steps.",
)
@click.option("--layout", type=click.IntRange(min=0), help="Only this layout of the seed.")
@click.option(
    "--pages",
    type=click.IntRange(16, 512),
    help="Entries of each window [default: 256, or 64 for a model that is not compiled].",
)
@click.option(
    "--kind",
    "kinds",
    type=click.Choice(KINDS),
    multiple=True,
    help="Memory to try: private anon, under userfaultfd, MAP_SHARED file, shmem; all by default. "
    "May be given more than once.",
)
@click.option(
    "--target",
    help="The model: batched, reference, zoo:NAME, mine.so or package.module:function. By default "
    "batched for a kernel that batches (since 6.17), else reference.",
)
@click.option(
    "--allow-sysfs",
    is_flag=True,
    help="Switch sizes of large folios on for the run, and back to what they were.",
)
@options.as_json
@options.quiet
def command(
    seconds: float | None,
    ops: int | None,
    seed: int,
    layout: int | None,
    pages: int | None,
    kinds: tuple[str, ...],
    target: str | None,
    allow_sysfs: bool,
    as_json: bool,
    quiet: bool,
) -> int:
    """Change protections of this process's own memory and read back what the kernel made of it.

    Random layouts, random sequences of mprotect(); each entry before and after, read
    raw, becomes a case that a model of this kernel and the relation judge. First a
    known bug as the model must be contradicted. Needs root, BTF, bpf(2) and large
    folios; what lacks is named, exit code 4. Exit code 1 if the kernel and the model
    disagree, 5 if too little ran or the machine was too noisy.
    """
    from harness.lane import LaneMissing
    from harness.live.probes import Places, need_large_folios, need_root, probe
    from harness.live.settings import Settings

    chosen = tuple(kind for kind in KINDS if kind in kinds) or KINDS
    places = Places()
    try:
        need_root(places)
        with Settings(work_directory() / "settings.json") as settings:
            back = settings.undo_leftovers()
            if back:
                what = f"{len(back)} settings that a killed run left ({back[0]}, ...)"
                click.echo(f"midfolio: live: put back {what}", err=True)
            live = probe(places, chosen)
            need_large_folios(places, settings, chosen, allowed=allow_sysfs, dry=True)
            # Compiled before any setting is changed: that takes longer than the run.
            model = _model(live, target, chosen)
            need_large_folios(places, settings, chosen, allowed=allow_sysfs)
            run = Run(live, model, chosen, (seed, layout, pages), (ops, seconds), quiet or as_json)
            return run.run(as_json)
    except LaneMissing as error:
        click.echo(f"midfolio: live: {error}", err=True)
        return exits.LANE_MISSING


def work_directory() -> Path:
    """Where the journal of settings is, and files that are mapped."""
    from mm.jit import ROOT

    return ROOT / ".midfolio" / "live"


def _control_of(kinds: tuple[str, ...]) -> tuple[str, tuple[str, ...]]:
    """The mutant that proves the alarm, and the kinds of memory that show it."""
    private = tuple(kind for kind in kinds if kind in ("anon", "uffd"))
    return (CONTROLS["private"], private) if private else (CONTROLS["shared"], kinds)


def _model(live: "Live", name: str | None, kinds: tuple[str, ...]) -> "Target":
    """The loaded model, compiled with all else that the run needs."""
    from harness.targets import load
    from mm.version import VERSIONS

    from ..warmup import JUDGES, compile_parts

    name = name or ("batched" if VERSIONS[live.version].batched else "reference")
    arch = live.machine.arch
    mutants = {_control_of(kinds)[0].removeprefix("zoo:")}
    if name.startswith("zoo:"):
        mutants.add(name.removeprefix("zoo:"))
    compile_parts(arch, name, tuple(sorted(mutants)), parts=(JUDGES,), last=())
    return load(name, arch)


class Run:
    """One call of the verb, once everything is there."""

    def __init__(
        self,
        live: "Live",
        model: "Target",
        kinds: tuple[str, ...],
        which: tuple[int, int | None, int | None],
        budget: tuple[int | None, float | None],
        quiet: bool,
    ) -> None:
        """Nothing runs yet. `which`: seed, layout, pages; `budget`: operations, seconds."""
        self.live, self.model, self.kinds = live, model, kinds
        self.seed, self.layout, self.pages = which
        ops, seconds = budget
        if ops is None and seconds is None and self.layout is None:
            seconds = SECONDS
        self.ops, self.seconds, self.quiet = ops, seconds, quiet
        self.control = ""
        self.paths: list[str] = []

    def run(self, as_json: bool) -> int:
        """Control, run, report; the exit code."""
        from harness.live.session import Budget, Session, catches

        from ..terminal import Progress

        progress = Progress(quiet=self.quiet)
        name, kinds = _control_of(self.kinds)
        if not self._catches(catches, name, kinds):
            click.echo(f"live: canary missed: {name} passes for this kernel; exit 6", err=True)
            return exits.CANARY_MISSED
        if not self.quiet:
            print(self._machine())
            print(self.control, flush=True)
        oracle = self._oracle(self.model, self.kinds, self.seed)
        session = Session(oracle, Budget(self.ops, self.seconds), self._show, progress.update)
        self._interruptible(session, oracle)
        progress.clear()
        return self._end(session, as_json)

    def _oracle(self, model: "Target", kinds: tuple[str, ...], seed: int) -> "Oracle":
        from harness.live.oracle import PAGES, PAGES_INTERPRETED, Oracle

        pages = self.pages or (PAGES if model.compiled else PAGES_INTERPRETED)
        return Oracle(self.live, model, seed, kinds, work_directory(), pages)

    def _catches(self, catches: Any, name: str, kinds: tuple[str, ...]) -> bool:
        import time

        from harness.targets import load

        mutant = load(name, self.live.machine.arch)
        started = time.perf_counter()
        oracle = self._oracle(mutant, kinds, 1)
        caught = bool(catches(oracle))
        took = time.perf_counter() - started
        self.control = (
            f"control: {name} contradicted after {oracle.tally.operations} operations, {took:.2f} s"
        )
        return caught

    def _machine(self) -> str:
        live = self.live
        flushes = "flushes judged" if live.flushes else f"flushes not judged: {live.no_flushes}"
        return (
            f"Linux {live.release} ({live.machine.arch}, modelled as {live.version}), "
            f"model {self.model.name}, {', '.join(self.kinds)}; {flushes}"
        )

    def _interruptible(self, session: "Session", oracle: "Oracle") -> None:
        """Run; a first Ctrl-C or SIGTERM ends it cleanly, a second one at once."""

        def interrupt(number: int, frame: Any) -> None:
            if session.interrupted:
                raise KeyboardInterrupt
            session.interrupted = oracle.stopped = True

        before = {s: signal.signal(s, interrupt) for s in (signal.SIGINT, signal.SIGTERM)}
        try:
            if self.layout is None:
                session.run()
            else:
                session.run(self.layout, self.layout + 1)
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _show(self, finding: "Finding") -> None:
        from harness.live import keeping

        from ..terminal import print_lines

        lines = keeping.drawing(finding.observed, self.model, self.live.release)
        path = keeping.save(finding, self.model, self.live.release, lines)
        self.paths.append(str(path))
        if self.quiet:
            return
        again = "seen again" if finding.repeats else "not seen again"
        print(f"\n{finding.name} ({finding.observed.why}), {again}:")
        print_lines(lines)
        print()
        for line in keeping.commands(finding.observed, self.model.name, path):
            print(f"    replay:  {line}")
        print(flush=True)

    # The end.

    def _codes(self, session: "Session") -> list[int]:
        tally = session.oracle.tally
        codes = [exits.OK]
        if tally.mismatches or tally.marked:
            codes.append(exits.DIVERGENCE)
        floor = 1 if self.layout is not None else min(FLOOR, self.ops or FLOOR)
        if tally.operations < floor or session.is_noisy or not self._has_large(session):
            codes.append(exits.TOO_LITTLE)
        return codes

    def _has_large(self, session: "Session") -> bool:
        return self.layout is not None or any(n > 1 for n in session.oracle.tally.folios)

    def _why(self, session: "Session") -> str:
        tally = session.oracle.tally
        if session.interrupted:
            return "interrupted"
        if session.is_noisy:
            return "too much noise: something else changes these entries"
        if not self._has_large(session):
            return "no large folio came"
        if self.layout is not None:
            return "layout done"
        if self.ops is not None and tally.operations >= self.ops:
            return "operation budget reached"
        return "time budget reached"

    def _end(self, session: "Session", as_json: bool) -> int:
        code = exits.worst(self._codes(session))
        if as_json:
            from ..report import print_json

            print_json({**self._record(session), "exit": code})
            return code
        tally = session.oracle.tally
        if not self.quiet:
            for line in self._summary(session):
                print(line)
        speed = tally.operations / max(session.elapsed, 1e-9)
        print(
            f"live: {tally.operations} operations, {tally.ptes} PTEs, {tally.mismatches} "
            f"mismatches, noise {sum(tally.noise.values())}, {speed:.0f} operations/s; "
            f"{self._why(session)}; exit {code}"
        )
        return code

    def _summary(self, session: "Session") -> list[str]:
        record = self._record(session)
        text = {
            key: ", ".join(f"{name} {count}" for name, count in record[key].items()) or "none"
            for key in ("kinds", "folios", "explained", "noise", "apart", "mismatches_by_class")
        }
        lines = [
            f"layouts: {record['layouts']}, calls of change_pte_range: {record['calls']}, "
            f"{record['userfaultfd']} of them by userfaultfd, left out: {record['unsteady']}",
            f"operations: {text['kinds']}",
            f"folios by pages: {text['folios']}",
            f"explained: {text['explained']}",
            f"noise: {text['noise']}; counted apart: {text['apart']}",
            f"flushes compared: {record['flushes']}; held against the rules of sane cases: "
            f"{record['sane']}",
        ]
        if record["mismatches"]:
            lines.append(
                f"mismatches: {text['mismatches_by_class']}; the first after "
                f"{record['first_mismatch']:.2f} s"
            )
        if record["exclusive_changed"]:
            lines.append(f"layouts whose exclusive pages changed: {record['exclusive_changed']}")
        return lines

    def _record(self, session: "Session") -> dict[str, Any]:
        from harness import classes

        tally = session.oracle.tally
        return {
            "kernel": self.live.release,
            "version": self.live.version,
            "arch": self.live.machine.arch,
            "target": self.model.name,
            "control": self.control,
            "seed": self.seed,
            "layouts": tally.layouts,
            "operations": tally.operations,
            "userfaultfd": tally.userfaultfd,
            "calls": tally.calls,
            "ptes": tally.ptes,
            "mismatches": tally.mismatches,
            "mismatches_by_class": dict(sorted(session.counts.items())),
            "first_mismatch": session.first_mismatch,
            "noise": dict(sorted(tally.noise.items())),
            "apart": dict(sorted(tally.apart.items())),
            "unsteady": tally.unsteady,
            "exclusive_changed": tally.marked,
            "flushes": tally.flushes,
            "flushes_not_judged": self.live.no_flushes,
            "sane": tally.sane,
            "kinds": dict(sorted(tally.by_kind.items())),
            "folios": {str(n): count for n, count in sorted(tally.folios.items())},
            "explained": {
                classes.CLASSES[number].name: int(count)
                for number, count in enumerate(tally.explained)
                if count
            },
            "findings": sorted(self.paths),
            "seconds": round(session.elapsed, 3),
            "why": self._why(session),
        }
