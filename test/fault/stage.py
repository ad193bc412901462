"""What the fault tests have on stage: programs that prove that nothing was lost on them, a client that speaks packets, seeds."""
import os
import random
import re
import select
import signal
import subprocess
import time

from harness import process, rsp, wait

import judge

# How many times more than in every-day runs: STOPGO_FAULT_FACTOR=10 for a night.
FACTOR = float(os.environ.get("STOPGO_FAULT_FACTOR", "1"))
# No promise of speed: a machine that others share may stand still for seconds.
LIMIT = 20 * max(1.0, wait.LIMIT / 30)


def times(count):
    """A count for every-day runs, made larger by STOPGO_FAULT_FACTOR."""
    return max(1, round(count * FACTOR))


class Seed(random.Random):
    """Random numbers that can be had again: STOPGO_FAULT_SEED, else the time. It is printed, and so shown when a test fails."""

    def __init__(self):
        self.number = int(os.environ.get("STOPGO_FAULT_SEED") or time.time_ns() & 0xFFFFFFFF)
        print(f"STOPGO_FAULT_SEED={self.number}")
        super().__init__(self.number)


class Actor(process.Debuggee):
    """A program with commands: a line in, a line out, each within the limit."""

    def __init__(self, command, inside=(), **kwargs):
        """inside: a command that runs it as its only child."""
        super().__init__([str(word) for word in (*inside, *command)], **kwargs)
        self._data = b""
        self.points = {}        # instructions that get breakpoints, and their lengths
        self.at = {}
        self.is_ready(self.hear())
        if inside:
            self.pid, = process.children(self.pid)

    def is_ready(self, line):
        """Takes the addresses that it says when it has begun, again after an exec."""
        assert line.startswith("ready "), line
        self.at.update({name: int(value, 16) for name, value in re.findall(r"(\w+)=(0x[0-9a-f]+)", line)})

    def has_said(self):
        """A line is there to be heard."""
        if b"\n" not in self._data and select.select([self.process.stdout], [], [], 0)[0]:
            self._data += os.read(self.process.stdout.fileno(), 4096)
        return b"\n" in self._data

    def hear(self, limit=LIMIT):
        """Its next line; "" when it has closed its end."""
        end = time.monotonic() + limit
        while b"\n" not in self._data:
            left = end - time.monotonic()
            if left <= 0 or not select.select([self.process.stdout], [], [], left)[0]:
                raise wait.TimedOut(f"{self.pid} says nothing:\n{judge.states(self.pid)}")
            data = os.read(self.process.stdout.fileno(), 4096)
            if not data:
                return ""
            self._data += data
        line, self._data = self._data.split(b"\n", 1)
        return line.decode()

    def ask(self, text, limit=LIMIT):
        self.tell(text + "\n")
        return self.hear(limit)

    def check(self, limit=2 * LIMIT):
        """Everybody in it moves, and no instruction was lost, doubled or done halfway."""
        first = self.ask("check", limit)
        assert first.startswith("exact "), f"{self.pid}: {first!r}, ended with {self.process.poll()}"
        return int(re.search(r"rounds=(\d+)", first).group(1))

    @property
    def pages(self):
        return [self.at["page"]] if "page" in self.at else []

    def assert_untouched(self, limit=LIMIT):
        """Nobody traces it any more, nothing of a debugger is left in it, and it goes on."""
        try:
            judge.wait_unmarked(self.pid, self.points, self.pages, limit)
        except (ProcessLookupError, FileNotFoundError):
            raise AssertionError(f"{self.pid} ended with {self.result()}") from None
        if "page" in self.at:
            assert judge.word(self.pid, self.at["page"]) & 0xFFFFFFFFFFFF == 0xC300000001B8     # mov $1,%eax; ret
        before = self.check()
        wait.until(lambda: self.check() > before, f"progress of {self.pid}", LIMIT)

    def is_over(self):
        return self.process.poll() is not None


class Puppet(Actor):
    """test/fixtures/c/puppet.c"""

    def __init__(self, programs, workers=4, pause_us=200, **kwargs):
        super().__init__([programs.c("puppet", "nopie"), workers, pause_us], **kwargs)
        lengths = {"count": 8, "odd": 9, "call": 6, "leaf": 8, "syscall": 2, "tick": 1, "push": 1, "in_child": 1}
        self.points = {self.at[name]: length for name, length in lengths.items()}


class GoPuppet(Actor):
    """test/fixtures/gopuppet"""

    def __init__(self, programs, workers=6, pause_us=200, **kwargs):
        path = programs.go("gopuppet")
        super().__init__([path, workers, pause_us], **kwargs)
        self.at.update(symbols(path, "main.tick", "main.deep", "main.shared"))
        # mov %rax,8(%rsp) in tick; cmp 16(%r14),%rsp in deep. 10 behind: mov $1,%eax
        self.points = {self.at["main.tick"]: 5, self.at["main.tick"] + 10: 5, self.at["main.deep"]: 4}


def vector_insns(path, function, addr, size=512):
    """Addresses and lengths of instructions in a function that work on vector registers, or lock the bus: nothing emulates those."""
    text = subprocess.run(["objdump", "-d", "--no-show-raw-insn", f"--start-address={addr:#x}", f"--stop-address={addr + size:#x}", path],
                          capture_output=True, text=True, timeout=60, check=True).stdout
    body = re.search(rf"^[0-9a-f]+ <{re.escape(function)}>:\n((?: .*\n)+)", text, re.M).group(1)
    found = [(int(at, 16), words) for at, words in re.findall(r"^ *([0-9a-f]+):\s+(.*)", body, re.M)]
    return [(at, found[i + 1][0] - at) for i, (at, words) in enumerate(found[:-1]) if "%xmm" in words or words.startswith("lock")]


