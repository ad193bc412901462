"""Conditions that are compiled into the program: each passing is counted once, each hit is a stop, whatever comes meanwhile."""
import re
import resource
import signal
import subprocess
import time

import pytest

import judge
from harness import process, wait
from stage import (FALSE, LIMIT, RSI, Client, GoPuppet, Puppet, Seed, condition, reg_equals, reg_every, thread_of, times,
                   wait_gone)
from test_exact import Run, finish, summary
from test_server_killed import guard_of

pytestmark = pytest.mark.stopgo_only("its compiled conditions")

ENOUGH = 400    # hits until one is surely compiled


def ask_monitor(client, text):
    """What a monitor command says."""
    client.send("qRcmd," + text.encode().hex())
    said = b""
    while True:
        reply = client.receive(LIMIT)
        if reply[:1] == b"O" and reply != b"OK":
            said += bytes.fromhex(reply[1:].decode())
        else:
            assert reply == b"OK", reply
            return said.decode()


def way(client, addr):
    """(is it compiled, how often passed, what was said)"""
    said = ask_monitor(client, f"show fast-conditions {addr:x}")
    match = re.search(r"passed (\d+) times", said)
    assert match, said
    return "compiled" in said, int(match.group(1)), said


def until_over(client, run, reply, seed, meanwhile=lambda: None, limit=12 * LIMIT):
    """Interrupts it again and again until the run is over; it is stopped then."""
    end = time.monotonic() + limit
    client.go_on(reply)
    while time.monotonic() < end:
        time.sleep(seed.random() * 0.01)
        reply = client.halt()
        assert reply[:1] == b"T", reply
        meanwhile()
        if run.over():
            return
        client.go_on(reply)
    raise AssertionError("they do not come to an end")


