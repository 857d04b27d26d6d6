"""Help, usage and documentation: everything that a command or setting can do is said somewhere."""

import re
import tomllib
from pathlib import Path
from typing import Any

import click
import msgspec
import pytest

from consumers.cli.main import COMMANDS
from ledger import config
from tests.cli.names import NAMES, command_of
from tests.client.index import Index, invoke
from tests.client.processes import execute

ROOT = Path(__file__).resolve().parents[2]
WITHOUT_LEDGER = {"token new", "init", "demo", "check-proof", "copy-log", "restore-backup", "incident rehearse"}
WITHOUT_JSON = {"run", "serve", "demo"}
"""Commands that print no data."""


def manual() -> str:
    """What is written for operators and readers."""
    return "".join((ROOT / name).read_text(encoding="utf-8") for name in ("README.md", "docs/operators.md"))


def test_all_commands_are_listed() -> None:
    output = invoke("--help").output
    assert all(f"  {name} " in output for name in COMMANDS)


def test_version() -> None:
    assert "tuf-ledger, version" in invoke("--version").output


def test_usage_names_the_command() -> None:
    assert execute("yank", answer=2).stderr.startswith("Usage: tuf-ledger yank ")


def test_commands_below_a_command_are_listed() -> None:
    output = invoke("incident", "--help").output
    assert all(f"  {name.partition(' ')[2]} " in output for name in NAMES if name.startswith("incident "))
    assert "Did you mean show?" in invoke("incident", "shwo", answer=2).output


@pytest.mark.parametrize("name", NAMES)
def test_help_has_an_example(name: str) -> None:
    for option in ("--help", "-h"):
        output = invoke(*name.split(), option).output
        assert "Example" in output
        assert f"tuf-ledger {name}" in output
    options = {option for each in command_of(name).params for option in each.opts}
    assert ("--ledger" in options) == (name not in WITHOUT_LEDGER)
    assert ("--json" in options) == (name not in WITHOUT_JSON)


@pytest.mark.parametrize("name", NAMES)
def test_every_option_is_explained(name: str) -> None:
    for parameter in command_of(name).params:
        assert not isinstance(parameter, click.Option) or parameter.help, parameter.opts


@pytest.mark.parametrize(
    "arguments",
    [
        ("nonsense",),
        ("info", "--nonsense"),
        ("info", "extra"),
        ("add",),
        ("yank",),
        ("status", "one", "nonsense"),
        ("rebuild",),
        ("run", "nonsense"),
        ("resume",),
        ("resume", "--above", "0"),
        ("init",),
        ("init", "x", "--bins", "3"),
        ("init", "x", "--bins", "many"),
        ("init", "x", "--bins", "131072"),
        ("init", "x", "--bins", "512", "--delegation", "prefixes"),
        ("init", "x", "--bin-expiry", "7"),
        ("init", "x", "--timestamp-expiry", "-1d"),
        ("init", "x", "--origin", "not an origin"),
        ("init", "x", "--log", "http://example.org"),
        ("init", "x", "--log", "kafka://user:secret@broker/prefix"),
    ],
)
def test_usage_errors(arguments: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    output = invoke(*arguments, answer=2).output
    assert "secret" not in output
    assert list(tmp_path.iterdir()) == [], "nothing is left behind"


def test_every_command_is_documented() -> None:
    text = manual()
    assert [name for name in NAMES if not re.search(rf"tuf-ledger {name}\b|`{name}`|`run {name}`", text)] == []


def test_every_setting_is_documented_with_its_default() -> None:
    rows = {}
    for line in (ROOT / "docs/operators.md").read_text(encoding="utf-8").splitlines():
        if line.startswith("| `["):
            place, variable, default, meaning = (cell.strip().strip("`") for cell in line.strip("|").split("|")[:4])
            assert meaning or default or place.startswith("[kafka]"), line
            rows[variable] = (place, default)
    assert {variable: place for variable, (place, _) in rows.items()} == config.settings()
    defaults = msgspec.to_builtins(config.Config())
    for place, default in rows.values():
        section, _, name = place.partition(" ")
        value = defaults[section.strip("[]")][name]
        computed = {"the public folder", "beside the public folder"} if value == "" else {"{}"}
        assert default in {str(value), *computed}, place


def test_no_setting_is_documented_that_does_not_exist() -> None:
    names = set(re.findall(r"TUF_LEDGER_[A-Z_]+", manual()))
    assert names <= {
        *config.settings(),
        "TUF_LEDGER_DEBUG",
        "TUF_LEDGER_REQUIRE_KAFKA",
        "TUF_LEDGER_REQUIRE_GO",
        "TUF_LEDGER_COMPLETE",
    }


# --- settings ----------------------------------------------------------------------------------------------------

VALUES: dict[str, Any] = {
    "security_protocol": "SASL_SSL",
    "sasl_mechanism": "PLAIN",
    "forwarded": "trusted",
    "level": "debug",
    "format": "json",
    "uris": {"0" * 64: "awskms:key"},
}


def test_every_setting_can_be_set_in_the_file_and_in_the_environment(tmp_path: Path) -> None:
    for variable, place in config.settings().items():
        section, _, name = place.partition(" ")
        field = getattr(getattr(config.Config(), section.strip("[]")), name)
        value = VALUES.get(name, 2.5 if isinstance(field, float) else "text")
        text = '{ "%s" = "awskms:key" }' % ("0" * 64) if name == "uris" else str(value)
        quoted = text if name == "uris" or isinstance(value, float) else f'"{text}"'
        (tmp_path / "ledger.toml").write_text(f"{section}\n{name} = {quoted}\n", encoding="utf-8")
        from_file = config.load_config(tmp_path, {})
        assert getattr(getattr(from_file, section.strip("[]")), name) == value
        (tmp_path / "ledger.toml").unlink()
        assert config.load_config(tmp_path, {variable: text}) == from_file
        (tmp_path / "ledger.toml").write_text(f"{section}\n", encoding="utf-8")
        assert config.load_config(tmp_path, {variable: text}) == from_file


def test_init_writes_a_file_that_says_where_the_log_is(index: Index) -> None:
    text = (index.folder / "ledger.toml").read_text(encoding="utf-8")
    assert tomllib.loads(text)["ledger"]["log"] == "sqlite:log"
