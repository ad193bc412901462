"""True non-stop mode: threads stop one by one while the others run."""
import pytest

from harness import wait
from harness.programs import at


@pytest.fixture
def nonstop(serve, new_gdb, programs):
    """nonstop(program, args…): (gdb, server), connected in non-stop mode, stopped at main."""
    def start(program, *args):
        server = serve.launch(program, *args)
        gdb = new_gdb(program, non_stop=True, mi_async=True)
        gdb.connect(server)
        gdb.break_at("main", temporary=True)
        gdb.mi("-exec-continue")
        gdb.expect_breakpoint_stop("main")
        return gdb, server
    return start


def states(gdb):
    return {number: row["state"] for number, row in gdb.threads().items()}


@pytest.mark.quick
def test_one_thread_stops_the_others_run(nonstop, programs):
    gdb, _ = nonstop(programs.c("threads"), "3")
    number = gdb.break_at("work", condition="index == 1")
    gdb.mi("-exec-continue --all")
    stop = gdb.expect_breakpoint_stop("work", number)
    found = states(gdb)
    assert found.pop(stop.thread) == "stopped"
    assert set(found.values()) == {"running"} and len(found) == 3
    gdb.cli(f"thread {stop.thread}")
    assert gdb.value("index") == 1
    before = gdb.value("progress[0]")
    wait.until(lambda: gdb.value("progress[0]") > before, "another thread's progress")
    gdb.delete()
    gdb.set("stop = 1")
    gdb.mi("-exec-continue --all")
    gdb.expect_exit(0)


@pytest.mark.stopgo_only("says what it shows")
def test_a_go_program_shows_its_kernel_threads(serve, new_gdb, programs):
    """Goroutines move while others run. It is said where somebody looks for them, and nothing else is different."""
    program = programs.go("gosteps", "go1.19")
    server = serve.launch(program, "many", "20")
    gdb = new_gdb(program, non_stop=True, mi_async=True)
    gdb.connect(server)
    number = gdb.break_at("main.tick")
    gdb.mi("-exec-continue --all")
    stop = gdb.expect_breakpoint_stop("main.tick", number)
    rows = gdb.threads()
    assert [row["details"] for row in rows.values() if "details" in row] == ["OS threads: goroutines are shown in all-stop mode"]
    found = states(gdb)
    assert found.pop(stop.thread) == "stopped" and set(found.values()) <= {"running"}
    gdb.thread(stop.thread)
    for _ in range(3):
        # Whichever thread its goroutine runs on by then.
        gdb.mi("-exec-continue --all")
        gdb.expect_breakpoint_stop("main.tick", number)
    assert "goroutines in all-stop mode only" in gdb.monitor("go")
    assert gdb.monitor("goroutines").count("main.waiter") == 20
    gdb.kill()


def test_each_thread_stops_for_itself(nonstop, programs):
    gdb, _ = nonstop(programs.c("threads"), "4")
    gdb.break_at("work")
    gdb.mi("-exec-continue --all")
    threads = {gdb.expect_breakpoint_stop("work").thread for _ in range(4)}
    assert len(threads) == 4
    assert sorted(states(gdb).values()) == ["running"] + ["stopped"] * 4
    gdb.kill()


def test_interrupt_all_and_one(nonstop, programs):
    gdb, server = nonstop(programs.c("threads"), "3")
    gdb.mi("-exec-continue --all")
    server.out.find("ready")
    gdb.mi("-exec-interrupt --all")
    for _ in range(4):
        stop = gdb.expect_stop("signal-received")
        assert stop.signal in ("0", "SIGINT")
    assert set(states(gdb).values()) == {"stopped"}
    gdb.cli("thread 3")
    gdb.mi("-exec-continue")
    assert states(gdb)[3] == "running" and states(gdb)[2] == "stopped"
    gdb.mi("-exec-interrupt --thread 3")
    assert gdb.expect_stop("signal-received").thread == 3
    gdb.set("stop = 1")
    gdb.mi("-exec-continue --all")
    gdb.expect_exit(0)


