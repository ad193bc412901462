"""What IDEs send, with the configurations of packaging/ides.md: read out of the page, given to the real gdb, lldb-dap and Delve."""
import json
import os
import re

import pytest

from harness import process, wait, where
from harness.dap import Dap, DapError
from harness.dlv import free_port
from harness.gdb import GdbError
from harness.programs import at, line

PAGE = where.ROOT / "packaging" / "ides.md"

pytestmark = pytest.mark.stopgo_only("its page")


# --- the page ---

def blocks(section, language):
    """The fenced texts of a section."""
    match = re.search(rf"^## {re.escape(section)}\n(.*?)(?=^## |\Z)", PAGE.read_text(), re.M | re.S)
    assert match, f"the page has no section {section}"
    return re.findall(rf"^```{language}\n(.*?)^```", match.group(1), re.M | re.S)


def configuration(section, number=0, **names):
    """A JSON configuration with its variables replaced: the program, the address."""
    text = blocks(section, "json")[number]
    for before, after in (("${workspaceFolder}/prog", names.get("program", "")), ("$ZED_WORKTREE_ROOT/prog", names.get("program", "")),
                          ("${workspaceFolder}", "/tmp"), ("localhost:2345", names.get("address", "")),
                          ("127.0.0.1:2345", names.get("address", "")), ("/usr/bin/stopgo", where.server_path())):
        text = text.replace(before, str(after))
    return json.loads(text)


def start_server(serve, section, program, *args, number=0):
    """The server line of a section, with a free port and the test's program."""
    words = blocks(section, "sh")[number].split()
    assert words[0] == "stopgo"
    words = [re.sub(r"^(localhost|127\.0\.0\.1)?:2345$", "127.0.0.1:0", word) for word in words[1:]]
    return serve(*[program if word == "./prog" else word for word in words], *args)


@pytest.mark.quick
def test_every_configuration_is_json():
    sections = re.findall(r"^## (.*)$", PAGE.read_text(), re.M)
    found = [json.loads(text) for section in sections for text in blocks(section, "json")]
    assert len(found) >= 9
    named = {link for link in re.findall(r"\(#([^)]*)\)", PAGE.read_text())}
    assert named <= {re.sub(r"[^\w -]", "", name.lower()).replace(" ", "-") for name in sections}


# --- programs: one whose threads are the kernel's, one whose threads are goroutines ---

PROGRAMS = {
    "c": {"source": "counter.c", "args": ["threads", "2"], "function": "tick", "mark": "tick-body", "threads": 3,
          "caller": "main", "value": "ticks"},
    "go": {"source": "gosteps/main.go", "args": ["many", "5"], "function": "main.tick", "mark": "tick", "threads": 6,
           "caller": "main.main", "value": "n"},
}


class Course:
    """What is debugged and where."""

    def __init__(self, programs, kind, release="go1.19"):
        self.__dict__.update(PROGRAMS[kind])
        self.program = programs.c("counter") if kind == "c" else programs.go("gosteps", release)
        self.is_go = kind == "go"
        self.file = os.path.basename(self.source)
        self.path = str(where.FIXTURES / ("c/counter.c" if kind == "c" else self.source))
        self.line = line(self.file if kind == "c" else self.source, self.mark)
        self.place = f"{self.file}:{self.line}"


@pytest.fixture(params=PROGRAMS)
def course(programs, request):
    return Course(programs, request.param)


# --- GDB/MI: the order of commands of four IDEs ---

