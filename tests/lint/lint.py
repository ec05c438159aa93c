#!/usr/bin/env python3
"""Checks the tree against rules.py; with --self-test first that planted violations are found.

    lint.py [--self-test] [FILE ...]     without FILE: every tracked file
Its last line is "N passed, N failed": one per check.
"""

import argparse
import io
import os
import re
import subprocess
import sys
import tempfile
import tokenize

import rules

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
CHECKS = []


def check(function):
    """A check takes (root, paths) and returns findings, "path:line: what, and what instead"."""
    CHECKS.append(function)
    return function


def run(command, root):
    return subprocess.run(command, cwd=root, capture_output=True, text=True, errors="replace", check=False)


def read(root, path):
    with open(os.path.join(root, path), errors="replace") as file:
        return file.read()


def is_c(path):
    return path.endswith((".c", ".h"))


def is_product_c(path):
    return is_c(path) and path.split("/")[0] in rules.MAY_INCLUDE


def without_comments(text, keep_strings=False):
    """C with comments (and what stands in quotes) blanked, lines kept."""
    def blank(match):
        whole = match.group(0)
        if whole[0] in "\"'":
            return whole if keep_strings else whole[0] + " " * (len(whole) - 2) + whole[-1]
        return re.sub(r"[^\n]", " ", whole)
    return re.sub(r"/\*.*?\*/|//[^\n]*|\"(?:\\.|[^\"\\\n])*\"|'(?:\\.|[^'\\\n])*'", blank, text, flags=re.S)


def includes(root, path):
    for number, line in enumerate(without_comments(read(root, path), True).split("\n"), 1):
        found = re.match(r'\s*#\s*include\s*([<"])([^>"]+)[>"]', line)
        if found:
            yield number, found.group(1), found.group(2)


def calls(root, path, names):
    """(line number, name) of each call; a member or a longer name is none."""
    pattern = re.compile(r"(?<![\w.>])(" + "|".join(names) + r")\s*\(")
    for number, line in enumerate(without_comments(read(root, path)).split("\n"), 1):
        for found in pattern.finditer(line):
            yield number, found.group(1)


@check
def pure_folders_meet_no_outside_world(root, paths):
    findings = []
    for path in filter(is_product_c, paths):
        if path.split("/")[0] not in rules.PURE:
            continue
        for number, _, header in includes(root, path):
            if any(header == bad or (bad[-1] != "h" and header.startswith(bad)) for bad in rules.IMPURE_HEADERS):
                findings.append(f"{path}:{number}: {path.split('/')[0]}/ is pure and may not include {header}")
    return findings


@check
def dependencies_point_one_way(root, paths):
    findings = []
    for path in filter(is_product_c, paths):
        folder = path.split("/")[0]
        for number, quote, header in includes(root, path):
            if quote != '"':
                continue
            if "/" not in header:
                findings.append(f'{path}:{number}: include "{header}" by its folder: "{folder}/{header}"')
            elif header.split("/")[0] not in rules.MAY_INCLUDE[folder]:
                findings.append(f"{path}:{number}: {folder}/ may not include {header}")
    return findings


@check
def no_banned_function(root, paths):
    return [f"{path}:{number}: {name} is banned, use {rules.BANNED[name]}"
            for path in filter(is_c, paths) for number, name in calls(root, path, rules.BANNED)]


@check
def memory_comes_from_base(root, paths):
    return [f"{path}:{number}: {name}: use base/memory.h, so that a test can make it fail"
            for path in filter(is_product_c, paths) if path != rules.ALLOCATOR_HOME
            for number, name in calls(root, path, rules.ALLOCATORS)]


@check
def c_is_formatted(root, paths):
    sources = [path for path in paths if is_c(path)]
    if not sources:
        return []
    done = run(["clang-format", "--dry-run", "-Werror", "--style=file", *sources], root)
    found = re.findall(r"^(?:\./)?([^\s:]+:\d+):\d+: error", done.stderr, re.M)
    worst = {}
    for place in found:
        worst.setdefault(place.split(":")[0], []).append(place)
    findings = [f"{places[0]}: {len(places)} lines not as clang-format has them: clang-format -i {path}"
                for path, places in worst.items()]
    return findings if done.returncode == 0 or findings else [f"clang-format: {done.stderr.strip()[:300]}"]


def words_of(path, text):
    """Of Python, the lines of what stands in its strings and comments: an attribute of something called proxy is no host."""
    lines = text.split("\n")
    if not path.endswith(".py"):
        return lines
    words = [""] * (len(lines) + 1)
    try:
        for token in tokenize.generate_tokens(io.StringIO(text).readline):
            if token.type in (tokenize.STRING, tokenize.COMMENT) or tokenize.tok_name[token.type] == "FSTRING_MIDDLE":
                is_format = re.match(r"\w*[fF]\w*['\"]", token.string)
                said = re.sub(r"\{[^{}\n]*\}", "{}", token.string) if is_format else token.string
                for number, line in enumerate(said.split("\n"), token.start[0] - 1):
                    words[number] += line + " "
    except (tokenize.TokenError, SyntaxError):
        return lines  # python_compiles says so
    return words


@check
def no_path_or_host_of_one_machine(root, paths):
    places, hosts = re.compile("|".join(rules.MACHINE_PATHS)), re.compile(rules.REGISTRY_HOSTS)
    findings = []
    for path in paths:
        text = read(root, path)
        if "\0" in text[:4096]:
            continue
        for number, (line, words) in enumerate(zip(text.split("\n"), words_of(path, text)), 1):
            found = places.search(line) or hosts.search(words)
            if found:
                findings.append(f"{path}:{number}: names one machine's path or host: {found.group(0)}")
    return findings


