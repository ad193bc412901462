"""Signals: stopped at, passed, held back, invented; with their siginfo; and Ctrl-C."""
import os
import signal

import pytest

from harness import process
from harness.programs import at


@pytest.mark.quick
def test_stop_and_pass(at_main, programs):
    gdb, _ = at_main(programs.c("signals"), "usr1")
    gdb.cont()
    gdb.expect_signal("SIGUSR1")
    gdb.cont()
    gdb.expect_exit(1)


def test_stop_and_hold_back(at_main, programs):
    gdb, _ = at_main(programs.c("signals"), "usr1")
    gdb.cli("handle SIGUSR1 stop nopass")
    gdb.cont()
    gdb.expect_signal("SIGUSR1")
    gdb.cont()
    gdb.expect_exit(0)


def test_pass_without_stopping(at_main, programs):
    gdb, _ = at_main(programs.c("signals"), "usr1")
    gdb.cli("handle SIGUSR1 nostop noprint pass")
    gdb.break_at("on_usr1")
    gdb.cont()
    gdb.expect_breakpoint_stop("on_usr1")
    assert "<signal handler called>" in gdb.cli("bt")
    gdb.cont()
    gdb.expect_exit(1)


def test_hold_back_without_stopping(at_main, programs):
    gdb, _ = at_main(programs.c("signals"), "usr1")
    gdb.cli("handle SIGUSR1 nostop noprint nopass")
    gdb.cont()
    gdb.expect_exit(0)


def test_signal_0_discards(at_main, programs):
    gdb, _ = at_main(programs.c("signals"), "usr1")
    gdb.cont()
    gdb.expect_signal("SIGUSR1")
    gdb.resume("signal 0")
    gdb.expect_exit(0)


def test_signal_command_delivers_another(at_main, programs):
    gdb, _ = at_main(programs.c("signals"), "usr1")
    gdb.cont()
    gdb.expect_signal("SIGUSR1")
    gdb.break_at(at("signals.c", "after-usr1"))
    gdb.resume("signal SIGUSR2")
    gdb.expect_breakpoint_stop("main")
    assert (gdb.value("usr1"), gdb.value("usr2")) == (0, 1)
    gdb.kill()


@pytest.mark.quick
def test_siginfo_is_read_and_written(at_main, programs):
    gdb, server = at_main(programs.c("signals"), "value")
    gdb.cont()
    gdb.expect_stop("signal-received")
    assert gdb.value("$_siginfo.si_signo") == signal.SIGRTMIN + 1
    assert gdb.value("$_siginfo.si_code") == -1             # SI_QUEUE
    assert gdb.value("$_siginfo._sifields._rt.si_sigval.sival_int") == 77
    assert gdb.value("$_siginfo._sifields._rt.si_pid") == server.inferior
    gdb.set("$_siginfo._sifields._rt.si_sigval.sival_int = 55")
    gdb.cont()
    gdb.expect_exit(55)


def test_siginfo_of_a_fault(at_main, programs):
    gdb, _ = at_main(programs.c("signals"), "segv")
    gdb.cont()
    gdb.expect_signal("SIGSEGV", "crash")
    assert gdb.addr("$_siginfo._sifields._sigfault.si_addr") == 0
    assert gdb.value("$_siginfo.si_code") == 1              # SEGV_MAPERR
    gdb.cont()
    stop = gdb.expect_stop("exited-signalled")
    assert stop.signal == "SIGSEGV"


@pytest.mark.parametrize("what, name", [("abort", "SIGABRT"), ("divide", "SIGFPE"), ("segv", "SIGSEGV")])
def test_fatal_signals(at_main, programs, what, name):
    gdb, server = at_main(programs.c("signals"), what)
    gdb.cont()
    gdb.expect_signal(name)
    gdb.cont()
    stop = gdb.expect_stop("exited-signalled")
    assert stop.signal == name
    assert server.wait_exit() == 0
    server.err.find(r"^Child terminated with signal = 0x%x \(%s\)$" % (getattr(signal, name), name))


