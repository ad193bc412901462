"""What the server asks for is refused: memory, descriptors, processes, room on a disk. It says so, or lets everything go; it never
crashes or hangs, and the program is as if nobody had been there."""
import os
import resource
import shutil
import socket
import subprocess
import time

import pytest

from driver import GONE, Driver
from harness import process, wait, where
from harness.server import Stopgo
from stage import FALSE, LIMIT, PLAIN, Client, Puppet, Seed, condition, signal_of, thread_of, times, wait_gone

pytestmark = pytest.mark.stopgo_only("its errors")


@pytest.fixture
def starve(programs):
    """The environment of a server that does not get something."""
    library = programs.lib("starve", ("-ldl",))
    return lambda how: {"LD_PRELOAD": library, "STARVE": how}


def use(server, actor, seed, seconds):
    """Some seconds of what debuggers do; the server may hang up, but not be silent."""
    driver = None
    try:
        driver = Driver(server.port, actor, seed)
        driver.begin()
        driver.drive(time.monotonic() + seconds)
    except GONE:
        pass
    except wait.TimedOut:
        raise
    except AssertionError:
        pass            # an error where OK was expected
    finally:
        if driver:
            driver.close()


def ends_well(server):
    """One that had no memory for its client waits for another."""
    try:
        server.wait_exit(0.5)
    except wait.TimedOut:
        server.signal(15)
    assert wait_gone(server) in (0, 1, 3, 4), server.err.text


@pytest.mark.parametrize("count", (1, 3, 1000000), ids=("one", "three", "all"))
def test_memory(made, programs, starve, count):
    actor = made.add(Puppet(programs))
    seed = Seed()
    for _ in range(times(25)):
        at = int(2 ** (11 * seed.random()))
        print(f"from {at}, {count} of them")
        server = made.add(Stopgo(("--once", "--attach", "127.0.0.1:0", actor.pid), listens=False, env=starve(f"memory:{at}:{count}")))
        try:
            server.wait_listening()
            use(server, actor, seed, 0.1)
        except wait.TimedOut:
            assert server.err.ended, server.err.text        # it has ended, and has said why
            assert server.err.text.strip()
        ends_well(server)
        actor.assert_untouched()
        server.close()
        made.remove(server)


def short_session(server, actor):
    """What a person does in a minute; each packet is answered, or the client let go."""
    odd, watched = actor.at["odd"], actor.at["watched"]
    try:
        client = Client(server.port)
    except GONE + (AssertionError,):
        return          # an error where OK was expected
    try:
        first = client.begin(quiet=None)
        if first[:1] != b"T":
            return
        for body in (f"Z0,{odd:x},1", f"Z0,{actor.at['count']:x},1" + condition(FALSE)):
            client.ask(body, LIMIT)
        client.go_on(first)
        actor.tell("threads 8\nqueue 20\n")
        actor.owes += ["made", "queued"]
        stop = client.halt()
        for body in ("qXfer:threads:read::0,1000", "g", f"m{odd:x},40", f"Z2,{watched:x},8", f"Hg{actor.pid:x}", "qXfer:auxv:read::0,1000"):
            client.ask(body, LIMIT)
        for action in ("c", "s", "c"):
            number = signal_of(stop) if stop[:1] == b"T" else ""        # which may have come before the interrupt
            client.go(f"vCont;{action.upper()}{number}:{thread_of(stop)};c" if number else f"vCont;{action}")
            try:
                stop = client.stop_reply(0.2)
            except wait.TimedOut:
                stop = client.halt()
        for body in (f"z2,{watched:x},8", f"z0,{odd:x},1", "qRcmd," + b"help".hex(), "D;%x" % actor.pid):
            client.ask(body, LIMIT)
        assert stop
    except GONE:
        pass
    finally:
        client.close()


