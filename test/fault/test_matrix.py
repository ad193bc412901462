"""What may happen to a program, at each moment of its being debugged: the right reply, no hang, nothing left behind."""
import os
import re
import signal
import time

import pytest

import judge
from driver import Driver
from harness import rsp, wait
from stage import FALSE, LIMIT, Client, Puppet, Seed, condition, signal_of, thread_of, times, wait_gone

pytestmark = pytest.mark.stopgo_only("its grace, its exactness")

ROUNDS = 2


class Event:
    """Something the puppet does on command or that is done to it: what it says afterwards, or how it ends."""

    def __init__(self, command=None, act=None, says=None, ends=None, reply=None):
        self.command, self.act, self.says, self.ends, self.reply = command, act, says, ends, reply

    def happen(self, actor):
        if self.command:
            actor.tell(self.command + "\n")
        if self.act:
            self.act(actor)


def stop_and_continue(actor):
    actor.kill(signal.SIGSTOP)
    time.sleep(0.003)
    actor.kill(signal.SIGCONT)


EVENTS = {
    "thread-exit": Event("leave 0", says=r"left"),
    "leader-exit": Event("leader", says=r"left"),
    "exit": Event("exit 7", ends=7, reply=rb"W07"),
    "killed": Event(act=lambda actor: actor.kill(signal.SIGKILL), ends=-9, reply=rb"X09"),
    "stopped-and-continued": Event(act=stop_and_continue),
    "fatal-signal": Event("fatal 11", ends=-11, reply=rb"X0b"),
    "exec": Event("exec", says=r"ready .*"),
    "exec-by-thread": Event("texec", says=r"ready .*"),
    "fork": Event("fork", says=r"child 0"),
    "vfork": Event("vfork", says=r"child 0"),
    "vfork-long": Event("vforkwait", says=r"child 0"),
    "clone-storm": Event("threads 64", says=r"made"),
    "unmap": Event("page unmap", says=r"page 1"),
    "protect": Event("page protect", says=r"page 1"),
    "rewrite": Event("page rewrite", says=r"page 2"),
    "signals": Event("queue 20", says=r"queued"),
    "forbidden-syscall": Event("seccomp", says=r"trapped 1"),
    "not-dumpable": Event("secret", says=r"secret"),
}

STEPPED_OVER = ("count", "odd", "call", "syscall", "page", "leaf", "in_child")
EMULATED = ("push", "tick", "page")


def insert_all(client, actor, names):
    for name in names:
        client.insert(actor.at[name], condition(FALSE))


