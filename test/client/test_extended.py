"""extended-remote: one server, many programs: run, restart, attach, detach, kill; files and the list of processes."""
import shutil

import pytest

from harness import process, wait


@pytest.fixture
def extended(serve, new_gdb):
    """extended(program): (gdb, server) connected to a server that waits for orders."""
    def start(program=None, options=(), **kwargs):
        server = serve.multi(options, **kwargs)
        gdb = new_gdb(program)
        assert gdb.connect(server, extended=True) is None
        if program:
            gdb.cli(f"set remote exec-file {program}")
        return gdb, server
    return start


@pytest.mark.quick
def test_run_to_the_end_and_run_again(extended, programs):
    gdb, server = extended(programs.c("basic"))
    gdb.break_at("depth")
    pids = set()
    for _ in range(3):
        gdb.cli("run one two")
        gdb.expect_breakpoint_stop("depth")
        pids.add(gdb.pid())
        gdb.cli("disable")
        gdb.cont()
        gdb.expect_exit(5)
        gdb.cli("enable")
    assert len(pids) == 3
    gdb.monitor("exit")
    assert server.wait_exit() == 0


def test_restart_in_the_middle(extended, programs):
    gdb, _ = extended(programs.c("basic"))
    gdb.break_at("add")
    gdb.cli("run")
    gdb.expect_breakpoint_stop("add")
    first = gdb.pid()
    gdb.cli("run")
    gdb.expect_breakpoint_stop("add")
    assert gdb.pid() != first
    wait.until(lambda: not process.is_alive(first), "the first one to end")
    gdb.kill()


def test_kill_and_run(extended, programs):
    gdb, server = extended(programs.c("basic"))
    gdb.break_at("main")
    gdb.cli("run")
    gdb.expect_breakpoint_stop("main")
    pid = gdb.pid()
    gdb.kill()
    assert not process.is_alive(pid) and server.is_running()
    gdb.cli("run")
    gdb.expect_breakpoint_stop("main")
    gdb.kill()


def test_start_command(extended, programs):
    gdb, _ = extended(programs.c("basic"))
    gdb.cli("start")
    gdb.expect_breakpoint_stop("main")
    gdb.cli("kill")
    gdb.cli("starti")
    gdb.expect_stop()
    gdb.kill()


@pytest.mark.quick
def test_arguments_environment_directory(extended, programs, tmp_path):
    gdb, server = extended(programs.c("environ"))
    gdb.cli("set args first 'second word' \"third one\" 'a*b' '$HOME'")
    gdb.cli("set environment STOPGO_TEST=a value with = and spaces")
    gdb.cli(f"set cwd {tmp_path}")
    gdb.cli("run")
    gdb.expect_exit(0)
    said = server.out.find(r"arg=\$HOME\n").string
    assert f"cwd={tmp_path}\n" in said
    assert "variable=a value with = and spaces\n" in said
    assert "arg=first\narg=second word\narg=third one\narg=a*b\n" in said
    gdb.cli("unset environment STOPGO_TEST")
    gdb.cli("run")
    gdb.expect_exit(0)
    server.out.find(r"variable=\(none\)")


def test_unset_of_the_servers_own_variable(extended, programs):
    gdb, server = extended(programs.c("environ"), env={"STOPGO_TEST": "from the server"})
    gdb.cli("run")
    gdb.expect_exit(0)
    server.out.find("variable=from the server")
    gdb.cli("set environment STOPGO_TEST changed")
    gdb.cli("unset environment STOPGO_TEST")
    gdb.cli("run")
    gdb.expect_exit(0)
    server.out.find(r"variable=\(none\)")


def test_randomisation_on_and_off(extended, programs):
    gdb, _ = extended(programs.c("environ"))

    def stack():
        gdb.break_at("main", temporary=True)
        gdb.cli("run")
        gdb.expect_breakpoint_stop("main")
        return gdb.addr("$sp")

    gdb.cli("set disable-randomization on")
    assert stack() == stack()
    gdb.cli("set disable-randomization off")
    assert len({stack() for _ in range(3)}) > 1
    gdb.kill()


def test_without_a_shell(extended, programs):
    gdb, server = extended(programs.c("environ"))
    gdb.cli("set startup-with-shell off")
    gdb.cli("set args $HOME *")
    gdb.cli("run")
    gdb.expect_exit(0)
    server.out.find(r"arg=\$HOME\narg=\*\n")


def test_why_a_program_does_not_start_is_said_where_the_server_runs(extended, programs, tmp_path):
    program = tmp_path / "closed"
    shutil.copyfile(programs.c("basic"), program)
    program.chmod(0o644)
    gdb, server = extended(programs.c("basic"))
    gdb.cli(f"set remote exec-file {program}")
    gdb.cli("set startup-with-shell off")
    assert gdb.error_of("run")
    server.err.find(r"Cannot exec [\s\S]*Permission denied")


@pytest.mark.peer_fails("it answers twice, and gdb is confused")
def test_program_that_is_not_there(extended, programs):
    gdb, server = extended(programs.c("basic"))
    gdb.cli("set remote exec-file /nonexistent/program")
    assert gdb.error_of("run")
    assert server.is_running()
    gdb.cli(f"set remote exec-file {programs.c('basic')}")
    gdb.break_at("main")
    gdb.cli("run")
    gdb.expect_breakpoint_stop("main")
    gdb.kill()


