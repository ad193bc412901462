"""A program that does not begin: a wrapper that waits, a FIFO nobody opens. Client and signals are listened to all the same."""
import os
import signal
import time

import pytest

from harness import process, wait
from harness.server import Stopgo
from stage import LIMIT, Client, wait_gone

pytestmark = pytest.mark.stopgo_only("its patience")


@pytest.fixture(params=("wrapper", "fifo"))
def stuck(request, made, programs, serve, tmp_path):
    """(server, client): the client has asked for a program that does not begin."""
    wrapper, fifo = tmp_path / "wrapper", tmp_path / "fifo"
    wrapper.write_text("#!/bin/sh\nwhile :; do sleep 0.05; done\n")
    wrapper.chmod(0o755)
    os.mkfifo(fifo)
    options = ("--wrapper", wrapper, "--") if request.param == "wrapper" else ()
    server = serve.multi(options)
    client = made.add(Client(server.port))
    client.ask("qSupported:multiprocess+;error-message+")
    client.ask("!")
    if request.param == "fifo":
        client.ok("QSetSTDIN:" + str(fifo).encode().hex())
    client.send("vRun;" + programs.c("counter").encode().hex())
    wait.until(lambda: server.children(), "the program to be begun", LIMIT)
    time.sleep(0.05)
    return server, client


def nothing_left(server, children):
    wait.until(lambda: not any(process.is_alive(child) for child in children), "what was begun to be gone", LIMIT)


def test_interrupt(stuck):
    """Ctrl-C gives up; the server serves on."""
    server, client = stuck
    children = server.children()
    client.interrupt()
    reply = client.receive(LIMIT)
    assert reply[:1] == b"E", reply
    nothing_left(server, children)
    assert client.ask("qSymbol::") in (b"OK", b"")
    assert client.ask("?", LIMIT) == b"W00"
    client.close()
    assert server.is_running()


def test_client_goes(stuck):
    server, client = stuck
    children = server.children()
    client.close()
    nothing_left(server, children)
    again = Client(server.port)
    assert again.ask("?", LIMIT)
    again.close()


@pytest.mark.parametrize("name", ("SIGTERM", "SIGINT"))
def test_signal(stuck, name):
    server, client = stuck
    children = server.children()
    server.signal(getattr(signal, name))
    assert wait_gone(server) == 0
    nothing_left(server, children)


@pytest.mark.parametrize("name", ("SIGTERM", "SIGINT"))
def test_signal_before_listening(made, programs, tmp_path, name):
    """The program of the command line does not begin: a signal ends us and it."""
    wrapper = tmp_path / "wrapper"
    wrapper.write_text("#!/bin/sh\nwhile :; do sleep 0.05; done\n")
    wrapper.chmod(0o755)
    server = made.add(Stopgo(("--once", "--wrapper", wrapper, "--", "127.0.0.1:0", programs.c("counter")), listens=False))
    wait.until(lambda: server.children(), "the program to be begun", LIMIT)
    children = server.children()
    server.signal(getattr(signal, name))
    wait_gone(server)
    nothing_left(server, children)
