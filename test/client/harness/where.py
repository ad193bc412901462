"""Where things are: the tree, the server under test, the debuggers."""
import functools
import os
import pathlib
import shutil
import subprocess

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[3]
FIXTURES = ROOT / "test" / "fixtures"
TOOLCHAINS = pathlib.Path(os.environ.get("STOPGO_TOOLCHAINS", ROOT / "toolchains"))

GO_RELEASES = ("go1.19", "go1.22", "go1.23", "go1.24", "go1.26", "go1.27")


def server_path():
    """The server under test: $STOPGO, a path or a name in PATH, else build/stopgo. STOPGO=gdbserver is how the tests
    themselves are tested."""
    named = os.environ.get("STOPGO")
    path = os.path.abspath(shutil.which(named) or named) if named else str(ROOT / "build" / "stopgo")
    if not path or not os.access(path, os.X_OK):
        pytest.exit(f"no server to test: {named or 'build/stopgo'} is not there; build it or set STOPGO", returncode=2)
    return path


@functools.lru_cache(None)
def is_peer():
    """True when the server under test is gdbserver itself."""
    first = subprocess.run([server_path(), "--version"], capture_output=True, text=True, timeout=20).stdout
    return first.startswith("GNU gdbserver")


@functools.lru_cache(None)
def peer_version():
    first = subprocess.run([server_path(), "--version"], capture_output=True, text=True, timeout=20).stdout
    return int(first.split("\n")[0].split()[-1].split(".")[0])


def tool(name):
    """The path of a program that a test needs, or a skip that names it. go1.19, gdb13, lldb19, dlv1.20 are Debian 12's own."""
    own = {"gdb13": "gdb", "lldb19": "lldb-19", "lldb-dap19": "lldb-dap-19", "go1.19": "go", "dlv1.20": "dlv"}
    if name in own:
        path = shutil.which(own[name])
        if not path:
            pytest.skip(f"{own[name]} is not installed (tools/setup)")
        return path
    path = TOOLCHAINS / "bin" / name
    if not os.access(path, os.X_OK):
        pytest.skip(f"{name} is not in {TOOLCHAINS} (tools/toolchains {name})")
    return str(path)


def has_tool(name):
    try:
        tool(name)
    except pytest.skip.Exception:
        return False
    return True


def newest_go():
    """The newest Go release there is."""
    return next((name for name in reversed(GO_RELEASES) if has_tool(name)), "go1.19")
