"""A client that does to a program what debuggers do, at random, until it is told or its server is gone."""
import re
import time

from harness import rsp, wait

from stage import FALSE, PLAIN, Client, condition, print_regs, commands, reg_every, thread_of, RDI, RSI


class Driver(Client):
    """drive(until) goes on until that time; Closed when the server went first."""

    STOP_WITHIN = 0.004         # then it interrupts

    def __init__(self, port, actor, seed, non_stop=False):
        self.actor, self.seed, self.wants_non_stop = actor, seed, non_stop
        self.inserted = {}
        self.notices = []
        super().__init__(port)

    def begin(self, **kwargs):
        first = super().begin(**kwargs)
        self.thread = thread_of(first)
        if self.wants_non_stop:
            self.ok("QNonStop:1")
            self.non_stop = True
            if self.ask("?") != b"OK":
                while super().ask("vStopped") != b"OK":
                    pass
        return first

    def spot(self):
        return self.seed.choice(list(self.actor.points))

    def toggle(self):
        """Insert or remove a breakpoint: plain, with a condition that is false or seldom true, or with a printf."""
        addr = self.spot()
        if addr in self.inserted and self.seed.random() < 0.5:
            self.ask(f"z0,{addr:x},1")
            del self.inserted[addr]
            return
        extra = self.seed.choice(("", condition(FALSE), condition(FALSE), condition(reg_every(RSI, 5)),
                                  commands(print_regs("%d %d\n", RDI, RSI))))
        self.ask(f"Z0,{addr:x},1{extra}")
        self.inserted[addr] = extra

    def toggle_hardware(self):
        addr = self.actor.at["watched"]
        kind, addr = self.seed.choice(((2, addr), (4, addr), (1, self.spot())))
        self.ask(f"{self.seed.choice('Zz')}{kind},{addr:x},{1 if kind == 1 else 8}")

    def run(self):
        """Continue or step, by itself or with all; wait for a stop or make one."""
        one = self.thread
        self.send(self.seed.choice(("vCont;c", "vCont;c", "vCont;c", f"vCont;s:{one}", f"vCont;s:{one};c",
                                    f"vCont;r{self.actor.at.get('count', 0):x},{self.actor.at.get('count', 0) + 9:x}:{one};c")))
        try:
            reply = self.receive(self.STOP_WITHIN)
        except wait.TimedOut:
            reply = self.halt()
        if reply[:1] == b"T":
            self.thread = thread_of(reply)
        elif reply[:1] in b"WX":
            raise AssertionError(f"the program ended: {reply}\n" + "\n".join(self.transcript[-20:]))

    def run_non_stop(self):
        choice = self.seed.choice(("vCont;c", "vCont;c", "vCont;t", f"vCont;s:{self.thread}", "vCont;s"))
        self.ask_past_notices(choice)
        end = time.monotonic() + self.STOP_WITHIN
        try:
            while True:
                self.take_notice(self.receive(max(0.0, end - time.monotonic())))
        except wait.TimedOut:
            pass

    def ask_past_notices(self, body):
        self.send(body)
        while True:
            reply = self.receive()
            if not reply.startswith(b"%"):
                return reply
            self.notices.append(reply)

    def take_notice(self, first):
        if not first.startswith(b"%Stop:"):
            return
        reply = first[6:]
        while reply != b"OK":
            if reply[:1] == b"T":
                self.thread = thread_of(reply)
            reply = super().ask("vStopped")

    def ask(self, body, limit=None):
        if not self.non_stop:
            return super().ask(body, limit)
        self.notices = []
        reply = self.ask_past_notices(body)
        for notice in self.notices:
            self.take_notice(notice)
        return reply

    def look(self):
        self.ask(self.seed.choice(("qfThreadInfo", f"Hg{self.thread}", "g", f"m{self.spot():x},40", "qXfer:threads:read::0,1000")))

    def once(self):
        what = self.seed.choice((self.toggle, self.toggle, self.toggle_hardware, self.look,
                                 self.run_non_stop if self.non_stop else self.run,
                                 self.run_non_stop if self.non_stop else self.run))
        what()

    def drive(self, until=None):
        while until is None or time.monotonic() < until:
            self.once()


GONE = (rsp.Closed, BrokenPipeError, ConnectionResetError)
