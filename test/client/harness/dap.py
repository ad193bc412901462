"""A debug adapter (gdb's, lldb's, Delve's), asked as an IDE asks it.

    dap = Dap.spawn([where.tool("gdb18"), "--interpreter=dap"])
    dap.ask("initialize", adapterID="test")
    dap.event("stopped")

Source: the Debug Adapter Protocol's specification.
"""
import json
import os
import re
import socket
import subprocess
import threading
import time

from . import wait


class DapError(Exception):
    """The adapter answered with an error; the text is the adapter's."""


class Dap:
    """Messages are read all the time; answers and events are kept until asked for."""

    def __init__(self, reader, writer, process=None):
        self.reader, self.writer, self.process = reader, writer, process
        self.transcript = []
        self.number = 0
        self.messages = []          # not yet asked for
        self.output = ""            # what came as output events
        self.ended = False
        self.changed = threading.Condition()
        self.thread = threading.Thread(target=self._read, daemon=True)
        self.thread.start()

    @classmethod
    def spawn(cls, command, env=None, cwd=None):
        process = subprocess.Popen([str(word) for word in command], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                   stderr=subprocess.DEVNULL, env=dict(os.environ, **(env or {})), cwd=cwd,
                                   start_new_session=True)
        return cls(process.stdout, process.stdin, process)

    @classmethod
    def connect(cls, port):
        s = socket.create_connection(("127.0.0.1", port), wait.LIMIT)
        return cls(s.makefile("rb"), s.makefile("wb"))

    def _message(self):
        length = 0
        for header in iter(self.reader.readline, b"\r\n"):
            if not header:
                return None
            match = re.match(rb"content-length:\s*(\d+)", header, re.I)
            length = int(match.group(1)) if match else length
        return json.loads(self.reader.read(length))

    def _read(self):
        while True:
            try:
                message = self._message()
            except (OSError, ValueError):
                message = None
            with self.changed:
                self.ended = self.ended or message is None
                if message:
                    self.transcript.append("< " + json.dumps(message)[:600])
                    self.messages.append(message)
                    if message.get("event") == "output":
                        self.output += message["body"].get("output", "")
                self.changed.notify_all()
            if message is None:
                return

    def _take(self, accept, what, limit=None):
        end = time.monotonic() + (wait.LIMIT if limit is None else limit)
        with self.changed:
            while True:
                found = next((message for message in self.messages if accept(message)), None)
                if found:
                    self.messages.remove(found)
                    return found
                if self.ended or not self.changed.wait(max(0, end - time.monotonic())):
                    raise wait.TimedOut(f"no {what} from the adapter" + (": it ended" if self.ended else "") + "\n" +
                                        "\n".join(self.transcript[-12:]))

    def send(self, command, **arguments):
        """Its number, for answer()."""
        self.number += 1
        body = json.dumps({"seq": self.number, "type": "request", "command": command, "arguments": arguments}).encode()
        self.transcript.append("> " + body.decode()[:600])
        self.writer.write(b"Content-Length: %d\r\n\r\n%s" % (len(body), body))
        self.writer.flush()
        return self.number

    def answer(self, number, limit=None):
        message = self._take(lambda m: m.get("type") == "response" and m.get("request_seq") == number, f"answer to {number}", limit)
        if not message["success"]:
            raise DapError(message.get("message") or str(message.get("body")))
        return message.get("body") or {}

    def ask(self, command, **arguments):
        return self.answer(self.send(command, **arguments))

    def event(self, name, limit=None, unless=None):
        """unless: the number of a request whose failure means that the event will not come."""
        def is_it(message):
            return message.get("event") == name or (message.get("request_seq") == unless and message.get("success") is False)
        message = self._take(is_it, f"event '{name}'", limit)
        if message["type"] == "response":
            raise DapError(message.get("message"))
        return message.get("body") or {}

    def forget_events(self, name):
        with self.changed:
            self.messages = [message for message in self.messages if message.get("event") != name]

    def close(self):
        if self.process and self.process.poll() is None:
            self.process.kill()
            self.process.wait(wait.LIMIT)
        self.thread.join(1 if self.process is None else wait.LIMIT)
        for stream in (self.writer, self.reader):
            try:
                stream.close()
            except (BrokenPipeError, ValueError):
                pass
