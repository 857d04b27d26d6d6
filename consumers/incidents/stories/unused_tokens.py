"""Leaked tokens that were never used: the answer is "none" (GhostAction, 2025)."""

from consumers.incidents.stories.deeds import (
    Act,
    CommandLine,
    Hand,
    Sealed,
    Story,
    begins,
    in_order,
    neighbours,
)

OWNERS = tuple(Hand("user", f"owner-{number}", f"token:deploy-{number}") for number in range(1, 7))
PROJECTS = tuple(f"harbor-{number}" for number in range(1, 7))
LIKE_IT = Hand("user", "owner-10", "token:deploy-10")


def unused_tokens() -> Story:
    """The story."""
    tokens = " ".join(f"--credential {owner.credential}" for owner in OWNERS)
    pairs = tuple(zip(PROJECTS, OWNERS, strict=True))
    acts = in_order(
        neighbours(["2025-09-01", "2025-09-02", "2025-09-04", "2025-09-08"]),
        [
            Act("2025-09-01T09:00:00Z", tuple(deed for project, owner in pairs for deed in begins(project, owner))),
            Act("2025-09-01T10:00:00Z", tuple(owner.uploads(project, "3.0") for project, owner in pairs)),
            Act("2025-09-02T11:00:00Z", tuple(owner.uploads(project, "3.1") for project, owner in pairs[:3])),
            Act("2025-09-06T12:00:00Z", (*begins("harbor-10", LIKE_IT), LIKE_IT.uploads("harbor-10", "1.0"))),
        ],
    )
    return Story(
        name="unused-tokens",
        title="six leaked tokens that nobody used: the answer is none (GhostAction, 2025)",
        told_at="2025-09-10T14:00:00Z",
        told=f"""\
On 2025-09-05 a mail reported that a workflow, pushed into many repositories on 2025-09-02 from 18:00 on, sent their
secrets to a stranger. A second mail went to spam. Today you read both. The secrets of six projects were tokens of your
index: {OWNERS[0].credential} to {OWNERS[-1].credential}. Their owners used them for releases, also on the morning of
that day. They do not know yet.""",
        question="Was any of the leaked tokens used since? Must anything be removed?",
        acts=acts,
        lines=(
            CommandLine(f"access {OWNERS[0].credential}", "What a token was used for, the last time in the morning."),
            CommandLine(
                f"incident open leak {tokens} --since 2025-09-02T18:00:00Z --preview",
                "All of them, since the leak: nothing is selected, and the exit code says so.",
                1,
            ),
            CommandLine(
                f"incident open leak {tokens} --since 2025-09-02T18:00:00Z --empty "
                '--reason "tokens leaked by a workflow"',
                "None is an answer: record it, with the question.",
            ),
            CommandLine("incident show leak", "Until the tokens are revoked, look again what the selectors find."),
            CommandLine('incident note leak "owners told, tokens revoked by the index"', "What was done, and when."),
            CommandLine(
                'incident close leak --reason "none of the leaked tokens was used since the leak"',
                "The end of it. If one is used later, it is opened again.",
            ),
        ),
        answer=Sealed(
            text=f"""\
None was used since. The last events with these tokens are the releases of 2025-09-02 in the morning, before the leak.
{LIKE_IT.credential} was used on 2025-09-06, and is not one of them. Nothing must be removed, and nothing is planned.
The log can say this of uploads and of all else that the index appends. It cannot say that nobody holds the tokens.""",
            clean={PROJECTS[0]: ("harbor_1-3.0-py3-none-any.whl", "harbor_1-3.1-py3-none-any.whl")},
            elsewhere=(
                "The index revokes the six tokens at once, before anybody is asked, and its events record that.",
                "Tell the owners. In 2025 that was done on the tenth day.",
            ),
        ),
    )
