"""The life of the server: ways in, refusals, clients that come back or do not, and every end."""
import os
import pty
import re
import select
import signal
import socket
import struct
import subprocess
import time

import pytest

from harness import process, wait, where
from harness.rsp import Closed, Rsp
from harness.server import Stopgo

pytestmark = pytest.mark.stopgo_only("the life of this server")


def stands(made):
    """It does not count while we look twenty times."""
    before = made.ticks()
    for _ in range(20):
        time.sleep(0.005)
        if made.ticks() != before:
            return False
    return True


def is_clean(made):
    return process.changed_text(made.pid) == []


def symbol(program, name):
    """Where a function of a program that is not position independent is."""
    out = subprocess.run(["nm", program], capture_output=True, text=True, check=True).stdout
    return next(int(line.split()[0], 16) for line in out.splitlines() if line.split()[-1] == name)


def ended(made, args, **kwargs):
    """Start a server that ends at once: its status and what it said."""
    server = made.add(Stopgo(args, listens=False, **kwargs))
    status = server.wait_exit()
    return status, server.err.rest()


# ---- who is let in, and where ----

@pytest.mark.quick
@pytest.mark.parametrize("comm", ["*:0", "0.0.0.0:0", "[::]:0"])
def test_other_machines_are_kept_out(made, programs, comm):
    status, said = ended(made, [comm, programs.c("basic")])
    assert status == 2
    assert "--allow-remote" in said and "ssh -L" in said
    assert "created" not in said, "a program was started for nobody"


def test_empty_host_is_loopback(serve, programs):
    server = serve("--once", ":0", programs.c("basic"))
    with open(f"/proc/{server.pid}/net/tcp") as f:
        rows = [row.split() for row in f][1:]
    ours = [row[1] for row in rows if row[1].endswith(":%04X" % server.port) and row[3] == "0A"]
    assert ours == ["0100007F:%04X" % server.port]


def test_allow_remote_serves_every_address_and_warns(serve, programs):
    server = serve("--once", "--allow-remote", "*:0", programs.c("basic"))
    server.err.find("Warning: other machines can reach this port")
    with open(f"/proc/{server.pid}/net/tcp") as f:
        assert "00000000:%04X" % server.port in f.read()


@pytest.mark.quick
def test_address_in_use_costs_no_program(made, serve, programs):
    first = serve("--multi", "127.0.0.1:0")
    status, said = ended(made, [f"127.0.0.1:{first.port}", programs.c("basic")])
    assert status == 5
    assert "Can't bind address: Address already in use." in said
    assert "created" not in said


def test_program_that_is_not_there(made):
    for option in ((), ("--no-startup-with-shell",)):
        status, said = ended(made, [*option, "127.0.0.1:0", "/nonexistent/program"])
        assert status == 4
        assert "nonexistent" in said and "Exiting" in said
        assert "Listening" not in said


def test_usage_errors_exit_with_2(made):
    for args in (["--nonsense", ":0", "x"], [":0"], [], ["--attach", ":0"], ["--disable-packet=foo", ":0", "x"],
                 ["--core", "c", ":0"]):
        status, said = ended(made, args)
        assert status == 2, (args, said)
        assert said


def test_path_in_use_and_stale_path(made, serve, programs, tmp_path):
    path = tmp_path / "s"
    first = made.add(Stopgo(["--multi", f"unix:{path}"]))
    assert os.stat(path).st_mode & 0o777 == 0o600
    status, said = ended(made, ["--multi", f"unix:{path}"])
    assert status == 5, said
    first.signal(signal.SIGKILL)        # leaves its socket behind
    first.wait_exit()
    second = made.add(Stopgo(["--multi", str(path)]))
    Rsp(path=path)
    second.signal(signal.SIGTERM)
    assert second.wait_exit() == 0
    assert not path.exists()


def test_abstract_socket(serve, programs):
    name = f"stopgo-test-{os.getpid()}"
    serve("--once", f"unix-abstract:{name}", programs.c("basic"))
    client = Rsp(path="\0" + name)
    assert client.ask("?").startswith(b"T05")


def read_reply(sock):
    """The answer to a '?' that was sent by hand."""
    sock.settimeout(wait.LIMIT)
    seen = b""
    while b"#" not in seen:
        data = sock.recv(1000)
        assert data, seen
        seen += data
    assert seen.startswith(b"+$T05")


