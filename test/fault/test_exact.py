"""Nothing is lost and nothing comes twice: hits of breakpoints and watchpoints, instructions stepped over, signals."""
import re
import signal
import subprocess
import time

import pytest

from driver import Driver
from harness import rsp, wait
from stage import (FALSE, FEATURES, LIMIT, RAX, RBX, RDI, RSI, Client, GoPuppet, Puppet, Seed, action_after, commands, condition, print_regs,
                   reg_equals, reg_every, symbols, thread_of, times, vector_insns, wait_gone)

pytestmark = pytest.mark.stopgo_only("its speed and its printf")

THREADS = (1, 8, 64)


@pytest.fixture
def parked(made, programs, serve):
    """parked(workers): (puppet, server): attached to, its workers waiting to be told to run, signals raining."""
    def start(workers, rain_us=500, inside=()):
        actor = made.add(Puppet(programs, workers=workers, pause_us=0, inside=inside))
        assert actor.ask("check 1").startswith("exact")
        assert actor.ask("timer 1000") == "set"
        assert actor.ask(f"rain {rain_us}") == "rain"
        return actor, serve.attach(actor.pid)
    return start


def finish(actor, client, server):
    """Let go, and everything is accounted for."""
    client.ok(f"D;{actor.pid:x}")
    client.close()
    assert wait_gone(server) == 0
    assert actor.ask("rain 0") == "rain"
    assert actor.ask("timer 0") == "set"
    assert actor.ask("check 1").startswith("exact")
    said = actor.ask("signals", 3 * LIMIT)
    assert "lost=0 doubled=0" in said, said
    assert int(re.search(r"sent=(\d+)", said).group(1)) > 0
    assert actor.ask("free 200") == "free"
    actor.assert_untouched()


# Rounds that nobody comes to the end of: end_run() ends them, so that none is over before its test, however long that is kept waiting.
ENDLESS = 1 << 40


class Run:
    """Rounds the workers are told to make; over() when they have made them: (from, to)."""

    def __init__(self, actor, rounds):
        self.actor, self.line = actor, ""
        actor.tell(f"run {rounds}\n")

    def over(self):
        if not self.line and not self.actor.has_said():
            return None
        self.line = self.line or self.actor.hear()
        return tuple(map(int, re.match(r"ran (\d+) to (\d+)$", self.line).groups()))


def end_run(run, client, server):
    """Of an endless run: let go, everybody gets to the end of his round, and everything is accounted for."""
    actor = run.actor
    assert run.over() is None
    client.ok(f"M{actor.at['limit']:x},8:{'00' * 8}")
    client.ok(f"D;{actor.pid:x}")
    client.close()
    assert wait_gone(server) == 0
    assert actor.hear().startswith("ran ")
    assert actor.ask("rain 0") == "rain"
    assert actor.ask("check 1").startswith("exact")
    assert "lost=0 doubled=0" in actor.ask("signals", 3 * LIMIT)


