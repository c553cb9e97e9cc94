#!/usr/bin/env python3
"""The fuzz target for atheris: `python -m fuzz.atheris_target [OPTIONS] [-libfuzzer_flags] [DIR...]`.

Runs interpreted, and only what is to be covered is instrumented: both sides, the
relation, the target. Our own options begin with two dashes (`--help` lists them),
libFuzzer's with one; DIR are corpora. A divergence is raised with its drawing and the
line that replays it; its artefact is an input (`fuzz.engines.raw_input`), and
`midfolio replay` and `midfolio show` take it as they take a case file.

`-merge=1`, `-minimize_crash=1`, `-jobs=N` and `-fork=N` start this program again; what
they leave is looked at (`fuzz.engines.again`), since libFuzzer calls a merge that keeps
nothing a success.
"""

import argparse
import json
import os
import random
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import CodeType, FunctionType
from typing import Any

from . import exits

# What is covered. A mutant or a target of one's own comes on top.
COVERED = ("reference", "batched", "harness.relation", "harness.contpte")


class Divergence(AssertionError):
    """A divergence; the text is its drawing and how to replay it."""


def parse(arguments: list[str]) -> tuple[dict[str, Any], list[str]]:
    """Our options, by name, and what is libFuzzer's."""
    from harness.case import ARCHES

    parser = argparse.ArgumentParser(
        prog="python -m fuzz.atheris_target",
        allow_abbrev=False,
        description="Fuzz a target with atheris; -help=1 lists libFuzzer's own flags.",
    )
    parser.add_argument("--target", default="batched", help="as for midfolio fuzz")
    parser.add_argument("--arch", default=ARCHES[0])
    parser.add_argument("--kernel", default="7.3")
    parser.add_argument("--batching", type=int, default=0, help=argparse.SUPPRESS)
    parser.add_argument("--deny", action="append", default=[], metavar="CLASS")
    parser.add_argument(
        "--known", action="append", default=[], metavar="CLASS", help="a class that is not raised"
    )
    parser.add_argument("--counts", help="a directory to count in, one file for each process")
    parser.set_defaults(staged=False)
    given = os.environ.get("MIDFOLIO_ATHERIS")
    if given is not None:
        parser.set_defaults(**json.loads(given))
    options, rest = parser.parse_known_args(arguments)
    return vars(options), rest


def functions_of(prefixes: tuple[str, ...]) -> Iterator[FunctionType]:
    """Every Python function of the loaded modules that are or are in `prefixes`, once."""
    seen: set[CodeType] = set()
    for name, module in sorted(sys.modules.items()):
        if not any(name == prefix or name.startswith(prefix + ".") for prefix in prefixes):
            continue
        for value in vars(module).values():
            own = isinstance(value, FunctionType) and value.__module__ == name
            if own and value.__code__ not in seen:
                seen.add(value.__code__)
                yield value


def covered_by(target: str, function: Callable[..., Any]) -> tuple[str, ...]:
    """The modules to instrument for `target`: the mutated copy in place of the built-in side."""
    own = getattr(function, "__module__", "").split(".")[0]
    if target.startswith("zoo:") or ":" in target:
        return tuple(name for name in (*COVERED, own) if name and name != "batched")
    return COVERED


