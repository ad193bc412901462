"""Shared libraries: linked, opened and closed at run time."""
import pytest

from harness.programs import at


@pytest.mark.quick
def test_linked(session, programs):
    gdb, _ = session(programs.linked("liblinked", "shared"))
    gdb.break_at("shared_add")
    gdb.cont()
    gdb.expect_breakpoint_stop("shared_add")
    assert gdb.bt() == ["shared_add", "main"]
    text = gdb.cli("info sharedlibrary")
    assert "shared.so" in text and "libc.so.6" in text and "ld-linux" in text
    gdb.step("next")
    assert gdb.value("shared_state") == 42
    gdb.cont()
    gdb.expect_exit(0)


def test_step_into_a_library(at_main, programs):
    gdb, _ = at_main(programs.linked("liblinked", "shared"))
    gdb.step("step", func="shared_add")
    stop, value = gdb.finish()
    assert stop.func == "main" and value == "42"
    gdb.kill()


@pytest.mark.quick
def test_pending_breakpoint_in_an_opened_library(session, programs):
    gdb, _ = session(programs.c("dlopener"), programs.lib("shared"))
    gdb.break_at("shared_add")
    for _ in range(2):
        gdb.cont()
        gdb.expect_breakpoint_stop("shared_add")
        assert gdb.bt() == ["shared_add", "call", "main"]
        assert "shared.so" in gdb.cli("info sharedlibrary")
    gdb.cont()
    gdb.expect_exit(0)


def test_closed_library_is_gone(session, programs):
    """After dlclose the breakpoint's page is not there any more: that is nobody's error."""
    gdb, _ = session(programs.c("dlopener"), programs.lib("shared"))
    gdb.break_at("shared_add")
    gdb.cont()
    gdb.expect_breakpoint_stop("shared_add")
    gdb.run_to(at("dlopener.c", "second-open"))
    assert "shared.so" not in gdb.cli("info sharedlibrary")
    gdb.cont()
    gdb.expect_breakpoint_stop("shared_add")
    gdb.cont()
    gdb.expect_exit(0)


def test_catch_load_and_unload(at_main, programs):
    gdb, _ = at_main(programs.c("dlopener"), programs.lib("shared"))
    gdb.cli("catch load shared")
    gdb.cont()
    gdb.expect_stop("solib-event")
    gdb.cli("catch unload shared")
    gdb.cont()
    gdb.expect_stop("solib-event")
    gdb.delete()
    gdb.cont()
    gdb.expect_exit(0)


def test_stop_on_solib_events(at_main, programs):
    gdb, _ = at_main(programs.c("dlopener"), programs.lib("shared"))
    gdb.cli("set stop-on-solib-events 1")
    gdb.cont()
    gdb.expect_stop("solib-event")
    gdb.cli("set stop-on-solib-events 0")
    gdb.cont()
    gdb.expect_exit(0)


def test_thread_local_of_a_library(session, programs):
    gdb, _ = session(programs.linked("liblinked", "shared"))
    gdb.run_to("shared_add")
    assert gdb.value("shared_local") == 7
    gdb.resume("finish")
    gdb.expect_stop("function-finished")
    assert gdb.value("shared_local") == 8
    gdb.kill()


def test_thread_local_of_an_opened_library(session, programs):
    """Its block is made when it is first touched; libthread_db knows it by the link map."""
    gdb, _ = session(programs.c("dlopener"), programs.lib("shared"))
    gdb.run_to("shared_add")
    gdb.step("next")
    gdb.step("next")
    assert gdb.value("shared_local") == 8
    gdb.kill()


def test_libraries_at_attach(serve, new_gdb, programs, debuggee):
    program = programs.c("counter")
    running = debuggee(program)
    running.readline()
    gdb = new_gdb(program)
    gdb.connect(serve.attach(running.pid))
    assert "libc.so.6" in gdb.cli("info sharedlibrary")
    gdb.break_at("usleep")
    gdb.cont()
    gdb.expect_breakpoint_stop()
    assert "main" in gdb.bt()
    gdb.detach()