class Cppdbg:
    """MIEngine of VS Code's C/C++ extension."""
    section = "VS Code, C/C++ extension"

    def begin(self, gdb, course, server):
        settings = configuration(self.section, program=course.program, address=server.address)
        for text in ("-gdb-set mi-async on", "-gdb-set pagination off", "-gdb-set auto-solib-add on", "-gdb-set solib-search-path /tmp",
                     f"-gdb-set cwd {settings['cwd']}"):
            gdb.mi(text)
        for command in settings["setupCommands"]:
            gdb.mi(command["text"]) if command["text"].startswith("-") else gdb.cli(command["text"])
        gdb.mi(f"-file-exec-and-symbols {settings['program']}")
        assert "architecture" in gdb.cli("show architecture")
        gdb.mi(f"-target-select remote {settings['miDebuggerServerAddress']}")
        assert gdb.stops, "no *stopped before ^connected"
        gdb.stops.clear()
        gdb.mi("-thread-info")

    def look(self, gdb, thread):
        seen = {}
        for row in gdb.mi("-thread-info")["threads"]:
            seen[int(row["id"])] = (row, gdb.mi(f"-stack-list-frames --thread {row['id']} 0 1000")["stack"])
        gdb.mi(f"-stack-list-arguments --thread {thread} 0 0 10")
        names = [variable["name"] for variable in gdb.mi(f"-stack-list-variables --thread {thread} --frame 0 0")["variables"]]
        # The results of a Go function, ~r0, are no expressions: MIEngine shows the error.
        for name in filter(str.isidentifier, names):
            made = gdb.mi(f"-var-create --thread {thread} --frame 0 - * {name}")
            gdb.mi(f"-var-evaluate-expression {made['name']}")
            gdb.mi(f"-var-delete {made['name']}")
        gdb.mi("-data-list-register-values --skip-unavailable x")
        return seen

    def break_at(self, gdb, place):
        return int(gdb.mi(f"-break-insert -f {place}")["bkpt"]["number"])

    def go_on(self, gdb):
        gdb.mi("-exec-continue")

    def pause(self, gdb):
        gdb.mi("-exec-interrupt")

    def step(self, gdb, what, thread):
        gdb.mi(f"-exec-{what} --thread {thread}")

    def evaluate(self, gdb, thread, text):
        return gdb.mi(f'-data-evaluate-expression --thread {thread} --frame 0 "{text}"')["value"]

    def end(self, gdb):
        gdb.cli("kill")


class CLion(Cppdbg):
    section = "CLion"

    def begin(self, gdb, course, server):
        for command in blocks(self.section, "gdb")[0].splitlines():
            gdb.cli(command)
        gdb.mi("-gdb-set mi-async on")
        gdb.mi("-enable-pretty-printing")
        gdb.mi(f"-file-exec-and-symbols {course.program}")
        gdb.cli("set sysroot /")
        gdb.cli(f"target remote tcp:{server.address}")
        assert gdb.stops.pop(0).addr

    def look(self, gdb, thread):
        seen = {}
        for row in gdb.mi("-thread-info")["threads"]:
            gdb.mi(f"-thread-select {row['id']}")
            seen[int(row["id"])] = (row, gdb.mi("-stack-list-frames 0 99")["stack"])
        gdb.mi(f"-thread-select {thread}")
        gdb.mi("-stack-select-frame 0")
        gdb.mi("-stack-list-variables --skip-unavailable --simple-values")
        return seen


class QtCreator(Cppdbg):
    """Its helpers run inside gdb's Python; what they ask the server for is what these commands ask for."""
    section = "Qt Creator"

    def begin(self, gdb, course, server):
        for text in ("breakpoint pending on", "print elements 10000", "unwindonsignal on", "width 0", "height 0",
                     "print object on", "detach-on-fork on", "step-mode off"):
            gdb.cli("set " + text)
        gdb.mi("-gdb-set mi-async on")
        gdb.mi(f"-file-exec-and-symbols {course.program}")
        gdb.cli(f"target {self.kind} {server.address}")
        gdb.stops.clear()

    kind = "remote"

    def look(self, gdb, thread):
        gdb.cli("info sharedlibrary")
        seen = {}
        text = gdb.python("for t in gdb.selected_inferior().threads(): print(t.num, t.ptid, t.name)")
        assert text.count("\n") == len(gdb.mi("-thread-info")["threads"])
        for row in gdb.mi("-thread-info")["threads"]:
            gdb.mi(f"-thread-select {row['id']}")
            seen[int(row["id"])] = (row, gdb.mi("-stack-list-frames 0 20")["stack"])
        gdb.mi(f"-thread-select {thread}")
        gdb.mi("-data-list-register-values N")
        gdb.python("print(gdb.selected_frame().find_sal().line)")
        return seen


