"""Breakpoints, hit counts and traced calls that the server keeps itself: `monitor break`, `breakpoints`, `delete`, `hits`, `trace`."""
import os
import re
import time

import pytest

from harness import where
from harness.gdb import GdbError
from harness.programs import line

pytestmark = pytest.mark.stopgo_only("its monitor commands")

SOURCE = "gosteps/main.go"


def refused(gdb, command, *words):
    """The command fails, and what it says has these words."""
    start = len(gdb.transcript)
    with pytest.raises(GdbError):
        gdb.monitor(command)
    said = "\n".join(gdb.transcript[start:])
    assert all(word in said for word in words), said


def hits(gdb, number):
    """Of a breakpoint in the list: all of them."""
    return int(re.search(rf"^{number} +\w+ +(\d+) ", gdb.monitor("breakpoints"), re.M).group(1))


def number_of(text):
    return int(re.search(r"(?:Breakpoint|Trace) (\d+) at 0x", text).group(1))


@pytest.mark.quick
def test_condition_on_arguments(at_main, programs):
    gdb, _ = at_main(programs.c("basic"))
    number = number_of(gdb.monitor("break add if a == 6 && counter > 2"))
    gdb.cont()
    gdb.expect_stop(signal="SIGTRAP", func="add")
    assert gdb.value("a") == 6
    assert "add at " in gdb.monitor("breakpoints") and hits(gdb, number) == 1
    # It goes on from here, once.
    gdb.monitor(f"delete {number}")
    gdb.monitor("break add")
    gdb.cont()
    gdb.expect_stop(signal="SIGTRAP", func="add")
    assert gdb.value("a") == 7
    gdb.monitor("delete all")
    gdb.cont()
    gdb.expect_exit(3)


def test_steps_from_it(at_main, programs):
    """gdb steps over the instruction that it knows no breakpoint at."""
    gdb, _ = at_main(programs.c("basic"))
    gdb.monitor("break add if a == 3")
    gdb.cont()
    gdb.expect_stop(signal="SIGTRAP", func="add")
    gdb.step("next")
    assert gdb.value("sum") == gdb.value("a") + gdb.value("b")
    gdb.monitor("delete all")
    gdb.cont()
    gdb.expect_exit(3)


def test_same_place_as_gdbs(at_main, programs):
    """Either may be taken out; the other stays. Where gdb's condition is false, the stop is told as another signal."""
    gdb, _ = at_main(programs.c("basic"))
    gdb.break_at("add", condition="a == 8")
    number = number_of(gdb.monitor("break add if a == 2"))
    gdb.cont()
    gdb.expect_stop(signal="SIGINT", func="add")
    assert gdb.value("a") == 2
    gdb.cont()
    gdb.expect_breakpoint_stop("add")
    assert gdb.value("a") == 8 and hits(gdb, number) == 1
    gdb.delete()
    gdb.monitor(f"delete {number}")
    gdb.monitor("break add if a == 9")
    gdb.cont()
    gdb.expect_stop(signal="SIGTRAP", func="add")
    assert gdb.value("a") == 9
    gdb.cont()
    gdb.expect_exit(3)


def test_by_line_and_address(at_main, programs):
    gdb, _ = at_main(programs.c("basic"))
    where_ = line("basic.c", "loop-body")
    gdb.monitor(f"break basic.c:{where_} if i == 4 && total >= 0")
    gdb.cont()
    gdb.expect_stop(signal="SIGTRAP", func="loop")
    assert gdb.value("i") == 4
    gdb.monitor("delete all")
    gdb.monitor(f"break *{gdb.value('(long)&depth'):#x} if $edi == 2")
    gdb.cont()
    gdb.expect_stop(signal="SIGTRAP", func="depth")
    assert gdb.value("$edi") == 2 and gdb.value("$pc") == gdb.value("(long)&depth")
    gdb.monitor("delete all")
    gdb.cont()
    gdb.expect_exit(3)


def test_errors_say_what_to_do(at_main, programs):
    gdb, _ = at_main(programs.c("basic"))
    refused(gdb, "break nosuch", "no function 'nosuch'", "FILE:LINE")
    refused(gdb, "break nosuch.c:12", "no code of 'nosuch.c'")
    refused(gdb, "break *8", "0x8 is in no memory that is executed")
    refused(gdb, "break *x", "is no address")
    refused(gdb, "break add if a ==", "column 5", "not finished")
    refused(gdb, "break add if nosuch == 1", "no variable or constant 'nosuch'")
    refused(gdb, "break add if pairs[0] == 1", "cannot be used as a number")
    refused(gdb, "break", "usage")
    refused(gdb, "break add hits = 3", "usage")
    refused(gdb, "delete 99", "there is no breakpoint 99")
    refused(gdb, "hits 1 ~ 2", "usage")
    assert " break " not in gdb.monitor("breakpoints")
    gdb.kill()


