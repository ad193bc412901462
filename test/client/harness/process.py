"""A process looked at through /proc, and one started to be attached to."""
import contextlib
import ctypes
import os
import re
import signal
import struct
import subprocess

from . import wait


def state(pid):
    """Its state letter, or None when it is gone."""
    try:
        with open(f"/proc/{pid}/stat") as f:
            return f.read().rsplit(")", 1)[1].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return None


def is_alive(pid):
    return state(pid) not in (None, "Z", "X")


def status(pid, field):
    with open(f"/proc/{pid}/status") as f:
        return re.search(r"^%s:\s*(.*)$" % field, f.read(), re.M).group(1)


def tracer(pid):
    """The pid of its tracer, 0 for none."""
    return int(status(pid, "TracerPid"))


def command_line(pid):
    """Its words; none when it is gone."""
    try:
        with open(f"/proc/{pid}/cmdline") as f:
            return f.read().split("\0")[:-1]
    except (FileNotFoundError, ProcessLookupError):
        return []


def sleeps_for_time(pid):
    """It is inside nanosleep or clock_nanosleep."""
    try:
        with open(f"/proc/{pid}/syscall") as f:
            return f.read().split()[0] in ("35", "230")
    except (FileNotFoundError, ProcessLookupError):
        return False


def waits_for_events(pid, at_most_ms=None):
    """It is inside epoll_wait or epoll_pwait, for no longer than that."""
    try:
        with open(f"/proc/{pid}/syscall") as f:
            fields = f.read().split()
    except (FileNotFoundError, ProcessLookupError):
        return False
    inside = fields[0] in ("232", "281") and state(pid) == "S"
    return inside and (at_most_ms is None or int(fields[4], 16) <= at_most_ms)


def descriptors(pid):
    """What each of its descriptors stands for."""
    found = {}
    for fd in os.listdir(f"/proc/{pid}/fd"):
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):    # closed meanwhile
            found[int(fd)] = os.readlink(f"/proc/{pid}/fd/{fd}")
    return found


def tasks(pid):
    return sorted(int(name) for name in os.listdir(f"/proc/{pid}/task"))


def signal_thread(pid, tid, number):
    """tgkill."""
    if ctypes.CDLL(None, use_errno=True).syscall(234, pid, tid, number) < 0:
        raise OSError(ctypes.get_errno(), f"no signal for thread {tid} of {pid}")


def changed_text(pid):
    """Where the process's executable mappings differ from the files they came from: [(address, file, memory)]. Empty
    for a process that no debugger has left a mark on."""
    differences = []
    with open(f"/proc/{pid}/maps") as maps:
        rows = [row.split(None, 5) for row in maps]
    with open(f"/proc/{pid}/mem", "rb", 0) as memory:
        for row in rows:
            if len(row) < 6 or "x" not in row[1] or not row[5].startswith("/"):
                continue
            start, end = (int(part, 16) for part in row[0].split("-"))
            offset = int(row[2], 16)
            path = row[5].rstrip("\n")
            if path.endswith(" (deleted)"):
                continue
            with open(path, "rb") as f:
                f.seek(offset)
                expected = f.read(end - start)
            memory.seek(start)
            got = memory.read(len(expected))
            if got == expected:
                continue
            differences += [(start + i, expected[i], got[i]) for i in range(len(expected)) if got[i] != expected[i]]
    return differences


def children(pid):
    """The pids of its main thread's children, those that have ended and were not waited for too; none when it is gone."""
    try:
        with open(f"/proc/{pid}/task/{pid}/children") as f:
            return [int(word) for word in f.read().split()]
    except (FileNotFoundError, ProcessLookupError):
        return []


def descendants(pid):
    """The pids of everything that it and its children started and that is still below it."""
    found = []
    try:
        for tid in tasks(pid):
            with open(f"/proc/{pid}/task/{tid}/children") as f:
                found += map(int, f.read().split())
    except (FileNotFoundError, ProcessLookupError):
        return []
    return found + [one for child in found for one in descendants(child)]


class Debuggee:
    """A program that runs by itself, to be attached to. It is started so that any process may trace it where Yama
    restricts that, and it is killed at the end of the test."""

    def __init__(self, command, env=None, leads_group=True):
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=env,
                                        preexec_fn=_let_trace, start_new_session=leads_group)
        self.pid = self.process.pid

    def readline(self):
        """One line that it wrote: the way to know how far it has come."""
        return self.process.stdout.readline().decode().rstrip("\n")

    def tell(self, text):
        self.process.stdin.write(text.encode())
        self.process.stdin.flush()

    def wait_state(self, letters):
        return wait.until(lambda: (state(self.pid) or "-") in letters, f"state {letters} of {self.pid}")

    def kill(self, number=signal.SIGKILL):
        os.kill(self.pid, number)

    def result(self):
        """Wait for its end: its exit status, negative for a signal."""
        return self.process.wait(wait.LIMIT)

    def close(self):
        if self.process.poll() is None:
            self.process.kill()
        # A tracer that is left would keep it a zombie for its parent: bounded, and the server is killed before.
        try:
            self.process.wait(wait.LIMIT)
        except subprocess.TimeoutExpired:
            pass
        for stream in (self.process.stdin, self.process.stdout):
            try:
                stream.close()
            except BrokenPipeError:
                pass


def _let_trace():
    import ctypes
    PR_SET_PTRACER, ANY = 0x59616D61, -1
    ctypes.CDLL(None).prctl(PR_SET_PTRACER, ANY, 0, 0, 0)


def word(pid, address, form="<Q"):
    """A value in a process's memory, read past any debugger."""
    with open(f"/proc/{pid}/mem", "rb", 0) as memory:
        memory.seek(address)
        return struct.unpack(form, memory.read(struct.calcsize(form)))[0]


def progresses(made):
    """True once a debuggee with .ticks() has counted on."""
    before = made.ticks()
    return wait.until(lambda: made.ticks() > before + 2, f"progress of {made.pid}")
