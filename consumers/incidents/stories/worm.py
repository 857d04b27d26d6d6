"""A worm: 84 versions of 42 packages in six minutes, with valid provenance (TanStack, 2026)."""

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

PUBLISHER = Hand("trusted-publisher", "github/loomkit/release.yml")
PACKAGES = tuple(f"loom-{number:02}" for number in range(1, 43))


def worm() -> Story:
    """The story."""
    acts = in_order(
        neighbours(["2026-05-10", "2026-05-11"]),
        [
            Act("2026-05-10T09:00:00Z", tuple(deed for name in PACKAGES for deed in begins(name, PUBLISHER))),
            Act("2026-05-10T10:00:00Z", tuple(_upload(name, "1.0.0") for name in PACKAGES)),
            Act("2026-05-11T18:02:00Z", tuple(_upload(name, "1.0.1") for name in PACKAGES[:5])),
            *_wave("2026-05-11T19:20", 39, "1.1.0"),
            Act("2026-05-11T19:23:10Z", (Hand("user", "almanac-team", "token:almanac-1").uploads("almanac", "2.0"),)),
            *_wave("2026-05-11T19:26", 14, "1.1.1"),
            Act("2026-05-11T19:44:00Z", (_upload(PACKAGES[0], "1.1.2"),)),
        ],
    )
    return Story(
        name="worm",
        title="a worm: 84 versions of 42 packages in six minutes, with valid provenance (TanStack, 2026)",
        told_at="2026-05-11T19:50:00Z",
        told=f"""\
Somebody outside reports that {PACKAGES[3]} 1.1.1 and {PACKAGES[16]} 1.1.0 read credentials and publish themselves
with them. Both have valid provenance: the workflow {PUBLISHER.name} built them. It publishes {len(PACKAGES)} packages.
Its owners have stopped it. At 19:44 they had published {PACKAGES[0]} 1.1.2 by hand, which is clean.""",
        question="Which versions of which packages are bad? Did it leave the packages of this workflow?",
        acts=acts,
        lines=(
            CommandLine(
                'hold --reason "a worm in the build" --secret-file brake.secret',
                "First stop it: no publication shows anything that comes from now on.",
            ),
            CommandLine(
                "log --publications --since 2026-05-11T19:00:00Z --until 2026-05-11T19:50:00Z",
                "What came then: two waves, each in three publications of fourteen events.",
            ),
            CommandLine(
                "incident open worm --unattested --since 2026-05-11T19:00:00Z",
                "No upload lacks a provenance that it should have. So that finds nothing.",
                1,
            ),
            CommandLine(
                f"incident open worm --publisher {PUBLISHER.name} --since 2026-05-11T19:20:00Z "
                "--until 2026-05-11T19:30:00Z --preview --limit 3",
                "By publisher and time. Look before you write: 85 events, and one of them is 1.1.2. No publication "
                "came between 19:26 and 19:44: as far as the log can say, it may have come before 19:30.",
            ),
            CommandLine(
                f"incident open worm --publisher {PUBLISHER.name} --since 2026-05-11T19:20:00Z "
                '--until 2026-05-11T19:30:00Z --not events=233 --reason "a worm in the build"',
                "Its owners know that one. Freeze the rest.",
            ),
            CommandLine("incident report worm", "The scope, the windows, and what else may belong to it."),
            CommandLine("incident report worm --osv", "The advisory, a record for each package."),
            CommandLine("incident plan worm --to plan.jsonl", "A step for each file."),
            *recovery("worm", is_held=True),
        ),
        answer=Sealed(
            text="""\
84 files: 1.1.0 and 1.1.1 of all 42 packages, in two waves at 19:20:39 and 19:26:14. Their provenance is valid and says
nothing: the build itself was poisoned. The one upload by somebody else between the waves does not belong to it, nor
does 1.1.2 of the first package. Nothing else was published by this workflow or under a new credential. In 2026 it took
until 21:00 to know the scope.""",
            reaches=(
                Reach("loom_04-1.1.1-py3-none-any.whl", "2026-05-11T19:26:18Z", ""),
                Reach("loom_17-1.1.0-py3-none-any.whl", "2026-05-11T19:20:50Z", ""),
            ),
            clean={
                PACKAGES[0]: _files(PACKAGES[0], "1.0.0", "1.0.1", "1.1.2"),
                PACKAGES[3]: _files(PACKAGES[3], "1.0.0", "1.0.1"),
                PACKAGES[41]: _files(PACKAGES[41], "1.0.0"),
                "almanac": _files("almanac", "1.0", "1.1", "2.0"),
            },
            elsewhere=(
                "The owners throw the caches of the build away, and let nobody's pull request fill them.",
                "Whoever installed one of these versions replaces every credential of that machine: so worms go on.",
            ),
        ),
    )


def _upload(name: str, version: str, says: str = "") -> Deed:
    return PUBLISHER.uploads(name, version, says=says, attested=True)


def _wave(minute: str, first_second: int, version: str) -> list[Act]:
    """One version of all packages: three times fourteen, seven seconds apart."""
    return [
        Act(
            f"{minute}:{first_second + 7 * part:02}Z",
            tuple(_upload(name, version, "publishes itself").bad for name in PACKAGES[14 * part : 14 * (part + 1)]),
            published_after=4,
        )
        for part in range(3)
    ]


def _files(name: str, *versions: str) -> tuple[str, ...]:
    return tuple(Hand.uploads(PUBLISHER, name, version).data["filename"] for version in versions)
