"""A gdb's session written down between gdb and the server, and said again by a client that can stop anywhere."""
import re
import select
import socket
import threading
import time

from harness import wait

_TOKEN = re.compile(rb"[+-]|\x03|\$[^#]*#[0-9a-fA-F]{2}", re.S)
_REPLY = re.compile(rb"[$%][^#]*#[0-9a-fA-F]{2}", re.S)


class Recorder:
    """Listens on .address, passes everything on to the server, and keeps what the client said: .messages is a list of
    (bytes, how many packets had come from the server before)."""

    def __init__(self, server):
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.address = "127.0.0.1:%d" % self.listener.getsockname()[1]
        self.server = server
        self.messages = []
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self):
        client, _ = self.listener.accept()
        self.listener.close()
        server = socket.create_connection(("127.0.0.1", self.server.port))
        for end in (client, server):
            end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        said, heard, replies = b"", b"", 0
        with client, server:
            while True:
                ready = select.select([client, server], [], [], wait.LIMIT)[0]
                if not ready:
                    return
                # What the server said first, so that the order of what is written down is one that can be.
                if server in ready:
                    data = server.recv(1 << 20)
                    if not data:
                        return
                    heard += data
                    client.sendall(data)
                    found = list(_REPLY.finditer(heard))
                    replies += len(found)
                    heard = heard[found[-1].end():] if found else heard
                elif client in ready:
                    data = client.recv(1 << 20)
                    if not data:
                        return
                    said += data
                    server.sendall(data)
                    while (token := _TOKEN.match(said)):
                        self.messages.append((token.group(), replies))
                        said = said[token.end():]

    def finish(self):
        """After the client has gone: what it said."""
        self._thread.join(wait.LIMIT)
        assert not self._thread.is_alive()
        return self.messages


class Replay:
    """A connection on which a recorded session is said again, as far as one likes."""

    PATIENCE = 0.1          # seconds for a reply that may not come this time: where the program stands is another place now

    def __init__(self, port):
        self.socket = socket.create_connection(("127.0.0.1", port), wait.LIMIT)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.heard, self.replies = b"", 0
        self.missing = 0        # replies that did not come

    def hear(self, until):
        """Read until so many packets have come in all."""
        end = time.monotonic() + self.PATIENCE
        while self.replies + self.missing < until:
            left = end - time.monotonic()
            if left <= 0 or not select.select([self.socket], [], [], left)[0]:
                self.missing = until - self.replies
                return
            data = self.socket.recv(1 << 20)
            if not data:
                return
            self.heard += data
            found = list(_REPLY.finditer(self.heard))
            self.replies += len(found)
            self.heard = self.heard[found[-1].end():] if found else self.heard

    def say(self, messages, count):
        for data, before in messages[:count]:
            self.hear(before)
            self.socket.sendall(data)
