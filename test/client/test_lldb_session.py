"""A session of lldb from launch to exit, and the same session with lldb's own server: a user sees no difference."""
import json
import os
import subprocess

import pytest

from harness import process, rsp, wait
from harness.dlv import free_port
from harness.lldb import peer
from harness.programs import at, line


def breakpoints_and_steps(here, program, body, loop_end):
    here.program(program)
    here.break_at("add")
    seen = [here.launch() and here.stop(), here.frames(), here.value("a"), here.value("b")]
    here.command("thread step-over")
    seen.append(here.stop())
    here.command("thread step-over")
    seen += [here.stop(), here.value("sum")]
    here.command("thread step-out")
    seen.append(here.stop())
    here.command("breakpoint delete -f")
    conditional = here.break_at(body, "i == 6")
    seen += [here.cont(), here.value("i"), here.value("total"), conditional.GetHitCount()]
    here.command("thread step-in")
    here.command("thread step-in")
    seen.append(here.stop())
    here.command("breakpoint delete -f")
    here.break_at(loop_end)
    seen += [here.cont(), here.value("total"), here.cont(), here.printed]
    return seen


def expressions(here, program):
    here.program(program)
    here.break_at("depth", "n == 2")
    here.launch("one", "two")
    seen = [here.stop(), here.frames()]
    seen += [here.value(text) for text in ("add(3, 4)", "scale(2.5, 2)", "swap(pairs[2]).left", "global", "pairs[1].right",
                                           "depth(4)", "(char *)text", "(int)strlen(text)", "sizeof(pairs)")]
    here.value("counter = 1000")
    seen += [here.value("counter"), here.frames()]
    here.command("breakpoint delete -f")
    seen += [here.cont(), here.printed]
    return seen


def memory(here, program):
    here.program(program)
    here.break_at("loop")
    here.launch()
    text, area = here.address_of("text"), here.address_of("area")
    seen = [here.read(text, 26).decode()]
    error = lldb.SBError()
    data = bytes(range(256)) * 16
    seen.append(here.process.WriteMemory(area, data, error))
    seen.append(here.read(area, len(data)) == data)
    seen.append(here.command(f"memory find -s 'to be found' -- {text} {text + 64}").split("\n")[0].split(": ")[0] != "")
    # Across the end of the mapping: what there is.
    region = lldb.SBMemoryRegionInfo()
    here.process.GetMemoryRegionInfo(area, region)
    seen += [region.IsReadable(), region.IsWritable(), region.IsExecutable()]
    here.process.GetMemoryRegionInfo(here.frame.GetPC(), region)
    seen += [region.IsReadable(), region.IsWritable(), region.IsExecutable(), region.GetName() == program]
    here.process.GetMemoryRegionInfo(8, region)
    seen += [region.IsMapped(), region.GetRegionBase()]
    regions = here.process.GetMemoryRegions()
    seen.append(regions.GetSize() > 10)
    data = here.process.ReadMemory(8, 8, error)
    seen += [error.Fail(), here.cont()]
    return seen


def registers(here, program):
    here.program(program)
    # By address: lldb looks for a prologue behind a label and sets its breakpoint inside an instruction.
    here.target.BreakpointCreateBySBAddress(here.target.FindSymbols("look")[0].GetSymbol().GetStartAddress())
    here.launch()
    seen = [here.register(name).GetValue() for name in ("rbx", "ebx", "bx", "bl", "bh")]
    seen += [here.vector(name) for name in ("xmm3", "ymm3")]
    seen.append([part.GetName() for part in here.frame.GetRegisters()])
    error = lldb.SBError()
    here.register("ymm3").SetValueFromCString("{" + " ".join(f"0x{i:02x}" for i in range(100, 132)) + "}", error)
    inside.check(error)
    here.register("rbx").SetValueFromCString("0x1020304050607080", error)
    inside.check(error)
    here.command("register write bl 0xff")
    seen += [here.register("rbx").GetValue(), here.vector("ymm3"), here.vector("xmm3")]
    seen += [here.register("rip").GetValue() != "0", here.register("rflags").IsValid(), here.register("fs_base").IsValid()]
    here.command("breakpoint delete -f")
    here.command("thread step-out")
    seen += [list(here.read(here.address_of("out"), 32)), here.value("rbx_out"), here.cont()]
    return seen


