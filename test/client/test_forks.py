"""fork, vfork and exec: followed to either side, caught, and with both sides kept."""
import pytest

from harness.programs import at


@pytest.mark.quick
@pytest.mark.parametrize("what", ["fork", "vfork"])
def test_follow_parent(at_main, programs, what):
    gdb, server = at_main(programs.c("forks"), what)
    gdb.break_at("in_child")
    gdb.break_at("in_parent")
    gdb.cont()
    gdb.expect_breakpoint_stop("in_parent")     # the child ran through in_child alone, without a trap
    assert gdb.pid() == server.inferior
    gdb.cont()
    gdb.expect_exit(6)


@pytest.mark.quick
@pytest.mark.parametrize("what", ["fork", "vfork"])
def test_follow_child(at_main, programs, what):
    gdb, server = at_main(programs.c("forks"), what)
    gdb.cli("set follow-fork-mode child")
    gdb.break_at("in_child")
    gdb.cont()
    gdb.expect_breakpoint_stop("in_child")
    assert gdb.pid() != server.inferior
    gdb.cont()
    gdb.expect_exit(5)


@pytest.mark.parametrize("mode", ["parent", "child"])
def test_keep_both_sides(at_main, programs, mode):
    gdb, server = at_main(programs.c("forks"), "fork")
    gdb.cli(f"set follow-fork-mode {mode}")
    gdb.cli("set detach-on-fork off")
    gdb.break_at("in_child")
    gdb.break_at("in_parent")
    if mode == "parent":
        gdb.break_at(at("forks.c", "parent-body"))
        gdb.cli("inferior 1")
        gdb.cli("catch fork")
        gdb.cont()
        gdb.expect_stop("fork")
        gdb.step("next")
        text = gdb.cli("info inferiors")
        assert text.count("process") == 2, text
        gdb.cli("inferior 2")
        gdb.cont()
        gdb.expect_breakpoint_stop("in_child")
    else:
        gdb.cont()
        gdb.expect_breakpoint_stop("in_child")
        text = gdb.cli("info inferiors")
        assert text.count("process") == 2, text
    gdb.cont()
    gdb.expect_exit(5)
    gdb.cli("inferior 1")
    gdb.cont()
    gdb.expect_breakpoint_stop("in_parent")
    gdb.delete()
    gdb.cont()
    gdb.expect_exit(6)


@pytest.mark.parametrize("what", ["fork", "vfork"])
def test_catch(at_main, programs, what):
    gdb, _ = at_main(programs.c("forks"), what)
    gdb.cli(f"catch {what}")
    gdb.cont()
    stop = gdb.expect_stop(what)
    assert int(stop.results["newpid"]) > 0
    gdb.delete()
    gdb.cont()
    gdb.expect_exit(6)


def test_catch_exec(at_main, programs):
    target = programs.c("basic")
    gdb, server = at_main(programs.c("forks"), "exec", target)
    gdb.cli("catch exec")
    gdb.cont()
    stop = gdb.expect_stop("exec")
    assert stop.results["new-exec"] == target
    assert gdb.pid() == server.inferior
    gdb.run_to("depth")
    assert gdb.bt() == ["depth", "main"]
    gdb.delete()
    gdb.cont()
    gdb.expect_exit(4)


@pytest.mark.quick
def test_breakpoints_follow_an_exec(at_main, programs):
    gdb, _ = at_main(programs.c("forks"), "exec", programs.c("basic"))
    gdb.break_at("depth")
    gdb.cont()
    gdb.expect_breakpoint_stop("depth")
    gdb.delete()
    gdb.cont()
    gdb.expect_exit(4)


def test_exec_by_another_thread(at_main, programs):
    """The thread that execs takes the leader's id; the others are gone."""
    gdb, server = at_main(programs.c("forks"), "threadexec", programs.c("basic"))
    gdb.break_at("depth")
    gdb.cont()
    gdb.expect_breakpoint_stop("depth")
    assert len(gdb.threads()) == 1
    assert gdb.pid() == server.inferior
    gdb.delete()
    gdb.cont()
    gdb.expect_exit(4)


def test_follow_child_into_exec(at_main, programs):
    gdb, _ = at_main(programs.c("forks"), "forkexec", programs.c("basic"))
    gdb.cli("set follow-fork-mode child")
    gdb.break_at("depth")
    gdb.cont()
    gdb.expect_breakpoint_stop("depth")
    gdb.delete()
    gdb.cont()
    gdb.expect_exit(4)


def test_follow_exec_mode_new(at_main, programs):
    gdb, _ = at_main(programs.c("forks"), "exec", programs.c("basic"))
    gdb.cli("set follow-exec-mode new")
    gdb.break_at("depth")
    gdb.cont()
    gdb.expect_breakpoint_stop("depth")
    assert "basic" in gdb.cli("info inferiors")
    gdb.kill()


def test_child_let_go_has_no_trap_in_it(at_main, programs):
    """Breakpoints inserted when the fork happens are copied into the child: they are taken out before it runs."""
    gdb, _ = at_main(programs.c("forks"), "fork")
    gdb.cli("set breakpoint always-inserted on")
    gdb.break_at("in_child")
    gdb.break_at(at("forks.c", "child-body"))
    gdb.break_at(at("forks.c", "waited"))
    gdb.cont()
    gdb.expect_breakpoint_stop("wait_for")
    assert gdb.value("status") == 5 << 8
    gdb.cont()
    gdb.expect_exit(6)


def test_fork_from_a_program_with_a_watchpoint(at_main, programs):
    gdb, _ = at_main(programs.c("forks"), "fork")
    gdb.watch("in_parent_calls")
    gdb.cont()
    gdb.expect_watch(old=0, new=1, func="in_parent")
    gdb.cont()
    gdb.expect_stop("exited")
