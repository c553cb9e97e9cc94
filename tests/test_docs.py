"""README and docs name what exists, and what exists is named: verbs, options, classes, files, codes.

And what `docs/fidelity.md` calls proven is: with the switch set the other way, the
vector that it names comes out wrong.
"""

import importlib
import re
from collections.abc import Iterator
from typing import NamedTuple

import click
import pytest

from fuzz import exits
from fuzz.cli import VERBS
from harness import classes
from harness.case import ARCHES
from harness.renumber import number_back, renumber
from harness.run import run
from harness.shrink.passes import PASSES, name_of
from harness.targets import load
from harness.vectors import Vector, read
from harness.zoo import all_mutants
from mm import table, trace, version
from mm.jit import ROOT

PAGES = (
    "README.md",
    "CONTRIBUTING.md",
    "CHANGELOG.md",
    "docs/README.md",
    "docs/campaigns.md",
    "docs/ci.md",
    "docs/cmin.md",
    "docs/design.md",
    "docs/engines.md",
    "docs/exhaust.md",
    "docs/export.md",
    "docs/fidelity.md",
    "docs/findings.md",
    "docs/live.md",
    "docs/native.md",
    "docs/relation.md",
    "docs/shrink.md",
    "docs/vm.md",
    "docs/zoo.md",
)
TEXTS = {page: (ROOT / page).read_text() for page in PAGES}
RELATION = TEXTS["docs/relation.md"]
FIDELITY = TEXTS["docs/fidelity.md"]
README = TEXTS["README.md"]
ROWS = ("pte", "block", "page", "exclusive", "before", "reference", "merged", "target")
VECTORS = ROOT / "corpus" / "vectors"


def code(text: str) -> Iterator[str]:
    """Everything that is set as code: spans, indented lines, named screens."""
    yield from re.findall(r"<!-- (midfolio .+?) -->", text)
    text = re.sub(r"^```.*?^```$", "", text, flags=re.DOTALL | re.MULTILINE)
    yield from (line.strip() for line in re.findall(r"^    .+$", text, re.MULTILINE))
    yield from re.findall(r"`([^`\n]+)`", text)


def options_of(verb: str) -> set[str]:
    """The options of `verb`, those of its subcommands included."""
    command = importlib.import_module(f"fuzz.verbs.{verb}").command
    commands = [command, *getattr(command, "commands", {}).values()]
    named = {o for c in commands for p in c.params if isinstance(p, click.Option) for o in p.opts}
    return named | {"--help"}


ALL_OPTIONS = set().union(*(options_of(verb) for verb in VERBS)) | {"--version"}


def handed_on(piece: str) -> list[str]:
    """A command, and the one that `midfolio vm` makes of what comes after its `--`."""
    own, separator, rest = piece.partition(" -- ")
    if separator and own.startswith("midfolio vm"):
        return [own, f"midfolio live {rest}"]
    return [piece]


def unknown_words(text: str) -> list[str]:
    """Commands in `text` with a verb or an option that does not exist."""
    found = []
    for piece in (part for whole in code(text) for part in handed_on(whole)):
        words = piece.split()
        known = ALL_OPTIONS
        if words[0] == "midfolio" and len(words) > 1 and not words[1].startswith("-"):
            if words[1] not in (*VERBS, "VERB"):
                found.append(piece)
            elif words[1] in VERBS:
                known = options_of(words[1])
        elif words[0] != "midfolio" and not words[0].startswith("--"):
            continue
        if any(word.startswith("--") and word.split("=")[0] not in known for word in words):
            found.append(piece)
    return found


@pytest.mark.parametrize("page", PAGES)
def test_commands_exist(page: str) -> None:
    assert unknown_words(TEXTS[page]) == []


def test_a_wrong_command_is_seen() -> None:
    text = (
        "`midfolio shake x`\n`midfolio show --seed 1`\n`--nothing`\n\n    midfolio zoo --deny x\n"
    )
    assert len(unknown_words(text)) == 4
    assert unknown_words("`midfolio vm --kernel 6.12 -- --kernel 6.12 --ops 1`") == [
        "midfolio live --kernel 6.12 --ops 1"
    ]
    assert unknown_words("`midfolio vm --kernel 6.12 -- --ops 1`") == []
    assert unknown_words("`midfolio fuzz --cases 1`, `--deny CLASS`, `grep --include=x`") == []


def test_every_page_is_in_the_index_and_is_read_here() -> None:
    pages = {path.name for path in (ROOT / "docs").glob("*.md")}
    assert {page.removeprefix("docs/") for page in PAGES if page.startswith("docs/")} == pages
    rows = re.findall(r"^\| \[([\w.]+)\]\(([\w.]+)\) \|", TEXTS["docs/README.md"], re.MULTILINE)
    assert all(name == target for name, target in rows)
    assert sorted(name for name, _ in rows) == sorted(pages - {"README.md"})
    assert "(docs/README.md)" in README


