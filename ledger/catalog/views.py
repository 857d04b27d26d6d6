"""The views of a catalog: stable queries for people (docs/catalog.md)."""

import re

from ledger.catalog import FOREVER

_EVENT_LIST = """
SELECT e.idx AS event, t.name AS type, p.name AS project, f.filename AS filename, s.name AS subject, e.time AS time,
    a.kind AS actor_kind, a.name AS actor, c.name AS credential, e.event_id AS id, e.incident AS incident,
    CASE e.outcome WHEN 0 THEN 'accepted' WHEN 1 THEN 'no effect' ELSE 'rejected' END AS verdict,
    e.code AS code, e.detail AS why, SHOWN_BY(e.idx) AS publication
FROM events e
LEFT JOIN types t ON t.id = e.type
LEFT JOIN projects p ON p.id = e.project
LEFT JOIN subjects s ON s.id = e.subject
LEFT JOIN actors a ON a.id = e.actor
LEFT JOIN credentials c ON c.id = e.credential
LEFT JOIN files f ON f.id = e.file
"""

_FILE_LIST = """
SELECT p.name AS project, f.filename AS filename, f.version AS version, f.release AS release, f.length AS length,
    HEX(f.sha256) AS sha256, f.time AS time, f.upload_idx AS event,
    a.name AS actor, c.name AS credential, SHOWN_BY(f.upload_idx) AS publication
FROM files f
JOIN projects p ON p.id = f.project
JOIN events e ON e.idx = f.upload_idx
LEFT JOIN actors a ON a.id = e.actor
LEFT JOIN credentials c ON c.id = e.credential
"""

_LISTED_FILES = """
SELECT p.name AS project, f.filename AS filename, f.version AS version, HEX(f.sha256) AS sha256, f.length AS length,
    f.upload_idx AS event, COALESCE(s.yanked, r.yanked) AS yanked
FROM files f
JOIN projects p ON p.id = f.project
JOIN file_states s ON s.file = f.id AND s.to_idx = FOREVER AND s.state = 0
JOIN project_states q ON q.project = f.project AND q.to_idx = FOREVER AND q.removed = 0 AND q.status <> 'quarantined'
LEFT JOIN release_states r ON r.project = f.project AND r.key = f.release AND r.to_idx = FOREVER
WHERE r.quarantined IS NULL
"""

_GRANTS = """
SELECT idx AS event, kind, account, role, credential, project FROM access WHERE act = 'granted' AND ended_idx IS NULL
"""

_PUBLICATION_LIST = """
SELECT p.number AS publication, p.time AS time, p.effective_time AS effective_time, p.size AS size,
    p.content_size AS content_size, p.signed AS bins, p.roles_idx AS ceremony, HEX(p.digest) AS digest
FROM publications p
"""

_SIGNED_FILES = """
SELECT r.name AS role, v.number AS version, p.time AS time, HEX(v.sha256) AS sha256
FROM role_versions v JOIN roles r ON r.id = v.role JOIN publications p ON p.number = v.number
"""

VIEWS = {
    "event_list": _EVENT_LIST,
    "file_list": _FILE_LIST,
    "listed_files": _LISTED_FILES,
    "grants_in_force": _GRANTS,
    "publication_list": _PUBLICATION_LIST,
    "signed_files": _SIGNED_FILES,
}

_SHOWN_BY = r"(SELECT n.number FROM publications n WHERE n.content_size > \1 ORDER BY n.content_size, n.number LIMIT 1)"


def view_queries(dialect: str) -> dict[str, str]:
    """The views by name, with `HEX(column)`, `SHOWN_BY(column)` and `FOREVER` as a database has them."""
    hexadecimal = r"lower(hex(\1))" if dialect == "sqlite" else r"encode(\1, 'hex')"
    found = {}
    for name, query in VIEWS.items():
        shown = re.sub(r"SHOWN_BY\(([^)]*)\)", _SHOWN_BY, query)
        found[name] = re.sub(r"HEX\(([^)]*)\)", hexadecimal, shown).replace("FOREVER", f"{FOREVER}")
    return found
