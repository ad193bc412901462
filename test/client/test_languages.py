"""C++ and Rust programs."""
from harness.programs import at


def test_cxx_virtual_functions_templates_exceptions(session, programs):
    gdb, _ = session(programs.cxx("shapes"))
    gdb.break_at("shapes::Square::area")
    gdb.break_at("largest<int>")
    gdb.cont()
    gdb.expect_breakpoint_stop()
    assert gdb.bt()[0].startswith("largest<int>")
    assert gdb.eval("values._M_impl._M_finish - values._M_impl._M_start") == "3"
    gdb.cont()
    gdb.expect_breakpoint_stop()
    assert gdb.bt()[0] == "shapes::Square::area"
    assert gdb.eval("side_") == "3"
    gdb.delete()
    assert gdb.eval("this->area()") == "9"      # virtual, called by hand
    gdb.cli("catch throw")
    gdb.cli("catch catch")
    gdb.cont()
    gdb.expect_stop("breakpoint-hit")
    assert "shapes::Circle::area" in gdb.bt()
    gdb.cont()
    gdb.expect_stop("breakpoint-hit")
    gdb.delete()
    gdb.run_to(at("shapes.cc", "caught"))
    gdb.run_to(at("shapes.cc", "shapes-end"))
    assert gdb.eval("caught") == "1"
    gdb.cont()
    gdb.expect_exit(0)


def test_cxx_step_into_a_lambda_in_a_thread(session, programs):
    gdb, _ = session(programs.cxx("shapes"))
    gdb.break_at(at("shapes.cc", "lambda"))
    gdb.cont()
    gdb.expect_breakpoint_stop("main")
    gdb.cont()
    stop = gdb.expect_breakpoint_stop()
    assert stop.thread == 2 and "operator()" in gdb.bt()[0]
    gdb.delete()
    gdb.cont()
    gdb.expect_exit(0)


def test_rust_breakpoints_enums_threads(session, programs):
    gdb, _ = session(programs.rust("queue"))
    gdb.break_at("queue::Worker::handle")
    for done in range(3):
        gdb.cont()
        stop = gdb.expect_breakpoint_stop("queue::Worker::handle")
        assert stop.thread == 2
        assert gdb.eval("self.done") == str(done)
        assert gdb.eval("*job").startswith("queue::Job::" + ("Add(40, 2)", "Name{text:", "Stop")[done])
    assert gdb.threads()[2].get("name") == "worker"
    stop, value = gdb.finish()
    assert value == "false"
    gdb.run_to(at("queue.rs", "largest"))
    assert gdb.bt()[0].startswith("queue::largest")
    gdb.delete()
    gdb.cont()
    gdb.expect_exit(0)
