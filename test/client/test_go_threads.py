"""Goroutines as threads: who is listed, in which state, with which frames - against what the program says of itself, over
releases of Go and ways to build."""
import os
import re
import signal

import pytest

from harness import process, where
from harness.gdb import GdbError

pytestmark = pytest.mark.stopgo_only("goroutines are threads")

MODES = {
    "plain": {},
    "stripped": {"flags": ("-ldflags=-s -w",)},
    "noopt": {"flags": ("-gcflags=all=-N -l",)},
    "pie": {"flags": ("-buildmode=pie",)},
    "pie-stripped": {"flags": ("-buildmode=pie", "-ldflags=-s -w")},
    "cgo": {"cgo": True},
    "cgo-pie": {"cgo": True, "flags": ("-buildmode=pie",)},
    "cgo-static": {"cgo": True, "flags": ("-ldflags=-linkmode=external -extldflags=-static",)},
    "cgo-stripped": {"cgo": True, "flags": ("-ldflags=-s -w",)},
}
# One of each kind where time is short: the releases that differ most and the ways that hide most.
QUICK = {("go1.19", "plain"), ("go1.27", "stripped"), ("go1.27", "pie-stripped"), ("go1.24", "cgo"), ("go1.27", "cgo-static")}


def built(programs, release, mode):
    how = {"flags": (), **MODES[mode]}
    return programs.go("go/states", release, tag="-" + mode, package=".", **how)


class Own:
    """A goroutine as the program's own traceback shows it."""

    def __init__(self, text):
        head = re.match(r"goroutine (\d+) (?:gp=\S+ m=\S+ (?:mp=\S+ )?)?\[([^\]]*)\]", text)
        self.goid = int(head.group(1))
        parts = head.group(2).split(", ")
        self.state = parts[0].replace(" (scan)", "")
        self.locked = "locked to thread" in parts
        self.functions = [_plain(row.rsplit("(", 1)[0]) for row in text.split("\n")[1:]
                          if row and not row.startswith(("\t", "created by", "labels"))]


def _plain(name):
    return re.sub(r"\[.*\]$", "", name.replace("[...]", ""))


def states_of(debuggee, program):
    """(process, {id: Own}) of a running states program."""
    running = debuggee(program)
    assert running.readline().startswith("ready")
    running.tell("dump\n")
    text = []
    while not text or text[-1] != "end":
        text.append(running.readline())
    dump = "\n".join(text[:-1])
    # The spare one of a C thread that has called Go is nobody's while the thread is in C.
    every_one = map(Own, re.split(r"\n\n", dump.strip()))
    return running, {own.goid: own for own in every_one if own.functions != ["runtime.goexit"]}


def server_list(gdb, words="-t 100"):
    """{id: (state, [functions])} of monitor goroutines -t."""
    found = {}
    for row in gdb.monitor("goroutines " + words).split("\n"):
        head = re.match(r"[* ] Goroutine (\d+) - .*? \[([^\]]*)\]( \(thread \d+\))?", row)
        frame = re.match(r"\t\d+  0x[0-9a-f]+ in (.*)$", row)
        if head:
            found[int(head.group(1))] = (head.group(2), [])
        elif frame:
            found[list(found)[-1]][1].append(_plain(frame.group(1).replace(" (inlined)", "")))
    return found


def frames_match(ours, own, in_syscall):
    """The program prints no frames of the runtime around the user's, not what the compiler wraps around `go f(x)`, and not
    the middle of a long stack; in a system call it begins where the call was announced."""
    visible = [name for name in ours if not name.startswith(("runtime.", "_cgoexp_"))]
    theirs = [name for name in own if not name.startswith("runtime.")]
    gap = next((i for i, name in enumerate(theirs) if "elided" in name), None)
    last = theirs[-1] if gap is None or gap + 1 < len(theirs) else None
    if last and visible[-1] != last and re.search(r"\.(func|gowrap)\d+$", visible[-1]):
        visible.pop()
    if gap is not None:
        tail = theirs[gap + 1:]
        return visible[:gap] == theirs[:gap] and visible[len(visible) - len(tail):] == tail
    return visible == theirs or (in_syscall and visible[-len(theirs):] == theirs)


def os_threads(gdb, listed):
    """The OS threads behind what is listed."""
    running = {int(tid) for tid in re.findall(r"\(thread (\d+)\)", gdb.monitor("goroutines"))}
    return running | {goid - (1 << 30) for goid in listed if goid >= 1 << 30}


