"""A real Delve, driven through its JSON-RPC interface (API version 2).

    dlv = Dlv("dlv1.20", "exec", program)       # --backend=lldb, with a link named lldb-server to the server under test
    dlv.break_at("main.add")
    state = dlv.command("continue")
"""
import contextlib
import json
import os
import pathlib
import random
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import time

from . import process, wait, where
from .server import Lines

LOAD = {"FollowPointers": True, "MaxVariableRecurse": 1, "MaxStringLen": 200, "MaxArrayValues": 64, "MaxStructFields": -1}


def connected(port):
    try:
        return socket.create_connection(("127.0.0.1", port), wait.LIMIT)
    except ConnectionRefusedError:
        return None


def free_port():
    """A port for somebody who cannot say which he took: none of those that the kernel gives away, to whoever comes first."""
    with open("/proc/sys/net/ipv4/ip_local_port_range") as f:
        low = max(2048, int(f.read().split()[0]))
    while True:
        with socket.socket() as s, contextlib.suppress(OSError):
            s.bind(("127.0.0.1", random.randrange(max(1024, low - 16000), low)))
            return s.getsockname()[1]


def end_tree(leader):
    """Ends a Delve and its server, which is in a process group of its own and would be left."""
    children = process.descendants(leader.pid)
    if leader.poll() is None:
        leader.send_signal(signal.SIGKILL)
        leader.wait(wait.LIMIT)
    for pid in children:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            pass


class DelveError(Exception):
    """Delve answered with an error; the text is Delve's."""


class Dlv:
    """One headless Delve. backend: lldb, served by the server under test, or native."""

    def __init__(self, name, verb, *words, backend="lldb", mode="lldb-server", options=(), args=(), cwd=None, stdin=subprocess.DEVNULL, listens=True, port=0,
                 server=None):
        self.home = tempfile.mkdtemp(prefix="dlv-home-")
        self.port = port        # of its own choice, and said, if zero
        env = dict(os.environ, HOME=self.home)
        env.pop("DELVE_DEBUGSERVER_PATH", None)
        if backend == "lldb" and mode == "debugserver":
            env["DELVE_DEBUGSERVER_PATH"] = where.server_path()
        elif backend == "lldb":
            link = pathlib.Path(self.home, "lldb-server")
            link.symlink_to(server or where.server_path())
            env["PATH"] = f"{self.home}:{env['PATH']}"
        command = [where.tool(name), verb, "--headless", "--api-version=2", f"--listen=127.0.0.1:{port}", "--check-go-version=false",
                   f"--backend={backend}", *options, *map(str, words), *(["--", *map(str, args)] if args else [])]
        out_r, out_w = os.pipe()
        self.process = subprocess.Popen(command, env=env, cwd=cwd, stdin=stdin, stdout=out_w,
                                        stderr=subprocess.STDOUT, start_new_session=True)
        os.close(out_w)
        self.out = Lines(out_r, "Delve's output")
        self.transcript = [" ".join(command)]
        self.number = 0
        self.data = b""
        self.answers = {}
        self.socket = None
        if listens:
            try:
                self.connect()
            except BaseException:
                self.close()
                raise

    def connect(self):
        """listens=False: the test says when."""
        port = self.port or int(self.out.find(r"API server listening at: \S+:(\d+)$").group(1))
        self.socket = wait.until(lambda: connected(port), "Delve to listen") if self.port else connected(port)

    # --- calls ---

    def start(self, method, **arguments):
        """Asks; finish() has the answer. Delve answers other questions while a program runs."""
        self.number += 1
        text = json.dumps({"method": "RPCServer." + method, "params": [arguments], "id": self.number})
        self.transcript.append("-> " + text)
        self.socket.sendall(text.encode() + b"\n")
        return self.number

    def finish(self, number, limit=None):
        end = time.monotonic() + (wait.LIMIT if limit is None else limit)
        while number not in self.answers:
            self.receive(end)
        answer = self.answers.pop(number)
        if answer.get("error"):
            raise DelveError(answer["error"])
        return answer["result"]

    def receive(self, end):
        while b"\n" not in self.data:
            self.socket.settimeout(max(0.1, end - time.monotonic()))
            try:
                more = self.socket.recv(1 << 20)
            except TimeoutError:
                more = b""
            if not more:
                raise wait.TimedOut("Delve does not answer:\n" + "\n".join(self.transcript[-10:]))
            self.data += more
        text, self.data = self.data.split(b"\n", 1)
        self.transcript.append("<- " + text.decode()[:2000])
        answer = json.loads(text)
        self.answers[answer["id"]] = answer

    def call(self, method, **arguments):
        return self.finish(self.start(method, **arguments))

    # --- verbs ---

    def break_at(self, name, condition=""):
        place = {"functionName": name}
        if ":" in name:
            file, line = name.rsplit(":", 1)
            place = {"file": file, "line": int(line)}
        return self.call("CreateBreakpoint", Breakpoint=dict(place, Cond=condition))["Breakpoint"]

    def watch(self, expression, kind):
        """kind: 1 read, 2 write."""
        return self.call("CreateWatchpoint", Scope={"GoroutineID": -1}, Expr=expression, Type=kind)

    def clear(self, point):
        self.call("ClearBreakpoint", Id=point["id"])

    def command(self, name, **more):
        """continue, next, step, stepOut, call, halt…: where the program stands afterwards."""
        return Stand(self.call("Command", name=name, ReturnInfoLoadConfig=LOAD, **more)["State"])

    def eval(self, expression, frame=0):
        found = self.call("Eval", Scope={"GoroutineID": -1, "Frame": frame}, Expr=expression, Cfg=LOAD)["Variable"]
        return found["value"] or str([child["value"] for child in found["children"]])

    def set(self, name, value):
        self.call("Set", Scope={"GoroutineID": -1}, Symbol=name, Value=value)

    def stack(self, goroutine=-1):
        frames = self.call("Stacktrace", Id=goroutine, Depth=20, Full=False)["Locations"]
        return [(frame.get("function") or {}).get("name") for frame in frames]

    def goroutines(self):
        return self.call("ListGoroutines", Start=0, Count=0)["Goroutines"]

    def threads(self):
        return self.call("ListThreads")["Threads"]

    def state(self):
        return Stand(self.call("State", NonBlocking=False)["State"])

    def restart(self):
        return self.call("Restart", Position="", ResetArgs=False, NewArgs=[], Rerecord=False, Rebuild=False)

    def detach(self, kill):
        self.call("Detach", Kill=kill)
        self.process.wait(wait.LIMIT)

    @property
    def pid(self):
        return self.call("ProcessPid")["Pid"]

    def close(self):
        if self.socket:
            self.socket.close()
        end_tree(self.process)
        self.transcript.append(self.out.rest()[-2000:])
        shutil.rmtree(self.home, ignore_errors=True)


