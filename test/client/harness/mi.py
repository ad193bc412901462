"""gdb's machine interface (GDB/MI): its output records as Python values. No process, no I/O.

Source: "Debugging with GDB", GDB/MI Output Syntax.
"""
import re

_ESCAPES = {"n": "\n", "t": "\t", "r": "\r", "b": "\b", "f": "\f", "a": "\a", "e": "\x1b", "v": "\v"}


class Record:
    """One line of output: kind is one of ^ * + = ~ @ & or '(gdb)'."""

    def __init__(self, kind, name="", token=None, results=None, text=""):
        self.kind, self.name, self.token, self.results, self.text = kind, name, token, results or {}, text

    def __repr__(self):
        return f"{self.token or ''}{self.kind}{self.name}{self.results or ''}{self.text!r}"


def parse(line):
    """A line without its newline; None for one that is not MI (the program's own output on the same terminal)."""
    if line.rstrip() == "(gdb)":
        return Record("(gdb)")
    match = re.match(r"(\d+)?([\^*+=])([a-z-]+)", line)
    if match:
        results, _ = _results(line, match.end())
        return Record(match.group(2), match.group(3), match.group(1), results)
    if line[:1] in ("~", "@", "&") and line[1:2] == '"':
        text, _ = _string(line, 1)
        return Record(line[0], text=text)
    return None


def _results(text, at):
    """,name=value,name=value… up to the end or the closing brace. A name that comes twice (frames of a list) becomes a
    list; values without a name are under ""."""
    found = {}
    while at < len(text) and text[at] != "}":
        if text[at] == ",":
            at += 1
        elif text[at] in '"{[':
            value, at = _value(text, at)
            found.setdefault("", []).append(value)
        else:
            name, value, at = _result(text, at)
            if name not in found:
                found[name] = value
            elif isinstance(found[name], list):
                found[name].append(value)
            else:
                found[name] = [found[name], value]
    return found, at


def _result(text, at):
    word = re.compile(r"[\w-]+").match(text, at)
    if word and text[word.end():word.end() + 1] != "=":     # "=traceframe-changed,end" has no value
        return word.group(), True, word.end()
    equals = text.index("=", at)
    value, end = _value(text, equals + 1)
    return text[at:equals], value, end


def _value(text, at):
    if text[at] == '"':
        return _string(text, at)
    if text[at] == "{":
        found, at = _results(text, at + 1)
        return found, at + 1
    if text[at] == "[":
        return _list(text, at)
    raise ValueError(f"not MI at {at}: {text!r}")


def _list(text, at):
    items = []
    at += 1
    while text[at] != "]":
        if text[at] == ",":
            at += 1
            continue
        if text[at] in '"{[':
            value, at = _value(text, at)
        else:
            _, value, at = _result(text, at)
        items.append(value)
    return items, at + 1


def _string(text, at):
    out = bytearray()
    at += 1
    while text[at] != '"':
        char = text[at]
        if char != "\\":
            out += char.encode()
            at += 1
            continue
        octal = re.match(r"[0-7]{1,3}", text[at + 1:])
        if octal:
            out.append(int(octal.group(), 8) & 0xFF)
            at += 1 + octal.end()
        else:
            out += _ESCAPES.get(text[at + 1], text[at + 1]).encode()
            at += 2
    return out.decode(errors="replace"), at + 1
