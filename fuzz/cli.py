"""The command line: `midfolio VERB`.

`--help` must start as fast as Python does, so this module imports nothing but
the standard library's smallest, and prints the help of the whole command itself.
"""

import sys

from . import exits

SUMMARY = (
    "Find bugs in batched page-table code: a per-PTE reference of mprotect's PTE walk and a "
    "batched implementation run side by side on generated folio layouts, and every resulting "
    "PTE and every flush decision is judged."
)

VERBS = {
    "fuzz": "Run generated cases and judge every PTE and every flush.",
    "replay": "Run case files, directories, case numbers or case: lines again.",
    "show": "Draw a case and what both sides make of it.",
    "shrink": "Make a case simpler that still diverges by the same class.",
    "cmin": "Choose the fewest case files that show all that a corpus shows.",
    "merge": "Add to a corpus the case files that show something new.",
    "gate": "One verdict for CI: canaries, recorded cases, random cases, floors.",
    "exhaust": "Run every case of a few entries and certify what was seen.",
    "conform": "Compare both sides with golden vectors of compiled kernel code.",
    "live": "Hold the running kernel against a model of it.",
    "vm": "Run midfolio live on another kernel, booted under qemu.",
    "export": "Write a case as a stand-alone C program.",
    "zoo": "Let every known bug be found; --list names them.",
    "report": "Sum up what the campaigns of a work directory came to.",
    "bench": "Count what both sides cost.",
}

EPILOG = (
    "Exit codes: 0 nothing new, 1 a divergence, 2 bad usage or input, 3 an expectation went "
    "stale, 4 a lane could not run, 5 too little ran, 6 a canary was missed, 7 the same case "
    "gave two outcomes, 8 internal error."
)


def main() -> int:
    """Run the command line and return its exit code. One line on stderr for every error."""
    if sys.argv[1:] in ([], ["-h"], ["--help"]):
        try:
            print(_help(), flush=True)
        except OSError as error:
            # Imported here: a help that is read needs no click.
            from .border import unwritten

            return unwritten(error)
        return exits.OK if sys.argv[1:] else exits.BAD_INPUT
    from .border import run

    return run()


def _help() -> str:
    lines = ["Usage: midfolio VERB [OPTIONS] [ARGS]...", "", *_wrapped(SUMMARY, ""), "", "Verbs:"]
    lines += [f"  {verb:<9}{text}" for verb, text in VERBS.items()]
    lines += ["", "midfolio VERB --help tells more; midfolio --version the version.", ""]
    return "\n".join([*lines, *_wrapped(EPILOG, "")])


def _wrapped(text: str, indent: str, width: int = 79) -> list[str]:
    """`text` in lines of at most `width`: textwrap would cost a quarter of the start."""
    lines = [indent]
    for word in text.split():
        if len(lines[-1]) + len(word) + 1 > width:
            lines.append(indent)
        lines[-1] += (" " if lines[-1].strip() else "") + word
    return lines


if __name__ == "__main__":
    sys.exit(main())
