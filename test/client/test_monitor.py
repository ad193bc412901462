"""monitor commands: gdbserver's own, which scripts use, and what an unknown one gets."""
import pytest

from harness.gdb import GdbError


@pytest.mark.quick
def test_help_lists_commands(session, programs):
    gdb, _ = session(programs.c("basic"))
    text = gdb.monitor("help")
    assert "set debug" in text and "exit" in text
    gdb.kill()


@pytest.mark.parametrize("command", ["set debug 1", "set debug 0", "set remote-debug 1", "set remote-debug 0",
                                     "set debug-format timestamp", "set debug-format none", "set debug-format all"])
def test_debug_switches(session, programs, command):
    gdb, _ = session(programs.c("basic"))
    gdb.monitor(command)
    gdb.run_to("depth")
    gdb.kill()


@pytest.mark.peer_fails("13 does not have it")
def test_debug_hw_points(session, programs):
    gdb, _ = session(programs.c("basic"))
    gdb.monitor("set debug-hw-points 1")
    gdb.break_at("add", hardware=True)
    gdb.cont()
    gdb.expect_breakpoint_stop("add")
    gdb.monitor("set debug-hw-points 0")
    gdb.kill()


def test_libthread_db_search_path(serve, new_gdb, programs):
    """Told before gdb knows of any symbol, as it must be."""
    server = serve.launch(programs.c("tls"))
    gdb = new_gdb()
    gdb.cli("set auto-solib-add off")
    gdb.connect(server)
    assert "`$sdir:$pdir'" in gdb.monitor("show libthread-db-search-path")
    gdb.monitor("set libthread-db-search-path /lib/x86_64-linux-gnu")
    gdb.kill()


@pytest.mark.stopgo_only
def test_libthread_db_beside_the_programs_library(serve, new_gdb, programs):
    """gdbserver reads over $pdir."""
    gdb = new_gdb()
    gdb.connect(serve.launch(programs.c("tls")))
    gdb.monitor("set libthread-db-search-path /nonexistent:$pdir")
    gdb.run_to("together")
    assert gdb.value("local") == 1
    gdb.kill()


@pytest.mark.quick
def test_unknown_is_told_and_the_session_goes_on(session, programs):
    gdb, _ = session(programs.c("basic"))
    try:
        text = gdb.monitor("no such command")
    except GdbError as error:
        text = str(error)
    assert text
    gdb.run_to("depth")
    gdb.kill()


def test_exit_ends_the_server_and_the_program(session, programs):
    gdb, server = session(programs.c("basic"))
    gdb.may_lose_connection = True
    gdb.run_to("depth")
    gdb.monitor("exit")
    assert server.wait_exit() == 0


def test_exit_leaves_an_attached_process(serve, new_gdb, programs, debuggee):
    from harness import process, wait
    made = debuggee(programs.c("counter"))
    address = int(made.readline().split()[1], 16)
    server = serve.attach(made.pid)
    gdb = new_gdb(programs.c("counter"))
    gdb.may_lose_connection = True
    gdb.connect(server)
    gdb.break_at("tick")
    gdb.cont()
    gdb.expect_breakpoint_stop("tick")
    gdb.monitor("exit")
    assert server.wait_exit() == 0
    before = process.word(made.pid, address)
    wait.until(lambda: process.word(made.pid, address) > before + 2, "it to run on")
    assert process.changed_text(made.pid) == []


@pytest.mark.stopgo_only("its help has no groups")
def test_every_command_of_help_is_understood_or_asks_for_more(session, programs):
    """Each command that help lists is known: asking for it without arguments is never 'unknown'."""
    gdb, _ = session(programs.c("basic"))
    text = gdb.monitor("help")
    commands = [row.split("  ")[0].strip() for row in text.splitlines() if row.startswith("  ")]
    assert len(commands) > 4, text
    for command in commands:
        words = command.split()
        plain = " ".join(word for word in words if word.replace("-", "").isalpha())
        if plain in ("exit", "") or plain.startswith("exit"):
            continue
        try:
            answer = gdb.monitor(plain)
        except GdbError as error:
            answer = str(error)
        assert "nknown" not in answer, (plain, answer)
    gdb.kill()