def attached(serve, new_gdb, running, program):
    server = serve.attach(running.pid)
    gdb = new_gdb(program)
    gdb.cli("set print thread-events off")
    gdb.connect(server)
    return gdb


def every():
    for release in where.GO_RELEASES:
        for mode in MODES:
            marks = [pytest.mark.quick] if (release, mode) in QUICK else []
            yield pytest.param(release, mode, id=f"{release}-{mode}", marks=marks)


@pytest.mark.gdbs("gdb13")
@pytest.mark.parametrize("release, mode", every())
def test_every_goroutine_as_the_program_shows_it(serve, new_gdb, programs, debuggee, release, mode):
    program = built(programs, release, mode)
    running, own = states_of(debuggee, program)
    gdb = attached(serve, new_gdb, running, program)
    found = server_list(gdb)
    assert sorted(found) == sorted(own), gdb.monitor("go")
    for goid, theirs in own.items():
        state, functions = found[goid]
        words = state.split(", ")
        # The one that wrote the dump reads its input by now, and the one that spins may be anywhere.
        if goid != 1 and theirs.functions[0] != "main.spin":
            assert words[0] == theirs.state, (goid, state)
            assert ("locked to thread" in words) == theirs.locked
            assert frames_match(functions, theirs.functions, words[0] == "syscall"), (functions, theirs.functions)
    listed = {}
    for row in gdb.threads().values():
        match = re.match(r"Thread \d+\.(\d+)", row["target-id"])
        listed[int(match.group(1))] = row
    assert sorted(goid for goid in listed if goid < 1 << 30) == sorted(own)
    for goid, row in listed.items():
        if goid in own and goid != 1 and own[goid].functions[0] != "main.spin":
            assert row["details"].startswith(own[goid].state), row
    # Every OS thread is there: as the goroutine it runs, or as one that runs none.
    assert {int(tid) for tid in os.listdir(f"/proc/{running.pid}/task")} == os_threads(gdb, listed)
    others = [row["details"] for goid, row in listed.items() if goid >= 1 << 30]
    assert all(detail.startswith(("C thread", "C code", "runtime, for", "signal", "vdso", "no goroutine", "the runtime's own"))
               for detail in others)
    names = [row.get("name", "") for goid, row in listed.items() if goid >= 1 << 30]
    assert names.count("sysmon") == 1
    assert all(re.match(r"(idle|scheduler) M\d+$|sysmon$|template thread$", name)
               for name, detail in zip(names, others) if detail.startswith("no goroutine")), names
    if "cgo" in mode:
        assert sum(detail == "C thread" for detail in others) >= 1
        assert sum(detail.startswith("C code called by goroutine") for detail in others) == 1
    gdb.detach()
    assert process.changed_text(running.pid) == []
    running.tell("quit\n")
    assert running.result() == 0


@pytest.mark.parametrize("release", ["go1.19", "go1.27"])
def test_backtraces_of_parked_goroutines_in_gdb(serve, new_gdb, programs, debuggee, release):
    """gdb's own backtrace of each thread ends where the goroutine began and shows the user's frames."""
    program = built(programs, release, "plain")
    running, own = states_of(debuggee, program)
    gdb = attached(serve, new_gdb, running, program)
    for number, row in gdb.threads().items():
        goid = int(re.match(r"Thread \d+\.(\d+)", row["target-id"]).group(1))
        if goid not in own or goid == 1 or own[goid].functions[0] == "main.spin":
            continue
        gdb.thread(number)
        names = [_plain(name or "") for name in gdb.bt()]
        assert "runtime.goexit" in names
        for name in own[goid].functions:
            assert name in names or "elided" in name, (goid, name, names)
    gdb.detach()


