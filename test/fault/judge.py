"""Is a process as if no debugger had ever been there? Looked at through /proc, and by tracing each thread for a moment."""
import bisect
import ctypes
import errno
import os
import re
import struct

from harness import process, wait

SEIZE, INTERRUPT, GETREGS, PEEKUSER, DETACH, CONT = 0x4206, 0x4207, 12, 3, 17, 7
WALL = 0x40000000
DEBUGREG = 848          # offsetof(struct user, u_debugreg)
RIP = 16                # index in struct user_regs_struct
SYS_PTRACE = 101

_libc = ctypes.CDLL(None, use_errno=True)
_libc.syscall.restype = ctypes.c_long


def _ptrace(request, tid, addr=0, data=0):
    if _libc.syscall(SYS_PTRACE, ctypes.c_long(request), ctypes.c_long(tid), ctypes.c_ulong(addr), ctypes.c_ulong(data)) < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"ptrace {request:#x} of {tid}: {os.strerror(number)}")


class Look:
    """One thread, stopped for a moment: its pc and debug registers. None of what it was doing is changed."""

    def __init__(self, tid):
        self.tid = tid
        _ptrace(SEIZE, tid)
        try:
            _ptrace(INTERRUPT, tid)
            _, status = os.waitpid(tid, WALL)
            if not os.WIFSTOPPED(status):
                raise OSError(errno.ESRCH, "gone")
            regs = (ctypes.c_ulong * 27)()
            _ptrace(GETREGS, tid, 0, ctypes.addressof(regs))
            self.pc = regs[RIP]
            value = ctypes.c_ulong()
            _ptrace(PEEKUSER, tid, DEBUGREG + 7 * 8, ctypes.addressof(value))
            self.dr7 = value.value
            # A signal that was about to be delivered is.
            signo = os.WSTOPSIG(status) if status >> 16 == 0 else 0
        except OSError:
            try:
                _ptrace(DETACH, tid)
            except OSError:
                pass
            raise
        _ptrace(DETACH, tid, 0, signo)


def _living(pid):
    """A task of the process by which /proc shows its memory: a leader that has exited shows nothing."""
    return next((tid for tid in process.tasks(pid) if process.state(tid) not in (None, "Z", "X")), pid)


def changed_text(pid):
    """[(address, file, memory)] where its code differs from the files it came from."""
    return process.changed_text(_living(pid))


def _executable(pid):
    """[(start, end)] of what may be executed, but for anonymous pages that nobody but a debugger can have put there."""
    with open(f"/proc/{_living(pid)}/maps") as maps:
        rows = [re.match(r"([0-9a-f]+)-([0-9a-f]+) (....) \S+ \S+ \S+\s*(.*)", row).groups() for row in maps]
    return sorted((int(start, 16), int(end, 16)) for start, end, rights, name in rows
                  if rights[2] == "x" and (name.startswith("/") or name in ("[vdso]", "[vsyscall]")))


def faults(pid, points=(), pages=()):
    """What a debugger that has gone left behind, as sentences; empty when it left nothing. points: {address: length} of the
    instructions that had breakpoints; pages: addresses of the program's own anonymous code."""
    found = []
    if process.tracer(pid):
        return [f"{pid} is traced by {process.tracer(pid)}"]
    found += ["text at %#x is %#04x and was %#04x" % (addr, now, was) for addr, was, now in changed_text(pid)[:5]]
    code = _executable(pid)
    starts = [start for start, _ in code]
    for tid in process.tasks(pid):
        try:
            look = Look(tid)
        except OSError as error:
            if error.errno in (errno.ESRCH, errno.ECHILD) or not os.path.exists(f"/proc/{pid}/task/{tid}"):
                continue
            if process.state(tid) in (None, "Z", "X"):
                continue
            raise
        if look.dr7 & 0xFF:
            found.append(f"thread {tid} has DR7 {look.dr7:#x}")
        for addr, length in dict(points).items():
            if addr < look.pc < addr + length:
                found.append(f"thread {tid} stands at {look.pc:#x}, inside the instruction at {addr:#x}")
        at = bisect.bisect_right(starts, look.pc) - 1
        if (at < 0 or look.pc >= code[at][1]) and not any(page <= look.pc < page + 4096 for page in pages):
            found.append(f"thread {tid} stands at {look.pc:#x}, which is no code of the program's")
    return found


def wait_unmarked(pid, points=(), pages=(), limit=None):
    """Wait until nobody traces it, then find nothing."""
    wait.until(lambda: process.tracer(pid) == 0, f"{pid} to be let go", limit)
    found = faults(pid, points, pages)
    assert not found, "\n".join(found)


def states(pid):
    """Each thread's state letter and what the kernel says of its signals: for a message."""
    lines = []
    for tid in process.tasks(pid):
        try:
            lines.append(f"{tid}: {process.state(tid)} tracer {process.tracer(tid)} pending {process.status(tid, 'SigPnd')}")
        except OSError:
            pass
    return "\n".join(lines)


def zombies_of(pid):
    """Children that a process has not waited for."""
    return [child for child in process.children(pid) if process.state(child) == "Z"]


def word(pid, address):
    with open(f"/proc/{_living(pid)}/mem", "rb", 0) as memory:
        memory.seek(address)
        return struct.unpack("<Q", memory.read(8))[0]
