"""The server under test as a process: started, listened to, ended."""
import os
import re
import signal
import subprocess
import threading

from . import process, wait, where


class Lines:
    """What a process writes to one descriptor, waited for by regular expression. A thread reads it all the time, so that
    a server that says much never waits for the test."""

    def __init__(self, fd, name):
        self.fd, self.name = fd, name
        self.text = ""
        self.ended = False
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self):
        while True:
            data = os.read(self.fd, 65536)
            with self._changed:
                self.text += data.decode(errors="replace")
                self.ended = not data
                self._changed.notify_all()
            if not data:
                os.close(self.fd)
                return

    def find(self, pattern, limit=None, start=0):
        """The first match of pattern at or after `start` in what has been written or will be."""
        wanted = re.compile(pattern, re.M)
        with self._changed:
            self._changed.wait_for(lambda: self.ended or wanted.search(self.text, start),
                                   wait.LIMIT if limit is None else limit)
            match = wanted.search(self.text, start)
            if not match:
                why = "it closed" if self.ended else "nothing more came"
                raise wait.TimedOut(f"no /{pattern}/ on {self.name}: {why}. It said:\n{self.text}")
            return match

    def rest(self, limit=None):
        """Everything until the other side closes it."""
        with self._changed:
            if not self._changed.wait_for(lambda: self.ended, wait.LIMIT if limit is None else limit):
                raise wait.TimedOut(f"{self.name} stays open. It said:\n{self.text}")
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
        return [pid for pid in process.children(self.pid) if process.is_alive(pid)]

    def signal(self, number):
        self.process.send_signal(number)

    def wait_exit(self, limit=None):
        """Its exit status, negative for a signal."""
        try:
            return self.process.wait(wait.LIMIT if limit is None else limit)
        except subprocess.TimeoutExpired:
            raise wait.TimedOut(f"the server does not end. It said:\n{self.err.text}") from None

    def is_running(self):
        return self.process.poll() is None

    def close(self):
        """End it and what it launched. Kills only by pids it announced or whose parent it is."""
        children = set(self.children())
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGKILL)
            self.process.wait(wait.LIMIT)
        children.update(int(pid) for pid in re.findall(r"created; pid = (\d+)$", self.err.text, re.M))
        for pid in children:
            # What it launched is in the session that was made for it: a pid used again by someone else is not.
            try:
                if os.getsid(pid) == self.pid or process.tracer(pid) == self.pid:
                    os.kill(pid, signal.SIGKILL)
            except (ProcessLookupError, FileNotFoundError):
                pass