@pytest.mark.parametrize("what", ("memory", "descriptor"))
def test_each_in_turn(made, programs, starve, tmp_path, what):
    """Of a short session's allocations, or descriptors, each in turn is refused. STOPGO_FAULT_FACTOR=100: all, else some."""
    actor = made.add(Puppet(programs))
    actor.owes = []
    counted = tmp_path / "count"

    def run(at):
        print(f"{what} {at}")
        server = made.add(Stopgo(("--once", "--attach", "127.0.0.1:0", actor.pid), listens=False,
                                 env={**starve(f"{what}:{at}:1"), "STARVE_COUNT": str(counted)}))
        try:
            server.wait_listening()
            short_session(server, actor)
        except wait.TimedOut:
            assert server.err.ended, server.err.text
            assert server.err.text.strip()
        ends_well(server)
        while actor.owes:       # it made threads and sent signals meanwhile, if it came to that
            assert actor.hear() == actor.owes.pop(0)
        actor.assert_untouched()
        assert "lost=0 doubled=0" in actor.ask("signals")
        server.close()
        made.remove(server)

    run(10**9)
    count = int(counted.read_text())
    assert count > 20
    chosen = range(1, count + 1)
    seed = Seed()
    for at in sorted(seed.sample(chosen, min(count, times(60)))):
        run(at)


def test_files(made, programs, starve):
    """Opening files fails from somewhere on."""
    actor = made.add(Puppet(programs))
    seed = Seed()
    for at in range(1, 1 + times(30)):
        server = made.add(Stopgo(("--once", "--attach", "127.0.0.1:0", actor.pid), listens=False, env=starve(f"open:{at}")))
        try:
            server.wait_listening()
            use(server, actor, seed, 0.05)
        except wait.TimedOut:
            assert server.err.ended and server.err.text.strip(), server.err.text
        ends_well(server)
        actor.assert_untouched()
        server.close()
        made.remove(server)


@pytest.mark.parametrize("limit", range(4, 20))
def test_few_descriptors(made, programs, limit):
    actor = made.add(Puppet(programs))
    server = made.add(Stopgo(("--once", "--attach", "127.0.0.1:0", actor.pid), listens=False,
                             preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))))
    try:
        server.wait_listening()
    except wait.TimedOut:
        assert server.err.ended, server.err.text
        assert limit < 6 or server.err.text.strip()
    else:
        try:
            client = Client(server.port)
            client.begin()
            client.close()
        except GONE:
            server.signal(15)
    ends_well(server)
    actor.assert_untouched()


def test_fork(serve, programs, starve):
    server = serve.multi(env=starve("fork:1"))
    client = Client(server.port)
    client.begin("qSupported:multiprocess+;error-message+")
    reply = client.ask("vRun;" + programs.c("counter").encode().hex(), LIMIT)
    assert reply.startswith(b"E."), reply
    assert b"temporarily unavailable" in reply, reply
    assert client.ask("?") == b"W00"
    client.close()


@pytest.mark.parametrize("at", (1, 2, 4))
def test_seize(made, programs, starve, at):
    """The kernel, or a policy, says no to the first thread or to one in the middle."""
    actor = made.add(Puppet(programs))
    server = made.add(Stopgo(("--once", "--attach", "127.0.0.1:0", actor.pid), listens=False, env=starve(f"seize:{at}:1")))
    try:
        server.wait_listening()         # asked again, it was let
        server.signal(15)
    except wait.TimedOut:
        assert "Cannot attach" in server.err.text
    assert server.wait_exit(LIMIT) in (0, 1, 3)
    actor.assert_untouched()


@pytest.mark.skipif(os.geteuid() != 0 or not shutil.which("unshare"), reason="needs root and unshare")
def test_no_proc(made, programs):
    actor = made.add(Puppet(programs))
    done = subprocess.run(["unshare", "-m", "sh", "-c", 'mount -t tmpfs none /proc && exec "$0" "$@"',
                           where.server_path(), "--attach", "127.0.0.1:0", str(actor.pid)],
                          capture_output=True, text=True, timeout=4 * LIMIT, stdin=subprocess.DEVNULL)
    if "mount:" in done.stderr or "unshare:" in done.stderr:
        pytest.skip("no mount namespace to be had: " + done.stderr)
    assert done.returncode not in (0, -11, -6) and done.stderr.strip(), done
    actor.assert_untouched()