def test_fault_mended_by_hand(at_main, programs):
    """A pointer set right at the fault: the instruction runs again."""
    gdb, _ = at_main(programs.c("signals"), "segv")
    gdb.cont()
    gdb.expect_signal("SIGSEGV", "crash")
    gdb.set("nowhere = &usr1")
    gdb.set("$rax = &usr1")
    gdb.resume("signal 0")
    gdb.expect_exit(99)


def test_step_into_a_handler(at_main, programs):
    gdb, _ = at_main(programs.c("signals"), "usr1")
    gdb.cli("handle SIGUSR1 nostop noprint pass")
    gdb.run_to(at("signals.c", "raise-usr1"))
    gdb.step("next", func="main")           # the handler runs within the step
    assert gdb.value("usr1") == 1
    gdb.kill()


def test_stepi_with_a_signal_goes_to_the_handlers_first_instruction(at_main, programs):
    gdb, _ = at_main(programs.c("signals"), "usr1")
    gdb.cont()
    gdb.expect_signal("SIGUSR1")
    gdb.step("stepi", func="on_usr1")
    assert gdb.addr("$pc") == gdb.addr("&on_usr1")
    gdb.cont()
    gdb.expect_exit(1)


def test_breakpoint_in_a_handler_and_finish(at_main, programs):
    gdb, _ = at_main(programs.c("signals"), "usr1")
    gdb.cli("handle SIGUSR1 nostop noprint pass")
    gdb.run_to("on_usr1")
    gdb.step("next")
    gdb.resume("finish")
    gdb.expect_stop()
    gdb.cont()
    gdb.expect_exit(1)


def test_signals_of_two_threads(session, programs):
    """A directed signal is reported by the thread it was sent to."""
    gdb, _ = session(programs.c("signals"), "thread")
    seen = {}
    for _ in range(2):
        gdb.cont()
        stop = gdb.expect_stop("signal-received")
        seen[stop.signal] = stop.thread
    assert seen == {"SIGUSR1": 1, "SIGUSR2": 2}
    gdb.cont()
    gdb.expect_exit(11)


@pytest.mark.quick
def test_five_hundred_queued_signals_arrive_once_each(at_main, programs):
    gdb, _ = at_main(programs.c("signals"), "storm")
    gdb.cli("handle SIG35 nostop noprint pass")
    gdb.cont()
    gdb.expect_exit(0)


def test_storm_through_a_breakpoint(at_main, programs):
    """Signals that arrive while a thread is stepped over a breakpoint are not lost: here each handler has one."""
    gdb, _ = at_main(programs.c("signals"), "storm")
    gdb.cli("handle SIG35 nostop noprint pass")
    gdb.break_at(at("signals.c", "on-value"), condition="last_value == 100000")
    gdb.cont()
    gdb.expect_exit(0)


@pytest.mark.parametrize("number, code", [(signal.SIGUSR1, 1), (signal.SIGCONT, None)])
def test_sent_from_outside(session, programs, number, code):
    gdb, server = session(programs.c("signals"), "wait")
    gdb.cont()
    server.out.find("waiting")
    os.kill(server.inferior, number)
    gdb.expect_signal(signal.Signals(number).name)
    if code is None:
        gdb.resume("signal SIGUSR1")
        code = 1
    else:
        gdb.cont()
    gdb.expect_exit(code)


def test_killed_from_outside(session, programs):
    gdb, server = session(programs.c("signals"), "wait")
    gdb.cont()
    server.out.find("waiting")
    os.kill(server.inferior, signal.SIGKILL)
    assert gdb.expect_stop("exited-signalled").signal == "SIGKILL"
    assert server.wait_exit() == 0


@pytest.mark.quick
def test_ctrl_c(session, programs):
    gdb, server = session(programs.c("signals"), "wait")
    gdb.cont()
    server.out.find("waiting")
    for _ in range(3):
        gdb.interrupt()
        gdb.expect_signal("SIGINT")
        gdb.cont()
    gdb.interrupt()
    gdb.expect_signal("SIGINT")
    gdb.set("usr1 = 4")
    gdb.resume("signal 0")
    gdb.expect_exit(4)