@pytest.mark.parametrize("rule, wanted", [("== 3", [2]), ("> 7", [7, 8, 9]), ("% 4", [3, 7]), ("<= 2", [0, 1]), ("!= 1", [1])])
def test_hit_conditions(at_main, programs, rule, wanted):
    """add is called with a = 0 to 9."""
    gdb, _ = at_main(programs.c("basic"))
    number = number_of(gdb.monitor(f"break add hits {rule}"))
    for a in wanted:
        gdb.cont()
        gdb.expect_stop(signal="SIGTRAP", func="add")
        assert gdb.value("a") == a
    gdb.monitor(f"hits {number} > 1000")
    gdb.break_at("swap")
    gdb.cont()
    gdb.expect_breakpoint_stop("swap")
    assert hits(gdb, number) == 10
    assert f"hits by thread: {gdb.pid()}: 10" in gdb.monitor("breakpoints")
    gdb.kill()


def test_hits_of_gdbs_own(at_main, programs):
    """A hit condition on a client's breakpoint; counts outlive its being taken out at every stop."""
    gdb, _ = at_main(programs.c("basic"))
    gdb.break_at("add")
    gdb.cont()
    gdb.expect_breakpoint_stop("add")
    listed = gdb.monitor("breakpoints")
    number = int(re.search(r"^(\d+) +client +1 +0x\w+ +add ", listed, re.M).group(1))
    gdb.monitor(f"hits {number} == 6")
    gdb.cont()
    gdb.expect_breakpoint_stop("add")
    assert gdb.value("a") == 5 and hits(gdb, number) == 6
    gdb.monitor(f"hits {number} off")
    gdb.cont()
    gdb.expect_breakpoint_stop("add")
    assert gdb.value("a") == 6
    refused(gdb, f"delete {number}", "the client's own")
    gdb.kill()


def test_exact_over_many_threads(session, programs):
    """Every hit of every thread is counted."""
    gdb, _ = session(programs.c("threads"), "6", "50")
    gdb.run_to("main")
    number = number_of(gdb.monitor("break work hits == 150"))
    gdb.cont()
    gdb.expect_stop(signal="SIGTRAP", func="work")
    gdb.run_to(f"threads.c:{line('threads.c', 'main-joined')}")
    assert hits(gdb, number) == 300
    mine = re.search(rf"^{number} .*?hits by thread:([^\n]*)", gdb.monitor("breakpoints"), re.M | re.S).group(1)
    assert re.findall(r"\d+: (\d+)", mine) == ["50"] * 6
    gdb.kill()


def test_trace(at_main, programs):
    gdb, _ = at_main(programs.c("basic"))
    gdb.monitor("trace add if a >= 8")
    gdb.monitor("trace scale")
    start = len(gdb.transcript)
    gdb.cont()
    gdb.expect_exit(3)
    said = "\n".join(gdb.transcript[start:])
    assert re.search(r"> thread \d+: add\(a = 8, b = \d+\)", said) and re.search(r"< thread \d+: add => \d+", said)
    assert said.count(": add(") == 2 and said.count(": add =>") == 2


def test_trace_into_a_file_and_rate(at_main, programs, tmp_path):
    gdb, _ = at_main(programs.c("basic"))
    log = tmp_path / "calls"
    number = number_of(gdb.monitor(f"trace add noreturn --log {log}"))
    gdb.monitor("trace depth rate 2")
    start, begun = len(gdb.transcript), time.monotonic()
    gdb.break_at("swap")
    gdb.cont()
    gdb.expect_breakpoint_stop("swap")
    seconds = 1 + int(time.monotonic() - begun)
    assert len(re.findall(r"add\(a = \d, b = \d+\)\n", log.read_text())) == 10
    assert "\n".join(gdb.transcript[start:]).count(": depth") <= 4 * seconds
    gdb.monitor(f"delete {number}")
    refused(gdb, "trace add --log /nosuch/file", "cannot open '/nosuch/file'")
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    refused(gdb, f"trace add --log {fifo}", "nobody reads this pipe")
    gdb.kill()