@pytest.mark.parametrize("non_stop", (False, True), ids=("all-stop", "non-stop"))
@pytest.mark.parametrize("threads", THREADS)
def test_printf_and_false_conditions(parked, made, threads, non_stop):
    """Each pass is printed once, while other breakpoints come and go."""
    actor, server = parked(threads)
    seed = Seed()
    client = made.add(Driver(server.port, actor, seed, non_stop=non_stop))
    first = client.begin()
    client.insert(actor.at["tick"], commands(print_regs("<%d %d>\n", RDI, RSI)))
    for name in ("count", "odd", "call", "syscall"):
        client.ok(f"Z0,{actor.at[name]:x},1{condition(FALSE)}")
    others = [actor.at["push"], actor.at["leaf"]]
    run = Run(actor, max(20, times(2400 // threads)))
    go_on(client, first)
    end, passed = time.monotonic() + 12 * LIMIT, 0
    for turn in range(1 << 30):
        if len(server.out.text) > passed:       # they get on, however slowly
            end, passed = time.monotonic() + 12 * LIMIT, len(server.out.text)
        if not non_stop:
            time.sleep(seed.random() * 0.01)
            reply = client.halt()
            assert reply[:1] == b"T"
        addr, letter = others[turn % 2], "Zz"[turn // 2 % 2]
        client.ok(f"{letter}0,{addr:x},1{condition(FALSE) if letter == 'Z' else ''}")
        if not non_stop:
            client.go_on(reply)
        if run.over() or time.monotonic() > end:
            break
    if non_stop:
        halt_all(client)
    else:
        client.halt()
    assert run.over(), f"they do not come to an end: {len(server.out.text.splitlines())} lines, {turn} turns"
    first, last = run.over()
    finish(actor, client, server)
    found = [tuple(map(int, pair)) for pair in re.findall(r"<(\d+) (\d+)>", server.out.rest())]
    expected = [(who, number) for who in range(threads) for number in range(first, last)]
    assert sorted(found) == expected, summary(found, expected)


@pytest.fixture
def go_parked(made, programs, serve):
    """The same of a Go program: collected all the time, its stacks growing, a thousand SIGPROF a second that look at the pc."""
    def start(workers):
        actor = made.add(GoPuppet(programs, workers=workers, pause_us=0))
        assert actor.ask("check 1").startswith("exact")
        assert actor.ask("profile 1000") == "set"
        assert actor.ask("gc 1") == "set"
        return actor, serve.attach(actor.pid)
    return start


def go_spots(programs):
    """Places that everybody passes, the runtime too, and what is done there by instructions of every kind."""
    path = programs.go("gopuppet")
    functions = symbols(path, "main.deep", "runtime.memmove", "runtime.mallocgc", "runtime.copystack", "runtime.memclrNoHeapPointers",
                        "runtime.newproc1")
    spots = dict.fromkeys(functions.values(), 4)
    for name in ("main.deep", "runtime.mallocgc", "runtime.newproc1"):
        spots.update(vector_insns(path, name, functions[name], 4096)[:3])
    return list(spots)


@pytest.mark.parametrize("threads", THREADS)
def test_go_hits(go_parked, made, programs, threads):
    """Each pass of each goroutine is printed once, whatever the collector, the scheduler and the profiler do meanwhile."""
    actor, server = go_parked(threads)
    seed = Seed()
    spots = go_spots(programs)
    assert len(spots) > 8
    client = made.add(Client(server.port))
    first = client.begin(quiet="QPassSignals:e;10;14;17;1a;1b;1c;21;24;25;2c;4c;97;2e")
    client.insert(actor.at["main.tick"], commands(print_regs("<%d %d>\n", RAX, RBX)))
    inserted = set(spots[::2])
    for addr in inserted:
        client.insert(addr, condition(FALSE))
    run = Run(actor, max(20, times(480 // threads)))
    client.go_on(first)
    end = time.monotonic() + 12 * LIMIT
    while time.monotonic() < end:
        time.sleep(seed.random() * 0.02)
        reply = client.halt()
        assert reply[:1] == b"T", reply
        addr = seed.choice(spots)
        if addr in inserted:
            client.remove(addr)
        else:
            client.insert(addr, condition(FALSE))
        inserted ^= {addr}
        client.go_on(reply)
        if run.over():
            break
    client.halt()
    assert run.over(), "they do not come to an end"
    first, last = run.over()
    client.ok(f"D;{actor.pid:x}")
    client.close()
    assert wait_gone(server) == 0
    assert actor.ask("profile 0") == "set"
    assert actor.ask("gc 0") == "set"
    actor.check()
    actor.assert_untouched()
    found = [tuple(map(int, pair)) for pair in re.findall(r"<(\d+) (\d+)>", server.out.rest())]
    expected = [(who, number) for who in range(threads) for number in range(first, last)]
    assert sorted(found) == expected, summary(found, expected)


@pytest.mark.parametrize("threads", THREADS)
def test_true_every_so_often_and_stepped_over(go_parked, made, programs, threads):
    """Each hit that counts is a stop of the goroutine that hit, from which its client goes on by z0, s, Z0, c."""
    actor, server = go_parked(threads)
    client = made.add(Client(server.port))
    first = client.begin()
    tick, seldom = actor.at["main.tick"], condition(reg_every(RBX, 8))
    client.insert(tick, seldom)
    for addr in go_spots(programs)[::3]:
        client.insert(addr, condition(FALSE))
    run = Run(actor, max(16, times(400 // threads)))
    found = []
    client.go_on(first)
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
            assert client.reg(16) == tick
            found.append((client.reg(RAX), client.reg(RBX)))
            if not client.step_over(thread_of(reply), tick, seldom):
                found.pop()
            client.go()
        elif run.over():
            break
        else:
            client.go_on(reply)
    assert run.over(), "they do not come to an end"
    first, last = run.over()
    expected = [(who, number) for who in range(threads) for number in range(first, last) if number % 8 == 0]
    assert sorted(found) == expected, summary(found, expected)
    client.ok(f"D;{actor.pid:x}")
    client.close()
    assert wait_gone(server) == 0
    assert actor.ask("profile 0") == "set"
    assert actor.ask("gc 0") == "set"
    actor.check()
    actor.assert_untouched()


def go_on(client, reply):
    if client.non_stop:
        client.ask(action_after(reply))
    else:
        client.go_on(reply)


def halt_all(client):
    """Every thread stopped, every stop taken note of."""
    client.ask("vCont;t")
    end = time.monotonic() + 0.3
    while time.monotonic() < end:
        try:
            client.take_notice(client.receive(0.05))
        except wait.TimedOut:
            pass


def summary(found, expected):
    lost, extra = set(expected) - set(found), len(found) - len(set(found))
    return f"{len(found)} of {len(expected)}; lost {sorted(lost)[:10]}; {extra} twice; strange {sorted(set(found) - set(expected))[:10]}"


@pytest.mark.parametrize("threads", THREADS)
def test_conditions_that_are_seldom_true(parked, made, threads):
    """Each hit whose condition is true is a stop, once, of the thread that hit."""
    actor, server = parked(threads)
    client = made.add(Client(server.port))
    first = client.begin()
    seldom = condition(reg_every(RSI, 8))
    client.insert(actor.at["tick"], seldom)
    client.insert(actor.at["odd"], condition(FALSE))
    run = Run(actor, max(16, times(800 // threads)))
    found = []
    client.go_on(first)
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
            assert client.reg(16) == actor.at["tick"]
            found.append((client.reg(RDI), client.reg(RSI)))
            # As gdb does at every stop.
            if len(found) % 3 == 0:
                client.remove(actor.at["odd"])
                client.insert(actor.at["odd"], condition(FALSE))
            if not client.step_over(thread_of(reply), actor.at["tick"], seldom):
                found.pop()     # it will be hit again
            client.go()
        elif run.over():
            break
        else:
            raise AssertionError(reply)
    assert run.over(), "they do not come to an end"
    first, last = run.over()
    expected = [(who, number) for who in range(threads) for number in range(first, last) if number % 8 == 0]
    assert sorted(found) == expected, summary(found, expected)
    finish(actor, client, server)


@pytest.mark.parametrize("threads", (1, 8))
@pytest.mark.parametrize("others", (False, True), ids=("alone", "beside-breakpoints"))
def test_watchpoints(parked, made, threads, others):
    """Each write to each of up to four watched places is a stop."""
    actor, server = parked(threads)
    client = made.add(Client(server.port))
    first = client.begin()
    places = {actor.at["watched"] + 64 * who: [] for who in range(min(4, threads))}
    for place in places:
        client.insert(place, kind=2, length=8)
    for name in ("count", "call", "odd") if others else ():
        client.insert(actor.at[name], condition(FALSE))
    run = Run(actor, times(40))
    client.go_on(first)
    end = time.monotonic() + 12 * LIMIT
    while time.monotonic() < end:
        try:
            reply = client.receive(0.02)
        except wait.TimedOut:
            if not run.over():
                continue
            reply = client.halt()
        match = re.search(rb"watch:([0-9a-f]+);", reply)
        if match:
            place = int(match.group(1), 16)
            places[place].append(int.from_bytes(bytes.fromhex(client.ask(f"m{place:x},8").decode()), "little"))
            client.go()
        elif run.over():
            break
        else:
            raise AssertionError(reply)
    assert run.over(), "they do not come to an end"
    first, last = run.over()
    for place, values in places.items():
        assert values == list(range(first + 1, last + 1)), f"{place:#x}: {values}"
    finish(actor, client, server)


def test_born_under_a_watchpoint(made, programs, serve):
    """Nothing is left in a thread that was made while memory was watched, and that never ran with it."""
    actor = made.add(Puppet(programs, workers=1))
    server = serve.attach(actor.pid)
    client = made.add(Client(server.port))
    first = client.begin(features=FEATURES)
    client.ok("QThreadEvents:1")
    client.insert(actor.at["watched"] + 64 * 4, kind=2, length=8)
    client.go_on(first)
    actor.tell("churn 1\n")
    assert b"create:" in client.stop_reply()
    client.remove(actor.at["watched"] + 64 * 4, kind=2, length=8)
    client.ok(f"D;{actor.pid:x}")
    client.close()
    assert wait_gone(server) == 0
    assert actor.hear() == "churning"
    actor.assert_untouched()


OWN_PIDS = ("unshare", "--pid", "--fork", "--kill-child")


@pytest.mark.parametrize("inside", ((), OWN_PIDS), ids=("here", "pid-namespace"))
@pytest.mark.parametrize("threads", (1, 8))
def test_steps_over_breakpoints(parked, made, threads, inside):
    """A thread is stepped through code full of breakpoints that others run through. In a PID namespace of its own, the signals that it
    gets from us come from nobody."""
    if inside and subprocess.run((*inside, "true"), capture_output=True, check=False).returncode:
        pytest.skip("no PID namespace to be had")
    actor, server = parked(threads, inside=inside)
    client = made.add(Client(server.port))
    first = client.begin()
    for name in ("count", "odd", "call", "syscall", "leaf", "push"):
        client.insert(actor.at[name], condition(FALSE))
    client.insert(actor.at["tick"])
    run = Run(actor, ENDLESS)
    client.go_on(first)
    reply = client.stop_reply()
    one = thread_of(reply)
    client.remove(actor.at["tick"])
    client.ok(f"Hg{one}")
    for step in range(times(300)):
        before = client.reg(16), client.reg(7)
        reply = client.step(one, ";c" * (step % 2))
        assert reply.startswith(b"T05") and thread_of(reply) == one, reply
        # A handler that a signal interrupts before its first instruction begins again, further down.
        assert (client.reg(16), client.reg(7)) != before
    end_run(run, client, server)


@pytest.mark.parametrize("threads", THREADS)
def test_client_steps_over_each_kind_of_instruction(parked, made, threads):
    """z0, s, Z0, c at hits on instructions of every kind, also two at once: none is lost, doubled or done halfway."""
    actor, server = parked(threads)
    seed = Seed()
    client = made.add(Client(server.port))
    reply = client.begin()
    names = ("count", "odd", "call", "syscall", "leaf", "push", "tick")
    wanted = {actor.at[name] for name in names}
    run = Run(actor, ENDLESS)
    for turn in range(times(8)):
        here = set(seed.sample(sorted(wanted), 1 + turn % 3))
        for addr in here:
            client.insert(addr)
        for hit in range(times(12)):
            client.go_on(reply)
            reply = client.stop_reply()
            assert b"swbreak" in reply, reply
            client.ok(f"Hg{thread_of(reply)}")
            at = client.reg(16)
            assert at in here
            if client.step_over(thread_of(reply), at):
                assert client.reg(16) != at
        for addr in here:
            client.remove(addr)
    end_run(run, client, server)


@pytest.mark.parametrize("way", ("hits", "steps"))
def test_nobody_starves(parked, made, way):
    """One thread goes from hit to hit, or is stepped on and on while all run: the others get their turns."""
    actor, server = parked(8)
    client = made.add(Client(server.port))
    reply = client.begin()
    tick, mine = actor.at["tick"], condition(reg_equals(RDI, 0))
    client.insert(tick, mine)
    run = Run(actor, ENDLESS)
    client.go_on(reply)
    reply = client.stop_reply()
    one = thread_of(reply)
    if way == "steps":
        client.remove(tick)

    def rounds():
        lines = [client.ask(f"m{actor.at['watched'] + 64 * who:x},8").decode() for who in range(8)]
        return [int.from_bytes(bytes.fromhex(line), "little") for line in lines]

    before, turns, begun = rounds(), 0, time.monotonic()
    while turns < 50 or not all(now > then for then, now in list(zip(before, rounds()))[1:]):
        assert time.monotonic() < begun + LIMIT, f"{before}, {LIMIT} s and {turns} turns later {rounds()}"
        if way == "steps":
            client.step(one, ";c")
        else:
            client.step_over(one, tick, mine)
            client.go()
            reply = client.stop_reply()
            assert thread_of(reply) == one
        turns += 1
    if way == "hits":
        client.remove(tick)
    end_run(run, client, server)


def test_attach_and_detach_again_and_again(made, programs, serve):
    """Threads that live for a moment, counted signals, 200 debuggers: none lost, none doubled, nothing left behind."""
    actor = made.add(Puppet(programs, workers=4, pause_us=100))
    seed = Seed()
    assert actor.ask("churn 1") == "churning"
    assert actor.ask("rain 300") == "rain"
    assert actor.ask("timer 1000") == "set"
    for turn in range(times(200)):
        server = serve.attach(actor.pid)
        how = seed.choice(("look", "detach", "run", "term", "close"))
        if how == "term":
            server.signal(signal.SIGTERM)
        else:
            client = Client(server.port)
            reply = client.begin(quiet=seed.choice((None, "QPassSignals:2e;10;1b")))
            if how in ("run", "close"):
                client.insert(actor.at["count"], condition(FALSE))
                client.go_on(reply)
                time.sleep(seed.random() * 0.003)
            if how == "run":
                reply = client.halt()
                while seed.random() < 0.5:
                    client.go_on(reply)
                    reply = client.halt()
            if how in ("run", "detach"):
                client.ok(f"D;{actor.pid:x}")
            client.close()
        assert wait_gone(server) == 0, how
        server.close()
        made.remove(server)
    for command in ("timer 0", "rain 0", "churn 0"):
        actor.ask(command)
    said = actor.ask("signals", 3 * LIMIT)
    assert "lost=0 doubled=0" in said, said
    actor.assert_untouched()
