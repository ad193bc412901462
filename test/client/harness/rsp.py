"""A client of a few lines that says exactly what a test wants said: packets in, packets out, or a broken connection.

For what no real debugger can be made to do on demand. It acknowledges nothing after start_no_ack().
"""
import re
import select
import socket
import struct
import time

from . import wait


def frame(body):
    """A body (bytes, or str taken as Latin-1) as it goes over the wire."""
    body = body.encode("latin-1") if isinstance(body, str) else body
    escaped = re.sub(rb"[#$}*]", lambda m: b"}" + bytes([m.group()[0] ^ 0x20]), body)
    return b"$" + escaped + b"#%02x" % (sum(escaped) & 0xFF)


def unframe(data):
    """Undo escapes and run lengths of a body."""
    out = bytearray()
    at = 0
    while at < len(data):
        byte = data[at]
        if byte == 0x7D:
            out.append(data[at + 1] ^ 0x20)
            at += 2
        elif byte == 0x2A:
            out += out[-1:] * (data[at + 1] - 29)
            at += 2
        else:
            out.append(byte)
            at += 1
    return bytes(out)


class Closed(Exception):
    """The server closed the connection."""


class Rsp:
    def __init__(self, port=None, path=None, no_ack=True, connected=None):
        if connected:
            self.socket = connected
        elif path:
            # The name is there before anybody listens.
            self.socket = socket.socket(socket.AF_UNIX)
            wait.until(lambda: self.socket.connect_ex(str(path)) == 0, f"somebody listens at {path!r}")
        else:
            self.socket = socket.create_connection(("127.0.0.1", port), wait.LIMIT)
            self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.data = b""
        self.acks = True
        self.transcript = []
        if no_ack:
            self.start_no_ack()

    def start_no_ack(self):
        self.send_raw(b"+")
        assert self.ask("QStartNoAckMode") == b"OK"
        self.acks = False

    def send_raw(self, data):
        self.transcript.append(f"-> {data!r}")
        self.socket.sendall(data)

    def send(self, body):
        self.send_raw(frame(body))

    def _more(self, end):
        left = end - time.monotonic()
        if left <= 0 or not select.select([self.socket], [], [], left)[0]:
            raise wait.TimedOut("the server does not answer:\n" + "\n".join(self.transcript[-20:]))
        try:
            data = self.socket.recv(1 << 20)
        except ConnectionResetError:
            data = b""
        if not data:
            raise Closed()
        self.data += data

    def receive(self, limit=None):
        """The next packet or notification: its body, with a % in front for a notification."""
        end = time.monotonic() + (wait.LIMIT if limit is None else limit)
        while True:
            match = re.search(rb"([$%])([^#]*)#[0-9a-fA-F]{2}", self.data, re.S)
            if match:
                self.data = self.data[match.end():]
                body = unframe(match.group(2))
                notice = match.group(1) == b"%"
                self.transcript.append(f"<- {'%' if notice else ''}{body!r}")
                if self.acks and not notice:
                    self.send_raw(b"+")
                return (b"%" if notice else b"") + body
            self._more(end)

    def receive_ack(self, limit=None):
        """The next acknowledgement: b"+" or b"-"."""
        end = time.monotonic() + (wait.LIMIT if limit is None else limit)
        while True:
            match = re.match(rb"[+-]", self.data)
            if match:
                self.data = self.data[1:]
                return match.group()
            self._more(end)

    def ask(self, body, limit=None):
        self.send(body)
        return self.receive(limit)

    def interrupt(self):
        self.send_raw(b"\x03")

    def is_closed(self, limit=None):
        """True when the server closes the connection within the limit."""
        end = time.monotonic() + (wait.LIMIT if limit is None else limit)
        try:
            while True:
                self._more(end)
        except Closed:
            return True
        except wait.TimedOut:
            return False

    def close(self):
        """An orderly end of the connection (FIN)."""
        self.socket.close()

    def reset(self):
        """An abrupt one (RST)."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()
