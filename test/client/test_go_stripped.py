"""Stripped Go programs with no file on the client's side: the server hands out what it makes of the function table."""
import os
import re
import struct
import subprocess

import pytest

from harness import where
from harness.programs import at, line

SOURCE = "gosteps/main.go"
MODES = {
    "plain": ("-ldflags=-s -w",),
    "pie": ("-buildmode=pie", "-ldflags=-s -w"),
}

pytestmark = pytest.mark.stopgo_only("symbols of stripped programs")


@pytest.fixture(params=["go1.19", "newest"])
def release(request):
    if request.param == "newest":
        if where.newest_go() == "go1.19":
            pytest.skip("no Go newer than 1.19 is there (tools/toolchains)")
        return where.newest_go()
    return request.param


@pytest.fixture(params=sorted(MODES))
def stripped(request, programs, release):
    return programs.go("gosteps", release, flags=MODES[request.param], tag="-stripped-" + request.param)


@pytest.fixture
def bare(serve, new_gdb):
    """bare(program, args…): a gdb that was given no file, and the server."""
    def start(program, *args):
        server = serve.launch(program, *args)
        gdb = new_gdb()
        gdb.connect(server)
        return gdb, server
    return start


def goroutine(gdb):
    return int(gdb.cli("python print(gdb.selected_thread().ptid[1] or gdb.selected_thread().ptid[2])"))


@pytest.mark.quick
def test_names_lines_and_steps(bare, stripped):
    """break by function and by line, backtraces with both, next over a call that grows the stack, finish."""
    gdb, _ = bare(stripped, "grow", "20")
    gdb.break_at("main.work")
    gdb.cont()
    stop = gdb.expect_breakpoint_stop("main.work")
    assert "symbol-file" not in "".join(gdb.console)
    frames = gdb.frames()
    assert frames[0]["file"].endswith("main.go") and frames[0]["line"].isdigit()
    assert [frame["func"] for frame in frames][-1] == "runtime.goexit"
    assert any(frame["func"].startswith("main.main") for frame in frames[1:-1])
    gdb.delete()
    gdb.break_at(at(SOURCE, "grow"))
    gdb.cont()
    for _ in range(10):
        stop = gdb.expect_breakpoint_stop("main.work")
        assert stop.line == line(SOURCE, "grow")
        before = goroutine(gdb)
        stop = gdb.step("next", func="main.work")
        assert stop.line == line(SOURCE, "grown") and goroutine(gdb) == before
        gdb.cont()
    gdb.expect_breakpoint_stop("main.work")
    gdb.delete()
    gdb.run_to("main.leaf")
    before = goroutine(gdb)
    gdb.resume("finish")
    assert gdb.expect_stop("function-finished").func == "main.middle" and goroutine(gdb) == before
    names = {gdb.mi(f"-stack-list-frames --thread {number}")["stack"][-1]["func"] for number in gdb.threads()}
    assert names == {"runtime.goexit"} or "runtime.goexit" in names
    gdb.kill()


def test_a_gdb_that_has_the_stripped_file(session, stripped):
    """It reads no other unasked: it is told once what to type, and that works, wherever the program is."""
    gdb, _ = session(stripped, "grow", "20")
    gdb.monitor("break main.work")
    gdb.cont()
    gdb.expect_stop("signal-received")
    hint = re.search(r"no debug information.*: (symbol-file target:\S+)", "".join(gdb.console))
    assert hint and hint.group(0) in gdb.monitor("go") and gdb.bt()[0] != "main.work"
    gdb.cont()
    gdb.expect_stop("signal-received")
    assert hint.group(1) not in "".join(gdb.console)
    gdb.monitor("delete all")
    gdb.cli(hint.group(1))
    assert "main.work" in gdb.bt()
    assert "no debug information" not in gdb.monitor("go")
    gdb.break_at(at(SOURCE, "grow"))
    gdb.cont()
    assert gdb.expect_breakpoint_stop("main.work").line == line(SOURCE, "grow")
    assert gdb.step("next", func="main.work").line == line(SOURCE, "grown")
    gdb.kill()


@pytest.mark.gdbs("gdb13")
def test_attach(serve, new_gdb, debuggee, stripped):
    """Where a position-independent program is, gdb learns from the file and the process."""
    running = debuggee(stripped, "many", "3")
    server = serve.attach(running.pid)
    gdb = new_gdb()
    gdb.connect(server)
    gdb.run_to("main.tick")
    assert gdb.bt()[:2] == ["main.tick", "main.main"]
    parked = [number for number, row in gdb.threads().items() if "main.waiter" in row.get("name", "")]
    assert len(parked) == 3
    for number in parked:
        gdb.thread(number)
        assert "main.waiter" in gdb.bt()
    gdb.detach()


class Files:
    """Files over the wire, as gdb reads them."""

    def __init__(self, rsp):
        self.rsp = rsp

    def ask(self, words):
        answer = self.rsp.ask("vFile:" + words)
        match = re.match(rb"F(-?[0-9a-f]+)(?:,([0-9a-f]+))?(?:;(.*))?$", answer, re.S)
        assert match, answer
        return int(match.group(1), 16), match.group(3)

    def open(self, path, flags=0):
        return self.ask(f"open:{path.encode().hex()},{flags:x},0")[0]

    def size(self, fd):
        return struct.unpack(">Q", self.ask(f"fstat:{fd:x}")[1][28:36])[0]

    def read(self, fd, piece=60000):
        data = b""
        while True:
            count, more = self.ask(f"pread:{fd:x},{piece:x},{len(data):x}")
            assert count == len(more or b"")
            if not count:
                return data
            data += more

    def whole(self, path):
        fd = self.open(path)
        assert fd >= 0, path
        data = self.read(fd)
        assert len(data) == self.size(fd)
        self.ask(f"close:{fd:x}")
        return data


