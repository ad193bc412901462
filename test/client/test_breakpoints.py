"""Breakpoints: software, hardware, conditional, temporary, with counts and commands; and what memory shows of them."""
import re

import pytest

from harness.programs import at, line


@pytest.mark.quick
def test_condition_is_true_once(at_main, programs):
    gdb, _ = at_main(programs.c("basic"))
    number = gdb.break_at("add", condition="a == 7")
    gdb.cont()
    gdb.expect_breakpoint_stop("add", number)
    assert gdb.value("a") == 7 and gdb.value("counter") == 8
    gdb.delete()
    gdb.cont()
    gdb.expect_exit(3)


@pytest.mark.parametrize("where", ["target", "host"])
def test_condition_evaluated_on_either_side(at_main, programs, where):
    gdb, _ = at_main(programs.c("basic"))
    gdb.cli(f"set breakpoint condition-evaluation {where}")
    gdb.break_at("add", condition="a > 2 && b != 0 && (a & 1) == 0")
    gdb.cont()
    gdb.expect_breakpoint_stop("add")
    assert gdb.value("a") == 4
    gdb.cont()
    gdb.expect_breakpoint_stop("add")
    assert gdb.value("a") == 6
    gdb.kill()


@pytest.mark.parametrize("condition, expected", [
    ("counter == 3", 2),                            # a global of 8 bytes
    ("pairs[1].left == 2 && a == 5", 5),            # a member of an array
    ("text[0] == 'a' && a >= 4", 4),                # a byte
    ("(a * 3 - 1) % 7 == 6", 7),                    # arithmetic: 20 % 7
    ("a - 9 < -7", 0),                              # signed
    ("sizeof(area) == 1048576 && b > 100", 7),
    ("(unsigned char)(a + 250) == 0", 6),           # truncation
    ("!(a != 3)", 3),
])
def test_conditions_of_every_kind(at_main, programs, condition, expected):
    gdb, _ = at_main(programs.c("basic"))
    gdb.break_at("add", condition=condition)
    gdb.cont()
    gdb.expect_breakpoint_stop("add")
    assert gdb.value("a") == expected
    gdb.kill()


@pytest.mark.peer_fails("takes it for false")
def test_condition_that_reads_unmapped_memory_stops_or_says_so(at_main, programs):
    """A condition that cannot be evaluated must not be taken for true or false in silence: it stops."""
    gdb, _ = at_main(programs.c("basic"))
    gdb.break_at("add", condition="*(int *)8 == 1")
    gdb.cont()
    gdb.expect_breakpoint_stop("add")
    assert gdb.value("a") == 0
    gdb.kill()


def test_two_conditions_at_one_place(at_main, programs):
    gdb, _ = at_main(programs.c("basic"))
    first = gdb.break_at("add", condition="a == 3")
    second = gdb.break_at("add", condition="a == 5")
    gdb.cont()
    gdb.expect_breakpoint_stop("add", first)
    assert gdb.value("a") == 3
    gdb.cont()
    gdb.expect_breakpoint_stop("add", second)
    assert gdb.value("a") == 5
    gdb.delete(second)
    gdb.cont()
    gdb.expect_exit(3)


def test_condition_changed_between_hits(at_main, programs):
    gdb, _ = at_main(programs.c("basic"))
    number = gdb.break_at("add", condition="a == 2")
    gdb.cont()
    gdb.expect_breakpoint_stop("add")
    gdb.cli(f"condition {number} a == 8")
    gdb.cont()
    gdb.expect_breakpoint_stop("add")
    assert gdb.value("a") == 8
    gdb.cli(f"condition {number}")
    gdb.cont()
    gdb.expect_breakpoint_stop("add")
    assert gdb.value("a") == 9
    gdb.kill()


def test_ignore_count(at_main, programs):
    gdb, _ = at_main(programs.c("basic"))
    gdb.break_at("add", ignore=6)
    gdb.cont()
    gdb.expect_breakpoint_stop("add")
    assert gdb.value("a") == 6
    gdb.kill()


def test_disable_and_enable(at_main, programs):
    gdb, _ = at_main(programs.c("basic"))
    number = gdb.break_at("add")
    other = gdb.break_at(at("basic.c", "loop-end"))
    gdb.cont()
    gdb.expect_breakpoint_stop("add", number)
    gdb.cli(f"disable {number}")
    gdb.cont()
    gdb.expect_breakpoint_stop("loop", other)
    gdb.kill()


def test_temporary(at_main, programs):
    gdb, _ = at_main(programs.c("basic"))
    gdb.break_at("add", temporary=True)
    gdb.cont()
    gdb.expect_breakpoint_stop("add")
    gdb.cont()
    gdb.expect_exit(3)


