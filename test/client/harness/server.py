"""The server under test as a process: started, listened to, ended."""
import os
import re
import select
import signal
import subprocess
import time

from . import process, wait, where


class Lines:
    """What a process writes to one descriptor, line by line, waited for by regular expression."""

    def __init__(self, fd, name):
        self.fd, self.name = fd, name
        self.text = ""
        self.ended = False

    def pump(self, timeout):
        """Read what there is within timeout seconds; False when nothing came."""
        if self.ended or not select.select([self.fd], [], [], timeout)[0]:
            return False
        data = os.read(self.fd, 65536)
        self.ended = not data
        self.text += data.decode(errors="replace")
        return bool(data)

    def find(self, pattern, limit=None, start=0):
        """The first match of pattern at or after `start` in what has been written or will be."""
        end = time.monotonic() + (wait.LIMIT if limit is None else limit)
        while True:
            match = re.compile(pattern, re.M).search(self.text, start)
            if match:
                return match
            if self.ended or time.monotonic() > end:
                why = "it closed" if self.ended else "nothing more came"
                raise wait.TimedOut(f"no /{pattern}/ on {self.name}: {why}. It said:\n{self.text}")
            self.pump(max(0.0, min(1.0, end - time.monotonic())))

    def rest(self, limit=None):
        """Everything until the other side closes it."""
        end = time.monotonic() + (wait.LIMIT if limit is None else limit)
        while not self.ended:
            if time.monotonic() > end:
                raise wait.TimedOut(f"{self.name} stays open. It said:\n{self.text}")
            self.pump(0.5)
        return self.text


class Stopgo:
    """server = Stopgo(["--once", ":0", program]): returns when it listens; .port is the port it says."""

    def __init__(self, args, env=None, cwd=None, listens=True, stdin=subprocess.DEVNULL, path=None, **kwargs):
        self.command = [path or where.server_path(), *map(str, args)]
        out_r, out_w = os.pipe()
        err_r, err_w = os.pipe()
        self.process = subprocess.Popen(self.command, stdin=stdin, stdout=out_w, stderr=err_w, cwd=cwd,
                                        env=dict(os.environ, SHELL="/bin/sh", **(env or {})), start_new_session=True,
                                        **kwargs)
        os.close(out_w)
        os.close(err_w)
        self.pid = self.process.pid
        self.out = Lines(out_r, "the server's stdout")
        self.err = Lines(err_r, "the server's stderr")
        self.port = None
        if listens:
            try:
                self.wait_listening()
            except BaseException:
                self.close()
                raise

    def wait_listening(self, start=0):
        match = self.err.find(r"^Listening on (?:port (\d+)|.*)\n", start=start)
        if match.group(1):
            self.port = int(match.group(1))
        return match

    @property
    def address(self):
        """What a client on this machine connects to."""
        return f"127.0.0.1:{self.port}"

    @property
    def inferior(self):
        """The pid it announced: of the program it launched or attached to."""
        return int(self.err.find(r"pid = (\d+)$").group(1))

    def children(self):
        """The pids of its direct children that are alive."""
        try:
            with open(f"/proc/{self.pid}/task/{self.pid}/children") as f:
                return [pid for pid in map(int, f.read().split()) if process.is_alive(pid)]
        except (FileNotFoundError, ProcessLookupError):
            return []

    def signal(self, number):
        self.process.send_signal(number)

    def wait_exit(self, limit=None):
        """Its exit status, negative for a signal."""
        try:
            return self.process.wait(wait.LIMIT if limit is None else limit)
        except subprocess.TimeoutExpired:
            raise wait.TimedOut(f"the server does not end. It said:\n{self.said()}") from None

    def is_running(self):
        return self.process.poll() is None

    def said(self):
        """What it wrote to stderr so far."""
        while self.err.pump(0):
            pass
        return self.err.text

    def close(self):
        """End it and what it launched. Kills only by pids it announced or whose parent it is."""
        children = set(self.children())
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGKILL)
            self.process.wait(wait.LIMIT)
        children.update(int(pid) for pid in re.findall(r"created; pid = (\d+)$", self.said(), re.M))
        for pid in children:
            # What it launched is in the session that was made for it: a pid used again by someone else is not.
            try:
                if os.getsid(pid) == self.pid or process.tracer(pid) == self.pid:
                    os.kill(pid, signal.SIGKILL)
            except (ProcessLookupError, FileNotFoundError):
                pass
        for lines in (self.out, self.err):
            while lines.pump(0):
                pass
            os.close(lines.fd)
            lines.ended = True
