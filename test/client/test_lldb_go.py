"""Goroutines as lldb's threads: listed, walked, stepped, with stacks that stay where they are."""
import os

import pytest

from harness import wait, where
from harness.programs import at, line

pytestmark = [pytest.mark.stopgo_only("goroutines are threads")]

GOS = pytest.mark.parametrize("release", ["go1.19", where.newest_go()])


@pytest.fixture
def seen_in(serve, lldb, programs):
    """seen_in(scenario, release, program arguments, …): what the scenario saw of gosteps, served as by gdbserver."""
    def run(scenario, release, words, *args, env=None):
        program = programs.go("gosteps", release)
        server = serve.launch(program, *words.split(), env=env)
        seen = lldb.run(scenario, program, *args, address=server.address, limit=60)
        assert server.wait_exit() == 0
        return seen
    return run


def grow_over_and_over(here, program, grow, rounds):
    """Step over a call that makes the stack grow and move, in one goroutine after the other."""
    here.program(program)
    here.connect()
    here.break_at(grow)
    seen = []
    for _ in range(rounds):
        here.cont()
        thread = here.thread
        before = (thread.GetThreadID(), here.frame.GetCFA(), here.frames()[-1])
        here.command("thread step-over")
        first = here.stop()
        after = (here.thread.GetThreadID(), here.frame.GetCFA(), here.frames()[-1])
        here.command("thread step-over")
        seen.append([first, before == after, here.stop(), len(here.frames())])
    here.process.Kill()
    return seen


@GOS
def test_step_over_a_growing_stack(seen_in, release):
    seen = seen_in(grow_over_and_over, release, "grow 25", at("gosteps/main.go", "grow"), 25)
    first = line("gosteps/main.go", "grown")
    wanted = [f"step over in main.work main.go:{first}", True, f"step over in main.work main.go:{first + 1}", seen[0][3]]
    assert seen == [wanted] * 25


def answers(here, program, send, rounds):
    """Step a goroutine that parks on two of its three lines and is woken on any thread."""
    here.program(program)
    here.connect()
    here.break_at(send)
    here.cont()
    here.command("breakpoint delete -f")
    ids, places = set(), []
    for _ in range(rounds):
        here.command("thread step-over")
        ids.add(here.thread.GetThreadID())
        places.append(here.stop())
    here.process.Kill()
    return [len(ids), places]


@GOS
def test_step_over_what_parks(seen_in, release):
    count, places = seen_in(answers, release, "pingpong 100", at("gosteps/main.go", "ping-send"), 24)
    send = line("gosteps/main.go", "ping-send")
    assert count == 1
    # The line of the loop itself comes round between the last and the first.
    assert {place.rsplit(":", 1)[1] for place in places} == {str(number) for number in range(send - 1, send + 3)}
    assert all(place.startswith("step over in main.ping main.go:") for place in places)


def everyone(here, program, tick):
    here.program(program)
    here.connect()
    here.break_at(tick)
    seen = [here.cont()]

    def goroutines():
        """Not the OS threads that run none."""
        return [thread for thread in here.process if thread.GetThreadID() < 0x40000000]
    listed = [(thread.GetThreadID(), thread.GetName()) for thread in goroutines()]
    seen.append(sorted(name for _, name in listed))
    text = here.command("thread list")
    seen.append([text.count("name = 'main.waiter'"), "stop reason = breakpoint 1.1" in text])
    seen.append(sorted(here.frames(thread)[0].split()[0] for thread in goroutines()))
    blocks = here.command("thread backtrace all").split("thread #")[1:]
    seen.append(sum("runtime.gopark" in block and "runtime.chanrecv" in block for block in blocks))
    # What a parked goroutine's frame says of itself, and memory by its addresses.
    frame = next(thread for thread in here.process if thread.GetName() == "main.waiter").GetFrameAtIndex(0)
    seen += [frame.GetSP() < frame.GetCFA(), len(here.read(frame.GetSP(), 64)), frame.FindRegister("rip").GetValue() is not None]
    # Again after it ran: the same threads at the same addresses.
    addresses = {thread.GetThreadID(): thread.GetFrameAtIndex(0).GetSP() for thread in goroutines()}
    here.cont()
    seen.append({thread.GetThreadID(): thread.GetFrameAtIndex(0).GetSP() for thread in goroutines()} == addresses)
    seen.append([(thread.GetThreadID(), thread.GetName()) for thread in goroutines()] == listed)
    here.process.Kill()
    return seen


