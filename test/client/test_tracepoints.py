"""Trace experiments: gdb's tracepoints, which collect while the program runs. Each session also with gdbserver, for comparison."""
import os
import re
import shutil
import signal

import pytest

from harness import process, wait, where
from harness.gdb import GdbError
from harness.programs import at
from harness.server import Stopgo

SERVERS = ["tested", "gdbserver"]


@pytest.fixture(params=SERVERS)
def launch(request, made):
    """launch(program, …): the server under test or gdbserver, with the program."""
    path = None
    if request.param == "gdbserver":
        path = shutil.which("gdbserver")
        if not path or where.is_peer():
            pytest.skip("gdbserver is not installed (tools/setup), or is what is tested")

    def start(program, *args, options=("--once",)):
        server = made.add(Stopgo([*options, "127.0.0.1:0", program, *args], **({"path": path} if path else {})))
        server.is_gdbserver = bool(path) or where.is_peer()
        return server
    return start


@pytest.fixture
def script(tmp_path):
    """script(gdb, text): commands of several lines, which gdb reads from a file."""
    def run(gdb, text):
        file = tmp_path / "commands"
        file.write_text(text)
        gdb.cli(f"source {file}")
    return run


def frames(gdb):
    """How many are collected, by tstatus."""
    return int(re.search(r"Collected (\d+) trace frame", gdb.cli("tstatus")).group(1))


def tpnum(gdb):
    return gdb.value("$tpnum")


def tfind(gdb, what=""):
    """The frame's number; None: there is none."""
    try:
        gdb.cli(f"tfind {what}")
    except GdbError as error:
        assert "failed to find" in str(error), error
        return None
    number = gdb.value("$trace_frame")
    return None if number < 0 else number


def unavailable(gdb, expression):
    return "<unavailable>" in gdb.cli(f"output {expression}")


def begin_calls(gdb, server, script):
    """A tracepoint at each call of add() with a > 2: arguments, a global, the number of hits and three steps."""
    gdb.connect(server)
    gdb.run_to("main")
    gdb.cli("tvariable $seen = 100")
    gdb.cli("trace add if a > 2")
    script(gdb, "actions\ncollect $args, $regs, counter\nteval $seen = $seen + 1\ncollect $seen\n"
                "while-stepping 3\ncollect $regs\nend\nend\n")
    gdb.cli("set trace-notes calls of add")
    gdb.cli("tstart")
    return tpnum(gdb)


def check_calls(gdb):
    """What the frames hold, of a live server or a file."""
    seen, frame = [], tfind(gdb, "start")
    while frame is not None:
        if not gdb.cli("output counter").startswith("<unavailable>"):   # else it is one of the steps
            seen.append((gdb.value("a"), gdb.value("counter"), gdb.value("$seen")))
        frame = tfind(gdb)
    assert seen == [(a, a + 1, 98 + a) for a in range(3, 10)]


@pytest.mark.quick
def test_a_session(launch, new_gdb, programs, script, tmp_path):
    # Where it is loaded is not in the file that is saved.
    program = programs.c("basic", "nopie")
    server = launch(program)
    gdb = new_gdb(program)
    number = begin_calls(gdb, server, script)
    gdb.run_to(at("basic.c", "loop-end"))
    assert "Trace is running" in gdb.cli("tstatus")
    gdb.cli("tstop")
    text = gdb.cli("tstatus")
    assert "stopped by a tstop command" in text and "calls of add" in text
    # gdbserver also takes the steps of hits whose condition is false.
    assert frames(gdb) == 7 * 4 + (3 * 3 if server.is_gdbserver else 0)
    assert "already hit 7 times" in gdb.cli("info tracepoints")

    tfind(gdb, "start")
    assert tfind(gdb, f"tracepoint {number}") == 1 and tfind(gdb, "tracepoint 77") is None
    check_calls(gdb)
    # What was not collected is not there, but what the program's file has and cannot change.
    tfind(gdb, "0")
    assert unavailable(gdb, "global") and unavailable(gdb, "pairs[0].left")
    assert "push" in gdb.cli("x/2i add")
    assert gdb.error_of("set var counter = 1")
    # Each hit is followed by its steps, from instruction to instruction.
    places = []
    for frame in range(4 if not server.is_gdbserver else 0):
        tfind(gdb, str(frame))
        places.append(gdb.addr("$pc"))
    assert places == sorted(set(places))
    tfind(gdb, "none")
    assert gdb.value("counter") == 10
    assert tfind(gdb, "range 0, 1") is None
    tfind(gdb, "start")
    if not server.is_gdbserver:
        text = gdb.cli("tdump")
        assert "a = 3" in text and "counter = 4" in text and "$seen = 101" in text
    tfind(gdb, "none")

    file = tmp_path / "saved.tf"
    gdb.cli(f"tsave {file}")
    gdb.kill()
    reader = new_gdb(program)
    reader.cli(f"target tfile {file}")
    assert "stopped by a tstop command" in reader.cli("tstatus")
    check_calls(reader)


