"""Attach to a running process, and leave it as if nobody had been there."""
import os
import signal

import pytest

from harness import process, wait
from harness.server import Stopgo


@pytest.mark.quick
@pytest.mark.parametrize("args", [(), ("threads", "8")])
def test_attach_look_detach(serve, new_gdb, programs, running, args):
    made = running(*args)
    server = serve.attach(made.pid)
    server.err.find(r"^Attached; pid = %d$" % made.pid)
    gdb = new_gdb(programs.c("counter"))
    gdb.connect(server)
    assert len(gdb.threads()) == len(process.tasks(made.pid)) == (9 if args else 1)
    gdb.break_at("tick")
    for _ in range(3):
        gdb.cont()
        gdb.expect_breakpoint_stop("tick")
    gdb.detach()
    assert server.wait_exit() == 0
    assert process.tracer(made.pid) == 0
    assert process.changed_text(made.pid) == []
    assert process.progresses(made)


def test_nothing_moves_while_stopped(serve, new_gdb, programs, running):
    made = running("threads", "4")
    gdb = new_gdb(programs.c("counter"))
    gdb.connect(serve.attach(made.pid))
    states = {process.state(tid) for tid in process.tasks(made.pid)}
    assert states == {"t"}
    before = made.ticks()
    assert gdb.value("ticks") == before
    assert made.ticks() == before
    gdb.detach()
    assert process.progresses(made)


def test_attach_continue_interrupt_detach(serve, new_gdb, programs, running):
    made = running()
    server = serve.attach(made.pid)
    gdb = new_gdb(programs.c("counter"))
    gdb.connect(server)
    for _ in range(5):
        gdb.cont()
        assert process.progresses(made)
        gdb.interrupt()
        gdb.expect_signal("SIGINT")
    gdb.detach()
    assert process.progresses(made)


@pytest.mark.peer_fails("it signals a process group that is not there")
def test_interrupt_of_one_that_leads_no_process_group(serve, new_gdb, programs, running):
    made = running(leads_group=False)
    gdb = new_gdb(programs.c("counter"))
    gdb.connect(serve.attach(made.pid))
    gdb.cont()
    assert process.progresses(made)
    gdb.interrupt()
    gdb.expect_signal("SIGINT")
    gdb.detach()


def test_quit_of_gdb_detaches_and_lets_run(serve, new_gdb, programs, running):
    made = running()
    server = serve.attach(made.pid)
    gdb = new_gdb(programs.c("counter"))
    gdb.connect(server)
    gdb.break_at("tick")
    gdb.cont()
    gdb.expect_breakpoint_stop("tick")
    gdb.close()
    assert server.wait_exit() == 0
    assert process.changed_text(made.pid) == []
    assert process.progresses(made)


@pytest.mark.quick
@pytest.mark.stopgo_only("it leaves the process stopped, with breakpoints in it")
def test_client_that_dies_leaves_it_clean(serve, new_gdb, programs, running):
    made = running("threads", "4")
    server = serve.attach(made.pid)
    gdb = new_gdb(programs.c("counter"))
    gdb.connect(server)
    gdb.break_at("tick")
    gdb.break_at("on_usr1")
    gdb.cont()
    gdb.expect_breakpoint_stop("tick")
    gdb.vanish()
    assert server.wait_exit() == 0
    assert process.tracer(made.pid) == 0
    assert process.changed_text(made.pid) == []
    assert process.progresses(made)


@pytest.mark.stopgo_only("it leaves the process traced, with breakpoints in it")
def test_client_that_dies_while_it_runs(serve, new_gdb, programs, running):
    made = running()
    server = serve.attach(made.pid)
    gdb = new_gdb(programs.c("counter"))
    gdb.connect(server)
    gdb.break_at("on_usr1")
    gdb.cont()
    assert process.progresses(made)
    gdb.vanish()
    assert server.wait_exit() == 0
    assert process.changed_text(made.pid) == []
    os.kill(made.pid, signal.SIGUSR1)
    assert process.progresses(made)


@pytest.mark.quick
@pytest.mark.stopgo_only("it leaves the process to die by its breakpoints")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
@pytest.mark.parametrize("stopped", [True, False])
def test_server_ended_by_a_signal(serve, new_gdb, programs, running, number, stopped):
    made = running("threads", "2")
    server = serve.attach(made.pid)
    gdb = new_gdb(programs.c("counter"))
    gdb.may_lose_connection = True
    gdb.connect(server)
    gdb.break_at("tick" if stopped else "on_usr1")
    gdb.cont()
    if stopped:
        gdb.expect_breakpoint_stop("tick")
    else:
        assert process.progresses(made)
    server.signal(number)
    server.wait_exit()
    assert process.tracer(made.pid) == 0
    assert process.changed_text(made.pid) == []
    assert process.progresses(made)