def test_inherited_descriptor(made, programs):
    ours, theirs = socket.socketpair()
    server = made.add(Stopgo([f"fd:{theirs.fileno()}", programs.c("basic")], listens=False,
                             pass_fds=[theirs.fileno()]))
    theirs.close()
    ours.sendall(b"$?#3f")
    read_reply(ours)
    inferior = server.inferior
    # The program must not have the client's descriptor.
    links = [os.readlink(f"/proc/{inferior}/fd/{fd}") for fd in os.listdir(f"/proc/{inferior}/fd")]
    assert not [link for link in links if link.startswith("socket:")]
    ours.close()
    assert server.wait_exit() == 0
    assert not process.is_alive(inferior)


def test_serial_line_hangs_up(made, programs):
    master, slave = pty.openpty()
    server = made.add(Stopgo([os.ttyname(slave), programs.c("basic")], listens=False))
    server.err.find("Remote debugging using")
    os.close(slave)
    os.write(master, b"$?#3f")
    assert select.select([master], [], [], wait.LIMIT)[0]
    assert os.read(master, 1000).startswith(b"+")
    os.close(master)
    assert server.wait_exit() == 0


def test_calls_the_client(made, programs):
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
        server = made.add(Stopgo([f"connect://127.0.0.1:{port}", programs.c("basic")], listens=False))
        listening.settimeout(wait.LIMIT)
        client, _ = listening.accept()
    client.sendall(b"$?#3f")
    read_reply(client)
    client.close()
    assert server.wait_exit() == 0


def test_port_is_told_to_a_pipe(made, tmp_path):
    read, write = os.pipe()
    server = made.add(Stopgo(["gdbserver", "--pipe", str(write), "localhost:0"], listens=False, pass_fds=[write]))
    os.close(write)
    text = b""
    while not text.endswith(b"\0"):
        text += os.read(read, 64)
    os.close(read)
    client = Rsp(int(text[:-1]))
    assert client.ask("qfThreadInfo")
    client.socket.close()
    assert server.wait_exit() == 0, "as lldb-server it serves one client"


@pytest.mark.quick
def test_another_protocol_is_hung_up_on_and_stops_nothing(serve, running):
    made = running()
    server = serve.attach(made.pid, options=())
    with socket.create_connection(("127.0.0.1", server.port)) as web:
        web.sendall(b"GET / HTTP/1.1\r\n\r\n")
        web.settimeout(wait.LIMIT)
        assert web.recv(100) == b""
    assert process.progresses(made)
    assert Rsp(server.port).ask("?").startswith(b"T")


@pytest.mark.quick
def test_attaching_stops_nothing(serve, running):
    made = running("threads", "4")
    server = serve.attach(made.pid)
    assert process.tracer(made.pid) == server.pid
    assert process.progresses(made)
    silent = socket.create_connection(("127.0.0.1", server.port))
    assert process.progresses(made)
    silent.close()


# ---- clients that go ----

def insert(client, made_or_program, name):
    assert client.ask("Z0,%x,1" % symbol(made_or_program, name)) == b"OK"


@pytest.fixture
def fixed(debuggee, programs):
    """The counting program at fixed addresses, and its path."""
    def start(*args):
        program = programs.c("counter", "nopie")
        made = debuggee(program, *args)
        address = int(made.readline().split()[1], 16)
        made.ticks = lambda: process.word(made.pid, address)
        made.program = program
        return made
    return start


def reset(sock):
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


def half_a_packet(sock):
    sock.sendall(b"$m1234,")
    sock.close()


@pytest.mark.quick
@pytest.mark.parametrize("how", [socket.socket.close, reset, half_a_packet])
@pytest.mark.parametrize("runs", [False, True])
def test_breakpoints_leave_with_the_client(serve, fixed, how, runs):
    made = fixed("threads", "2")
    server = serve.attach(made.pid, options=())
    client = Rsp(server.port)
    assert client.ask("?").startswith(b"T")
    insert(client, made.program, "on_usr1" if runs else "tick")
    client.send("vCont;c")
    if runs:
        wait.until(lambda: not is_clean(made), "the breakpoint goes in")
        assert process.progresses(made)
    else:
        assert client.receive().startswith(b"T05")
    how(client.socket)
    server.err.find("terminated connection.*\n(.*\n)*Listening on port")
    wait.until(lambda: is_clean(made), "breakpoints go out")
    if runs:
        made.kill(signal.SIGUSR1)
        assert process.progresses(made)
    else:
        assert stands(made)
        # Whoever comes back finds the same stop.
        client = Rsp(server.port)
        assert client.ask("?").startswith(b"T05")
        assert stands(made)
    server.signal(signal.SIGTERM)
    assert server.wait_exit() == 0
    assert process.tracer(made.pid) == 0
    assert process.progresses(made)


