"""The walls of docs/design.md, checked on the sources: what imports, interprets and shares what.

Each check is a function from a tree to the list of what breaks it, so that a
made-up tree can show that it rings: the second half of the file.
"""

import ast
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from mm.jit import NEVER_COMPILED, ROOT, SOURCES

PACKAGES = (*SOURCES, "bench", "tests")
MAX_LINES = 600
FORBIDDEN_NAMES = {"utils", "helpers", "common", "manager"}

# What each package may import of the others. `bench` comes lazily, see `imports`.
FLOORS = {
    "mm": {"mm"},
    "reference": {"mm", "reference"},
    "batched": {"mm", "batched"},
    "harness": {"mm", "harness"},
    "fuzz": {"mm", "harness", "fuzz"},
    "bench": {"mm", "harness", "fuzz", "bench"},
}
# The doors in the walls: the only modules above that may import a side.
DOORS = {
    "harness/relation.py": "reference",
    # The same relation, for arm64's blocks.
    "harness/contpte/relation.py": "reference",
    "harness/contpte/variants.py": "reference",
    "harness/targets.py": "batched",
}
# Packages that reach themselves relatively only, so that a copy under another name is whole.
SIDES = ("reference", "batched")
COMPILERS = {"jit", "rule", "entry"}
SHARED_RUN = 4


def modules(root: Path, *packages: str) -> Iterator[tuple[str, ast.Module]]:
    """Path below `root` and syntax tree of each module, sorted."""
    for package in packages:
        for path in sorted((root / package).rglob("*.py")):
            yield path.relative_to(root).as_posix(), ast.parse(path.read_text(), str(path))