def test_breakpoint_on_the_instruction_it_is_at(at_main, programs):
    """One set at the current pc is not hit until the program comes by again."""
    gdb, _ = at_main(programs.c("basic"))
    gdb.run_to(at("basic.c", "loop-body"))
    gdb.break_at("*$pc")
    gdb.cont()
    gdb.expect_breakpoint_stop("loop")
    assert gdb.value("i") == 1
    gdb.kill()


def test_adjacent_breakpoints(at_main, programs):
    """Breakpoints on consecutive instructions are hit one after the other, stepping and continuing."""
    gdb, _ = at_main(programs.c("basic"))
    gdb.run_to("add")
    rows = gdb.mi("-data-disassemble -s $pc -e $pc+12 -- 0")["asm_insns"]
    addresses = [int(row["address"], 16) for row in rows[1:4]]
    for address in addresses:
        gdb.break_at(f"*{address}")
    for address in addresses:
        gdb.cont()
        assert gdb.expect_breakpoint_stop("add").addr == address
    gdb.kill()


def test_many_breakpoints(at_main, programs):
    """Two hundred places at once; those in the way are hit, the others do no harm."""
    gdb, _ = at_main(programs.c("basic"))
    for number in range(200):
        gdb.break_at("add", condition=f"a == {number + 1000}")
    gdb.break_at(at("basic.c", "deepest"))
    gdb.cont()
    gdb.expect_breakpoint_stop("depth")
    assert gdb.bt() == ["depth"] * 6 + ["main"]
    gdb.kill()


def test_hardware(at_main, programs):
    gdb, _ = at_main(programs.c("basic"))
    number = gdb.break_at("add", hardware=True)
    code = gdb.read("&add", 16)
    gdb.cont()
    gdb.expect_breakpoint_stop("add", number)
    gdb.cont()
    gdb.expect_breakpoint_stop("add", number)
    assert gdb.value("a") == 1
    assert gdb.read("&add", 16) == code
    gdb.delete()
    gdb.cont()
    gdb.expect_exit(3)


def test_hardware_with_condition(at_main, programs):
    gdb, _ = at_main(programs.c("basic"))
    gdb.break_at("add", hardware=True, condition="a == 6")
    gdb.cont()
    gdb.expect_breakpoint_stop("add")
    assert gdb.value("a") == 6
    gdb.kill()


def test_hardware_registers_run_out(at_main, programs):
    """A fifth one is refused with words, the first four work on."""
    gdb, _ = at_main(programs.c("basic"))
    for function in ("add", "loop", "depth", "swap"):
        gdb.break_at(function, hardware=True)
    fifth = gdb.break_at("scale", hardware=True)
    gdb.cont()
    assert re.search("(Could not|Cannot) insert hardware breakpoint", gdb.expect_refusal())
    gdb.delete(fifth)
    gdb.cont()
    gdb.expect_breakpoint_stop("loop")
    gdb.cont()
    gdb.expect_breakpoint_stop("add")
    gdb.kill()


def test_memory_never_shows_breakpoints(at_main, programs):
    """Reads give the program's own bytes, also when gdb asks for them raw and breakpoints are kept inserted."""
    gdb, _ = at_main(programs.c("basic", "nopie"))
    clean = gdb.read("&add", 64)
    gdb.cli("set breakpoint always-inserted on")
    for offset in ("add", at("basic.c", "add-body")):
        gdb.break_at(offset)
    assert gdb.read("&add", 64) == clean
    assert "MIS-MATCHED" not in gdb.cli("compare-sections .text")   # qCRC
    gdb.cont()
    gdb.expect_breakpoint_stop("add")
    assert gdb.read("&add", 64) == clean
    gdb.kill()


def test_write_over_a_breakpoint(at_main, programs):
    """What is written where a breakpoint is stays when it is taken out, and the breakpoint stays until then."""
    gdb, _ = at_main(programs.c("basic"))
    gdb.cli("set breakpoint always-inserted on")
    number = gdb.break_at(at('basic.c', 'add-body'))
    address = int(gdb.mi(f"-break-info {number}")["BreakpointTable"]["body"][0]["addr"], 16)
    original = gdb.read(address, 3)
    gdb.write(address, b"\x90\x90\x90")
    assert gdb.read(address, 3) == b"\x90\x90\x90"
    gdb.delete(number)
    assert gdb.read(address, 3) == b"\x90\x90\x90"
    gdb.write(address, original)
    gdb.break_at(at("basic.c", "add-body"))
    gdb.cont()
    gdb.expect_breakpoint_stop("add")
    gdb.kill()


