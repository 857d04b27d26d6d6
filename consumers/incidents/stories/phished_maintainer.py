"""A maintainer was phished, and the thief minted a second token before using the first one (num2words, 2025)."""

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

PROJECT = "wordcount"
OWNER = Hand("user", "maintainer-31", "token:wc-release")
PHISHED = Hand("user", "maintainer-31", "session:5c2e")
FIRST = Hand("user", "maintainer-31", "token:wc-7701")
SECOND = Hand("user", "maintainer-31", "token:wc-7702")
INDEX = Hand("system", "index")


def phished_maintainer() -> Story:
    """The story."""
    acts = in_order(
        neighbours(["2025-07-24", "2025-07-25", "2025-07-26", "2025-07-28"]),
        [
            Act(
                "2025-07-24T09:00:00Z",
                (
                    *begins(PROJECT, OWNER),
                    *(OWNER.uploads(PROJECT, version) for version in ("0.5.13", "0.5.14")),
                    *begins("numerals", OWNER),
                    OWNER.uploads("numerals", "2.0"),
                ),
            ),
            Act(
                "2025-07-28T15:31:40Z",
                (INDEX.notes("sign-in", OWNER.name, credential=PHISHED.credential, note="from a new address"),),
            ),
            Act("2025-07-28T15:33:02Z", (PHISHED.grants("credential", OWNER.name, credential=FIRST.credential).bad,)),
            Act("2025-07-28T15:33:20Z", (PHISHED.grants("credential", OWNER.name, credential=SECOND.credential).bad,)),
            Act("2025-07-28T15:41:09Z", (FIRST.uploads(PROJECT, "0.5.15", says="a stealer").bad,)),
            Act(
                "2025-07-28T16:38:00Z",
                (
                    ADMINISTRATORS.removes_release(PROJECT, "0.5.15", "malware"),
                    ADMINISTRATORS.revokes("credential", OWNER.name, credential=FIRST.credential),
                ),
            ),
            Act("2025-07-28T16:44:31Z", (SECOND.uploads(PROJECT, "0.5.16", says="a stealer").bad,)),
        ],
    )
    return Story(
        name="phished-maintainer",
        title="a phished maintainer, and a second token that was minted in the same minute (num2words, 2025)",
        told_at="2025-07-28T16:50:00Z",
        told=f"""\
Since 2025-07-26 mails lure maintainers to a copy of your sign-in page. At 15:59 somebody found that {PROJECT} 0.5.15
is malware. {OWNER.name} had been phished. At 16:38 you removed the release, revoked the token that uploaded it, and
reset the password. At 16:44 there is {PROJECT} 0.5.16, and it is malware, too.""",
        question="How did 0.5.16 get in after that? What else can the thief do, in which projects? What did they do?",
        acts=acts,
        lines=(
            CommandLine(f"blame {PROJECT}", "0.5.16 came with another token than 0.5.15."),
            CommandLine(
                f"access {SECOND.credential}", "It was granted by a session, not by the maintainer's usual way."
            ),
            CommandLine(
                f"log --credential {PHISHED.credential}",
                "All that this session did: it minted two tokens within twenty seconds, for all projects.",
            ),
            CommandLine(
                f"incident open phish --credential {PHISHED.credential} --credential {FIRST.credential} "
                f'--credential {SECOND.credential} --reason "a phished session and its tokens"',
                "Freeze what the session and both tokens did.",
            ),
            CommandLine(
                f'status {PROJECT} quarantined --incident phish --reason "being looked at"',
                "Hide the project while you look. The event names the incident, so it ends with the plan.",
            ),
            CommandLine("publish", "What a running signer does by itself: since now nobody is offered 0.5.16."),
            CommandLine(f"log --actor {OWNER.name}", "All else by this account is from before: honest."),
            CommandLine("incident report phish", "Whom both files reached; what else may belong to it."),
            CommandLine(
                "incident plan phish --to plan.jsonl",
                "It removes both files, revokes what the session granted, and ends the quarantine.",
            ),
            *recovery("phish"),
            CommandLine(f"access {SECOND.credential}", "The log says since when the second token holds no more."),
        ),
        answer=Sealed(
            text=f"""\
The phished session {PHISHED.credential} minted two tokens at 15:33: {FIRST.credential}, which uploaded 0.5.15 and was
revoked, and {SECOND.credential}, which nobody knew and which uploaded 0.5.16. Neither is bound to a project, so both of
the maintainer's projects were open to it; it touched {PROJECT} only. The plan removes 0.5.16, withholds the bytes of
both, and revokes the second token on the log. A reset password does not end tokens: ask for all grants since the
first bad sign-in before you say that it is over.""",
            reaches=(
                Reach("wordcount-0.5.15-py3-none-any.whl", "2025-07-28T15:41:16Z", "2025-07-28T16:38:07Z"),
                Reach("wordcount-0.5.16-py3-none-any.whl", "2025-07-28T16:44:38Z", ""),
            ),
            clean={
                PROJECT: ("wordcount-0.5.13-py3-none-any.whl", "wordcount-0.5.14-py3-none-any.whl"),
                "numerals": ("numerals-2.0-py3-none-any.whl",),
            },
            elsewhere=(
                f"The index ends {PHISHED.credential} and refuses {SECOND.credential}: the event only records it.",
                "Look at every account that signed in from the addresses of the phishing page.",
            ),
        ),
    )
