"""The command line: gdbserver's grammar, the lines that programs parse, refusals and exit statuses."""
import os
import re
import signal
import socket
import subprocess

import pytest

from harness import process, rsp, wait, where
from harness.server import Stopgo


def ended(made, *args, code=None, **kwargs):
    """Start a server that must end by itself: (status, what it said). code: stopgo's exit status."""
    server = made.add(Stopgo(args, listens=False, **kwargs))
    status = server.wait_exit()
    if code is not None and not where.is_peer():
        assert status == code, server.err.rest()
    return status, server.err.rest()


def output(*args):
    done = subprocess.run([where.server_path(), *args], capture_output=True, text=True, timeout=20,
                          stdin=subprocess.DEVNULL)
    return done.returncode, done.stdout, done.stderr


@pytest.mark.quick
def test_version_and_help_go_to_stdout():
    status, out, err = output("--version")
    assert status == 0 and not err
    assert re.match(r"\w+ \w+ \(.+\) \d+\.\d+" if where.is_peer() else r"stopgo \(stopgo\) \d+\.\d+\.\d+\n", out)
    status, out, err = output("--help")
    assert status == 0 and not err
    assert "--attach" in out and "--once" in out and "--multi" in out


@pytest.mark.quick
@pytest.mark.parametrize("args", [(), ("--once",), (":0",), ("--no-such-option", ":0", "/bin/true"), ("--attach", ":0"),
                                  ("--wrapper",), ("--wrapper", "env", ":0", "/bin/true"),
                                  ("--debug-format=nonsense", ":0", "/bin/true")])
def test_usage_errors(made, args):
    status, said = ended(made, *args, code=2)
    assert status != 0 and said.strip()
    assert "Listening" not in said


@pytest.mark.quick
@pytest.mark.stopgo_only("its own words")
@pytest.mark.parametrize("verb", ["gdbserver", "platform"])
def test_usage_error_names_the_help_there_is(made, verb):
    _, said = ended(made, verb, code=2)
    assert f"Try 'stopgo {verb} --help'" in said


@pytest.mark.stopgo_only("it takes any of them, or ends with 1")
@pytest.mark.parametrize("comm", ["127.0.0.1:99999", "127.0.0.1:x", "127.0.0.1:-1", "127.0.0.1:", "[::1]", "fd:x", "nonsense"])
def test_bad_comm(made, comm):
    _, said = ended(made, comm, "/bin/true", code=2)
    assert said.strip()


@pytest.mark.quick
@pytest.mark.stopgo_only("it takes the prefixes from clients only")
@pytest.mark.parametrize("comm, address", [("127.0.0.1:0", "127.0.0.1"), ("localhost:0", "127.0.0.1"), (":0", "127.0.0.1"),
                                           ("tcp:localhost:0", "127.0.0.1"), ("tcp4:127.0.0.1:0", "127.0.0.1"),
                                           ("[::1]:0", "::1"), ("tcp6:[::1]:0", "::1")])
def test_addresses(serve, made, programs, comm, address):
    server = serve("--once", comm, programs.c("basic"))
    with socket.create_connection((address, server.port), wait.LIMIT):
        pass


@pytest.mark.quick
@pytest.mark.stopgo_only("it listens on every address")
@pytest.mark.parametrize("comm", [":0", "localhost:0"])
def test_only_loopback_listens(serve, programs, comm):
    server = serve("--once", comm, programs.c("basic"))
    port = f"{server.port:04X}"
    rows = []
    for table in ("tcp", "tcp6"):
        with open(f"/proc/net/{table}") as f:
            rows += [row.split()[1] for row in f if row.split()[3] == "0A"]
    listening = [row.rsplit(":", 1)[0] for row in rows if row.endswith(":" + port)]
    assert listening
    assert set(listening) <= {"0100007F", "00000000000000000000000001000000"}


@pytest.mark.stopgo_only("it listens on every address")
@pytest.mark.parametrize("comm", ["*:0", "0.0.0.0:0", "[::]:0"])
def test_other_machines_need_leave(made, serve, programs, comm):
    _, said = ended(made, comm, programs.c("basic"), code=2)
    assert "--allow-remote" in said
    assert serve("--once", "--allow-remote", comm, programs.c("basic")).port > 0
    assert serve("--once", comm, programs.c("basic"), env={"STOPGO_ALLOW_REMOTE": "1"}).port > 0


