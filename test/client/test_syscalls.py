"""catch syscall: at entry and return, by name, number and group."""
import pytest


@pytest.mark.quick
def test_by_name(at_main, programs):
    gdb, _ = at_main(programs.c("syscalls"))
    gdb.cli("catch syscall getpid")
    gdb.cont()
    stop = gdb.expect_stop("syscall-entry")
    assert stop.results["syscall-name"] == "getpid"
    gdb.cont()
    stop = gdb.expect_stop("syscall-return")
    assert stop.results["syscall-name"] == "getpid"
    assert gdb.value("$rax") == gdb.pid()
    gdb.cont()
    gdb.expect_exit(0)


def test_two_by_number_and_name(at_main, programs):
    gdb, _ = at_main(programs.c("syscalls"))
    gdb.cli("catch syscall 39 close")
    seen = []
    for _ in range(6):
        gdb.cont()
        stop = gdb.expect_stop()
        seen.append((stop.reason, stop.results["syscall-name"]))
    assert seen == [(f"syscall-{when}", name) for name in ("getpid", "close", "close") for when in ("entry", "return")]
    gdb.delete()
    gdb.cont()
    gdb.expect_exit(0)


def test_every_one(at_main, programs):
    gdb, _ = at_main(programs.c("syscalls"))
    gdb.cli("catch syscall")
    names = []
    while True:
        gdb.cont()
        stop = gdb.expect_stop()
        if stop.is_exit:
            break
        if stop.reason == "syscall-entry":
            names.append(stop.results["syscall-name"])
    assert names == ["getpid", "openat", "close", "close", "exit_group"]
    assert stop.exit_code == 0


def test_result_changed_at_return(at_main, programs):
    gdb, _ = at_main(programs.c("syscalls"))
    gdb.cli("catch syscall getpid")
    gdb.cont()
    gdb.expect_stop("syscall-entry")
    gdb.cont()
    gdb.expect_stop("syscall-return")
    gdb.set("$rax = 4711")
    gdb.delete()
    gdb.step("next")
    for _ in range(3):
        if gdb.value("seen_pid"):
            break
        gdb.step("next")
    assert gdb.value("seen_pid") == 4711
    gdb.cont()
    gdb.expect_exit(0)


def test_with_a_breakpoint_and_deleted_in_between(at_main, programs):
    """Removed at the entry: the return does not stop."""
    gdb, _ = at_main(programs.c("syscalls"))
    gdb.cli("catch syscall getpid")
    gdb.break_at("close")
    gdb.cont()
    gdb.expect_stop("syscall-entry")
    gdb.cli("delete 2")
    gdb.cont()
    assert gdb.expect_stop("breakpoint-hit")
    gdb.delete()
    gdb.cont()
    gdb.expect_exit(0)


def test_in_threads(session, programs):
    gdb, _ = session(programs.c("threads"), "3")
    gdb.run_to("all_ready")
    gdb.cli("catch syscall clock_nanosleep")
    threads = set()
    for _ in range(8):
        gdb.cont()
        stop = gdb.expect_stop()
        assert stop.reason in ("syscall-entry", "syscall-return")
        threads.add(stop.thread)
    assert 1 not in threads and threads
    gdb.delete()
    gdb.set("stop = 1")
    gdb.cont()
    gdb.expect_exit(0)


@pytest.mark.stopgo_only("its monitor command")
def test_by_monitor_command(at_main, programs):
    """For clients without a command of their own; gdb, which has one, is told of a SIGTRAP."""
    gdb, _ = at_main(programs.c("syscalls"))
    assert "close (3) stops" in gdb.monitor("catch syscall close on")
    gdb.monitor("catch syscall 39 on")
    assert "syscall: close getpid" in gdb.monitor("catch")
    gdb.monitor("catch syscall close off")
    start = len(gdb.transcript)
    for _ in range(2):
        gdb.cont()
        gdb.expect_stop(signal="SIGTRAP")
    said = "\n".join(gdb.transcript[start:])
    assert "entering system call getpid" in said and "returning from system call getpid" in said
    # gdb's own beside it.
    gdb.cli("catch syscall close")
    gdb.cont()
    assert gdb.expect_stop("syscall-entry").results["syscall-name"] == "close"
    gdb.monitor("catch syscall getpid off")
    gdb.delete()
    gdb.cont()
    gdb.expect_exit(0)
