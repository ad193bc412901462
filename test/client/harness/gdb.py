"""A real gdb, driven through its machine interface by verbs, so that tests survive changes of its wording.

    gdb = Gdb("gdb13", program)
    gdb.connect(server)
    gdb.break_at("work")
    gdb.cont()
    assert gdb.expect_breakpoint_stop("work").line == 12
"""
import os
import re
import select
import shutil
import signal
import subprocess
import tempfile
import time

from . import mi, wait, where


class GdbError(Exception):
    """gdb answered a command with an error; the text is gdb's."""


class ConnectionLost(AssertionError):
    """The server went away in the middle of a session."""


class Stop:
    """Why and where the program stopped, from a *stopped record."""

    def __init__(self, results):
        self.results = results
        self.reason = results.get("reason", "")
        self.thread = int(results["thread-id"]) if results.get("thread-id", "").isdigit() else None
        self.signal = results.get("signal-name")
        frame = results.get("frame", {})
        self.func = frame.get("func")
        self.line = int(frame["line"]) if "line" in frame else None
        self.addr = int(frame["addr"], 16) if frame.get("addr", "").startswith("0x") else None
        self.number = int(results["bkptno"]) if "bkptno" in results else None
        # gdb prints it in octal.
        self.exit_code = int(results["exit-code"], 8) if "exit-code" in results else None
        if self.reason == "exited-normally":
            self.exit_code = 0

    @property
    def is_exit(self):
        return self.reason.startswith("exited")

    def __repr__(self):
        return f"Stop({self.results})"


def _number(text):
    """A value as gdb prints it: characters have their picture behind the number."""
    return int(text.split()[0], 0)


