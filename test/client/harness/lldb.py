"""A real lldb, driven by scenarios that run in its own Python (inside.py).

    seen = Lldb("lldb19").run(scenario, program, "argument")

The scenario's source travels to lldb, so that it may use nothing but its arguments and what it imports itself.
"""
import inspect
import json
import os
import re
import shutil
import subprocess
import tempfile
import textwrap

from . import wait, where

MAIN = """
import json, os, sys, traceback
sys.path.insert(0, {folder!r})
import lldb
import inside
from inside import Inside, Failed
{source}

def main():
    here = Inside({server!r}, {address!r})
    try:
        answer = {{"seen": {name}(here, *json.loads({args!r}))}}
    except BaseException:
        answer = {{"failed": traceback.format_exc()}}
    finally:
        try:
            here.close()
        except Exception:
            pass
    with open({result!r}, "w") as f:
        json.dump(answer, f)
"""


class ScenarioFailed(AssertionError):
    """The scenario raised something inside lldb."""


class Lldb:
    """lldb of one version. Each scenario runs in a process of its own."""

    def __init__(self, name):
        self.name = name
        self.path = where.tool(name)
        self.version = int(re.search(r"\d+", name).group())
        self.transcript = []

    def run(self, scenario, *args, server=None, address=None, limit=None):
        """What the scenario returns. server: what lldb starts as its debug server; address: what here.connect() connects to."""
        home = tempfile.mkdtemp(prefix="lldb-home-")
        try:
            return self._run(home, scenario, args, server, address, limit)
        finally:
            shutil.rmtree(home, ignore_errors=True)

    def close(self):
        """Nothing of it is left when run() has returned."""

    def _run(self, home, scenario, args, server, address, limit):
        result = os.path.join(home, "result")
        source = textwrap.dedent(inspect.getsource(scenario))
        text = MAIN.format(folder=os.path.dirname(__file__), source=source, name=scenario.__name__, result=result,
                           server=server or where.server_path(), address=address, args=json.dumps(args))
        module = os.path.join(home, "scenario.py")
        with open(module, "w") as f:
            f.write(text)
        env = dict(os.environ, HOME=home, LC_ALL="C.UTF-8", TERM="dumb", PYTHONDONTWRITEBYTECODE="1")
        env.pop("PYTHONPATH", None)
        command = [self.path, "--no-lldbinit", "--batch", "-o", f"command script import {module}", "-o",
                   "script scenario.main()"]
        limit = (wait.LIMIT if limit is None else limit) * 3
        lldb = subprocess.Popen(command, env=env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                stderr=subprocess.STDOUT, text=True, errors="replace", start_new_session=True)
        try:
            said, _ = lldb.communicate(timeout=limit)
        except subprocess.TimeoutExpired:
            os.killpg(lldb.pid, 9)
            said, _ = lldb.communicate()
            self.transcript.append(said)
            raise wait.TimedOut(f"{self.name}: {scenario.__name__} does not end in {limit:g} s:\n{said}") from None
        self.transcript.append(said)
        if not os.path.exists(result):
            raise ScenarioFailed(f"{self.name} said nothing of {scenario.__name__}:\n{said}")
        with open(result) as f:
            answer = json.load(f)
        if "failed" in answer:
            raise ScenarioFailed(f"{scenario.__name__} in {self.name} with {server or 'stopgo'}:\n{answer['failed']}")
        return answer["seen"]


def peer(name):
    """lldb's own server of that version, or None."""
    if name == "lldb19":
        return shutil.which("lldb-server-19")
    path = where.TOOLCHAINS / "bin" / name.replace("lldb", "lldb-server")
    return str(path) if os.access(path, os.X_OK) else None
