"""A trusted publisher misused for two versions, then a token that everybody had forgotten (Ultralytics, 2024)."""

from consumers.incidents.stories.deeds import (
    ADMINISTRATORS,
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

PROJECT = "visionkit"
PUBLISHER = Hand("trusted-publisher", "github/visionkit/publish.yml")
TOKEN = Hand("user", "kit-owner", "token:kit-2022")
OWNER = Hand("user", "kit-owner")

_MINER = "downloads a miner"
_HONEST = ("8.3.39", "8.3.40", "8.3.43", "8.3.44", "8.3.47")


def publisher_then_token() -> Story:
    """The story."""
    acts = in_order(
        neighbours(["2024-12-02", "2024-12-03", "2024-12-04", "2024-12-06"]),
        [
            Act(
                "2024-12-02T09:00:00Z",
                (
                    *begins(PROJECT, TOKEN),
                    TOKEN.uploads(PROJECT, "8.3.38"),
                ),
            ),
            Act(
                "2024-12-02T15:00:00Z",
                (ADMINISTRATORS.grants("trusted-publisher", PUBLISHER.name, project=PROJECT),),
            ),
            Act("2024-12-02T15:20:00Z", _release("8.3.39")),
            Act("2024-12-03T17:05:00Z", _release("8.3.40")),
            Act("2024-12-04T20:51:12Z", tuple(each.bad for each in _release("8.3.41", _MINER))),
            Act("2024-12-05T09:15:00Z", (OWNER.removes_release(PROJECT, "8.3.41", "security"),)),
            Act("2024-12-05T12:47:30Z", tuple(each.bad for each in _release("8.3.42", _MINER))),
            Act("2024-12-05T13:47:00Z", (OWNER.removes_release(PROJECT, "8.3.42", "security"),)),
            Act("2024-12-05T15:10:00Z", _release("8.3.43")),
            Act("2024-12-06T16:30:00Z", _release("8.3.44")),
            Act("2024-12-07T01:41:09Z", (TOKEN.uploads(PROJECT, "8.3.45", says=_MINER).bad,)),
            Act("2024-12-07T02:27:44Z", (TOKEN.uploads(PROJECT, "8.3.46", says=_MINER).bad,)),
            Act("2024-12-07T02:55:00Z", _release("8.3.47")),
        ],
    )
    return Story(
        name="publisher-then-token",
        title="a trusted publisher misused for two versions, then a forgotten token for two more (Ultralytics, 2024)",
        told_at="2024-12-07T03:20:00Z",
        told=f"""\
{PROJECT} 8.3.41 and 8.3.42 started a miner on 2024-12-04 and 2024-12-05. A pull request had poisoned the cache of
the build, so its trusted publisher built and attested them. The owners removed both releases, cleaned the cache, and
thought that it was over. Now users report that 8.3.46 starts a miner, too. 8.3.47, from the cleaned build, is out.""",
        question="Which identity published each bad version? Is it over? What must go, and what must be revoked?",
        acts=acts,
        lines=(
            CommandLine(f"blame {PROJECT}", "Who made each file what it is: two different hands."),
            CommandLine(
                f"log {PROJECT} --since 2024-12-04 --type file.uploaded.v1",
                "All uploads of these days. 8.3.45 and 8.3.46 came with a token, not by the publisher.",
            ),
            CommandLine(f"access {TOKEN.credential}", "Whose token that is, who granted it, and that it is in force."),
            CommandLine(
                f"incident open miner --unattested --since 2024-12-04 --project {PROJECT} "
                '--reason "a miner in uploads without provenance"',
                "Provenance tells the second wave from all honest releases: freeze that first.",
            ),
            CommandLine(
                f"incident amend miner --publisher {PUBLISHER.name} --since 2024-12-04T20:00:00Z "
                '--until 2024-12-05T13:00:00Z --reason "the poisoned build"',
                "It does not tell the first wave: its provenance is genuine. Take it by publisher and time.",
            ),
            CommandLine("incident show miner", "Six files: two hands, four versions."),
            CommandLine(f"incident window {PROJECT}==8.3.41", "Whom the first wave reached, and until when."),
            CommandLine(f"incident window {PROJECT}==8.3.46", "The second wave is offered now."),
            CommandLine("incident plan miner --to plan.jsonl", "What must go. Read it."),
            *recovery("miner"),
        ),
        answer=Sealed(
            text=f"""\
8.3.41 and 8.3.42 were published by the trusted publisher {PUBLISHER.name}, with genuine provenance: provenance says
where something was built, not that it is good. 8.3.45 and 8.3.46 were published with {TOKEN.credential}, a token of
{OWNER.name} from before the publisher was set up: the provenance that all releases since then have is missing. It is
not over until that token is revoked. The plan removes 8.3.45 and 8.3.46, and withholds the bytes of all four.""",
            reaches=(
                *(Reach(name, "2024-12-04T20:51:19Z", "2024-12-05T09:15:07Z") for name in _files("8.3.41")),
                *(Reach(name, "2024-12-05T12:47:37Z", "2024-12-05T13:47:07Z") for name in _files("8.3.42")),
                Reach("visionkit-8.3.45-py3-none-any.whl", "2024-12-07T01:41:16Z", ""),
                Reach("visionkit-8.3.46-py3-none-any.whl", "2024-12-07T02:27:51Z", ""),
            ),
            clean={
                PROJECT: (
                    "visionkit-8.3.38-py3-none-any.whl",
                    *(
                        name
                        for version in ("8.3.39", "8.3.40", "8.3.43", "8.3.44", "8.3.47")
                        for name in _files(version)
                    ),
                )
            },
            elsewhere=(
                f"The index revokes {TOKEN.credential}. Its event records that; only the index can refuse the token.",
                "The owners close the way into their build, and look for other old tokens.",
            ),
        ),
    )


def _release(version: str, says: str = "") -> tuple[Deed, ...]:
    return tuple(
        PUBLISHER.uploads(PROJECT, version, says=says, wheel=wheel, attested=True) for wheel in ("py3-none-any", "")
    )


def _files(version: str) -> tuple[str, ...]:
    return tuple(deed.data["filename"] for deed in _release(version))
