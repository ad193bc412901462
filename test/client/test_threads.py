"""Threads: listed, named, switched between, born and dead at any moment; thread-local variables."""
import pytest

from harness import process
from harness.programs import at


@pytest.mark.quick
def test_list_names_and_backtraces(session, programs):
    gdb, server = session(programs.c("threads"), "4")
    gdb.run_to("all_ready")
    rows = gdb.threads()
    assert len(rows) == 5
    assert {row.get("name") for row in rows.values()} >= {"worker-0", "worker-1", "worker-2", "worker-3"}
    tids = {int(row["target-id"].rsplit(".", 1)[1].split()[0]) for row in rows.values()}
    assert tids == set(process.tasks(server.inferior))
    text = gdb.cli("thread apply all bt")
    assert text.count("thread_main") == 4 and "all_ready" in text
    gdb.kill()


def test_every_thread_hits_the_same_breakpoint(session, programs):
    gdb, _ = session(programs.c("threads"), "6")
    gdb.break_at("work")
    seen = set()
    for _ in range(60):
        gdb.cont()
        gdb.expect_breakpoint_stop("work")
        seen.add(gdb.value("index"))
        if len(seen) == 6:
            break
    assert seen == set(range(6))
    gdb.kill()


def test_breakpoint_of_one_thread(session, programs):
    gdb, _ = session(programs.c("threads"), "4")
    gdb.run_to("all_ready")
    number = next(n for n, row in gdb.threads().items() if row.get("name") == "worker-2")
    gdb.break_at("work", thread=number)
    for _ in range(4):
        gdb.cont()
        stop = gdb.expect_breakpoint_stop("work")
        assert stop.thread == number and gdb.value("index") == 2
    gdb.kill()


@pytest.mark.quick
def test_false_condition_in_many_threads_loses_nothing(session, programs):
    """Eight threads of a hundred calls each over a breakpoint whose condition is never true: all the calls happen."""
    gdb, _ = session(programs.c("threads"), "8", "100")
    gdb.break_at("work", condition="index == 99")
    last = gdb.break_at(at("threads.c", "main-joined"))
    gdb.cont()
    gdb.expect_breakpoint_stop("main", last)
    assert [gdb.value(f"progress[{i}]") for i in range(8)] == [100] * 8
    gdb.cont()
    gdb.expect_exit(0)


def test_counting_every_call_by_condition(session, programs):
    """A condition that is true exactly once for each of four threads stops exactly four times."""
    gdb, _ = session(programs.c("threads"), "4", "50")
    gdb.break_at("work", condition="call == 25")
    last = gdb.break_at(at("threads.c", "main-joined"))
    seen = []
    while True:
        gdb.cont()
        stop = gdb.expect_stop("breakpoint-hit")
        if stop.number == last:
            break
        seen.append(gdb.value("index"))
    assert sorted(seen) == [0, 1, 2, 3]
    gdb.cont()
    gdb.expect_exit(0)


def test_select_another_and_step_it(session, programs):
    gdb, _ = session(programs.c("threads"), "3")
    gdb.break_at("work")
    gdb.cont()
    first = gdb.expect_breakpoint_stop("work").thread
    gdb.cli("set scheduler-locking step")
    gdb.delete()
    other = next(n for n, row in gdb.threads().items() if n not in (1, first))
    gdb.thread(other)
    gdb.step("stepi")
    assert gdb.threads()[other]["state"] == "stopped"
    gdb.kill()


def test_storm_of_short_threads(session, programs):
    gdb, _ = session(programs.c("threadlife"), "storm", "200")
    gdb.cont()
    gdb.expect_exit(0)


def test_storm_over_a_breakpoint(session, programs):
    """Threads that live for one call, each over a breakpoint with a condition."""
    gdb, server = session(programs.c("threadlife"), "storm", "100")
    gdb.break_at("touch", condition="lived == 60")
    gdb.cont()
    gdb.expect_breakpoint_stop("touch")
    gdb.delete()
    gdb.cont()
    gdb.expect_exit(0)


def test_leader_that_ends_first(session, programs):
    """The main thread ends, another goes on: the process lives, and its exit code is the one it gives."""
    gdb, _ = session(programs.c("threadlife"), "leader")
    gdb.break_at("alone")
    gdb.cont()
    stop = gdb.expect_breakpoint_stop("alone")
    assert stop.thread == 2
    gdb.step("next")
    gdb.cont()
    gdb.expect_exit(7)


def test_leader_that_ends_alone(session, programs):
    """Only the main thread was let run, and it ends: nobody is left to wait for, although the process lives."""
    gdb, _ = session(programs.c("threadlife"), "leader")
    gdb.break_at(at("threadlife.c", "leader-ends"))
    gdb.cont()
    gdb.expect_breakpoint_stop("main")
    gdb.cli("set scheduler-locking on")
    gdb.cont()
    gdb.console_until("No unwaited-for children left")
    gdb.kill()


@pytest.mark.quick
def test_thread_local_variables(session, programs):
    gdb, _ = session(programs.c("tls"))
    gdb.run_to("together")
    values = {}
    for number in gdb.threads():
        gdb.thread(number)
        values[gdb.eval("(char *)name").split('"')[1]] = gdb.value("local")
    assert values == {"main": 1, "thread-1": 101, "thread-2": 202, "thread-3": 303}
    gdb.thread(1)
    gdb.set("local = 9")
    gdb.cont()
    gdb.expect_exit(9)


def test_thread_local_variables_static(session, programs):
    """No libthread_db knows a static program's; what gdb then says, it says without harm to the session."""
    gdb, _ = session(programs.c("tls", "static"))
    gdb.run_to("together")
    gdb.cont()
    gdb.expect_exit(1)


@pytest.mark.peer_fails("it ends in the middle of the session with gdb 18")
def test_thread_events_and_exit_while_stepping(session, programs):
    gdb, _ = session(programs.c("threads"), "3", "3")
    gdb.break_at(at("threads.c", "main-ready"))
    gdb.cont()
    gdb.expect_breakpoint_stop("main")
    for _ in range(4):
        gdb.step("next")        # the others come to their end meanwhile
    gdb.delete()
    gdb.cont()
    gdb.expect_exit(0)


def test_sixty_four_threads(session, programs):
    gdb, _ = session(programs.c("threads"), "64")
    gdb.run_to("all_ready")
    assert len(gdb.threads()) == 65
    gdb.break_at("work", condition="index == 63")
    gdb.cont()
    gdb.expect_breakpoint_stop("work")
    assert len(gdb.cli("thread apply all bt 1").split("\nThread ")) == 66
    gdb.delete()
    gdb.set("stop = 1")
    gdb.cont()
    gdb.expect_exit(0)


def test_call_in_the_stopped_thread_of_several(session, programs):
    gdb, _ = session(programs.c("threads"), "4")
    gdb.break_at("work", condition="index == 3")
    gdb.cont()
    stop = gdb.expect_breakpoint_stop("work")
    gdb.delete()
    assert gdb.value("(int)getpid()") == gdb.pid()
    assert gdb.value("index") == 3
    assert gdb.threads()[stop.thread]["frame"]["func"] == "work"
    gdb.kill()