def test_after_the_grace_it_runs_on_and_can_be_stopped_again(serve, fixed):
    made = fixed()
    server = serve.attach(made.pid, options=("--grace=1",))
    for _ in range(2):
        client = Rsp(server.port)
        assert client.ask("?").startswith(b"T")
        assert stands(made)
        gone = time.monotonic()
        client.socket.close()
        assert stands(made) or time.monotonic() > gone + 1, "it did not wait"
        assert process.progresses(made)
        assert process.tracer(made.pid) == server.pid


def test_no_grace(serve, fixed):
    made = fixed()
    server = serve.attach(made.pid, options=("--grace", "0"))
    client = Rsp(server.port)
    client.ask("?")
    client.socket.close()
    assert process.progresses(made)


def test_what_was_launched_waits_longer_than_the_grace(serve, programs):
    server = serve("--grace=0", ":0", programs.c("basic"))
    client = Rsp(server.port)
    first = client.ask("?")
    client.socket.close()
    server.err.find("terminated connection")
    client = Rsp(server.port)
    assert client.ask("?").split(b"thread")[0] == first.split(b"thread")[0]


def test_next_client_in_the_same_moment(serve, programs):
    """The end of one client and the arrival of the next are often read in one turn of the loop."""
    server = serve("127.0.0.1:0", programs.c("basic"))
    client = Rsp(server.port)
    for _ in range(100):
        client.socket.close()
        client = Rsp(server.port)
        assert client.ask("?").startswith(b"T05")


def test_second_client_does_not_disturb_the_first(serve, programs):
    server = serve("127.0.0.1:0", programs.c("basic"))
    first = Rsp(server.port)
    for _ in range(20):
        with pytest.raises((Closed, ConnectionError)):
            Rsp(server.port)
        assert first.ask("?").startswith(b"T05")
    server.err.find("refused: another client is connected")


@pytest.mark.parametrize("wish, lives", [("QSetDetachOnError:1", True), ("QSetDetachOnError:0", False)])
def test_the_client_says_what_its_loss_means(serve, fixed, wish, lives):
    made = fixed()
    server = serve.attach(made.pid, options=())
    client = Rsp(server.port)
    assert client.ask("?").startswith(b"T")
    assert client.ask(wish) == b"OK"
    insert(client, made.program, "tick")
    client.socket.close()
    assert server.wait_exit() == 0
    if lives:
        assert is_clean(made) and process.tracer(made.pid) == 0
        assert process.progresses(made)
    else:
        assert made.result() == -signal.SIGKILL


def test_once_detaches_what_was_attached(serve, fixed):
    made = fixed()
    server = serve.attach(made.pid)
    client = Rsp(server.port)
    client.ask("?")
    insert(client, made.program, "tick")
    client.socket.close()
    assert server.wait_exit() == 0
    assert is_clean(made) and process.progresses(made)


# ---- the end ----

@pytest.mark.quick
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT])
@pytest.mark.parametrize("where_", ["before a client", "stopped", "running", "in the grace"])
def test_orderly_ends(serve, fixed, number, where_):
    made = fixed("threads", "2")
    server = serve.attach(made.pid, options=())
    if where_ != "before a client":
        client = Rsp(server.port)
        assert client.ask("?").startswith(b"T")
        insert(client, made.program, "on_usr1" if where_ == "running" else "tick")
        client.send("vCont;c")
        if where_ == "running":
            wait.until(lambda: not is_clean(made), "the breakpoint goes in")
        else:
            assert client.receive().startswith(b"T05")
        if where_ == "in the grace":
            client.socket.close()
            server.err.find("terminated connection")
    server.signal(number)
    assert server.wait_exit() == 0
    assert process.tracer(made.pid) == 0
    assert is_clean(made)
    made.kill(signal.SIGUSR1)
    assert process.progresses(made)


@pytest.mark.quick
@pytest.mark.parametrize("number", [signal.SIGSEGV, signal.SIGBUS, signal.SIGABRT, signal.SIGILL, signal.SIGFPE])
@pytest.mark.parametrize("runs", [False, True])
def test_fatal_signals_let_go(serve, fixed, number, runs):
    made = fixed("threads", "2")
    server = serve.attach(made.pid, options=())
    client = Rsp(server.port)
    assert client.ask("?").startswith(b"T")
    insert(client, made.program, "on_usr1" if runs else "tick")
    client.send("vCont;c")
    if runs:
        wait.until(lambda: not is_clean(made), "the breakpoint goes in")
    else:
        assert client.receive().startswith(b"T05")
    server.signal(number)
    assert server.wait_exit() == -number
    assert process.tracer(made.pid) == 0
    assert is_clean(made)
    made.kill(signal.SIGUSR1)
    assert process.progresses(made)


