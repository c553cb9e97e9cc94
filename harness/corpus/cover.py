"""The smallest set of files that brings everything: set cover, solved exactly.

Three questions one after the other: how few files are enough; of such sets,
which has the fewest entries in all; of such sets, which comes first by name
(smallest sum of places in the order of names). Each is an integer program for
HiGHS, with one thread, a fixed seed and a limit of nodes: no clock decides, so
the same input gives the same answer on each machine.

Two reductions come before it, because real corpora all but fall apart by them:
what only one file brings decides for that file, and what is left splits into
parts that share nothing.
"""

import math
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import highspy
import numpy as np

Row = frozenset[int]

# Nodes of the search, for each part and question; real corpora hardly need one.
NODES = 1_000


class Cover(NamedTuple):
    """A set of files that brings everything."""

    chosen: tuple[int, ...]  # ascending
    least: int  # proven: no set of fewer files does

    @property
    def gap(self) -> int:
        """By how many files it may be larger than the smallest set; 0: it is the smallest."""
        return len(self.chosen) - self.least


def smallest_cover(wanted: Iterable[Row], sizes: Sequence[int], nodes: int = NODES) -> Cover:
    """The smallest set of files of which one is in each set of `wanted`.

    Files are numbers from 0 on in the order of their names, `sizes` their entries.
    A search that meets the limit of `nodes` keeps the best that it found.
    """
    rows = set(wanted)
    assert frozenset() not in rows, "something that no file brings"
    chosen = {file for row in rows if len(row) == 1 for file in row}
    least = len(chosen)
    for part in _parts([row for row in rows if not row & chosen]):
        solved = _Part(part, sizes, nodes).solve()
        chosen.update(solved.chosen)
        least += solved.least
    return Cover(tuple(sorted(chosen)), least)


def _parts(rows: list[Row]) -> list[list[Row]]:
    """`rows`, grouped so that no file is in two groups; all in a fixed order."""
    leader: dict[int, int] = {}

    def find(file: int) -> int:
        while leader.setdefault(file, file) != file:
            leader[file] = leader[leader[file]]
            file = leader[file]
        return file

    for row in rows:
        first = find(min(row))
        for file in row:
            leader[find(file)] = first
    parts: dict[int, list[Row]] = {}
    for row in sorted(rows, key=sorted):
        parts.setdefault(find(min(row)), []).append(row)
    return list(parts.values())


class _Part:
    """One part: the rows that are to be hit, the columns that can hit them."""

    def __init__(self, rows: list[Row], sizes: Sequence[int], nodes: int) -> None:
        self.rows = rows
        self.files = sorted(frozenset().union(*rows))
        self.sizes = np.array([sizes[file] for file in self.files], float)
        # From 1 on, so that a file is never for nothing.
        self.places = np.array(self.files, float) + 1
        self.solver = _solver(rows, self.files, nodes)

    def solve(self) -> Cover:
        """Its smallest cover."""
        chosen = self._greedy()
        chosen, least = self._improve(chosen, np.ones(len(self.files)))
        for cost in (self.sizes, self.places):
            chosen, _ = self._improve(chosen, cost)
        return Cover(tuple(self.files[column] for column in chosen), max(least, 1))

    def _greedy(self) -> list[int]:
        """Columns that are a cover: the one that hits most, then the smaller, then the first."""
        left = set(self.rows)
        found = []
        while left:
            count = dict.fromkeys(self.files, 0)
            for row in left:
                for file in row:
                    count[file] += 1
            best = min(
                range(len(self.files)),
                key=lambda column: (-count[self.files[column]], self.sizes[column], column),
            )
            found.append(best)
            left = {row for row in left if self.files[best] not in row}
        return found

    def _improve(self, start: list[int], cost: np.ndarray) -> tuple[list[int], int]:
        """The columns of least `cost`, or `start` if none better is found; and a bound of the cost.

        The cost is then a limit for what is asked later.
        """
        columns = np.arange(len(self.files), dtype=np.int32)
        solver = self.solver
        solver.changeColsCost(len(columns), columns, cost)
        solution = highspy.HighsSolution()
        solution.col_value = [float(column in start) for column in columns]
        solver.setSolution(solution)
        solver.run()
        values = np.array(solver.getSolution().col_value)
        found = [int(column) for column in columns if values[column] > 0.5]
        if not self._covers(found) or cost[found].sum() > cost[start].sum():
            found = start
        bound = solver.getInfo().mip_dual_bound
        least = math.ceil(bound - 1e-6) if math.isfinite(bound) else 0
        solver.addRow(0.0, float(cost[found].sum()), len(columns), columns, cost)
        return found, min(least, int(cost[found].sum()))

    def _covers(self, columns: list[int]) -> bool:
        """Whether each row is hit: the solver works with floating point, and is not taken at its word."""
        files = {self.files[column] for column in columns}
        return all(row & files for row in self.rows)


def _solver(rows: list[Row], files: list[int], nodes: int) -> highspy.Highs:
    """A solver with the constraints of set cover, and no costs yet."""
    solver = highspy.Highs()  # type: ignore[no-untyped-call]  # its constructor is untyped
    for name, value in (
        ("output_flag", False),
        ("parallel", "off"),
        ("threads", 1),
        ("random_seed", 0),
        ("mip_rel_gap", 0.0),
        ("mip_max_nodes", nodes),
    ):
        solver.setOptionValue(name, value)
    column = {file: number for number, file in enumerate(files)}
    program = highspy.HighsLp()
    program.num_col_, program.num_row_ = len(files), len(rows)
    program.col_cost_ = np.zeros(len(files))
    program.col_lower_, program.col_upper_ = np.zeros(len(files)), np.ones(len(files))
    program.integrality_ = [highspy.HighsVarType.kInteger] * len(files)
    program.row_lower_ = np.ones(len(rows))
    program.row_upper_ = np.full(len(rows), highspy.kHighsInf)
    matrix = program.a_matrix_
    matrix.format_ = highspy.MatrixFormat.kRowwise
    matrix.start_ = np.cumsum([0, *(len(row) for row in rows)])
    matrix.index_ = np.array([column[file] for row in rows for file in sorted(row)])
    matrix.value_ = np.ones(len(matrix.index_))
    solver.passModel(program)
    return solver