@GOS
def test_all_of_them(seen_in, release):
    seen = seen_in(everyone, release, "many 5", at("gosteps/main.go", "tick"))
    assert seen[0] == f"breakpoint 1.1 in main.tick main.go:{line('gosteps/main.go', 'tick')}"
    assert seen[1] == ["main.main"] + ["main.waiter"] * 5
    assert seen[2] == [5, True]
    assert seen[3] == ["main.tick"] + ["runtime.gopark"] * 5
    assert seen[4] == 5
    assert seen[5:] == [True, 64, True, True, True]


def run_with_preemption(here, program, times):
    """Go's runtime interrupts its own threads all the time: lldb is told of none of it, and halts when it wants to."""
    here.program(program)
    here.connect()
    here.debugger.SetAsync(True)
    listener = here.debugger.GetListener()
    event = lldb.SBEvent()
    seen = []

    def next_state(seconds):
        if not listener.WaitForEvent(seconds, event) or not lldb.SBProcess.EventIsProcessEvent(event):
            return None
        return lldb.SBDebugger.StateAsCString(lldb.SBProcess.GetStateFromEvent(event))
    while next_state(1):
        pass
    for _ in range(times):
        here.process.Continue()
        states = [state for state in (next_state(30), next_state(1)) if state]
        here.process.Stop()
        while here.process.GetState() != lldb.eStateStopped:
            if not listener.WaitForEvent(30, event):
                raise Failed("no halt")
        while listener.GetNextEvent(event):
            pass
        stopped = [thread for thread in here.process if thread.GetStopReason() != lldb.eStopReasonNone]
        seen.append([states, here.reason(here.thread), len(stopped)])
    here.process.Kill()
    return seen


@GOS
def test_preemption_stops_nobody(seen_in, release):
    for states, reason, stopped in seen_in(run_with_preemption, release, "grow 1000000", 3):
        assert states == ["running"] and reason == "signal SIGSTOP"
        # The halt is told of the goroutine, not of the OS thread that took it as well.
        assert stopped == 1


def both_views(here, program, tick):
    here.program(program)
    here.connect()
    here.break_at(tick)
    here.cont()
    monitor = "process plugin packet monitor "
    seen = [here.command(monitor + "goroutines").count("Goroutine "), "main.waiter" in here.command(monitor + "goroutines at main.waiter")]
    seen.append("main.tick" in here.command(monitor + "goroutine"))

    def ids():
        """Without those of OS threads that run no goroutine."""
        return {thread.GetThreadID() for thread in here.process if thread.GetThreadID() < 0x40000000}
    goroutines = ids()
    here.command(monitor + "set threads os")
    # It steps over its breakpoint by the old name: that is no stop of anybody's.
    stops = [here.cont()]
    kernel = ids()
    seen += [len(goroutines), not goroutines & kernel, here.process.GetProcessID() in kernel, here.place(here.frame).split()[0]]
    here.command(monitor + "set threads goroutines")
    stops.append(here.cont())
    seen += [ids() == goroutines, stops]
    here.process.Kill()
    return seen


@GOS
def test_monitor_and_both_views(seen_in, release):
    seen = seen_in(both_views, release, "many 5", at("gosteps/main.go", "tick"))
    assert seen == [6, True, True, 6, True, True, "main.tick", True,
                    [f"breakpoint 1.1 in main.tick main.go:{line('gosteps/main.go', 'tick')}"] * 2]