class Lane:
    """What one process does with an input."""

    def __init__(self, options: dict[str, Any]) -> None:
        """Load the target; CaseError for options that are wrong."""
        import numpy as np

        from harness import classes
        from harness.case import ARCHES, CaseError
        from harness.kernels import check_kernel
        from harness.targets import load
        from mm.version import VERSIONS

        from .engines.judged import Counted
        from .engines.raw_input import Input
        from .verbs.options import denied_bits

        self.arch, self.kernel = options["arch"], options["kernel"]
        if self.arch not in ARCHES:
            raise CaseError(f"unknown arch {self.arch!r}; known: {', '.join(ARCHES)}")
        if self.kernel not in VERSIONS:
            raise CaseError(f"unknown kernel {self.kernel!r}; known: {', '.join(VERSIONS)}")
        check_kernel(options["target"], self.kernel)
        self.known = frozenset(options["known"])
        self.denied = denied_bits(tuple(options["deny"]))
        target = load(options["target"], self.arch)
        function = target.function
        if options["staged"]:
            target, stages = self._staged(options)
            function = stages.function
        self.counted = Counted(target, options["batching"], self.denied)
        if options["counts"] is not None:
            # Shared memory: libFuzzer ends the process without a word to Python.
            nr = len(self.counted.tally)
            counts = np.memmap(
                Path(options["counts"]) / f"{os.getpid()}.counts",
                np.int64,
                "w+",
                shape=nr + classes.NR_CLASSES,
            )
            self.counted.tally, self.counted.seen = counts[:nr], counts[nr:]
        self.dull = Input(self.arch, self.kernel)
        self.covered = covered_by(options["target"], function)

    def _staged(self, options: dict[str, Any]) -> Any:
        """The mutant that is the target, and the stages that it counts beside the cases."""
        import numpy as np

        from harness import zoo

        from .stages import staged

        path = Path(options["counts"]) / f"{os.getpid()}.stages"
        counts = np.memmap(path, np.int64, "w+", shape=3)
        return staged(zoo.find(options["target"].removeprefix("zoo:")), self.arch, counts)

    def run(self, data: bytes) -> None:
        """Judge the case of an input; Divergence for one that is to be shown.

        What is no input, such as libFuzzer's first one, stands for the dullest case. An
        input of another architecture or kernel is passed over.
        """
        from harness.differences import primary, red
        from harness.findings import replay_lines
        from harness.render import finding, plain

        from .engines.raw_input import decode, is_input

        what = decode(data) if is_input(data) and len(data) >= 32 else self.dull
        if (what.arch, what.kernel) != (self.arch, self.kernel):
            return
        judgement = self.counted.judge(what.case())
        bits = red(judgement, self.denied)
        if not bits or primary(bits) in self.known:
            return
        lines = replay_lines(judgement.case, judgement.target)
        drawing = plain(finding(judgement, self.denied))
        raise Divergence("\n\n" + "\n".join([drawing, *(f"    replay:  {line}" for line in lines)]))

    def mutate(self, data: bytes, max_size: int, seed: int) -> bytes:
        """A mutation of an input, by the decision, in at most `max_size` bytes."""
        from .engines.raw_input import encode, room
        from .engines.raw_mutator import mutate

        # Less than a header has room for is no input, but libFuzzer would wait for less for ever.
        return encode(mutate(self._known(data), random.Random(seed), room(max_size)))[:max_size]

    def splice(self, one: bytes, other: bytes, max_size: int, seed: int) -> bytes:
        """Parts of two inputs, in at most `max_size` bytes."""
        from .engines.raw_input import encode, room
        from .engines.raw_mutator import splice

        rng = random.Random(seed)
        spliced = splice(self._known(one), self._known(other), rng, room(max_size))
        return encode(spliced)[:max_size]

    def _known(self, data: bytes) -> Any:
        from harness.case import CaseError

        from .engines.raw_input import decode

        try:
            what = decode(data)
        except CaseError:
            return self.dull
        return what if (what.arch, what.kernel) == (self.arch, self.kernel) else self.dull


def main() -> int:
    """Run the target; the exit code if libFuzzer does not end the process itself."""
    # Before anything imports `mm`: what is compiled cannot be instrumented.
    os.environ["MIDFOLIO_MODE"] = "interpreted"
    options, rest = parse(sys.argv[1:])
    from harness.case import CaseError

    from . import engines

    why = engines.missing("atheris")
    if why:
        return _fail(exits.LANE_MISSING, why)
    from .engines import again

    try:
        if again.OPTIONS not in os.environ and again.starts_again(rest):
            return again.supervised(options, rest)
        lane = Lane(options)
    except CaseError as error:
        return _fail(exits.BAD_INPUT, str(error))
    import atheris

    # By function, not by import: atheris instruments whole top-level packages, and most of
    # `harness` is not to be covered.
    for function in functions_of(lane.covered):
        atheris.instrument_func(function)
    atheris.Setup(
        [str(again.launcher()), *rest],
        lane.run,
        custom_mutator=lane.mutate,
        custom_crossover=lane.splice,
    )
    atheris.Fuzz()
    return exits.OK


def _fail(code: int, message: str) -> int:
    print("fuzz.atheris_target: " + " ".join(message.split()), file=sys.stderr)
    return code


if __name__ == "__main__":
    sys.exit(main())