@pytest.mark.parametrize("point", ("call", "mov", "tick"))
@pytest.mark.parametrize("threads", (1, 8, 64))
def test_each_passing_is_counted(made, programs, serve, threads, point):
    """Signals rain, the client interrupts, other breakpoints come and go."""
    actor = made.add(Puppet(programs, workers=threads, pause_us=0))
    assert actor.ask("check 1").startswith("exact")
    assert actor.ask("timer 1000") == "set"
    assert actor.ask("rain 500") == "rain"
    server = serve.attach(actor.pid)
    client = made.add(Client(server.port))
    reply = client.begin()
    ask_monitor(client, "set fast-conditions on")
    seed = Seed()
    actor.at["mov"] = actor.at["syscall"] - 5
    addr = actor.at[point]
    others = [actor.at["leaf"], actor.at["count"]]
    for at in (addr, *others):
        client.insert(at, condition(FALSE))
    turn = 0

    def meanwhile():
        nonlocal turn
        turn += 1
        other, letter = others[turn % 2], "Zz"[turn // 2 % 2]
        client.ok(f"{letter}0,{other:x},1{condition(FALSE) if letter == 'Z' else ''}")
        if turn % 3 == 0:       # as gdb at each stop
            client.remove(addr)
            client.insert(addr, condition(FALSE))

    run = Run(actor, max(2 * ENOUGH // threads + 20, times(20000 // threads)))
    until_over(client, run, reply, seed, meanwhile)
    first, last = run.over()
    compiled, passed, said = way(client, addr)
    print(said)
    finish(actor, client, server)
    # Where a jump of a short instruction leads is the linker's choice: it may not be free.
    assert compiled or "too short" in said, said
    assert passed == threads * (last - first)


@pytest.mark.parametrize("threads", (1, 8))
def test_each_hit_is_a_stop(made, programs, serve, threads):
    """Compiled, and true now and then."""
    actor = made.add(Puppet(programs, workers=threads, pause_us=0))
    assert actor.ask("check 1").startswith("exact")
    assert actor.ask("timer 1000") == "set"
    assert actor.ask("rain 500") == "rain"
    server = serve.attach(actor.pid)
    client = made.add(Client(server.port))
    reply = client.begin()
    ask_monitor(client, "set fast-conditions on")
    addr = actor.at["call"]
    # The first thread's count of its rounds, which all of them look at; it may move on between two looks. From now on, so that it is
    # compiled before it is true: what is counted goes with a breakpoint that is taken out, but for what its stub has counted.
    place = actor.at["watched"]
    now = int.from_bytes(bytes.fromhex(client.ask(f"m{place:x},8").decode()), "little")
    seldom = condition(b"\x25" + place.to_bytes(8, "big") + b"\x1a\x25" + now.to_bytes(8, "big") +
                       b"\x03\x23\x01\x00\x08\x22\xff\x13\x27")
    client.insert(addr, seldom)
    run = Run(actor, max(ENOUGH, times(3000)))
    hits, compiled, dropped = 0, 0, 0
    client.go_on(reply)
    end = time.monotonic() + 12 * LIMIT
    while time.monotonic() < end:
        try:
            reply = client.receive(0.02)
        except wait.TimedOut:
            if not run.over():
                continue
            reply = client.halt()
        if b"swbreak" in reply:
            client.ok(f"Hg{thread_of(reply)}")
            assert client.reg(16) == addr
            hits += 1
            is_compiled, passed = way(client, addr)[:2]
            compiled += is_compiled
            dropped += 0 if is_compiled else passed     # true before it was compiled: its count goes when it is taken out
            client.step_over(thread_of(reply), addr, seldom)
            client.go()
        elif run.over():
            break
        else:
            raise AssertionError(reply)
    assert run.over(), "they do not come to an end"
    first, last = run.over()
    passed = way(client, addr)[1]
    finish(actor, client, server)
    assert hits and compiled, (hits, compiled)
    assert dropped + passed + hits >= threads * (last - first)


@pytest.mark.parametrize("name", ("SIGTERM", "SIGSEGV", "SIGKILL"))
def test_nothing_is_left_behind(made, programs, serve, name):
    """The server ends while threads run through a stub: the jump goes with it, and nobody notices."""
    actor = made.add(Puppet(programs, workers=4, pause_us=0))
    server = serve.attach(actor.pid, options=("--once",), preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_CORE, (0, 0)))
    client = made.add(Client(server.port))
    reply = client.begin()
    addr = actor.at["call"]
    client.insert(addr, condition(FALSE))
    end = time.monotonic() + 6 * LIMIT
    while not way(client, addr)[0]:
        assert time.monotonic() < end, way(client, addr)
        client.go_on(reply)
        time.sleep(0.02)
        reply = client.halt()
    client.go_on(reply)
    actor.check()
    guard = guard_of(server)
    server.signal(getattr(signal, name))
    wait_gone(server)
    # The guard of a server that was killed begins when the kernel has let go of the process. Who looks into it traces it, too.
    wait.until(lambda: not process.is_alive(guard), "the guard to end", 3 * LIMIT)
    wait.until(lambda: not judge.faults(actor.pid, actor.points, actor.pages), "the jump to be gone", 3 * LIMIT)
    actor.assert_untouched(3 * LIMIT)


def behind_check(path, function):
    """Where a Go function goes on when its stack is large enough: instructions without a branch between them, not too near each other."""
    text = subprocess.run(["objdump", "-d", "--no-show-raw-insn", path], capture_output=True, text=True, timeout=60, check=True).stdout
    body = re.search(rf"^[0-9a-f]+ <{re.escape(function)}>:\n((?: .*\n)+)", text, re.M).group(1)
    found = [(int(at, 16), words) for at, words in re.findall(r"^ *([0-9a-f]+):\s+(.*)", body, re.M)]
    check = next(i for i, (at, words) in enumerate(found) if words.startswith("jbe"))
    straight = []
    for at, words in found[check + 1:]:
        if words[0] == "j" or words.startswith("call"):
            break
        if not straight or at - straight[-1] >= 10:
            straight.append(at)
    return straight[:3]


def test_go(made, programs, serve):
    """The collector, growing stacks and SIGPROF at 1 kHz meet goroutines in compiled conditions: the runtime notices nothing."""
    actor = made.add(GoPuppet(programs, workers=6, pause_us=0))
    assert actor.ask("check 1").startswith("exact")
    assert actor.ask("profile 1000") == "set"
    assert actor.ask("gc 1")
    server = serve.attach(actor.pid)
    client = made.add(Client(server.port))
    reply = client.begin()
    ask_monitor(client, "set fast-conditions on")
    seed = Seed()
    deep = behind_check(programs.go("gopuppet"), "main.deep")
    assert len(deep) > 1
    refused = actor.at["main.tick"]
    for addr in (*deep, refused):
        client.insert(addr, condition(reg_equals(RSI, 0x123456789), FALSE))
    run = Run(actor, times(2000))
    until_over(client, run, reply, seed)
    first, last = run.over()
    said = [way(client, addr) for addr in deep]
    print("".join(text for _, _, text in said))
    compiled, passed, text = way(client, refused)
    assert not compiled and "stack" in text, text
    assert passed == 6 * (last - first)
    assert any(compiled for compiled, _, _ in said)
    # Each instruction is executed as often as the one before it.
    assert len({passed for _, passed, _ in said}) == 1, said
    client.ok(f"D;{actor.pid:x}")
    client.close()
    assert wait_gone(server) == 0
    assert actor.ask("profile 0") == "set"
    assert actor.ask("gc 0")
    assert actor.ask("check 1", 3 * LIMIT).startswith("exact")
