"""The ways lldb comes to a server and a process: gdb-remote, attach, launch over a connection, what lldb-server's own command line has."""
import os
import re
import signal
import socket
import subprocess

import pytest

from harness import process, rsp, wait, where
from harness.dlv import free_port
from harness.programs import at


def over_the_wire(here, program):
    here.program(program)
    here.connect()
    seen = [here.stop().split(" in ")[0], here.process.GetNumThreads()]
    here.break_at("add")
    seen += [here.cont(), here.frames(), here.value("a + b")]
    here.command("breakpoint delete -f")
    return seen + [here.cont(), here.printed]


@pytest.mark.quick
def test_gdb_remote_to_gdbserver_mode(lldb, serve, programs):
    """The program has the server's output, as gdbserver has it."""
    server = serve.launch(programs.c("basic"), "more")
    seen = lldb.run(over_the_wire, programs.c("basic"), address=server.address)
    assert seen[1] == 1 and seen[2].startswith("breakpoint 1.1 in add") and seen[4] == "0" and seen[5:] == ["exited 4", ""]
    assert server.wait_exit() == 0
    assert server.out.rest() == "total 1018 pair 2\n"


def lldb_server(serve, *args, **kwargs):
    """The server under the name that makes it lldb-server."""
    return serve("gdbserver", *args, listens=False, **kwargs)


def wait_for_port(port):
    def is_open():
        with socket.socket() as s:
            return s.connect_ex(("127.0.0.1", port)) == 0
    # A connection that is closed at once ends a server that serves one: look at the table of sockets instead.
    entry = f":{port:04X} 00000000:0000 0A"
    wait.until(lambda: entry in open("/proc/net/tcp").read(), f"a listener on port {port}")


def test_gdb_remote_to_lldb_server_mode(lldb, serve, programs):
    """Here what the program prints comes to lldb."""
    port = free_port()
    server = lldb_server(serve, f"127.0.0.1:{port}", "--", programs.c("basic"))
    wait_for_port(port)
    seen = lldb.run(over_the_wire, programs.c("basic"), address=f"127.0.0.1:{port}")
    assert seen[0] == "signal SIGSTOP" and seen[5:] == ["exited 3", "total 1018 pair 2\n"]
    assert server.wait_exit() == 0


def launched_there(here, program):
    """gdb-remote to a server that has no program, then process launch, twice over one connection."""
    here.program(program)
    here.connect()
    seen = [here.process.GetState() == lldb.eStateConnected]
    error = lldb.SBError()
    here.break_at("depth", "n == 0")
    ok = here.process.RemoteLaunch(["one", "two three"], ["STOPGO_TEST=1"], None, None, None, "/tmp", 0, False, error)
    inside.check(error)
    here.process = here.target.GetProcess()
    return seen + [ok, here.cont(), here.cont(), here.printed]


def test_launch_over_a_connection(lldb, serve, programs):
    server = serve.multi()
    seen = lldb.run(launched_there, programs.c("basic"), address=server.address)
    assert seen[:2] == [True, True] and seen[2].startswith("breakpoint 1.1 in depth")
    assert seen[3:] == ["exited 5", "total 1018 pair 2\n"]


def attach_and_look(here, program, pid):
    here.program(program)
    here.attach(pid)
    seen = [here.stop().split(" in ")[0], here.process.GetNumThreads()]
    here.break_at("tick")
    seen.append(here.cont())
    here.command("thread step-out")
    seen.append(here.stop().split(" in ")[0])
    here.command("breakpoint delete -f")
    seen.append(here.value("(int)getpid()"))
    inside.check(here.process.Detach())
    return seen


def is_clean_and_alive(debuggee):
    return process.is_alive(debuggee.pid) and process.tracer(debuggee.pid) == 0 and not process.changed_text(debuggee.pid)


def test_attach_and_detach(lldb, programs, debuggee):
    target = debuggee(programs.c("counter"))
    seen = lldb.run(attach_and_look, programs.c("counter"), target.pid)
    assert seen[0] == "signal SIGSTOP" and seen[2].startswith("breakpoint 1.1 in tick")
    assert seen[3] == "step out" and seen[4] == str(target.pid)
    assert is_clean_and_alive(target)


