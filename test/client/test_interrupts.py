"""0x03 is answered whatever the threads are in the middle of."""
import random

import pytest

from harness import process, wait
from harness.rsp import Rsp

ROUNDS = 150
SIGUSR1 = 0x1E
SIGTRAP_BIT = 1 << 4  # in /proc/PID/status


@pytest.fixture
def busy(serve, programs):
    """busy(mode): a client connected to a program that does nothing but loop, the pid, and the addresses of its functions."""
    def start(mode):
        program = programs.c("busy", "nopie")
        server = serve("--once", ":0", program, mode)
        client = Rsp(server.port)
        client.ask("qSupported:multiprocess+;swbreak+;vContSupported+;xmlRegisters=i386")
        assert client.ask("?").startswith(b"T05")
        client.ask("Z0,%x,1" % programs.symbol(program, "work"))
        client.send("vCont;c")
        assert client.receive().startswith(b"T05swbreak")
        client.ask("z0,%x,1" % programs.symbol(program, "work"))
        return client, server.inferior, programs.symbol(program, "work")
    return start


def interrupt_often(client, resume):
    chance = random.Random(7)
    for _ in range(ROUNDS):
        client.send(resume)
        for _ in range(chance.randrange(2000)):
            pass
        client.send_raw(b"\x03")
        assert client.receive().startswith(b"T02")


def test_with_a_sigtrap_of_its_own_waiting(session, programs):
    """It is blocked and never comes: nobody waits for it at a halt."""
    gdb, server = session(programs.c("queued"))
    gdb.run_to("main")
    gdb.break_at("main")  # stays in: the trap of an int3 may be on its way
    turns = 0
    for _ in range(3):
        gdb.cont()
        wait.until(lambda: int(process.status(server.inferior, "SigPnd"), 16) & SIGTRAP_BIT, "its SIGTRAP to wait")
        gdb.interrupt()
        gdb.expect_signal("SIGINT")
        assert gdb.value("turns") >= turns
        turns = gdb.value("turns")
    gdb.kill()


@pytest.mark.parametrize("mode", ["loop", "signals"])
def test_while_it_runs(busy, mode):
    client, pid, _ = busy(mode)
    assert client.ask("QPassSignals:%x" % SIGUSR1) == b"OK"
    interrupt_often(client, "vCont;c")


def test_while_it_steps_in_a_range(busy):
    client, pid, work = busy("loop")
    interrupt_often(client, "vCont;r%x,%x:p%x.%x;c:p%x.-1" % (work, work + 0x100, pid, pid, pid))


def test_while_it_hits_a_false_condition(busy):
    client, pid, work = busy("calls")
    assert client.ask("Z0,%x,1;X3,220027" % work) == b"OK"      # const8 0, end: never true
    interrupt_often(client, "vCont;c")