class Eclipse(Cppdbg):
    """CDT's DSF."""
    section = "Eclipse CDT"

    def begin(self, gdb, course, server):
        for text in ("-environment-cd /tmp", "-gdb-set breakpoint pending on", "-enable-pretty-printing", "-gdb-set python print-stack none",
                     "-gdb-set print object on", "-gdb-set print sevenbit-strings on", "-gdb-set host-charset UTF-8", "-gdb-set mi-async on",
                     "-gdb-set auto-solib-add on", "-list-thread-groups", "-gdb-show --thread-group i1 language"):
            gdb.mi(text)
        for command in blocks("CLion", "gdb")[0].splitlines():
            gdb.cli(command)
        gdb.mi(f"-file-exec-and-symbols --thread-group i1 {course.program}")
        gdb.mi(f"-target-select remote {server.address}")
        gdb.stops.clear()
        assert gdb.mi("-list-thread-groups i1")["threads"]

    def look(self, gdb, thread):
        seen = {}
        groups = gdb.mi("-list-thread-groups")["groups"]
        assert groups[0]["type"] == "process" and groups[0]["pid"]
        for row in gdb.mi("-list-thread-groups i1")["threads"]:
            info = gdb.mi(f"-thread-info {row['id']}")["threads"][0]
            depth = int(gdb.mi(f"-stack-info-depth --thread {row['id']} 11")["depth"])
            frames = gdb.mi(f"-stack-list-frames --thread {row['id']} 0 {depth - 1}")["stack"]
            seen[int(row["id"])] = (info, frames)
        gdb.mi(f"-stack-list-locals --thread {thread} --frame 0 1")
        gdb.mi(f"-data-list-register-names --thread {thread}")
        gdb.mi(f"-data-list-register-values --thread {thread} --frame 0 N 0 1 2 16")
        return seen

    def go_on(self, gdb):
        gdb.mi("-exec-continue --thread-group i1")

    def pause(self, gdb):
        gdb.mi("-exec-interrupt --thread-group i1")

    def step(self, gdb, what, thread):
        gdb.mi(f"-exec-{what} --thread {thread}" + ("" if what == "finish" else " 1"))

    def end(self, gdb):
        gdb.cli("kill")


MI_IDES = {"cppdbg": Cppdbg, "clion": CLion, "qtcreator": QtCreator, "eclipse": Eclipse}


def threads_are_right(course, seen, stop_thread):
    """Everyone is there with frames; in Go, those who wait are goroutines of the user's."""
    assert stop_thread in seen
    assert all(frames for _, frames in seen.values())
    if course.is_go:
        waiters = [frames for _, frames in seen.values() if any(frame.get("func") == "main.waiter" for frame in frames)]
        assert len(waiters) == 5 and "main.waiter" in str([row for row, _ in seen.values()])
    assert len(seen) >= course.threads


@pytest.mark.parametrize("ide", MI_IDES)
def test_session_over_mi(serve, new_gdb, course, ide):
    ide = MI_IDES[ide]()
    multi = ide.section == "Qt Creator"
    server = start_server(serve, ide.section if not multi else "CLion", course.program, *course.args)
    gdb = new_gdb()
    ide.begin(gdb, course, server)
    ide.break_at(gdb, course.function)
    ide.go_on(gdb)
    stop = gdb.expect_breakpoint_stop(course.function)
    threads_are_right(course, ide.look(gdb, stop.thread), stop.thread)
    first = stop.thread
    for what, func in (("next", course.function), ("finish", course.caller), ("step", None)):
        ide.step(gdb, what, stop.thread)
        stop = gdb.expect_stop()
        assert stop.thread == first and func in (None, stop.func), stop
        threads_are_right(course, ide.look(gdb, stop.thread), stop.thread)
    assert ide.evaluate(gdb, first, "1 + 1") == "2"
    gdb.delete()

    # While it runs: interrupted, a breakpoint set, on again.
    for _ in range(3):
        ide.go_on(gdb)
        ide.pause(gdb)
        stop = gdb.expect_signal("SIGINT")
    ide.break_at(gdb, course.place)
    ide.go_on(gdb)
    stop = gdb.expect_breakpoint_stop(course.function)
    value = int(ide.evaluate(gdb, stop.thread, course.value))
    ide.go_on(gdb)
    stop = gdb.expect_breakpoint_stop(course.function)
    assert int(ide.evaluate(gdb, stop.thread, course.value)) == value + 1
    threads_are_right(course, ide.look(gdb, stop.thread), stop.thread)
    ide.end(gdb)
    assert server.wait_exit() == 0


