"""Fixtures for the tests with real processes (client/, fault/): what a test names in its arguments is made for it and taken away after it."""
import collections
import os
import sys
import zlib

import pytest

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "client"))

from harness import process, rsp, where  # noqa: E402
from harness import lldb as real_lldb  # noqa: E402
from harness.dlv import Dlv, DlvAdapter  # noqa: E402
from harness.gdb import Gdb  # noqa: E402
from harness.programs import Programs  # noqa: E402
from harness.server import Stopgo  # noqa: E402

GDBS = ("gdb13", "gdb18")
LLDBS = ("lldb19", "lldb21")
# Each Delve with the release of Go whose programs it knows.
DLVS = {"dlv1.20": "go1.19", "dlv1.27": "go1.27"}


def pytest_configure(config):
    config.addinivalue_line("markers", "stopgo_only(why): not a property of gdbserver")
    config.addinivalue_line("markers", "quick: also run against the build with sanitizers")
    config.addinivalue_line("markers", "peer_fails(why): gdbserver 13 fails this; expected to pass with stopgo")
    config.addinivalue_line("markers", "gdbs(*names): the gdb versions to run with")
    config.addinivalue_line("markers", "lldbs(*names): the lldb versions to run with")


def pytest_report_header(config):
    there = [name for name in (*GDBS, *LLDBS, *DLVS, *where.GO_RELEASES) if where.has_tool(name)]
    return [f"server: {where.server_path()}", "tools: " + " ".join(there)]


def pytest_generate_tests(metafunc):
    if "gdb_name" in metafunc.fixturenames:
        marker = metafunc.definition.get_closest_marker("gdbs")
        metafunc.parametrize("gdb_name", marker.args if marker else GDBS)
    if "lldb_name" in metafunc.fixturenames:
        marker = metafunc.definition.get_closest_marker("lldbs")
        metafunc.parametrize("lldb_name", marker.args if marker else LLDBS)
    if "dlv_name" in metafunc.fixturenames:
        metafunc.parametrize("dlv_name", DLVS)


def take_share(config, items):
    """STOPGO_TEST_SHARE=K/N runs the K-th of N parts, so that N runs side by side make the whole: a session mostly waits."""
    part, parts = map(int, os.environ.get("STOPGO_TEST_SHARE", "1/1").split("/"))
    ours, others = [], []
    for item in items:
        (ours if zlib.crc32(item.nodeid.encode()) % parts == part - 1 else others).append(item)
    if others:
        config.hook.pytest_deselected(items=others)
        items[:] = ours


def pytest_collection_modifyitems(config, items):
    take_share(config, items)
    for item in items:
        only = item.get_closest_marker("stopgo_only")
        if only and where.is_peer():
            item.add_marker(pytest.mark.skip(reason="not gdbserver's: " + only.args[0]))
        fails = item.get_closest_marker("peer_fails")
        if fails and where.is_peer():
            item.add_marker(pytest.mark.xfail(reason="gdbserver: " + fails.args[0], strict=False))


@pytest.fixture(scope="session")
def programs(tmp_path_factory):
    kept = os.environ.get("STOPGO_TEST_PROGRAMS")
    if kept:
        os.makedirs(kept, exist_ok=True)
    return Programs(kept or tmp_path_factory.mktemp("programs"))


class Made(collections.UserList):
    """What a test started; ended in the opposite order."""

    def add(self, thing):
        self.append(thing)
        return thing

    def close(self):
        first = None
        for thing in reversed(self.data):
            try:
                thing.close()
            except Exception as error:      # one that will not end must not keep the others
                first = first or error
        if first:
            raise first


@pytest.fixture
def made(request):
    things = Made()
    request.node.made = things
    yield things
    things.close()


@pytest.fixture
def serve(made):
    """serve(args…) starts the server under test; serve.launch(program, …) launches a program once on a free port."""
    def start(*args, **kwargs):
        return made.add(Stopgo(args, **kwargs))

    def launch(program, *args, options=("--once",), **kwargs):
        return start(*options, "127.0.0.1:0", program, *args, **kwargs)

    def attach(pid, options=("--once",), **kwargs):
        return start(*options, "--attach", "127.0.0.1:0", pid, **kwargs)

    def multi(options=(), **kwargs):
        return start("--multi", *options, "127.0.0.1:0", **kwargs)

    start.launch, start.attach, start.multi = launch, attach, multi
    return start