def threads(here, program, ready):
    here.program(program)
    here.break_at(ready)
    here.launch("4")
    seen = [here.stop(), here.process.GetNumThreads()]
    names = sorted(thread.GetName() for thread in here.process)
    seen.append(names)
    seen.append(sorted(here.frames(thread)[-3 if len(here.frames(thread)) > 2 else -1] != "" for thread in here.process))
    here.command("breakpoint delete -f")
    point = here.break_at("work")
    stop = here.cont()
    seen.append(stop.split(" in ")[1])
    index = here.value("index")
    # Every thread that hit says so in the same stop.
    hit = [thread for thread in here.process if thread.GetStopReason() == lldb.eStopReasonBreakpoint]
    seen.append(len(hit) >= 1 and all(thread.GetFrameAtIndex(0).GetFunctionName() == "work" for thread in hit))
    here.command("thread step-over")
    here.command("thread step-over")
    seen += [here.value("index") == index, here.stop().split(" in ")[1]]
    here.command("breakpoint delete -f")
    here.value("stop = 1")
    seen += [here.cont(), here.printed]
    return seen


def signals(here, program):
    here.program(program)
    here.command("process handle SIGUSR1 -s true -n true -p true")
    here.launch("usr1")
    seen = [here.stop()]
    seen.append(here.cont())
    for what in ("segv", "divide", "abort"):
        here.launch(what)
        seen.append(here.stop())
        seen.append(here.cont())
    here.command("process handle SIGUSR1 -s false -n false -p true")
    here.launch("usr1")
    seen.append(here.stop())
    here.command("process handle SIGUSR1 -s true -p false")
    here.launch("usr1")
    seen += [here.stop(), here.cont()]
    return seen


def watchpoints(here, program, first):
    here.program(program)
    here.break_at(first)
    here.launch()
    here.command("breakpoint delete -f")
    here.watch("four")
    seen = [here.cont() for _ in range(2)]
    here.command("watchpoint delete -f")
    here.watch("eight", read=True)
    seen += [here.cont() for _ in range(2)]
    here.command("watchpoint delete -f")
    point = here.watch("early", read=True, write=False)
    seen += [here.cont(), point.GetHitCount()]
    here.command("watchpoint delete -f")
    seen.append(here.cont())
    return seen


def surroundings(here, program, folder):
    here.program(program)
    here.launch("one", "two words", "$HOME", env=["STOPGO_TEST=a value; with # $ }"], cwd=folder)
    seen = [here.stop(), here.printed.replace(folder, "FOLDER")]
    here.launch("again", env=["STOPGO_TEST=x"], cwd=folder)
    seen += [here.stop(), [row for row in here.printed.split("\n") if not row.startswith("stack=")][-3:]]
    try:
        here.program("/bin/true")
        here.launch(cwd="/there/is/no/such/folder")
        seen.append("launched")
    except Failed as error:
        seen.append("refused")
    return seen


def forks(here, program, follow, what):
    here.program(program)
    here.command(f"settings set target.process.follow-fork-mode {follow}")
    here.break_at("in_child")
    here.break_at("in_parent")
    here.launch(what)
    seen = [here.stop()]
    while here.process.GetState() != lldb.eStateExited and len(seen) < 6:
        seen.append(here.cont())
    return seen


