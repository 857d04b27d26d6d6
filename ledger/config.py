"""Configuration: one TOML file in the ledger's folder, every value also an environment variable.

`[signer] interval_seconds` is `TUF_LEDGER_SIGNER_INTERVAL_SECONDS`. The environment wins. Settings here never shape
metadata: those that do are on the log. Secrets are kept out of every representation and message.
"""

import json
import os
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec

from schemas.errors import LedgerError

FILENAME = "ledger.toml"
PREFIX = "TUF_LEDGER"

Seconds = Annotated[float, msgspec.Meta(ge=0, le=1e9)]
PositiveSeconds = Annotated[float, msgspec.Meta(gt=0, le=1e9)]
Days = Annotated[float, msgspec.Meta(gt=0, le=36_500)]
Name = Annotated[str, msgspec.Meta(pattern=r"^[^\0]*\Z")]
"""A path or a URL: neither has a zero byte."""


class ConfigError(LedgerError):
    """The configuration cannot be used; the message names the setting."""


class LedgerSection(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where the ledger is. Relative paths are relative to the ledger's folder. What is withheld is moved to `evidence`
    (default: a folder beside the public one).
    """

    log: Name = "sqlite:log"
    public: Name = "public"
    state: Name = "state"
    evidence: Name = ""


class SignerSection(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Settings of the signer. `keys` is a folder of key files; `uris` names keys elsewhere by key id. The files at
    `served` (a URL or a folder; default: the public folder) are compared with the log before the first signature.
    """

    keys: Name = "keys/online"
    uris: dict[str, str] = {}
    interval_seconds: Seconds = 1.0
    grace_seconds: Seconds = 5.0
    clock_days: Days = 7.0
    served: Name = ""

    def __repr__(self) -> str:
        """Leave out the URIs, which may hold credentials."""
        return f"SignerSection(keys={self.keys!r}, uris=<{len(self.uris)}>)"


class VerifierSection(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Settings of the verifier. `served` is as for the signer. The served files may lag by `delay_seconds`; events may
    wait for a publication for `lag_seconds`.
    """

    served: Name = ""
    delay_seconds: PositiveSeconds = 30.0
    lag_seconds: PositiveSeconds = 300.0


class CatalogSection(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where the catalog is: a PostgreSQL database (`postgresql://USER@HOST:PORT/DATABASE`) and the schema in it, or by
    default a file among the states. A password is best left to `~/.pgpass`, or given by the environment.
    """

    url: str = ""
    schema: str = "tuf_ledger"

    def __repr__(self) -> str:
        """Leave out the URL, which may hold a password."""
        return f"CatalogSection(url=<{len(self.url)} characters>, schema={self.schema!r})"


class GatewaySection(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Settings of the gateway. `producers` is the file of those who may append events over it (default: nobody may).
    With `certfile` and `keyfile` it speaks HTTPS. `forwarded`: whether a server before it is trusted to say how clients
    came to it.
    """

    producers: Name = ""
    certfile: Name = ""
    keyfile: Name = ""
    forwarded: Literal["ignored", "trusted"] = "ignored"


class KafkaSection(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How to connect to the brokers."""

    security_protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = "PLAINTEXT"
    sasl_mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] = "SCRAM-SHA-512"
    sasl_username: str = ""
    sasl_password: str = ""
    ssl_cafile: Name = ""
    ssl_certfile: Name = ""
    ssl_keyfile: Name = ""
    timeout_seconds: PositiveSeconds = 30.0

    def __repr__(self) -> str:
        """Leave out the password."""
        return f"KafkaSection(security_protocol={self.security_protocol!r}, sasl_username={self.sasl_username!r})"


class LoggingSection(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Level and format of logs; `auto` is for people on a terminal, and JSON otherwise."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    format: Literal["auto", "console", "json"] = "auto"


class Config(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """All settings of one ledger folder."""

    ledger: LedgerSection = LedgerSection()
    signer: SignerSection = SignerSection()
    verifier: VerifierSection = VerifierSection()
    catalog: CatalogSection = CatalogSection()
    kafka: KafkaSection = KafkaSection()
    logging: LoggingSection = LoggingSection()
    gateway: GatewaySection = GatewaySection()


def load_config(folder: Path, environment: Mapping[str, str] | None = None) -> Config:
    """Load the configuration of a ledger's folder, with defaults for settings in neither file nor environment.

    Raises:
        ConfigError: the file is not TOML, or a setting is unknown or out of range.
    """
    path = folder / FILENAME
    values: dict[str, Any] = {}
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        pass
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}") from error
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigError(f"{path} is not valid TOML: {error}") from error
    except RecursionError as error:
        raise ConfigError(f"{path} is not valid TOML: it is nested too deeply") from error
    try:
        _apply_environment(values, os.environ if environment is None else environment)
        return msgspec.convert(values, Config, strict=False)
    except msgspec.ValidationError as error:
        # msgspec writes `$.signer.keys` for `[signer] keys`.
        message = re.sub(r"\$\.(\w+)\.?", r"[\1] ", str(error)).replace(" `", "`")
        raise ConfigError(f"{path} or the environment: {message}") from error


def log_line(log: str) -> str:
    """The line of `[ledger]` that says where the logs are.

    Raises:
        ConfigError: the text is not Unicode, so TOML cannot have it.
    """
    if any("\ud800" <= character <= "\udfff" for character in log):
        raise ConfigError(f"[ledger] log (or --log) {log!r} has bytes that are not UTF-8: {FILENAME} cannot name it")
    return f"log = {json.dumps(log, ensure_ascii=False)}"  # not escaped: TOML takes no surrogates


def write_config(folder: Path, log: str) -> None:
    """Write the configuration of a new ledger."""
    text = (
        "# Configuration of this ledger. Every value is also an environment variable: [signer] interval_seconds is\n"
        f"# {PREFIX}_SIGNER_INTERVAL_SECONDS. What shapes metadata is not here but on the log, signed in root.\n"
        f"\n[ledger]\n{log_line(log)}\n"
    )
    (folder / FILENAME).write_text(text, encoding="utf-8")


def settings() -> dict[str, str]:
    """The environment variable of every setting, with the setting's place in the file."""
    return {
        f"{PREFIX}_{section.name}_{field.name}".upper(): f"[{section.name}] {field.name}"
        for section in msgspec.structs.fields(Config)
        for field in msgspec.structs.fields(section.type)
    }


def _apply_environment(values: dict[str, Any], environment: Mapping[str, str]) -> None:
    for section in msgspec.structs.fields(Config):
        for field in msgspec.structs.fields(section.type):
            name = f"{PREFIX}_{section.name}_{field.name}".upper()
            if name in environment:
                text = environment[name]
                table = values.setdefault(section.name, {})
                if not isinstance(table, dict):
                    raise ConfigError(f"[{section.name}] in {FILENAME} must be a table")
                table[field.name] = _parse_table(name, text) if field.name == "uris" else text


def _parse_table(name: str, text: str) -> Any:
    """Read a table from an environment variable, written as in TOML: `{ KEYID = "file2:…" }`."""
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise ConfigError(f'{name} is not a TOML table, such as {{ KEYID = "awskms:…" }}') from error