@pytest.fixture
def new_gdb(made, gdb_name):
    """new_gdb(program) starts a gdb of the version that the test is run with."""
    where.tool(gdb_name)
    return lambda program=None, **kwargs: made.add(Gdb(gdb_name, program, **kwargs))


@pytest.fixture
def dlv(made, dlv_name, programs):
    """dlv("exec", program, …) starts a Delve on the server under test; backend="native" one on its own; dlv.adapter() one for
    an IDE. dlv.go("calls") is a program of test/fixtures built by the release of Go that goes with this Delve."""
    where.tool(dlv_name)

    def start(*args, **kwargs):
        return made.add(Dlv(dlv_name, *args, **kwargs))
    start.adapter = lambda **kwargs: made.add(DlvAdapter(dlv_name, **kwargs))
    start.go = lambda name, **kwargs: programs.go(name, DLVS[dlv_name], **kwargs)
    return start


@pytest.fixture
def lldb(made, lldb_name):
    """A real lldb of the version that the test is run with; lldb.run(scenario, …) starts the server under test for it."""
    return made.add(real_lldb.Lldb(lldb_name))


@pytest.fixture
def lldb_both(lldb):
    """lldb_both(scenario, …): what the scenario saw with the server under test, and with lldb's own."""
    peer = real_lldb.peer(lldb.name)
    if not peer:
        pytest.skip("lldb-server of " + lldb.name + " is not installed (tools/setup)")
    return lambda scenario, *args: (lldb.run(scenario, *args), lldb.run(scenario, *args, server=peer))


@pytest.fixture
def session(serve, new_gdb):
    """session(program, args…): (gdb, server), connected to the program's first instruction."""
    def start(program, *args, options=("--once",), gdb_options=None, before=(), **kwargs):
        server = serve.launch(program, *args, options=options, **kwargs)
        gdb = new_gdb(program, **(gdb_options or {}))
        for command in before:
            gdb.cli(command)
        gdb.connect(server)
        return gdb, server
    return start


@pytest.fixture
def at_main(session):
    """at_main(program, args…): the same, run to main."""
    def start(program, *args, **kwargs):
        gdb, server = session(program, *args, **kwargs)
        gdb.run_to("main")
        return gdb, server
    return start


@pytest.fixture
def debuggee(made):
    return lambda *command, **kwargs: made.add(process.Debuggee([str(word) for word in command], **kwargs))


@pytest.fixture
def running(debuggee, programs):
    """running(args…): a counting process that has said that it is ready, with .ticks()."""
    def start(*args, **kwargs):
        made = debuggee(programs.c("counter"), *args, **kwargs)
        address = int(made.readline().split()[1], 16)
        made.ticks = lambda: process.word(made.pid, address)
        return made
    return start


@pytest.fixture(params=("go1.19", "newest"))
def release(request):
    """The oldest and the newest release of Go there are."""
    if request.param == "newest":
        if where.newest_go() == "go1.19":
            pytest.skip("no Go newer than 1.19 is there (tools/toolchains)")
        return where.newest_go()
    return request.param


@pytest.fixture
def new_rsp(made):
    return lambda server, **kwargs: made.add(rsp.Rsp(server.port, **kwargs))


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    """A failure shows what was said on every line of the session."""
    report = (yield).get_result()
    if not report.failed:
        return
    for thing in getattr(item, "made", ()):
        if hasattr(thing, "transcript"):
            lines = [line[:400] for line in thing.transcript if not line.startswith('< ~"Reading ')]
            report.sections.append((f"{type(thing).__name__} transcript", "\n".join(lines[-40:])))
        if isinstance(thing, Stopgo):
            text = f"{' '.join(thing.command)}\n{thing.err.text}"
            report.sections.append(("server", text + f"\nstdout: {thing.out.text[-2000:]}"))