def exec_other(here, program, other, what):
    here.program(program)
    here.launch(what, other, flags=lldb.eLaunchFlagStopAtEntry)
    here.command("settings set target.process.stop-on-exec true")
    seen = [here.cont().split(" in ")[0]]
    here.break_at("main")
    seen += [here.cont(), here.cont(), here.printed]
    return seen


def kill_it(here, program):
    here.program(program)
    here.break_at("loop")
    here.launch()
    pid = here.process.GetProcessID()
    here.process.Kill()
    return [here.stop(), os.path.exists(f"/proc/{pid}")]


def libraries(here, program, library):
    here.program(program)
    here.break_at("shared_function")
    here.launch(library)
    return [here.stop(), sorted(module.GetFileSpec().GetFilename() for module in here.target.module_iter()), here.cont()]


def input_and_output(here, program, source, out):
    """Input from a file, output to lldb; then output to a file; exit statuses."""
    here.program(program)
    words = ["-c", "read a; read b; echo got $a and $b; echo wrong >&2; exit 7"]
    here.launch(*words, stdio=(source, None, None))
    seen = [here.stop(), here.printed]
    here.launch(*words, stdio=(source, out, None))
    with open(out) as f:
        seen += [here.stop(), f.read()]
    here.launch("-c", "kill -9 $$")
    seen.append(here.stop())
    return seen


def watch_modes(here, program, first):
    """A change alone, an address with a size, a condition."""
    here.program(program)
    here.break_at(first)
    here.launch()
    here.command("breakpoint delete -f")
    here.command("watchpoint set variable -w modify two")
    seen = [here.cont() for _ in range(2)]
    here.command("watchpoint delete -f")
    here.command("watchpoint set expression -w read_write -s 4 -- &four")
    seen += [here.cont() for _ in range(2)]
    here.command("watchpoint delete -f")
    here.command("watchpoint set variable eight")
    here.command("watchpoint modify -c 'eight > 20'")
    seen += [here.cont(), here.value("eight")]
    here.command("watchpoint disable")
    seen.append(here.cont())
    return seen


def save_core(here, program, folder):
    """A core of lldb's own making: read page by page through the server, opened again."""
    here.program(program)
    here.break_at("depth", "n == 1")
    here.launch("one")
    seen = [here.frames(), here.value("counter"), here.read(here.address_of("text"), 16).decode()]
    here.command(f"process save-core --style full {folder}/whole")
    here.command(f"process save-core --plugin-name=minidump --style stack {folder}/stacks")
    registers = [here.register(name).GetValue() for name in ("rip", "rsp", "rbp")]
    process, stack = here.process, here.read(here.frame.GetSP(), 256)
    for core in ("whole", "stacks"):
        here.program(program)
        here.process = here.target.LoadCore(f"{folder}/{core}")
        seen += [here.frames() == seen[0], here.read(here.frame.GetSP(), 256) == stack]
        seen.append([here.register(name).GetValue() for name in ("rip", "rsp", "rbp")] == registers)
    here.process = process
    if not all(seen):
        raise Failed(f"the core is another process: {seen}")
    return seen


def cxx(here, program, caught):
    """A method that is virtual, a template, exceptions thrown and caught, a step into a lambda on a thread of its own."""
    here.program(program)
    here.break_at("shapes::Square::area")
    largest = here.break_at("largest<int>")
    here.launch()
    seen = [here.stop(), here.frames()[:2], here.value("*values._M_impl._M_start")]
    here.target.BreakpointDelete(largest.GetID())
    seen += [here.cont(), here.frames()[:3], here.value("side_"), here.value("this->area()"), here.value("name_")]
    here.command("breakpoint delete -f")
    here.command("breakpoint set -E c++ -h false -w true")
    seen += [here.cont().split(" in ")[0], [frame for frame in here.frames() if "Circle" in frame]]
    here.command("breakpoint delete -f")
    here.break_at(caught)
    seen += [here.cont(), here.frames()]
    here.command("breakpoint delete -f")
    point = here.target.BreakpointCreateBySourceRegex("std::thread worker", lldb.SBFileSpec("shapes.cc"))
    seen.append(point.GetNumLocations())
    stop = here.cont()
    while here.process.GetNumThreads() == 1 and not stop.startswith("exited"):
        stop = here.cont()
    seen.append(stop)
    if not stop.startswith("exited"):
        seen += [here.process.GetNumThreads(), here.thread.GetIndexID()]
        here.command("breakpoint delete -f")
        seen.append(here.cont())
    seen.append(here.printed)
    return seen


