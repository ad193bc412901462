"""Delve with --backend=lldb, served by us as lldb-server (and as debugserver): as with its native backend."""
import os
import re

import pytest

from harness import process, wait
from harness.dlv import free_port


def session(dlv, program, deep="n == 1500", **kwargs):
    """Every command a user has, on one goroutine, whose course does not depend on the scheduler."""
    seen = []
    d = dlv("exec", program, **kwargs)

    def did(state):
        seen.append((state.place, state.goroutine.get("id")))
        return state
    add = d.break_at("main.add")
    did(d.command("continue"))
    seen += [d.eval("a"), d.eval("b"), d.stack()]
    did(d.command("next"))
    did(d.command("next"))
    seen.append(d.eval("sum"))
    seen.append(did(d.command("stepOut")).returned)
    d.clear(add)
    seen.append(d.command("call", expr="main.add(1000, 11)").returned)
    seen += [d.eval("main.total"), d.state().place]
    depth = d.break_at("main.depth", deep)
    did(d.command("continue"))
    seen += [d.eval("n"), d.stack(), d.stack()[-1]]
    did(d.command("step"))
    did(d.command("step"))
    d.clear(depth)
    seen += [d.eval("main.total"), d.eval("main.names"), d.eval("len(main.counts)")]
    d.set("main.total", "77")
    seen.append(d.eval("main.total"))
    point = d.watch("main.total", 2)
    # Which worker comes first is the scheduler's choice.
    seen.append((d.command("continue").place, d.eval("main.total") != "77"))
    d.clear(point)
    seen.append(len([g for g in d.goroutines() if "main.pool" in str(d.stack(g["id"]))]) >= 5)
    did(d.command("continue"))
    d.restart()
    d.break_at("main.recovered")
    did(d.command("continue"))
    did(d.command("next"))
    d.detach(True)
    return seen


def test_as_with_the_native_backend(dlv):
    program = dlv.go("calls")
    assert session(dlv, program) == session(dlv, program, backend="native")


def test_as_debugserver(dlv):
    """
    The same through the other way Delve has to start a server, which gives it redirects. It then asks for each register by itself: 70
    packets each time that a condition is false, which take half a minute on a busy machine for the 500 calls of the other test.
    """
    program, deep = dlv.go("calls"), "n == 1990"
    assert session(dlv, program, deep, mode="debugserver") == session(dlv, program, deep, backend="native")


def test_program_output_and_status(dlv):
    d = dlv("exec", dlv.go("calls"))
    assert d.command("continue").place == "exited 3"
    native = dlv("exec", dlv.go("calls"), backend="native")
    assert native.command("continue").place == "exited 3"
    native.out.find("seven")
    wanted = [row for row in native.out.text.splitlines() if "API server" not in row]
    assert wanted
    for row in wanted:
        d.out.find(re.escape(row))


# --- input, and what Delve asks of a debugserver only ---

@pytest.mark.parametrize("mode", ["lldb-server", "debugserver"])
def test_input_of_delve_is_the_programs(dlv, mode):
    """As with its native backend: what comes to Delve comes to the program, the end of it, too."""
    reader, writer = os.pipe()
    d = dlv("exec", dlv.go("calls"), args=["echo"], mode=mode, stdin=reader)
    os.close(reader)
    os.write(writer, b"one\ntwo words\n")
    d.break_at("bufio.(*Scanner).Text")
    assert d.command("continue").place.startswith("bufio.(*Scanner).Text")
    d.call("ClearBreakpoint", Id=1)
    running = d.start("Command", name="continue")
    d.out.find("read two words")
    os.write(writer, b"three")
    os.close(writer)
    state = d.finish(running)["State"]
    assert state["exited"] and state["exitStatus"] == 3
    d.out.find("read three")


def test_redirects_as_debugserver(dlv, tmp_path):
    streams = {name: tmp_path / name for name in ("stdin", "stdout", "stderr")}
    streams["stdin"].write_text("one\ntwo\n")
    options = [word for name, path in streams.items() for word in ("-r", f"{name}:{path}")]
    d = dlv("exec", dlv.go("calls"), args=["echo"], mode="debugserver", options=options)
    assert d.command("continue").place == "exited 2"
    assert streams["stdout"].read_text() == "read one\nread two\n" and streams["stderr"].read_text() == "no more\n"


