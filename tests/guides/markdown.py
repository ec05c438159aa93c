"""What of a guide is run: its fenced blocks of sh, all of them, in order."""
import collections
import re

#: line: of the first line of code, from 1. step: the last heading before it. yours: what stands in it is for the reader to change.
Block = collections.namedtuple("Block", "line step code yours")

YOURS = "<!-- yours -->"
_FENCE = re.compile(r"^( *)(`{3,})(\S*)\s*$")


def blocks(text):
    """The blocks of sh of a guide's text."""
    found, step, yours, fence = [], "", False, None
    for number, line in enumerate(text.splitlines(), 1):
        if fence:
            if line.strip() == fence["end"]:
                if fence["kind"] == "sh":
                    found.append(Block(fence["line"], step, "".join(fence["code"]), fence["yours"]))
                fence = None
            else:
                indent = len(line) - len(line.lstrip(" "))
                fence["code"].append(line[min(indent, fence["indent"]):] + "\n")
            continue
        opened = _FENCE.match(line)
        if opened:
            fence = {"end": opened[2], "kind": opened[3], "line": number + 1, "indent": len(opened[1]), "code": [], "yours": yours}
        elif line.startswith("#"):
            step = line.lstrip("# ").strip()
        if line.strip():
            yours = line.strip() == YOURS
    if fence:
        raise ValueError(f"line {fence['line'] - 1}: a block without an end")
    return found


def names(code):
    """The variables that a block sets for those after it."""
    return re.findall(r"^export (\w+)=", code, re.M)