def test_ctrl_c_with_threads_stops_all(session, programs):
    gdb, server = session(programs.c("threads"), "8")
    gdb.cont()
    server.out.find("ready")
    gdb.interrupt()
    gdb.expect_signal("SIGINT")
    before = [gdb.value(f"progress[{i}]") for i in range(8)]
    assert all(process.state(tid) == "t" for tid in process.tasks(server.inferior))
    assert [gdb.value(f"progress[{i}]") for i in range(8)] == before
    gdb.set("stop = 1")
    gdb.cont()
    gdb.expect_exit(0)


def test_siginfo_of_who_was_stopped_for_us(serve, new_gdb, programs, debuggee):
    """Who stands still because somebody attached, or because another one stopped, stands as at SIGSTOP; Ctrl-C is SIGINT."""
    program = programs.c("threads")
    spinning = debuggee(program, "2")
    assert spinning.readline() == "ready"
    gdb = new_gdb(program)
    gdb.connect(serve.attach(spinning.pid))

    def signals():
        found = {}
        for number in gdb.threads():
            gdb.thread(number)
            found[number] = gdb.value("$_siginfo.si_signo")
        return found

    assert set(signals().values()) == {signal.SIGSTOP}
    gdb.cont()
    gdb.interrupt()
    stopped = gdb.expect_signal("SIGINT").thread
    found = signals()
    assert found.pop(stopped) == signal.SIGINT
    assert set(found.values()) == {signal.SIGSTOP}
    gdb.set("stop = 1")
    gdb.cont()
    gdb.expect_exit(0)


def test_signal_while_stopped_is_reported_on_continue(session, programs):
    gdb, server = session(programs.c("signals"), "wait")
    gdb.cont()
    server.out.find("waiting")
    gdb.interrupt()
    gdb.expect_signal("SIGINT")
    os.kill(server.inferior, signal.SIGUSR1)
    gdb.cont()
    gdb.expect_signal("SIGUSR1")
    gdb.cont()
    gdb.expect_exit(1)


@pytest.mark.parametrize("command", ["stepi", "step"])
@pytest.mark.parametrize("args", [(), ("threads", "2")])
def test_signal_while_stopped_comes_before_the_step(session, programs, args, command):
    """Over a breakpoint, too."""
    gdb, server = session(programs.c("counter"), *args)
    gdb.break_at("*tick" if command == "stepi" else at("counter.c", "counting"))
    for _ in range(3):
        gdb.cont()
        gdb.expect_stop("breakpoint-hit")
        before = gdb.value("$pc")
        process.signal_thread(server.inferior, server.inferior, signal.SIGUSR1)
        gdb.resume(command)
        gdb.expect_signal("SIGUSR1")
        assert gdb.value("$pc") == before
    gdb.kill()


def test_signal_seen_and_not_delivered_is_delivered_at_detach(serve, new_gdb, programs, debuggee):
    """detach after a stop by a signal: the program gets it, as if nobody had been there."""
    program = programs.c("signals")
    waiting = debuggee(program, "wait")
    assert waiting.readline() == "waiting"
    server = serve.attach(waiting.pid)
    gdb = new_gdb(program)
    gdb.connect(server)
    waiting.kill(signal.SIGUSR1)
    gdb.cont()
    gdb.expect_signal("SIGUSR1")
    gdb.detach()
    assert waiting.result() == 1


def test_group_stop_from_outside(session, programs):
    """SIGSTOP sent by someone else is seen as a signal; after the program is let go it really is stopped by it only when
    the client passes it on."""
    gdb, server = session(programs.c("signals"), "wait")
    gdb.cont()
    server.out.find("waiting")
    os.kill(server.inferior, signal.SIGSTOP)
    gdb.expect_signal("SIGSTOP")
    gdb.resume("signal SIGUSR1")
    gdb.expect_exit(1)
