"""What is served was changed: on a host that was broken into, in a bucket for weeks, on two mirrors."""

from consumers.incidents.stories.deeds import (
    Act,
    CommandLine,
    Deed,
    Hand,
    Sealed,
    Story,
    Tampering,
    begins,
    in_order,
    neighbours,
)
from projections.metadata.paths import hashed_path, package_target, page_target, plain_path

OWNER = Hand("user", "owner-1", "token:rafter-1")
FIRST = OWNER.uploads("rafter", "1.0")
SECOND = OWNER.uploads("rafter", "1.1")


def host_touched() -> Story:
    """Code ran on the host that serves the files (RubyGems, 2013)."""
    wheel, _ = _places(SECOND)
    page = f"public/{plain_path(page_target('almanac'))}"
    stranger = "public/targets/packages/00/00/evil/rafter-9.9-py3-none-any.whl"
    return Story(
        name="host-touched",
        title="code ran on the host that serves everything: is every file intact? (RubyGems, 2013)",
        told_at="2025-01-30T20:00:00Z",
        told="""\
Somebody ran code on the host that serves your files, from 2025-01-29 on. Anything may have been touched. The keys are
not on that host, nor is the log. A mirror has a copy of 2025-01-29, before it began: the folder `mirror`.""",
        question="Is every file intact? Which ones are not, and where is a second source for them?",
        acts=in_order(
            neighbours(["2025-01-27", "2025-01-28", "2025-01-29"]),
            [
                Act("2025-01-27T09:00:00Z", (*begins("rafter", OWNER), FIRST, SECOND)),
                Tampering("2025-01-29T12:00:00Z", "copy", "public", "mirror"),
                Act("2025-01-29T18:00:00Z", (OWNER.uploads("rafter", "1.2"),)),
                Tampering("2025-01-30T03:00:00Z", "change", f"public/{wheel}"),
                Tampering("2025-01-30T03:00:10Z", "change", page),
                Tampering("2025-01-30T03:00:20Z", "place", stranger, "a beacon"),
            ],
        ),
        lines=(
            CommandLine("verify --served public", "Every file against the log: two differ, one is unknown.", 1),
            CommandLine("compare public", "All metadata is the log's."),
            CommandLine("show 18", "The event of its upload: the digest that the file must have stands in it."),
            CommandLine(
                f"cp mirror/{wheel} public/{wheel}",
                "Bytes from the mirror; whether they are right, the log says.",
                is_shell=True,
            ),
            CommandLine(f"rm {stranger}", "What the log does not know goes.", is_shell=True),
            CommandLine(
                f"rm {page}; rm state/signer.sqlite*", "Pages and metadata are made again, from the log.", is_shell=True
            ),
            CommandLine("publish", "It writes what is missing."),
            CommandLine("verify --served public", "Every file is what the log says."),
        ),
        answer=Sealed(
            text="""\
Three files are touched, and no others: the wheel of rafter 1.1 (under its plain name; the copy with its digest in the
name is intact), the page of almanac, and a file that no event ever added. In 2013 it took 36 hours to compare all gems
with mirrors, and 80 had no second source. Here the log has the digest of each file, so a copy of any origin will do,
and what no copy can be found for is named. Clients of TUF fetch names with digests, which were intact, and check what
they get. The good bytes of the wheel are there, and in the mirror.""",
            clean={"rafter": tuple(f"rafter-1.{number}-py3-none-any.whl" for number in range(3))},
            elsewhere=(
                "Build the host anew. What ran on it may run again.",
                "Whoever downloaded the changed wheel without checking a digest has it: search the host's request log.",
            ),
        ),
    )


