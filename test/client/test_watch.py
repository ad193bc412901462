"""Watchpoints: every length, read and write, crooked and wide regions, on threads that are there and that come."""
import pytest

from harness.programs import at, line


@pytest.mark.quick
@pytest.mark.parametrize("name, factor", [("one", 1), ("two", 2), ("four", 4), ("eight", 8)])
def test_write_of_every_length(at_main, programs, name, factor):
    gdb, _ = at_main(programs.c("watch"))
    gdb.watch(name)
    for round_ in (1, 2, 3):
        gdb.cont()
        gdb.expect_watch(old=(round_ - 1) * factor, new=round_ * factor, func="write_all")
    gdb.delete()
    gdb.cont()
    gdb.expect_stop("exited")


@pytest.mark.parametrize("expression, value", [("crooked.odd", 1), ("crooked.wide", (1 << 40) | 1)])
def test_unaligned(at_main, programs, expression, value):
    gdb, _ = at_main(programs.c("watch"))
    gdb.watch(expression)
    gdb.cont()
    gdb.expect_watch(old=0, new=value, func="write_all")
    gdb.kill()


def test_region_of_32_bytes(at_main, programs):
    """Four registers side by side cover an array."""
    gdb, _ = at_main(programs.c("watch"))
    gdb.watch("region")
    gdb.cont()
    gdb.expect_stop("watchpoint-trigger", "write_all")
    assert gdb.value("region[0]") == 1 and gdb.value("region[13]") == 0
    gdb.cont()
    gdb.expect_stop("watchpoint-trigger", "write_all")
    assert gdb.value("region[13]") == 1
    gdb.kill()


def test_region_too_large_is_no_hardware_watchpoint(at_main, programs):
    """gdb watches by single steps what the server says it cannot do; one that cannot be inserted is refused in words."""
    gdb, _ = at_main(programs.c("basic"))
    text = gdb.cli("watch pairs")       # 48 bytes: six registers
    gdb.cont()
    try:
        assert "insert hardware" in gdb.expect_refusal()
    except AssertionError:
        assert "Watchpoint" in text
    gdb.kill()


def test_access_and_read(at_main, programs):
    gdb, _ = at_main(programs.c("watch"))
    gdb.watch("four", "a")
    gdb.cont()
    gdb.expect_stop("access-watchpoint-trigger", "write_all")
    gdb.cont()
    stop = gdb.expect_stop("access-watchpoint-trigger", "read_all")
    assert stop.line in (line("watch.c", "read-four"), line("watch.c", "read-eight"))
    gdb.kill()


def test_read_watch_stops_at_the_read(at_main, programs):
    """x86 has no registers for reads alone; gdb falls back to access ones and filters by value: only reads are seen."""
    gdb, _ = at_main(programs.c("watch"))
    gdb.watch("eight", "r")
    for _ in range(2):
        gdb.cont()
        gdb.expect_stop("read-watchpoint-trigger", "read_all")
    gdb.kill()


def test_condition(at_main, programs):
    gdb, _ = at_main(programs.c("watch"))
    gdb.watch("four if four == 8")
    gdb.cont()
    gdb.expect_watch(new=8, func="write_all")
    gdb.kill()


def test_four_at_once_and_a_fifth(at_main, programs):
    gdb, _ = at_main(programs.c("watch"))
    for name in ("one", "two", "four", "eight"):
        gdb.watch(name)
    for expected in ("one", "two", "four", "eight", "one"):
        gdb.cont()
        stop = gdb.expect_stop("watchpoint-trigger", "write_all")
        assert stop.results["wpt"]["exp"] == expected
    gdb.cli("watch early")
    gdb.cont()
    assert "insert hardware" in gdb.expect_refusal()
    gdb.kill()


def test_local_ends_with_its_scope(at_main, programs):
    gdb, _ = at_main(programs.c("watch"))
    gdb.run_to("local_one")
    gdb.watch("local")
    reasons = []
    while not reasons or reasons[-1] == "watchpoint-trigger":
        gdb.cont()
        reasons.append(gdb.expect_stop().reason)
    assert reasons == ["watchpoint-trigger"] * 3 + ["watchpoint-scope"]
    gdb.delete()
    gdb.cont()
    gdb.expect_stop("exited")