def test_breakpoint_at_an_unmapped_address_is_refused(at_main, programs):
    gdb, _ = at_main(programs.c("basic"))
    number = gdb.break_at("*8")
    gdb.cont()
    assert f"Cannot insert breakpoint {number}" in gdb.expect_refusal()
    gdb.delete(number)
    gdb.cont()
    gdb.expect_exit(3)


def test_program_of_its_own_int3(at_main, programs):
    """An int3 that is the program's own is a SIGTRAP, not a breakpoint of ours; the program goes on behind it."""
    gdb, _ = at_main(programs.c("basic"))
    gdb.run_to("add")
    here = gdb.addr("$pc")
    original = gdb.read(here, 1)
    gdb.write(here, b"\xcc")
    gdb.cont()
    stop = gdb.expect_signal("SIGTRAP", "add")
    assert stop.addr == here + 1
    gdb.write(here, original)
    gdb.set(f"$pc = {here}")
    gdb.cont()
    gdb.expect_exit(3)


def test_dprintf_in_gdb(at_main, programs):
    gdb, _ = at_main(programs.c("basic"))
    gdb.cli(f'dprintf {at("basic.c", "add-body")},"a is %d\\n", a')
    gdb.cont()
    gdb.expect_exit(3)
    said = "\n".join(gdb.transcript)
    assert all(f"a is {n}" in said for n in range(10))


def test_breakpoint_commands(at_main, programs):
    gdb, _ = at_main(programs.c("basic"))
    number = gdb.break_at("add")
    gdb.python(f"gdb.breakpoints()[-1].commands = 'silent\\nset $sum = $sum + a\\ncontinue'")
    gdb.cli("set $sum = 0")
    last = gdb.break_at(at("basic.c", "loop-end"))
    gdb.cont()
    stop = gdb.expect_stop()
    while stop.number != last:      # the stops at which the commands continued
        stop = gdb.expect_stop()
    assert gdb.value("$sum") == 45
    assert number != last
    gdb.kill()


def test_tbreak_in_recursion_and_finish_out(at_main, programs):
    gdb, _ = at_main(programs.c("basic"))
    gdb.run_to(at("basic.c", "deepest"))
    assert len(gdb.bt()) == 7
    for expected in range(5):
        _, value = gdb.finish()
        assert int(value) == expected
    gdb.kill()


def test_line_marks_are_where_gdb_stops(at_main, programs):
    gdb, _ = at_main(programs.c("basic"))
    gdb.break_at(at("basic.c", "loop-body"))
    gdb.cont()
    assert gdb.expect_breakpoint_stop("loop").line == line("basic.c", "loop-body")
    gdb.kill()


@pytest.mark.stopgo_only("its counts")
@pytest.mark.parametrize("fast", ["on", "off"])
def test_false_conditions_amid_sigtraps(session, programs, fast):
    """Each trap is told from signals that are sent to the thread all the while: every call is judged, once, and does its work."""
    gdb, _ = session(programs.c("traps"), "3000")
    # Where it has its handler: gdb passes the SIGTRAP of its own breakpoints, too.
    gdb.run_to(at("traps.c", "armed"))
    gdb.cli("handle SIGTRAP nostop noprint pass")
    gdb.monitor(f"set fast-conditions {fast}")
    gdb.break_at("work", condition="i < 0")
    gdb.break_at(at("traps.c", "traps-end"))
    gdb.cont()
    gdb.expect_breakpoint_stop("main")
    assert "its conditions were false 3000 times" in gdb.monitor("breakpoints")
    assert gdb.value("done") - 2**40 == 3000 * 2999 // 2 and gdb.value("seen") > 0
    gdb.kill()


@pytest.mark.stopgo_only("its counts")
@pytest.mark.parametrize("fast", ["on", "off"])
def test_a_trap_merged_with_a_sent_sigtrap(session, programs, fast):
    """A SIGTRAP waits for the thread at each int3: the kernel drops the breakpoint's own, and says of the one that comes that it was sent."""
    gdb, _ = session(programs.c("merged"), "3000")
    gdb.run_to(at("merged.c", "begins"))
    gdb.monitor(f"set fast-conditions {fast}")
    gdb.break_at("work", condition="i == 2500")
    gdb.cont()
    gdb.expect_breakpoint_stop("work")
    told = gdb.monitor("breakpoints")
    assert "its conditions were false 2500 times" in told
    assert ("compiled into" in told) == (fast == "on")
    assert gdb.value("done") - 2**40 == 2500 * 2499 // 2
    gdb.cont()
    gdb.expect_exit(0)
