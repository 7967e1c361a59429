"""Reads what `objdump -d` prints: functions, their loops, and which of them go to the stack with vectors.

Loops are natural loops: the blocks from which a jump back to a header is reached without leaving through the
header. Where instructions happen to lie says nothing, a compiler moves them about.
"""

from __future__ import annotations

import re
import subprocess
from collections import defaultdict
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

LABEL = re.compile(r"[0-9a-f]+ <(.+)>:$")
#: x86-64 in AT&T syntax, and aarch64.
JUMP = re.compile(r"(?:notrack )?(?:j\w+|b|b\.\w+|cbn?z|tbn?z|br)\s")
ALWAYS = re.compile(r"(?:notrack )?(?:jmp\w*|b|br|ret\w*|ud2|brk)(?:\s|$)")
PLACE = re.compile(r"(?:^|[\s,])(?:0x)?([0-9a-f]+) <")
ARITHMETIC = re.compile(
    r"v?(?:add|sub|mul|div|max|min|fn?m(?:add|sub)\w*)p[sd]\s|f(?:ml[as]|mul|add|sub|max\w*|min\w*)\s+v"
)
VECTOR = re.compile(r"%[xyz]mm|\b[qv]\d+\b")
STACK_POINTER = re.compile(r"\(%rsp|\[sp\b")
FRAME_POINTER = re.compile(r"\(%rbp|\[x29\b")
SETS_FRAME = re.compile(r"mov\s+%rsp,%rbp|(?:mov\s+x29, sp|add\s+x29, sp)")

Instruction = tuple[int, str]


@dataclass(frozen=True)
class Loop:
    """An innermost loop."""

    function: str
    instructions: tuple[str, ...]
    stack: re.Pattern[str]

    @property
    def arithmetic(self) -> int:
        """How many of its instructions compute with vectors."""
        return sum(bool(ARITHMETIC.match(text)) for text in self.instructions)

    @property
    def spills(self) -> list[str]:
        """Those that move vectors to or from the stack."""
        return [text for text in self.instructions if VECTOR.search(text) and self.stack.search(text)]


def disassemble(objdump: str, path: Path) -> dict[str, list[Instruction]]:
    """Address and text of every instruction, by function."""
    command = [objdump, "-d", "--no-show-raw-insn", str(path)]
    printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    functions: dict[str, list[Instruction]] = {}
    body: list[Instruction] = []
    for line in printed.splitlines():
        address, is_instruction, text = line.partition(":\t")
        if is_instruction:
            body.append((int(address, 16), text))
        elif label := LABEL.match(line):
            body = functions.setdefault(label[1], [])
    return functions


def innermost_loops(function: str, body: list[Instruction]) -> list[Loop]:
    """The loops that contain no other."""
    blocks, after = flow(body)
    order, before = depth_first(after)
    dominator = dominators(order, before)

    def dominates(header: int, block: int) -> bool:
        while block not in (header, ENTRY):
            block = dominator[block]
        return block == header

    loops: dict[int, set[int]] = defaultdict(set)
    for block in order:
        for header in after[block]:
            if dominates(header, block):
                loops[header] |= {header}
                waiting = [block]
                while waiting:
                    inside = waiting.pop()
                    if inside not in loops[header]:
                        loops[header].add(inside)
                        waiting += before[inside]
    has_frame = any(SETS_FRAME.match(text) for _, text in body)
    stack = re.compile(f"{STACK_POINTER.pattern}|{FRAME_POINTER.pattern}") if has_frame else STACK_POINTER
    return [
        Loop(function, tuple(text for block in sorted(inside) for _, text in blocks[block]), stack)
        for header, inside in loops.items()
        if not any(other != header and other in inside for other in loops)
    ]


#: The block before the first: a function is entered here, and so is what only a table of jumps leads to.
ENTRY = -1


def flow(body: list[Instruction]) -> tuple[dict[int, list[Instruction]], dict[int, list[int]]]:
    """Blocks of instructions by the address of the first, and which blocks may follow each."""
    places = [address for address, _ in body]
    known = set(places)
    jumps = [(address, text) for address, text in body if JUMP.match(text)]
    target = {}
    for address, text in jumps:
        if (place := PLACE.search(text)) and int(place[1], 16) in known:
            target[address] = int(place[1], 16)
    ends = {address for address, _ in jumps} | {address for address, text in body if ALWAYS.match(text)}
    begins = {places[0], *target.values(), *(b for a, b in pairwise(places) if a in ends)}
    blocks: dict[int, list[Instruction]] = {}
    for address, text in body:
        if address in begins:
            block = blocks.setdefault(address, [])
        block.append((address, text))
    after: dict[int, list[int]] = {}
    names = list(blocks)
    for name, following in zip(names, [*names[1:], None]):
        address, text = blocks[name][-1]
        after[name] = [target[address]] if address in target else []
        if following is not None and not ALWAYS.match(text):
            after[name].append(following)
    reached = {name for following in after.values() for name in following}
    after[ENTRY] = [names[0], *(name for name in names[1:] if name not in reached)]
    return blocks, after


def depth_first(after: dict[int, list[int]]) -> tuple[list[int], dict[int, list[int]]]:
    """Blocks in reverse postorder, and which blocks come before each."""
    done: list[int] = []
    seen = {ENTRY}
    path = [(ENTRY, iter(after[ENTRY]))]
    while path:
        block, following = path[-1]
        for name in following:
            if name not in seen:
                seen.add(name)
                path.append((name, iter(after[name])))
                break
        else:
            done.append(block)
            path.pop()
    before: dict[int, list[int]] = defaultdict(list)
    for block in done:
        for name in after[block]:
            before[name].append(block)
    return done[::-1], before


def dominators(order: list[int], before: dict[int, list[int]]) -> dict[int, int]:
    """The last block that every way to a block passes (Cooper, Harvey & Kennedy, "A simple, fast dominance
    algorithm", 2001)."""
    number = {block: index for index, block in enumerate(order)}
    dominator = {ENTRY: ENTRY}
    changed = True
    while changed:
        changed = False
        for block in order[1:]:
            candidates = [name for name in before[block] if name in dominator]
            common = candidates[0]
            for other in candidates[1:]:
                while common != other:
                    if number[other] > number[common]:
                        other = dominator[other]
                    else:
                        common = dominator[common]
            if dominator.get(block) != common:
                dominator[block], changed = common, True
    return dominator