def imported(tree: ast.AST) -> Iterator[tuple[str, bool]]:
    """Names of imported modules, import_module() of a text included, and whether it is relative."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name, False) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module or "", node.level > 0
        elif isinstance(node, ast.Call) and node.args:
            called = node.func
            name = called.attr if isinstance(called, ast.Attribute) else getattr(called, "id", "")
            text = node.args[0]
            if isinstance(text, ast.JoinedStr):
                text = text.values[0]
            if name == "import_module" and isinstance(text, ast.Constant):
                yield str(text.value), False


def functions(tree: ast.AST) -> Iterator[ast.FunctionDef]:
    return (node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef))


def is_compiled(function: ast.FunctionDef) -> bool:
    return any(
        (getattr(node, "id", None) or getattr(node, "attr", None)) in COMPILERS
        for decorator in function.decorator_list
        for node in ast.walk(decorator)
    )


# The checks.


def imports(root: Path) -> list[str]:
    """Arrows that go up or through a wall."""
    found = []
    for path, tree in modules(root, *FLOORS):
        package = path.split("/")[0]
        for name, relative in imported(tree):
            top = name.split(".")[0]
            if relative or top not in FLOORS:
                continue
            allowed = set(FLOORS[package]) | {DOORS.get(path, package)}
            if top == package and package in SIDES:
                found.append(f"{path} imports {name}; a side imports itself relatively")
            elif top == "bench" and path.startswith("fuzz/verbs/"):
                continue
            elif top not in allowed:
                found.append(f"{path} imports {name}; {package} may import {sorted(allowed)}")
    return found


def eager_bench(root: Path) -> list[str]:
    """Imports of `bench` that are not inside a function: every verb would load it."""
    found = []
    for path, tree in modules(root, "fuzz"):
        lazy = [name for f in functions(tree) for name, _ in imported(f)]
        names = [name for name, _ in imported(tree)]
        eager = [n for n in names if n.split(".")[0] == "bench" and n not in lazy]
        found += [f"{path} imports {name} at its top; do it in the function" for name in eager]
    return found


def relative_escapes(root: Path) -> list[str]:
    """Relative imports that leave their package."""
    found = []
    for path, tree in modules(root, *FLOORS):
        depth = path.count("/")
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom) and node.level > depth:
                found.append(f"{path} imports {'.' * node.level}{node.module or ''}")
    return found


MOVERS = ("load", "take", "store")
LOGS = "count_live"


def interpretation(root: Path) -> list[str]:
    """Functions of `mm` that interpret a word or look up a page: rules, which must exist twice.

    Words may be moved (load, take, store) and nothing else: nobody else touches
    the table, nobody the folios, no function has a word as its parameter or uses a
    constant of an architecture, and what touches the table makes no test. For the log
    alone, `count_live` looks which entries are as take leaves them: all bits zero.
    """
    found = []
    masks = set()
    for _, tree in modules(root, "mm"):
        if any(isinstance(n, ast.Name) and n.id == "Layout" for n in ast.walk(tree)):
            masks |= {
                target.id
                for node in tree.body
                if isinstance(node, ast.Assign)
                for target in node.targets
                if isinstance(target, ast.Name)
            }
    for path, tree in modules(root, "mm"):
        for function in functions(tree):
            nodes = list(ast.walk(function))
            name = f"{path} {function.name}()"
            attributes = {n.attr for n in nodes if isinstance(n, ast.Attribute)}
            names = {n.id for n in nodes if isinstance(n, ast.Name)} | attributes
            parameters = {a.arg for a in function.args.args}
            mover = path == "mm/table.py" and function.name in MOVERS
            logs = path == "mm/table.py" and function.name == LOGS
            if attributes & {"folios", "exclusive"}:
                found.append(f"{name} looks up a page")
            if names & masks:
                found.append(f"{name} uses {', '.join(sorted(names & masks))}")
            if attributes & {"ptes", "hardware"} and not (mover or logs):
                found.append(f"{name} touches the table; only {', '.join((*MOVERS, LOGS))} may")
            if parameters & {"word", "pte", "old", "new"} and function.name != "store":
                found.append(f"{name} takes a word")
            # Not BitXor: what the hardware flips is part of a move.
            if mover and any(
                isinstance(n, (ast.Compare, ast.BitAnd, ast.LShift, ast.RShift)) for n in nodes
            ):
                found.append(f"{name} tests a word")
    return found


def compiled_verbs(root: Path) -> list[str]:
    """Compiled code in the folders that the cache key of mm.jit leaves out."""
    found = []
    for path, tree in modules(root, *NEVER_COMPILED):
        if any(is_compiled(f) for f in functions(tree)):
            found.append(f"{path} compiles a function; move it to fuzz/")
        found += [f"{path} imports numba" for n, _ in imported(tree) if n.split(".")[0] == "numba"]
    return found


def code_lines(tree: ast.Module) -> list[str]:
    """The statements of a module in one normal form, without docstrings and imports."""
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if isinstance(body, list):
            node.body = [  # type: ignore[attr-defined]
                n
                for n in body
                if not isinstance(n, (ast.Import, ast.ImportFrom))
                and not (isinstance(n, ast.Expr) and isinstance(n.value, ast.Constant))
            ] or [ast.Pass()]
    return [line.strip() for line in ast.unparse(tree).splitlines() if line.strip()]


def shared_text(root: Path) -> list[str]:
    """Runs of equal lines on both sides of the wall: a rule copied is a rule not checked."""

    def runs(package: str) -> dict[tuple[str, ...], str]:
        found = {}
        for path, tree in modules(root, package):
            lines = code_lines(tree)
            for i in range(len(lines) - SHARED_RUN + 1):
                found[tuple(lines[i : i + SHARED_RUN])] = path
        return found

    ours, theirs = (runs(side) for side in SIDES)
    return [f"{ours[r]} and {theirs[r]} share {r[0]!r} ..." for r in sorted(ours.keys() & theirs)]


def long_files(root: Path) -> list[str]:
    """Files that are too long to be read in one go."""
    found = []
    for package in PACKAGES:
        for path in sorted((root / package).rglob("*.py")):
            lines = len(path.read_text().splitlines())
            if lines > MAX_LINES:
                found.append(f"{path.relative_to(root)} has {lines} lines; {MAX_LINES} at most")
    return found


def vague_names(root: Path) -> list[str]:
    """Files and directories named for nothing in particular."""
    return [
        f"{path.relative_to(root)} is named for nothing"
        for package in PACKAGES
        for path in sorted((root / package).rglob("*"))
        if FORBIDDEN_NAMES & set(path.stem.split("_")) and "__pycache__" not in path.parts
    ]


CHECKS = (
    imports,
    eager_bench,
    relative_escapes,
    interpretation,
    compiled_verbs,
    shared_text,
    long_files,
    vague_names,
)


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_wall_stands(check: Callable[[Path], list[str]]):
    assert check(ROOT) == []


def test_the_doors_are_used():
    """Else the checks above would look at a tree that is not there."""
    trees = dict(modules(ROOT, "harness"))
    for path, side in DOORS.items():
        assert side in {name.split(".")[0] for name, _ in imported(trees[path])}
    assert sum(is_compiled(f) for _, tree in modules(ROOT, "mm") for f in functions(tree)) >= 10


RULE = "from mm.jit import rule\n\n@rule\n"
COPY = "@rule\ndef f(a):\n    b = a + 1\n    c = b * 2\n    return c\n"
VIOLATIONS = [
    (imports, {"mm/state.py": "import harness.case\n"}),
    (imports, {"reference/rules.py": "from batched.walk import detect\n"}),
    (imports, {"batched/walk.py": "import reference.rules\n"}),
    (imports, {"batched/walk.py": "from harness import run\n"}),
    (imports, {"batched/walk.py": "from batched.detect import batch\n"}),
    (imports, {"harness/judge.py": "from reference.walk import is_changed\n"}),
    (imports, {"harness/run.py": "def f():\n    import batched.x86_64\n"}),
    (imports, {"harness/targets.py": "import reference.x86_64\n"}),
    (imports, {"harness/run.py": "def f(a):\n    return import_module(f'batched.{a}')\n"}),
    (imports, {"harness/run.py": "from fuzz.generator import generate\n"}),
    (imports, {"fuzz/verbs/show.py": "from reference import walk\n"}),
    (imports, {"fuzz/campaign.py": "import batched.x86_64\n"}),
    (imports, {"fuzz/campaign.py": "def f():\n    import bench\n"}),
    (eager_bench, {"fuzz/verbs/bench.py": "from bench.speed import run\n"}),
    (relative_escapes, {"batched/walk.py": "from ..reference import rules\n"}),
    (interpretation, {"mm/table.py": RULE + "def present(word):\n    return word\n"}),
    (interpretation, {"mm/tlb.py": RULE + "def load(state, i):\n    return state.ptes[i]\n"}),
    (interpretation, {"mm/state.py": RULE + "def page(s, i):\n    return s.folios[i].pfn\n"}),
    (interpretation, {"mm/table.py": RULE + "def load(s, i):\n    return s.ptes[i] & s.mask\n"}),
    (interpretation, {"mm/table.py": RULE + "def take(s, i):\n    return s.ptes[i] != 0\n"}),
    (
        interpretation,
        {
            "mm/a.py": "PRESENT = 1\nLAYOUT = Layout()\n",
            "mm/b.py": RULE + "def f(x):\n    return x - a.PRESENT\n",
        },
    ),
    (compiled_verbs, {"fuzz/verbs/show.py": RULE + "def f(a):\n    return a\n"}),
    (compiled_verbs, {"fuzz/verbs/show.py": "@mm.jit.entry(sig)\ndef f(a):\n    return a\n"}),
    (compiled_verbs, {"fuzz/verbs/show.py": "from numba import njit\n"}),
    (compiled_verbs, {"fuzz/gate/run.py": RULE + "def f(a):\n    return a\n"}),
    (
        shared_text,
        {
            "reference/a.py": COPY,
            # Comments, docstrings, spacing and what stands around make it no other rule.
            "batched/b.py": "import mm\nX = 1\n"
            + COPY.replace("a + 1", "( a+1 )  # one").replace("(a):", '(a):\n    """F."""'),
        },
    ),
    (long_files, {"fuzz/layout.py": "x = 1\n" * (MAX_LINES + 1)}),
    (vague_names, {"harness/utils.py": ""}),
    (vague_names, {"mm/table_helpers.py": ""}),
    (vague_names, {"fuzz/common/words.py": ""}),
]


@pytest.mark.parametrize(("check", "files"), VIOLATIONS)
def test_breach_is_seen(check: Callable[[Path], list[str]], files: dict[str, str], tmp_path: Path):
    for name, text in files.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    assert len(check(tmp_path)) >= 1


def test_what_is_allowed_is_silent(tmp_path: Path):
    files = {
        "mm/table.py": RULE + "def store(state, index, word):\n    state.ptes[index] = word\n",
        "reference/walk.py": "from mm import table\n\nfrom . import rules\n" + COPY,
        "batched/walk.py": "from mm import table\n" + COPY.replace("b * 2", "b * 3"),
        "harness/relation.py": "from mm import table\nfrom reference.walk import f\n",
        "harness/targets.py": "import batched.x86_64\nfrom harness.relation import f\n",
        "fuzz/verbs/bench.py": "def run():\n    from bench import speed\n",
        "fuzz/campaign.py": RULE + "def hunt(a):\n    return a\n" + "x = 1\n" * (MAX_LINES - 5),
    }
    for name, text in files.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    assert [problem for check in CHECKS for problem in check(tmp_path)] == []
