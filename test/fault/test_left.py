"""Nobody is left behind: what the kernel keeps when we let go of it, children whose parents are gone, threads that nobody waits for."""
import os
import pathlib
import re
import signal
import time

import pytest

from harness import process, wait
from stage import LIMIT, PLAIN, Client, Puppet, Seed, symbols, times, wait_gone

pytestmark = pytest.mark.stopgo_only("whom it lets go")


def traced_by(server):
    """Processes of which a thread is traced by the server."""
    found = set()
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            texts = [path.read_text() for path in pathlib.Path(f"/proc/{pid}/task").glob("*/status")]
        except OSError:
            continue
        if any(f"\nTracerPid:\t{server.pid}\n" in text and not re.search(r"\nState:\s+[ZX]", text) for text in texts):
            found.add(int(pid))
    return found


def begin_multi(made, serve, features=PLAIN, quiet="QPassSignals:e;14;17"):
    server = serve.multi()
    client = made.add(Client(server.port))
    client.begin(features, quiet)
    client.ask("!")
    return server, client


def run(client, *words):
    reply = client.ask("vRun;" + ";".join(str(word).encode().hex() for word in words), LIMIT)
    assert reply[:3] == b"T05", reply
    return reply


def test_wrapper_with_threads_and_children(made, programs, serve):
    """A wrapper that waits for what it started in its own memory gets to the program."""
    left = programs.c("left")
    server = serve.multi(("--wrapper", left, "wrap", "--"))
    client = made.add(Client(server.port))
    client.begin("qSupported:multiprocess+;QThreadEvents+;vContSupported+", None)
    client.ask("!")
    client.ask("QThreadEvents:1")
    reply = run(client, programs.c("basic"))
    assert traced_by(server) == {int(re.search(rb"thread:p([0-9a-f]+)", reply).group(1), 16)}
    assert client.ask("qfThreadInfo").count(b".") == 1


def test_detached_while_the_kernel_keeps_it(made, programs, serve):
    """A vfork parent cannot be let go of at once. It is when its child is gone, and so is a thread that a signal waits for."""
    parent = made.add(process.Debuggee([programs.c("forks"), "vforkwait"]))
    wait.until(lambda: process.descendants(parent.pid), "the child", LIMIT)
    [child] = process.descendants(parent.pid)
    server, client = begin_multi(made, serve)
    client.ask(f"vAttach;{parent.pid:x}", LIMIT)
    client.ok(f"D;{parent.pid:x}")
    os.kill(child, signal.SIGKILL)
    wait.until(lambda: not traced_by(server), "everybody to be let go", LIMIT)
    assert parent.process.wait(LIMIT) == 101
    assert server.is_running()


def test_children_of_what_has_ended(made, programs, serve):
    """A process ends while a thread of it forks: whoever was just made goes on without us, with no breakpoint in its memory."""
    left = programs.c("left", "nopie")
    seed = Seed()
    server, client = begin_multi(made, serve)
    at = symbols(left, "tick")["tick"]
    for _ in range(times(25)):
        run(client, left, "orphans", seed.randrange(500, 4000))
        client.insert(at)
        client.go()
        reply = client.stop_reply()
        assert reply[:3] == b"W00", reply
    wait.until(lambda: not traced_by(server), "everybody to be let go", LIMIT)


def test_killed_in_the_middle_of_a_call(made, programs, serve):
    """A process is killed while its first thread makes a system call for us: no status comes of that one before the others' are read."""
    seed = Seed()
    server, client = begin_multi(made, serve)
    for _ in range(times(40)):
        run(client, programs.c("parked"), 3)
        [pid] = traced_by(server)
        client.go()
        wait.until(lambda: len(process.tasks(pid)) == 4, "its threads", LIMIT)
        client.halt()
        calls = 20
        for _ in range(calls):
            client.send("_M1000,rw")
        time.sleep(seed.random() * 0.002)
        os.kill(pid, signal.SIGKILL)
        for _ in range(calls):
            client.receive(LIMIT)
        client.go()
        reply = client.stop_reply()
        assert reply[:3] == b"X09", reply


def test_trap_that_was_sent(made, programs, serve):
    """A SIGTRAP that waits when the program makes a system call for us is told all the same."""
    actor = made.add(Puppet(programs, workers=1))
    server = serve.attach(actor.pid)
    client = made.add(Client(server.port))
    client.begin(quiet="QPassSignals:e;14;17")
    actor.kill(signal.SIGTRAP)
    assert int(client.ask("_M1000,rw"), 16)
    client.go()
    reply = client.stop_reply()
    assert reply[:3] == b"T05" and b"swbreak" not in reply, reply
    info = client.ask("qXfer:siginfo:read::0,80")
    assert info[1:2] == b"\x05" and info[9:13] == b"\0\0\0\0", info        # SIGTRAP, SI_USER
    client.go()
    client.halt()
    client.ok(f"D;{actor.pid:x}")
    client.close()
    assert wait_gone(server) == 0
    actor.assert_untouched()


def test_asked_to_stop_while_the_kernel_keeps_it(made, programs, serve):
    """Non-stop: a thread that could not be halted for a moment still stops when its client asks for it."""
    parent = made.add(process.Debuggee([programs.c("forks", "nopie"), "vforkwait"]))
    wait.until(lambda: process.descendants(parent.pid), "the child", LIMIT)
    [child] = process.descendants(parent.pid)
    server, client = begin_multi(made, serve)
    client.ok("QNonStop:1")
    client.send(f"vAttach;{parent.pid:x}")
    assert client.receive(LIMIT) == b"OK"
    thread = f"p{parent.pid:x}.{parent.pid:x}"
    client.ask(f"vCont;c:{thread}")
    at = symbols(programs.c("forks", "nopie"), "in_child_calls")["in_child_calls"]
    client.insert(at, kind=2, length=4)
    client.ok(f"vCont;t:{thread}")
    os.kill(child, signal.SIGKILL)
    reply = client.receive(LIMIT)
    assert reply.startswith(b"%Stop:") and b"T00" in reply, reply

