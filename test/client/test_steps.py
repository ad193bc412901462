"""Stepping by lines and instructions, in and out of functions, and functions called by hand."""
import pytest

from harness.gdb import GdbError
from harness.programs import at, line


@pytest.mark.quick
def test_next_step_finish(at_main, programs):
    gdb, _ = at_main(programs.c("basic"))
    gdb.step("next")
    gdb.step("step", func="loop")
    gdb.step("next")
    gdb.run_to(at("basic.c", "loop-body"))
    gdb.step("next")
    gdb.step("step", func="add")
    stop, value = gdb.finish()
    assert stop.func == "loop" and value == "0"
    gdb.step("next")
    gdb.resume("finish")
    assert int(gdb.expect_stop("function-finished").results["return-value"]) == 1013
    gdb.kill()


def following(gdb):
    """The address behind the instruction that is next."""
    return int(gdb.cli("x/2i $pc").splitlines()[-1].split()[0].rstrip(":"), 16)


def test_the_first_step_of_a_program_is_one_instruction(session, programs):
    gdb, _ = session(programs.c("basic"))
    behind = following(gdb)
    gdb.step("stepi")
    assert gdb.value("$pc") == behind
    gdb.kill()


def test_the_first_step_after_an_exec_is_one_instruction(at_main, programs):
    gdb, _ = at_main(programs.c("forks"), "exec", programs.c("basic"))
    gdb.cli("catch exec")
    gdb.cont()
    gdb.expect_stop("exec")
    behind = following(gdb)
    gdb.step("stepi")
    assert gdb.value("$pc") == behind
    gdb.kill()


def test_next_over_a_breakpoint_inside(at_main, programs):
    gdb, _ = at_main(programs.c("basic"))
    gdb.step("next")
    number = gdb.break_at("depth")
    gdb.step("next")            # over loop(), which does not call it
    gdb.resume("next")          # over depth(), which is where it stops
    gdb.expect_breakpoint_stop("depth", number)
    gdb.kill()


def test_step_with_a_breakpoint_at_each_line(at_main, programs):
    gdb, _ = at_main(programs.c("basic"))
    gdb.run_to(at("basic.c", "loop-body"))
    gdb.break_at("add")
    gdb.step("next")
    gdb.resume("next")
    gdb.expect_breakpoint_stop("add")
    gdb.step("next")
    gdb.kill()


def test_stepi_over_every_instruction_of_a_loop(at_main, programs):
    """A thousand single steps: each moves on by one instruction and none is lost."""
    gdb, _ = at_main(programs.c("basic"))
    gdb.run_to("loop")
    before = gdb.addr("$pc")
    for _ in range(5):
        gdb.step("stepi")
        now = gdb.addr("$pc")
        assert now != before
        before = now
    gdb.step("stepi 1000")
    assert gdb.bt()[-1] == "main"
    gdb.delete()
    gdb.cont()
    gdb.expect_exit(3)


def test_nexti_over_a_call(at_main, programs):
    gdb, _ = at_main(programs.c("basic"))
    gdb.run_to(at("basic.c", "main-depth"))
    while "call" not in gdb.cli("x/i $pc"):
        gdb.step("nexti")
    gdb.step("nexti", func="main")
    assert gdb.value("$eax") == 5
    gdb.kill()


def test_stepi_over_a_breakpoint_here_and_next(at_main, programs):
    """Single steps where each instruction has a breakpoint of its own: each is a step, and is hit once."""
    gdb, _ = at_main(programs.c("basic"))
    gdb.run_to("add")
    rows = gdb.mi("-data-disassemble -s $pc -e $pc+9 -- 0")["asm_insns"]
    for row in rows:
        gdb.break_at("*" + row["address"])
    for row in rows[1:3]:
        gdb.resume("stepi")
        assert gdb.expect_stop().addr == int(row["address"], 16)
    gdb.kill()


def test_until_leaves_a_loop(at_main, programs):
    gdb, _ = at_main(programs.c("basic"))
    gdb.run_to(at("basic.c", "loop-body"))
    gdb.resume("until " + str(line("basic.c", "loop-end")))
    gdb.expect_stop("location-reached", "loop")
    assert gdb.value("total") == 1013
    gdb.kill()


def test_step_into_a_library_function_without_lines_goes_over(at_main, programs):
    gdb, _ = at_main(programs.c("basic"))
    gdb.run_to(at("basic.c", "main-swap"))
    gdb.step("next")
    gdb.step("step", func="main")       # printf
    gdb.kill()


def test_return_and_jump(at_main, programs):
    gdb, _ = at_main(programs.c("basic"))
    gdb.run_to(at("basic.c", "deepest"))
    gdb.cli("return 100")
    gdb.delete()
    gdb.break_at(at("basic.c", "main-end"))
    gdb.cont()
    gdb.expect_breakpoint_stop("main")
    assert gdb.value("total") == 1013 + 105
    gdb.set("total = 0")
    gdb.break_at(at("basic.c", "main-swap"))
    gdb.resume("jump " + str(line("basic.c", "main-depth")))
    gdb.expect_breakpoint_stop("main")
    assert gdb.value("total") == 5
    gdb.kill()