def test_breakpoint_while_running_without_a_stop(serve, new_gdb, course):
    """gdb in mi-async mode sets it and the program goes on to it."""
    server = start_server(serve, "CLion", course.program, *course.args)
    gdb = new_gdb(course.program, mi_async=True)
    gdb.cli("set print thread-events off")
    gdb.connect(server)
    gdb.mi("-exec-continue")
    server.err.find("Remote debugging from host")
    try:
        gdb.break_at(course.place)
    except GdbError as error:
        # In all-stop mode gdb 13 needs it stopped.
        assert "while the target is running" in str(error) or "Cannot access memory" in str(error)
        gdb.mi("-exec-interrupt")
        gdb.expect_signal("SIGINT")
        gdb.break_at(course.place)
        gdb.mi("-exec-continue")
    gdb.expect_breakpoint_stop(course.function)
    gdb.kill()


@pytest.mark.parametrize("section", ["VS Code, C/C++ extension", "Qt Creator"])
def test_attach_over_mi(serve, new_gdb, programs, course, debuggee, section):
    """useExtendedRemote and processId; Qt Creator's device processes."""
    target = debuggee(course.program, *course.args)
    if course.is_go:        # while it is stopped no more come
        begun = programs.symbol(course.program, "main.begun")
        wait.until(lambda: process.word(target.pid, begun) == 5, "its goroutines")
    else:
        target.readline()
    server = start_server(serve, section, course.program, number=-1)
    gdb = new_gdb()
    settings = configuration("VS Code, C/C++ extension", 2, program=course.program, address=server.address)
    assert settings["useExtendedRemote"]
    gdb.mi("-gdb-set mi-async on")
    gdb.mi(f"-file-exec-and-symbols {settings['program']}")
    gdb.mi(f"-target-select extended-remote {settings['miDebuggerServerAddress']}")
    for _ in range(2):
        gdb.mi(f"-target-attach {target.pid}")
        gdb.expect_stop()
        wait.until(lambda: len(gdb.mi("-thread-info")["threads"]) >= course.threads, "the threads")
        gdb.mi(f"-break-insert -f {course.place}")
        gdb.mi("-exec-continue")
        stop = gdb.expect_breakpoint_stop(course.function)
        threads_are_right(course, Cppdbg().look(gdb, stop.thread), stop.thread)
        gdb.delete()
        gdb.mi("-target-detach")
        wait.until(lambda: process.tracer(target.pid) == 0, "it to be let go")
        assert process.is_alive(target.pid) and not process.changed_text(target.pid)
    assert server.is_running()


# --- what IDEs read ---

def test_server_that_vs_code_starts(serve, new_gdb, programs):
    """MIEngine waits for a line of standard error that matches serverStarted."""
    port = free_port()
    settings = configuration("VS Code, C/C++ extension", 1, program=programs.c("basic"), address=f"localhost:{port}")
    assert settings["debugServerPath"] == "stopgo" and settings["filterStderr"] and not settings["filterStdout"]
    server = serve(*settings["debugServerArgs"].split(), listens=False)
    server.err.find(settings["serverStarted"])
    gdb = new_gdb(programs.c("basic"))
    gdb.mi(f"-target-select remote {settings['miDebuggerServerAddress']}")
    gdb.stops.clear()
    gdb.run_to("main")
    gdb.cont()
    gdb.expect_exit(3)
    assert server.wait_exit() == 0