@check
def shell_parses(root, paths):
    findings = []
    for path in paths:
        if re.match(r"#!.*\b(ba)?sh\b", read(root, path)[:64]):
            done = run(["bash", "-n", path], root)
            if done.returncode:
                findings.append(f"{path}: {done.stderr.strip()}")
    return findings


@check
def python_compiles(root, paths):
    findings = []
    for path in paths:
        if path.endswith(".py"):
            try:
                compile(read(root, path), path, "exec")
            except SyntaxError as error:
                findings.append(f"{path}:{error.lineno}: {error.msg}")
    return findings


@check
def links_in_documents_lead_somewhere(root, paths):
    findings = []
    for path in paths:
        if not path.endswith(".md"):
            continue
        text = re.sub(r"```.*?```", lambda m: "\n" * m.group(0).count("\n"), read(root, path), flags=re.S)
        for number, line in enumerate(text.split("\n"), 1):
            for target in re.findall(r"\]\(([^)\s]+)\)", line):
                if re.match(r"[a-z]+:", target) or target.startswith("#"):
                    continue
                place = os.path.normpath(os.path.join(root, os.path.dirname(path), target.split("#")[0]))
                if not os.path.exists(place):
                    findings.append(f"{path}:{number}: link to {target}, which does not exist")
    return findings


def long_functions(root, paths):
    """Listed for discussion. A body is what stands between a brace in column 0 and the next one."""
    for path in filter(is_product_c, paths):
        start = None
        for number, line in enumerate(read(root, path).split("\n"), 1):
            if line == "{":
                start = number
            elif line == "}" and start:
                if number - start - 1 > rules.FUNCTION_LINES_MAX:
                    yield f"{path}:{start}: function of {number - start - 1} lines"
                start = None


PROXY = "pro" + "xy"  # in pieces, so that this file is not a finding itself

# Check -> a file that it must find fault with, and one that it must let pass.
PLANTED = {
    "pure_folders_meet_no_outside_world": (
        ("store/a.c", "#include <time.h>\n"), ("store/a.c", "/* #include <time.h> */\n#include <string.h>\n")),
    "dependencies_point_one_way": (
        ("store/a.c", '#include "rpc/rpc.h"\n'), ("rpc/a.c", '#include "store/txn.h"\n')),
    "no_banned_function": (
        ("rpc/a.c", "    strcpy(a, b);\n"), ("rpc/a.c", '    gmtime_r(a, b); x->rand(); say("system(1)");\n')),
    "memory_comes_from_base": (
        ("cli/a.c", "    p = malloc(4);\n"), ("base/memory.c", "    p = malloc(4);\n")),
    "c_is_formatted": (
        ("base/a.c", "int  f (void) {\n  return 1; }\n"), ("base/a.c", "int f(void)\n{\n    return 1;\n}\n")),
    "no_path_or_host_of_one_machine": (
        ("a.py", f"b = '{PROXY}.example.org'\n"),
        ("a.py", f"{PROXY}.requests.append(f'/var/lib/{{{PROXY}.to.port}}')\n")),
    "shell_parses": (("a", "#!/usr/bin/env bash\nif true; then\n"), ("a", "#!/bin/sh\ntrue\n")),
    "python_compiles": (("a.py", "def f(:\n"), ("a.py", "def f(): pass\n")),
    "links_in_documents_lead_somewhere": (("a.md", "[x](b.md)\n"), ("a.md", "[x](a.md) [y](https://x.org)\n")),
}


def self_test():
    """One finding per check that misses its planted violation or finds one where there is none."""
    missed = []
    for function in CHECKS:
        for (path, text), should_find in zip(PLANTED[function.__name__], (True, False)):
            with tempfile.TemporaryDirectory() as root:
                os.makedirs(os.path.join(root, os.path.dirname(path)), exist_ok=True)
                with open(os.path.join(root, path), "w") as file:
                    file.write(text)
                with open(os.path.join(ROOT, ".clang-format")) as style, \
                        open(os.path.join(root, ".clang-format"), "w") as copy:
                    copy.write(style.read())
                found = function(root, [path])
            if bool(found) != should_find:
                missed.append(f"{function.__name__}: {'missed' if should_find else 'wrongly found'} in {text!r}")
    return missed


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--self-test", action="store_true", help="first prove that the checks find something")
    parser.add_argument("files", nargs="*", metavar="FILE")
    options = parser.parse_args()
    paths = options.files
    if not paths:
        listed = run(["git", "-c", "safe.directory=*", "ls-files"], ROOT)
        paths = [path for path in listed.stdout.split("\n") if path and os.path.isfile(os.path.join(ROOT, path))]
        if not paths:
            sys.exit(f"lint: git lists no file: {listed.stderr.strip()}")
    passed = failed = 0
    verdicts = [(f.__name__, f(ROOT, paths)) for f in CHECKS if f.__name__ not in rules.PENDING]
    if options.self_test:
        verdicts.insert(0, ("planted_violations_are_found", self_test()))
        import wrong_include  # a compiler run, so only with the self-test
        verdicts.append(("a_wrong_include_does_not_compile", wrong_include.findings(ROOT)))
    for name, findings in verdicts:
        print(f"{'FAIL' if findings else 'ok  '} {name}")
        for finding in findings:
            print("     " + finding)
        passed, failed = passed + (not findings), failed + bool(findings)
    for note in long_functions(ROOT, paths):
        print("note " + note)
    print(f"{passed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