@pytest.mark.quick
def test_lines_of_a_launch_in_order(serve, made, programs):
    program = programs.c("basic")
    server = serve.launch(program)
    lines = server.err.text.splitlines()
    assert re.fullmatch(r"Process %s created; pid = \d+" % re.escape(program), lines[0])
    assert re.fullmatch(r"Listening on port \d+", lines[1])
    assert process.is_alive(server.inferior)
    client = made.add(rsp.Rsp(server.port))
    server.err.find(r"^Remote debugging from host (::ffff:)?127\.0\.0\.1, port \d+$")
    client.ask("?")
    client.ask("vCont;c")
    server.err.find(r"^Child exited with status 3$")
    client.close()
    assert server.wait_exit() == 0


def test_port_in_use(made, serve, programs):
    taken = socket.create_server(("127.0.0.1", 0))
    port = taken.getsockname()[1]
    _, said = ended(made, f"127.0.0.1:{port}", programs.c("basic"), code=5)
    taken.close()
    assert "Can't bind address: Address already in use." in said


@pytest.mark.quick
def test_program_that_is_not_there(made):
    status, said = ended(made, "127.0.0.1:0", "/nonexistent/program", code=4)
    assert status != 0
    assert "Listening" not in said
    assert re.search(r"No such file|not found", said)


def test_program_that_cannot_be_run(made, tmp_path):
    (tmp_path / "text").write_text("no program\n")
    status, said = ended(made, "127.0.0.1:0", str(tmp_path / "text"))
    assert status != 0 and "Listening" not in said


def test_program_without_a_shell_that_is_not_there(made):
    status, said = ended(made, "--no-startup-with-shell", "127.0.0.1:0", "/nonexistent/program", code=4)
    assert status != 0 and "Listening" not in said


@pytest.mark.quick
@pytest.mark.peer_fails("a wrapper's words are split at spaces")
def test_wrapper_of_pwntools(serve, made, programs):
    """The command line that pwntools sends."""
    server = serve("--multi", "--once", "--no-disable-randomization", "--wrapper", "env", "-i", "STOPGO_TEST=a b", "--",
                   "localhost:0", programs.c("environ"), "argument")
    lines = server.err.text.splitlines()
    assert int(lines[0].split()[-1]) == server.inferior and int(lines[1].split()[-1]) == server.port
    client = made.add(rsp.Rsp(server.port))
    client.ask("?")
    while client.ask("vCont;c")[:1] != b"W":
        pass
    said = server.out.find(r"arg=argument\n").string
    assert "variable=a b\n" in said


def test_arguments_through_the_shell_arrive_as_given(serve, made, programs):
    """Arguments are escaped for the shell: they arrive as they were typed."""
    odd = ["two words", "quote'd", 'double"d', "$HOME", "*", "a\\b", "semi;colon", "new\nline", "", "!x", "#y", "~"]
    server = serve.launch(programs.c("environ"), *odd)
    client = made.add(rsp.Rsp(server.port))
    client.ask("?")
    client.ask("vCont;c")
    client.close()
    said = server.out.rest()
    assert said.split("stack=", 1)[1].split("\n", 1)[1] == "".join(f"arg={word}\n" for word in odd)


@pytest.mark.peer_fails("it takes no spaces then")
def test_without_a_shell(serve, made, programs):
    server = serve.launch(programs.c("environ"), "$HOME", "a b", options=("--once", "--no-startup-with-shell"))
    client = made.add(rsp.Rsp(server.port))
    client.ask("?")
    client.ask("vCont;c")
    client.close()
    assert "arg=$HOME\narg=a b\n" in server.out.rest()


@pytest.mark.stopgo_only("an option of later releases")
def test_arguments_for_the_shell_to_expand(serve, made, programs):
    server = serve.launch(programs.c("environ"), "$((40 + 2))", "'a b'", options=("--once", "--no-escape-args"))
    client = made.add(rsp.Rsp(server.port))
    client.ask("?")
    client.ask("vCont;c")
    client.close()
    assert "arg=42\narg=a b\n" in server.out.rest()