def goroutines_on_demand(here, program, tick):
    here.program(program)
    here.break_at(tick)
    here.launch("many", "5")
    seen = [any(thread.GetName() == "main.waiter" for thread in here.process)]
    here.command("process plugin packet monitor set threads goroutines")
    seen.append(here.cont().split(" in ")[1].split()[0])
    seen += [here.thread.GetThreadID(), sorted(thread.GetName() for thread in here.process if thread.GetThreadID() < 0x40000000)]
    return seen


@GOS
def test_goroutines_in_the_place_of_lldb_server(lldb, serve, programs, tmp_path, release):
    """OS threads, as lldb-server has them, until somebody asks for more: at a stop, or with an option."""
    program, tick = programs.go("gosteps", release), at("gosteps/main.go", "tick")
    waiters = ["main.main"] + ["main.waiter"] * 5
    assert lldb.run(goroutines_on_demand, program, tick) == [False, "main.tick", 1, waiters]
    place = tmp_path / "port"
    os.mkfifo(place)
    serve("gdbserver", "--threads=goroutines", "--named-pipe", place, "127.0.0.1:0", "--", program, "many", "5", listens=False)
    port = wait.for_text_in_fifo(place).rstrip("\0")
    assert lldb.run(everyone, program, tick, address=f"127.0.0.1:{port}")[1] == waiters


def names_by_hand(here, program, path, function):
    """What the server says to type gives a program without symbols names, lines and steps."""
    here.program(program)
    here.connect()
    said = here.command("process plugin packet monitor symbols " + path)
    again = here.command("process plugin packet monitor symbols " + path)
    for words in said.split("gdb:")[0].replace("lldb:", "").strip().split("\n"):
        here.command(words.strip())
    here.command("breakpoint set --name " + function)
    here.cont()
    seen = ["File exists" in again, here.frames()[0].split()[0], here.frames()[-1].split()[0]]
    here.command("breakpoint delete -f")
    here.command("thread step-over")
    seen.append(here.stop())
    here.process.Kill()
    return seen


@pytest.mark.parametrize("mode", ["plain", "pie"])
@GOS
def test_a_stripped_program(serve, lldb, programs, release, mode, tmp_path):
    flags = ("-ldflags=-s -w",) + (("-buildmode=pie",) if mode == "pie" else ())
    program = programs.go("gosteps", release, flags=flags, tag="-stripped-" + mode)
    server = serve.launch(program, "grow", "3")
    seen = lldb.run(names_by_hand, program, str(tmp_path / "named"), "main.work", address=server.address, limit=60)
    assert server.wait_exit() == 0
    assert seen[:3] == [True, "main.work", "runtime.goexit"]
    assert seen[3].startswith("step over in main.work main.go:")


def chosen_goroutine(here, program, waiting):
    """A goroutine that is parked is selected, looked at and stepped: it comes to the line behind when it is woken."""
    here.program(program)
    here.connect()
    here.break_at(waiting)
    here.cont()
    here.command("breakpoint delete -f")
    number = here.thread.GetIndexID()
    seen = []
    for _ in range(6):
        here.command(f"thread select {number}")
        here.command("thread step-in")
        seen.append([here.thread.GetIndexID() == number, here.stop().split(" in ")[0]])
    here.command("thread step-out")
    seen.append(here.place(here.frame).split()[0])
    here.process.Kill()
    return seen


@GOS
def test_steps_of_a_chosen_goroutine(seen_in, release):
    """With one P: lldb lets a thread run alone to the end of a line, and where the collector is about to stop the world on another thread,
    which lldb holds, it would wait at the next call for ever."""
    seen = seen_in(chosen_goroutine, release, "grow 3", at("gosteps/main.go", "call-middle"), env={"GOMAXPROCS": "1"})
    assert all(same and why.startswith("step") for same, why in seen[:-1]), seen
    assert seen[-1].startswith("main.")
