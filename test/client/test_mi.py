"""The order of commands that IDEs send through gdb's machine interface, in mi-async mode."""
import pytest

from harness.programs import at, line


@pytest.mark.quick
def test_sequence_of_cppdbg(serve, new_gdb, programs):
    program = programs.c("threads")
    server = serve.launch(program, "3")
    gdb = new_gdb()
    gdb.mi("-gdb-set mi-async on")
    gdb.mi("-gdb-set pagination off")
    gdb.mi("-gdb-set auto-solib-add on")
    gdb.mi("-gdb-set solib-search-path /tmp")
    gdb.mi("-enable-pretty-printing")
    gdb.mi("-gdb-set cwd /tmp")
    gdb.mi(f"-file-exec-and-symbols {program}")
    assert "architecture" in gdb.cli("show architecture")
    main = int(gdb.mi("-break-insert main")["bkpt"]["number"])
    gdb.mi(f"-target-select remote {server.address}")
    assert gdb.stops, "no *stopped before ^connected"
    first = gdb.stops.pop(0)
    assert first.reason == "" and first.addr is not None
    assert len(gdb.mi("-thread-info")["threads"]) == 1
    gdb.mi(f'-break-insert -f -c "index == 1" {at("threads.c", "work-body")}')
    gdb.mi("-exec-continue")
    gdb.expect_breakpoint_stop("main", main)
    gdb.mi("-exec-continue")
    stop = gdb.expect_breakpoint_stop("work")
    look_around(gdb, stop)
    for command in ("-exec-next", "-exec-next", "-exec-step", "-exec-finish"):
        gdb.mi(f"{command} --thread {stop.thread}")
        stop = gdb.expect_stop()
        look_around(gdb, stop)
    gdb.delete()
    gdb.mi("-exec-continue")
    server.out.find("ready")
    gdb.mi("-exec-interrupt")
    gdb.expect_signal("SIGINT")
    gdb.mi("-thread-info")
    gdb.cli("kill")
    assert server.wait_exit() == 0


def look_around(gdb, stop):
    """What MIEngine asks at every stop."""
    assert stop.results["core"].isdigit()
    rows = gdb.mi("-thread-info")["threads"]
    assert str(stop.thread) in [row["id"] for row in rows]
    for row in rows:
        frames = gdb.mi(f"-stack-list-frames --thread {row['id']} 0 1000")["stack"]
        assert frames
    gdb.mi(f"-stack-list-arguments --thread {stop.thread} 0 0 10")
    for variable in gdb.mi(f"-stack-list-variables --thread {stop.thread} --frame 0 0")["variables"]:
        made = gdb.mi(f"-var-create --thread {stop.thread} --frame 0 - * {variable['name']}")
        gdb.mi(f"-var-evaluate-expression {made['name']}")
        gdb.mi(f"-var-delete {made['name']}")
    gdb.mi("-data-list-register-values --skip-unavailable x")


def test_breakpoint_set_while_running(serve, new_gdb, programs):
    """MIEngine interrupts, inserts and continues; mi-async lets it be done without."""
    program = programs.c("counter")
    server = serve.launch(program)
    gdb = new_gdb(program, mi_async=True)
    gdb.connect(server)
    gdb.mi("-exec-continue")
    server.out.find("ready")
    gdb.mi("-exec-interrupt")
    gdb.expect_signal("SIGINT")
    number = gdb.break_at("tick")
    gdb.mi("-exec-continue")
    gdb.expect_breakpoint_stop("tick", number)
    gdb.kill()


def test_extended_attach_of_an_ide(serve, new_gdb, programs, debuggee):
    made = debuggee(programs.c("counter"), "threads", "2")
    made.readline()
    server = serve.multi()
    gdb = new_gdb(programs.c("counter"), mi_async=True)
    gdb.mi(f"-target-select extended-remote {server.address}")
    gdb.mi(f"-target-attach {made.pid}")
    gdb.expect_stop()
    assert len(gdb.mi("-thread-info")["threads"]) == 3
    gdb.mi(f"-break-insert -f {at('counter.c', 'tick-body')}")
    gdb.mi("-exec-continue")
    gdb.expect_breakpoint_stop("tick")
    gdb.mi("-target-detach")
    assert server.is_running()


def test_variable_objects_and_memory(at_main, programs):
    gdb, _ = at_main(programs.c("basic"))
    made = gdb.mi("-var-create pairs @ pairs")
    assert made["numchild"] == "3"
    gdb.mi("-var-list-children pairs")
    children = gdb.mi("-var-list-children --all-values pairs.1")["children"]
    assert [child["value"] for child in children] == ["2", "2.5"]
    gdb.mi('-var-assign pairs.1.left 17')
    assert gdb.value("pairs[1].left") == 17
    assert gdb.read("&pairs[1]", 4) == b"\x11\0\0\0"
    gdb.kill()


def test_disassembly_and_source(at_main, programs):
    gdb, _ = at_main(programs.c("basic"))
    rows = gdb.mi("-data-disassemble -s $pc -e $pc+32 -- 0")["asm_insns"]
    assert rows[0]["func-name"] == "main"
    assert int(gdb.mi("-stack-info-frame")["frame"]["line"]) == line("basic.c", "main-first")
    gdb.kill()