def symbols(path, data):
    path.write_bytes(data)
    found = subprocess.run(["nm", str(path)], capture_output=True, text=True, check=True).stdout
    assert not subprocess.run(["readelf", "-S", "--wide", str(path)], capture_output=True, text=True, check=True).stderr
    return {row.split()[-1] for row in found.splitlines()}


@pytest.mark.gdbs("gdb13")
def test_the_file_that_is_served(serve, new_rsp, stripped, tmp_path):
    """The program with more behind it; in whatever pieces it is read; as a program it is still what it was."""
    server = serve.launch(stripped, "grow", "1")
    rsp = new_rsp(server)
    rsp.ask("qSupported:multiprocess+;swbreak+;xmlRegisters=i386")
    path = rsp.ask("qXfer:exec-file:read::0,1000")[1:].decode()
    assert path == os.path.realpath(stripped)
    files = Files(rsp)
    with open(stripped, "rb") as f:
        own = f.read()
    data = files.whole(path)
    assert len(data) > len(own) and data[64:len(own)] == own[64:] and data[:32] == own[:32]
    assert {"main.work", "main.main", "runtime.main"} <= symbols(tmp_path / "served", data)
    fd = files.open(path)
    assert files.read(fd, 77777) == data
    # By another name it is the same file.
    os.symlink(stripped, tmp_path / "link")
    assert files.whole(str(tmp_path / "link")) == data
    os.chmod(tmp_path / "served", 0o755)
    done = subprocess.run([tmp_path / "served", "pingpong", "3"], capture_output=True, text=True, timeout=60)
    assert done.stdout == subprocess.run([stripped, "pingpong", "3"], capture_output=True, text=True, timeout=60).stdout
    # Anything else is as it is.
    with open("/usr/bin/env", "rb") as f:
        assert files.whole("/usr/bin/env") == f.read()
    rsp.send("k")
    rsp.close()


@pytest.mark.gdbs("gdb13")
def test_the_debug_file_of_a_build_id(serve, new_rsp, programs, tmp_path):
    """Programs of Go 1.24 and later have one; gdb asks for /usr/lib/debug/.build-id/xx/….debug."""
    if where.newest_go() in ("go1.19", "go1.22", "go1.23"):
        pytest.skip("no Go that writes build ids is there (tools/toolchains)")
    program = programs.go("gosteps", where.newest_go(), flags=MODES["plain"], tag="-stripped-plain")
    notes = subprocess.run(["readelf", "-n", program], capture_output=True, text=True, check=True).stdout
    build_id = re.search(r"Build ID: ([0-9a-f]+)", notes).group(1)
    rsp = new_rsp(serve.launch(program, "grow", "1"))
    rsp.ask("qSupported:multiprocess+")
    files = Files(rsp)
    path = f"/usr/lib/debug/.build-id/{build_id[:2]}/{build_id[2:]}.debug"
    data = files.whole(path)
    assert "main.work" in symbols(tmp_path / "debug", data)
    notes = subprocess.run(["readelf", "-n", tmp_path / "debug"], capture_output=True, text=True, check=True).stdout
    assert build_id in notes
    assert files.open(path.replace(build_id[2:6], "0000")) == -1
    assert files.open(path[:-6]) == -1
    rsp.send("k")
    rsp.close()


@pytest.mark.gdbs("gdb13")
def test_a_program_with_debug_information_is_as_it_is(serve, new_rsp, programs, release):
    program = programs.go("gosteps", release)
    rsp = new_rsp(serve.launch(program, "grow", "1"))
    rsp.ask("qSupported:multiprocess+")
    with open(program, "rb") as f:
        assert Files(rsp).whole(program) == f.read()
    rsp.send("k")
    rsp.close()


@pytest.mark.gdbs("gdb13")
def test_a_symbol_table_without_debug_information(bare, programs, release):
    """-w alone: the program's own symbols stay, lines and frames are added."""
    program = programs.go("gosteps", release, flags=("-ldflags=-w",), tag="-w")
    gdb, _ = bare(program, "grow", "2")
    gdb.run_to(at(SOURCE, "grow"))
    assert gdb.bt()[-1] == "runtime.goexit"
    assert "main.sink" in gdb.cli("info variables main.sink")
    stop = gdb.step("next", func="main.work")
    assert stop.line == line(SOURCE, "grown")
    gdb.kill()


@pytest.mark.gdbs("gdb13")
@pytest.mark.parametrize("cgo_mode", [("-ldflags=-s -w",), ("-ldflags=-s -w", "-buildmode=pie")], ids=["exe", "pie"])
def test_cgo(serve, new_gdb, programs, debuggee, release, cgo_mode):
    program = programs.go("go/states", release, tag="-cgo-stripped" + ("-pie" if len(cgo_mode) > 1 else ""), package=".",
                          cgo=True, flags=cgo_mode)
    running = debuggee(program)
    assert running.readline().startswith("ready")
    gdb = new_gdb()
    gdb.connect(serve.attach(running.pid))
    functions = {frame.get("func") for number in gdb.threads()
                 for frame in gdb.mi(f"-stack-list-frames --thread {number}")["stack"]}
    assert "main.main" in functions and "runtime.gopark" in functions
    gdb.detach()
