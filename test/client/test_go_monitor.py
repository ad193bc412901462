"""monitor commands about Go, and how a Go program's death and its signals are met."""
import re

import pytest

from harness import process, where
from harness.gdb import GdbError
from harness.programs import at

SOURCE = "gosteps/main.go"

pytestmark = [pytest.mark.stopgo_only("goroutines are threads"), pytest.mark.gdbs("gdb13")]


def shows_labels(text):
    """Both labels of one goroutine; up to Go 1.23 they lie in a map, in no order."""
    return "{request=42, team=storage}" in text or "{team=storage, request=42}" in text


@pytest.fixture(params=["plain", "stripped"])
def states(serve, new_gdb, programs, debuggee, request):
    """(gdb, process) attached to the states program, with or without symbols: the commands need none."""
    how = {"plain": {"flags": ()}, "stripped": {"flags": ("-ldflags=-s -w",)}}[request.param]
    running = debuggee(programs.go("go/states", where.newest_go(), tag="-" + request.param, package=".", **how))
    assert running.readline().startswith("ready")
    server = serve.attach(running.pid)
    gdb = new_gdb()
    gdb.connect(server)
    yield gdb, running
    gdb.detach()
    assert process.changed_text(running.pid) == []


@pytest.mark.quick
def test_goroutines_and_filters(states):
    gdb, _ = states
    everything = gdb.monitor("goroutines")
    count = int(re.search(r"\[(\d+) goroutines", everything).group(1))
    assert count >= 22 and everything.count(" Goroutine ") == count
    assert re.search(r"Goroutine \d+ - main\.receiver \S+/main\.go:\d+ \[chan receive\]", everything)
    running, waiting = gdb.monitor("goroutines -r"), gdb.monitor("goroutines -w")
    assert "main.spin" in running and "main.receiver" not in running
    assert "main.receiver" in waiting and "main.spin" not in waiting
    system = gdb.monitor("goroutines -s")
    assert "runtime." in system and "main.receiver" not in system
    both = gdb.monitor("goroutines -u -s")
    assert both.count(" Goroutine ") == count + system.count(" Goroutine ")
    labelled = gdb.monitor("goroutines label team=storage")
    assert labelled.count(" Goroutine ") == 1 and "request=42" in labelled
    assert gdb.monitor("goroutines label team=other").count(" Goroutine ") == 0
    inside = gdb.monitor("goroutines at main.waitDeep")
    assert inside.count(" Goroutine ") == 1
    assert gdb.monitor("goroutines at (*Pool).run").count(" Goroutine ") == 1
    assert gdb.monitor("goroutines 3").count(" Goroutine ") == 3


def test_stacks_and_groups(states):
    gdb, _ = states
    deep = gdb.monitor("goroutines at main.waitDeep -t 5")
    assert len(re.findall(r"^\t\d+  0x", deep, re.M)) == 5 and "... more" in deep
    assert len(re.findall(r"^\t\d+  0x", gdb.monitor("goroutines at main.waitDeep -t"), re.M)) == 10
    by_state = gdb.monitor("goroutines -g state")
    counts = dict((name, int(n)) for n, name in re.findall(r"^ *(\d+)  (.*?) \(goroutine", by_state, re.M))
    assert counts["chan receive"] >= 5 and counts["select (no cases)"] == 1
    assert re.search(r"1  main\.receiver \(goroutine", gdb.monitor("goroutines -g func"))
    assert shows_labels(gdb.monitor("goroutines -g label"))
    for wrong in ("goroutines -x", "goroutines label", "goroutines label =1", "goroutines at", "goroutines -g",
                  "goroutines -g size", "goroutine x", "goroutine 1 2", "panic now", "go away", "catch sun on",
                  "catch panic perhaps", "set max-goroutines 0", "set max-goroutines many", "set stable-stacks",
                  "set threads"):
        with pytest.raises(GdbError):
            gdb.monitor(wrong)


def test_one_goroutine(states):
    gdb, _ = states
    goid = re.search(r"Goroutine (\d+) - main\.labelled", gdb.monitor("goroutines")).group(1)
    text = gdb.monitor("goroutine " + goid)
    assert f"Goroutine {goid}, started with main.labelled" in text
    assert "chan receive" in text and "created   main.start" in text and shows_labels(text)
    assert "main.labelled.func1" in text and "runtime.goexit" in text
    assert "there is no goroutine 7777777" in gdb.monitor("goroutine 7777777")
    assert "no goroutine panics" in gdb.monitor("panic")