def symbols(path, *names):
    text = subprocess.run(["nm", path], capture_output=True, text=True, timeout=60, check=True).stdout
    found = {name: int(addr, 16) for addr, name in re.findall(r"^([0-9a-f]+) \w (\S+)$", text, re.M)}
    return {name: found[name] for name in names}


# --- agent expressions ---

RAX, RBX, RDI, RSI = 0, 1, 5, 4         # gdb's numbers


def _const(value):
    return b"\x25" + (value & (1 << 64) - 1).to_bytes(8, "big")


def reg_equals(number, value):
    """register == value"""
    return b"\x26" + number.to_bytes(2, "big") + _const(value) + b"\x13\x27"


def reg_every(number, step):
    """register % step == 0"""
    return b"\x26" + number.to_bytes(2, "big") + _const(step) + b"\x08" + _const(0) + b"\x13\x27"


FALSE = _const(0) + b"\x27"
TRUE = _const(1) + b"\x27"


def print_regs(text, *numbers):
    """printf(text, registers…)"""
    code = b"".join(b"\x26" + number.to_bytes(2, "big") for number in reversed(numbers)) + _const(0) * 2
    text = text.encode() + b"\0"
    return code + b"\x34" + bytes([len(numbers)]) + len(text).to_bytes(2, "big") + text + b"\x27"


def condition(*codes):
    return ";" + "".join(f"X{len(code):x},{code.hex()}" for code in codes)


def commands(*codes, persist=0):
    return f";cmds:{persist}," + "".join(f"X{len(code):x},{code.hex()}" for code in codes)


# --- a client ---

FEATURES = ("qSupported:multiprocess+;swbreak+;hwbreak+;qRelocInsn+;fork-events+;vfork-events+;exec-events+;"
            "vContSupported+;QThreadEvents+;no-resumed+;memory-tagging+")
PLAIN = "qSupported:multiprocess+;swbreak+;hwbreak+;vContSupported+;no-resumed+"
# SIGALRM, SIGURG, SIGIO, SIGVTALRM, SIGPROF, SIGCHLD, SIGPOLL, SIGWINCH, SIGPRIO, SIGWAITING, SIGLWP, SIGCANCEL, LIBRT as gdb passes them
QUIET = "QPassSignals:e;10;14;17;1a;1b;1c;21;24;25;2c;4c;97"
# and SIGRTMIN too
QUIET_RT = QUIET + ";2e"


class Client(rsp.Rsp):
    """A client that drives a program, as gdb does."""

    non_stop = False

    def begin(self, features=PLAIN, quiet=QUIET_RT):
        self.ask(features)
        if quiet:
            assert self.ask(quiet) == b"OK"
        return self.ask("?")

    def ok(self, body):
        answer = self.ask(body, LIMIT)
        assert answer == b"OK", f"{body}: {answer!r}"

    def insert(self, addr, extra="", kind=0, length=1):
        self.ok(f"Z{kind},{addr:x},{length:x}{extra}")

    def remove(self, addr, kind=0, length=1):
        self.ok(f"z{kind},{addr:x},{length:x}")

    def go(self, action="vCont;c"):
        self.send(action)

    def go_on(self, reply):
        """Continue from this stop: a signal that it was is passed, as gdb and a person do."""
        self.go(action_after(reply))

    def stop_reply(self, limit=LIMIT):
        return self.receive(limit)

    def step(self, thread, rest=""):
        """One instruction of one thread. A signal that comes instead is passed, and its handler's first instruction is the step."""
        self.go(f"vCont;s:{thread}{rest}")
        reply = self.stop_reply()
        while signal_of(reply):
            self.go(f"vCont;S{signal_of(reply)}:{thread_of(reply)}" + (f";s:{thread}" if thread_of(reply) != thread else "") + rest)
            reply = self.stop_reply()
        return reply

    def step_over(self, thread, addr, extra=""):
        """Past a breakpoint, as gdb does it: it is out, and nobody else moves. False: a signal came first, its handler will return to
        the breakpoint."""
        before = self.reg(7)
        self.remove(addr)
        self.go(f"vCont;s:{thread}")
        reply = self.stop_reply()
        # One that the client gave it earlier is delivered without a word: the step ends in its handler, below a signal's frame.
        passed = signal_of(reply) or (reply[:1] == b"T" and self.reg(7) < before - 256)
        while signal_of(reply):
            self.go(f"vCont;S{signal_of(reply)}:{thread}")
            reply = self.stop_reply()
        self.insert(addr, extra)
        return not passed

    def halt(self):
        """0x03, and the stop it makes (or another that came first)."""
        self.interrupt()
        return self.stop_reply()

    def reg(self, number):
        return int.from_bytes(bytes.fromhex(self.ask(f"p{number:x}").decode()), "little")


def action_after(reply):
    number = signal_of(reply)
    return f"vCont;C{number}:{thread_of(reply)};c" if number else "vCont;c"


def signal_of(reply):
    """The number, as text, of a signal that is to be passed; "" for stops of the debugger's own making."""
    return "" if reply[1:3] in (b"00", b"02", b"05") else reply[1:3].decode()


def thread_of(reply):
    """The thread of a stop reply, as text."""
    match = re.search(rb"thread:([^;]+);", reply)
    assert match, reply
    return match.group(1).decode()


def wait_gone(server):
    """The server ends; its exit status."""
    return server.wait_exit(LIMIT)


def kill_quietly(pid):
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        pass