def test_port_that_the_cdt_adapter_finds(serve, new_gdb, programs):
    settings = configuration("CDT GDB adapter", program=programs.c("basic"), address="localhost:0")
    words = [word.replace("localhost:0", "127.0.0.1:0") for word in settings["target"]["serverParameters"]]
    server = serve(*words)
    port = re.search(r"Listening on port ([0-9]+)\r?\n", server.out.text + server.err.text).group(1)
    gdb = new_gdb(settings["program"])
    gdb.mi(f"-target-select remote localhost:{port}")
    gdb.kill()
    assert server.wait_exit() == 0


def test_first_line_names_the_process(serve, programs):
    """pwntools takes the last word of the first line, and of the line about the port."""
    server = serve.launch(programs.c("basic"))
    first = server.err.text.split("\n")[0]
    assert os.path.exists(f"/proc/{int(first.split()[-1])}") and not first.startswith("ERROR:")
    assert int(server.err.find("^Listening on port.*$").group().split()[-1]) == server.port


# --- debug adapters ---

def adapter_session(dap, course, settings, pause_reason=("pause", "exception", "signal", "SIGSTOP", "SIGINT"), count=None, value=None):
    """What VS Code sends: breakpoints before the program runs, everything it shows at each stop, a pause, breakpoints while
    it runs, the end."""
    capabilities = dap.ask("initialize", clientID="vscode", adapterID=settings.get("type", "gdb"), pathFormat="path", linesStartAt1=True,
                           columnsStartAt1=True, supportsVariableType=True, supportsRunInTerminalRequest=False, locale="en")
    start = dap.send(settings["request"], **{key: val for key, val in settings.items() if key not in ("request", "type", "name")})
    dap.event("initialized", unless=start)
    source = {"path": course.path, "name": course.file}
    points = dap.ask("setBreakpoints", source=source, breakpoints=[{"line": course.line}], lines=[course.line], sourceModified=False)
    assert len(points["breakpoints"]) == 1
    dap.ask("setExceptionBreakpoints", filters=[])
    if capabilities.get("supportsConfigurationDoneRequest"):
        dap.ask("configurationDone")
    dap.answer(start)
    dap.ask("threads")      # lldb's adapter answers the first time with those of the beginning
    stop = stopped_at(dap, course, "breakpoint")
    seen = [look(dap, course, stop, count)]
    for command in ("next", "stepOut", "stepIn"):
        dap.ask(command, threadId=stop["threadId"])
        stop = dap.event("stopped")
        assert stop["reason"] in ("step", "breakpoint"), stop
        seen.append(look(dap, course, stop, count))
    assert seen[0][0] == course.function and seen[1][0] == course.function and seen[2][0] in (course.caller, course.function)
    dap.ask("setBreakpoints", source=source, breakpoints=[], lines=[])

    # Paused where it is, then stopped by a breakpoint that was set while it ran.
    dap.forget_events("stopped")
    dap.ask("continue", threadId=stop["threadId"])
    paused = pause(dap, stop["threadId"])
    assert paused["reason"] in pause_reason, paused
    look(dap, course, paused, count)
    # An adapter sends one event for each thread that has a reason to have stopped.
    dap.forget_events("stopped")
    dap.ask("continue", threadId=paused.get("threadId", stop["threadId"]))
    set_while_running(dap, source, course, stop)
    stop = stopped_at(dap, course, "breakpoint")
    frame = dap.ask("stackTrace", threadId=stop["threadId"], startFrame=0, levels=20)["stackFrames"][0]
    if value:
        first = int(dap.ask("evaluate", expression=value, frameId=frame["id"], context="watch")["result"])
        dap.ask("continue", threadId=stop["threadId"])
        stop = stopped_at(dap, course, "breakpoint")
        frame = dap.ask("stackTrace", threadId=stop["threadId"], startFrame=0, levels=20)["stackFrames"][0]
        assert int(dap.ask("evaluate", expression=value, frameId=frame["id"], context="hover")["result"]) == first + 1
    return seen


