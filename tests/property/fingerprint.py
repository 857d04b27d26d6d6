"""`python -m tests.property.fingerprint`: the digest of everything that a long, fixed history makes."""

from hashlib import sha256
from random import Random

from projections.log.prefix import save
from projections.metadata.repository import RoleEntry, SnapshotTable
from projections.publications import Head
from projections.roles.authority import Settings
from projections.roles.layout import Layout
from schemas import events
from tests import factory
from tests.factory import Make, Team
from tests.property.store import Store


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
            make.signing_held(reason=reason),
        ]
        values += factory.encode([made[int(random.random() * len(made))]])
        if random.random() < 0.05:
            values.append([None, b"{", b'{"a":1,"a":2}', b"[" * 40, b"\xed\xa0\x80"][int(random.random() * 5)])
    return values


def fingerprint() -> str:
    """SHA-256 over every outcome, page, bin and snapshot of a fixed history with ceremonies between."""
    make, store, table, digest = Make(), Store(), SnapshotTable({}), sha256()
    team = Team(settings=Settings(ruleset=0, importing=True, project_list_seconds=0))
    store.publish(factory.beginning(make, team))
    for step in range(4):
        team = team.but(
            layout=Layout(3 + step % 2),
            settings=Settings(ruleset=0, importing=True, project_list_seconds=0, html_pages=step % 2 == 1),
        )
        ceremony = make.roles_signed(factory.ceremony(team, store.prefix.authority, team))
        names = store.publish([*factory.encode([ceremony]), *fixed_history(make, step, 150)])
        table.update({name: RoleEntry(store.number, factory.EXPIRES) for name in names})
        authority = factory.authority_of(store.prefix)
        claim = factory.claim(store.prefix, Head(0, "0" * 64, "", 0), store.number)
        digest.update(table.payload(claim, authority, claim.size))
        for index in range(authority.layout.count):
            digest.update(store.bin_targets(index))
        for path, page in sorted(store.pages.items()):
            digest.update(path.encode() + page)
        for number, outcome in sorted(store.outcomes.items()):
            digest.update(f"{number} {outcome.verdict} {outcome.code}".encode())
        for key, state in sorted(store.aggregates.items()):
            digest.update(
                key.encode() + state.header + b"".join(part or b"" for chunk in state.chunks for part in chunk[1:])
            )
        for key, stored in sorted(store.bins.items()):
            digest.update(key.encode() + stored.header)
        digest.update(save(store.prefix))
    return digest.hexdigest()


if __name__ == "__main__":
    print(fingerprint())
