"""The man page against what the server itself says."""
import re
import shutil
import subprocess

import pytest

from harness import where

PAGE = where.ROOT / "packaging" / "stopgo.1.scd"


def output(*args):
    return subprocess.run([where.server_path(), *args], capture_output=True, text=True, timeout=20, check=True).stdout


def section(name):
    """The text of one section of the page."""
    match = re.search(rf"^# {name}\n(.*?)(?=^# |\Z)", PAGE.read_text(), re.M | re.S)
    assert match, f"the page has no section {name}"
    return match.group(1)


def page_options():
    """The options that have an entry of their own."""
    entries = [row for row in section("OPTIONS").splitlines() if row.startswith("*-")]
    return {word for row in entries for word in re.findall(r"\*(--[a-z-]+)\*", row)}


@pytest.mark.quick
@pytest.mark.stopgo_only("another page")
def test_every_option_is_in_the_page_and_no_other():
    listed = {row.split("\t")[0] for row in output("--list-options").splitlines()}
    assert len(listed) > 30
    assert page_options() - {"--"} == listed


@pytest.mark.stopgo_only("another page")
def test_every_option_of_help_is_listed():
    listed = {row.split("\t")[0] for row in output("--list-options").splitlines()}
    helped = set(re.findall(r"^ +(?:-\w, )?(--[a-z-]+)", output("--help"), re.M))
    assert len(helped) > 15 and helped <= listed


@pytest.mark.stopgo_only("another page")
def test_letters_are_in_the_page():
    letters = {row.split("\t")[1] for row in output("--list-options").splitlines()} - {"", "-h"}
    text = section("OPTIONS")
    assert not [letter for letter in letters if f"*{letter}*" not in text]


@pytest.mark.stopgo_only("another page")
def test_exit_statuses():
    said = set(re.findall(r"\b(\d) [a-z]", output("--help").split("Exit status:")[1].split("Environment")[0]))
    assert said == set(re.findall(r"^\*(\d)\*$", section("EXIT STATUS"), re.M)) and said


@pytest.mark.stopgo_only("another page")
def test_variables():
    said = set(re.findall(r"\bSTOPGO_[A-Z_]+", output("--help")))
    assert said and said == set(re.findall(r"^\*(STOPGO_[A-Z_]+)\*", section("ENVIRONMENT"), re.M))


@pytest.mark.stopgo_only("another page")
def test_monitor_commands(session, programs):
    gdb, _ = session(programs.c("basic"))
    rows = [row.strip() for row in gdb.monitor("help").splitlines() if re.match(r"  \S", row)]
    # The name ends where an argument begins: [one], UPPER CASE, one|of|these.
    commands = {re.match(r"[a-z-]+(?: [a-z-]+\b(?!\|))*", row).group() for row in rows}
    entries = [row for row in section("MONITOR COMMANDS").splitlines() if row.startswith("*")]
    page = {match.strip("*") for row in entries for match in re.findall(r"(?:^|, )(\*[a-z -]+\*)", row)}
    assert commands == page
    gdb.kill()


@pytest.mark.stopgo_only("another page")
def test_the_page_can_be_made():
    if not shutil.which("scdoc"):
        pytest.skip("scdoc is not installed (tools/setup)")
    made = subprocess.run(["scdoc"], input=PAGE.read_text(), capture_output=True, text=True, timeout=20)
    assert made.returncode == 0, made.stderr
    assert ".TH" in made.stdout
