"""Calls that the server traces: every way a function is left, results of every class, goroutines that end."""
import collections
import re

import pytest

from harness import where

pytestmark = pytest.mark.stopgo_only("its monitor commands")


def traced(gdb, code=0):
    """What is printed until the program has ended."""
    start = len(gdb.transcript)
    gdb.cont()
    gdb.expect_exit(code)
    return "\n".join(gdb.transcript[start:])


def test_every_way_out(session, programs):
    """A tail call's result is seen where the call came from; what is left otherwise is said to be, and not later than the next call."""
    gdb, _ = session(programs.cxx("leaves"))
    gdb.run_to("main")
    for name in ("tail", "thrower", "jumper"):
        gdb.monitor(f"trace {name}")
    said = traced(gdb)
    assert re.findall(r"< thread \d+: tail => (\d+)", said) == ["3", "6", "9"]
    assert re.findall(r"([<>]) thread \d+: (?:thrower|jumper)([^\n\\]*)", said) == [
        (">", "(n = 5)"), ("<", " was left without a return"), (">", "(n = 0)"), ("<", " => 1"),
        (">", "(n = 1)"), ("<", " was left without a return"), (">", "(n = 0)"), ("<", " => 2")]


def test_results_of_every_class(session, programs):
    gdb, _ = session(programs.cxx("leaves"))
    gdb.run_to("main")
    for name in ("small", "big", "twice", "text", "inlined"):
        gdb.monitor(f"trace {name}")
    said = traced(gdb)
    results = dict(re.findall(r"< thread \d+: (\w+) => ([^\n]*)", said))
    assert "{whole: 7, real: 3.5}" in results["small"]
    assert "{part: {9, 10, 11, 12}}" in results["big"]
    assert results["twice"].startswith("5")
    assert "_M_string_length: 3" in results["text"]
    # Both copies of what was inlined; they do not return.
    assert re.findall(r"> thread \d+: inlined\(n = (\d+)\)", said) == ["1", "11"] and "inlined" not in results


def test_every_thread_has_its_own(session, programs):
    """Many threads in one function at once: each return is of the call before it."""
    gdb, _ = session(programs.c("threads"), "6", "40")
    gdb.run_to("main")
    gdb.monitor("trace work rate 1000000")
    said = traced(gdb)
    lines = re.findall(r"([<>]) thread (\d+): work", said)
    per_thread = collections.defaultdict(str)
    for arrow, thread in lines:
        per_thread[thread] += arrow
    assert list(per_thread.values()) == ["><" * 40] * 6


@pytest.mark.parametrize("release", ["go1.19", "go1.27"])
def test_go_recovered_and_goexit(session, programs, release):
    """A function that recovers returns, as does its caller; those that a panic or Goexit ended are said to be left."""
    gdb, _ = session(programs.go("gosteps", where.tool(release) and release, tag="-plain", flags=()), "leave")
    for name in ("main.risky", "main.panics", "main.exits"):
        gdb.monitor(f"trace {name}")
    said = traced(gdb)
    assert re.findall(r"([<>]) goroutine \d+: main\.(?:risky|panics)([^\n\\]*)", said) == [
        (">", "(n = 0)"), (">", "(n = 0)"), ("<", " => 1"), ("<", " => result = 1"),
        (">", "(n = 1)"), (">", "(n = 1)"), ("<", " was left without a return"), ("<", " => result = -1")]
    assert re.findall(r"([<>]) goroutine \d+: main\.exits([^\n\\]*)", said) == [
        (">", "(n = 0)"), ("<", " => 5"), (">", "(n = 1)"), ("<", " was left without a return (runtime.Goexit)")]


def test_go_while_stacks_move(session, programs):
    """big() calls itself 20 deep and 200 deep while its stack is moved: every call returns, in order."""
    gdb, _ = session(programs.go("gosteps", where.newest_go(), tag="-plain", flags=()), "watch", "1")
    gdb.monitor("trace main.big rate 1000000")
    said = traced(gdb)
    depth = deepest = 0
    for arrow in re.findall(r"([<>]) goroutine \d+: main\.big", said):
        depth += 1 if arrow == ">" else -1
        deepest = max(depth, deepest)
        assert depth >= 0
    assert depth == 0 and deepest == 201 and "left without" not in said
