"""lldb's platform mode: files, processes and a shell of the server's machine, a debug server for each program."""
import json
import os
import random
import re
import shutil
import signal
import socket
import subprocess
import sys

import pytest

from harness import process, rsp, wait

pytestmark = pytest.mark.stopgo_only("lldb-server's command line")


def as_hex(text):
    return str(text).encode().hex()


@pytest.fixture
def platform(serve, tmp_path):
    """platform(option...) starts one and returns (server, address): a port, or the path of a socket."""
    def start(*args, listen="127.0.0.1:0", **kwargs):
        place = tmp_path / "place"
        place.unlink(missing_ok=True)
        server = serve("platform", "--listen", listen, "--socket-file", place, *args, listens=False, **kwargs)
        wait.until(place.exists, "the file that says where the platform listens")
        return server, place.read_text()
    return start


@pytest.fixture
def client(platform):
    """A raw client of a platform."""
    made = []

    def start(*args, **kwargs):
        server, port = platform(*args, **kwargs)
        made.append(rsp.Rsp(int(port)))
        made[-1].server = server
        return made[-1]
    yield start
    for one in made:
        one.close()


def whole_session(here, url, program, folder):
    lines = [f"platform connect {url}", f"platform settings -w {folder}", f"platform mkdir {folder}/made/deep"]
    here.command("platform select remote-linux")
    for line in lines:
        here.command(line)
    here.program(program)
    seen = [here.command("platform shell -- echo $((6 * 7)); pwd")]
    seen.append(f"{os.getpid()} " in here.command("platform process list"))
    here.command("platform put-file /etc/hostname copied")
    here.command(f"platform get-file {folder}/copied {folder}/back")
    seen.append(open("/etc/hostname").read() == open(f"{folder}/back").read())
    for _ in range(2):
        here.break_at("depth", "n == 0")
        here.launch("one")
        seen.append(here.stop().split(" in ")[1])
        here.command("breakpoint delete -f")
        seen.append(here.cont())
    here.command("platform disconnect")
    return seen


@pytest.mark.parametrize("way", ["tcp", "unix"])
def test_session(lldb, platform, programs, tmp_path, way):
    if way == "unix" and lldb.version < 21:
        pytest.skip("its URL of a debug server on a Unix socket names no file")
    listen = f"unix://{tmp_path}/s" if way == "unix" else "127.0.0.1:0"
    server, place = platform(listen=listen, env={"TMPDIR": str(tmp_path)})
    url = f"unix-connect://{place}" if way == "unix" else f"connect://127.0.0.1:{place}"
    seen = lldb.run(whole_session, url, programs.c("basic"), str(tmp_path))
    assert seen[0].split() == ["42", str(tmp_path)] and seen[1:3] == [True, True]
    assert seen[3].startswith("depth") and seen[3:5] == seen[5:7] and seen[4] == "exited 4"
    assert (tmp_path / "made" / "deep").is_dir()
    assert server.wait_exit() == 0
    wait.until(lambda: not list(tmp_path.glob("stopgo-*.sock")), "the end of the debug servers' sockets")


def two_at_once(here, url, programs):
    """Two clients of one platform, each with a program that stands still while the other runs."""
    seen, debuggers = [], []
    for program in programs:
        debugger = lldb.SBDebugger.Create()
        debugger.SetAsync(False)
        done = lldb.SBCommandReturnObject()
        for line in ("platform select remote-linux", f"platform connect {url}", f"target create {program}",
                     f"platform settings -w {os.path.dirname(program)}-there", "breakpoint set -n main", "process launch"):
            debugger.GetCommandInterpreter().HandleCommand(line, done)
            if not done.Succeeded():
                raise Failed(f"{line}: {done.GetError()}")
        debuggers.append(debugger)
    for debugger in debuggers * 2:
        process = debugger.GetSelectedTarget().GetProcess()
        seen.append([process.GetState() == lldb.eStateStopped, here.place(process.GetSelectedThread().GetFrameAtIndex(0)).split()[0]])
    for debugger in reversed(debuggers):
        process = debugger.GetSelectedTarget().GetProcess()
        process.Continue()
        seen.append(process.GetExitStatus())
        lldb.SBDebugger.Destroy(debugger)
    return seen


