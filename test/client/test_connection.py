"""Connections that come and go: disconnect, reconnect, --once, a second client, half a packet."""
import os
import socket

import pytest

from harness import process, wait
from harness.programs import at


@pytest.mark.quick
def test_disconnect_and_reconnect_finds_the_same_stop(serve, new_gdb, programs):
    program = programs.c("basic")
    server = serve.launch(program, options=())
    gdb = new_gdb(program)
    gdb.connect(server)
    gdb.run_to(at("basic.c", "add-body"))
    where = gdb.addr("$pc")
    gdb.disconnect()
    assert server.is_running()
    gdb.connect(server)
    assert gdb.addr("$pc") == where and gdb.bt() == ["add", "loop", "main"]
    gdb.delete()
    gdb.cont()
    gdb.expect_exit(3)
    assert server.wait_exit() == 0


def test_reconnect_many_times(serve, new_gdb, programs):
    program = programs.c("threads")
    server = serve.launch(program, "4", options=())
    gdb = new_gdb(program)
    gdb.connect(server)
    gdb.run_to("all_ready")
    for _ in range(5):
        gdb.break_at("work")
        gdb.cont()
        gdb.expect_breakpoint_stop("work")
        gdb.delete()
        gdb.disconnect()
        stop = gdb.connect(server)
        assert stop is not None and len(gdb.threads()) == 5
    gdb.kill()
    assert server.wait_exit() == 0


def test_another_gdb_takes_over(serve, new_gdb, programs):
    program = programs.c("basic")
    server = serve.launch(program, options=())
    first = new_gdb(program)
    first.connect(server)
    first.break_at("add")
    first.cont()
    first.expect_breakpoint_stop("add")
    first.vanish()
    second = new_gdb(program)
    second.connect(server)
    assert second.bt() == ["add", "loop", "main"]
    assert second.read("&add", 1) != b"\xcc"
    second.cont()
    second.expect_exit(3)


@pytest.mark.quick
def test_once_ends_with_the_client_and_kills_what_it_launched(serve, new_gdb, programs):
    program = programs.c("counter")
    server = serve.launch(program)
    gdb = new_gdb(program)
    gdb.connect(server)
    gdb.run_to("tick")
    pid = gdb.pid()
    gdb.vanish()
    assert server.wait_exit() == 0
    wait.until(lambda: not process.is_alive(pid), "the launched program to be killed")


def test_connection_without_a_word(serve, new_gdb, programs):
    """Someone who connects and leaves again, as a port scanner does, costs the session nothing."""
    program = programs.c("basic")
    server = serve.launch(program, options=())
    for _ in range(3):
        with socket.create_connection(("127.0.0.1", server.port), wait.LIMIT):
            pass
    gdb = new_gdb(program)
    gdb.connect(server)
    gdb.run_to("depth")
    gdb.delete()
    gdb.cont()
    gdb.expect_exit(3)


@pytest.mark.quick
@pytest.mark.stopgo_only("it crashes or goes on in its own way")
def test_noise_is_survived(serve, new_rsp, programs):
    server = serve.launch(programs.c("basic"), options=())
    rsp = new_rsp(server)
    rsp.send_raw(b"\x00\xff$$$#00$#zz+++---")
    rsp.send_raw(b"$m#6d")
    rsp.send_raw(b"$mfffffffffffffffffffff,1#00")
    rsp.send_raw(b"$" + b"A" * 100000)
    rsp.close()
    again = new_rsp(server)
    assert again.ask("?")[:1] in (b"T", b"S")
    again.close()
    assert server.is_running()


@pytest.mark.quick
@pytest.mark.parametrize("body", ["Z0,401000,1", "z2,401000,4", "qCRC:400000,100", "QCatchSyscalls:1", "g", "p0", "m0,10",
                                  "vCont?", "vCont;c", "s", "c", "Hg0", "T1", "qC", "D", "qXfer:threads:read::0,100",
                                  "qXfer:siginfo:read::0,100", "qGetTLSAddr:1,0,0", "X400000,0:", "P0=00", "G00"])
@pytest.mark.stopgo_only("some of these end it")
def test_well_formed_before_the_stop_is_asked_for(serve, new_rsp, programs, body):
    """Packets in an order that no debugger sends: each gets an answer or lets the program run; none ends the server."""
    server = serve.launch(programs.c("counter"), options=())
    rsp = new_rsp(server)
    rsp.send(body)
    if body in ("vCont;c", "s", "c"):
        rsp.interrupt()
    rsp.receive()
    if body != "D":
        rsp.send("?")
        assert rsp.receive()
    assert server.is_running()


@pytest.mark.stopgo_only("it waits in the backlog")
def test_second_client_is_told(serve, new_rsp, programs):
    """A second client is not left hanging: it is refused at once, and the first goes on."""
    server = serve.launch(programs.c("basic"), options=())
    first = new_rsp(server)
    first.ask("?")
    second = socket.create_connection(("127.0.0.1", server.port), wait.LIMIT)
    second.settimeout(wait.LIMIT)
    try:
        while second.recv(4096):
            pass
    except ConnectionResetError:
        pass
    second.close()
    assert first.ask("qC").startswith(b"QC")


@pytest.mark.stopgo_only("it stays for ever")
def test_grace_ends(serve, new_rsp, programs, debuggee):
    """After the grace period an attached process runs on without a client, and can still be connected to."""
    made = debuggee(programs.c("counter"))
    address = int(made.readline().split()[1], 16)
    server = serve("--grace", "1", "--attach", "127.0.0.1:0", made.pid)
    rsp = new_rsp(server)
    rsp.ask("?")
    rsp.reset()
    before = process.word(made.pid, address)
    wait.until(lambda: process.word(made.pid, address) > before + 2, "it to run on after the grace period")
    again = new_rsp(server)
    assert again.ask("?")[:1] in (b"T", b"S")
    again.close()


def test_ack_mode_and_retransmission(serve, new_rsp, programs):
    """Before no-ack mode a packet asked for again by '-' comes again, as it was."""
    server = serve.launch(programs.c("basic"))
    rsp = new_rsp(server, no_ack=False)
    rsp.send_raw(b"+")
    rsp.acks = False
    rsp.send("qSupported:multiprocess+")
    first = rsp.receive()
    rsp.send_raw(b"-")
    assert rsp.receive() == first
    rsp.send_raw(b"+")
    rsp.send_raw(b"$?#00")                  # a wrong checksum is asked for again
    assert rsp.receive_ack() == b"-"


def test_listening_socket_is_not_inherited(serve, programs):
    """The launched program has the server's three standard descriptors and no other."""
    server = serve.launch(programs.c("counter"))
    descriptors = sorted(map(int, os.listdir(f"/proc/{server.inferior}/fd")))
    assert descriptors == [0, 1, 2]
