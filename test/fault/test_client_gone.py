"""The client vanishes anywhere in a session: the program is as if nobody had been there, and runs on."""
import signal
import socket
import struct
import time

import pytest

from harness import process, wait
from recorder import Recorder, Replay
from stage import FACTOR, FALSE, LIMIT, Client, GoPuppet, Puppet, Seed, condition, thread_of, times, wait_gone

pytestmark = pytest.mark.stopgo_only("gdbserver leaves its breakpoints where they are")

GRACE = 1           # seconds
GDB = pytest.mark.gdbs("gdb13")


def step(gdb, command):
    """Another thread may run into a breakpoint first: that is a stop, too."""
    gdb.resume(command)
    gdb.expect_stop()


def all_stop_session(gdb, actor):
    """Breakpoints of each kind, hit by several threads, steps, watchpoints, conditions."""
    gdb.break_at("*spot_odd")
    gdb.break_at("tick", condition="pass % 7 == 0")
    for _ in range(2):
        gdb.cont()
        gdb.expect_breakpoint_stop()
    gdb.cli("info threads")
    step(gdb, "stepi")
    step(gdb, "stepi")
    gdb.delete()
    gdb.watch("watched_lines[0][0]")
    gdb.cont()
    gdb.expect_stop()
    gdb.break_at("spot_leaf", hardware=True)
    gdb.cont()
    gdb.expect_stop()
    gdb.delete()
    gdb.break_at("*spot_syscall_insn", condition="0")
    gdb.break_at("*spot_count")
    gdb.cont()
    gdb.expect_breakpoint_stop()
    gdb.cli("bt 3")
    gdb.delete()
    gdb.break_at("*spot_call", condition="0")
    gdb.cont()
    time.sleep(0.01)
    gdb.interrupt()
    gdb.expect_signal("SIGINT")
    gdb.detach()


def non_stop_session(gdb, actor):
    for place, condition in (("*spot_odd", None), ("tick", "pass % 2 == 0"), ("*spot_call", None)):
        gdb.cli("continue -a&")
        gdb.break_at(place, condition=condition)
        gdb.thread(gdb.expect_breakpoint_stop().thread)
        gdb.delete()
        gdb.stops = []
        step(gdb, "stepi&")
    gdb.cli("continue -a&")
    gdb.break_at("*spot_count", condition="0")
    time.sleep(0.01)
    gdb.cli("interrupt -a")
    gdb.expect_stop()
    gdb.delete()
    gdb.detach()


def go_session(gdb, actor):
    gdb.break_at("main.tick")
    gdb.cont()
    gdb.expect_breakpoint_stop()
    step(gdb, "next")
    gdb.cont()
    gdb.expect_breakpoint_stop()
    gdb.delete()
    gdb.break_at(f"*{actor.at['main.tick'] + 10}", condition="0")
    gdb.break_at(f"*{actor.at['main.deep']}")
    gdb.cont()
    gdb.expect_breakpoint_stop()
    gdb.cli("info threads")
    step(gdb, "stepi")
    gdb.delete()
    gdb.watch("'main.watched'")
    gdb.cont()
    gdb.expect_stop()
    gdb.detach()


SESSIONS = {
    "c": (Puppet, all_stop_session, {}),
    "c-non-stop": (Puppet, non_stop_session, {"non_stop": True, "mi_async": True}),
    "go": (GoPuppet, go_session, {}),
}


@pytest.fixture(params=SESSIONS)
def recorded(request, made, programs, serve, new_gdb):
    """(actor, messages): a program that runs, and what a gdb said that debugged this very process."""
    make, session, options = SESSIONS[request.param]
    actor = made.add(make(programs))
    server = serve.attach(actor.pid)
    recorder = Recorder(server)
    gdb = new_gdb(None, **options)
    gdb.cli(f"file {actor.process.args[0]}")
    gdb.cli("set sysroot /")
    gdb.cli("set displaced-stepping off")
    gdb.connect(server, address=recorder.address)
    session(gdb, actor)
    gdb.close()
    messages = recorder.finish()
    assert server.wait_exit() == 0
    actor.assert_untouched()
    # Registers and memory that the client has changed are its own affair; this one changes none.
    assert not [data for data, _ in messages if data[:2] in (b"$P", b"$G", b"$M") or data[:2] == b"$X"]
    print(f"{len(messages)} messages")
    return actor, messages


def vanish(connection, by_reset):
    """FIN, or RST: what was not read yet is lost."""
    if by_reset:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


def changes_something(data):
    """Not one of the many packets that only ask."""
    return not data.startswith((b"$m", b"$qXfer", b"$vFile", b"$g", b"$p", b"$T", b"+"))


def boundaries(messages, end):
    """All of them once; by RST every fifth of those between two packets that only ask."""
    for count in range(len(messages)):
        around = messages[max(count - 1, 0):count + 1]
        if end == "FIN" or FACTOR > 1 or count % 5 == 0 or any(changes_something(data) for data, _ in around):
            yield count