def test_launched_programs_die_with_the_server(serve, programs):
    for number in (signal.SIGTERM, signal.SIGKILL):
        server = serve(":0", programs.c("counter"))
        inferior = server.inferior
        client = Rsp(server.port)
        client.ask("?")
        client.send("vCont;c")
        server.signal(number)
        assert server.wait_exit() == (0 if number == signal.SIGTERM else -number)
        wait.until(lambda: not process.is_alive(inferior), "the program dies")


def test_end_with_stderr_closed(fixed, made, programs):
    """Nobody reads what it says: no SIGPIPE, no lost breakpoint."""
    victim = fixed()
    read, write = os.pipe()
    port_read, port_write = os.pipe()
    server = subprocess.Popen([where.server_path(), "g", "--pipe", str(port_write), "--attach", str(victim.pid), ":0"],
                              stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=write, pass_fds=[port_write])
    try:
        os.close(write)
        os.close(port_write)
        port = os.read(port_read, 64)
        os.close(port_read)
        os.close(read)
        client = Rsp(int(port.rstrip(b"\0")))
        assert client.ask("?").startswith(b"T")
        insert(client, victim.program, "tick")
        with pytest.raises((Closed, ConnectionError)):     # refusing a second client says so on stderr
            Rsp(int(port.rstrip(b"\0")))
        server.terminate()
        assert server.wait(wait.LIMIT) == -signal.SIGTERM     # as lldb-server
    finally:
        server.kill()
        server.wait()
    assert is_clean(victim) and process.progresses(victim)


def test_started_without_standard_streams(programs, tmp_path):
    """A socket of ours must not be what the program takes for its standard output."""
    path = tmp_path / "s"
    server = subprocess.Popen(["/bin/sh", "-c", 'exec "$@" <&- >&- 2>&-', "sh", where.server_path(), "--once",
                               f"unix:{path}", programs.c("basic")], start_new_session=True)
    try:
        client = Rsp(path=path)
        assert client.ask("?").startswith(b"T05")
        client.send("vCont;c")
        assert client.receive().startswith(b"W")
        client.socket.close()
        assert server.wait(wait.LIMIT) == 0
    finally:
        server.kill()
        server.wait()


def monitor(client, command):
    client.send("qRcmd," + command.encode().hex())
    while True:
        reply = client.receive()
        if not reply.startswith(b"O") or reply == b"OK":
            return reply


@pytest.mark.quick
@pytest.mark.parametrize("attached", [True, False])
def test_monitor_exit(serve, fixed, programs, attached):
    if attached:
        made = fixed()
        server = serve.attach(made.pid, options=())
    else:
        server = serve(":0", programs.c("counter", "nopie"))
    inferior = server.inferior
    client = Rsp(server.port)
    assert client.ask("?").startswith(b"T")
    insert(client, programs.c("counter", "nopie"), "tick")
    assert monitor(client, "exit") == b"OK"
    assert server.wait_exit() == 0
    if attached:
        assert is_clean(made) and process.progresses(made)
    else:
        wait.until(lambda: not process.is_alive(inferior), "the program dies")


def test_a_client_that_does_not_read_cannot_keep_the_server(serve, fixed):
    made = fixed()
    server = serve.attach(made.pid, options=())
    client = Rsp(server.port)
    client.ask("?")
    insert(client, made.program, "tick")
    client.socket.setblocking(False)
    try:
        for _ in range(20000):
            client.socket.send(b"$qXfer:features:read:target.xml:0,8000#00")
    except BlockingIOError:
        pass
    server.signal(signal.SIGTERM)
    assert server.wait_exit() == 0
    assert is_clean(made) and process.progresses(made)


# ---- the terminal ----

def in_terminal(args, limit=wait.LIMIT):
    """Run under a terminal of its own, as an interactive shell would: (pid, master)."""
    pid, master = pty.fork()
    if pid == 0:
        os.execv(args[0], args)
    return pid, master


def read_until(master, pattern):
    seen = b""
    end = time.monotonic() + wait.LIMIT
    while not re.search(pattern, seen):
        assert select.select([master], [], [], max(0, end - time.monotonic()))[0], seen
        seen += os.read(master, 4096)
    return seen