@pytest.mark.parametrize("streams", ((0,), (1,), (2,), (0, 1, 2)))
def test_closed_streams(made, programs, tmp_path, streams):
    """Started without some of its standard streams: they are nobody else's descriptors."""
    actor = made.add(Puppet(programs))
    path = tmp_path / "socket"
    server = made.add(Stopgo(("--once", "--attach", str(path), actor.pid), listens=False,
                             preexec_fn=lambda: [os.close(fd) for fd in streams]))
    wait.until(path.exists, "the socket", LIMIT)
    for fd in streams:
        wait.until(lambda: os.readlink(f"/proc/{server.pid}/fd/{fd}") == "/dev/null", "a stand-in", LIMIT)
    # SIGTERM is blocked and SIGUSR1 is not: when it starts its guard it blocks all of them for a moment.
    wait.until(lambda: int(process.status(server.pid, "SigBlk"), 16) & (1 << 14 | 1 << 9) == 1 << 14, "it to listen to signals", LIMIT)
    server.signal(15)
    assert wait_gone(server) == 0
    actor.assert_untouched()


@pytest.mark.parametrize("how", ("stderr", "file"))
def test_no_room_for_the_log(made, programs, how):
    """ENOSPC for every line of the log."""
    actor = made.add(Puppet(programs))
    seed = Seed()
    full = open("/dev/full", "w")
    options = ("--debug=all",) if how == "stderr" else ("--debug=all", "--debug-file=/dev/full")
    server = made.add(Stopgo(("--once", *options, "--attach", "127.0.0.1:0", actor.pid), listens=False,
                             preexec_fn=(lambda: os.dup2(full.fileno(), 2)) if how == "stderr" else None))
    wait_for_port(server)
    use(server, actor, seed, 0.2)
    ends_well(server)
    actor.assert_untouched()


def test_nobody_reads_stderr(made, programs):
    """EPIPE for everything it says."""
    actor = made.add(Puppet(programs))
    reads, writes = os.pipe()
    os.close(reads)
    server = made.add(Stopgo(("--once", "--debug=all", "--attach", "127.0.0.1:0", actor.pid), listens=False,
                             preexec_fn=lambda: os.dup2(writes, 2)))
    os.close(writes)
    wait_for_port(server)
    use(server, actor, Seed(), 0.2)
    ends_well(server)
    actor.assert_untouched()


def wait_for_port(server):
    """Of a server that can say nothing: the port on which it listens."""
    def listens():
        with open("/proc/net/tcp") as table:
            ports = {f"socket:[{row[9]}]": int(row[1].split(":")[1], 16) for row in map(str.split, table) if row[3] == "0A"}
        server.port = next((ports[link] for link in process.descriptors(server.pid).values() if link in ports), None)
        return server.port
    wait.until(listens, "it to listen", LIMIT)


# --- clients ---

def connect(server):
    s = socket.create_connection(("127.0.0.1", server.port), LIMIT)
    s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return s


def test_hundreds_of_connections(made, programs, serve):
    """While a session goes on, others knock: they are turned away, and it does not suffer."""
    actor = made.add(Puppet(programs))
    server = serve.attach(actor.pid, options=())
    client = made.add(Client(server.port))
    client.begin()
    before = len(os.listdir(f"/proc/{server.pid}/fd"))
    crowd = []
    for turn in range(300):
        s = socket.socket()
        s.setblocking(False)
        s.connect_ex(("127.0.0.1", server.port))
        crowd.append(s)
        if turn % 30 == 0:
            assert client.ask("qC", LIMIT)
    assert client.ask("g", LIMIT)
    for s in crowd:
        s.close()
    wait.until(lambda: len(os.listdir(f"/proc/{server.pid}/fd")) <= before + 2, "its descriptors to be closed", LIMIT)
    client.ok(f"D;{actor.pid:x}")
    client.close()
    actor.assert_untouched()


def test_no_descriptor_for_a_client(made, programs, serve):
    """None is left: who knocks is turned away, and the loop does not spin."""
    actor = made.add(Puppet(programs))
    server = serve.attach(actor.pid, options=("--multi",))
    # Once it waits for clients: what it has open while it begins is not its own for long.
    wait.until(lambda: process.waits_for_events(server.pid), "it to wait for clients", LIMIT)
    here = len(process.descriptors(server.pid))
    hard = resource.prlimit(server.pid, resource.RLIMIT_NOFILE)[1]
    resource.prlimit(server.pid, resource.RLIMIT_NOFILE, (here, hard))
    for _ in range(3):
        s = connect(server)
        s.settimeout(LIMIT)
        try:
            assert s.recv(1) == b""
        except ConnectionResetError:
            pass
        s.close()
    used = cpu(server.pid)
    time.sleep(0.3)
    assert cpu(server.pid) - used < 10
    resource.prlimit(server.pid, resource.RLIMIT_NOFILE, (1024, hard))
    client = Client(server.port)
    assert client.begin()[:1] == b"T"
    client.close()
    server.signal(15)
    assert wait_gone(server) == 0
    actor.assert_untouched()