def test_attach_to_a_stopped_process(serve, new_gdb, programs, running):
    """One that a signal has stopped stays stopped after detach, as it was found, and SIGCONT makes it go on."""
    made = running()
    made.kill(signal.SIGSTOP)
    made.wait_state("T")
    gdb = new_gdb(programs.c("counter"))
    server = serve.attach(made.pid)
    gdb.connect(server)
    gdb.value("ticks")
    gdb.detach()
    server.wait_exit()
    made.kill(signal.SIGCONT)
    assert process.progresses(made)


def refused(made, args, code):
    """Start a server that must refuse: what it said."""
    server = made.add(Stopgo(args, listens=False))
    status = server.wait_exit()
    said = server.err.rest()
    assert status != 0
    assert "Listening" not in said
    if code is not None:
        assert status == code, said
    return said


def test_refusal_no_such_process(made):
    from harness import where
    said = refused(made, ["--attach", "127.0.0.1:0", "4194304"], None if where.is_peer() else 4)
    assert "4194304" in said and "No such process" in said


@pytest.mark.stopgo_only("it listens first, and exits with 1")
def test_refusal_already_traced(made, serve, running):
    victim = running()
    holder = serve.attach(victim.pid)
    said = refused(made, ["--attach", "127.0.0.1:0", str(victim.pid)], 3)
    assert str(holder.pid) in said, "who traces it is not said"
    assert "traced" in said


@pytest.mark.stopgo_only("says nothing of it")
def test_refusal_kernel_thread(made):
    said = refused(made, ["--attach", "127.0.0.1:0", "2"], 3)
    assert "kernel" in said


@pytest.mark.stopgo_only("says nothing of it")
def test_refusal_of_itself(made):
    said = refused(made, ["--attach", "127.0.0.1:0", "self"], 2)
    assert said


def test_attach_pid_that_is_no_number(made):
    assert refused(made, ["--attach", "127.0.0.1:0", "12x"], None)


def test_signals_sent_during_the_session_are_all_counted(serve, new_gdb, programs, running):
    """SIGUSR1 sent once at each stop: each is handled by the program exactly once."""
    made = running()
    gdb = new_gdb(programs.c("counter"))
    gdb.connect(serve.attach(made.pid))
    gdb.cli("handle SIGUSR1 nostop noprint pass")
    gdb.break_at("tick")
    for round_ in range(1, 6):
        gdb.cont()
        gdb.expect_breakpoint_stop("tick")
        made.kill(signal.SIGUSR1)
        gdb.cont()
        gdb.expect_breakpoint_stop("tick")
        assert gdb.value("usr1") == round_
    gdb.detach()


def test_exit_code_after_attach(serve, new_gdb, programs, running):
    made = running()
    gdb = new_gdb(programs.c("counter"))
    gdb.connect(serve.attach(made.pid))
    gdb.set("leave = 1")
    gdb.cont()
    gdb.expect_exit(6)
    assert made.result() == 6


def test_call_after_attach_in_a_system_call(serve, new_gdb, programs, running):
    """Attached in the middle of a sleep: a called function works, and the sleep is restarted rightly."""
    made = running()
    gdb = new_gdb(programs.c("counter"))
    gdb.connect(serve.attach(made.pid))
    assert gdb.value("(int)getpid()") == made.pid
    gdb.cont()
    assert process.progresses(made)
    gdb.interrupt()
    gdb.expect_signal("SIGINT")
    gdb.detach()


def test_attach_into_a_signal(serve, new_rsp, programs, debuggee):
    """A thread that is about to get a signal when somebody attaches is said to have stopped by it; none is lost."""
    program = programs.c("signals")
    raising = debuggee(program, "again")
    assert raising.readline() == "again"
    rsp = new_rsp(serve.multi())
    rsp.ask("qSupported:multiprocess+;swbreak+;vContSupported+;no-resumed+;xmlRegisters=i386")
    assert rsp.ask("!") == b"OK"
    seen = 0
    for _ in range(4000):
        stop = rsp.ask(f"vAttach;{raising.pid:x}")
        assert stop[:3] in (b"T00", b"T0e")
        seen += stop[:3] == b"T0e"
        assert rsp.ask(f"D;{raising.pid:x}") == b"OK"
        if seen == 3:
            break
    assert seen == 3
    assert process.is_alive(raising.pid)
