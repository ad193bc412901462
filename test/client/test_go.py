"""Go programs of the oldest and the newest release there are, as any program: what gdb does with them without knowing
goroutines. What goroutines add is in the tests of the thread view."""
import pytest

from harness.programs import at


@pytest.fixture
def go_session(session, programs, release):
    """go_session(args…): (gdb, server) on the Go program, stopped at its first instruction. Its preemption signal is
    passed on as gdb users have it."""
    def start(*args, **kwargs):
        program = programs.go("calls", release, **kwargs)
        gdb, server = session(program, *args, before=("handle SIGURG nostop noprint pass",))
        return gdb, server
    return start


@pytest.mark.quick
def test_breakpoint_arguments_backtrace(go_session):
    gdb, server = go_session()
    gdb.break_at("main.add")
    gdb.cont()
    gdb.expect_breakpoint_stop("main.add")
    assert gdb.eval("a") == "40" and gdb.eval("b") == "2"
    assert gdb.bt()[:2] == ["main.add", "main.main"]
    gdb.delete()
    gdb.cont()
    gdb.expect_exit(3)
    assert server.wait_exit() == 0
    assert "42 2000" in server.out.rest()


def test_condition_in_goroutines(go_session):
    """One call of a hundred, in whichever goroutine and thread it happens."""
    gdb, _ = go_session()
    gdb.break_at("main.add", condition="b == 57 && a >= 100")
    gdb.cont()
    gdb.expect_breakpoint_stop("main.add")
    assert gdb.eval("b") == "57"
    assert gdb.bt()[:2] == ["main.add", "main.worker"]
    gdb.delete()
    gdb.cont()
    gdb.expect_exit(3)


def test_false_condition_in_goroutines(go_session):
    gdb, _ = go_session()
    gdb.break_at("main.add", condition="b == 1000000")
    gdb.cont()
    gdb.expect_exit(3)


def test_next_step_finish(go_session):
    gdb, _ = go_session()
    gdb.run_to(at("calls/main.go", "main-add"))
    gdb.step("next", func="main.main")
    assert gdb.eval("first") == "42"
    gdb.step("step", func="main.depth")
    gdb.delete()
    gdb.run_to(at("calls/main.go", "main-area"))
    assert "index out of range" in gdb.eval("text")
    gdb.cont()
    gdb.expect_exit(3)


def test_stepi(go_session):
    gdb, _ = go_session()
    gdb.run_to("main.add")
    gdb.step("stepi 50")
    gdb.delete()
    gdb.cont()
    gdb.expect_exit(3)


def test_recursion_that_moves_the_stack(go_session):
    gdb, _ = go_session()
    gdb.run_to(at("calls/main.go", "deepest"))
    frames = gdb.mi("-stack-info-depth")["depth"]
    assert int(frames) > 2000
    gdb.cont()
    gdb.expect_exit(3)


def test_watch_a_global(go_session):
    gdb, _ = go_session()
    gdb.run_to("main.add")
    gdb.watch("main.total")
    gdb.cont()
    gdb.expect_watch(old=0, new=42, func="main.add")
    gdb.delete()
    gdb.cont()
    gdb.expect_exit(3)


def test_strings_slices_maps(go_session):
    gdb, _ = go_session()
    gdb.run_to(at("calls/main.go", "main-print"))
    assert "seven" in gdb.eval("p.right")
    assert gdb.eval("'main.names'").endswith("len = 3, cap = 3}")
    gdb.cont()
    gdb.expect_exit(3)


@pytest.mark.quick
def test_ctrl_c_and_go_on(go_session):
    gdb, server = go_session("spin")
    gdb.cont()
    server.out.find("spinning")
    for _ in range(3):
        gdb.interrupt()
        gdb.expect_signal("SIGINT")
        assert gdb.threads()
        gdb.resume("signal 0")
    gdb.interrupt()
    gdb.expect_signal("SIGINT")
    gdb.kill()


def test_write_a_local_and_end(go_session):
    gdb, _ = go_session("spin")
    gdb.run_to(at("calls/main.go", "spin"))
    gdb.set("*flag = 1")
    gdb.delete()
    gdb.cont()
    gdb.expect_exit(3)


def test_optimised(session, programs, release):
    program = programs.go("calls", release, flags=(), tag="-opt")
    gdb, _ = session(program, before=("handle SIGURG nostop noprint pass",))
    gdb.break_at("main.depth", temporary=True)
    gdb.cont()
    gdb.expect_breakpoint_stop("main.depth")
    assert gdb.bt()[-1] in ("runtime.goexit", "runtime.main", "main.main")
    gdb.cont()
    gdb.expect_exit(3)


def test_attach_and_detach(serve, new_gdb, programs, debuggee, release):
    from harness import process
    program = programs.go("calls", release)
    made = debuggee(program, "spin")
    assert made.readline() == "spinning"
    server = serve.attach(made.pid)
    gdb = new_gdb(program)
    gdb.cli("handle SIGURG nostop noprint pass")
    gdb.connect(server)
    gdb.break_at(at("calls/main.go", "spin"))
    gdb.cont()
    gdb.expect_breakpoint_stop("main.spin")
    gdb.detach()
    assert process.changed_text(made.pid) == []
    assert process.is_alive(made.pid)


def test_demo(session, programs, release):
    """The bundled demo with a breakpoint that is hit all the time."""
    program = programs.go("demo", release, flags=())
    gdb, _ = session(program, before=("handle SIGURG nostop noprint pass",))
    gdb.break_at("main.price")
    for _ in range(10):
        gdb.cont()
        gdb.expect_breakpoint_stop("main.price")
        assert gdb.bt()[:2] == ["main.price", "main.(*shop).place"]
    gdb.kill()