def test_passes_and_a_small_buffer(launch, new_gdb, programs, script):
    """A pass count ends the run, so does a buffer that is full; a circular one keeps the newest."""
    program = programs.c("basic")
    server = launch(program)
    gdb = new_gdb(program)
    gdb.connect(server)
    gdb.run_to("main")
    gdb.cli("trace add")
    gdb.cli("passcount 4")
    script(gdb, "actions\ncollect a\nend\n")
    gdb.cli("tstart")
    gdb.run_to(at("basic.c", "loop-end"))
    assert f"Trace stopped by tracepoint {tpnum(gdb)}" in gdb.cli("tstatus")
    assert frames(gdb) == 4 and tfind(gdb, "3") == 3 and gdb.value("a") == 3
    tfind(gdb, "none")
    gdb.cli("passcount 0")
    gdb.cli("trace depth")
    script(gdb, "actions\ncollect n, area[0]@300\nend\n")
    gdb.cli("set trace-buffer-size 6000")
    gdb.cli("tstart")
    gdb.run_to(at("basic.c", "main-swap"))
    # gdbserver 13 says that there is less of such a small one than it has collected.
    assert server.is_gdbserver or "buffer was full" in gdb.cli("tstatus")
    gdb.kill()


def test_circular(launch, new_gdb, programs, script):
    program = programs.c("basic")
    gdb = new_gdb(program)
    gdb.connect(launch(program))
    gdb.run_to("main")
    gdb.cli("trace depth")
    script(gdb, "actions\ncollect n, area[0]@300\nend\n")
    gdb.cli("set circular-trace-buffer on")
    gdb.cli("set trace-buffer-size 6000")
    gdb.cli("tstart")
    gdb.run_to(at("basic.c", "main-swap"))
    gdb.cli("tstop")
    text = gdb.cli("tstatus")
    # Calls of depth() are with 5 to 0; a frame is of some 2,800 bytes, most of them registers.
    kept = int(re.search(r"contains (\d) trace frames \(of 6 created total\)", text).group(1))
    assert 1 <= kept <= 2, text
    for n in range(kept):
        assert tfind(gdb, str(n)) == n and gdb.value("n") == kept - 1 - n
    assert tfind(gdb) is None
    gdb.kill()


def trace_disconnected(gdb, script):
    """work()'s arguments are collected, whether a client is there or not; returns the program's pid and the address of a word that grows."""
    gdb.run_to("work")
    gdb.cli("trace work")
    script(gdb, "actions\ncollect $args\nend\n")
    gdb.cli("set disconnected-tracing on")
    gdb.cli("set circular-trace-buffer on")
    gdb.cli("tstart")
    return gdb.pid(), gdb.addr("&progress[0]")


def assert_goes_on(pid, calls):
    before = process.word(pid, calls)
    wait.until(lambda: process.word(pid, calls) > before + 100, "calls of work()")


def test_goes_on_without_its_client(launch, new_gdb, programs, script):
    """The client is gone, the program runs and is traced; the next one is told of everything."""
    program = programs.c("threads")
    server = launch(program, "2", options=())
    if server.is_gdbserver:
        pytest.skip("gdbserver 13 does not answer the next client when the first vanished while the program ran")
    gdb = new_gdb(program)
    gdb.connect(server)
    pid, calls = trace_disconnected(gdb, script)
    gdb.cont()

    assert_goes_on(pid, calls)
    gdb.vanish()
    assert_goes_on(pid, calls)

    other = new_gdb(program)
    other.connect(server)
    text = other.cli("tstatus")
    assert "Trace is running" in text and "continue if GDB disconnects" in text
    assert re.search(r"in work .*\n(.*\n)*.*collect \$args", other.cli("info tracepoints"))
    other.cli("tstop")
    assert tfind(other, "0") == 0
    assert 0 <= other.value("index") < 2 and other.value("call") >= 0
    tfind(other, "none")
    other.kill()


