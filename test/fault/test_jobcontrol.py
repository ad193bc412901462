"""Job control of a program that is full of breakpoints: a stop signal stops it where it came, and SIGCONT is its end, whatever we are
doing with its threads at that moment."""
import os
import pathlib
import signal
import time

import pytest

import judge
from harness import process, wait
from stage import FALSE, LIMIT, Client, Puppet, Seed, condition, signal_of, thread_of, times, wait_gone

pytestmark = pytest.mark.stopgo_only("job control left to the kernel")

# The signals of QUIET_RT, and SIGSTOP and SIGCONT too
QUIET = "QPassSignals:e;10;11;13;12;14;17;1a;1b;1c;21;24;25;2c;2e;4c;97"
SPOTS = ("count", "odd", "call", "syscall", "leaf", "push", "tick")


def passes(actor):
    return judge.word(actor.pid, actor.at["shared"])


def is_quiet(actor, server):
    return process.waits_for_events(server.pid) and all(process.state(tid) in "tT" for tid in process.tasks(actor.pid))


def stands_still(actor, server=None):
    """Every thread stopped, and a server that is content with that."""
    before = passes(actor)
    for _ in range(3):
        if server and not is_quiet(actor, server):
            return False
        time.sleep(0.003)
    return passes(actor) == before


def goes_on(actor):
    before = passes(actor)
    wait.until(lambda: passes(actor) > before + 3, "progress", LIMIT)


def begin(made, programs, serve, quiet=QUIET, pause_us=0):
    actor = made.add(Puppet(programs, workers=4, pause_us=pause_us))
    server = serve.attach(actor.pid)
    client = made.add(Client(server.port))
    first = client.begin(quiet=quiet)
    for name in SPOTS:
        client.insert(actor.at[name], condition(FALSE))
    return actor, server, client, first


def leave(actor, server, client):
    client.halt()
    client.ok(f"D;{actor.pid:x}")
    client.close()
    assert wait_gone(server) == 0
    actor.assert_untouched()


def test_stop_and_continue(made, programs, serve):
    """Stopped in the middle of breakpoints, it stands still until SIGCONT and then goes on."""
    actor, server, client, first = begin(made, programs, serve)
    seed = Seed()
    client.go_on(first)
    for _ in range(times(40)):
        time.sleep(seed.random() * 0.003)
        actor.kill(signal.SIGSTOP)
        wait.until(lambda: stands_still(actor, server), "the stop", LIMIT)
        time.sleep(seed.random() * 0.003)
        assert stands_still(actor)
        actor.kill(signal.SIGCONT)
        goes_on(actor)
    leave(actor, server, client)


def test_continued_at_once(made, programs, serve):
    """SIGCONT right behind: it never stays stopped."""
    actor, server, client, first = begin(made, programs, serve)
    seed = Seed()
    client.go_on(first)
    for _ in range(times(150)):
        actor.kill(seed.choice((signal.SIGSTOP, signal.SIGTSTP)))
        time.sleep(seed.choice((0, 0, seed.random() * 0.0005)))
        actor.kill(signal.SIGCONT)
        time.sleep(seed.random() * 0.001)
    goes_on(actor)
    leave(actor, server, client)


def test_told_and_passed_on(made, programs, serve):
    """A client that sees SIGSTOP and passes it: the program stops. Continued while it is shown, it does not."""
    actor, server, client, first = begin(made, programs, serve, quiet="QPassSignals:e;10;14;17;2e")
    client.go_on(first)
    for continued in (False, True) * times(10):
        actor.kill(signal.SIGSTOP)
        reply = client.stop_reply()
        assert signal_of(reply) == "11", reply
        if continued:
            actor.kill(signal.SIGCONT)
        client.go(f"vCont;C11:{thread_of(reply)};c")
        if not continued:
            wait.until(lambda: stands_still(actor, server), "the stop", LIMIT)
            actor.kill(signal.SIGCONT)
        reply = client.stop_reply()
        assert signal_of(reply) == "13", reply
        client.go_on(reply)
        goes_on(actor)
    leave(actor, server, client)