@pytest.mark.quick
def test_attach_detach_attach(extended, programs, debuggee):
    program = programs.c("counter")
    running = debuggee(program)
    running.readline()
    gdb, _ = extended(program)
    for _ in range(3):
        gdb.attach(running.pid)
        before = gdb.value("ticks")
        gdb.run_to("tick")
        assert gdb.value("ticks") >= before
        gdb.detach()
        assert process.tracer(running.pid) == 0
        assert process.changed_text(running.pid) == []
    here = int(process.status(running.pid, "voluntary_ctxt_switches"))
    wait.until(lambda: int(process.status(running.pid, "voluntary_ctxt_switches")) > here, "it to go on")


def test_attach_and_kill(extended, programs, debuggee):
    running = debuggee(programs.c("counter"))
    running.readline()
    gdb, server = extended(programs.c("counter"))
    gdb.attach(running.pid)
    gdb.kill()
    assert running.result() == -9
    assert server.is_running()


@pytest.mark.peer_fails("its answers are out of order from then on")
def test_attach_to_nobody(extended, programs):
    gdb, server = extended(programs.c("counter"))
    assert "ttach" in gdb.error_of("attach 4194304")
    assert server.is_running()
    assert gdb.monitor("help")


def test_two_programs_at_once(extended, programs):
    gdb, _ = extended(programs.c("basic"))
    gdb.cli("set schedule-multiple off")
    gdb.break_at("depth")
    gdb.cli("run")
    gdb.expect_breakpoint_stop("depth")
    first = gdb.pid()
    gdb.cli(f"add-inferior -exec {programs.c('counter')}")
    gdb.cli("inferior 2")
    gdb.cli(f"set remote exec-file {programs.c('counter')}")
    gdb.break_at("tick")
    gdb.cli("run")
    gdb.expect_breakpoint_stop("tick")
    assert gdb.pid() != first
    gdb.kill()
    gdb.cli("inferior 1")
    assert gdb.bt() == ["depth", "main"]
    gdb.delete()
    gdb.cont()
    gdb.expect_exit(3)


def test_put_get_delete(extended, tmp_path):
    gdb, _ = extended()
    data = bytes(range(256)) * 700
    (tmp_path / "local").write_bytes(data)
    gdb.cli(f"remote put {tmp_path}/local {tmp_path}/there")
    assert (tmp_path / "there").read_bytes() == data
    gdb.cli(f"remote get {tmp_path}/there {tmp_path}/back")
    assert (tmp_path / "back").read_bytes() == data
    gdb.cli(f"remote delete {tmp_path}/there")
    assert not (tmp_path / "there").exists()
    assert "No such file" in gdb.error_of(f"remote get {tmp_path}/there {tmp_path}/back")


def test_info_os(extended, programs, debuggee):
    running = debuggee(programs.c("counter"))
    running.readline()
    gdb, server = extended()
    assert str(running.pid) in gdb.cli("info os processes")
    assert str(server.pid) in gdb.cli("info os threads")
    assert "processes" in gdb.cli("info os")
    assert gdb.cli("info os files") and gdb.cli("info os cpus")


def test_reconnect_to_a_running_server(extended, new_gdb, programs):
    gdb, server = extended(programs.c("basic"))
    gdb.break_at("depth")
    gdb.cli("run")
    gdb.expect_breakpoint_stop("depth")
    pid = gdb.pid()
    gdb.disconnect()
    again = new_gdb(programs.c("basic"))
    stop = again.connect(server, extended=True)
    assert stop is not None and again.pid() == pid
    assert again.bt() == ["depth", "main"]
    again.kill()


@pytest.mark.peer_fails("it ends when gdb connects again")
def test_reconnect_after_a_fork_that_was_followed(extended, programs):
    """The child is dead by then: nobody is told of it a second time."""
    gdb, server = extended(programs.c("forks"))
    gdb.cli("set follow-fork-mode child")
    gdb.cli("set detach-on-fork off")
    gdb.cli("set args fork")
    gdb.break_at("in_child")
    gdb.cli("run")
    gdb.expect_breakpoint_stop("in_child")
    parent = int(process.status(gdb.pid(), "PPid"))
    gdb.cli("kill")
    gdb.disconnect()
    gdb.cli("inferior 1")
    gdb.connect(server, extended=True)
    assert gdb.pid() == parent
    gdb.cli("kill")


def test_wrapper_and_launch_with_multi(serve, new_gdb, programs):
    """--multi with a program: there from the start, and another can be run after its end."""
    program = programs.c("environ")
    server = serve("--multi", "--wrapper", "env", "STOPGO_TEST=wrapped", "--", "127.0.0.1:0", program, "x")
    gdb = new_gdb(program)
    gdb.connect(server, extended=True)
    gdb.run_to("main")
    assert '"wrapped"' in gdb.eval('(char *)getenv("STOPGO_TEST")')
    gdb.cont()
    gdb.expect_exit(0)
    assert server.is_running()
    gdb.break_at("main")
    gdb.cli("run")
    gdb.expect_breakpoint_stop("main")
    gdb.kill()


def test_kill_of_the_client_leaves_no_process(extended, programs):
    gdb, server = extended(programs.c("basic"))
    gdb.break_at("main")
    gdb.cli("run")
    gdb.expect_breakpoint_stop("main")
    pid = gdb.pid()
    gdb.monitor("exit")
    assert server.wait_exit() == 0
    wait.until(lambda: not process.is_alive(pid), "the launched program to be killed")