def test_what_is_known(states):
    gdb, _ = states
    text = gdb.monitor("go")
    assert where.newest_go()[2:] in text and "pclntab" in text and "missing:" not in text
    help_text = gdb.monitor("help")
    for name in ("goroutines", "goroutine", "panic", "catch", "go", "set threads", "set max-goroutines", "set stable-stacks"):
        assert re.search(r"^  %s\b" % re.escape(name), help_text, re.M)


def test_of_a_program_that_is_not_go(session, programs):
    gdb, _ = session(programs.c("basic"))
    for command in ("goroutines", "goroutine 1", "panic", "go"):
        assert "not a Go program" in gdb.monitor(command)
    assert "OS threads" in gdb.monitor("set threads goroutines")
    gdb.run_to("main")
    assert len(gdb.threads()) == 1
    gdb.kill()


@pytest.mark.quick
@pytest.mark.parametrize("release", ["go1.19", "go1.27"])
def test_a_panic_that_nobody_recovers(session, programs, release):
    gdb, _ = session(programs.go("gosteps", release), "panic", "7")
    gdb.cont()
    stop = gdb.expect_signal("SIGTRAP", "runtime.fatalpanic")
    assert stop.thread == 1
    assert "panic: first of 7\n\tpanic: second" in "".join(gdb.console)
    assert "main.main" in gdb.bt()
    assert "first of 7" in gdb.monitor("panic")
    gdb.cont()
    gdb.expect_exit(2)


@pytest.mark.parametrize("release", ["go1.19", "go1.27"])
def test_a_fatal_error(session, programs, release):
    gdb, _ = session(programs.go("gosteps", release), "deadlock")
    gdb.cont()
    gdb.expect_signal("SIGTRAP", "runtime.fatal")
    assert "fatal error: all goroutines are asleep - deadlock!" in "".join(gdb.console)
    assert "asleep" in gdb.monitor("panic")
    gdb.kill()


def test_neither_when_not_wanted(session, programs):
    gdb, _ = session(programs.go("gosteps", "go1.19"), "panic", "7")
    assert "panic: on" in gdb.monitor("catch")
    gdb.monitor("catch panic off")
    gdb.cont()
    gdb.expect_exit(2)
    gdb, _ = session(programs.go("gosteps", "go1.19"), "deadlock")
    gdb.monitor("catch fatal off")
    gdb.cont()
    gdb.expect_exit(2)


def test_a_breakpoint_where_death_is_caught(session, programs):
    """The client's own breakpoint there is reported as such, and the message is printed all the same."""
    gdb, _ = session(programs.go("gosteps", "go1.19"), "panic", "7")
    number = gdb.break_at("*'runtime.fatalpanic'")
    gdb.cont()
    gdb.expect_breakpoint_stop("runtime.fatalpanic", number)
    assert "panic: first of 7" in "".join(gdb.console)
    gdb.delete()
    gdb.cont()
    gdb.expect_exit(2)


def test_preemption_never_stops(session, programs):
    """A client that never said which signals pass; and one that asks for SIGURG by name."""
    gdb, _ = session(programs.go("gosteps", "go1.19"), "grow", "1000000")
    gdb.break_at(at(SOURCE, "work-end"))
    for _ in range(30):
        gdb.cont()
        gdb.expect_breakpoint_stop("main.work")
    gdb.cli("handle SIGURG stop print pass")
    gdb.delete()
    gdb.cont()
    stop = gdb.expect_stop()
    assert stop.signal == "SIGURG", stop
    gdb.kill()


def test_preemption_never_stops_a_plain_client(serve, new_rsp, programs):
    server = serve.launch(programs.go("gosteps", "go1.19"), "grow", "20")
    rsp = new_rsp(server)
    rsp.ask("qSupported:multiprocess+;swbreak+;xmlRegisters=i386;vContSupported+")
    assert rsp.ask("vCont;c").startswith(b"W00")
    rsp.close()
