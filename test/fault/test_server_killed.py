"""The server is told to end, or crashes, at any moment of a session: the program is as if nobody had been there."""
import itertools
import os
import re
import resource
import signal
import threading
import time

import pytest

from driver import GONE, Driver
from harness import process, wait
from harness.server import Stopgo
from stage import FALSE, LIMIT, Client, GoPuppet, Puppet, Seed, condition, symbols, thread_of, times, wait_gone

pytestmark = pytest.mark.stopgo_only("gdbserver leaves its breakpoints where they are")

ORDERLY = ("SIGTERM", "SIGINT", "SIGHUP", "SIGQUIT")
FATAL = ("SIGSEGV", "SIGABRT", "SIGBUS")
PUPPETS = {"c": Puppet, "go": GoPuppet}
GUARD_PATIENCE = 5          # seconds; the guard takes as long when it waits in vain
MOMENTS = 50                # for each program and signal


def no_core():
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def drive_until_killed(server, actor, seed, number):
    """A client is at it when the signal comes, up to 25 ms after it began."""
    driver = Driver(server.port, actor, seed, non_stop=seed.random() < 0.25)
    moment = seed.random() * 0.025
    driver.begin()
    timer = threading.Timer(moment, server.signal, (number,))
    timer.start()
    try:
        driver.drive(time.monotonic() + LIMIT)
        raise AssertionError(f"the server goes on after signal {number}")
    except GONE:
        pass
    finally:
        timer.join()
        driver.close()
    return driver


@pytest.mark.parametrize("name", ORDERLY + FATAL)
@pytest.mark.parametrize("program", PUPPETS)
def test_attached(made, programs, serve, program, name):
    actor = made.add(PUPPETS[program](programs))
    seed = Seed()
    number = getattr(signal, name)
    for moment in range(times(MOMENTS)):
        print(f"moment {moment}")
        server = serve.attach(actor.pid, options=("--once",), preexec_fn=no_core)
        driver = drive_until_killed(server, actor, seed, number)
        code = wait_gone(server)
        assert code == (0 if name in ORDERLY else -number)
        try:
            actor.assert_untouched()
        except Exception:
            print("\n".join(line[:200] for line in driver.transcript[-30:]))
            raise
        server.close()


@pytest.mark.parametrize("program", PUPPETS)
def test_crash(made, programs, program):
    """The server crashes between any two system calls, its tables in whatever state."""
    actor = made.add(PUPPETS[program](programs))
    library = programs.lib("crash", ("-ldl",))
    crashed = 0
    seed = Seed()
    for moment in range(times(2 * MOMENTS)):
        number = int(2 ** (4 + 6 * seed.random()))
        print(f"moment {moment}: call {number}")
        server = made.add(Stopgo(("--once", "--attach", "127.0.0.1:0", actor.pid), listens=False, preexec_fn=no_core,
                                 env={"LD_PRELOAD": library, "CRASH_AT": str(number)}))
        driver = None
        try:
            server.wait_listening()
            driver = made.add(Driver(server.port, actor, seed, non_stop=seed.random() < 0.25))
            driver.begin()
            driver.drive(time.monotonic() + 1)
        except GONE + (wait.TimedOut,):
            pass
        if driver:
            driver.close()
        # One that never makes that many calls ends when its client goes.
        crashed += wait_gone(server) == -signal.SIGSEGV
        try:
            actor.assert_untouched()
        except Exception:
            print("\n".join(line[:200] for line in driver.transcript[-30:]) if driver else "not even attached")
            raise
        server.close()
    assert crashed > times(MOMENTS)


def test_crash_with_a_trap_to_come(made, programs):
    """It crashes with the trap of a step still queued for a thread whose registers it has put right."""
    actor = made.add(Puppet(programs, workers=16, pause_us=0))      # one of many is there sooner
    library = programs.lib("crash", ("-ldl",))
    seed = Seed()
    crashed = 0
    for _ in range(times(4)):
        server = made.add(Stopgo(("--once", "--attach", "127.0.0.1:0", actor.pid), listens=False, preexec_fn=no_core,
                                 env={"LD_PRELOAD": library, "CRASH_TRAP": "1"}))
        server.wait_listening()
        client = made.add(Client(server.port))
        end = time.monotonic() + 10     # then it has not met with one, and ends without
        try:
            reply = client.begin()
            client.insert(actor.at["syscall"], condition(FALSE))    # only a step gets past it
            while time.monotonic() < end:
                client.go_on(reply)
                time.sleep(seed.random() * 0.002)
                reply = client.halt()
        except GONE:
            pass
        client.close()
        crashed += wait_gone(server) == -signal.SIGSEGV
        actor.assert_untouched()
        server.close()
    assert crashed