def cut(actor, serve, messages, count, offset, by_reset, wait_for_answer):
    """A session that ends after `count` messages and `offset` bytes of the next."""
    server = serve.attach(actor.pid)
    replay = Replay(server.port)
    # Who has spoken and gone before he was let in is nobody's: he is not served.
    server.err.find("Remote debugging from", LIMIT)
    replay.say(messages, count)
    if wait_for_answer and count:
        running = messages[count - 1][0].startswith(b"$vCont;")
        replay.hear(replay.replies + replay.missing + 1 if running else messages[min(count, len(messages) - 1)][1])
    if offset:
        replay.socket.sendall(messages[count][0][:offset])
    vanish(replay.socket, by_reset)
    assert server.wait_exit(LIMIT) == 0
    actor.assert_untouched()
    server.close()


@GDB
@pytest.mark.parametrize("end", ("FIN", "RST"))
def test_at_every_packet(recorded, serve, end):
    actor, messages = recorded
    for count in boundaries(messages, end):
        print(f"after {count}: {messages[count - 1][0][:40] if count else b''}")
        # By RST also while the server is still at it.
        cut(actor, serve, messages, count, 0, end == "RST", wait_for_answer=end == "FIN" or count % 2)


@GDB
def test_inside_packets(recorded, serve):
    actor, messages = recorded
    seed = Seed()
    long_ones = [count for count, (data, _) in enumerate(messages) if len(data) > 4]
    for _ in range(times(20)):
        count = seed.choice(long_ones)
        offset = seed.randrange(1, len(messages[count][0]))
        by_reset = seed.random() < 0.5
        print(f"after {count}: {messages[count][0][:offset]}, reset {by_reset}")
        cut(actor, serve, messages, count, offset, by_reset, wait_for_answer=seed.random() < 0.5)


@GDB
def test_reconnect_finds_the_same_stop(recorded, serve):
    """Code is clean at once; the stop is kept for who comes back within the grace; after it the program runs on."""
    actor, messages = recorded
    seed = Seed()
    server = serve.attach(actor.pid, options=(f"--grace={GRACE}",))
    standing = [count for count in range(12, len(messages)) if not messages[count - 1][0].startswith(b"$vCont;")
                and messages[count][0] != b"\x03" and not messages[count - 1][0].startswith(b"$D")]
    for _ in range(times(12)):
        count = seed.choice(standing)
        print(f"after {count}: {messages[count - 1][0][:40]}")
        replay = Replay(server.port)
        replay.say(messages, count)
        replay.hear(messages[count][1])
        vanish(replay.socket, seed.random() < 0.5)
        wait.until(lambda: not process.changed_text(actor.pid), "clean code", LIMIT)
        gone, found = time.monotonic(), []
        for _ in range(3):
            found.append(look_at_stop(server, seed))
            gone, since = time.monotonic(), gone
            if gone - since > GRACE / 2:        # we may have come back too late
                del found[:-1]
        assert found[1:] == found[:-1], found
        wait.until(lambda: not process.changed_text(actor.pid), "clean code", LIMIT)
    actor.check()
    assert process.tracer(actor.pid) == server.pid
    server.signal(signal.SIGTERM)
    assert server.wait_exit(LIMIT) == 0
    actor.assert_untouched()


def look_at_stop(server, seed):
    """A client that comes, asks where the program stands, inserts a breakpoint at the pc and goes again without a word."""
    client = Client(server.port)
    stop = client.begin()
    client.ok(f"Hg{thread_of(stop)}")
    pc = client.reg(16)
    client.insert(pc, condition(FALSE))
    vanish(client.socket, seed.random() < 0.5)
    return thread_of(stop), stop[:3], pc


@pytest.mark.parametrize("watching", (False, True))
def test_while_running(made, programs, serve, watching):
    """A client that leaves its program running, breakpoints in it: it runs on without them and without a break."""
    actor = made.add(Puppet(programs))
    server = serve.attach(actor.pid, options=("--grace=30",))
    for by_reset in (False, True, False, True):
        client = Client(server.port)
        client.begin()
        for name in ("count", "odd", "call", "syscall"):
            client.insert(actor.at[name], condition(FALSE))
        if watching:
            client.insert(actor.at["watched"] + 4 * 64, kind=2, length=8)
            client.insert(actor.at["push"], kind=1)
            client.remove(actor.at["push"], kind=1)
        client.go()
        before = actor.check()
        vanish(client.socket, by_reset)
        wait.until(lambda: not process.changed_text(actor.pid), "clean code", LIMIT)
        assert actor.check() > before
    server.signal(signal.SIGTERM)
    assert wait_gone(server) == 0
    actor.assert_untouched()