def pause(dap, thread):
    """lldb's adapter drops a pause that comes before it has heard that the program runs: a person presses the key again."""
    for _ in range(5):
        dap.ask("pause", threadId=thread)
        try:
            return dap.event("stopped", limit=wait.LIMIT / 5)
        except wait.TimedOut:
            continue
    raise wait.TimedOut("the adapter does not pause")


def set_while_running(dap, source, course, stop):
    """gdb's adapter sets nothing while the program runs: IDEs let a person pause and try again."""
    points = dap.ask("setBreakpoints", source=source, breakpoints=[{"line": course.line}], lines=[course.line])
    if not any(point.get("verified") for point in points["breakpoints"]):
        paused = pause(dap, stop["threadId"])
        dap.ask("setBreakpoints", source=source, breakpoints=[{"line": course.line}], lines=[course.line])
        dap.ask("continue", threadId=paused.get("threadId", stop["threadId"]))


def stopped_at(dap, course, reason):
    """The next stop at the breakpoint; a stop at the program's first instruction or by an interrupt is passed."""
    for _ in range(4):
        stop = dap.event("stopped")
        # lldb's adapter leaves the reason out where the program runs again already.
        if stop.get("reason") == reason:
            return stop
        try:
            dap.ask("continue", threadId=stop["threadId"])
        except DapError as error:
            # lldb's adapter has let it run by itself.
            assert str(error) == "notStopped" or "already running" in str(error)
    raise AssertionError("no stop at the breakpoint")


def look(dap, course, stop, count):
    """Threads, the stack of each, scopes and variables of the one that stopped: the functions of its stack."""
    threads = dap.ask("threads")["threads"]
    assert len(threads) >= (count or course.threads), threads
    stacks = {}
    for thread in threads:
        stacks[thread["id"]] = dap.ask("stackTrace", threadId=thread["id"], startFrame=0, levels=20)["stackFrames"]
        assert stacks[thread["id"]], thread
    if course.is_go:
        waiting = [thread for thread in threads if "main.waiter" in thread["name"]]
        assert len(waiting) == 5 or count, threads
    chosen = stop.get("threadId", threads[0]["id"])
    for scope in dap.ask("scopes", frameId=stacks[chosen][0]["id"])["scopes"]:
        if not scope.get("expensive"):
            dap.ask("variables", variablesReference=scope["variablesReference"])
    return [re.sub(r"\(.*", "", frame["name"]) if not frame["name"].startswith("(") else frame["name"] for frame in stacks[chosen]]


def gdb_adapter(made, section_command):
    words = re.findall(r'"([^"]*)"', re.search(r"args = \{(.*)\}", section_command).group(1))
    return made.add(Dap.spawn([where.tool("gdb18"), "-nx", *words]))


def lua_configuration(course, server):
    text = blocks("gdb's own adapter", "lua")[0]
    found = dict(re.findall(r"^    (\w+) = \"([^\"]*)\",$", text, re.M))
    return {**found, "program": course.program, "target": server.address} if found["target"] == "localhost:2345" else None


def test_adapter_of_gdb(serve, made, course):
    """nvim-dap's configuration."""
    server = start_server(serve, "gdb's own adapter", course.program, *course.args)
    dap = gdb_adapter(made, blocks("gdb's own adapter", "lua")[0])
    adapter_session(dap, course, lua_configuration(course, server), value=course.value)
    dap.ask("disconnect", terminateDebuggee=True)
    assert server.wait_exit() == 0


