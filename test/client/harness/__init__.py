"""What the client tests are written with: a server, real debuggers, programs to debug.

Reading order: wait.py, where.py, programs.py, server.py, mi.py, gdb.py, rsp.py, lldb.py and inside.py, dlv.py, dap.py.
"""
