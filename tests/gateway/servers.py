"""Web servers with the files under `deploy`, over a public folder, before a gateway."""

import os
import socket
import ssl
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

from tests.certificates import Authority
from tests.client.processes import ROOT, until


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as found:
        return int(found.getsockname()[1])


def filled_in(file: Path, *changes: tuple[str, str]) -> str:
    """A file under `deploy`, with what its first lines say that one changes."""
    text = file.read_text(encoding="utf-8")
    for before, after in changes:
        assert before in text, before
        text = text.replace(before, after)
    return text


@contextmanager
def running(
    command: list[str], url: str, log: Path, authority: Authority | None, **options: Any
) -> Iterator[httpx.Client]:
    """A client of a server that was started and answers. It trusts the authority alone that signed for the server."""
    verify = True if authority is None else ssl.create_default_context(cafile=authority.certificate)
    with log.open("wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output, **options)
    try:
        with httpx.Client(base_url=url, trust_env=False, timeout=60, verify=verify) as client:

            def answers() -> bool:
                assert process.poll() is None, log.read_text()
                try:
                    return client.get("/metadata/timestamp.json").status_code == 200
                except httpx.TransportError:
                    return False

            until(answers, log.read_text)
            yield client
    finally:
        process.terminate()
        process.wait()


@contextmanager
def nginx(
    program: str, folder: Path, public: Path, behind: str, authority: Authority | None = None
) -> Iterator[httpx.Client]:
    """nginx over a public folder, before a gateway; over TLS, if an authority signs for it."""
    port, scheme, more = free_port(), "http", ""
    if authority is not None:
        pem = authority.issue("nginx", hosts=("127.0.0.1",))
        scheme, more = "https", f" ssl; ssl_certificate {pem}; ssl_certificate_key {pem}"
    text = filled_in(
        ROOT / "deploy/nginx/tuf-ledger.conf",
        ("listen 80;", f"listen 127.0.0.1:{port}{more};"),
        ("/srv/tuf-ledger/public", f"{public}"),
        ("127.0.0.1:8080", behind.removeprefix("http://")),
    )
    temporary = "".join(
        f"{name}_temp_path {folder}/{name};" for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    user = "user root;" if os.getuid() == 0 else ""
    (folder / "tuf-ledger.conf").write_text(text)
    (folder / "nginx.conf").write_text(
        f"{user} daemon off; pid {folder}/pid; error_log stderr warn; worker_processes 2; events {{ }} "
        f"http {{ access_log off; {temporary} include {folder}/tuf-ledger.conf; }}"
    )
    command = [program, "-e", "stderr", "-c", f"{folder}/nginx.conf"]
    with running(command, f"{scheme}://127.0.0.1:{port}", folder / "nginx.log", authority) as client:
        yield client


@contextmanager
def caddy(
    program: str, folder: Path, public: Path, behind: str, authority: Authority | None = None
) -> Iterator[httpx.Client]:
    """Caddy over a public folder, before a gateway; over TLS, if an authority signs for it."""
    port, scheme, more = free_port(), "http", ""
    if authority is not None:
        pem = authority.issue("caddy", hosts=("127.0.0.1",))
        scheme, more = "https", f"\n\ttls {pem} {pem}"
    text = filled_in(
        ROOT / "deploy/caddy/Caddyfile",
        ("packages.example.org {", f"{scheme}://127.0.0.1:{port} {{{more}"),
        ("/srv/tuf-ledger/public", f"{public}"),
        ("127.0.0.1:8080", behind.removeprefix("http://")),
    )
    (folder / "Caddyfile").write_text(f"{{\n\tadmin off\n}}\n{text}")
    command = [program, "run", "--adapter", "caddyfile", "--config", f"{folder}/Caddyfile"]
    home = {**os.environ, "HOME": f"{folder}", "XDG_DATA_HOME": f"{folder}", "XDG_CONFIG_HOME": f"{folder}"}
    with running(command, f"{scheme}://127.0.0.1:{port}", folder / "caddy.log", authority, env=home) as client:
        yield client


SERVERS = {"nginx": nginx, "caddy": caddy}