@pytest.mark.stopgo_only("gdbserver says other things")
def test_detaching_leaves_it_traced(session, new_gdb, programs, script):
    program = programs.c("threads")
    gdb, server = session(program, "2", options=())
    pid, calls = trace_disconnected(gdb, script)
    gdb.detach()
    server.err.find("Disconnected tracing in effect")
    assert_goes_on(pid, calls)
    other = new_gdb(program)
    other.connect(server)
    other.cli("tstop")
    assert tfind(other, "0") == 0 and other.value("call") >= 0
    tfind(other, "none")
    other.kill()


@pytest.fixture
def detached(serve, new_gdb, programs, script):
    """A session of many programs, one of which it has let go of to be traced on: (gdb, its pid, where its calls are counted)."""
    program = programs.c("threads")
    server = serve("--multi", "127.0.0.1:0")
    gdb = new_gdb(program)
    gdb.connect(server, extended=True)
    gdb.cli(f"set remote exec-file {program}")
    gdb.cli("set args 2")
    gdb.break_at("main")
    gdb.resume("run")
    gdb.expect_breakpoint_stop("main")
    pid, calls = trace_disconnected(gdb, script)
    gdb.detach()
    return gdb, server, pid, calls


@pytest.mark.stopgo_only("gdbserver 13 lists the process to the client that has let go of it")
def test_detaching_leaves_it_traced_at_once(detached, new_gdb):
    """Connected or not, standing or running another program: what was let go of runs on, is traced on, and dies as it would."""
    gdb, server, pid, calls = detached
    assert_goes_on(pid, calls)
    gdb.resume("run")
    gdb.expect_breakpoint_stop("main")
    other = gdb.pid()
    assert other != pid
    for _ in range(6):
        gdb.step()
    gdb.run_to("all_ready")
    assert_goes_on(pid, calls)
    assert "Trace is running" in gdb.cli("tstatus")
    os.kill(pid, signal.SIGTERM)
    wait.until(lambda: not process.is_alive(pid), "the end of what was let go of")
    # The kernel tells us before it tells the server.
    wait.until(lambda: "the process has ended" in gdb.cli("tstatus"), "the end of the run")
    assert gdb.value("count") == 2
    gdb.kill()


@pytest.mark.stopgo_only("gdbserver 13 refuses to attach to it again")
def test_what_is_traced_on_is_attached_again(detached, new_gdb):
    gdb, server, pid, calls = detached
    assert_goes_on(pid, calls)
    gdb.attach(pid)
    gdb.cli("tstop")
    still = process.word(pid, calls)
    assert tfind(gdb, "0") == 0 and gdb.value("call") >= 0
    tfind(gdb, "none")
    assert process.word(pid, calls) == still
    gdb.run_to("work")
    gdb.step()
    gdb.kill()
    wait.until(lambda: not process.is_alive(pid), "the end of what was killed")


@pytest.mark.stopgo_only("gdbserver 13 lists the process to the client that has let go of it")
def test_the_next_client_finds_what_is_traced_on(detached, new_gdb, programs):
    gdb, server, pid, calls = detached
    assert_goes_on(pid, calls)
    gdb.vanish()
    assert_goes_on(pid, calls)
    other = new_gdb(programs.c("threads"))
    other.connect(server)
    assert other.pid() == pid
    other.cli("tstop")
    assert tfind(other, "0") == 0 and other.value("call") >= 0
    tfind(other, "none")
    other.kill()


@pytest.mark.stopgo_only("gdbserver refuses tracepoints it cannot make, in other words")
def test_what_cannot_be_traced_is_refused(launch, new_gdb, programs):
    program = programs.c("basic")
    gdb = new_gdb(program)
    server = launch(program)
    if server.is_gdbserver:
        pytest.skip("its words are others")
    gdb.connect(server)
    gdb.run_to("main")
    gdb.cli("trace *0x1")
    assert "nothing is mapped" in gdb.error_of("tstart")
    gdb.kill()
