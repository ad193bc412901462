"""A whole session from the first packet to the exit code, over every transport, on every kind of program."""
import os

import pytest

from harness import wait, where
from harness.programs import at


@pytest.mark.quick
@pytest.mark.parametrize("variant", ["", "static", "nopie"])
def test_launch_break_continue_exit(session, programs, variant):
    gdb, server = session(programs.c("basic", variant), "x", "y")
    gdb.break_at("main")
    gdb.break_at("depth")
    gdb.cont()
    gdb.expect_breakpoint_stop("main")
    gdb.cont()
    gdb.expect_breakpoint_stop("depth")
    assert gdb.bt()[:2] == ["depth", "main"]
    gdb.delete()
    gdb.cont()
    gdb.expect_exit(5)
    assert server.wait_exit() == 0
    assert "total 1018 pair 2" in server.out.rest()
    server.err.find(r"^Child exited with status 5$")


def test_first_stop_is_the_first_instruction(session, programs):
    gdb, _ = session(programs.c("basic", "static"))
    assert gdb.addr("$pc") == int(gdb.eval("(unsigned long)&_start"), 0)


def test_first_stop_of_a_dynamic_program_is_in_the_loader(session, programs):
    gdb, _ = session(programs.c("basic"))
    gdb.run_to("main")
    assert "basic.c" in gdb.cli("info source")
    assert "libc.so.6" in gdb.cli("info sharedlibrary")


@pytest.mark.parametrize("variant", ["", "static"])
def test_stdio_pipe(new_gdb, programs, variant):
    program = programs.c("basic", variant)
    gdb = new_gdb(program)
    gdb.cli(f"target remote | {where.server_path()} --once - {program} one")
    gdb.stops.clear()
    gdb.run_to("add")
    assert gdb.bt() == ["add", "loop", "main"]
    gdb.delete()
    gdb.cont()
    gdb.expect_exit(4)


def test_stdio_pipe_by_name_extended(new_gdb, programs):
    gdb = new_gdb()
    gdb.cli(f"target extended-remote | {where.server_path()} --multi stdio")
    program = programs.c("basic")
    gdb.cli(f"file {program}")
    gdb.cli(f"set remote exec-file {program}")
    gdb.break_at("depth")
    gdb.cli("run")
    gdb.expect_breakpoint_stop("depth")
    gdb.kill()


@pytest.mark.stopgo_only("gdbserver 13 listens on no unix socket")
def test_unix_socket(serve, new_gdb, programs, tmp_path):
    program = programs.c("basic")
    path = tmp_path / "socket"
    serve("--once", path, program)
    assert os.stat(path).st_mode & 0o077 == 0, "others may connect"
    gdb = new_gdb(program)
    gdb.cli(f"target remote {path}")
    gdb.stops.clear()
    gdb.run_to("depth")
    gdb.delete()
    gdb.cont()
    gdb.expect_exit(3)
    wait.until(lambda: not os.path.exists(path), "the socket's file to go")


@pytest.mark.stopgo_only("gdbserver 13 listens on no unix socket")
def test_unix_socket_with_prefix(serve, new_gdb, programs, tmp_path):
    program = programs.c("basic")
    serve("--once", f"unix:{tmp_path}/socket", program)
    gdb = new_gdb(program)
    gdb.cli(f"target remote {tmp_path}/socket")
    gdb.stops.clear()
    gdb.run_to("main")
    gdb.kill()


def test_program_output_goes_to_the_servers_stdout(session, programs):
    gdb, server = session(programs.c("basic"))
    gdb.cont()
    gdb.expect_exit(3)
    server.wait_exit()
    assert server.out.rest() == "total 1018 pair 2\n"


def test_kill_ends_program_and_server(at_main, programs):
    gdb, server = at_main(programs.c("basic"))
    pid = server.inferior
    gdb.kill()
    assert server.wait_exit() == 0
    assert not os.path.exists(f"/proc/{pid}")


def test_detach_lets_it_run_to_its_end(at_main, programs):
    gdb, server = at_main(programs.c("basic"))
    gdb.break_at("add")
    gdb.detach()
    assert server.out.find(r"total 1018")
    assert server.wait_exit() == 0


def test_detach_with_breakpoints_hit_later(at_main, programs):
    """A breakpoint that is still set must be out of memory before the program runs on alone."""
    gdb, server = at_main(programs.c("basic"))
    for function in ("add", "loop", "depth", "swap"):
        gdb.break_at(function)
    gdb.cont()
    gdb.expect_breakpoint_stop("loop")
    gdb.detach()
    assert server.out.find(r"total 1018")


def test_exec_file_is_taken_from_the_server(serve, new_gdb, programs):
    """gdb without a program asks the server for it, and for the libraries, by vFile."""
    server = serve.launch(programs.c("basic"))
    gdb = new_gdb()
    gdb.cli("set sysroot target:")
    gdb.connect(server)
    gdb.run_to("depth")
    assert gdb.bt() == ["depth", "main"]
    gdb.kill()


def test_auxv_and_proc(at_main, programs):
    program = programs.c("basic")
    gdb, server = at_main(program)
    auxv = gdb.cli("info auxv")
    assert "AT_ENTRY" in auxv and "AT_RANDOM" in auxv
    assert f'exe = \'{os.path.realpath(program)}\'' in gdb.cli("info proc exe")
    assert f"process {server.inferior}" in gdb.cli("info proc")
    assert os.path.realpath(program) in gdb.cli("info proc mappings")
    gdb.kill()


def test_until_and_advance(at_main, programs):
    gdb, _ = at_main(programs.c("basic"))
    gdb.resume("advance " + at("basic.c", "main-depth"))
    stop = gdb.expect_stop("location-reached", "main")
    assert gdb.value("counter") == 10 and stop.line
    gdb.resume("until " + at("basic.c", "main-end"))
    gdb.expect_stop("location-reached", "main")
    gdb.kill()


def test_threads_program_over_tcp(session, programs):
    gdb, server = session(programs.c("threads"), "4", "4000")
    gdb.break_at("all_ready")
    gdb.cont()
    gdb.expect_breakpoint_stop("all_ready")
    assert len(gdb.threads()) == 5
    gdb.delete()
    gdb.cont()
    gdb.expect_exit(0)
    assert server.wait_exit() == 0