class Gdb:
    """One gdb process. Commands return when gdb has answered; expect_…() return when the program has stopped."""

    def __init__(self, name, program=None, args=(), non_stop=False, mi_async=False, stderr_path=None):
        self.name = name
        self.version = int(re.search(r"\d+", name).group())
        self.transcript = []
        self._token = 0
        self._pending = b""
        self.stops = []             # reported and not yet asked for
        self.notes = []             # =… records
        self.console = []           # console and target text since the last command
        self.may_lose_connection = False
        self.home = tempfile.mkdtemp(prefix="gdb-home-")
        env = dict(os.environ, HOME=self.home, XDG_CACHE_HOME=self.home, TERM="dumb", LC_ALL="C.UTF-8", SHELL="/bin/sh")
        env.pop("DEBUGINFOD_URLS", None)
        command = [where.tool(name), "-nx", "-q", "--interpreter=mi3", *args]
        if program:
            command += [str(program)]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                                        env=env, start_new_session=True, bufsize=0)
        for line in ("confirm off", "width 0", "height 0", "debuginfod enabled off", "print thread-events off",
                     "auto-load safe-path /", "breakpoint pending on", "debug-file-directory /nonexistent"):
            self.cli("set " + line)
        if mi_async:
            self.cli("set mi-async on")
        if non_stop:
            self.cli("set non-stop on")

    # Words and records.

    def _note(self, direction, text):
        self.transcript.append(f"{direction} {text}")

    def _write(self, text):
        """All of it: a pipe that is full takes a part when we are stopped and continued meanwhile."""
        data = text.encode()
        while data:
            data = data[self.process.stdin.write(data):]

    def _read_line(self, end):
        while b"\n" not in self._pending:
            left = end - time.monotonic()
            if left <= 0 or not select.select([self.process.stdout], [], [], left)[0]:
                raise wait.TimedOut(f"{self.name} says nothing more")
            data = os.read(self.process.stdout.fileno(), 65536)
            if not data:
                raise wait.TimedOut(f"{self.name} ended (exit {self.process.poll()})")
            self._pending += data
        line, self._pending = self._pending.split(b"\n", 1)
        return line.decode(errors="replace")

    def _next(self, end):
        """The next record; what is not an answer is kept where it belongs."""
        line = self._read_line(end)
        self._note("<", line)
        record = mi.parse(line)
        if record is None:
            self.console.append(line + "\n")
        elif record.kind == "*" and record.name == "stopped":
            self.stops.append(Stop(record.results))
        elif record.kind == "=":
            self.notes.append(record)
        elif record.kind in ("~", "@", "&"):
            self.console.append(record.text)
            if record.text.startswith("Remote connection closed") and not self.may_lose_connection:
                raise ConnectionLost("the server closed the connection")
        return record

    def mi(self, command, limit=None):
        """Send one MI command; the results of its answer, or GdbError."""
        self._token += 1
        token = str(self._token)
        self.console = []
        self._note(">", token + command)
        self._write(token + command + "\n")
        end = time.monotonic() + (wait.LIMIT if limit is None else limit)
        while True:
            record = self._next(end)
            if record and record.kind == "^" and record.token == token:
                if record.name == "error":
                    raise GdbError(record.results.get("msg", ""))
                # gdb is not ready for the next command, nor for an interrupt, until it prompts.
                while record.name == "running" and self._next(end).kind != "(gdb)":
                    pass
                return record.results

    def cli(self, command, limit=None):
        """Send one console command; the text it printed."""
        self.mi('-interpreter-exec console "%s"' % command.replace("\\", "\\\\").replace('"', '\\"'), limit)
        return "".join(self.console)

    def error_of(self, command):
        """The error that a console command must end with."""
        try:
            text = self.cli(command)
        except GdbError as error:
            return str(error)
        raise AssertionError(f"'{command}' succeeded: {text}")

    # The session.

    def connect(self, server, extended=False, address=None):
        """target remote: the stop that it shows, or None when the server has no program yet."""
        kind = "extended-remote" if extended else "remote"
        self.stops = []
        self.cli(f"target {kind} {address or server.address}")
        return self.stops.pop(0) if self.stops else None

    def attach(self, pid):
        """attach, in an extended session: the stop that it shows."""
        self.cli(f"attach {pid}")
        return self.expect_stop()

    def break_at(self, place, condition=None, temporary=False, hardware=False, thread=None, ignore=None):
        """Insert a breakpoint: its number."""
        flags = ["-f"]
        flags += ["-t"] if temporary else []
        flags += ["-h"] if hardware else []
        flags += ["-c", '"%s"' % condition.replace('"', '\\"')] if condition else []
        flags += ["-p", str(thread)] if thread else []
        flags += ["-i", str(ignore)] if ignore else []
        return int(self.mi("-break-insert %s %s" % (" ".join(flags), place))["bkpt"]["number"])

    def watch(self, expression, kind=""):
        """Insert a watchpoint, kind '' (write), 'r' or 'a': its number. It must be the hardware's."""
        text = self.cli(f"{kind}watch {expression}")
        match = re.search(r"Hardware (?:read |access \(read/write\) )?watchpoint (\d+)", text, re.I)
        assert match, f"not a hardware watchpoint: {text}"
        return int(match.group(1))

    def delete(self, number=""):
        self.cli(f"delete {number}")

    def cont(self, extra=""):
        self.cli(("continue " + extra).strip())

    def resume(self, command):
        """Any console command that lets the program run: step, next, finish, until 12, jump …"""
        self.cli(command)

    def expect_stop(self, reason=None, func=None, signal=None, limit=None):
        """Wait for the next stop and check it against what is given."""
        end = time.monotonic() + (wait.LIMIT if limit is None else limit)
        while not self.stops:
            self._next(end)
        stop = self.stops.pop(0)
        if reason is not None:
            assert stop.reason == reason, stop
        if func is not None:
            assert stop.func == func, stop
        if signal is not None:
            assert stop.signal == signal, stop
        return stop

    def expect_refusal(self, limit=None):
        """Wait until gdb says that it could not let the program run after all: its words."""
        end = time.monotonic() + (wait.LIMIT if limit is None else limit)
        while True:
            record = self._next(end)
            assert not self.stops, self.stops
            if record and record.kind == "^" and record.name == "error":
                return "".join(self.console) + record.results.get("msg", "")

    def expect_breakpoint_stop(self, func=None, number=None):
        stop = self.expect_stop("breakpoint-hit", func)
        if number is not None:
            assert stop.number == number, stop
        return stop

    def expect_signal(self, name, func=None, limit=None):
        return self.expect_stop("signal-received", func, signal=name, limit=limit)

    def expect_exit(self, code=0):
        stop = self.expect_stop()
        assert stop.is_exit and stop.exit_code == code, stop
        return stop

    def expect_watch(self, old=None, new=None, func=None):
        """A watchpoint's stop; its values are compared as numbers when they are given."""
        stop = self.expect_stop(func=func)
        assert "watchpoint" in stop.reason, stop
        value = stop.results.get("value", {})
        if old is not None:
            assert _number(value["old"]) == old, stop
        if new is not None:
            assert _number(value.get("new", value.get("value"))) == new, stop
        return stop

    def step(self, command="step", func=None):
        """step, next, stepi, nexti: done when the step has ended where a step ends."""
        self.resume(command)
        return self.expect_stop("end-stepping-range", func)

    def finish(self):
        """finish: (the stop, the value returned or None)."""
        self.resume("finish")
        stop = self.expect_stop("function-finished")
        return stop, stop.results.get("return-value")

    def run_to(self, place):
        """Continue to a place by a temporary breakpoint."""
        number = self.break_at(place, temporary=True)
        self.cont()
        return self.expect_breakpoint_stop(number=number)

    def interrupt(self):
        """Ctrl-C, as a person and MIEngine do it: SIGINT to gdb, which sends 0x03."""
        self._note("#", "SIGINT")
        os.kill(self.process.pid, signal.SIGINT)

    def console_until(self, pattern, limit=None):
        """Wait for console text, of the program by way of the server included."""
        end = time.monotonic() + (wait.LIMIT if limit is None else limit)
        while True:
            match = re.search(pattern, "".join(self.console), re.M)
            if match:
                return match
            self._next(end)

    # Looking.

    def eval(self, expression):
        """The value of an expression as gdb prints it."""
        return self.mi('-data-evaluate-expression "%s"' % expression.replace("\\", "\\\\").replace('"', '\\"'))["value"]

    def value(self, expression):
        """The value of an expression as a number."""
        return int(self.eval(f"(long)({expression})"), 0)

    def addr(self, expression):
        return int(self.eval(f"(unsigned long)({expression})"), 0)

    def set(self, assignment):
        self.cli(f"set var {assignment}")

    def frames(self):
        return self.mi("-stack-list-frames")["stack"]

    def bt(self):
        """The functions of the current thread, innermost first."""
        return [frame.get("func") for frame in self.frames()]

    def threads(self):
        """-thread-info's rows, by gdb's number of the thread."""
        return {int(row["id"]): row for row in self.mi("-thread-info")["threads"]}

    def thread(self, number):
        self.cli(f"thread {number}")

    def read(self, address, length):
        """Bytes of memory."""
        rows = self.mi(f"-data-read-memory-bytes {address} {length}")["memory"]
        return b"".join(bytes.fromhex(row["contents"]) for row in rows)

    def write(self, address, data):
        self.mi(f"-data-write-memory-bytes {address} {data.hex()}")

    def monitor(self, command):
        return self.cli(f"monitor {command}")

    def pid(self):
        """The process id of the current inferior."""
        return int(self.cli("python print(gdb.selected_inferior().pid)"))

    def python(self, statement):
        return self.cli("python " + statement)

    # The end.

    def kill(self):
        self.cli("kill")

    def detach(self):
        self.cli("detach")

    def disconnect(self):
        self.cli("disconnect")

    def vanish(self):
        """End without a word to the server, as in a crash."""
        self.process.kill()
        self.process.wait(wait.LIMIT)

    def close(self):
        try:
            if self.process.poll() is None:
                try:
                    self.process.stdin.write(b"-gdb-exit\n")
                    self.process.stdin.close()
                    self.process.wait(5)
                except (BrokenPipeError, subprocess.TimeoutExpired):
                    self.process.kill()
                    self.process.wait(wait.LIMIT)
        finally:
            self.process.stdout.close()
            shutil.rmtree(self.home, ignore_errors=True)