def test_tty_as_debugserver(dlv):
    """Delve then does not say where it listens."""
    ours, theirs = os.openpty()
    d = dlv("exec", dlv.go("calls"), args=["echo"], mode="debugserver", options=["--tty", os.ttyname(theirs)],
            port=free_port())
    running = d.start("Command", name="continue")
    os.write(ours, b"typed\n\x04")
    assert d.finish(running)["State"]["exitStatus"] == 1
    said = b""
    while b"no more" not in said:
        said += os.read(ours, 4096)
    assert b"read typed" in said
    os.close(ours)
    os.close(theirs)


@pytest.mark.parametrize("disabled", [True, False])
def test_address_randomisation_as_debugserver(dlv, disabled):
    d = dlv("exec", dlv.go("calls"), mode="debugserver", options=["--disable-aslr"] if disabled else [])
    with open(f"/proc/{d.pid}/personality") as f:
        assert bool(int(f.read(), 16) & 0x0040000) == disabled


def test_wait_for_as_debugserver(dlv, dlv_name, debuggee, tmp_path):
    """Delve comes first, then the process."""
    if dlv_name == "dlv1.20":
        pytest.skip("Delve 1.20 cannot wait for a process")
    name = tmp_path / "awaited-by-name"
    os.link(dlv.go("busy"), name)
    d = dlv("attach", mode="debugserver", options=["--waitfor", str(name), "--waitfor-interval", "5"], listens=False)
    # It has seen which processes are there already when it sleeps between two looks.
    wait.until(lambda: any("--waitfor" in " ".join(process.command_line(pid)) and process.sleeps_for_time(pid)
                           for pid in process.descendants(d.process.pid)), "the server to wait")
    target = debuggee(name, tmp_path / "progress")
    d.connect()
    assert d.pid == target.pid
    d.break_at("main.work")
    assert d.command("continue").place.startswith("main.work:")
    d.detach(False)
    assert makes_progress(tmp_path)


def test_halt_and_breakpoints_while_running(dlv, debuggee, tmp_path):
    target = debuggee(dlv.go("busy"), tmp_path / "progress")
    wait.until(lambda: progress(tmp_path), "progress")
    d = dlv("attach", target.pid)
    for _ in range(5):
        running = d.start("Command", name="continue")
        assert makes_progress(tmp_path)
        d.call("Command", name="halt")
        assert not d.finish(running)["State"]["exited"]
    d.break_at("main.work")
    assert d.command("continue").place.startswith("main.work:")
    d.detach(False)
    assert makes_progress(tmp_path)


# --- a program that must go on ---

def progress(folder):
    try:
        rows = (folder / "progress").read_text().split("\n")
    except FileNotFoundError:
        return None
    return [int(word) for word in rows[0].split()] if len(rows) > 1 else None


def makes_progress(folder):
    """Every goroutine counts on."""
    before = wait.until(lambda: progress(folder), "a line of progress")
    return wait.until(lambda: (now := progress(folder)) and all(b > a for a, b in zip(before, now)),
                      "every goroutine to go on")


@pytest.mark.parametrize("rounds", [int(os.environ.get("STOPGO_TEST_ROUNDS", "20"))])
def test_attach_and_detach_over_and_over(dlv, debuggee, tmp_path, rounds):
    """Delve throws away the signals it saw when it attached, and those of other threads when it detaches. Go waits for each
    of them. With lldb-server the program hangs after a few rounds."""
    target = debuggee(dlv.go("busy"), tmp_path / "progress")
    for _ in range(rounds):
        assert makes_progress(tmp_path)
        d = dlv("attach", target.pid)
        running = d.start("Command", name="continue")
        d.call("Command", name="halt")
        assert not d.finish(running)["State"]["exited"]
        d.break_at("main.work")
        assert d.command("continue").place.startswith("main.work:")
        assert d.command("next").goroutine
        d.detach(False)
        d.close()
        assert process.tracer(target.pid) == 0 and not process.changed_text(target.pid)
    assert makes_progress(tmp_path)


def test_detach_with_kill(dlv, debuggee, tmp_path):
    target = debuggee(dlv.go("busy"), tmp_path / "progress")
    d = dlv("attach", target.pid)
    d.detach(True)
    assert target.result() == -9

