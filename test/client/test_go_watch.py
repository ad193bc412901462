"""Watchpoints in Go: on a stack that moves, on the heap, on a goroutine that is not the current one."""
import pytest

from harness import where
from harness.programs import at, line

SOURCE = "gosteps/main.go"

pytestmark = pytest.mark.stopgo_only("goroutines are threads")


@pytest.fixture(params=("go1.19", "newest"))
def steps(session, programs, request):
    release = where.newest_go() if request.param == "newest" else request.param
    if request.param == "newest" and release == "go1.19":
        pytest.skip("no Go newer than 1.19 is there (tools/toolchains)")
    return lambda *args: session(programs.go("gosteps", release), *args)


def goroutine(gdb):
    return int(gdb.cli("python print(gdb.selected_thread().ptid[1] or gdb.selected_thread().ptid[2])"))


@pytest.mark.quick
def test_a_local_while_the_stack_grows(steps):
    """Seen before, between and after twelve moves, by a callee that has its real address; its end is told once."""
    gdb, _ = steps("watch", 2)
    gdb.run_to(at(SOURCE, "watch-first"))
    before = goroutine(gdb)
    gdb.watch("local")
    for old, new in ((1000, 1001), (1001, 1011), (1011, 1111)):
        gdb.cont()
        stop = gdb.expect_watch(func="main.touch")
        assert (stop.results["value"]["old"], stop.results["value"]["new"]) == (str(old), str(new))
        assert goroutine(gdb) == before
    gdb.cont()
    gdb.expect_stop("watchpoint-scope")
    assert goroutine(gdb) == before
    gdb.cont()
    gdb.expect_exit(0)


def test_the_heap(steps):
    gdb, _ = steps("watch", 2)
    gdb.run_to(at(SOURCE, "watch-first"))
    gdb.watch("*'main.Heap'")
    for old, new in ((0, 7), (7, 14)):
        gdb.cont()
        stop = gdb.expect_watch(func="main.touch")
        assert (stop.results["value"]["old"], stop.results["value"]["new"]) == (str(old), str(new))
    gdb.cont()
    gdb.expect_exit(0)


def test_a_local_seen_from_another_goroutine(steps):
    """Set while its goroutine runs, hit after another one was selected."""
    gdb, _ = steps("watch", 1)
    gdb.run_to(at(SOURCE, "watch-first"))
    before = goroutine(gdb)
    gdb.watch("local")
    gdb.delete("1")
    gdb.thread(1)
    assert goroutine(gdb) == 1
    gdb.cont()
    gdb.expect_watch(func="main.touch")
    assert goroutine(gdb) == before
    gdb.kill()


def test_stack_addresses_as_they_are(steps):
    gdb, _ = steps("watch", 1)
    gdb.monitor("set stable-stacks off")
    gdb.run_to(at(SOURCE, "watch-first"))
    assert int(gdb.cli("python print(int(gdb.parse_and_eval('&local')))")) >> 47 == 0
    gdb.monitor("set stable-stacks on")
    gdb.run_to(at(SOURCE, "watch-second"))
    assert int(gdb.cli("python print(int(gdb.parse_and_eval('&local')))")) >> 47 != 0
    assert gdb.eval("local") == "1001"
    gdb.kill()


def test_memory_of_a_window(steps):
    """Reads, writes and searches through window addresses are of the stack; beyond it there is nothing."""
    gdb, _ = steps("watch", 1)
    gdb.run_to(at(SOURCE, "watch-first"))
    shown = int(gdb.cli("python print(int(gdb.parse_and_eval('&local')))"))
    assert gdb.read(hex(shown), 8) == (1000).to_bytes(8, "little")
    gdb.write(hex(shown), (5000).to_bytes(8, "little"))
    assert gdb.eval("local") == "5000"
    found = gdb.cli(f"find /g {shown - 256:#x}, {shown + 8:#x}, 5000")
    assert f"{shown:#x}" in found
    top = (shown + (1 << 32) - 1) >> 32 << 32
    assert "Cannot access memory" in gdb.error_of(f"x/gx {top + 64:#x}")
    gdb.kill()