def cpu(pid):
    """Ticks of the clock it has used."""
    with open(f"/proc/{pid}/stat") as f:
        fields = f.read().rsplit(")", 1)[1].split()
    return int(fields[11]) + int(fields[12])


def test_slow_client(made, programs, serve):
    """Each byte by itself."""
    actor = made.add(Puppet(programs))
    server = serve.attach(actor.pid)
    s = connect(server)
    for byte in b"+$?#3f":
        s.sendall(bytes([byte]))
        time.sleep(0.01)
    s.settimeout(LIMIT)
    heard = b""
    while not heard.count(b"#"):
        heard += s.recv(4096)
    assert heard.lstrip(b"+").startswith(b"$T"), heard
    s.close()
    assert wait_gone(server) == 0
    actor.assert_untouched()


@pytest.mark.parametrize("event", ("leave 0", "texec", "exit 7"))
def test_client_that_does_not_read(made, programs, serve, event):
    """What happens to the program while its client is being written to; then the client reads on."""
    actor = made.add(Puppet(programs))
    server = serve.attach(actor.pid)
    client = made.add(Client(server.port))
    client.begin(features=PLAIN + ";exec-events+")
    client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    count = 400         # several megabytes
    for _ in range(count):
        client.send(f"m{actor.at['count'] & ~0xfff:x},1000")
    actor.tell(event + "\n")
    # A window that stays small would have each reply wait for a delayed acknowledgement.
    client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
    for _ in range(count):
        assert len(client.receive(4 * LIMIT)) == 0x2000
    client.go()
    if event == "exit 7":
        assert client.stop_reply()[:3] == b"W07"
        client.close()
        assert wait_gone(server) == 0
        return
    if event == "texec":
        assert b"exec:" in client.stop_reply()
        client.go()
        actor.is_ready(actor.hear())
    else:
        assert actor.hear() == "left"
    client.halt()
    client.ok(f"D;{actor.pid:x}")
    client.close()
    actor.assert_untouched()


@pytest.mark.parametrize("end", ("packet", "silence"))
def test_huge_packet(made, programs, serve, end):
    """64 MiB: an error, and no such memory."""
    actor = made.add(Puppet(programs))
    server = serve.attach(actor.pid)
    s = connect(server)
    s.sendall(b"$m")
    block = b"0" * (1 << 20)
    for _ in range(64):
        s.sendall(block)
    if end == "packet":
        s.sendall(b"#00")
        s.settimeout(LIMIT)
        heard = b""
        while b"#" not in heard:
            heard += s.recv(4096)
        assert b"$E" in heard, heard
    with open(f"/proc/{server.pid}/status") as f:
        rss = next(int(line.split()[1]) for line in f if line.startswith("VmHWM"))
    assert rss < 65536, f"{rss} KiB"
    s.close()
    assert wait_gone(server) == 0
    actor.assert_untouched()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be somebody else")
def test_other_user(made, programs, serve):
    """Somebody else on this machine is not served, not even one who has hung up already; root is, and everybody who is to be."""
    actor = made.add(Puppet(programs))
    server = serve.attach(actor.pid, options=())
    for hangs_up in (False, True):
        assert as_nobody(server.port, hangs_up) == b""
        server.err.find("refused .*allow-other-users", LIMIT)
    client = Client(server.port)
    client.begin()
    client.ok(f"D;{actor.pid:x}")
    client.close()
    assert wait_gone(server) == 0
    open_to_all = serve.multi(options=("--allow-other-users",))
    assert b"$W00" in as_nobody(open_to_all.port, False)


def as_nobody(port, hangs_up):
    """What a process of user 65534 hears when it says '?'."""
    reads, writes = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.setgid(65534)
            os.setuid(65534)
            s = socket.socket()
            s.settimeout(LIMIT)
            s.connect(("127.0.0.1", port))
            s.sendall(b"+$?#3f")
            heard = b""
            while not hangs_up and b"#" not in heard and (more := s.recv(100)):
                heard += more
            os.write(writes, heard)
        finally:
            os._exit(0)
    os.close(writes)
    os.waitpid(child, 0)
    with open(reads, "rb") as pipe:
        return pipe.read()