def interrupt_and_set(here, program, pid):
    """Breakpoints set while it runs, a halt, a detach while it runs."""
    here.program(program)
    here.debugger.SetAsync(True)
    listener = lldb.SBListener("scenario")
    error = lldb.SBError()
    here.process = here.target.AttachToProcessWithID(listener, pid, error)
    inside.check(error)

    def until(state):
        event = lldb.SBEvent()
        while listener.WaitForEvent(30, event):
            if lldb.SBProcess.GetStateFromEvent(event) == state and not lldb.SBProcess.GetRestartedFromEvent(event):
                return True
        return False
    seen = [here.process.GetState() == lldb.eStateStopped]
    for _ in range(10):
        here.process.Continue()
        seen.append(until(lldb.eStateRunning))
        here.process.Stop()
        seen.append(until(lldb.eStateStopped))
    here.process.Continue()
    seen.append(until(lldb.eStateRunning))
    point = here.break_at("tick")
    seen.append(until(lldb.eStateStopped))
    # lldb resumes before it has put the breakpoint on its list: of a hit that comes at once it may know nothing but the SIGTRAP.
    if point.GetHitCount() == 0:
        here.process.Continue()
        seen += [until(lldb.eStateRunning), until(lldb.eStateStopped)]
    seen.append(point.GetHitCount() > 0)
    here.target.DeleteAllBreakpoints()
    here.process.Continue()
    seen.append(until(lldb.eStateRunning))
    inside.check(here.process.Detach())
    return seen


def test_halt_and_breakpoints_while_running(lldb, programs, debuggee):
    target = debuggee(programs.c("counter"))
    seen = lldb.run(interrupt_and_set, programs.c("counter"), target.pid)
    assert [n for n, good in enumerate(seen) if not good] == []
    assert is_clean_and_alive(target)


def attach_by_name(here, program, name, wait_for):
    here.program(program)
    error = lldb.SBError()
    here.process = here.target.AttachToProcessWithName(here.debugger.GetListener(), name, wait_for, error)
    inside.check(error)
    seen = [here.process.GetProcessID(), here.stop().split(" in ")[0]]
    here.process.Detach()
    return seen


def detach_stopped(here, program, pid):
    here.program(program)
    here.attach(pid)
    inside.check(here.process.Detach(True))
    return True


def test_detach_and_stay_stopped(lldb, programs, debuggee):
    target = debuggee(programs.c("counter"))
    assert lldb.run(detach_stopped, programs.c("counter"), target.pid)
    wait.until(lambda: process.state(target.pid) == "T" and process.tracer(target.pid) == 0, "a stop without a tracer")
    os.kill(target.pid, signal.SIGCONT)
    wait.until(lambda: process.state(target.pid) in "SR", "it to run")


# --- lldb-server's own command line ---

def ask_for_process(client):
    """A few packets of lldb's; the stop reply."""
    assert client.ask("QThreadSuffixSupported") == b"OK"
    assert client.ask("QListThreadsInStopReply") == b"OK"
    return client.ask("?")


@pytest.mark.stopgo_only("lldb-server's command line")
def test_inherited_descriptor(serve, programs):
    ours, theirs = socket.socketpair()
    server = lldb_server(serve, f"--fd={theirs.fileno()}", "--native-regs", "--setsid", "--", programs.c("basic"),
                         pass_fds=[theirs.fileno()])
    theirs.close()
    client = rsp.Rsp(connected=ours)
    assert ask_for_process(client).startswith(b"T13thread:")
    client.close()
    assert server.wait_exit() == 0


@pytest.mark.stopgo_only("lldb-server's command line")
def test_program_inherits_standard_descriptors_only(serve):
    ours, theirs = socket.socketpair()
    reader, writer = os.pipe()
    server = lldb_server(serve, f"--fd={theirs.fileno()}", "--", "/bin/ls", "/proc/self/fd", pass_fds=[theirs.fileno(), writer])
    theirs.close()
    client = rsp.Rsp(connected=ours)
    ask_for_process(client)
    reply, said = client.ask("vCont;c"), b""
    while reply.startswith(b"O"):
        said += bytes.fromhex(reply[1:].decode())
        reply = client.receive()
    client.close()
    os.close(reader), os.close(writer)
    # The fourth is the folder that it reads.
    assert reply == b"W00" and said.split() == [b"0", b"1", b"2", b"3"]


def launch_and_listen(client, *words):
    """Start a program over the connection; all it prints and how it ends."""
    text = ",".join("%d,%d,%s" % (2 * len(w), i, w.encode().hex()) for i, w in enumerate(words))
    assert client.ask("A" + text) == b"OK" and client.ask("qLaunchSuccess") == b"OK"
    reply, said = client.ask("vCont;c"), b""
    while reply.startswith(b"O"):
        said += bytes.fromhex(reply[1:].decode())
        reply = client.receive()
    return said, reply