def rust(here, program, end):
    here.program(program)
    handle = here.break_at("queue::Worker::handle")
    here.launch()
    seen = []
    for _ in range(3):
        seen += [here.stop(), here.thread.GetName(), here.command("frame variable self->done self->last")]
        here.command("thread step-over")
        seen += [here.stop(), here.command("frame variable self->done")]
        if len(seen) < 15:
            here.cont()
    here.command("thread step-out")
    seen.append(here.stop().split(" in ")[0])
    here.target.BreakpointDelete(handle.GetID())
    here.break_at(end)
    seen += [here.cont(), here.frames()[0], here.value("last"), here.value("top")]
    here.command("breakpoint delete -f")
    seen += [here.cont(), here.printed]
    return seen


def io_files(tmp):
    (tmp / "in").write_text("one\ntwo words\n")
    return "/bin/sh", str(tmp / "in"), str(tmp / "out")


SESSIONS = {
    "registers": (registers, lambda p, tmp: (p.c("registers"),)),
    "input-and-output": (input_and_output, lambda p, tmp: io_files(tmp)),
    "breakpoints-and-steps": (breakpoints_and_steps, lambda p, tmp: (p.c("basic"), at("basic.c", "loop-body"), at("basic.c", "loop-end"))),
    "expressions": (expressions, lambda p, tmp: (p.c("basic"),)),
    "memory": (memory, lambda p, tmp: (p.c("basic"),)),
    "threads": (threads, lambda p, tmp: (p.c("threads"), at("threads.c", "main-ready"))),
    "signals": (signals, lambda p, tmp: (p.c("signals"),)),
    "watchpoints": (watchpoints, lambda p, tmp: (p.c("watch"), at("watch.c", "write-one"))),
    "watch-modes": (watch_modes, lambda p, tmp: (p.c("watch"), at("watch.c", "write-one"))),
    "c++": (cxx, lambda p, tmp: (p.cxx("shapes"), at("shapes.cc", "caught"))),
    "rust": (rust, lambda p, tmp: (p.rust("queue"), at("queue.rs", "queue-end"))),
    "save-core": (save_core, lambda p, tmp: (p.c("basic"), str(tmp))),
    "surroundings": (surroundings, lambda p, tmp: (p.c("environ"), str(tmp))),
    "fork-parent": (forks, lambda p, tmp: (p.c("forks"), "parent", "fork")),
    "fork-child": (forks, lambda p, tmp: (p.c("forks"), "child", "fork")),
    "vfork-parent": (forks, lambda p, tmp: (p.c("forks"), "parent", "vfork")),
    "exec": (exec_other, lambda p, tmp: (p.c("forks"), p.c("basic"), "exec")),
    "kill": (kill_it, lambda p, tmp: (p.c("basic"),)),
}


@pytest.mark.parametrize("name", SESSIONS)
def test_as_with_lldb_server(lldb_both, programs, tmp_path, name):
    scenario, arguments = SESSIONS[name]
    ours, theirs = lldb_both(scenario, *arguments(programs, tmp_path))
    assert ours == theirs


def attach_and_look(here, program, pid):
    here.program(program)
    here.attach(pid)
    seen = [here.stop().split(" in ")[0], here.process.GetNumThreads()]
    here.break_at("tick", "others[0] > 20")
    seen.append(here.cont())
    here.command("thread step-out")
    seen.append(here.stop().split(" in ")[0])
    here.command("breakpoint delete -f")
    seen += [here.value("(int)getpid()") == str(pid), here.value("leave")]
    inside.check(here.process.Detach())
    return seen


