"""Stepping goroutines: it stays on the goroutine, wherever the scheduler and the stack go."""
import os
import shutil

import pytest

from harness import wait, where
from harness.gdb import Gdb, GdbError
from harness.programs import at, line
from harness.server import Stopgo

SOURCE = "gosteps/main.go"
LONG, TURNS = 120, 4000  # seconds for four instructions each, one by one
NEXTS = int(os.environ.get("STOPGO_TEST_NEXTS", "200"))

pytestmark = pytest.mark.stopgo_only("goroutines are threads")


@pytest.fixture
def steps(session, programs, release):
    """steps(mode, …): (gdb, server) on gosteps at its first instruction."""
    def start(*args, optimised=False, **kwargs):
        how = {"flags": (), "tag": "-opt"} if optimised else {}
        return session(programs.go("gosteps", release, **how), *args, **kwargs)
    return start


def goroutine(gdb):
    """The id of the selected thread as the server made it: a goroutine's own."""
    return int(gdb.cli("python print(gdb.selected_thread().ptid[1] or gdb.selected_thread().ptid[2])"))


def current(gdb):
    """gdb's number of the selected thread."""
    return int(gdb.mi("-thread-info")["current-thread-id"])


def address(gdb, expression):
    return int(gdb.cli(f"python print(int(gdb.parse_and_eval(\"{expression}\")))"))


def beside_parked_pong(gdb):
    """Runs to where ping goes on with what it got: gdb's number of the goroutine that sent it, which is often, but not always, back at
    waiting by then."""
    for _ in range(100):
        gdb.run_to(at(SOURCE, "ping-add"))
        pongs = [(number, row["details"]) for number, row in gdb.threads().items() if "main.pong" in row.get("name", "")]
        assert len(pongs) == 1
        if pongs[0][1].startswith("chan receive"):
            return pongs[0][0]
    raise AssertionError(pongs)


def right_nexts(gdb, count):
    """Yields for each time that `next` over the call that grows the stack ends on the next line in the same goroutine."""
    for _ in range(count):
        gdb.cont()
        stop = gdb.expect_stop()
        if stop.reason != "breakpoint-hit":
            break
        before = goroutine(gdb)
        gdb.resume("next")
        stop = gdb.expect_stop()
        if stop.is_exit:
            break
        good = stop.reason == "end-stepping-range" and stop.line == line(SOURCE, "grown")
        if good and goroutine(gdb) == before:
            assert not any(note.name == "thread-exited" and note.results.get("id") == str(stop.thread)
                           for note in gdb.notes)
            yield stop
        gdb.notes.clear()


@pytest.mark.parametrize("optimised", [False, True], ids=["plain", "optimised"])
def test_next_over_a_call_that_grows_the_stack(steps, optimised):
    gdb, _ = steps("grow", NEXTS + 1, optimised=optimised)
    gdb.break_at(at(SOURCE, "grow"))
    assert sum(1 for _ in right_nexts(gdb, NEXTS)) == NEXTS
    gdb.kill()


def test_the_same_with_gdbserver(programs, release, gdb_name, made):
    """For comparison: what a server that knows nothing of goroutines makes of it. Nothing is asserted of it."""
    if not shutil.which("gdbserver"):
        pytest.skip("gdbserver is not installed (tools/setup)")
    where.tool(gdb_name)
    program = programs.go("gosteps", release)
    server = made.add(Stopgo(["--once", "127.0.0.1:0", program, "grow", "21"], path=shutil.which("gdbserver")))
    gdb = made.add(Gdb(gdb_name, program))
    gdb.connect(server)
    gdb.break_at(at(SOURCE, "grow"))
    right = 0
    try:
        for _ in right_nexts(gdb, 20):
            right += 1
    except (AssertionError, wait.TimedOut) as error:
        print(f"gdbserver: {error}")
    print(f"gdbserver: {right} of 20")
    gdb.vanish()