@pytest.mark.gdbs("gdb13")
@pytest.mark.parametrize("mode", [pytest.param("plain", marks=pytest.mark.quick), "cgo"])
def test_a_busy_program_stopped_again_and_again(serve, new_gdb, programs, debuggee, mode):
    """Goroutines start and end, the collector runs, C threads do their own: each list is complete and agrees with itself."""
    program = built(programs, where.newest_go(), mode)
    running, _ = states_of(debuggee, program)
    running.tell("busy 20\n")
    assert running.readline().startswith("busy")
    gdb = attached(serve, new_gdb, running, program)
    for _ in range(100):
        gdb.cont()
        gdb.interrupt()
        stop = gdb.expect_signal("SIGINT")
        ids = [int(re.match(r"Thread \d+\.(\d+)", row["target-id"]).group(1)) for row in gdb.threads().values()]
        assert len(ids) == len(set(ids))
        goroutines = {goid for goid in ids if goid < 1 << 30}
        assert goroutines == set(server_list(gdb, ""))
        assert {int(tid) for tid in os.listdir(f"/proc/{running.pid}/task")} == os_threads(gdb, ids)
        assert 1 in goroutines and len(goroutines) >= 20
        assert str(stop.thread) in {str(number) for number in gdb.threads()}
    gdb.detach()
    assert process.is_alive(running.pid)


@pytest.mark.gdbs("gdb13")
def test_more_goroutines_than_are_listed(session, programs):
    """1,024 of 3,000; the one that stopped among them; any other by its id."""
    gdb, _ = session(programs.go("gosteps", where.newest_go()), "many", "3000")
    gdb.cli("set print thread-events off")
    gdb.break_at("main.tick")
    gdb.cont()
    gdb.expect_breakpoint_stop("main.tick")
    assert re.search(r"\d+ goroutines are not listed as threads, 1024 are", "".join(gdb.console))
    ids = {int(re.match(r"Thread \d+\.(\d+)", row["target-id"]).group(1)) for row in gdb.threads().values()}
    assert 1 in ids and len([goid for goid in ids if goid < 1 << 30]) == 1024
    text = gdb.monitor("goroutines")
    assert re.search(r"\[300\d goroutines", text)
    assert text.count("main.waiter") == 3000
    gdb.cont()
    gdb.expect_breakpoint_stop("main.tick")
    assert "not listed" not in "".join(gdb.console)
    gdb.monitor("set max-goroutines 5")
    gdb.cont()
    gdb.expect_breakpoint_stop("main.tick")
    assert len([row for row in gdb.threads().values() if int(row["target-id"].split(".")[1].split()[0]) < 1 << 30]) <= 6
    gdb.kill()


def document(rsp, name):
    """An object read in pieces, whole."""
    text = b""
    while True:
        part = rsp.ask(f"qXfer:{name}:read::{len(text):x},4000")
        text += part[1:]
        if part[:1] == b"l":
            return text.decode()
        assert part[:1] == b"m"


def listed(rsp):
    """The goroutines that the list has."""
    ids = (int(tid, 16) for tid in re.findall(r'<thread id="p\w+\.(\w+)"', document(rsp, "threads")))
    return {goid for goid in ids if goid < 1 << 30}


@pytest.mark.gdbs("gdb13")
def test_the_list_that_nobody_asked_for_is_short(serve, new_rsp, programs):
    """gdb reads it at each stop: of more than can be listed those it has and that live; all 1,024 when it is asked again."""
    server = serve.launch(programs.go("gosteps", where.newest_go()), "many", "3000")
    rsp = new_rsp(server)
    rsp.ask("qSupported:multiprocess+;swbreak+;xmlRegisters=i386;vContSupported+;qXfer:threads:read+")
    rsp.ask("?")
    assert listed(rsp) == listed(rsp) == listed(rsp) == {1}
    tick = programs.symbol(server.command[-3], "main.tick")
    assert rsp.ask(f"Z0,{tick:x},1") == b"OK"

    def go():
        rsp.send("vCont;c")
        while rsp.receive()[:1] == b"O":
            pass
    go()
    few = listed(rsp)
    assert 1 in few and 50 <= len(few) <= 110
    go()
    assert few == listed(rsp)
    many = listed(rsp)
    assert len(many) == 1024 and few <= many
    for _ in range(3):
        go()
        assert many == listed(rsp)
    rsp.send("k")
    rsp.close()


def test_none_of_many_is_said_to_have_ended(session, programs):
    gdb, _ = session(programs.go("gosteps", where.newest_go()), "many", "3000")
    gdb.cli("set print thread-events on")
    gdb.break_at("main.tick")
    gdb.cont()
    gdb.expect_breakpoint_stop("main.tick")
    said = ""
    for turn in range(12):
        if turn == 6:
            assert len(gdb.threads()) >= 1024
        gdb.step("next")
        said += "".join(gdb.console)
        if gdb.bt()[0] != "main.tick":
            gdb.cont()
            gdb.expect_breakpoint_stop("main.tick")
    assert "exited" not in said
    gdb.kill()