def test_sessions_side_by_side(lldb, platform, programs, tmp_path):
    there = []
    for name in ("basic", "watch"):
        folder = tmp_path / name
        folder.mkdir()
        (tmp_path / f"{name}-there").mkdir()
        there.append(shutil.copy(programs.c(name), folder))
    server, port = platform("--server")
    seen = lldb.run(two_at_once, f"connect://127.0.0.1:{port}", there)
    assert seen == [[True, "main"]] * 4 + [15, 3]
    os.kill(server.pid, signal.SIGTERM)
    server.wait_exit()


def test_program_of_the_command_line(platform, programs):
    """It waits under a debug server of its own until the client asks for it."""
    server, port = platform("--", programs.c("basic"), "a")
    client = rsp.Rsp(int(port))
    found = json.loads(client.ask("qQueryGDBServer"))
    there = rsp.Rsp(found[0]["port"])
    assert there.ask("?").startswith(b"T13")
    assert there.ask("k") == b"X09"
    there.close(), client.close()
    assert server.wait_exit() == 0


def test_debug_servers_are_started_and_ended(client):
    one = client()
    assert one.ask("qQueryGDBServer") == b"E04"
    told = re.fullmatch(rb"pid:(\d+);port:(\d+);", one.ask("qLaunchGDBServer;host:localhost;"))
    pid, port = map(int, told.groups())
    there = rsp.Rsp(port)
    assert there.ask("qProcessInfo") == b"E44"
    # Its client cannot do what the platform's can.
    assert there.ask(f"qPlatform_shell:{as_hex('true')},a") == b""
    assert one.ask(f"qKillSpawnedProcess:{pid}") == b"OK"
    assert there.is_closed() and not process.is_alive(pid)
    assert one.ask(f"qKillSpawnedProcess:{pid}") == b"E0a"
    assert one.ask(f"qKillSpawnedProcess:{os.getpid()}") == b"E0a"
    there.close()


def test_debug_servers_are_as_the_platform_was_told(client):
    one = client("--threads=goroutines", "--max-goroutines=7", "--grace=3", "--no-guard", "--allow-other-users")
    pid = int(re.match(rb"pid:(\d+);", one.ask("qLaunchGDBServer;")).group(1))
    words = " ".join(open(f"/proc/{pid}/cmdline").read().split("\0"))
    for setting in ("--threads goroutines", "--max-goroutines 7", "--grace 3", "--no-guard", "--allow-other-users"):
        assert setting in words
    assert one.ask(f"qKillSpawnedProcess:{pid}") == b"OK"


@pytest.mark.skipif(os.getuid() != 0, reason="only root can connect as another user")
@pytest.mark.parametrize("allowed", [False, True])
def test_other_users_get_no_shell_here_unless_allowed(platform, allowed):
    """A platform runs anything for whoever is let in."""
    server, port = platform("--server", *["--allow-other-users"] * allowed)
    line = f"exec 3<>/dev/tcp/127.0.0.1/{port} && printf '$qHostInfo#9b' >&3 && head -c 2 <&3"
    done = subprocess.run(["/bin/bash", "-c", line], capture_output=True, user=65534, group=65534, extra_groups=[], cwd="/", timeout=60)
    assert done.stdout == (b"+$" if allowed else b"")
    if not allowed:
        server.err.find(r"Connection of another user \(uid 65534\) refused")
    rsp.Rsp(int(port)).close()      # its own user is let in all the same


def bound(port):
    """A socket bound to the port; None: somebody has it."""
    sock = socket.socket()
    try:
        sock.bind(("127.0.0.1", port))
    except OSError:
        sock.close()
        return None
    return sock


def two_ports(offset):
    """A listening socket; the port behind it is free, and so is the one offset further. Below those that the kernel gives away."""
    for first in random.sample(range(20000, 32000), 100):
        socks = [bound(first), bound(first + 1), bound(first + 1 + offset)]
        for sock in filter(None, socks[1:]):
            sock.close()
        if all(socks):
            socks[0].listen()
            return socks[0]
        if socks[0]:
            socks[0].close()
    raise AssertionError("no two ports in a row are free")


def test_ports_of_a_range(client):
    with two_ports(offset=100) as busy:
        low = busy.getsockname()[1]
        one = client("--min-gdbserver-port", low, "--max-gdbserver-port", low + 1, "--port-offset", 100)
        pid, port = map(int, re.findall(rb":(\d+);", one.ask("qLaunchGDBServer;")))
        assert port == low + 1 + 100
        # Nothing is left.
        assert one.ask("qLaunchGDBServer;") == b"E09"
        assert one.ask(f"qKillSpawnedProcess:{pid}") == b"OK"