class DlvAdapter:
    """Delve as a debug adapter: `dlv dap`, listening on a port."""

    def __init__(self, name, env=None):
        self.home = tempfile.mkdtemp(prefix="dlv-home-")
        out_r, out_w = os.pipe()
        self.process = subprocess.Popen([where.tool(name), "dap", "--listen=127.0.0.1:0", "--check-go-version=false"], stdin=subprocess.DEVNULL,
                                        stdout=out_w, stderr=subprocess.STDOUT, env=dict(os.environ, HOME=self.home, **(env or {})),
                                        start_new_session=True)
        os.close(out_w)
        self.out = Lines(out_r, "Delve's output")
        try:
            self.port = int(self.out.find(r"DAP server listening at: \S+:(\d+)$").group(1))
        except BaseException:
            self.close()
            raise

    def close(self):
        end_tree(self.process)
        shutil.rmtree(self.home, ignore_errors=True)


class Stand:
    """Where the program stands, as a user sees it: no addresses, no thread numbers."""

    def __init__(self, state):
        self.raw = state
        self.exited = state.get("exited", False)
        self.status = state.get("exitStatus")
        self.goroutine = state.get("currentGoroutine") or {}
        self.thread = state.get("currentThread") or {}
        self.breakpoint = self.thread.get("breakPoint") or {}
        self.returned = [value["value"] for value in self.thread.get("ReturnValues") or []]

    @property
    def place(self):
        if self.exited:
            return f"exited {self.status}"
        function = (self.thread.get("function") or {}).get("name")
        return f"{function}:{self.thread.get('line')}"
