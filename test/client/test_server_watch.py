"""Watchpoints that the server keeps itself, `monitor watch`: conditions, hits, beside the client's own; and what becomes of the server's
breakpoints at exec and when libraries come and go."""
import re
import subprocess

import pytest

from harness import where
from harness.gdb import GdbError
from harness.programs import at, line

pytestmark = pytest.mark.stopgo_only("its monitor commands")


def refused(gdb, command, *words):
    start = len(gdb.transcript)
    with pytest.raises(GdbError):
        gdb.monitor(command)
    said = "\n".join(gdb.transcript[start:])
    assert all(word in said for word in words), said


def number_of(text):
    return int(re.search(r"(?:Breakpoint|Trace|Watchpoint) (\d+) ", text).group(1))


def hits(gdb, number):
    return int(re.search(rf"^{number} +\w+ +(\d+) ", gdb.monitor("breakpoints"), re.M).group(1))


def stops(gdb, func=None):
    """What the server says of the stop."""
    start = len(gdb.transcript)
    gdb.cont()
    gdb.expect_stop(signal="SIGTRAP", func=func)
    return "\n".join(gdb.transcript[start:])


@pytest.mark.quick
def test_condition(at_main, programs):
    """The third write only; the others stop nobody. gdb sends no conditions with its own."""
    gdb, _ = at_main(programs.c("watch"))
    number = number_of(gdb.monitor("watch four if four == 12 && eight == 16"))
    assert "watchpoint" not in stops(gdb, "write_all").lower().replace(f"watchpoint {number} of the server, four = 12", "")
    assert gdb.value("four") == 12 and gdb.value("eight") == 16
    assert hits(gdb, number) == 1 and re.search(r"watch +1 +0x\w+ +four, 4 bytes written\n +if four == 12", gdb.monitor("breakpoints"))
    gdb.monitor(f"delete {number}")
    refused(gdb, f"delete {number}", "there is no breakpoint")
    gdb.cont()
    gdb.expect_stop("exited")


def test_hits_and_every_kind(at_main, programs):
    """A write that changes nothing is none; read and access watchpoints; a hit rule; a register in the condition."""
    gdb, _ = at_main(programs.c("watch"))
    number = number_of(gdb.monitor("watch crooked.wide hits == 2"))
    assert "crooked.wide = 2199023255553" in stops(gdb, "write_all") and hits(gdb, number) == 2
    gdb.monitor(f"delete {number}")
    reads = number_of(gdb.monitor("watch eight read if $rip > 0 && four == 12"))
    stops(gdb, "read_all")
    assert hits(gdb, reads) == 1
    gdb.monitor(f"delete {reads}")
    gdb.monitor(f"watch *{gdb.value('(long)&four'):#x} 4 access")
    assert "= 99, before main" in stops(gdb, "main")
    gdb.monitor("delete all")
    gdb.cont()
    gdb.expect_stop("exited")


def test_beside_gdbs(at_main, programs):
    """The same variable: each has hits of its own, and taking one out keeps the other."""
    gdb, _ = at_main(programs.c("watch"))
    number = number_of(gdb.monitor("watch four if four == 8"))
    gdb.watch("four")
    gdb.cont()
    gdb.expect_watch(old=0, new=4, func="write_all")
    gdb.cont()
    gdb.expect_watch(old=4, new=8, func="write_all")
    assert hits(gdb, number) == 1
    gdb.delete()
    gdb.monitor("watch four if four == 99")
    gdb.monitor(f"delete {number}")
    assert "four = 99" in stops(gdb, "main")
    gdb.kill()


def test_every_thread(at_main, programs):
    """Threads that are there and that come; counted by thread."""
    gdb, _ = at_main(programs.c("watch"))
    number = number_of(gdb.monitor("watch shared hits == 3"))
    stops(gdb)
    assert gdb.value("shared") == 15
    assert f"hits by thread: {gdb.pid()}: 3" not in gdb.monitor("breakpoints") and hits(gdb, number) == 3
    gdb.kill()


def test_refusals_say_what_to_do(at_main, programs):
    gdb, _ = at_main(programs.c("watch"))
    gdb.run_to("local_one")
    refused(gdb, "watch nosuch", "no variable or constant 'nosuch'")
    refused(gdb, "watch four + 1", "no variable in memory")
    refused(gdb, "watch four if local == 1", "'local' is local", "globals")
    refused(gdb, "watch *0x10x", "is no address")
    refused(gdb, "watch four bytes", "left over")
    refused(gdb, f"watch *{gdb.value('(long)&four'):#x} 64", "64 bytes", "1 to 32")
    refused(gdb, "watch *0x10", "no memory at 0x10")
    refused(gdb, "watch", "usage")
    gdb.monitor("watch region")
    refused(gdb, "watch four", "no debug register is free")
    gdb.kill()