def listens_on(pid, port):
    """The local addresses, as /proc has them, of a process's sockets with this port."""
    lines = [line.split() for name in ("tcp", "tcp6") for line in open(f"/proc/{pid}/net/{name}").readlines()[1:]]
    return {row[1].split(":")[0] for row in lines if row[1].endswith(f":{port:04X}") and row[3] == "0A"}


LOOPBACK = {"0100007F", "00000000000000000000000001000000"}


def test_every_address_is_this_machine_unless_allowed(serve, platform, programs, tmp_path):
    """A platform is a shell for whoever reaches it: `*`, which lldb-server's manual has, is loopback and a warning."""
    server, port = platform("--server", listen="*:0")
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    other = serve("gdbserver", "--named-pipe", fifo, "*:0", "--", programs.c("basic"), listens=False)
    for one, where_ in ((server, int(port)), (other, int(wait.for_text_in_fifo(fifo).rstrip("\0")))):
        assert listens_on(one.pid, where_) and listens_on(one.pid, where_) <= LOOPBACK
        said = one.err.text
        assert "Warning: '*' is served on this machine only" in said and f"ssh -L {where_}:" in said and "--allow-remote" in said
    rsp.Rsp(int(port)).close()


def test_several_clients(platform):
    server, port = platform("--server")
    clients = [rsp.Rsp(int(port)) for _ in range(3)]
    for one in clients:
        assert one.ask("qHostInfo").startswith(b"triple:")
    for one in clients:
        one.close()
    last = rsp.Rsp(int(port))
    assert last.ask("qC") == b"E44"
    last.close()
    os.kill(server.pid, signal.SIGTERM)
    server.wait_exit()


def listed(client, query):
    """pids and names of qfProcessInfo."""
    reply, found = client.ask(query), {}
    while not reply.startswith(b"E"):
        row = dict(part.split(":", 1) for part in reply.decode().rstrip(";").split(";"))
        found[int(row["pid"])] = {**row, "name": bytes.fromhex(row["name"]).decode()}
        reply = client.ask("qsProcessInfo")
    return found


def test_processes_and_users(client):
    one = client()
    me = os.getpid()
    here = listed(one, "qfProcessInfo:all_users:1;")
    assert here[me]["name"] == os.path.realpath(sys.executable) and int(here[me]["ppid"]) == os.getppid()
    words = [bytes.fromhex(word).decode() for word in here[me]["args"].split("-")]
    assert words == open(f"/proc/{me}/cmdline").read().rstrip("\0").split("\0")
    name = os.path.basename(here[me]["name"])
    for how, text in (("equals", name), ("starts_with", name[:4]), ("ends_with", name[-4:]), ("contains", name[1:5]),
                      ("regex", "^" + name[:3] + ".+$")):
        found = listed(one, f"qfProcessInfo:name_match:{how};name:{as_hex(text)};")
        assert me in found and one.server.pid not in found, how
    assert set(listed(one, f"qfProcessInfo:pid:{me};")) == {me}
    assert one.ask(f"qfProcessInfo:name_match:equals;name:{as_hex('no-such-program')};") == b"E03"
    assert one.ask("qfProcessInfo:name_match:nearly;name:61;") == b"E02"
    assert one.ask(f"qfProcessInfo:name_match:regex;name:{as_hex('(')};") == b"E02"
    assert one.ask(f"qUserName:{os.getuid()}").decode() == as_hex(subprocess.getoutput("id -un"))
    assert one.ask(f"qGroupName:{os.getgid()}").decode() == as_hex(subprocess.getoutput("id -gn"))
    assert one.ask("qUserName:4294967290") == b"E05" and one.ask("qGroupName:4294967290") == b"E06"