def test_attach_as_with_lldb_server(lldb_both, lldb, programs, debuggee):
    seen = []
    for server in (None, peer(lldb.name)):
        target = debuggee(programs.c("counter"), "threads", "3")
        target.readline()
        seen.append(lldb.run(attach_and_look, programs.c("counter"), target.pid, server=server))
        wait.until(lambda: process.tracer(target.pid) == 0, "it to be let go")
        assert process.is_alive(target.pid) and not process.changed_text(target.pid)
    assert seen[0] == seen[1] and seen[0][1] == 4


def test_files_have_the_identity_that_lldb_server_gives_them(lldb_both, lldb, made, serve, tmp_path):
    """With a build id, without one, with a link to a file of symbols, a Go program."""
    source = tmp_path / "empty.c"
    source.write_text("int main(void) { return 0; }\n")
    files = {name: str(tmp_path / name) for name in ("with", "without", "linked", "symbols")}
    for name, flags in (("with", ["-Wl,--build-id"]), ("without", ["-Wl,--build-id=none"]), ("linked", ["-g", "-Wl,--build-id=none"])):
        subprocess.run(["gcc", *flags, "-o", files[name], source], check=True)
    subprocess.run(["objcopy", "--only-keep-debug", files["linked"], files["symbols"]], check=True)
    subprocess.run(["objcopy", "--strip-debug", "--add-gnu-debuglink=" + files["symbols"], files["linked"]], check=True)
    seen = []
    for path in (None, peer(lldb.name)):
        port = free_port()
        serve("gdbserver", f"127.0.0.1:{port}", "--", files["with"], listens=False, path=path)
        client = made.add(wait.until(lambda: connected(port), "the server"))
        client.ask("QThreadSuffixSupported")
        identities = []
        for file in files.values():
            answer = client.ask(f"qModuleInfo:{os.fsencode(file).hex()};{b'x86_64-pc-linux-gnu'.hex()}").decode()
            fields = dict(part.split(":", 1) for part in answer.split(";") if part)
            identities.append([fields[key] for key in ("uuid", "file_path", "file_offset", "file_size")])
        asked = [{"file": file, "triple": "x86_64-pc-linux-gnu"} for file in files.values()]
        answer = json.loads(client.ask("jModulesInfo:" + json.dumps(asked)))
        seen.append([identities, [[one[key] for key in ("uuid", "file_path", "file_offset", "file_size")] for one in answer]])
    assert seen[0] == seen[1] and len(seen[0][1]) == 4


def connected(port):
    try:
        return rsp.Rsp(port)
    except ConnectionRefusedError:
        return None


def test_exec_of_a_thread(lldb, programs):
    """lldb-server hangs here."""
    assert lldb.run(exec_other, programs.c("forks"), programs.c("basic"), "threadexec") == [
        "exec", f"breakpoint 1.1 in main basic.c:{line('basic.c', 'main-first')}", "exited 4", "total 1018 pair 2\n"]


def test_registers(lldb, programs):
    seen = lldb.run(registers, programs.c("registers"))
    assert seen[:5] == ["0x1122334455667788", "0x55667788", "0x7788", "0x88", "0x77"]
    assert seen[5:7] == [list(range(1, 17)), list(range(1, 33))]
    assert seen[7][:2] == ["General Purpose Registers", "Floating Point Registers"]
    assert seen[8:11] == ["0x10203040506070ff", list(range(100, 132)), list(range(100, 116))]
    assert seen[11:14] == [True, True, True]
    # What was written is what the program has stored.
    assert seen[14] == list(range(100, 132)) and int(seen[15]) == 0x10203040506070FF and seen[16] == "exited 19"