# --- C++, Rust, variables of threads ---

def goes_to(gdb, command, func):
    """It stops there, and goes on without that breakpoint."""
    text = gdb.monitor(command)
    gdb.cont()
    gdb.expect_stop(signal="SIGTRAP", func=func)
    gdb.monitor(f"delete {number_of(text)}")
    return text


def test_cxx_names_and_values(session, programs):
    gdb, _ = session(programs.cxx("names"))
    gdb.run_to("work")
    goes_to(gdb, 'break ns::inner::Part::method if name == "bob" && narrow > 0.3 && wide < -2', "ns::inner::Part::method")
    assert gdb.value("n") == 1
    goes_to(gdb, 'break compare if a == b && c == "bob"', "compare")
    goes_to(gdb, "break ns::inner::grade if level == Level::high", "ns::inner::grade")
    assert gdb.value("n") == 1
    goes_to(gdb, "break done if errno == 7", "done")
    assert gdb.value("n") == 1
    goes_to(gdb, "break Part::step if ns::inner::real == 2.5", "ns::inner::Part::step")
    goes_to(gdb, "break compare if len(a) == 4 && len(b) == 3", "compare")
    goes_to(gdb, "break ns::inner::grade if answer == ns::inner::YES && level == high && inner::Level::high == 200", "ns::inner::grade")
    assert gdb.value("n") == 2
    # Overloads and instances: all of them.
    assert gdb.monitor("break ns::inner::over").count("names.cc") == 2
    assert gdb.monitor("break twice").count("twice<") == 2
    gdb.monitor("delete all")
    # The second thread's own variable has begun anew.
    goes_to(gdb, "break done if ns::inner::here == 6", "done")
    assert gdb.value("n") == 0
    there = f"break names.cc:{line('names.cc', 'compare')}"
    refused(gdb, f"{there} if a == 3", "a string can be compared")
    refused(gdb, f"{there} if a < b", "cannot be used as a number")
    # One of the two has no d: it has no breakpoint, and that is said.
    assert "not at 1 place where the condition has no meaning" in gdb.monitor("break ns::inner::over if d > 0.25")
    refused(gdb, "break ns::inner::over if d % 2 == 0", "'d'")
    gdb.monitor("delete all")
    gdb.cont()
    gdb.expect_exit(0)


@pytest.mark.quick
def test_rust(session, programs):
    gdb, _ = session(programs.rust("queue"))
    goes_to(gdb, "break queue::Worker::handle if self.done == 1", None)
    assert gdb.eval("(*self).done") == "1"
    gdb.monitor("trace largest")
    gdb.monitor("trace tally")
    start = len(gdb.transcript)
    gdb.cont()
    gdb.expect_exit(0)
    assert "tally => {jobs: 3, sum: 47, nothing: 0}" in "\n".join(gdb.transcript[start:])


def test_thread_local_of_a_library(session, programs):
    """The library's block is found by the thread's own vector."""
    gdb, _ = session(programs.linked("liblinked", "shared"))
    gdb.run_to("main")
    gdb.monitor("break shared_add if shared_local == 7 && shared_state == 40")
    gdb.cont()
    gdb.expect_stop(signal="SIGTRAP", func="shared_add")
    gdb.monitor("delete all")
    assert "Watchpoint" in gdb.monitor("watch shared_local if shared_local == 8")
    gdb.cont()
    gdb.expect_stop(signal="SIGTRAP", func="shared_add")
    assert gdb.value("shared_local") == 8
    gdb.kill()


# --- Go ---

GO = ["plain", "stripped"]


@pytest.fixture(params=GO)
def go_program(programs, request):
    flags = ("-ldflags=-s -w",) if request.param == "stripped" else ()
    return request.param, programs.go("gosteps", where.newest_go(), tag="-" + request.param, flags=flags)


def stops_in(gdb, function):
    """gdb itself may know no names in a stripped program: the server's line does."""
    start = len(gdb.transcript)
    gdb.cont()
    gdb.expect_stop(signal="SIGTRAP")
    said = "\n".join(gdb.transcript[start:])
    assert f"of the server, {function} at " in said and "(goroutine " in said, said