def test_views_by_choice(session, programs):
    gdb, _ = session(programs.go("calls", where.newest_go()), options=("--once", "--threads=os"))
    gdb.run_to("main.add")
    assert "Thread" in gdb.cli("info threads") and "main.main" not in gdb.cli("info threads").split("Frame")[0]
    assert all("details" not in row for row in gdb.threads().values())
    assert "threads are goroutines" in gdb.monitor("set threads goroutines")
    number = next(number for number, row in gdb.threads().items() if row.get("name") == "main.main")
    gdb.thread(number)
    gdb.step("stepi", func="main.add")
    assert "threads are OS threads" in gdb.monitor("set threads os")
    rows = gdb.threads()
    gdb.thread(max(rows))
    assert "details" not in rows[max(rows)]
    with pytest.raises(GdbError):
        gdb.monitor("set threads fibres")
    gdb.kill()


def test_step_by_the_name_of_the_other_view(session, programs):
    """Right after the change gdb steps by the name it knows, and no preemption leads it away."""
    gdb, server = session(programs.go("calls", where.newest_go()))
    gdb.run_to("main.add")
    for view in ("os", "goroutines"):
        assert "threads are" in gdb.monitor("set threads " + view)
        for tid in process.tasks(server.inferior):
            process.signal_thread(server.inferior, tid, signal.SIGURG)
        gdb.step("stepi", func="main.add")
    gdb.kill()


@pytest.mark.gdbs("gdb13")
def test_interrupt_shows_a_goroutine(serve, new_gdb, programs, debuggee):
    """A program most of whose goroutines wait: one of the user's is shown, not an idle OS thread."""
    program = built(programs, "go1.19", "plain")
    running, _ = states_of(debuggee, program)
    gdb = attached(serve, new_gdb, running, program)
    for _ in range(5):
        gdb.cont()
        gdb.interrupt()
        gdb.expect_signal("SIGINT")
        row = gdb.threads()[int(gdb.mi("-thread-info")["current-thread-id"])]
        assert row["name"].startswith("main.")
    gdb.detach()


@pytest.mark.gdbs("gdb13")
def test_a_client_that_is_nobody_gets_os_threads(serve, new_rsp, programs):
    server = serve.launch(programs.go("calls", "go1.19"))
    rsp = new_rsp(server)
    assert rsp.ask("qfThreadInfo") == b"m%x" % server.inferior
    rsp.close()


@pytest.mark.gdbs("gdb13")
def test_ids_over_the_wire(serve, new_rsp, programs):
    """T, H, qC, qThreadExtraInfo, g and P by goroutine id, of one that waits and one that never was."""
    server = serve.launch(programs.go("gosteps", "go1.19"), "many", "3")
    rsp = new_rsp(server)
    rsp.ask("qSupported:multiprocess+;swbreak+;xmlRegisters=i386;vContSupported+")
    tick = programs.symbol(server.command[-3], "main.tick")
    assert rsp.ask(f"Z0,{tick:x},1") == b"OK"
    stop = rsp.ask("vCont;c")
    pid = server.inferior
    assert b"thread:p%x.1;" % pid in stop
    assert rsp.ask("qC") == b"QCp%x.1" % pid
    ids = rsp.ask("qfThreadInfo")[1:].split(b",")
    goroutines = [thread.decode() for thread in ids if int(thread.split(b".")[1], 16) < 1 << 30]
    assert len(goroutines) == 4
    waiting = goroutines[-1]
    assert rsp.ask("T" + waiting) == b"OK"
    assert rsp.ask(f"Tp{pid:x}.7777777") == b"E01"
    assert b"chan receive" in bytes.fromhex(rsp.ask("qThreadExtraInfo," + waiting).decode())
    assert rsp.ask("Hg" + waiting) == b"OK"
    registers = rsp.ask("g").decode()
    assert registers.startswith("x" * 96) and "x" not in registers[7 * 16:8 * 16] + registers[16 * 16:17 * 16]
    assert rsp.ask("P0=0000000000000000") == b"E01"
    assert rsp.ask(f"Hgp{pid:x}.1") == b"OK"
    value = registers[0:16]
    assert rsp.ask("p0") != value.encode()
    assert rsp.ask("vCont;s:" + waiting)[:3] == b"T05"
    rsp.send("k")
    rsp.close()