@pytest.mark.parametrize("name", FATAL)
def test_crash_among_system_calls(made, programs, serve, name):
    """Threads stand at system calls that nobody asked for when the server crashes."""
    actor = made.add(Puppet(programs, pause_us=0))
    number = getattr(signal, name)
    seed = Seed()
    for _ in range(times(8)):
        server = serve.attach(actor.pid, options=("--once",), preexec_fn=no_core)
        client = made.add(Client(server.port))
        reply = client.begin()
        client.ok("QCatchSyscalls:1;1ff")
        client.go_on(reply)
        time.sleep(0.005 + seed.random() * 0.005)
        server.signal(number)
        assert wait_gone(server) == -number
        client.close()
        actor.assert_untouched()
        server.close()


@pytest.mark.parametrize("name", ORDERLY + FATAL)
def test_launched(made, programs, serve, name):
    """What was launched is killed."""
    seed = Seed()
    number = getattr(signal, name)
    for _ in range(times(4)):
        server = serve.launch(programs.c("counter"), "threads", "4", preexec_fn=no_core)
        pid = server.inferior
        if seed.random() < 0.7:
            client = Driver(server.port, None, seed)
            made.add(client)
            client.begin()
            client.send("vCont;c")
            time.sleep(seed.random() * 0.02)
        server.signal(number)
        assert wait_gone(server) == (0 if name in ORDERLY else -number)
        wait.until(lambda: not process.is_alive(pid), "the launched program to be killed", LIMIT)


@pytest.mark.parametrize("name", ("SIGTERM", "SIGSEGV"))
def test_launched_in_vfork(made, programs, serve, name):
    """A child that no client has asked for runs in the memory of the program that is killed."""
    number = getattr(signal, name)
    server = serve.launch(programs.c("forks"), "vforkwait", preexec_fn=no_core)
    client = made.add(Client(server.port))
    client.begin()
    client.go()
    wait.until(lambda: process.descendants(server.inferior), "the child", LIMIT)
    pids = [server.inferior] + process.descendants(server.inferior)
    time.sleep(0.05)
    server.signal(number)
    assert wait_gone(server) == (0 if name in ORDERLY else -number)
    wait.until(lambda: not any(map(process.is_alive, pids)), "both to be killed", LIMIT)


@pytest.mark.parametrize("name", ("SIGTERM", "SIGSEGV"))
def test_nobody_connected(made, programs, serve, name):
    """Attached, and no client has come yet, or one has gone and its stop is kept."""
    actor = made.add(Puppet(programs))
    number = getattr(signal, name)
    for came in (False, True):
        server = serve.attach(actor.pid, options=("--grace=30",), preexec_fn=no_core)
        if came:
            client = Driver(server.port, actor, Seed())
            client.begin()
            client.insert(actor.at["odd"])
            client.go()
            assert thread_of(client.stop_reply())
            client.reset()
            server.err.find("reopen the connection", LIMIT)
        server.signal(number)
        assert wait_gone(server) == (0 if name in ORDERLY else -number)
        actor.assert_untouched()


@pytest.mark.parametrize("program", PUPPETS)
def test_sigkill_while_stopped(made, programs, serve, program):
    """Nobody can do anything any more: a program that has stood still for a moment is clean before."""
    actor = made.add(PUPPETS[program](programs))
    seed = Seed()
    took = []
    for _ in range(times(12)):
        server = serve.attach(actor.pid, options=("--once",))
        driver = made.add(Driver(server.port, actor, seed))
        driver.begin()
        driver.drive(time.monotonic() + 0.05)
        wait.until(lambda: not process.changed_text(actor.pid), "clean code", LIMIT)
        time.sleep(0.05)
        took.append(kill(server))
        driver.close()
        actor.assert_untouched()
        server.close()
    assert_not_in_vain(took)


# --- SIGKILL: there is a guard ---

def guard_of(server):
    """The process that waits for its end: it holds a descriptor of it, and nothing else."""
    for name in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{name}/comm") as comm, open(f"/proc/{name}/fdinfo/0") as info:
                if comm.read() == "stopgo-guard\n" and re.search(rf"^Pid:\s*{server.pid}$", info.read(), re.M):
                    return int(name)
        except (FileNotFoundError, ProcessLookupError, PermissionError):
            pass
    return None


def kill(server):
    """SIGKILL; until its guard has done what it does: how long that took."""
    guard = guard_of(server)
    assert guard
    begun = time.monotonic()
    server.signal(signal.SIGKILL)
    server.wait_exit(LIMIT)
    wait.until(lambda: not process.is_alive(guard), "the guard to end", LIMIT)
    return time.monotonic() - begun


def assert_not_in_vain(took):
    """No guard waited for somebody who does not come; the machine may have stood still for one of them."""
    assert sum(seconds > GUARD_PATIENCE / 2 for seconds in took) < 2, took


def cold_spots(actor):
    """Where no thread comes by any more."""
    path = os.readlink(f"/proc/{actor.pid}/exe")
    names = ("main.main", "runtime.main", "runtime.schedinit") if isinstance(actor, GoPuppet) else ("main", "_start")
    return list(symbols(path, *names).values())