def changed_file() -> Story:
    """One file in the bucket was another one for two months (Codecov, 2021)."""
    wheel, _ = _places(FIRST)
    copies = " ".join(f"{folder}/{wheel}" for folder in ("bucket-01", "bucket-02", "bucket-03", "public"))
    return Story(
        name="changed-file",
        title="one file in the bucket is another one for weeks, until a user compares its checksum (Codecov, 2021)",
        told_at="2021-04-01T12:00:00Z",
        told="""\
A user writes that the SHA-256 of rafter 1.0 that he downloads is not the one on the page. Nobody uploaded anything to
that release. The bucket is copied every week: `bucket-01` is of 2021-03-10, `bucket-02` of 2021-03-17, `bucket-03` of
2021-03-24.""",
        question="Since when is the file another one? Whom did it reach?",
        acts=in_order(
            neighbours(["2021-03-08", "2021-03-12", "2021-03-18", "2021-03-21", "2021-03-25"]),
            [
                Act("2021-03-08T09:00:00Z", (*begins("rafter", OWNER), FIRST)),
                Tampering("2021-03-10T01:00:00Z", "copy", "public", "bucket-01"),
                Tampering("2021-03-17T01:00:00Z", "copy", "public", "bucket-02"),
                Tampering("2021-03-19T05:21:00Z", "change", f"public/{wheel}"),
                Tampering("2021-03-24T01:00:00Z", "copy", "public", "bucket-03"),
                Act("2021-03-26T10:00:00Z", (SECOND,)),
            ],
        ),
        lines=(
            CommandLine("verify --served public", "One file differs from the log, and only one.", 1),
            CommandLine("show 17", "The event of its upload has the digest that it must have. No event changed it."),
            CommandLine(
                "incident window rafter==1.0", "The time that it was offered: the bad bytes are somewhere in it."
            ),
            CommandLine(
                f"sha256sum {copies}",
                "The copies narrow it: the second one is good, the third one is bad.",
                is_shell=True,
            ),
            CommandLine(
                f"cp bucket-02/{wheel} public/{wheel}", "Good bytes: the log says which ones are good.", is_shell=True
            ),
            CommandLine("verify --served public", "Every file is what the log says."),
        ),
        answer=Sealed(
            text="""\
Between 2021-03-17T01:00Z and 2021-03-24T01:00Z, by the copies. The log cannot say more: nobody told it. It says that
the file never had other bytes by any event, so it was changed in the bucket. Whoever compares hashes refused it, and
clients of TUF fetch another name, with the digest in it. It reached those who downloaded it and compared nothing. A
running verifier compares all files all the time, and would have told on the first day (docs/operators.md, "Watching
it"): so run one.""",
            clean={"rafter": ("rafter-1.0-py3-none-any.whl", "rafter-1.1-py3-none-any.whl")},
            elsewhere=(
                "Replace the credential that can write to the bucket; look for it in old images and builds.",
                "Purge caches of that path, and tell those who fetched it in these weeks.",
            ),
        ),
    )


def mirrors() -> Story:
    """A mirror that serves yesterday's metadata, and one that changes a byte."""
    wheel, copy = _places(SECOND)
    return Story(
        name="mirrors",
        title="two mirrors: one serves yesterday's metadata, one changes a byte",
        told_at="2026-01-15T12:00:00Z",
        told="""\
Users of two mirrors write. Those of the first do not see rafter 1.2, which fixes a hole, since yesterday. Those of the
second cannot install rafter 1.1: pip says that the hash is wrong. You have copies of both: `mirror-1` and
`mirror-2`.""",
        question="What does each mirror serve? Is it lagging, or lying? What can its users be made to believe?",
        acts=in_order(
            neighbours(["2026-01-12", "2026-01-13", "2026-01-14"]),
            [
                Act("2026-01-12T09:00:00Z", (*begins("rafter", OWNER), FIRST, SECOND)),
                Tampering("2026-01-14T14:00:00Z", "copy", "public", "mirror-1"),
                Act("2026-01-14T15:00:00Z", (OWNER.uploads("rafter", "1.2"),)),
                Tampering("2026-01-15T08:00:00Z", "copy", "public", "mirror-2"),
                Tampering("2026-01-15T08:00:01Z", "change", f"mirror-2/{wheel}"),
                Tampering("2026-01-15T08:00:02Z", "change", f"mirror-2/{copy}"),
            ],
        ),
        lines=(
            CommandLine(
                "compare mirror-1", "Everything is the log's, and older than the newest: until when it is believed."
            ),
            CommandLine("verify --served mirror-1", "The same with all files: nothing else differs.", 1),
            CommandLine("compare mirror-2", "Its metadata is the log's."),
            CommandLine("verify --served mirror-2", "One distribution file is not, under both of its names.", 1),
            CommandLine(
                "incident window rafter==1.1", "What a client behind a frozen mirror can be shown, and until when."
            ),
            CommandLine("verify --served public", "What you serve yourself is what the log says."),
        ),
        answer=Sealed(
            text="""\
The first mirror serves a publication of the day before, whole and unaltered: that is lag, or a freeze, and from outside
they look the same. Its users can be kept from 1.2 until the timestamp expires, a day after it was signed; after that
their clients refuse it. The second one is up to date, but for one byte of one file, under both names: each client
that checks refuses that file. Neither needs anything undone on the log: no event is suspect.""",
            clean={"rafter": tuple(f"rafter-1.{number}-py3-none-any.whl" for number in range(3))},
            elsewhere=(
                "Tell both mirrors; the second one should look at its disk, and at who can write to it.",
                "Keep timestamps short: their validity is the time that a mirror can freeze its users.",
            ),
        ),
    )


def _places(deed: Deed) -> tuple[str, str]:
    """Where the file of an upload is served: its plain name, and the one with its digest."""
    hashes = deed.data["hashes"]
    target = package_target(hashes["blake2b_256"], deed.data["filename"])
    return plain_path(target), hashed_path(target, hashes["sha256"])