def test_go(session, programs):
    """A variable on the heap; one on a goroutine's stack is the client's to watch."""
    gdb, _ = session(programs.go("gosteps", where.newest_go(), tag="-plain", flags=()), "watch", "1")
    gdb.cli("set language c")
    gdb.monitor("break main.watched")
    gdb.cont()
    gdb.expect_stop(signal="SIGTRAP")
    gdb.monitor("delete all")
    refused(gdb, "watch *" + hex(gdb.value("$sp")) + " 8", "goroutine's stack", "client's own command")
    number = number_of(gdb.monitor("watch *main.Heap if *main.Heap == 7"))
    assert "of the server, *main.Heap = 7, before main.touch at " in stops(gdb)
    assert hits(gdb, number) == 1
    gdb.kill()


def lldb_watches(here, program):
    here.program(program)
    here.break_at("main")
    seen = [here.launch() and here.stop()]
    here.command("process plugin packet monitor watch four if four == 8")
    seen += [here.cont(), here.value("four")]
    here.command("process plugin packet monitor delete all")
    return seen + [here.cont()]


@pytest.mark.quick
def test_lldb(lldb, programs):
    """lldb, which evaluates conditions itself at a stop each, stops once."""
    seen = lldb.run(lldb_watches, programs.c("watch"))
    assert "of the server, four = 8, before write_all" in seen[1] and seen[2] == "8"
    assert seen[3].startswith("exited")


# --- exec, libraries ---

def test_exec_keeps_them(session, programs):
    """Those that name something are looked for in the new program; one at an address is gone. Hits go on."""
    gdb, _ = session(programs.cxx("leaves"), "exec", programs.c("basic"))
    gdb.run_to("main")
    main = number_of(gdb.monitor("break main"))
    add = number_of(gdb.monitor("break add pending if a == 7 && counter > 3"))
    gone = number_of(gdb.monitor(f"break *{gdb.value('(long)&leaf'):#x}"))
    other = number_of(gdb.monitor("break jumper"))
    gdb.monitor("trace depth pending")
    start = len(gdb.transcript)
    stops(gdb, "main")
    assert f"breakpoint {other} waits: no function 'jumper'" in "\n".join(gdb.transcript[start:])
    listed = gdb.monitor("breakpoints")
    assert hits(gdb, main) == 1 and not re.search(rf"^{gone} ", listed, re.M)
    assert re.search(rf"^{other} +break +0 +waits +jumper: no function 'jumper'", listed, re.M)
    stops(gdb, "add")
    assert gdb.value("a") == 7 and hits(gdb, add) == 1
    start = len(gdb.transcript)
    gdb.cont()
    gdb.expect_exit(3)
    assert len(re.findall(r"< thread \d+: depth => \d", "\n".join(gdb.transcript[start:]))) == 6


@pytest.mark.parametrize("relative", [False, True])
def test_library_that_comes_and_goes(session, programs, relative):
    """Its function is known when it is loaded; closed and opened again it has the breakpoint still, where it is then."""
    library = programs.lib("shared")
    gdb, _ = session(programs.c("dlopener"), library if not relative else "/../" + library)
    gdb.run_to("main")
    refused(gdb, "break shared_add", "no function 'shared_add'", "pending")
    number = number_of(gdb.monitor("break shared_add pending"))
    assert re.search(rf"^{number} +break +0 +waits", gdb.monitor("breakpoints"), re.M)
    for _ in range(2):
        stops(gdb, "shared_add")
        assert gdb.value("n") == 2
    gdb.monitor(f"delete {number}")
    gdb.cont()
    gdb.expect_exit(0)


@pytest.mark.quick
def test_library_that_comes_back_as_another(session, programs, tmp_path):
    """Where its condition has no meaning it waits, and is set anew when it has one again."""
    library = programs.lib("shared")
    source = (where.FIXTURES / "c" / "shared.c").read_text()
    other = tmp_path / "shared.c"
    other.write_text(re.sub(r"\bn\b", "m", source))
    subprocess.run(["gcc", "-g", "-O0", "-fPIC", "-shared", "-Wl,-soname,shared.so", "-o", tmp_path / "shared.so", other], check=True)
    gdb, server = session(programs.c("dlopener"), library, tmp_path / "shared.so", library)
    gdb.run_to("main")
    number = number_of(gdb.monitor("break shared_add pending if n == 2"))
    stops(gdb, "shared_add")
    first = gdb.value("$pc")
    gdb.break_at(at("dlopener.c", "dlclose"))
    for _ in range(2):
        gdb.cont()
        gdb.expect_breakpoint_stop("call")
    assert re.search(rf"^{number} +break +1 +waits", gdb.monitor("breakpoints"), re.M)
    stops(gdb, "shared_add")
    assert gdb.value("n") == 2 and gdb.value("$pc") == first
    gdb.delete()
    gdb.cont()
    gdb.expect_exit(0)
    assert server.wait_exit() == 0, server.err.text


def test_waits_in_a_fresh_program(session, programs):
    """Before the loader has run nothing is known of a library that the program is linked with."""
    gdb, _ = session(programs.linked("liblinked", "shared"))
    gdb.monitor("break shared_add pending if n > 0")
    stops(gdb, "shared_add")
    gdb.kill()
    refused_in = session(programs.c("basic", "static"))[0]
    refused(refused_in, "break nosuch pending", "loads no libraries")
    refused_in.kill()