def test_readme_has_every_verb() -> None:
    pieces = [piece.split()[:2] for piece in code(README)]
    assert [verb for verb in VERBS if ["midfolio", verb] not in pieces] == []


def test_readme_has_every_exit_code() -> None:
    table = README[README.index("## Exit codes") : README.index("## Speed")]
    named = [int(number) for number in re.findall(r"^\| (\d+) \|", table, re.MULTILINE)]
    assert sorted(named) == sorted({*exits.PRECEDENCE, exits.INTERRUPTED_TWICE})
    order = ", ".join(str(exit_code) for exit_code in exits.PRECEDENCE if exit_code)
    assert f"the first of {order} wins" in table


def test_readme_explains_every_row_and_verdict() -> None:
    source = (ROOT / "harness" / "render.py").read_text()
    chapter = README[README.index("## Reading") : README.index("## How it works")]
    for word in ROWS:
        assert f'"{word}"' in source
        assert f"| `{word}` |" in chapter
    verdicts = set(re.findall(r'"([A-Z]{5,})"', source)) - {"PFNMAP", "MIXEDMAP"}
    assert verdicts == set(re.findall(r"\| `([A-Z]+)` \|", chapter))


def test_readme_explains_every_cell_and_letter() -> None:
    source = (ROOT / "harness" / "cells.py").read_text()
    chapter = README[README.index("## Reading") : README.index("## How it works")]
    cells = set(re.findall(r'"((?:m|mig|dev):\S+|hwpsn|none|swap)"', source))
    assert len(cells) > 10
    assert [cell for cell in sorted(cells) if f"`{cell}`" not in chapter] == []
    # A letter is a keyword of `_letters`, or what stands in the first place.
    letters = set(re.findall(r"^        ([a-z])=", source, re.MULTILINE))
    letters |= set(re.findall(r'"([a-z])"', source))
    assert letters == set("rnxiwadscu")
    shown = importlib.import_module("fuzz.verbs.show").command.help
    for letter in letters:
        assert f"`{letter}`" in chapter
        assert re.search(rf"\b{letter}\b", shown)


def test_readme_has_every_architecture() -> None:
    assert [arch for arch in ARCHES if arch not in README.split("##")[0]] == []


def tabled(text: str, heading: str) -> set[str]:
    """The names in the first column of the tables below `heading`, up to the next one of its rank."""
    rank = heading.split()[0]
    below = text[text.index(f"\n{heading}\n") + len(heading) + 2 :]
    below = re.split(rf"^#{{1,{len(rank)}}} ", below, flags=re.MULTILINE)[0]
    rows = re.findall(r"^\| (`.+?) \|", below, re.MULTILINE)
    return {name for row in rows for name in re.findall(r"`([^`]+)`", row)}


@pytest.mark.parametrize(
    ("heading", "kind"),
    [("### Explained", classes.EXPLAINED), ("### Divergences", classes.DIVERGENCE)],
)
def test_relation_has_every_class_and_no_other(heading: str, kind: str) -> None:
    assert tabled(RELATION, heading) == {c.name for c in classes.CLASSES if c.kind == kind}


def test_relation_has_every_invariant_and_no_other() -> None:
    letters = {c.name for c in classes.CLASSES if c.kind == classes.INVARIANT}
    assert set(re.findall(r"`(invariant-.)`", RELATION)) == letters
    rows = set(re.findall(r"^\| ([A-Z]) \|", RELATION, re.MULTILINE))
    assert {f"invariant-{row}" for row in rows} == letters


def test_relation_has_every_rule_of_a_sane_case_and_no_other() -> None:
    files = [ROOT / "harness" / "sane.py", *(ROOT / "harness" / "sanity").glob("*.py")]
    source = "".join(file.read_text() for file in files)
    rules = set(re.findall(r'yield f?"([a-z0-9-]+)(?:"|, pte)', source))
    # Three names are made in one place.
    assert 'f"{right.lower()}-needs-{may.lower()}"' in source
    rules |= {f"{right}-needs-may{right}" for right in ("read", "write", "exec")}
    assert tabled(RELATION, "## Sane and wild") == rules


def test_shrink_has_every_pass_in_order() -> None:
    """The certificate of a shrunk case names them, and here each is explained."""
    below = TEXTS["docs/shrink.md"].split("\n## The passes\n")[1].split("\n## ")[0]
    assert re.findall(r"^\| `([a-z-]+)` \|", below, re.MULTILINE) == [name_of(p) for p in PASSES]


def test_every_class_and_mutant_that_is_named_exists() -> None:
    mutants = {mutant.name for mutant in all_mutants()}
    for page, text in TEXTS.items():
        for name in re.findall(r"--deny ([a-z-]+)", text):
            assert name in classes.NUMBER, page
        for name in re.findall(r"zoo:([a-z-]+)", text):
            assert name in mutants, page


