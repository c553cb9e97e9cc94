"""A contradiction as something to read and to replay: drawn, saved as a case file, with its commands."""

from pathlib import Path

from harness import anatomy, classes
from harness.case import Case, CaseError
from harness.casefile import Expect, case_id, format_case
from harness.differences import primary, red
from harness.findings import directory, replay_lines
from harness.kernels import check_kernel
from harness.render import MAX_COLUMNS, Line, header, pages_flushed, plain, spans, table
from harness.run import Outcome, judge_case, judge_outcome, prepare
from harness.targets import Target
from mm.state import BAD_MAP, FLUSH, NO_VM_WRITE, NR_FLUSHES
from mm.version import VERSIONS

from ..whole import write_whole
from .oracle import Observed
from .session import FLUSH_BITS, Finding


def _columns(case: Case, differing: list[int]) -> list[int]:
    """The entries to draw: those that differ and their neighbours, as far as there is room."""
    near = {i + step for i in differing for step in (-1, 0, 1)} or set(
        range(case.call.start, case.call.end)
    )
    return sorted(i for i in near if 0 <= i < len(case.ptes))[:MAX_COLUMNS]


def drawing(observed: Observed, target: Target, release: str) -> list[Line]:
    """What the kernel did, beside what the model does: `target` is the kernel's row."""
    case = observed.case
    model = judge_case(case, target).theirs
    workspace, ours = prepare(case)
    # The kernel keeps no log; what it does not tell is the model's.
    theirs = workspace.theirs
    theirs.ptes[: len(observed.after)] = observed.after
    for row, (address, pages) in enumerate(model.flushes):
        theirs.flushes[row] = (FLUSH, address, pages)
    theirs.counts[NR_FLUSHES] = len(model.flushes)
    theirs.counts[BAD_MAP], theirs.counts[NO_VM_WRITE] = model.bad_map, model.no_vm_write
    judged = judge_outcome(case, release, workspace, ours, model.pages)
    differing = [i for i, word in enumerate(observed.after) if word != model.ptes[i]]
    columns = _columns(case, differing)
    rows = [
        ("before", case.ptes),
        ("reference", ours.ptes),
        ("model", model.ptes),
        ("target", observed.after),
    ]
    lines: list[Line] = [[(header(case), "bold")], []]
    lines += table(case, columns, rows, frozenset(differing) & frozenset(columns))
    lines += _words(observed, model, differing)
    if observed.flushed is not None:
        asked = spans(pages_flushed(case, model))
        says = {True: "flushed", False: "did not flush"}
        lines.append(
            [(f"    flush: the whole call {says[observed.flushed]}; here model {asked}", "")]
        )
    named = classes.names(judged.union & ~FLUSH_BITS)
    lines.append([(f"    classes: {', '.join(named) if named else 'none'}", "")])
    return lines


def _words(observed: Observed, model: Outcome, differing: list[int]) -> list[Line]:
    layout = observed.case.layout
    found: list[Line] = []
    for i in differing[:MAX_COLUMNS]:
        word, expected = observed.after[i], model.ptes[i]
        names = [f.name for f in layout.fields if (word ^ expected) & int(f.mask)]
        if anatomy.is_present(layout, word) and anatomy.is_present(layout, expected):
            pfns = [anatomy.pfn_of(layout, w) for w in (word, expected)]
            names += ["pfn"] if pfns[0] != pfns[1] else []
        text = f"    pte {i}: kernel {word:#x}, model {expected:#x}: {', '.join(names)}"
        found.append([(text, "")])
    return found


def live_line(observed: Observed, target: str) -> str:
    """The command that takes the same steps on the same layout again."""
    return (
        f"midfolio live --seed {observed.seed} --layout {observed.layout} "
        f"--kind {observed.kind} --pages {observed.pages} --target {target}"
    )


def save(finding: Finding, target: Target, release: str, lines: list[Line]) -> Path:
    """Write the finding's case file and return its path.

    What it expects is what the model does offline, which is all that a replay can run:
    the kernel's outcome stands in the comments.
    """
    observed = finding.observed
    case = observed.case
    if is_modelled(target.name, case.kernel):
        found = red(judge_case(case, target))
        expect = Expect(target=target.name, divergence=primary(found) if found else "")
    else:
        # What a plain replay can run; `commands` says how to see the other side.
        expect = Expect(target="reference")
    comments = [
        f"Linux {release} and {target.name} as its model disagree: {finding.name} "
        f"({observed.why}), step {observed.step}, {'seen again' if finding.repeats else 'not seen again'}.",
        live_line(observed, target.name),
        *(line for line in plain(lines).splitlines() if line.strip("^ ")),
    ]
    path = directory() / f"live-{finding.name}-{case_id(case)}.case"
    text = format_case(case, comments=tuple(comments), expect=(expect,))
    write_whole(path, text)
    return path


def is_modelled(target: str, kernel: str) -> bool:
    """Whether `target` can be replayed offline as `kernel` does."""
    try:
        check_kernel(target, kernel)
    except CaseError:
        return False
    return True


def commands(observed: Observed, target: str, path: Path) -> list[str]:
    """The commands that replay a finding: on the kernel, and offline.

    A side that batches is run as the oldest kernel that does, on the entries of one that
    does not, and no merge is legal: what it merges is the difference.
    """
    offline = replay_lines(observed.case, target, path)
    if not is_modelled(target, observed.case.kernel):
        oldest = next(name for name, version in VERSIONS.items() if version.batched)
        offline = [f"{line} --kernel {oldest} --batching none" for line in offline]
    return [live_line(observed, target), *offline]