def begin_at_cold_spots(server, actor):
    client = Client(server.port)
    first = client.begin()
    for addr in cold_spots(actor):
        client.insert(addr)
    client.insert(cold_spots(actor)[0], kind=1)
    client.go_on(first)
    return client


@pytest.mark.parametrize("program", PUPPETS)
def test_sigkill_while_running(made, programs, serve, program):
    """Breakpoints that nobody has run into yet are taken out of a program that runs on, and the debug registers are cleared."""
    actor = made.add(PUPPETS[program](programs))
    seed = Seed()
    took = []
    for moment in range(times(16)):
        print(f"moment {moment}")
        server = serve.attach(actor.pid, options=("--once",))
        client = made.add(begin_at_cold_spots(server, actor))
        if moment % 2:      # surely while they are in; else also while they go in
            wait.until(lambda: process.changed_text(actor.pid), "breakpoints", LIMIT)
        time.sleep(seed.random() * 0.02)
        took.append(kill(server))
        client.close()
        actor.assert_untouched()
        server.close()
    assert_not_in_vain(took)


def test_attach_at_once_after_sigkill(made, programs, serve):
    """The next server comes while the guard is still at it."""
    actor = made.add(Puppet(programs, workers=64))
    for _ in range(times(5)):
        server = serve.attach(actor.pid)
        begin_at_cold_spots(server, actor).close()
        server.signal(signal.SIGKILL)
        server.wait_exit(LIMIT)
        server.close()
    server = serve.attach(actor.pid, options=("--once",))
    Client(server.port).close()
    assert wait_gone(server) == 0
    actor.assert_untouched()


def test_dies_with_its_server(made, programs, serve):
    """The program runs into a breakpoint before the guard comes: its parent hears of its end at once."""
    took = []
    for _ in range(times(6)):
        actor = made.add(Puppet(programs, pause_us=0))
        server = serve.attach(actor.pid)
        client = made.add(Client(server.port))
        first = client.begin()
        for name in ("push", "odd", "leaf"):
            client.insert(actor.at[name], condition(FALSE))
        client.go_on(first)
        actor.check()
        took.append(kill(server))
        client.close()
        if not actor.is_over():     # it was lucky
            actor.kill()
        actor.result()
    assert_not_in_vain(took)


def test_guard(made, programs, serve):
    """It hears no signal, has no descriptor of the server's, and ends with it; nobody else has to wait for it."""
    actor = made.add(Puppet(programs))
    server = serve.attach(actor.pid)
    guard = guard_of(server)
    assert os.listdir(f"/proc/{guard}/fd") == ["0"]
    assert os.getsid(guard) not in (os.getsid(server.pid), os.getsid(0))
    assert process.status(guard, "PPid") == str(server.pid)
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT, signal.SIGCHLD, signal.SIGALRM):
        os.kill(guard, number)
    client = begin_at_cold_spots(server, actor)
    client.halt()
    client.close()
    server.signal(signal.SIGTERM)
    assert wait_gone(server) == 0
    assert not os.path.exists(f"/proc/{guard}")
    actor.assert_untouched()


def test_no_guard(made, programs, serve):
    """Without it the breakpoints stay; a launched program needs none."""
    actor = made.add(Puppet(programs))
    server = serve.attach(actor.pid, options=("--no-guard",))
    assert guard_of(server) is None
    client = begin_at_cold_spots(server, actor)
    wait.until(lambda: process.changed_text(actor.pid), "breakpoints", LIMIT)
    server.signal(signal.SIGKILL)
    server.wait_exit(LIMIT)
    client.close()
    wait.until(lambda: process.tracer(actor.pid) == 0, "nobody traces it", LIMIT)
    assert process.changed_text(actor.pid)
    launched = serve.launch(programs.c("counter"), "threads", "4")
    assert guard_of(launched) is None


def test_a_stop_is_the_same_after_a_rest(made, programs, serve):
    """Breakpoints that were out for a while are in again, and are told as before."""
    actor = made.add(Puppet(programs))
    server = serve.attach(actor.pid)
    client = made.add(Client(server.port))
    first = client.begin()
    client.insert(actor.at["odd"])
    client.insert(actor.at["watched"], kind=2, length=8)
    client.go_on(first)
    kinds = set()
    end = time.monotonic() + 4 * LIMIT      # on a busy machine one of them may come first for long
    for turn in itertools.count():
        reply = client.stop_reply()
        kinds |= {word for word in (b"swbreak", b"watch") if word in reply}
        wait.until(lambda: not process.changed_text(actor.pid), "clean code", LIMIT)
        assert client.ask(f"m{actor.at['odd']:x},1") == b"67"       # the address size prefix
        if b"swbreak" in reply:
            client.step_over(thread_of(reply), actor.at["odd"])
        client.go()
        if turn > 10 and (len(kinds) == 2 or time.monotonic() > end):
            break
    client.stop_reply()
    client.ok(f"D;{actor.pid:x}")
    client.close()
    assert kinds == {b"swbreak", b"watch"}
    actor.assert_untouched()