class Case:
    """One event at one moment."""

    def __init__(self, actor, server, event, seed):
        self.actor, self.server, self.event, self.seed = actor, server, event, seed
        self.said = None
        self.client = None

    # Moments: each makes the event happen; True when a client is there to see it.

    def stopped(self):
        self.client = Client(self.server.port)
        first = self.client.begin()
        insert_all(self.client, self.actor, STEPPED_OVER)
        self.event.happen(self.actor)
        self.client.go_on(first)
        return True

    def resumed(self):
        self.client = Client(self.server.port)
        first = self.client.begin()
        self.client.insert(self.actor.at["page"], condition(FALSE))
        self.client.go_on(first)
        self.event.happen(self.actor)
        return True

    def stepping_over(self):
        self.client = Client(self.server.port)
        first = self.client.begin()
        insert_all(self.client, self.actor, STEPPED_OVER)
        self.client.go_on(first)
        time.sleep(self.seed.random() * 0.005)
        self.event.happen(self.actor)
        return True

    def condition_false(self):
        self.client = Client(self.server.port)
        first = self.client.begin()
        insert_all(self.client, self.actor, EMULATED)
        self.client.go_on(first)
        time.sleep(self.seed.random() * 0.005)
        self.event.happen(self.actor)
        return True

    def second_hit_pending(self):
        self.client = Client(self.server.port)
        first = self.client.begin()
        self.client.insert(self.actor.at["leaf"])
        self.client.insert(self.actor.at["odd"])
        self.client.go_on(first)
        reply = self.client.stop_reply()
        while signal_of(reply):
            self.client.go_on(reply)
            reply = self.client.stop_reply()
        self.event.happen(self.actor)
        self.client.go()
        return True

    def single_steps(self):
        """One thread is stepped, the others run."""
        self.client = Client(self.server.port)
        first = self.client.begin()
        insert_all(self.client, self.actor, STEPPED_OVER)
        self.event.happen(self.actor)
        reply = first
        for _ in range(8):
            if reply[:1] in (b"W", b"X"):
                self.reply = reply
                return True
            if reply[:1] == b"E":       # the thread that stopped is no more: another one's exec has ended it
                number, one, rest = "", "", "vCont;c"
            else:
                number, one, rest = signal_of(reply), thread_of(reply), ""
            self.client.go(rest or f"vCont;S{number}:{one};c" if number else f"vCont;s:{one};c")
            try:
                reply = self.client.stop_reply(0.05)
            except wait.TimedOut:
                reply = self.client.halt()
        if reply[:1] == b"T":
            self.client.go_on(reply)
        elif reply[:1] == b"E":
            self.client.go()
        else:
            self.reply = reply
        return True

    def detaching(self):
        self.client = Client(self.server.port)
        first = self.client.begin()
        insert_all(self.client, self.actor, STEPPED_OVER)
        if self.seed.random() < 0.5:
            self.client.go_on(first)
            time.sleep(self.seed.random() * 0.002)
            first = self.client.halt()
        if first[:1] == b"T":
            self.event.happen(self.actor)
            time.sleep(self.seed.random() * 0.002)
            answer = self.client.ask(f"D;{self.actor.pid:x}", LIMIT)
            assert answer in (b"OK", b"E01") or (self.event.ends is not None and answer[:1] in b"WXE"), answer
        self.client.close()
        return False

    def grace(self):
        self.client = Client(self.server.port)
        first = self.client.begin()
        insert_all(self.client, self.actor, STEPPED_OVER)
        if self.seed.random() < 0.3:
            self.client.go_on(first)
        self.client.reset()
        self.event.happen(self.actor)
        return False

    def non_stop(self):
        self.client = Driver(self.server.port, self.actor, self.seed, non_stop=True)
        self.client.begin()
        insert_all(self.client, self.actor, STEPPED_OVER)
        self.client.ask("vCont;c")
        self.event.happen(self.actor)
        return True

    # What becomes of it.

    reply = None        # the end that was told: W.. or X..

    def has_happened(self):
        if self.event.says is None:
            return True
        if self.said is None and self.actor.has_said():
            self.said = self.actor.hear()
        return self.said is not None

    def take(self, reply):
        """A stop reply or an end, in all-stop. Hits of plain breakpoints take them out after a while."""
        if reply[:1] in (b"W", b"X"):
            self.reply = reply
            return
        assert reply[:1] == b"T", reply
        if b"swbreak" in reply:
            for name in ("leaf", "odd"):
                self.client.ask(f"z0,{self.actor.at[name]:x},1")
        self.client.go_on(reply)

    def take_notice(self, reply):
        assert reply.startswith(b"%Stop:"), reply
        stops, reply = [], reply[6:]
        while reply != b"OK":
            stops.append(reply)
            reply = rsp.Rsp.ask(self.client, "vStopped")
        for stop in stops:
            if stop[:1] in (b"W", b"X"):
                self.reply = stop
            elif stop[:1] == b"T":
                number = signal_of(stop)
                self.client.notices = []
                self.client.ask_past_notices(f"vCont;C{number}:{thread_of(stop)}" if number else f"vCont;c:{thread_of(stop)}")
                for notice in self.client.notices:      # the end may come before the answer
                    self.take_notice(notice)

    def follow(self):
        """Until the event has shown what it does."""
        end = time.monotonic() + 4 * LIMIT      # 64 threads through breakpoints take their time on a busy machine
        while not self.reply and time.monotonic() < end:
            if self.event.ends is None and self.has_happened():
                break
            try:
                reply = self.client.receive(0.01)
            except wait.TimedOut:
                continue
            except rsp.Closed:
                break
            self.take_notice(reply) if self.client.non_stop else self.take(reply)
        if self.event.ends is None:
            assert not self.reply, self.reply
            assert self.has_happened(), "it does not go on:\n" + judge.states(self.actor.pid)
        else:
            assert self.reply, "no end is told:\n" + judge.states(self.actor.pid)
            assert re.match(self.event.reply, self.reply), self.reply

    def leave(self):
        """The client ends the session by a detach."""
        if self.client.non_stop:
            self.client.ask("vCont;t")
        else:
            self.client.interrupt()
            reply = self.client.stop_reply()
            while signal_of(reply) == "11":
                self.client.go_on(reply)
                self.client.interrupt()
                reply = self.client.stop_reply()
        self.client.ok(f"D;{self.actor.pid:x}")
        self.client.close()

    def judge(self):
        event = self.event
        if event.ends is not None:
            assert self.actor.result() == event.ends
            self.client.close()
            assert wait_gone(self.server) == 0
            return
        if self.said is None and event.says:
            self.said = self.actor.hear()
        assert not event.says or re.fullmatch(event.says, self.said), self.said
        if event.says and event.says.startswith("ready"):
            self.actor.is_ready(self.said)


MOMENTS = ("stopped", "resumed", "stepping_over", "condition_false", "second_hit_pending", "single_steps", "detaching", "grace", "non_stop")


@pytest.mark.parametrize("moment", MOMENTS)
@pytest.mark.parametrize("name", EVENTS)
def test_event(made, programs, serve, name, moment):
    seed = Seed()
    for _ in range(times(ROUNDS)):
        actor = made.add(Puppet(programs, workers=4, pause_us=100))
        stays = moment == "grace"
        server = serve.attach(actor.pid, options=(f"--grace={seed.choice((0, 0, 1))}",) if stays else ("--once",))
        case = Case(actor, server, EVENTS[name], seed)
        sees = getattr(case, moment)()
        made.add(case.client)
        if sees:
            case.follow()
            if EVENTS[name].ends is None:
                case.leave()
                assert wait_gone(server) == 0
        case.judge()
        # A server that is about to end ends its guard and waits for it: what stays is a fault.
        wait.until(lambda: not judge.zombies_of(server.pid), "nobody to be left a zombie", LIMIT)
        if EVENTS[name].ends is None:
            if stays:
                wait.until(lambda: not judge.changed_text(actor.pid), "clean code", LIMIT)
                actor.check()
                server.signal(signal.SIGTERM)
            assert wait_gone(server) == 0
            actor.assert_untouched()
        for thing in (server, case.client, actor):
            thing.close()
            made.remove(thing)
