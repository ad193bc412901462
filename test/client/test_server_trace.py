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


def test_non_stop(serve, new_gdb, programs):
    """No packet comes that gdb has not asked for: the lines wait for `monitor traced`, and are in the server's output."""
    program = programs.c("basic")
    server = serve.launch(program)
    gdb = new_gdb(program, non_stop=True, mi_async=True)
    gdb.connect(server)
    gdb.run_to("main")
    assert "monitor traced" in gdb.monitor("trace depth")
    gdb.break_at("swap")
    gdb.cont()
    gdb.expect_breakpoint_stop("swap")
    said = gdb.monitor("traced")
    assert said.count("> thread") == said.count("< thread") == 6 and "depth(n = 5)" in said
    assert "nothing was traced" in gdb.monitor("traced")
    gdb.kill()
    gdb.close()
    server.out.find(r"depth\(n = 5\)")


# --- beside Delve ---

def leaf_calls_of_delve(dlv, program):
    """What Delve's own backend counts of main.leaf until the third goroutine begins; then where `% 4` stops."""
    d = dlv("exec", program, backend="native", args=["grow", "4"])
    work = d.call("CreateBreakpoint", Breakpoint={"functionName": "main.work", "HitCond": "== 3"})["Breakpoint"]
    leaf = d.call("CreateBreakpoint", Breakpoint={"functionName": "main.leaf", "HitCond": "> 1000000"})["Breakpoint"]
    d.command("continue")
    seen = d.call("GetBreakpoint", Id=leaf["id"])["Breakpoint"]
    counts = sorted(seen["hitCount"].values())
    total = seen["totalHitCount"]
    d.clear(work)
    d.clear(leaf)
    d.call("CreateBreakpoint", Breakpoint={"functionName": "main.leaf", "HitCond": "% 4", "Cond": "n != 2"})
    values = []
    for _ in range(3):
        d.command("continue")
        values.append(int(d.eval("n")))
    return total, counts, values


def leaf_calls_of_ours(session, program):
    gdb, _ = session(program, "grow", "4")
    gdb.cli("set language c")
    work = re.search(r"Breakpoint (\d+)", gdb.monitor("break main.work hits == 3")).group(1)
    leaf = re.search(r"Breakpoint (\d+)", gdb.monitor("break main.leaf hits > 1000000")).group(1)
    gdb.cont()
    gdb.expect_stop(signal="SIGTRAP")
    listed = gdb.monitor("breakpoints")
    row = re.search(rf"^{leaf} +break +(\d+) .*?hits by goroutine:([^\n]*)", listed, re.M | re.S)
    counts = sorted(int(n) for n in re.findall(r"\d+: (\d+)", row.group(2)))
    gdb.monitor(f"delete {work}")
    gdb.monitor(f"delete {leaf}")
    gdb.monitor("break main.leaf if n != 2 hits % 4")
    values = []
    for _ in range(3):
        gdb.cont()
        gdb.expect_stop(signal="SIGTRAP")
        values.append(gdb.value("n"))
    gdb.kill()
    return int(row.group(1)), counts, values


@pytest.mark.gdbs("gdb13")
def test_hits_as_delve_counts_them(dlv, session):
    """`break`, `condition` and `condition -hitcount` on the same program: in all, by goroutine, and the same calls stop."""
    program = dlv.go("gosteps", flags=("-gcflags=all=-N -l",), tag="-delve")
    theirs, ours = leaf_calls_of_delve(dlv, program), leaf_calls_of_ours(session, program)
    assert theirs == ours and ours[0] == 14 and ours[1] == [7, 7]