@pytest.mark.quick
def test_call_functions(at_main, programs):
    gdb, _ = at_main(programs.c("basic"))
    gdb.step("next")
    assert gdb.eval("add(40, 2)") == "42"
    assert gdb.eval("depth(12)") == "12"
    assert gdb.eval("scale(2.5, 2)") == "16"
    assert gdb.eval("swap(pairs[2])") == "{left = 3, right = 3}"
    assert gdb.eval("(long)strlen(text)") == "26"
    assert gdb.value("counter") == 0
    gdb.cont()
    gdb.expect_exit(3)


def test_call_a_function_with_a_breakpoint_in_it(at_main, programs):
    gdb, _ = at_main(programs.c("basic"))
    gdb.break_at("add")
    with pytest.raises(GdbError, match="stopped while in a function called from GDB"):
        gdb.eval("add(1, 2)")
    gdb.stops.clear()
    assert gdb.bt()[0] == "add"
    assert gdb.value("a") == 1
    gdb.delete()
    gdb.resume("finish")
    assert gdb.expect_stop("function-finished", "main").results["return-value"] == "3"
    gdb.cont()
    gdb.expect_exit(3)


def test_call_that_faults_is_unwound(at_main, programs):
    gdb, _ = at_main(programs.c("basic"))
    gdb.cli("set unwindonsignal on")
    before = gdb.addr("$rsp"), gdb.addr("$pc")
    with pytest.raises(GdbError, match="(?s)signal.*has restored the context"):
        gdb.eval("(long)strlen((char *)8)")
    gdb.stops.clear()
    assert (gdb.addr("$rsp"), gdb.addr("$pc")) == before
    gdb.cont()
    gdb.expect_exit(3)


def test_step_over_a_system_call(at_main, programs):
    """A step at a syscall instruction ends behind it, with its result there, whatever the call does."""
    gdb, _ = at_main(programs.c("syscalls", "static"))
    gdb.break_at("syscall")
    gdb.cont()
    gdb.expect_breakpoint_stop("syscall")
    for _ in range(40):
        if "syscall" in gdb.cli("x/i $pc").split(":", 1)[1]:
            break
        gdb.step("stepi")
    here = gdb.addr("$pc")
    gdb.step("stepi")
    assert gdb.addr("$pc") == here + 2
    assert gdb.value("$rax") == gdb.pid()
    gdb.delete()
    gdb.cont()
    gdb.expect_exit(0)


def test_step_in_one_thread_while_others_run(session, programs):
    """next over a line in one of several threads ends in that thread, the others have gone on meanwhile."""
    gdb, _ = session(programs.c("threads"), "4")
    gdb.break_at("work", condition="index == 2")
    gdb.cont()
    stop = gdb.expect_breakpoint_stop("work")
    gdb.delete()
    for _ in range(10):
        assert gdb.step("next").thread == stop.thread
    gdb.set("stop = 1")
    gdb.cont()
    gdb.expect_exit(0)


def test_step_with_the_scheduler_locked(session, programs):
    gdb, _ = session(programs.c("threads"), "3")
    gdb.break_at("work", condition="index == 1")
    gdb.cont()
    stop = gdb.expect_breakpoint_stop("work")
    gdb.delete()
    gdb.cli("set scheduler-locking on")
    others = [gdb.value(f"progress[{i}]") for i in (0, 2)]
    for _ in range(5):
        assert gdb.step("next").thread == stop.thread
    assert [gdb.value(f"progress[{i}]") for i in (0, 2)] == others
    gdb.cli("set scheduler-locking off")
    gdb.kill()


def test_range_stepping_is_used(at_main, programs):
    """next over a long line is one packet: vCont;r is offered and works."""
    gdb, _ = at_main(programs.c("basic"))
    text = gdb.cli("show range-stepping")
    assert "on" in text
    gdb.run_to("loop")
    for _ in range(8):
        gdb.step("next", func="loop")
    gdb.kill()


@pytest.mark.quick
@pytest.mark.peer_fails("what steps a pushf is the trap flag, which is pushed with the others")
def test_flags_that_are_pushed_while_stepping(session, programs):
    """The program sees none of what steps it: not in what it pushes, and not when it takes its flags back."""
    gdb, _ = session(programs.c("flags"))
    for label, back in (("pushed", "popped"), ("pushed_short", "popped_short"), ("taken", "taken_back")):
        gdb.run_to(label)
        end = gdb.addr(f"&{back}")
        while gdb.addr("$pc") != end:
            gdb.step("stepi")
    gdb.run_to("by_range")
    gdb.step("next")
    gdb.step("next")
    gdb.cont()
    gdb.expect_exit(0)
