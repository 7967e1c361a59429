"""RegexFullMatch: regular expressions of RE2's syntax, matched in time that grows as the text does.

A model's pattern is anybody's, and Python's `re` needs exponential time for some. So a pattern becomes a list
of instructions (Thompson's automaton, doi:10.1145/363347.363387), all of which are followed at once.
Syntax: https://github.com/google/re2/wiki/Syntax. Scripts (\\p{Greek}) and \\C are not served.
"""

from __future__ import annotations

import string
import sys
import unicodedata
from collections.abc import Iterable
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from fastconv.graph.operator import Operator, Signature

#: Instructions of a pattern, and how often a part of it can be repeated by a number, as in RE2.
LONGEST, MOST = 20_000, 1000
#: Instructions in all the sets of them that a pattern remembers.
KEPT = 200_000
#: Groups inside groups.
DEEPEST = 100

LAST = sys.maxunicode
CATEGORIES = {"L", "M", "N", "P", "S", "Z", "C"}


class Set(NamedTuple):
    """Characters: those in a range, of a general category (first letters), or in a set; or all but these."""

    ranges: tuple[tuple[int, int], ...] = ()
    categories: tuple[str, ...] = ()
    sets: tuple[Set, ...] = ()
    negated: bool = False
    folded: bool = False

    def has(self, character: str) -> bool:
        forms = {character, character.lower(), character.upper()} if self.folded else (character,)
        return any(map(self._has, forms)) != self.negated

    def _has(self, character: str) -> bool:
        code = ord(character[0])
        return (
            any(low <= code <= high for low, high in self.ranges)
            or (bool(self.categories) and unicodedata.category(character[0]).startswith(self.categories))
            or any(each.has(character) for each in self.sets)
        )


def _of(characters: str) -> Set:
    return Set(tuple((ord(each), ord(each)) for each in characters))


def _not(given: Set) -> Set:
    return given._replace(negated=not given.negated)


DIGIT, SPACE, WORD = _of(string.digits), _of("\t\n\f\r "), _of(string.ascii_letters + string.digits + "_")
ANY, LINE = Set(((0, LAST),)), Set(((0, 9), (11, LAST)))
PERL = {"d": DIGIT, "s": SPACE, "w": WORD, "D": _not(DIGIT), "S": _not(SPACE), "W": _not(WORD)}
POSIX = {
    "alnum": _of(string.ascii_letters + string.digits), "alpha": _of(string.ascii_letters),
    "ascii": Set(((0, 127),)), "blank": _of("\t "), "cntrl": Set(((0, 31), (127, 127))), "digit": DIGIT,
    "graph": Set(((33, 126),)),
    "lower": _of(string.ascii_lowercase), "print": Set(((32, 126),)), "punct": _of(string.punctuation),
    "space": _of("\t\n\v\f\r "), "upper": _of(string.ascii_uppercase), "word": WORD,
    "xdigit": _of(string.hexdigits),
}  # fmt: skip
CONTROL = {"a": "\a", "f": "\f", "t": "\t", "n": "\n", "r": "\r", "v": "\v"}

#: An instruction: a Set takes a character, text is a condition between two, a pair goes on at both, None is
#: the end.
Instruction = Set | str | tuple[int, int] | None

#: A part of a pattern: a Set, a condition, ("all", parts), ("any", parts) or ("times", part, low, high).
Part = Set | str | tuple