def test_step_one_while_the_others_run(nonstop, programs):
    gdb, _ = nonstop(programs.c("threads"), "3")
    number = gdb.break_at("work", condition="index == 2")
    gdb.mi("-exec-continue --all")
    stop = gdb.expect_breakpoint_stop("work", number)
    gdb.cli(f"thread {stop.thread}")
    for _ in range(5):
        gdb.mi("-exec-next")
        assert gdb.expect_stop("end-stepping-range").thread == stop.thread
    gdb.kill()


def test_many_hits_of_many_threads(nonstop, programs):
    """A breakpoint that eight threads hit again and again while each is sent on at once: nothing is lost or stuck."""
    gdb, _ = nonstop(programs.c("threads"), "8", "20")
    gdb.break_at("work")
    last = gdb.break_at(at("threads.c", "main-joined"))
    gdb.mi("-exec-continue --all")
    hits = 0
    while True:
        stop = gdb.expect_stop("breakpoint-hit")
        if stop.number == last:
            break
        hits += 1
        gdb.mi(f"-exec-continue --thread {stop.thread}")
    assert hits == 160
    gdb.kill()


def test_attach_in_nonstop(serve, new_gdb, programs, debuggee):
    from harness import process
    made = debuggee(programs.c("counter"), "threads", "3")
    made.readline()
    server = serve.multi()
    gdb = new_gdb(programs.c("counter"), non_stop=True, mi_async=True)
    gdb.connect(server, extended=True)
    gdb.cli(f"attach {made.pid}")
    for _ in range(4):
        gdb.expect_stop()
    assert len(gdb.threads()) == 4
    gdb.cli("detach")
    assert process.changed_text(made.pid) == []


def test_schedule_locking_free_watchpoint(nonstop, programs):
    gdb, _ = nonstop(programs.c("threads"), "3")
    gdb.watch("progress[2]")
    gdb.mi("-exec-continue --all")
    stop = gdb.expect_stop("watchpoint-trigger", "work")
    gdb.cli(f"thread {stop.thread}")
    assert gdb.value("index") == 2
    gdb.kill()


def test_signal_to_one_thread(nonstop, programs):
    gdb, _ = nonstop(programs.c("signals"), "thread")
    gdb.mi("-exec-continue --all")
    seen = {}
    for _ in range(2):
        stop = gdb.expect_stop("signal-received")
        seen[stop.signal] = stop.thread
        gdb.mi(f"-exec-continue --thread {stop.thread}")
    assert set(seen) == {"SIGUSR1", "SIGUSR2"} and seen["SIGUSR1"] == 1
    gdb.expect_exit(11)


def test_always_nonstop_target_with_allstop_commands(serve, new_gdb, programs):
    """gdb's own mixture: all-stop for the user over a non-stop target."""
    program = programs.c("threads")
    server = serve.launch(program, "4", "50")
    gdb = new_gdb(program)
    gdb.cli("maintenance set target-non-stop on")
    gdb.connect(server)
    gdb.break_at("work", condition="call == 10")
    seen = []
    for _ in range(4):
        gdb.cont()
        gdb.expect_breakpoint_stop("work")
        seen.append(gdb.value("index"))
    assert sorted(seen) == [0, 1, 2, 3]
    gdb.delete()
    gdb.cont()
    gdb.expect_exit(0)


def test_a_leader_that_has_ended_does_not_run(nonstop, programs):
    """The end of the main thread and the stop that it lets another come to are heard of in one."""
    gdb, _ = nonstop(programs.c("threadlife"), "leader")
    number = gdb.break_at("alone")
    gdb.mi("-exec-continue --all")
    stop = gdb.expect_breakpoint_stop("alone", number)
    wait.until(lambda: states(gdb) == {stop.thread: "stopped"}, "the main thread's end to be known")
    gdb.delete()
    gdb.mi("-exec-continue --all")
    gdb.expect_exit(7)
