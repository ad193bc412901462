"""0x03 is answered whatever the threads are in the middle of."""
import random

import pytest

from harness.rsp import Rsp

ROUNDS = 150
SIGUSR1 = 0x1E


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