class _Parser:
    """Reads a pattern from left to right."""

    def __init__(self, text: str) -> None:
        self.text, self.at, self.depth = text, 0, 0
        self.flags = {"i": False, "m": False, "s": False}

    def error(self, why: str) -> ValueError:
        return ValueError(f"pattern={self.text!r}: {why} at character {self.at}")

    def take(self, wanted: str) -> bool:
        found = self.text.startswith(wanted, self.at)
        self.at += len(wanted) if found else 0
        return found

    def next(self) -> str:
        if self.at >= len(self.text):
            raise self.error("ends too early")
        self.at += 1
        return self.text[self.at - 1]

    def until(self, end: str) -> str:
        stop = self.text.find(end, self.at)
        if stop < 0:
            raise self.error(f"has no {end!r}")
        found, self.at = self.text[self.at : stop], stop + len(end)
        return found

    def whole(self) -> Part:
        part = self.choice()
        if self.at < len(self.text):
            raise self.error("a ) closes nothing")
        return part

    def choice(self) -> Part:
        self.depth += 1
        if self.depth > DEEPEST:
            raise self.error(f"groups inside groups, more than {DEEPEST} deep,")
        flags = dict(self.flags)
        parts = [self.row()]
        while self.take("|"):
            parts.append(self.row())
        self.flags = flags
        self.depth -= 1
        return parts[0] if len(parts) == 1 else ("any", parts)

    def row(self) -> Part:
        parts: list[Part] = []
        while self.at < len(self.text) and self.text[self.at] not in "|)":
            if self.take("\\Q"):
                stop = self.text.find("\\E", self.at)
                stop = len(self.text) if stop < 0 else stop
                parts += [self.one(each) for each in self.text[self.at : stop]]
                self.at = min(len(self.text), stop + 2)
            else:
                parts.append(self.repeated(self.atom()))
        return ("all", parts)

    def repeated(self, part: Part) -> Part:
        simple = {"*": (0, None), "+": (1, None), "?": (0, 1)}
        first = True
        while self.at < len(self.text):
            counts = simple.get(self.text[self.at])
            if counts is not None:
                self.at += 1
            else:
                counts = self.counts()
            if counts is None:
                return part
            if not first:
                raise self.error("repeats a repetition")
            self.take("?")  # how few or how many are taken first does not matter to a full match
            part, first = ("times", part, *counts), False
        return part

    def counts(self) -> tuple[int, int | None] | None:
        """{n}, {n,} or {n,m}; else the brace is a character."""
        start = self.at
        if not self.take("{") or "}" not in self.text[self.at :]:
            self.at = start
            return None
        low, comma, high = self.until("}").partition(",")
        if not low.isdecimal() or not (high.isdecimal() or not high):
            self.at = start
            return None
        least = int(low[:6])
        most = (int(high[:6]) if high else None) if comma else least
        if max(least, most or 0) > MOST or (most is not None and most < least):
            raise self.error(f"repeats by {{{low}{comma}{high}}}, which must rise to {MOST} at most,")
        return least, most

    def one(self, character: str) -> Set:
        return _of(character)._replace(folded=self.flags["i"])

    def atom(self) -> Part:
        character = self.next()
        if character == "(":
            return self.group()
        if character == "[":
            return self.bracket()
        if character == ".":
            return ANY if self.flags["s"] else LINE
        if character in "^$":
            return character + ("m" if self.flags["m"] else "")
        if character in "*+?":
            raise self.error("repeats nothing")
        if character == "\\":
            kinds = {"A": "^", "z": "$", "b": "b", "B": "B"}
            if self.text[self.at : self.at + 1] in (*kinds,) and self.at < len(self.text):
                return kinds[self.next()]
            return self.escape()
        return self.one(character)

    def group(self) -> Part:
        if self.take("?"):
            if self.take("P<") or self.take("<"):
                self.until(">")
            else:
                told, value = "", True
                flags = dict(self.flags)
                while (flag := self.next()) not in ":)":
                    told += flag
                    if flag == "-":
                        value = False
                    elif flag in "imsU":
                        flags[flag] = value
                    else:
                        raise self.error(f"(?{told} is not served")
                if flag == ")":
                    self.flags = flags  # until the group around it ends
                    return ("all", [])
                around, self.flags = self.flags, flags
                part = self.choice()
                self.flags = around
                return self.closed(part)
        return self.closed(self.choice())

    def closed(self, part: Part) -> Part:
        if not self.take(")"):
            raise self.error("a ( is not closed")
        return part

    def escape(self) -> Set:
        character = self.next()
        if character in PERL:
            return PERL[character]
        if character in "pP":
            name = self.until("}") if self.take("{") else self.next()
            inverse = name.startswith("^")
            name = name.removeprefix("^")
            if name != "Any" and name[:1] not in CATEGORIES:
                raise self.error(f"\\p{{{name}}} is not served")
            found = ANY if name == "Any" else Set(categories=(name,))
            return _not(found) if inverse != (character == "P") else found
        return self.one(self.code(character))

    def code(self, character: str) -> str:
        """The character that an escape stands for."""
        if character in CONTROL:
            return CONTROL[character]
        if character == "x":
            digits = self.until("}") if self.take("{") else self.next() + self.next()
            if (
                not digits
                or len(digits) > 8
                or not set(digits) <= set(string.hexdigits)
                or int(digits, 16) > LAST
            ):
                raise self.error(f"\\x{digits} is no character")
            return chr(int(digits, 16))
        if character in string.octdigits and (
            character == "0" or self.text[self.at : self.at + 1].isdecimal()
        ):
            digits = character
            while len(digits) < 3 and self.text[self.at : self.at + 1] in (*string.octdigits,):
                digits += self.next()
            return chr(int(digits, 8))
        if character.isascii() and character.isalnum():
            raise self.error(f"\\{character} is not served")
        return character

    def bracket(self) -> Set:
        negated = self.take("^")
        sets: list[Set] = []
        ranges: list[tuple[int, int]] = []
        first = True
        while first or not self.take("]"):
            first = False
            if self.take("[:"):
                name = self.until(":]")
                inverse = name.startswith("^")
                if name.removeprefix("^") not in POSIX:
                    raise self.error(f"[:{name}:] is no class")
                found = POSIX[name.removeprefix("^")]
                sets.append(_not(found) if inverse else found)
                continue
            low = self.member()
            if isinstance(low, Set):
                sets.append(low)
            elif self.text[self.at : self.at + 1] == "-" and self.text[self.at + 1 : self.at + 2] not in (
                "]",
                "",
            ):
                self.at += 1
                high = self.member()
                if isinstance(high, Set) or high < low:
                    raise self.error("a range must rise")
                ranges.append((ord(low), ord(high)))
            else:
                ranges.append((ord(low), ord(low)))
        return Set(tuple(ranges), (), tuple(sets), negated, self.flags["i"])

    def member(self) -> Set | str:
        character = self.next()
        if character != "\\":
            return character
        if self.text[self.at : self.at + 1] in (*PERL, "p", "P"):
            return self.escape()
        return self.code(self.next())


