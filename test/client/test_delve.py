"""Delve with --backend=lldb, served by us as lldb-server (and as debugserver): as with its native backend."""
import os
import re

import pytest

from harness import process, wait


def session(dlv, program, **kwargs):
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
    deep = d.break_at("main.depth", "n == 3")
    did(d.command("continue"))
    seen += [d.eval("n"), d.stack(), d.stack()[-1]]
    did(d.command("step"))
    did(d.command("step"))
    d.clear(deep)
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
    """The same through the other way Delve has to start a server, which gives it redirects."""
    program = dlv.go("calls")
    assert session(dlv, program, mode="debugserver") == session(dlv, program, backend="native")


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


def test_redirects_as_debugserver(dlv, tmp_path):
    out = tmp_path / "out"
    d = dlv("exec", dlv.go("calls"), mode="debugserver", options=["-r", f"stdout:{out}"])
    assert d.command("continue").place == "exited 3"
    assert out.read_text()


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

