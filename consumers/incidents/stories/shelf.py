"""All stories, in the order in which they are told."""

from collections.abc import Callable, Mapping

from consumers.incidents.stories.account_takeover import account_takeover
from consumers.incidents.stories.changed_files import changed_file, host_touched, mirrors
from consumers.incidents.stories.deeds import Story
from consumers.incidents.stories.late_file import late_file
from consumers.incidents.stories.lost_root_keys import root_key_lost, threshold_lost
from consumers.incidents.stories.lying_index import lying_index
from consumers.incidents.stories.name_taken import name_taken
from consumers.incidents.stories.phished_maintainer import phished_maintainer
from consumers.incidents.stories.publisher_then_token import publisher_then_token
from consumers.incidents.stories.rewritten_topic import backup_restored, rewritten_topic
from consumers.incidents.stories.stolen_online_key import stolen_online_key
from consumers.incidents.stories.two_versions import two_versions
from consumers.incidents.stories.unused_tokens import unused_tokens
from consumers.incidents.stories.worm import worm

STORIES: Mapping[str, Callable[[], Story]] = {
    "publisher-then-token": publisher_then_token,
    "two-versions": two_versions,
    "phished-maintainer": phished_maintainer,
    "worm": worm,
    "unused-tokens": unused_tokens,
    "account-takeover": account_takeover,
    "name-taken": name_taken,
    "late-file": late_file,
    "lying-index": lying_index,
    "stolen-online-key": stolen_online_key,
    "root-key-lost": root_key_lost,
    "threshold-lost": threshold_lost,
    "rewritten-topic": rewritten_topic,
    "backup-restored": backup_restored,
    "host-touched": host_touched,
    "changed-file": changed_file,
    "mirrors": mirrors,
}
"""What makes each story, by its name."""