def test_processes_without_a_program(client, debuggee, tmp_path):
    """One whose file was deleted has its name; what nobody can attach to is not listed, but can be asked for; as with lldb-server."""
    one = client()
    copy = tmp_path / "removed"
    shutil.copy("/bin/sleep", copy)
    gone = debuggee(copy, "60")
    ended = debuggee("/bin/true")
    wait.until(lambda: process.state(ended.pid) == "Z", "its end")
    wait.until(lambda: os.readlink(f"/proc/{gone.pid}/exe") == str(copy), "its start")
    copy.unlink()
    there = listed(one, "qfProcessInfo:all_users:1;")
    assert there[gone.pid]["name"] == str(copy) and ended.pid not in there
    row = dict(part.split(":", 1) for part in one.ask(f"qProcessInfoPID:{ended.pid}").decode().rstrip(";").split(";"))
    assert bytes.fromhex(row["name"]) == b"[true]" and row["args"] == "" and "triple" not in row
    # A kernel's thread has no program; where there is a namespace of processes, it has none of them.
    if process.state(2) and not os.path.exists("/proc/2/exe"):
        assert there[2]["name"].startswith("[")


def test_shell(client, tmp_path):
    one = client()
    shell = lambda line, rest=",a": one.ask(f"qPlatform_shell:{as_hex(line)}{rest}")
    assert shell("echo '#$}*'; echo b >&2; exit 3") == b"F,00000003,00000000,#$}*\nb\n"
    assert shell("pwd", f",a,{as_hex(tmp_path)}") == b"F,00000000,00000000," + bytes(tmp_path) + b"\n"
    assert shell("kill -9 $$") == b"F,ffffffff,00000009,"
    assert shell("sleep 60 & echo $! >pid; wait", f",1,{as_hex(tmp_path)}") == b"F,ffffffff"
    # It may have ended before it came to that.
    if (tmp_path / "pid").exists() and (started := (tmp_path / "pid").read_text()):
        wait.until(lambda: not process.is_alive(int(started)), "the end of what the shell started")
    assert len(shell("yes | head -c 1000000")) < 0x20000
    assert shell("ls /proc/self/fd").endswith(b"0\n1\n2\n3\n")
    assert one.ask("qPlatform_shell:6") == b"E01"


def test_folders_and_completion(client, tmp_path):
    one = client()
    folder = tmp_path / "a" / "b"
    assert one.ask(f"qPlatform_mkdir:1c0,{as_hex(folder)}") == b"F0" and folder.is_dir()
    assert one.ask(f"qPlatform_mkdir:1c0,{as_hex(folder)}") == b"F0"
    assert one.ask(f"qPlatform_chmod:140,{as_hex(folder)}") == b"F0" and folder.stat().st_mode & 0o777 == 0o500
    assert one.ask(f"qPlatform_chmod:140,{as_hex(tmp_path / 'none')}") == b"F2"
    (tmp_path / "afile").touch()
    (tmp_path / ".hidden").touch()

    def complete(folders_only, text):
        reply = one.ask(f"qPathComplete:{folders_only},{as_hex(text)}").decode()
        assert reply[0] == "M"
        return [bytes.fromhex(word).decode() for word in reply[1:].split(",") if word]
    top = f"{tmp_path}/"
    assert complete(0, top + "a") == [top + "a/", top + "afile"] and complete(1, top + "a") == [top + "a/"]
    assert complete(0, top + ".h") == [top + ".hidden"] and complete(0, top + "x") == []
    assert complete(0, top + "none/x") == []
    assert one.ask(f"QSetWorkingDir:{as_hex(tmp_path)}") == b"OK" and complete(0, "af") == ["afile"]
    assert bytes.fromhex(one.ask("qGetWorkingDir").decode()) == bytes(tmp_path)
    assert one.ask("QSetWorkingDir:" + as_hex("/no/such")) == b"E02"
    assert one.ask("qPathComplete:0") == b"E55"


def test_program_without_debugger(client, tmp_path):
    """platform process launch -A: it runs at once, and what it prints is its own affair."""
    one = client()
    said = tmp_path / "said"
    words = ["/bin/sh", "-c", f"echo $KEY >{said}; exec sleep 60"]
    assert one.ask("QEnvironment:KEY=value") == b"OK"
    assert one.ask("A" + ",".join(f"{2 * len(w)},{i},{as_hex(w)}" for i, w in enumerate(words))) == b"OK"
    assert one.ask("qLaunchSuccess") == b"OK"
    pid = int(re.match(rb"pid:([0-9a-f]+);", one.ask("qProcessInfo")).group(1), 16)
    assert one.ask("qProcessInfo") == b"E44"
    wait.until(lambda: said.exists() and said.read_text() == "value\n", "what the program writes")
    assert process.tracer(pid) == 0
    os.kill(pid, signal.SIGKILL)
