"""The same process seen by Delve's own backend and by us, one after the other: goroutines, states and frames."""
import re

import pytest

from harness import process

pytestmark = pytest.mark.stopgo_only("goroutines")

# Where a goroutine is that never stands still, reads what the test writes, or sleeps and parks as it likes.
MOVES = ("main.spin", "main.main", "runtime.bgscavenge")


def plain(name):
    return re.sub(r"\[.*\]", "", name or "?")


def seen_by_delve(d):
    """{id: (status, wait reason as a number, OS thread or 0, [(function, file, line)…])}"""
    found = {}
    for g in d.goroutines():
        stack = d.call("Stacktrace", Id=g["id"], Depth=59, Full=False)["Locations"]
        frames = [(plain((f.get("function") or {}).get("name")), f["file"], f["line"]) for f in stack]
        found[g["id"]] = (g["status"], g["waitReason"], g["threadID"], frames)
    return found


def seen_by_us(gdb):
    """The same from `monitor goroutines`: {id: (state, OS thread or 0, frames)}."""
    found = {}
    for row in gdb.monitor("goroutines -u -s -t 60").split("\n"):
        head = re.match(r"[* ] Goroutine (\d+) - .*? \[([^\]]*(?:\([^)]*\)[^\]]*)?)\](?: \(thread (\d+)\))?", row)
        frame = re.match(r"\t\d+  0x[0-9a-f]+ in (.*?)(?: \(inlined\))?$", row)
        place = re.match(r"\t    at (.*):(\d+)$", row)
        if head:
            frames = []
            found[int(head.group(1))] = (head.group(2), int(head.group(3) or 0), frames)
        elif frame:
            frames.append((plain(frame.group(1)), "?", -1))
        elif place:
            frames[-1] = (frames[-1][0], place.group(1), int(place.group(2)))
    return found


STATUS = {1: "runnable", 2: "running", 3: "syscall", 9: "preempted"}
WAITING = 4


@pytest.mark.gdbs("gdb13")
@pytest.mark.parametrize("how", [{}, {"flags": (), "tag": "-opt"}], ids=["plain", "optimised"])
def test_as_delve_sees_it(dlv, serve, new_gdb, debuggee, how):
    program = dlv.go("go/states", package=".", **how)
    running = debuggee(program)
    assert running.readline().startswith("ready")
    # The runtime's own goroutines are all there after that.
    running.tell("gc\n")
    assert running.readline() == "gc"

    d = dlv("attach", running.pid, backend="native")
    theirs = seen_by_delve(d)
    d.detach(False)
    assert process.tracer(running.pid) == 0

    gdb = new_gdb(program)
    gdb.connect(serve.attach(running.pid))
    ours = seen_by_us(gdb)
    gdb.detach()

    assert sorted(ours) == sorted(theirs)
    reasons = {}
    for goid, (status, reason, thread, frames) in theirs.items():
        state, tid, mine = ours[goid]
        words = [word.strip() for word in state.split(",")]
        if goid == 1 or any(name in MOVES for name, _, _ in frames):
            continue
        if status == WAITING:
            # Numbers of reasons are the release's own: one name for each and the other way round.
            assert reasons.setdefault(reason, words[0]) == words[0], (goid, reason, state)
        else:
            assert words[0] == STATUS[status], (goid, status, state)
            assert tid == thread
        # What Delve shows of code outside Go has no names: the rest is the same, frame by frame.
        known = [frame for frame in frames if frame[0] != "?"]
        assert [frame[0] for frame in mine[:len(known)]] == [frame[0] for frame in known], goid
        # The innermost frame's saved pc is a return address: Delve shows the line behind the call, the runtime and we the call's.
        assert mine[1:len(known)] == known[1:], goid
    assert len(set(reasons.values())) == len(reasons) >= 8
    running.tell("quit\n")
    assert running.result() == 0
