"""What a gate is to do and what came of it: plain values, which the reports are made from."""

from dataclasses import dataclass, field

from harness.relation import EXACT

from .. import exits

# In this order. A missed canary ends the gate: what a broken fuzzer says is worth nothing.
STAGES = {
    "canaries": "every judge, and the fuzzer as a whole, sees what it must see",
    "regressions": "cases of corpus/regressions",
    "corpus": "all other cases",
    "witnesses": "each explained class is still shown by its case",
    "expectations": "what cases are recorded to do on other targets",
    "fuzz": "random cases",
    "floors": "enough cases, and enough of each sort",
    "lanes": "what --require names",
}


@dataclass(frozen=True)
class Sizes:
    """How much the canaries may take."""

    mutants: int = 2  # let loose per architecture, the historical one included
    mutant_cases: int = 10_000  # within which each must be found; none took half when planted
    window: int = 0  # entries of each window, 0 leaves it to the generator


@dataclass(frozen=True)
class GatePlan:
    """What a gate is to do."""

    target: str
    arches: tuple[str, ...]
    kernel: str
    corpus: tuple[str, ...] = ()  # files and directories; none is our own corpus
    baseline: str = ""
    batching: int = EXACT
    denied: int = 0
    seconds: float | None = 60.0  # of the fuzz budget, all architectures together
    cases: int | None = None  # likewise
    seed: int = 1
    jobs: int = 1
    cap: int = 3
    hang: float = 10.0
    required: tuple[str, ...] = ()
    floor_cases: int = 2_000  # per architecture
    floors: tuple[tuple[str, float], ...] = ()  # shares in percent, in place of the built-in ones
    sizes: Sizes = Sizes()


@dataclass(frozen=True)
class Check:
    """One thing that was looked at."""

    stage: str
    name: str
    code: int  # the exit code that it alone would give
    words: str
    seconds: float = 0.0
    divergence: str = ""  # the class that a divergence is named for
    path: str = ""  # of the case file
    line: int = 1  # in that file
    drawing: tuple[str, ...] = ()
    replay: tuple[str, ...] = ()

    @property
    def good(self) -> bool:
        """Whether it is as expected."""
        return self.code == exits.OK


@dataclass
class Result:
    """What a gate saw."""

    plan: GatePlan
    checks: list[Check] = field(default_factory=list)
    seconds: dict[str, float] = field(default_factory=dict)  # of each stage that was begun
    stopped: str = ""  # why not all stages were run to their end

    def of(self, stage: str) -> list[Check]:
        """The checks of `stage`, in order."""
        return [check for check in self.checks if check.stage == stage]

    def bad(self) -> list[Check]:
        """The checks that are not as expected, in order."""
        return [check for check in self.checks if not check.good]

    def not_run(self) -> list[str]:
        """The stages that were not begun."""
        return [stage for stage in STAGES if stage not in self.seconds]

    def exit_code(self) -> int:
        """The worst of the checks; an interrupted gate is never green."""
        codes = [check.code for check in self.checks]
        if self.stopped or not self.checks:
            codes.append(exits.TOO_LITTLE)
        return exits.worst(codes)

    def ending(self) -> str:
        """What the gate came to, and why it ended, in one line."""
        counts = [
            f"{len([c for c in self.bad() if c.code == code])} {NAMES[code]}"
            for code in exits.PRECEDENCE
            if any(c.code == code for c in self.bad())
        ]
        why = self.stopped or ", ".join(counts) or "all as expected"
        if self.stopped and counts:
            why = ", ".join(counts) + "; " + why
        return f"{len(self.checks)} checks, {why}"


# What a bad check is called, by its code.
NAMES = {
    exits.DIVERGENCE: "diverging",
    exits.STALE: "stale",
    exits.LANE_MISSING: "lane absent",
    exits.TOO_LITTLE: "below the floor",
    exits.CANARY_MISSED: "canary missed",
    exits.FLAKY: "flaky",
    exits.INTERNAL: "internal error",
}