def test_go_functions_and_lines(go_program, session):
    kind, program = go_program
    gdb, _ = session(program, "grow", "3")
    gdb.cli("set language c")
    gdb.monitor("break main.work")
    stops_in(gdb, "main.work")
    gdb.monitor("delete all")
    assert "main.middle at " in gdb.monitor("break middle hits == 2")
    stops_in(gdb, "main.middle")
    gdb.monitor("delete all")
    gdb.monitor(f"break main.go:{line(SOURCE, 'loop-end')}")
    stops_in(gdb, "main.loop")
    gdb.monitor("delete all")
    if kind == "stripped":
        refused(gdb, "break main.leaf if n == 3", "'n' needs DWARF", "$rax")
    number = number_of(gdb.monitor(f"break main.leaf if {'$rax' if kind == 'stripped' else 'n'} == 4"))
    stops_in(gdb, "main.leaf")
    assert gdb.value("$rax") == 4 and hits(gdb, number) == 1
    assert re.search(r"hits by goroutine: \d+: 1", gdb.monitor("breakpoints"))
    gdb.kill()


def test_go_each_goroutine(go_program, session):
    """A hit condition that is counted by goroutine."""
    _, program = go_program
    gdb, _ = session(program, "grow", "4")
    gdb.cli("set language c")
    gdb.monitor("break main.leaf hits == 2 each")
    seen = []
    for _ in range(3):
        stops_in(gdb, "main.leaf")
        seen.append(gdb.python("print(gdb.selected_thread().ptid)"))
    assert len(set(seen)) == 3
    gdb.kill()


def test_go_trace(session, programs):
    gdb, _ = session(programs.go("gosteps", where.newest_go(), tag="-plain", flags=()), "grow", "2")
    gdb.monitor("trace main.middle")
    start = len(gdb.transcript)
    gdb.cont()
    gdb.expect_exit(0)
    said = "\n".join(gdb.transcript[start:])
    calls = re.findall(r"> goroutine (\d+): main\.middle\(n = (\d+)\)", said)
    returns = re.findall(r"< goroutine (\d+): main\.middle => (\d+)", said)
    assert len(calls) == len(returns) == 2
    # middle(n) is (n + 2) + (n + 4).
    assert [int(r) for _, r in returns] == [2 * int(n) + 6 for _, n in calls]


def test_go_refusals_say_why(session, programs):
    """What the first word of a value would answer, wrongly."""
    gdb, _ = session(programs.go("gosteps", where.newest_go(), tag="-plain", flags=()), "grow", "1")
    refused(gdb, "break main.leaf if os.Args == n", "compared with nil only")
    refused(gdb, "break main.leaf if os.Stdout.file[0] == n", "maps are not looked into")
    refused(gdb, "break main.leaf if len(n) == 1", "has no length")
    assert "Breakpoint" in gdb.monitor('break main.leaf if os.Args != nil && len(os.Args) == 3 && os.Args[1] == "grow"')
    gdb.cli("set language c")
    gdb.cont()
    gdb.expect_stop(signal="SIGTRAP")
    gdb.kill()


# --- lldb ---

def lldb_breaks(here, program):
    here.program(program)
    here.break_at("main")
    seen = [here.launch() and here.stop()]
    seen.append(here.command("process plugin packet monitor break add if a == 6 && b > 1"))
    here.command("process plugin packet monitor trace depth")
    seen += [here.cont(), here.value("a")]
    seen.append(here.command("process plugin packet monitor breakpoints"))
    here.command("process plugin packet monitor delete all")
    return seen + [here.cont(), here.printed]


@pytest.mark.quick
def test_lldb(lldb, programs):
    seen = lldb.run(lldb_breaks, programs.c("basic"))
    assert seen[0].startswith("breakpoint 1.1 in main")
    assert "of the server, add at" in seen[2] and seen[3] == "6"
    assert seen[-2] == "exited 3"


@pytest.mark.stopgo_only("its output is the server's")
def test_dprintf_of_an_agent(serve, new_gdb, programs):
    """gdb's own way to print without a stop: thousands of hits, every line, no packet but the first and the last."""
    program = programs.c("threads")
    server = serve.launch(program, "4", "500")
    gdb = new_gdb(program)
    gdb.cli("set dprintf-style agent")
    gdb.connect(server)
    gdb.run_to("main")
    gdb.cli('dprintf work,"%d did %d\\n", index, call')
    gdb.cont()
    gdb.expect_exit(0)
    said = re.findall(r"^(\d) did (\d+)$", server.out.rest(), re.M)
    assert len(said) == 2000 and all(sorted(int(call) for i, call in said if i == str(index)) == list(range(500))
                                     for index in range(4))