@pytest.mark.quick
def test_step_into_finish_until(steps):
    gdb, _ = steps("grow", 2)
    gdb.run_to(at(SOURCE, "call-middle"))
    before = goroutine(gdb)
    assert gdb.step("step", func="main.middle")
    while gdb.frames()[0]["line"] != str(line(SOURCE, "middle-leaf")):
        gdb.step("next", func="main.middle")
    gdb.step("step", func="main.leaf")
    stop, _ = gdb.finish()
    assert stop.func == "main.middle" and goroutine(gdb) == before
    gdb.step("next", func="main.middle")
    stop, _ = gdb.finish()
    assert stop.func == "main.work" and goroutine(gdb) == before
    gdb.step("next", func="main.work")
    assert gdb.frames()[0]["line"] == str(line(SOURCE, "call-loop"))
    gdb.run_to(at(SOURCE, "loop-body"))
    gdb.resume("until " + str(line(SOURCE, "loop-end")))
    gdb.expect_stop("location-reached", "main.loop")
    assert gdb.eval("total") == "20" and goroutine(gdb) == before
    gdb.resume("advance " + at(SOURCE, "work-end"))
    gdb.expect_stop("location-reached", "main.work")
    assert goroutine(gdb) == before
    gdb.cont()
    gdb.expect_exit(0)


@pytest.mark.quick
def test_finish_out_of_frames_whose_stack_has_moved(steps):
    """From the depths of the recursion out to the frame that began it, over ten stacks."""
    gdb, _ = steps("grow", 1)
    gdb.break_at("main.big", condition="n == 3")
    gdb.cont()
    gdb.expect_breakpoint_stop("main.big")
    before = goroutine(gdb)
    gdb.delete()
    outer = gdb.bt().index("main.work")
    gdb.cli(f"frame {outer - 1}")
    gdb.resume("finish")
    stop = gdb.expect_stop("function-finished", "main.work")
    assert stop.line == line(SOURCE, "grow") and goroutine(gdb) == before
    gdb.cont()
    gdb.expect_exit(0)


def test_next_over_channel_operations(steps):
    """The goroutine parks in every other step and goes on when and where it is woken."""
    gdb, _ = steps("pingpong", 40)
    gdb.run_to(at(SOURCE, "ping-send"))
    before = goroutine(gdb)
    for i in range(25):
        stop = gdb.step("next", func="main.ping")
        assert stop.line == line(SOURCE, "ping-receive") and goroutine(gdb) == before
        stop = gdb.step("next", func="main.ping")
        assert stop.line == line(SOURCE, "ping-add") and goroutine(gdb) == before
        assert gdb.eval("v") == str(i + 1) and gdb.eval("i") == str(i)
        while stop.line != line(SOURCE, "ping-send"):
            stop = gdb.step("next", func="main.ping")
    gdb.cont()
    gdb.expect_exit(0)


def test_stepi_through_a_goroutine_switch(steps):
    """Instruction by instruction through the runtime as it parks the goroutine: every step is of this goroutine."""
    gdb, _ = steps("pingpong", 1000)
    gdb.run_to(at(SOURCE, "ping-receive"))
    before = goroutine(gdb)
    gdb.break_at("runtime.gopark", thread=current(gdb))
    gdb.cont()
    gdb.expect_breakpoint_stop("runtime.gopark")
    gdb.delete()
    caller = gdb.bt()[1]
    functions = []
    for _ in range(600):
        stop = gdb.step("stepi")
        assert goroutine(gdb) == before
        functions.append(stop.func)
        if stop.func == caller:
            break
    assert functions[-1] == caller and "runtime.mcall" in functions, functions
    gdb.kill()


def test_thread_specific_breakpoint(steps):
    """break ... thread N stops for that goroutine alone."""
    gdb, _ = steps("grow", 3)
    gdb.run_to(at(SOURCE, "grow"))
    before = goroutine(gdb)
    gdb.break_at("main.leaf", thread=current(gdb))
    hits = 0
    for _ in range(3):
        gdb.cont()
        gdb.expect_breakpoint_stop("main.leaf")
        assert goroutine(gdb) == before
        hits += 1
    assert hits == 3
    gdb.delete()
    gdb.cont()
    gdb.expect_exit(0)