class Pattern:
    """A pattern that texts can be compared with."""

    def __init__(self, text: str) -> None:
        self.steps: list[Instruction] = []
        self._write(_Parser(text).whole(), text)
        self.steps.append(None)
        self._simple = not any(isinstance(step, str) for step in self.steps)
        self._known: dict[tuple[frozenset[int], str], frozenset[int]] = {}
        self._room = KEPT

    def _write(self, part: Part, text: str) -> None:
        """The instructions of a part, behind those before it."""
        if len(self.steps) > LONGEST:
            raise ValueError(f"pattern={text!r}: becomes more than {LONGEST} instructions")
        if isinstance(part, (Set, str)):
            self.steps.append(part)
        elif part[0] == "all":
            for each in part[1]:
                self._write(each, text)
        elif part[0] == "any":
            self._write_choice(part[1], text)
        else:
            _, repeated, low, high = part
            self._write_times(repeated, low, high, text)

    def _write_choice(self, parts: list[Part], text: str) -> None:
        ends = []
        for i, each in enumerate(parts):
            fork = len(self.steps)
            if i < len(parts) - 1:
                self.steps.append(None)
            self._write(each, text)
            if i < len(parts) - 1:
                ends.append(len(self.steps))
                self.steps.append(None)
                self.steps[fork] = (fork + 1, len(self.steps))
        for end in ends:
            self.steps[end] = (len(self.steps), len(self.steps))

    def _write_times(self, part: Part, low: int, high: int | None, text: str) -> None:
        for _ in range(low):
            start = len(self.steps)
            self._write(part, text)
            if len(self.steps) == start:
                break  # nothing, however often
        forks = []
        for _ in range(1 if high is None else high - low):
            forks.append(len(self.steps))
            self.steps.append(None)
            self._write(part, text)
            if len(self.steps) == forks[-1] + 1:
                break
        if high is None:
            self.steps.append((forks[0], forks[0]))
        for fork in forks:
            self.steps[fork] = (fork + 1, len(self.steps))

    def _reach(self, starts: Iterable[int], before: str, after: str) -> frozenset[int]:
        """Instructions that take a character, or end, and can be reached without one."""
        found, seen, waiting = set(), set(), list(starts)
        while waiting:
            place = waiting.pop()
            if place in seen:
                continue
            seen.add(place)
            step = self.steps[place]
            if step is None or isinstance(step, Set):
                found.add(place)
            elif isinstance(step, str):
                if _holds(step, before, after):
                    waiting.append(place + 1)
            else:
                waiting += step
        return frozenset(found)

    def _takes(self, place: int, character: str) -> bool:
        step = self.steps[place]
        return isinstance(step, Set) and step.has(character)

    def matches(self, text: str) -> bool:
        """Whether it is all of the text."""
        here = self._reach([0], "", text[:1])
        for i, character in enumerate(text):
            key = (here, character)
            there = self._known.get(key) if self._simple else None
            if there is None:
                taken = [place + 1 for place in here if self._takes(place, character)]
                there = self._reach(taken, character, text[i + 1 : i + 2])
                if self._simple and self._room > 0:
                    self._known[key] = there
                    self._room -= 1 + len(there)
            if not there:
                return False
            here = there
        return any(self.steps[place] is None for place in here)


def _holds(condition: str, before: str, after: str) -> bool:
    """Whether a condition holds between two characters, which are empty at the ends of the text."""
    if condition in ("^", "^m"):
        return not before or (condition == "^m" and before == "\n")
    if condition in ("$", "$m"):
        return not after or (condition == "$m" and after == "\n")
    boundary = bool(before and WORD.has(before)) != bool(after and WORD.has(after))
    return boundary == (condition == "b")


@lru_cache(maxsize=64)
def _pattern(text: str) -> Pattern:
    return Pattern(text)


def _full_match(x: np.ndarray, *, pattern: str = "") -> np.ndarray:
    """Whether each text as a whole is what the pattern says."""
    told = _pattern(pattern)
    found = [told.matches(each.decode() if isinstance(each, bytes) else str(each)) for each in x.reshape(-1)]
    return np.array(found, bool).reshape(x.shape)


def _full_match_signature(x: Signature, *, pattern: str = "") -> Signature:
    _pattern(pattern)
    return Signature(np.dtype(bool), x.shape)


OPERATORS: dict[str, Operator] = {"RegexFullMatch": Operator(_full_match, _full_match_signature)}
