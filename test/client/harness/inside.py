"""What a scenario uses inside lldb's own Python: verbs over lldb's API. Imported by lldb, never by a test.

A scenario is a function of a test module, run inside lldb as scenario(here, ...): here is the Inside below. It returns what a
user would see, without what differs between two runs of the same program (process and thread numbers).
"""
import os
import re

import lldb


class Failed(Exception):
    pass


def check(error):
    if error.Fail():
        raise Failed(error.GetCString())


class Inside:
    def __init__(self, server, address=None):
        self.server, self.address = server, address
        os.environ["LLDB_DEBUGSERVER_PATH"] = server or ""
        self.debugger = lldb.SBDebugger.Create()
        self.debugger.SetAsync(False)
        self.target = self.process = None
        self.printed = ""

    # --- beginning and ending ---

    def program(self, path):
        error = lldb.SBError()
        self.target = self.debugger.CreateTarget(path, None, None, True, error)
        check(error)
        return self.target

    def launch(self, *args, env=(), cwd=None, flags=0, stdio=(None, None, None)):
        """Until the first stop."""
        info = lldb.SBLaunchInfo([str(word) for word in args])
        if env:
            info.SetEnvironmentEntries(list(env), True)
        if cwd:
            info.SetWorkingDirectory(cwd)
        info.SetLaunchFlags(info.GetLaunchFlags() | flags)
        for number, path in enumerate(stdio):
            if path:
                info.AddOpenFileAction(number, path, number == 0, number != 0)
        error = lldb.SBError()
        self.process = self.target.Launch(info, error)
        check(error)
        return self.process

    def attach(self, pid):
        error = lldb.SBError()
        self.process = self.target.AttachToProcessWithID(self.debugger.GetListener(), pid, error)
        check(error)
        return self.process

    def connect(self, address=None):
        """gdb-remote: until the process that is there has stopped, or the server has said that there is none."""
        error = lldb.SBError()
        listener = self.debugger.GetListener()
        self.process = self.target.ConnectRemote(listener, "connect://" + (address or self.address), "gdb-remote", error)
        check(error)
        event = lldb.SBEvent()
        while self.process.GetState() not in (lldb.eStateStopped, lldb.eStateConnected, lldb.eStateExited):
            if not listener.WaitForEvent(30, event):
                raise Failed("no answer to gdb-remote")
        return self.process

    def command(self, line):
        """What a command of lldb prints."""
        done = lldb.SBCommandReturnObject()
        self.debugger.GetCommandInterpreter().HandleCommand(line, done)
        if not done.Succeeded():
            raise Failed(f"{line}: {done.GetError()}")
        return done.GetOutput() or ""

    # --- breakpoints ---

    def break_at(self, where, condition=None):
        source, _, line = where.rpartition(":")
        if line.isdigit():
            point = self.target.BreakpointCreateByLocation(source, int(line))
        else:
            point = self.target.BreakpointCreateByName(where)
        if not point.GetNumLocations() and self.process:
            raise Failed("no place for a breakpoint at " + where)
        if condition:
            point.SetCondition(condition)
        return point

    def watch(self, name, read=False, write=True):
        value = self.target.FindFirstGlobalVariable(name)
        error = lldb.SBError()
        point = value.Watch(True, read, write, error)
        check(error)
        return point

    # --- running ---

    def cont(self):
        check(self.process.Continue())
        return self.stop()

    def stop(self):
        """Why and where the process stands: of the thread that lldb would show."""
        state = self.process.GetState()
        self.collect()
        if state == lldb.eStateExited:
            return f"exited {self.process.GetExitStatus()} {self.process.GetExitDescription() or ''}".strip()
        if state != lldb.eStateStopped:
            return lldb.SBDebugger.StateAsCString(state)
        thread = self.thread
        return f"{self.reason(thread)} in {self.place(thread.GetFrameAtIndex(0))}"

    @property
    def thread(self):
        """The selected thread, or the first that stopped for a reason."""
        chosen = self.process.GetSelectedThread()
        if chosen and chosen.GetStopReason() not in (lldb.eStopReasonNone, lldb.eStopReasonInvalid):
            return chosen
        for thread in self.process:
            if thread.GetStopReason() not in (lldb.eStopReasonNone, lldb.eStopReasonInvalid):
                return thread
        return chosen

    @property
    def frame(self):
        return self.thread.GetFrameAtIndex(0)

    def reason(self, thread):
        text = thread.GetStopDescription(200) or "none"
        # lldb-server 19 writes it with a colon, 21 with an equals sign.
        return re.sub(r"0x[0-9a-f]{9,}", "ADDRESS", text.replace("fault address: ", "fault address="))

    def place(self, frame):
        entry = frame.GetLineEntry()
        line = f" {entry.GetFileSpec().GetFilename()}:{entry.GetLine()}" if entry.IsValid() else ""
        return (frame.GetDisplayFunctionName() or "?") + line

    def frames(self, thread=None):
        return [self.place(frame) for frame in (thread or self.thread)]

    def value(self, expression):
        found = self.frame.EvaluateExpression(expression)
        check(found.GetError())
        return found.GetValue() or found.GetSummary() or str(found)

    def collect(self):
        """What the program has printed."""
        while True:
            text = self.process.GetSTDOUT(65536)
            if not text:
                return self.printed
            self.printed += text.replace("\r\n", "\n")

    # --- registers and memory ---

    def register(self, name):
        found = self.frame.FindRegister(name)
        if not found.IsValid():
            raise Failed("no register " + name)
        return found

    def vector(self, name):
        """A vector register's bytes."""
        found, error = self.register(name), lldb.SBError()
        return [found.GetData().GetUnsignedInt8(error, i) for i in range(found.GetByteSize())]

    def read(self, address, size):
        error = lldb.SBError()
        data = self.process.ReadMemory(address, size, error)
        check(error)
        return data

    def address_of(self, name):
        return self.target.FindFirstGlobalVariable(name).GetLoadAddress()

    def close(self):
        if self.process and self.process.IsValid() and self.process.GetState() not in (
                lldb.eStateExited, lldb.eStateDetached, lldb.eStateInvalid):
            self.process.Kill()
        lldb.SBDebugger.Destroy(self.debugger)