def test_dropped(made, programs, serve):
    """A client that sees SIGSTOP and drops it: the program runs on."""
    actor, server, client, first = begin(made, programs, serve, quiet="QPassSignals:e;10;14;17;2e")
    client.go_on(first)
    for _ in range(times(10)):
        actor.kill(signal.SIGSTOP)
        assert signal_of(client.stop_reply()) == "11"
        client.go()
        goes_on(actor)
    leave(actor, server, client)


@pytest.mark.parametrize("how", ("detach", "vanish", "term"))
def test_left_while_stopped(made, programs, serve, how):
    """Let go while a job-control stop lasts: it lasts on, and ends with SIGCONT."""
    actor, server, client, first = begin(made, programs, serve)
    client.go_on(first)
    goes_on(actor)
    actor.kill(signal.SIGSTOP)
    wait.until(lambda: stands_still(actor, server), "the stop", LIMIT)
    if how == "detach":
        client.halt()
        client.ok(f"D;{actor.pid:x}")
    if how == "term":
        server.signal(signal.SIGTERM)
    client.close()
    assert wait_gone(server) == 0
    wait.until(lambda: process.state(actor.pid) == "T", "state T", LIMIT)
    assert stands_still(actor) and not judge.changed_text(actor.pid)
    actor.kill(signal.SIGCONT)
    goes_on(actor)
    actor.assert_untouched()


def test_kept_while_looked_at(made, programs, serve):
    """In non-stop mode breakpoints come and go while the program is stopped: it stays so."""
    actor, server, client, first = begin(made, programs, serve)
    client.ok("QNonStop:1")
    client.non_stop = True
    if client.ask("?") != b"OK":
        while client.ask("vStopped") != b"OK":
            pass
    client.ok("vCont;c")
    goes_on(actor)
    actor.kill(signal.SIGSTOP)
    wait.until(lambda: stands_still(actor, server), "the stop", LIMIT)
    for turn in range(6):
        client.ok(f"{'Zz'[turn % 2]}1,{actor.at['in_child']:x},1")
        client.ok(f"{'Zz'[turn % 2]}0,{actor.at['in_child']:x},1")
        assert stands_still(actor)
    actor.kill(signal.SIGCONT)
    goes_on(actor)
    client.close()
    assert wait_gone(server) == 0
    actor.assert_untouched()


class Freezer:
    """A control group of our own, of either kind."""

    def __init__(self, root, old):
        self.path = pathlib.Path(root) / f"stopgo-test-{os.getpid()}"
        self.path.mkdir()
        self.state = self.path / ("freezer.state" if old else "cgroup.freeze")
        self.words = ("THAWED", "FROZEN") if old else ("0", "1")
        if not self.state.exists():
            self.close()
            raise OSError("no freezer")

    def take(self, pid):
        (self.path / "cgroup.procs").write_text(str(pid))

    def freeze(self, on):
        self.state.write_text(self.words[on])

    def close(self):
        if self.state.exists():
            self.freeze(False)
            for pid in (self.path / "cgroup.procs").read_text().split():
                (self.path.parent / "cgroup.procs").write_text(pid)
        self.path.rmdir()


def freezers():
    with open("/proc/mounts") as mounts:
        for _, root, kind, options, *_ in map(str.split, mounts):
            if kind == "cgroup2" or (kind == "cgroup" and "freezer" in options.split(",")):
                yield "old" if kind == "cgroup" else "new", root


@pytest.mark.parametrize("kind", ("old", "new"))
def test_frozen(made, programs, serve, kind):
    """Its control group is frozen while it runs into breakpoints: the server answers, and thawed it goes on."""
    root = dict(freezers()).get(kind)
    try:
        freezer = root and Freezer(root, kind == "old")
    except OSError as error:
        pytest.skip(f"no freezer to be had: {error}")
    if not freezer:
        pytest.skip("no such control groups")
    actor, server, client, first = begin(made, programs, serve)
    made.add(freezer)
    freezer.take(actor.pid)
    for _ in range(times(3)):
        client.go_on(first)
        goes_on(actor)
        freezer.freeze(True)
        client.interrupt()
        try:
            first = client.stop_reply(2)        # a thread that is frozen may not stop before it thaws
            assert client.ask("qC")
            freezer.freeze(False)
        except wait.TimedOut:
            freezer.freeze(False)
            first = client.stop_reply()
    client.go_on(first)
    goes_on(actor)
    leave(actor, server, client)
