"""The index itself was broken into: its credential appends events that lie about actors and times."""

from consumers.incidents.stories.deeds import (
    Act,
    CommandLine,
    Deed,
    Hand,
    Reach,
    Sealed,
    Story,
    begins,
    in_order,
    neighbours,
    recovery,
)

OWNERS = {
    "galley": Hand("user", "galley-team", "token:galley-1"),
    "halyard": Hand("user", "halyard-team", "token:halyard-1"),
    "keelson": Hand("user", "keelson-team", "token:keelson-1"),
}
OTHER = Hand("user", "almanac-team", "token:almanac-1")


def lying_index() -> Story:
    """The story."""
    acts = in_order(
        neighbours(["2025-11-01", "2025-11-02", "2025-11-03"]),
        [
            Act("2025-11-01T09:00:00Z", tuple(deed for name, hand in OWNERS.items() for deed in begins(name, hand))),
            Act("2025-11-01T10:00:00Z", tuple(hand.uploads(name, "1.0") for name, hand in OWNERS.items())),
            Act("2025-11-02T10:00:00Z", tuple(hand.uploads(name, "1.1") for name, hand in OWNERS.items())),
            Act("2025-11-04T02:58:30Z", (OTHER.uploads("almanac", "1.5"),)),
            Act("2025-11-04T03:04:10Z", (_lie("galley", "2025-11-02T16:20:00Z"),)),
            Act("2025-11-04T03:09:00Z", (OTHER.uploads("almanac", "1.5", wheel=""),)),
            Act(
                "2025-11-04T03:15:45Z",
                (
                    _lie("halyard", "2025-11-03T09:41:00Z"),
                    OWNERS["keelson"].yanks_release("keelson", "1.0", "insecure").bad.claiming("2025-11-03T09:44:00Z"),
                    _lie("keelson", "2025-11-03T09:45:00Z"),
                ),
            ),
            Act("2025-11-04T03:31:00Z", (OTHER.uploads("almanac", "1.6"),)),
        ],
    )
    return Story(
        name="lying-index",
        title="the index itself was broken into: its credential lies about actors and times",
        told_at="2025-11-04T05:00:00Z",
        told="""\
Somebody had a shell on a machine of the index on 2025-11-04 from about 03:00 to 03:30, with the credential that
appends events. Its database and its request log cannot be trusted. Three teams deny releases that the index says they
made on 2025-11-02 and 2025-11-03, with their own tokens.""",
        question="What came in that half hour, when did it really come, and can the times and names be believed?",
        acts=acts,
        lines=(
            CommandLine(
                "log --since 2025-11-04T02:59:00Z --until 2025-11-04T03:32:00Z",
                "What came then, by publications. Four events say times that lie outside of their brackets.",
            ),
            CommandLine("show 36", "One of them, whole: what it says, and where it lies."),
            CommandLine(
                "access galley-team", "The token is real, and was not stolen: whoever appends can write any name."
            ),
            CommandLine(
                "incident open shell --since 2025-11-04T02:59:00Z --until 2025-11-04T03:30:00Z --not project=almanac "
                '--reason "a shell on the index"',
                "Take what came in that time, but for what its maker confirms.",
            ),
            CommandLine("incident report shell", "Whom it reached."),
            CommandLine("incident plan shell --to plan.jsonl", "Files go, the yank is taken back."),
            *recovery("shell"),
        ),
        answer=Sealed(
            text="""\
Four events: a bad 1.2 of galley, halyard and keelson, and a yank. They say that they are of 2025-11-02 and 2025-11-03,
and that three teams made them. Both are lies: an index credential can write any name and any time. What cannot lie is
the place in the log between two publications, which another key signed: they came between 02:58:37 and 03:15:52 on
2025-11-04. The upload by almanac in the middle says a time within its bracket, and its team confirms it. No log can
tell a lie with the right time from the truth: only the teams can. Actors and times on the log are claims of the index;
brackets are not.""",
            reaches=(
                Reach("galley-1.2-py3-none-any.whl", "2025-11-04T03:04:17Z", ""),
                Reach("halyard-1.2-py3-none-any.whl", "2025-11-04T03:15:52Z", ""),
                Reach("keelson-1.2-py3-none-any.whl", "2025-11-04T03:15:52Z", ""),
            ),
            clean={
                "galley": ("galley-1.0-py3-none-any.whl", "galley-1.1-py3-none-any.whl"),
                "keelson": ("keelson-1.0-py3-none-any.whl", "keelson-1.1-py3-none-any.whl"),
                "almanac": (
                    *(f"almanac-1.{number}-py3-none-any.whl" for number in (0, 1, 2, 5)),
                    "almanac-1.5.tar.gz",
                    "almanac-1.6-py3-none-any.whl",
                ),
            },
            elsewhere=(
                "Take the credential's right to write away at the broker, and give the index a new one.",
                "Rebuild the machine. Ask every team whose events lie in that time, also those that look right.",
            ),
        ),
    )


def _lie(project: str, time: str) -> Deed:
    return OWNERS[project].uploads(project, "1.2", says="a beacon").bad.claiming(time)