@pytest.mark.stopgo_only("debugserver's options")
@pytest.mark.parametrize("one", [False, True])
def test_files_and_variables_of_debugserver(made, tmp_path, one):
    """--stdio-path is all three: what is printed and what went wrong stand in it one after the other."""
    said, wrong, log = (tmp_path / name for name in ("said", "wrong", "log"))
    for file in (said, wrong):
        file.write_text("typed\n" if one else "")
    files = ["--stdio-path", said] if one else ["-i", "/etc/hostname", "-o", said, "--stderr-path", wrong]
    line = 'read typed; echo "$typed $STOPGO_TEST"; echo no >&2; echo more'
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
        server = made.add(Stopgo(["-R", f"127.0.0.1:{port}", "-e", "STOPGO_TEST=a b", *map(str, files), "-F", "-D", "-g", "-l", str(log),
                                  "--", "/bin/sh", "-c", line], listens=False))
        listening.settimeout(wait.LIMIT)
        connected, _ = listening.accept()
    client = made.add(rsp.Rsp(connected=connected))
    assert client.ask("vCont;c") == b"W00"
    client.close()
    assert server.wait_exit() == 0
    typed = "typed" if one else open("/etc/hostname").readline().rstrip()
    assert said.read_text() == f"{typed} a b\n" + "no\n" * one + "more\n"
    assert one or wrong.read_text() == "no\n"
    assert "vCont;c" in log.read_text()


@pytest.mark.parametrize("options", [("--debug",), ("--debug", "--remote-debug"), ("--remote-debug", "--debug-format=all"),
                                     ("--debug", "--debug-format=none", "--event-loop-debug"),
                                     ("--disable-packet=vCont",), ("--disable-packet=T",), ("--disable-packet=Tthread",),
                                     ("--disable-packet=qC,qfThreadInfo",), ("--disable-packet=threads",)])
@pytest.mark.peer_fails("without vCont it steps wrongly out of a function")
def test_sessions_with_every_switch(serve, new_gdb, programs, options):
    """The options that gdb's own test suite uses: a session works with each."""
    program = programs.c("basic")
    server = serve.launch(program, options=("--once", *options))
    gdb = new_gdb(program)
    gdb.connect(server)
    gdb.run_to("depth")
    gdb.step("next")
    assert gdb.bt() == ["depth", "main"]
    gdb.delete()
    gdb.cont()
    gdb.expect_exit(3)


def test_debug_file(serve, new_gdb, programs, tmp_path):
    log = tmp_path / "log"
    server = serve.launch(programs.c("basic"), options=("--once", "--remote-debug", f"--debug-file={log}"))
    gdb = new_gdb(programs.c("basic"))
    gdb.connect(server)
    gdb.kill()
    server.wait_exit()
    assert "vMustReplyEmpty" in log.read_text(errors="replace")
    assert "vMustReplyEmpty" not in server.err.text


def test_unknown_packet_to_disable_is_told(made):
    status, said = ended(made, "--disable-packet=nonsense", "127.0.0.1:0", "/bin/true")
    assert status != 0 and "nonsense" in said


@pytest.mark.quick
def test_selftest():
    status, out, err = output("--selftest")
    assert status == 0, out + err
    assert out + err


@pytest.mark.stopgo_only("it has no doctor")
def test_doctor(debuggee, programs, serve):
    made = debuggee(programs.c("counter"))
    made.readline()
    status, out, err = output("doctor", str(made.pid))
    assert status == 0 and str(made.pid) in out + err
    server = serve.attach(made.pid)
    status, out, err = output("doctor", str(made.pid))
    assert status == 3 and str(server.pid) in out + err
    status, out, err = output("doctor", "4194304")
    assert status == 4
    assert output("doctor")[0] == 2


@pytest.mark.stopgo_only("it has no doctor")
@pytest.mark.parametrize("flags, said, seen", [
    (("-gcflags=all=-N -l",), "with debug information", "functions, lines, variables"),
    (("-ldflags=-s -w",), "stripped", "functions and lines from the runtime's own table")])