@pytest.mark.stopgo_only("lldb-server's command line")
@pytest.mark.parametrize("sent", [{}, {"ONLY": "one"}])
def test_environment_is_what_lldb_sent(serve, sent):
    """All of it, though it be nothing: our own is not the program's."""
    ours, theirs = socket.socketpair()
    lldb_server(serve, f"--fd={theirs.fileno()}", pass_fds=[theirs.fileno()])
    theirs.close()
    client = rsp.Rsp(connected=ours)
    assert client.ask("QThreadSuffixSupported") == b"OK"
    for name, value in sent.items():
        assert client.ask(f"QEnvironment:{name}={value}") == b"OK"
    said, end = launch_and_listen(client, "/usr/bin/env")
    assert end == b"W00" and said.decode().split() == [f"{n}={v}" for n, v in sent.items()]
    client.close()


@pytest.mark.stopgo_only("lldb-server says of the kernel's clock pages that they can be read")
def test_what_is_said_readable_can_be_read(serve, programs):
    """Delve's dump reads all of it and fails where one page cannot be read."""
    ours, theirs = socket.socketpair()
    lldb_server(serve, f"--fd={theirs.fileno()}", "--", programs.c("basic"), pass_fds=[theirs.fileno()])
    theirs.close()
    client = rsp.Rsp(connected=ours)
    ask_for_process(client)
    address, readable, names = 0, 0, []
    while address < 1 << 64:
        told = dict(part.split(":", 1) for part in client.ask(f"qMemoryRegionInfo:{address:x}").decode().rstrip(";").split(";"))
        start, size = int(told["start"], 16), int(told["size"], 16)
        names.append(bytes.fromhex(told.get("name", "")).decode())
        if "r" in told.get("permissions", ""):
            readable += 1
            for place in (start, start + size - 1):
                assert re.fullmatch(rb"[0-9a-f]{2}", client.ask(f"m{place:x},1")), (hex(place), names[-1])
        address = start + size if size and start + size < (1 << 64) - 1 else 1 << 64
    assert readable > 5 and "[stack]" in names
    client.close()


@pytest.mark.stopgo_only("lldb-server's command line")
@pytest.mark.parametrize("name", ["SIGTERM", "SIGINT"])
def test_signal_that_ended_it_is_told(serve, programs, name):
    """lldb says what its server died of; what was started has gone before."""
    ours, theirs = socket.socketpair()
    server = lldb_server(serve, f"--fd={theirs.fileno()}", "--", programs.c("counter"), pass_fds=[theirs.fileno()])
    theirs.close()
    client = rsp.Rsp(connected=ours)
    pid = int(re.search(rb"thread:([0-9a-f]+)", ask_for_process(client)).group(1), 16)
    os.kill(server.pid, getattr(signal, name))
    assert server.wait_exit() == -getattr(signal, name)
    assert not process.is_alive(pid)
    client.close()


@pytest.mark.stopgo_only("lldb-server's command line")
def test_process_ends_while_a_thread_is_held(serve, programs):
    """The end of the process is told, not that nobody is left to run."""
    for _ in range(5):
        ours, theirs = socket.socketpair()
        lldb_server(serve, f"--fd={theirs.fileno()}", "--", programs.c("threadlife"), "quit", pass_fds=[theirs.fileno()])
        theirs.close()
        client = rsp.Rsp(connected=ours)
        ask_for_process(client)
        stop = client.ask("vCont;c")
        threads = re.search(rb"threads:([^;]*);", stop).group(1).decode().split(",")
        assert stop.startswith(b"T0a") and len(threads) == 4
        assert client.ask("vCont;" + ";".join(f"c:{t}" for t in threads[:3])) == b"W05"
        client.close()


@pytest.mark.stopgo_only("lldb-server's command line")
@pytest.mark.parametrize("host", ["127.0.0.1", "[127.0.0.1]", "localhost"])
def test_reverse_connect(serve, programs, host):
    listener = socket.create_server(("127.0.0.1", 0))
    server = lldb_server(serve, "--reverse-connect", f"{host}:{listener.getsockname()[1]}", "--", programs.c("basic"))
    listener.settimeout(wait.LIMIT)
    client = rsp.Rsp(connected=listener.accept()[0])
    assert ask_for_process(client).startswith(b"T13thread:")
    client.close()
    assert server.wait_exit() == 0


