"""All stories, in the order in which they are told."""

from collections.abc import Callable, Mapping

from consumers.incidents.stories.deeds import Story
from consumers.incidents.stories.publisher_then_token import publisher_then_token

STORIES: Mapping[str, Callable[[], Story]] = {
    "publisher-then-token": publisher_then_token,
}
"""What makes each story, by its name."""