def test_condition_on_a_local(steps):
    gdb, _ = steps("grow", 60)
    gdb.break_at(at(SOURCE, "grown"), condition="n == 57")
    gdb.cont()
    gdb.expect_breakpoint_stop("main.work")
    assert gdb.eval("n") == "57" and gdb.eval("a") == "57"
    gdb.delete()
    gdb.cont()
    gdb.expect_exit(0)


def test_next_in_a_parked_goroutine(steps):
    """One that waits is selected and stepped: the process runs on until it comes to run."""
    gdb, _ = steps("pingpong", 1000)
    gdb.thread(beside_parked_pong(gdb))
    before = goroutine(gdb)
    assert gdb.bt()[0] in ("runtime.gopark", "runtime.goparkunlock")
    gdb.cli("frame function main.pong")
    gdb.resume("stepi")
    gdb.expect_stop("end-stepping-range")
    assert goroutine(gdb) == before
    gdb.kill()


def test_scheduler_locking(steps):
    """A goroutine that computes steps alone; one that is parked cannot, and that is said."""
    gdb, _ = steps("pingpong", 1000)
    parked = beside_parked_pong(gdb)
    before = goroutine(gdb)
    gdb.cli("set scheduler-locking on")
    gdb.step("next", func="main.ping")
    assert goroutine(gdb) == before
    gdb.thread(parked)
    gdb.resume("next")
    stop = gdb.expect_stop()
    assert not stop.is_exit
    assert "cannot run while all others are held" in "".join(gdb.console)
    gdb.kill()


@pytest.mark.parametrize("command", ["next", "step"])
def test_the_collector_goes_on_during_a_long_step(steps, command):
    """A line that takes long has no call where the goroutine would let itself be stopped: only the signal does. What its handler
    makes the goroutine call is nothing to step into."""
    gdb, _ = steps("oneline", TURNS)
    gdb.run_to(at(SOURCE, "one-line"))
    gdb.delete()
    before, collections = goroutine(gdb), int(gdb.eval("'main.Collections'"))
    gdb.resume(command)
    stop = gdb.expect_stop("end-stepping-range", func="main.oneline", limit=LONG)
    assert stop.line == line(SOURCE, "behind-it") and goroutine(gdb) == before
    assert int(gdb.eval("turns")) == TURNS
    # One may have been through with this goroutine when the step began.
    assert int(gdb.eval("'main.Collections'")) >= collections + 2
    gdb.kill()


def test_the_stepped_goroutine_ends(steps):
    """The end of a goroutine is told, though the step that was under way never ends by itself."""
    gdb, _ = steps("end")
    gdb.run_to(at(SOURCE, "brief"))
    before = goroutine(gdb)
    gdb.delete()
    for _ in range(400):
        gdb.resume("stepi 50")
        stop = gdb.expect_stop()
        text = "".join(gdb.console)
        if stop.reason != "end-stepping-range":
            break
        assert goroutine(gdb) == before
    assert f"goroutine {before} has ended" in text, (text, stop)
    gdb.kill()


def test_pointer_to_a_local_written_by_the_client(steps):
    """&local is shown in the window; stored in a variable it is where the local is, and the program can use it."""
    gdb, _ = steps("keep", 5)
    gdb.run_to(at(SOURCE, "keep-grow"))
    shown = address(gdb, "&local")
    assert shown >> 47 not in (0, 0x1FFFF)
    gdb.set("'main.Kept' = &local")
    stored = address(gdb, "'main.Kept'")
    assert stored >> 47 == 0 and stored != shown
    assert gdb.eval("*'main.Kept'") == gdb.eval("local")
    gdb.delete()
    gdb.kill()


def test_registers_of_a_parked_goroutine(steps):
    gdb, _ = steps("pingpong", 1000)
    gdb.thread(beside_parked_pong(gdb))
    assert "unavailable" in gdb.cli("info registers rax")
    with pytest.raises(GdbError):
        gdb.set("$rsp = 0")
    assert "main.pong" in gdb.bt()
    gdb.kill()
