"""Addresses of a goroutine's stack are the server's own invention; none of them ever gets into the program."""
import re

import pytest

from harness import process, where
from harness.programs import at, line

SOURCE = "gokept/main.go"

pytestmark = pytest.mark.stopgo_only("windows on stacks")


@pytest.fixture(params=["go1.19", "newest"])
def program(request, programs):
    release = where.newest_go() if request.param == "newest" else request.param
    if request.param == "newest" and release == "go1.19":
        pytest.skip("no Go newer than 1.19 is there (tools/toolchains)")
    return programs.go("gokept", release, cgo=True)


def address(gdb, expression):
    return int(gdb.cli(f"python print(int(gdb.parse_and_eval(\"{expression}\")) & (1 << 64) - 1)"))


def is_window(value):
    return value >> 47 not in (0, 0x1FFFF)


def window_words(pid):
    """Aligned words in the program's writable memory that would be window addresses of a goroutine with a small id."""
    found = []
    with open(f"/proc/{pid}/maps") as maps, open(f"/proc/{pid}/mem", "rb", buffering=0) as mem:
        for row in maps:
            match = re.match(r"([0-9a-f]+)-([0-9a-f]+) rw", row)
            if not match:
                continue
            start, end = int(match.group(1), 16), int(match.group(2), 16)
            if end - start > 64 << 20:
                continue
            mem.seek(start)
            data = mem.read(end - start)
            found += [start + i.start() - i.start() % 8 for i in WINDOW.finditer(data) if i.start() % 8 == 0]
    return found


WINDOW = None


def pattern_of(shown):
    """Any address in this window's last 16 MiB, more than this stack will have. A word of the program's own with a 1 in its highest byte
    may look like one further down: where the heap begins is chance since Go 1.26, and its addresses may have the goroutine's number."""
    return re.compile(b"(?s)..." + re.escape(shown.to_bytes(8, "little")[3:]))


@pytest.fixture
def stopped(session, program):
    """(gdb, server) in a goroutine whose stack has moved, with a local there that the client calls by a window address."""
    global WINDOW
    gdb, server = session(program, "5")
    gdb.run_to(at(SOURCE, "leave"))
    shown = address(gdb, "&local")
    assert is_window(shown) and is_window(address(gdb, "$rsp"))
    WINDOW = pattern_of(shown)
    return gdb, server


def to_the_end(gdb, server, expected):
    """No address of ours is anywhere in the program, and it runs to its end with the collector at work."""
    assert window_words(server.inferior) == []
    gdb.delete()
    gdb.cont()
    gdb.expect_exit(0)
    text = server.out.rest()
    for row in expected:
        assert row in text, text
    assert "sum 15 4369 8738" in text


@pytest.mark.quick
def test_a_pointer_to_a_local_in_a_heap_variable(stopped):
    """The program writes through it."""
    gdb, server = stopped
    gdb.set("'main.Heap'.P = &local")
    stored = address(gdb, "'main.Heap'.P")
    assert not is_window(stored) and gdb.eval("*'main.Heap'.P") == "1"
    assert gdb.eval("'main.Heap'.Before") == str(0x1111) and gdb.eval("'main.Heap'.After") == str(0x2222)
    to_the_end(gdb, server, ["1 1001", "2 2", "5 5"])


def test_a_pointer_written_as_bytes(stopped):
    """As one block with what is around it, as front ends write memory."""
    gdb, server = stopped
    heap = address(gdb, "'main.Heap'")
    block = (0x1111).to_bytes(8, "little") + address(gdb, "&local").to_bytes(8, "little") + (0x2222).to_bytes(8, "little")
    gdb.write(heap, block)
    assert gdb.read(heap, 8) == block[:8] and gdb.read(heap + 16, 8) == block[16:]
    assert not is_window(address(gdb, "'main.Heap'.P"))
    to_the_end(gdb, server, ["1 1001", "2 2"])


def test_a_pointer_in_a_register(stopped):
    gdb, server = stopped
    before = address(gdb, "$rdi")
    gdb.cli("set language c")
    gdb.set("$rdi = (long)&local")
    assert not is_window(address(gdb, "$rdi"))
    gdb.set(f"$rdi = {before}")
    to_the_end(gdb, server, ["1 1"])


@pytest.mark.quick
def test_a_call_whose_result_comes_through_a_hidden_pointer(stopped):
    """gdb makes room on the stack, passes its address, and puts the return address there, too."""
    gdb, server = stopped
    for n in (7, 100):
        made = gdb.eval(f"make_big({n})")
        assert re.sub(r"\s", "", made) == "{a=%d,b=%d,c=%d,d=%d,e=%d}" % (n, n + 1, n + 2, n + 3, n + 4)
    assert gdb.bt()[0] == "main.round" and gdb.frames()[0]["line"] == str(line(SOURCE, "leave"))
    to_the_end(gdb, server, ["1 1", "2 2"])


def test_an_argument_that_lies_on_the_stack(stopped):
    """A function of C's reads it through the pointer it gets."""
    gdb, server = stopped
    shown = address(gdb, "&local")
    gdb.cli("set language c")
    first = gdb.value("*(long *)&local")
    rest = sum(int.from_bytes(gdb.read(shown + 8 * i, 8), "little", signed=True) for i in range(1, 5))
    assert (gdb.value("sum_big((struct big *)&local)") - first - rest) % (1 << 64) == 0
    to_the_end(gdb, server, ["1 1", "2 2"])


def test_a_step_after_it(stopped):
    """With a breakpoint and a step behind the call the frames are still the same."""
    gdb, server = stopped
    assert "a = 3" in gdb.eval("make_big(3)")
    gdb.step("next", func="main.round")
    gdb.set("'main.Heap'.P = &local")
    gdb.run_to(at(SOURCE, "end"))
    assert process.is_alive(server.inferior)
    to_the_end(gdb, server, ["2 2"])