def test_the_terminal_goes_to_the_program_and_back(programs):
    pid, master = in_terminal(["/bin/sh", "-c", '"$@"; echo status $?; read line; echo got "$line"', "sh",
                               str(where.server_path()), "--once", ":0", "/bin/cat"])
    try:
        seen = read_until(master, rb"Listening on port \d+\r")
        port = int(seen.split(b"Listening on port ")[1].split()[0])
        client = Rsp(port)
        assert client.ask("?").startswith(b"T05")
        client.send("vCont;c")
        os.write(master, b"to the program\n")
        read_until(master, b"to the program\r\nto the program\r\n")
        os.write(master, b"\x03")           # the program's, not the server's
        assert client.receive().startswith(b"T02")
        client.send("vCont;c")
        os.write(master, b"\x04")
        assert client.receive().startswith(b"W")
        client.socket.close()
        read_until(master, b"status 0")
        os.write(master, b"to the shell\n")
        read_until(master, b"got to the shell")
    finally:
        os.kill(pid, signal.SIGKILL)
        os.close(master)
        os.waitpid(pid, 0)


# ---- what is only asked, and processes by name ----

def said(*args):
    done = subprocess.run([where.server_path(), *map(str, args)], capture_output=True, text=True, timeout=wait.LIMIT)
    return done.returncode, done.stdout, done.stderr


def test_help_version_and_lists_go_to_stdout():
    for args in (["--help"], ["--version"], ["--list-options"], ["--disable-packet"], ["g", "--help"], ["version"]):
        status, out, err = said(*args)
        assert status == 0 and out and not err, args
    assert said("--version")[1].startswith("stopgo (stopgo) ")
    listed = {row.split("\t")[0] for row in said("--list-options")[1].splitlines()}
    for option in re.findall(r"--[a-z][a-z-]+", said("--help")[1].split("Options:")[1].split("Exit status")[0]):
        assert option in listed


def test_selftest():
    status, out, _ = said("--selftest")
    assert status == 0
    assert re.search(r"^Ran [1-9]\d* unit tests, 0 failed$", out, re.M)


def test_doctor(running):
    made = running()
    status, out, _ = said("doctor", made.pid)
    assert status == 0 and f"--attach localhost:2345 {made.pid}" in out
    assert process.tracer(made.pid) == 0
    assert said("doctor", 2)[0] == 3
    assert said("doctor", 4194304)[0] == 4


def test_attach_by_name(made, programs, tmp_path):
    assert ended(made, ["gdbserver", "--attach", f"nobody-{os.getpid()}", ":0"])[0] == 4
    copy = tmp_path / f"copied-{os.getpid()}"
    copy.write_bytes(open(programs.c("counter"), "rb").read())
    copy.chmod(0o755)
    victim = made.add(process.Debuggee([str(copy)]))
    victim.readline()
    read, write = os.pipe()
    made.add(Stopgo(["gdbserver", "--pipe", str(write), "--attach", copy.name, ":0"], listens=False, pass_fds=[write]))
    os.close(write)
    assert select.select([read], [], [], wait.LIMIT)[0]
    client = Rsp(int(os.read(read, 64).rstrip(b"\0")))
    os.close(read)
    assert client.ask("?").startswith(b"T")
    assert process.tracer(victim.pid)


def test_waits_for_a_process_to_start(made, programs, tmp_path):
    """As Delve asks debugserver to."""
    copy = tmp_path / f"awaited-{os.getpid()}"
    copy.write_bytes(open(programs.c("counter"), "rb").read())
    copy.chmod(0o755)
    early = made.add(process.Debuggee([str(copy)]))
    early.readline()
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
        server = made.add(Stopgo(["-R", f"127.0.0.1:{port}", f"--waitfor={copy.name}", "--waitfor-interval=1000",
                                  "--waitfor-duration=20", "--unmask-signals"], listens=False))
        listening.settimeout(wait.LIMIT)
        client, _ = listening.accept()
    # It has seen who is there already when it sleeps between two looks.
    wait.until(lambda: process.sleeps_for_time(server.pid), "it to wait")
    assert process.tracer(early.pid) == 0, "it was there before"
    awaited = made.add(process.Debuggee([str(copy)]))
    wait.until(lambda: process.tracer(awaited.pid) == server.pid, "it is found")
    assert process.tracer(early.pid) == 0
    client.close()
    assert server.wait_exit() == 0
    assert process.tracer(awaited.pid) == 0
    status, words = ended(made, ["-R", f"127.0.0.1:{port}", "--waitfor=nobody", "--waitfor-duration=1"])
    assert status == 1, words       # nobody listens there any more