@pytest.mark.quick
def test_thread_that_comes_later(at_main, programs):
    """A watchpoint set before a thread is made catches that thread's writes."""
    gdb, _ = at_main(programs.c("watch"))
    gdb.watch("shared")
    gdb.cont()
    stop = gdb.expect_watch(old=0, new=5, func="other")
    assert gdb.threads()[stop.thread]["target-id"] != gdb.threads()[1]["target-id"]
    gdb.cont()
    gdb.expect_watch(old=5, new=10, func="other")
    gdb.delete()
    gdb.cont()
    gdb.expect_stop("exited")


def test_threads_that_are_there(session, programs):
    """One thread of four writes the watched counter: that thread is reported."""
    gdb, _ = session(programs.c("threads"), "4")
    gdb.run_to("all_ready")
    names = {row["target-id"]: number for number, row in gdb.threads().items()}
    assert len(names) == 5
    gdb.watch("progress[3]")
    for _ in range(3):
        gdb.cont()
        stop = gdb.expect_stop("watchpoint-trigger", "work")
        assert gdb.value("index") == 3
        assert gdb.threads()[stop.thread]["frame"]["func"] == "work"
    gdb.delete()
    gdb.set("stop = 1")
    gdb.cont()
    gdb.expect_exit(0)


def test_deleted_is_gone_from_every_thread(session, programs):
    gdb, _ = session(programs.c("threads"), "4", "4000")
    gdb.run_to("all_ready")
    number = gdb.watch("progress[1]")
    gdb.cont()
    gdb.expect_stop("watchpoint-trigger")
    gdb.delete(number)
    gdb.cont()
    gdb.expect_exit(0)


def test_write_of_the_same_value_is_no_change(at_main, programs):
    """gdb reports changes: a write of the same value goes on by itself."""
    gdb, _ = at_main(programs.c("watch"))
    gdb.run_to(at("watch.c", "main-thread"))
    gdb.set("four = 99")
    gdb.watch("four")
    gdb.cont()
    gdb.expect_stop("exited")


def test_watch_after_breakpoint_at_the_same_instruction(at_main, programs):
    """A breakpoint on the writing instruction, then the watchpoint: both are seen, in that order."""
    gdb, _ = at_main(programs.c("watch"))
    gdb.watch("four")
    number = gdb.break_at(at("watch.c", "write-four"))
    gdb.cont()
    gdb.expect_breakpoint_stop("write_all", number)
    gdb.cont()
    gdb.expect_watch(old=0, new=4)
    gdb.kill()


@pytest.mark.stopgo_only("filtering in the server")
def test_same_value_is_not_told(at_main, programs):
    """gdb drops such hits itself; here it hears of none: one of seven writes is of what was there."""
    gdb, _ = at_main(programs.c("watch"))
    gdb.watch("sink")
    gdb.cli("set debug remote 1")
    start = len(gdb.transcript)
    for value in (4, 8, 16, 12, 24, 3):
        gdb.cont()
        gdb.expect_stop("watchpoint-trigger")
        assert gdb.value("sink") == value
    assert "\n".join(gdb.transcript[start:]).count("T05watch:") == 6
    gdb.kill()


@pytest.mark.stopgo_only("filtering in the server")
def test_reads_alone_are_told(at_main, programs):
    """Z3 is taken, and writes of other values are not hits; gdb's own write is none either."""
    gdb, _ = at_main(programs.c("watch"))
    gdb.watch("four", kind="r")
    gdb.cli("set debug remote 1")
    start = len(gdb.transcript)
    for _ in range(3):
        gdb.cont()
        gdb.expect_stop("read-watchpoint-trigger", "read_all")
    gdb.set("four = 1000")
    gdb.run_to(at("watch.c", "main-end"))
    said = "\n".join(gdb.transcript[start:])
    assert "$Z3," in said and said.count("T05rwatch:") == 3 and "T05awatch:" not in said
    gdb.kill()