def test_other_clients_of_gdbs_adapter(course):
    """The same two words in the other clients' form."""
    zed = configuration("gdb's own adapter", program=course.program, address="localhost:2345")[0]
    assert (zed["request"], zed["program"], zed["target"]) == ("attach", course.program, "localhost:2345")
    dape = blocks("gdb's own adapter", "elisp")[0]
    assert ':request "attach"' in dape and ':target "localhost:2345"' in dape and "--interpreter=dap" in dape


@pytest.fixture(params=["19", "21"])
def lldb_dap(made, request):
    tool = where.tool("lldb-dap" + request.param)
    return lambda env=None: made.add(Dap.spawn([tool], env=env))


@pytest.mark.parametrize("number", [0, 1])
def test_adapter_of_lldb(serve, lldb_dap, course, number):
    """gdb-remote-port, and attachCommands."""
    for _ in range(20):
        server = start_server(serve, "VS Code, lldb-dap", course.program, *course.args)
        settings = configuration("VS Code, lldb-dap", number, program=course.program, address=server.address)
        if "gdb-remote-port" in settings:
            settings["gdb-remote-port"] = server.port
        dap = lldb_dap()
        try:
            # lldb has no expressions for Go.
            adapter_session(dap, course, settings, value=None if course.is_go else course.value)
            break
        except DapError as error:
            # The adapter of lldb 19 does not wait for what gdb-remote began: on a busy machine it is too early, with any server.
            assert str(error) == "process unloaded during launch or attach" and "attachCommands" in settings
    # Its answer is not waited for: the adapter of lldb 19 sometimes hangs once it has heard that the process is gone.
    dap.send("disconnect", terminateDebuggee=True)
    assert server.wait_exit() == 0


def test_adapter_of_lldb_starts_us(lldb_dap, course):
    settings = configuration("VS Code, lldb-dap", 2, program=course.program)
    settings["args"] = course.args
    dap = lldb_dap(settings.pop("debugAdapterEnv"))
    # Launched by lldb, as by lldb-server: the kernel's threads.
    adapter_session(dap, course, settings, count=1)
    pid = dap.event("process")["systemProcessId"]
    dap.send("disconnect", terminateDebuggee=True)
    wait.until(lambda: not process.is_alive(pid), f"the end of process {pid}")


def codelldb(here, create, connect, function, place):
    """What CodeLLDB does with its settings: commands, then breakpoints, then it goes on."""
    here.command(create[0])
    here.target = here.debugger.GetSelectedTarget()
    here.command(connect[0])
    here.process = here.target.GetProcess()
    seen = [here.stop().split(" in ")[0]]
    here.break_at(place)
    seen.append(here.cont().split(" in ")[1].split()[0])
    seen.append(sorted(len(here.frames(thread)) > 0 for thread in here.process))
    here.command("thread step-over")
    seen.append(here.stop().split(" in ")[0])
    here.process.Kill()
    return seen


def test_codelldb(serve, lldb, course):
    server = start_server(serve, "VS Code, CodeLLDB", course.program, *course.args)
    settings = configuration("VS Code, CodeLLDB", program=course.program, address=server.address)
    seen = lldb.run(codelldb, settings["targetCreateCommands"], settings["processCreateCommands"], course.function, course.place)
    assert seen[0] == "signal SIGSTOP" and seen[1] == course.function and seen[3] == "step over"
    assert all(seen[2]) and len(seen[2]) >= course.threads
    assert server.wait_exit() == 0


def test_delve_of_vs_code(made, dlv, programs, dlv_name):
    """The Go extension starts `dlv dap` with the configuration's variables and gives it the configuration."""
    course = Course(programs, "go", "go1.19" if dlv_name == "dlv1.20" else "go1.27")
    settings = configuration("VS Code, Go extension", program=course.program)
    settings["args"] = course.args
    server = dlv.adapter(env=settings.pop("env"))
    assert settings["backend"] == "lldb"
    dap = made.add(Dap.connect(server.port))
    adapter_session(dap, course, settings, value=course.value)
    words = [process.command_line(pid) for pid in process.descendants(server.process.pid)]
    assert any(where.server_path() in row for row in words), words
    dap.ask("disconnect", terminateDebuggee=True)
