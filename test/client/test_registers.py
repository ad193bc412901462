"""Registers of every group: read, written, and seen by the program."""
import pathlib

import pytest

from harness.programs import at

AVX = " avx " in pathlib.Path("/proc/cpuinfo").read_text()
AVX512 = " avx512f " in pathlib.Path("/proc/cpuinfo").read_text()
needs_avx = pytest.mark.skipif(not AVX, reason="this processor has no AVX")


@pytest.fixture
def loaded(at_main, programs):
    gdb, server = at_main(programs.c("registers"))
    gdb.run_to("*&loaded")
    return gdb


def end(gdb, changed):
    gdb.delete()
    gdb.cont()
    stop = gdb.expect_stop()
    assert stop.is_exit and stop.exit_code == changed, stop


@needs_avx
@pytest.mark.quick
def test_loaded_values_are_seen(loaded):
    assert loaded.eval("$xmm3.v16_int8") == "{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16}"
    assert loaded.value("$ymm3.v32_int8[31]") == 32
    assert loaded.eval("$st0") == "1.25"
    assert loaded.addr("$rbx") == 0x1122334455667788
    assert loaded.value("$ebx") == 0x55667788
    assert loaded.value("$bl") & 0xFF == 0x88
    end(loaded, 0)


@needs_avx
@pytest.mark.parametrize("assignment, changed", [
    ("$xmm3.v16_int8[0] = 99", 1),
    ("$ymm3.v32_int8[20] = 99", 2),
    ("$ymm3.v32_int8[3] = 99", 1),
    ("$st0 = 2.5", 4),
    ("$mxcsr = 0x9f80", 8),     # flush to zero: a bit that nothing here depends on
    ("$rbx = 1", 16),
    ("$bl = 1", 16),
])
def test_written_values_reach_the_program(loaded, assignment, changed):
    loaded.set(assignment)
    end(loaded, changed)


def test_program_counter_and_flags(at_main, programs):
    gdb, _ = at_main(programs.c("basic"))
    gdb.run_to("depth")
    gdb.set("$eflags = $eflags | 1")
    assert "CF" in gdb.eval("$eflags")
    gdb.set("$rip = $rip")
    gdb.step("stepi")
    gdb.delete()
    gdb.cont()
    gdb.expect_exit(3)


def test_segments_and_bases(at_main, programs):
    gdb, _ = at_main(programs.c("basic"))
    assert gdb.value("$cs") == 0x33 and gdb.value("$ss") == 0x2B
    assert gdb.addr("$fs_base") != 0
    assert gdb.addr("*(unsigned long *)($fs_base + 0x10)") == gdb.addr("$fs_base")
    assert gdb.value("$gs_base") == 0
    assert gdb.value("$orig_rax") == -1
    gdb.kill()


def test_all_registers_are_listed(at_main, programs):
    gdb, _ = at_main(programs.c("basic"))
    names = set(filter(None, gdb.mi("-data-list-register-names")["register-names"]))
    assert {"rax", "r15", "rip", "eflags", "st7", "xmm15", "mxcsr", "fs_base", "gs_base", "orig_rax"} <= names
    if AVX:
        assert "ymm15" in names
    if AVX512:
        assert {"zmm31", "k7", "ymm31", "xmm31"} <= names
    values = gdb.mi("-data-list-register-values x")["register-values"]
    assert not [row for row in values if "<unavailable>" in str(row["value"])]
    gdb.kill()


@pytest.mark.skipif(not AVX512, reason="this processor has no AVX-512")
@pytest.mark.peer_fails("loses what is written to zmm16 and above")
def test_avx512_written_is_read_back(at_main, programs):
    gdb, _ = at_main(programs.c("basic"))
    gdb.set("$zmm5.v8_int64[7] = 0x1234567890")
    gdb.set("$zmm30.v8_int64[0] = 77")
    gdb.set("$k3 = 0x55")
    gdb.step("stepi")
    assert gdb.value("$zmm5.v8_int64[7]") == 0x1234567890
    assert gdb.value("$zmm30.v8_int64[0]") == 77
    assert gdb.value("$k3") == 0x55
    assert gdb.value("$ymm5.v4_int64[1]") == gdb.value("$zmm5.v8_int64[1]")
    gdb.kill()


def test_every_integer_register_written_is_read_back(at_main, programs):
    gdb, _ = at_main(programs.c("basic"))
    gdb.run_to(at("basic.c", "add-body"))
    names = ["rax", "rbx", "rcx", "rdx", "rsi", "rdi", *(f"r{n}" for n in range(8, 16))]
    saved = {name: gdb.addr("$" + name) for name in names}
    for number, name in enumerate(names):
        gdb.set(f"${name} = {0xA000000000000000 + number}")
    gdb.cli("flushregs" if gdb.version < 14 else "maintenance flush register-cache")
    for number, name in enumerate(names):
        assert gdb.addr("$" + name) == 0xA000000000000000 + number
    for name, value in saved.items():
        gdb.set(f"${name} = {value}")
    gdb.delete()
    gdb.cont()
    gdb.expect_exit(3)


def test_registers_of_another_thread(session, programs):
    gdb, _ = session(programs.c("threads"), "2")
    gdb.break_at("work")
    gdb.cont()
    stop = gdb.expect_breakpoint_stop("work")
    gdb.delete()
    other = next(number for number in gdb.threads() if number not in (1, stop.thread))
    gdb.thread(other)
    gdb.set("$rbx = 0x4711")
    there = gdb.addr("$fs_base")
    gdb.thread(stop.thread)
    assert gdb.addr("$fs_base") != there
    gdb.cli("maintenance flush register-cache" if gdb.version > 13 else "flushregs")
    gdb.thread(other)
    assert gdb.value("$rbx") == 0x4711 and gdb.addr("$fs_base") == there
    gdb.kill()


def test_frames_above_have_their_saved_registers(at_main, programs):
    gdb, _ = at_main(programs.c("basic"))
    gdb.run_to(at("basic.c", "deepest"))
    inner = gdb.addr("$rsp")
    gdb.cli("up")
    assert gdb.addr("$rsp") > inner
    gdb.cli("down")
    assert gdb.addr("$rsp") == inner
    gdb.kill()