@pytest.mark.parametrize("page", PAGES)
def test_files_that_are_named_exist(page: str) -> None:
    text = TEXTS[page]
    here = (ROOT / page).parent
    for target in re.findall(r"\]\(([^)#]+)\)", text):
        assert (here / target).exists(), target
    folders = "mm|reference|batched|harness|fuzz|bench|corpus|tests|docs"
    for span in re.findall(rf"`((?:{folders})/[\w/.-]*)`", text):
        assert "NAME" in span or "ARCH" in span or (ROOT / span).exists(), span
    for span in re.findall(
        rf"midfolio (?:replay|show) (?:--quiet )?((?:{folders})/[\w/.-]+)", text
    ):
        assert (ROOT / span).exists(), span


def test_fidelity_has_every_switch() -> None:
    named = tabled(FIDELITY, "## Version switches")
    switches = {n for n, t in version.Version.__annotations__.items() if t in (bool, "bool")}
    assert named == switches
    assert set(version.Config._fields) == tabled(FIDELITY, "## Configuration")


def test_fidelity_counts_the_vectors() -> None:
    rows = re.findall(r"^\| `([\w/-]+)` \| ([\d,]+) \|", FIDELITY, re.MULTILINE)
    counts = {name: int(count.replace(",", "")) for name, count in rows}
    assert counts == {
        f"{path.parent.name}/{path.name.split('.')[0]}": sum(1 for _ in read(path))
        for path in VECTORS.glob("*/*.xz")
    }
    assert f"all {sum(counts.values()):,} cases" in FIDELITY


class Proof(NamedTuple):
    """A vector that docs/fidelity.md says to come out wrong with a switch set the other way."""

    switch: str
    kernel: str
    arch: str
    file: str
    number: int
    remark: str  # "wild", "by reads" or none


PROVEN = [
    Proof(switch, kernel, arch, file, int(number), remark)
    for switch, old, new in re.findall(
        r"^\| `(\w+)` \| [^|]+ \| ([^|]+) \| ([^|]+) \|", FIDELITY, re.MULTILINE
    )
    for kernel, cell in (("6.12", old), ("7.3", new))
    if cell.startswith("proven: ")
    for arch, file, number, remark in re.findall(
        r"(\w+) ([\w-]+) (\d+)(?: \(([\w ]+)\))?(?:, |$)", cell.removeprefix("proven: ")
    )
]


def wrong_fields(vector: Vector, kernel: str) -> set[str]:
    """In what the side that models `kernel` differs from the golden outcome of `vector`."""
    arch, layout = vector.case.arch, vector.case.layout
    if kernel == "7.3":
        expect = vector.expect["expect_7_3"]
        outcome = run(vector.case, load("batched", arch).function)
        ptes = outcome.ptes
    else:
        expect = vector.expect["expect_6_12"]
        case, entries = renumber(vector.case, layout, "6.12")
        outcome = run(case, load("reference", arch).function)
        ptes = number_back(outcome.ptes, entries, layout, "6.12", "7.3")
    fields = {
        "ptes": (tuple(int(word, 16) for word in expect.ptes), ptes),
        "bad_map": (expect.bad_map, outcome.bad_map),
        "pages": (expect.pages, outcome.pages),
        "flush": (tuple((int(a, 16), n) for a, n in expect.flush), outcome.flushes),
        "reads": (expect.raw_reads, expect.raw_reads and outcome.loads),
    }
    return {name for name, (expected, got) in fields.items() if expected != got}


@pytest.mark.parametrize("proof", PROVEN, ids=[f"{p.switch} {p.kernel} {p.arch}" for p in PROVEN])
def test_what_is_called_proven_is(proof: Proof, monkeypatch: pytest.MonkeyPatch) -> None:
    # Loads of entries are counted in a traced build only.
    for module in (table, trace):
        monkeypatch.setattr(module, "TRACED", True)
    vectors = read(VECTORS / proof.arch / f"{proof.file}.jsonl.xz")
    vector = next(v for v in vectors if v.id == proof.number)
    assert vector.wild == (proof.remark == "wild")
    assert wrong_fields(vector, proof.kernel) == set()
    real = version.VERSIONS[proof.kernel]
    wrong = real._replace(**{proof.switch: not getattr(real, proof.switch)})
    monkeypatch.setitem(version.VERSIONS, proof.kernel, wrong)
    fields = wrong_fields(vector, proof.kernel)
    assert fields
    assert (fields == {"reads"}) == (proof.remark == "by reads")


def test_something_is_proven() -> None:
    """Each cell that begins with `proven` was read to its end, and each architecture is there."""
    arches = "|".join(ARCHES)
    named = re.findall(rf"(?:proven: |, )({arches}) [\w-]+ \d", FIDELITY)
    assert len(PROVEN) == len(named) >= 27
    assert {proof.arch for proof in PROVEN} == set(ARCHES)