def test_doctor_says_what_is_seen(debuggee, programs, tmp_path, flags, said, seen):
    made = debuggee(programs.go("busy", flags=flags, tag="-doctor" + said.split()[0]), tmp_path / "progress")
    status, out, _ = output("doctor", str(made.pid))
    assert status == 0 and re.search(r"^Go program of go1\.19\S*, " + said, out, re.M)
    assert f"goroutines as threads; {seen}" in out and "  Delve " in out


@pytest.mark.stopgo_only("it has no doctor")
@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be somebody else")
def test_doctor_of_somebody_elses_process(debuggee, programs):
    """A line to paste for each place where a capability comes from."""
    made = debuggee(programs.c("counter"))
    made.readline()
    done = subprocess.run([where.server_path(), "doctor", str(made.pid)], capture_output=True, text=True, user=65534, group=65534,
                          extra_groups=[], timeout=20)
    assert done.returncode == 3 and "belongs to user root" in done.stdout
    for line in (rf"^  shell +sudo stopgo --attach localhost:2345 {made.pid}$", r"^  docker +docker run --cap-add=SYS_PTRACE",
                 r"^  Kubernetes +securityContext: \{ capabilities: \{ add: \[\"SYS_PTRACE\"\] \} \}$", "--profile=general",
                 r"^  systemd +AmbientCapabilities=CAP_SYS_PTRACE$"):
        assert re.search(line, done.stdout, re.M), done.stdout


@pytest.mark.quick
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
@pytest.mark.stopgo_only("it leaves the program behind")
def test_orderly_end_kills_what_was_launched(serve, programs, number):
    server = serve.launch(programs.c("counter"))
    pid = server.inferior
    server.signal(number)
    server.wait_exit()
    wait.until(lambda: not process.is_alive(pid), "the launched program to be killed")


def test_nothing_on_stdout_but_the_program(serve, made, programs):
    server = serve.launch(programs.c("basic"))
    client = made.add(rsp.Rsp(server.port))
    client.ask("?")
    client.ask("vCont;c")
    client.close()
    server.wait_exit()
    assert server.out.rest() == "total 1018 pair 2\n"


@pytest.mark.stopgo_only("it takes a descriptor for a device")
def test_inherited_descriptor(made, programs):
    ours, theirs = socket.socketpair()
    server = made.add(Stopgo(["--once", f"fd:{theirs.fileno()}", programs.c("basic")], listens=False,
                             pass_fds=[theirs.fileno()]))
    theirs.close()
    client = rsp.Rsp.__new__(rsp.Rsp)
    client.socket, client.data, client.acks, client.transcript = ours, b"", True, []
    made.add(client)
    client.start_no_ack()
    assert client.ask("?")[:1] == b"T"
    client.ask("vCont;c")
    assert server.wait_exit() == 0


@pytest.mark.stopgo_only("it follows no path of its own")
def test_unix_socket_in_use(made, serve, programs, tmp_path):
    path = tmp_path / "socket"
    serve("--once", path, programs.c("basic"))
    _, said = ended(made, "--once", path, programs.c("basic"), code=5)
    assert "in use" in said


@pytest.mark.stopgo_only("it follows no path of its own")
def test_unix_socket_left_behind_is_taken_over(serve, programs, tmp_path):
    path = tmp_path / "socket"
    left = socket.socket(socket.AF_UNIX)
    left.bind(str(path))
    left.close()
    serve("--once", path, programs.c("basic"))


def test_demo_tool():
    """tools/demo builds the bundled program."""
    done = subprocess.run([where.ROOT / "tools" / "demo", "--no-setup", "--build-only"], capture_output=True, text=True,
                          timeout=300, stdin=subprocess.DEVNULL)
    assert done.returncode == 0, done.stderr
    assert os.access(done.stdout.strip(), os.X_OK)


@pytest.mark.parametrize("name", ["setup", "toolchains", "demo", "test"])
def test_tools_explain_themselves(name):
    tool = where.ROOT / "tools" / name
    done = subprocess.run([tool, "--help"], capture_output=True, text=True, timeout=20, stdin=subprocess.DEVNULL)
    assert done.returncode == 0 and done.stdout.startswith(f"usage: tools/{name}")
    assert subprocess.run([tool, "--no-such-option"], capture_output=True, timeout=20,
                          stdin=subprocess.DEVNULL).returncode == 2
