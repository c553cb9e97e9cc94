"""The lines of a case file: `key name: words`, comments, and words that are shared by keys.

Knows the grammar of lines and which keys there are, but not what they mean;
that is `harness.casefile`. The grammar is in `corpus/README.md`.
"""

import re
from collections.abc import Mapping
from typing import NamedTuple, SupportsInt

from .case import CaseError
from .pagetext import TextError, parse_number

MAGIC = "midfolio-case 1"

# Keys in canonical order: one line at most, then any number of lines with a name.
ONCE = ("arch", "kernel", "config", "vma", "mm", "table_addr", "range", "newprot", "cp")
NAMED = ("folio", "pte", "hardware")
KEYS = (*ONCE, *NAMED, "expect")
REQUIRED = ("arch", "kernel", "vma", "range", "newprot")

_KEY = re.compile(r"([a-z_]+)(?:[ \t]+([^:]*?))?[ \t]*:(.*)", re.ASCII)
_COMMENT = re.compile(r"(?:^|(?<=[ \t]))#")
_ENTRIES = re.compile(r"([0-9]{1,4})(?:\.\.([0-9]{1,4}))?", re.ASCII)


class Line(NamedTuple):
    """One line that is no comment."""

    number: int
    key: str
    name: str
    words: list[str]


class Lines:
    """The lines of one text by key, and the number of the one that an error would be about.

    Raises TextError, which `located` turns into an error with file and line.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self.at = 1
        self.last = 1  # the last line that is not blank
        self.once: dict[str, Line] = {}
        self.many: dict[str, list[Line]] = {key: [] for key in KEYS if key not in ONCE}
        self.comments: list[str] = []

    def located(self, error: TextError) -> CaseError:
        """`error`, with file and line before it."""
        return CaseError(f"{self.path}:{self.at}: {error}")

    def add_all(self, text: str) -> None:
        """Take in all lines of `text`."""
        for self.at, line in enumerate(text.split("\n"), 1):
            self._add(line)
        self.at = self.last
        for key in REQUIRED:
            if key not in self.once:
                raise TextError(f"no '{key}:' line up to here; a case has {', '.join(REQUIRED)}")

    def words(self, key: str) -> list[str]:
        """The words of the line `key`, if there is one; errors are about it from now on."""
        self.go_to(key)
        return self.once[key].words if key in self.once else []

    def go_to(self, key: str) -> None:
        """Let errors be about the line `key`, or about the last line where there is none."""
        self.at = self.once[key].number if key in self.once else self.last

    def each(self, key: str) -> list[Line]:
        """The lines of `key`, in the order of the text."""
        return self.many[key]

    def _add(self, text: str) -> None:
        for column, character in enumerate(text, 1):
            if character != "\t" and not " " <= character <= "~":
                raise TextError(
                    f"column {column} has {character!r}; a case file is printable ASCII"
                )
        if self.at == 1:
            if text.rstrip() != MAGIC:
                raise TextError(f"{text[:40]!r} must be {MAGIC!r}, the format and its version")
            return
        comment = _COMMENT.search(text)
        if comment:
            self.comments.append(text[comment.end() :].strip())
            text = text[: comment.start()]
        text = text.strip()
        if not text:
            return
        self.last = self.at
        match = _KEY.fullmatch(text)
        if not match or match[1] not in KEYS:
            what = match[1] if match else text[:40]
            raise TextError(
                f"unknown key {what!r}; a line is 'key: words', the key one of {', '.join(KEYS)}"
            )
        self._add_line(Line(self.at, match[1], match[2] or "", match[3].split()))

    def _add_line(self, line: Line) -> None:
        if bool(line.name) != (line.key in NAMED):
            right = f"{line.key} {'NAME' if line.key == 'folio' else 'ENTRY'}:"
            raise TextError(
                f"'{line.key}:' must be '{right}'"
                if line.key in NAMED
                else f"'{line.key} {line.name}:' must be '{line.key}:'"
            )
        if line.key in self.many:
            self.many[line.key].append(line)
            return
        if line.key in self.once:
            before = self.once[line.key].number
            raise TextError(f"second '{line.key}:' line; the first is line {before}")
        self.once[line.key] = line


def one_of(words: list[str], what: str, known: tuple[str, ...]) -> str:
    """The one word in `words`, which must be one of `known`."""
    text = " ".join(words)
    if text not in known:
        raise TextError(f"unknown {what} {text!r}; known: {', '.join(known)}")
    return text


def flags_of(words: list[str], prefix: str, known: Mapping[str, SupportsInt]) -> int:
    """The sum of the flags that `words` name, each once."""
    for word in words:
        if word not in known:
            raise TextError(f"unknown word {word!r}; flags, without {prefix}: {', '.join(known)}")
        if words.count(word) > 1:
            raise TextError(f"{word!r} is given twice")
    return sum(int(known[word]) for word in words)


def facts_of(words: list[str], what: str, defaults: Mapping[str, int]) -> dict[str, int]:
    """The values of `name=value` words, with the type of their default: y and n, or a number."""
    facts: dict[str, int] = {}
    for word in words:
        name, _, text = word.partition("=")
        if name not in defaults:
            raise TextError(f"unknown {what} {word!r}; known: {', '.join(defaults)}")
        if name in facts:
            raise TextError(f"{name} is given twice, {word!r} being the second time")
        if not isinstance(defaults[name], bool):
            facts[name] = parse_number(text, name)
        elif text in ("y", "n"):
            facts[name] = text == "y"
        else:
            raise TextError(f"{word!r} must be {name}=y or {name}=n")
    return facts


def entries_of(text: str, entries: int) -> tuple[int, int]:
    """First and last entry that `5` or `5..511` names, in a table of so many entries."""
    match = _ENTRIES.fullmatch(text)
    first, last = (int(match[1]), int(match[2] or match[1])) if match else (0, -1)
    if not first <= last < entries:
        raise TextError(
            f"entry {text!r} must be N, or FIRST..LAST with both in it, of 0..{entries - 1}"
        )
    return first, last
