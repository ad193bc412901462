"""Programs to debug, compiled from test/fixtures when a test first asks for one.

Sources mark the lines that tests name with a comment `HERE: name`; line("threads.c", "name") finds them, so that no
test holds a line number.
"""
import contextlib
import functools
import os
import pathlib
import re
import shutil
import subprocess

import pytest

from . import where

# name: (source, flags). A name with a + has extra flags: "counter+static".
C = ["-g", "-O0", "-Wall", "-Wextra"]
VARIANTS = {
    "": [],
    "static": ["-static"],
    "nopie": ["-no-pie"],
}
EXTRA = {
    "threads": ["-pthread"],
    "threadlife": ["-pthread"],
    "watch": ["-pthread"],
    "tls": ["-pthread"],
    "traps": ["-pthread"],
    "signals": ["-pthread"],
    "forks": ["-pthread"],
    "left": ["-pthread"],
    "counter": ["-pthread"],
    "dlopener": ["-ldl"],
}


class Programs:
    def __init__(self, folder):
        self.folder = pathlib.Path(folder)

    def _run(self, command, cwd=None, env=None):
        done = subprocess.run(command, cwd=cwd, env=env, capture_output=True, text=True, timeout=300,
                              stdin=subprocess.DEVNULL)
        if done.returncode:
            pytest.fail("cannot build a fixture: %s\n%s%s" % (" ".join(map(str, command)), done.stdout, done.stderr),
                        pytrace=False)

    def _unfinished(self, name):
        """Where to build it before it gets its name, in a folder of our own: several runs may share the other, and compilers
        put what they make on the way beside the result."""
        folder = self.folder / f"unfinished-{os.getpid()}"
        folder.mkdir(exist_ok=True)
        return folder / name

    @staticmethod
    def _finish(new, out):
        """Whoever is first has made it: what runs already is not replaced."""
        with contextlib.suppress(FileExistsError):
            os.link(new, out)
        shutil.rmtree(new.parent)

    def _once(self, name, command_of):
        """Build into `name` unless it is there; command_of(output path) is the compiler's command line."""
        out = self.folder / name
        if not out.exists():
            new = self._unfinished(name)
            self._run(command_of(new), cwd=where.ROOT)
            self._finish(new, out)
        return str(out)

    def c(self, name, variant=""):
        """A C program of test/fixtures/c: its path. Variants: static, nopie, joined by +."""
        flags = [flag for part in variant.split("+") for flag in VARIANTS[part]]
        source = where.FIXTURES / "c" / (name + ".c")
        return self._once(name + ("-" + variant if variant else ""),
                          lambda out: ["gcc", *C, *flags, "-o", out, source, *EXTRA.get(name, [])])

    def lib(self, name, flags=()):
        """A shared library of test/fixtures/c."""
        source = where.FIXTURES / "c" / (name + ".c")
        return self._once(name + ".so", lambda out: ["gcc", *C, "-fPIC", "-shared", "-Wl,-soname," + name + ".so",
                                                     "-o", out, source, *flags])

    def linked(self, name, library):
        """A C program linked with one of our shared libraries, found beside it at run time."""
        path = self.lib(library)
        source = where.FIXTURES / "c" / (name + ".c")
        return self._once(name, lambda out: ["gcc", *C, "-o", out, source, path, "-Wl,-rpath,$ORIGIN"])

    def cxx(self, name):
        if not shutil.which("g++"):
            pytest.skip("g++ is not installed (tools/setup)")
        return self._once(name, lambda out: ["g++", *C, "-pthread", "-o", out, where.FIXTURES / "cxx" / (name + ".cc")])

    def rust(self, name):
        # Debian's, when another is first in PATH: its debug information is what Debian's gdb reads.
        rustc = "/usr/bin/rustc" if os.access("/usr/bin/rustc", os.X_OK) else shutil.which("rustc")
        if not rustc:
            pytest.skip("rustc is not installed (tools/setup)")
        return self._once(name, lambda out: [rustc, "-g", "-o", out, where.FIXTURES / "rust" / (name + ".rs")])

    def go(self, name, release="go1.19", flags=("-gcflags=all=-N -l",), tag="", package="main.go", cgo=False):
        """A Go program of test/fixtures/NAME built by that release; optimised code with flags=(). package is what is
        built there: a file, or "." for a module."""
        go = where.tool(release)
        out = self.folder / f"{name.replace('/', '-')}-{release}{tag}"
        if not out.exists():
            if cgo and not shutil.which("gcc"):
                pytest.skip("gcc is not installed (tools/setup)")
            env = dict(os.environ, GOCACHE=str(self.folder / "gocache"), GOFLAGS="-buildvcs=false",
                       GO111MODULE="off" if package.endswith(".go") else "on", CGO_ENABLED="1" if cgo else "0",
                       GOTOOLCHAIN="local", HOME=str(self.folder), GOPATH=str(self.folder / "gopath"), GOWORK="off")
            new = self._unfinished(out.name)
            self._run([go, "build", *flags, "-o", new, package], cwd=where.FIXTURES / name, env=env)
            self._finish(new, out)
        return str(out)

    @staticmethod
    def symbol(program, name):
        """Where a function is in a program that is not position independent."""
        done = subprocess.run(["nm", program], capture_output=True, text=True, check=True)
        return next(int(row.split()[0], 16) for row in done.stdout.splitlines() if row.split()[-1] == name)


@functools.lru_cache(None)
def line(source, mark):
    """The number of the line in a fixture that has the comment `HERE: mark`."""
    paths = list(where.FIXTURES.rglob(source)) or list(where.FIXTURES.glob(source))
    pattern = re.compile(r"HERE: %s\b" % re.escape(mark))
    found = [number for number, text in enumerate(paths[0].read_text().splitlines(), 1) if pattern.search(text)]
    assert len(found) == 1, f"{source} has {len(found)} marks '{mark}'"
    return found[0]


def at(source, mark):
    """SOURCE:LINE of a mark, as debuggers take it."""
    return f"{pathlib.Path(source).name}:{line(source, mark)}"
