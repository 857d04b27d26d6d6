"""Two versions thirteen minutes apart, and an exposure window that three sources tell differently (LiteLLM, 2026)."""

from consumers.incidents.stories.deeds import (
    ADMINISTRATORS,
    Act,
    CommandLine,
    Hand,
    Reach,
    Sealed,
    Story,
    begins,
    in_order,
    neighbours,
    recovery,
)

PROJECT = "modelgate"
TOKEN = Hand("user", "gate-owner", "token:gate-ci")
FIRST, SECOND = "1.82.7", "1.82.8"


def two_versions() -> Story:
    """The story."""
    acts = in_order(
        neighbours(["2026-03-22", "2026-03-23", "2026-03-24"]),
        [
            Act("2026-03-22T09:00:00Z", (*begins(PROJECT, TOKEN), TOKEN.uploads(PROJECT, "1.82.5"))),
            Act("2026-03-23T14:31:00Z", (TOKEN.uploads(PROJECT, "1.82.6"),)),
            Act("2026-03-24T10:39:24Z", (TOKEN.uploads(PROJECT, FIRST, says="reads credentials").bad,)),
            Act("2026-03-24T10:52:19Z", (TOKEN.uploads(PROJECT, SECOND, says="reads credentials").bad,)),
            Act("2026-03-24T13:10:50Z", (ADMINISTRATORS.changes_status(PROJECT, "quarantined", "malware"),)),
            Act(
                "2026-03-24T16:02:00Z",
                (
                    ADMINISTRATORS.removes_release(PROJECT, FIRST, "malware"),
                    ADMINISTRATORS.removes_release(PROJECT, SECOND, "malware"),
                    ADMINISTRATORS.revokes("credential", TOKEN.name, project=PROJECT, credential=TOKEN.credential),
                    ADMINISTRATORS.changes_status(PROJECT, "active"),
                ),
            ),
        ],
    )
    return Story(
        name="two-versions",
        title="two bad versions thirteen minutes apart, and three tales of how long they were there (LiteLLM, 2026)",
        told_at="2026-03-24T17:00:00Z",
        told=f"""\
A scanner in the build of {PROJECT} was poisoned, and {TOKEN.credential} was stolen with it. On 2026-03-24 somebody
uploaded {FIRST} and {SECOND}, which read every credential that they find. One report came after 1 h 19 min. Your
colleagues put the project into quarantine, later removed both releases, and revoked the token. Now one newspaper
writes that the versions were there for 40 minutes, another one 2 h 32 min, and a customer counts more than five
hours, up to the removal.""",
        question="From when until when was each file offered? Who can have got it since then? Is anything left to do?",
        acts=acts,
        lines=(
            CommandLine(f"log {PROJECT} --since 2026-03-24", "What happened that day, with each event's bracket."),
            CommandLine(f"incident window {PROJECT}=={FIRST}", "The window of the first one, by publications."),
            CommandLine(f"incident window {PROJECT}=={SECOND}", "The second one has a window of its own."),
            CommandLine(
                f"incident open stealer --credential {TOKEN.credential} --since 2026-03-24T10:00:00Z "
                '--reason "versions that steal credentials"',
                "The token also made honest releases: take what it did since that morning.",
            ),
            CommandLine("incident report stealer", "All about it: also paths to search download logs for."),
            CommandLine("incident report stealer --html report.html", "The same for those who do not read terminals."),
            CommandLine("incident plan stealer --to plan.jsonl", "The bytes are still on the server: withhold them."),
            *recovery("stealer"),
        ),
        answer=Sealed(
            text=f"""\
{FIRST} was offered for 2 h 31 min 26 s, {SECOND} for 2 h 18 min 31 s: from the first publication that showed it to the
first one that did not. The quarantine ended both windows, not the removal three hours later. Nobody who asked the
index was offered them for five hours. But a client behind a frozen mirror could be shown them for another day, until
the last timestamp that carried them expired; and whoever had the URL could fetch the bytes, which are still served.
Forty minutes is no window of either file. The plan withholds the bytes.""",
            reaches=(
                Reach(f"modelgate-{FIRST}-py3-none-any.whl", "2026-03-24T10:39:31Z", "2026-03-24T13:10:57Z"),
                Reach(f"modelgate-{SECOND}-py3-none-any.whl", "2026-03-24T10:52:26Z", "2026-03-24T13:10:57Z"),
            ),
            clean={PROJECT: ("modelgate-1.82.5-py3-none-any.whl", "modelgate-1.82.6-py3-none-any.whl")},
            elsewhere=(
                "Search download logs and caches for the paths that the report lists; tell those who fetched them.",
                "Whoever installed either version replaces every credential of that machine.",
            ),
        ),
    )
