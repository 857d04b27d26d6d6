"""Secrets never appear: not in output, not in errors, not in logs, whatever goes wrong."""

from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization

from tests.cli.test_bad_folders import COMMANDS
from tests.client.index import Index, invoke
from tests.client.processes import execute, start

SECRET = "hunter2-hunter2"
VARIABLES = {
    "TUF_LEDGER_KAFKA_SASL_PASSWORD": SECRET,
    "TUF_LEDGER_KAFKA_SASL_USERNAME": "somebody",
    "TUF_LEDGER_KAFKA_SECURITY_PROTOCOL": "SASL_PLAINTEXT",
    "TUF_LEDGER_KAFKA_TIMEOUT_SECONDS": "0.3",
    "TUF_LEDGER_SIGNER_URIS": f'{{ "{64 * chr(48)}" = "hv:{SECRET}" }}',
}


@pytest.fixture
def _secret(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in VARIABLES.items():
        monkeypatch.setenv(name, value)


def key_id(index: Index) -> str:
    """The online key's."""
    (path,) = (index.folder / "keys/online").iterdir()
    return path.stem


@pytest.mark.usefixtures("_secret")
@pytest.mark.parametrize("command", COMMANDS, ids=[each[0] for each in COMMANDS])
def test_no_command_shows_them(index: Index, tmp_path: Path, command: tuple[str, ...]) -> None:
    name, *rest = command
    arguments = [each.format(index=index.folder) for each in rest]
    for options in ([], ["--help"], ["--nonsense"]):
        result = execute(name, "--ledger", index.folder, *arguments, *options, answer=None, env=VARIABLES)
        assert SECRET not in result.stdout + result.stderr
        if name not in {"publish", "ceremony"}:
            break


@pytest.mark.usefixtures("_secret")
@pytest.mark.parametrize("debug", [False, True])
def test_a_broker_that_is_away(index: Index, monkeypatch: pytest.MonkeyPatch, debug: bool) -> None:
    """Not even with the traceback that somebody asked for."""
    if debug:
        monkeypatch.setenv("TUF_LEDGER_DEBUG", "1")
    monkeypatch.setenv("TUF_LEDGER_LOGGING_LEVEL", "debug")
    for name in ("info", "verify", "publish"):
        output = invoke(name, "--ledger", index.folder, "--log", "kafka://127.0.0.1:1/x", answer=75).output
        assert SECRET not in output
        assert "127.0.0.1:1" in output


@pytest.mark.parametrize("uri", ["hv:{}", "hsm:{}"])
def test_a_key_service_that_does_not_answer(index: Index, monkeypatch: pytest.MonkeyPatch, uri: str) -> None:
    """It may answer later."""
    check_key_uri(index, monkeypatch, uri, 75)


@pytest.mark.parametrize("uri", ["awskms:{}", "gcpkms:{}", "azurekms://{}", "nonsense:{}", "{}", ""])
def test_a_key_service_that_cannot_be_asked_here(index: Index, monkeypatch: pytest.MonkeyPatch, uri: str) -> None:
    """There is no such service, or no library for it: somebody must see to that."""
    check_key_uri(index, monkeypatch, uri, 2)


def check_key_uri(index: Index, monkeypatch: pytest.MonkeyPatch, uri: str, answer: int) -> None:
    """Nothing is signed, and what is said of it does not repeat the URI."""
    text = uri.format(SECRET)
    monkeypatch.setenv("TUF_LEDGER_SIGNER_URIS", f'{{ "{key_id(index)}" = "{text}" }}')
    index.upload("new")
    output = index.run("publish", answer=answer)
    assert f"key {key_id(index)[:16]}… cannot be used: " in output
    assert SECRET not in output


def test_a_running_service_does_not_log_them(index: Index, tmp_path: Path) -> None:
    uris = {"TUF_LEDGER_SIGNER_URIS": f'{{ "{key_id(index)}" = "hv:{SECRET}" }}', "TUF_LEDGER_LOGGING_LEVEL": "debug"}
    index.upload("new")
    with start(tmp_path / "log", "run", "--ledger", index.folder, env={**VARIABLES, **uris}) as running:
        running.wait_for("temporary failure, retrying")
        running.stop()
        assert SECRET not in running.output()


def test_keys_are_private(index: Index) -> None:
    paths = list((index.folder / "keys").rglob("*.pem"))
    assert len(paths) == 8
    assert {path.stat().st_mode & 0o777 for path in paths} == {0o600}
    assert {path.parent.stat().st_mode & 0o777 for path in paths} == {0o700}
    key = paths[0].read_text().splitlines()[1]
    for command in ("info", "publish", "verify"):
        assert key not in index.run(command)


def test_a_key_file_with_a_password(index: Index) -> None:
    (path,) = (index.folder / "keys/online").iterdir()
    key = serialization.load_pem_private_key(path.read_bytes(), None)
    encryption = serialization.BestAvailableEncryption(SECRET.encode())
    path.write_bytes(key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption))
    index.upload("new")
    output = index.run("publish", answer=2)
    assert "cannot be used" in output
    assert "without a password" in output
