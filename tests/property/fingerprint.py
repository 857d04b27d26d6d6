"""`python -m tests.property.fingerprint`: the digest of everything that a long, fixed history makes."""

import logging
from hashlib import sha256
from random import Random

import structlog

from projections.log.prefix import save
from projections.roles.authority import Settings
from projections.roles.layout import Layout
from schemas import events
from tests import factory
from tests.factory import Make, Team
from tests.property.ledger import begin


def fixed_history(make: Make, seed: int, count: int) -> list[bytes | None]:
    """Records of all kinds, the same for the same seed in every version of Python."""
    random = Random(seed)  # a fixed sequence, no secret

    def chosen(*choices: str) -> str:
        return choices[int(random.random() * len(choices))]  # `random()` alone is the same for ever

    values: list[bytes | None] = []
    for _ in range(count):
        project, version = chosen("a", "a-b", "İ".lower()[:1], "c9"), chosen("1", "1.0", "2!1.dev0", "v3")
        filename = f"{chosen('a', 'A_b', 'c9')}-{version}{chosen('.zip', '.tar.gz', '-py3-none-any.whl')}"
        reason = chosen("", "Üble \u2028 Sache", "x" * 2_000, "<b>\x00")
        made: list[events.BaseEvent] = [
            make.file_uploaded(project, version, filename=filename, legacy=random.random() < 0.3),
            make.file_uploaded(project, version, filename=filename),
            make.file_yanked(project, filename, reason),
            make.file_removed(project, filename),
            make.file_restored(project, filename),
            make.release_yanked(project, version, reason),
            make.release_quarantined(project, version, reason),
            make.release_quarantine_cleared(project, version),
            make.project_status_changed(project, "deprecated", reason),
            make.project_removed(project),
            make.project_created(project),
            make.target_added(f"t/{version}", reason),
            make.incident_opened(project, reason),
            make.access("noted", subject=project),
        ]
        values += factory.encode([made[int(random.random() * len(made))]])
        if random.random() < 0.05:
            values.append([None, b"{", b'{"a":1,"a":2}', b"[" * 40, b"\xed\xa0\x80"][int(random.random() * 5)])
    held = make.signing_held(reason="while this is looked at")
    return [*values, *factory.encode([held, make.signing_released(held.id)])]


def fingerprint() -> str:
    """SHA-256 over every outcome and page, the state and all metadata of a fixed history with ceremonies between."""
    make, digest = Make(), sha256()
    team = Team(settings=Settings(ruleset=0, importing=True, project_list_seconds=0))
    ledger = begin(factory.beginning(make, team))
    for step in range(4):
        team = team.but(
            layout=Layout(3 + step % 2),
            settings=Settings(ruleset=0, importing=True, project_list_seconds=0, html_pages=step % 2 == 1),
        )
        ceremony = make.roles_signed(factory.ceremony(team, ledger.prefix.authority, team))
        ledger.publish([*factory.encode([ceremony]), *fixed_history(make, step, 150)])
        for path, data in sorted(ledger.storage.tree.files.items()):
            digest.update(path.encode() + data)
        for number, outcome in sorted(ledger.outcomes.items()):
            digest.update(f"{number} {outcome.verdict} {outcome.code}".encode())
        for key, state in sorted(ledger.aggregates.items()):
            digest.update(
                key.encode() + state.header + b"".join(part or b"" for chunk in state.chunks for part in chunk[1:])
            )
        digest.update(save(ledger.prefix))
    for value in ledger.durable.publications.values:
        digest.update(value or b"")
    return digest.hexdigest()


if __name__ == "__main__":
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    print(fingerprint())
