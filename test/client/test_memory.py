"""Memory: read, written, searched, dumped and restored; at edges and in bulk."""
import hashlib
import pathlib

import pytest

from harness.gdb import GdbError


@pytest.fixture
def gdb(at_main, programs):
    return at_main(programs.c("basic"))[0]


@pytest.mark.quick
def test_write_and_read_back(gdb):
    data = bytes(range(256)) * 16
    gdb.write("&area", data)
    assert gdb.read("&area", len(data)) == data
    assert gdb.read("&area[1]", 100) == data[1:101]
    gdb.write("&area[3]", b"}#$*\x00\x7f\xff")          # every byte that the protocol escapes
    assert gdb.read("&area[2]", 9) == b"\x02}#$*\x00\x7f\xff\x0a"
    gdb.kill()


@pytest.mark.parametrize("length", [1, 2, 3, 4, 7, 8, 9, 15, 16, 17, 4095, 4096, 4097, 16384, 70001])
def test_lengths(gdb, length):
    data = hashlib.shake_128(b"%d" % length).digest(length)
    gdb.write("&area[5]", data)
    assert gdb.read("&area[5]", length) == data
    assert gdb.read("&area[4]", 1) == b"\0" and gdb.read(f"&area[{5 + length}]", 1) == b"\0"
    gdb.kill()


def test_a_megabyte_both_ways(gdb, tmp_path):
    data = hashlib.shake_128(b"bulk").digest(1 << 20)
    (tmp_path / "in").write_bytes(data)
    gdb.cli(f"restore {tmp_path}/in binary &area")
    gdb.cli(f"dump binary memory {tmp_path}/out &area (char *)&area+{1 << 20}")
    assert (tmp_path / "out").read_bytes() == data
    gdb.kill()


def test_unmapped(gdb):
    for address in (0, 8, 0x1000, 0x7FFFFFFFF000, 0xFFFFFFFFFFFFFFF0, 0x8000000000000000):
        with pytest.raises(GdbError, match="access memory|Unable to read"):
            gdb.read(address, 16)
    with pytest.raises(GdbError, match="access memory|write"):
        gdb.write(8, b"x")
    gdb.delete()
    gdb.cont()
    gdb.expect_exit(3)


@pytest.mark.peer_fails("it gives nothing")
def test_up_to_the_end_of_a_mapping(serve, new_rsp, programs):
    """A read that runs into unmapped memory gives the part that is there."""
    server = serve.launch(programs.c("basic"))
    rsp = new_rsp(server)
    rsp.ask("?")
    rows = [row.split() for row in pathlib.Path(f"/proc/{server.inferior}/maps").read_text().splitlines()]
    spans = [[int(part, 16) for part in row[0].split("-")] for row in rows if "r" in row[1]]
    starts = {start for start, _ in spans}
    end = next(end for _, end in spans if end not in starts)
    assert len(rsp.ask(f"m{end - 16:x},10")) == 32
    assert rsp.ask(f"m{end - 16:x},40") == rsp.ask(f"m{end - 16:x},10")
    assert rsp.ask(f"m{end:x},10").startswith(b"E")


def test_read_only_memory_is_written(gdb):
    """As with any debugger, the program's own text can be written."""
    original = gdb.read("&swap", 4)
    gdb.write("&swap", b"\x90\x90\x90\x90")
    assert gdb.read("&swap", 4) == b"\x90\x90\x90\x90"
    gdb.write("&swap", original)
    gdb.delete()
    gdb.cont()
    gdb.expect_exit(3)


def test_find(gdb):
    text = gdb.cli('find &text, +sizeof(text), {char[7]}"of text"')
    assert "1 pattern found" in text and "<text+7>" in text
    gdb.write("&area[1000000]", b"needle in a megabyte")
    text = gdb.cli('find /b1 &area, +sizeof(area), \'n\', \'e\', \'e\', \'d\', \'l\', \'e\'')
    assert "<area+1000000>" in text
    assert "Pattern not found" in gdb.cli("find &area, +sizeof(area), (char)1, (char)2, (char)3")
    gdb.kill()


def test_find_across_the_servers_chunks(gdb):
    """Patterns that lie over the places where a search in pieces would cut."""
    for edge in (4096, 16000, 16384, 65536, 131072):
        gdb.write(f"&area[{edge - 3}]", b"EDGES")
        assert f"<area+{edge - 3}>" in gdb.cli(f"find /b1 &area[{max(0, edge - 40000)}], +80000, 'E', 'D', 'G', 'E', 'S'")
        gdb.write(f"&area[{edge - 3}]", bytes(5))
    gdb.kill()


def test_strings_structures_and_changes(gdb):
    assert gdb.eval("text").startswith('"a line of text')
    gdb.write("&text", b"changed\0")
    assert '"changed"' in gdb.cli("x/s text")
    gdb.set("pairs[2].right = -8.5")
    assert gdb.eval("pairs[2]") == "{left = 3, right = -8.5}"
    gdb.set("global = -5")
    assert gdb.eval("global") == "-5"
    gdb.kill()


def test_write_of_a_running_programs_data_is_seen_by_it(at_main, programs):
    gdb, server = at_main(programs.c("basic"))
    gdb.run_to("swap")
    gdb.set("p.right = 31")
    gdb.cont()
    gdb.expect_exit(3)
    assert "pair 31" in server.out.rest()


def test_memory_map_of_the_core_file(gdb, tmp_path):
    """gcore reads every mapping through the server; the core opens and shows the same."""
    gdb.run_to("depth")
    gdb.cli(f"generate-core-file {tmp_path}/core")
    assert (tmp_path / "core").stat().st_size > 1 << 20
    program = gdb.cli("info files").split('Symbols from "')[1].split('"')[0]
    gdb.kill()
    gdb.cli(f"file {program}")
    gdb.cli(f"core-file {tmp_path}/core")
    assert gdb.bt() == ["depth", "main"]