@pytest.mark.stopgo_only("lldb-server's command line")
def test_pipes_are_told_the_port(serve, programs, tmp_path):
    reader, writer = os.pipe()
    lldb_server(serve, "localhost:0", f"--pipe={writer}", "--", programs.c("basic"), pass_fds=[writer])
    os.close(writer)
    text = b""
    while not text.endswith(b"\0"):
        text += os.read(reader, 16)
    os.close(reader)
    client = rsp.Rsp(int(text[:-1]))
    assert ask_for_process(client).startswith(b"T13thread:")
    client.close()

    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    lldb_server(serve, "localhost:0", "--named-pipe", fifo, "--", programs.c("basic"))
    text = wait.for_text_in_fifo(fifo)
    assert text.endswith("\0")
    client = rsp.Rsp(int(text[:-1]))
    assert ask_for_process(client).startswith(b"T13thread:")
    client.close()


@pytest.mark.stopgo_only("lldb-server's command line")
def test_names_and_verbs(tmp_path):
    """As argv[0] lldb-server, and by its first word."""
    link = tmp_path / "lldb-server"
    link.symlink_to(where.server_path())
    for command in ([link, "version"], [where.server_path(), "version"], [link, "v"]):
        done = subprocess.run(command, capture_output=True, text=True, timeout=20)
        assert done.returncode == 0 and "stopgo" in done.stdout
    done = subprocess.run([link, "gdbserver", "--help"], capture_output=True, text=True, timeout=20)
    assert done.returncode == 0 and "--reverse-connect" in done.stdout


@pytest.mark.stopgo_only("waits for a name")
def test_attach_by_name_now_and_later(serve, programs, debuggee, tmp_path):
    name = tmp_path / f"a-name-of-its-own-{os.getpid()}"
    os.link(programs.c("counter"), name)
    server = serve.multi()
    client = rsp.Rsp(server.port)
    client.ask("QThreadSuffixSupported")
    words = {verb: f"{verb};{os.fsencode(name.name).hex()}" for verb in ("vAttachName", "vAttachOrWait", "vAttachWait")}
    assert client.ask(words["vAttachName"]).startswith(b"E")
    # An interrupt ends the waiting.
    client.send(words["vAttachWait"])
    client.interrupt()
    assert client.receive().startswith(b"E")
    first = debuggee(name)
    for verb in ("vAttachName", "vAttachOrWait"):
        stop = client.ask(words[verb])
        assert stop.startswith(b"T13thread:%x;" % first.pid) and client.ask("D") == b"OK"
    client.send(words["vAttachWait"])
    # It has seen who is there already when it waits until it looks again.
    wait.until(lambda: process.waits_for_events(server.pid, 100), "it to look")
    second = debuggee(name)
    stop = client.receive()
    assert stop.startswith(b"T13thread:%x;" % second.pid)
    assert client.ask("D") == b"OK"
    assert is_clean_and_alive(first) and is_clean_and_alive(second)


@pytest.mark.stopgo_only("lldb's input")
def test_input_and_output_through_the_client(serve):
    """I brings what was typed to a program that was launched for lldb; what it prints comes as O before the stop reply."""
    server = serve.multi()
    client = rsp.Rsp(server.port)
    client.ask("QThreadSuffixSupported")
    words = ["/bin/sh", "-c", "read a; echo got $a; exit 9"]
    text = ",".join(f"{len(word) * 2},{i},{word.encode().hex()}" for i, word in enumerate(words))
    assert client.ask("A" + text) == b"OK" and client.ask("qLaunchSuccess") == b"OK"
    assert client.ask("I" + b"a line\n".hex()) == b"OK"
    client.send("c")
    output = b""
    while (answer := client.receive()).startswith(b"O"):
        output += bytes.fromhex(answer[1:].decode())
    assert answer == b"W09" and b"got a line" in output
    # A program that cannot be started costs nothing but its error; the next one starts.
    client.ask("QEnableErrorStrings")
    answer = client.ask("vRun;" + b"/there/is/none".hex())
    assert answer.startswith(b"E") and b"execve failed" in bytes.fromhex(answer.split(b";")[1].decode())
    assert client.ask("vRun;" + b"/bin/true".hex()).startswith(b"T13")
    assert client.ask("k").startswith(b"X09")
