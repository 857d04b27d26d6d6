"""Access-control lists of a real broker: aiokafka has no calls for them."""

from typing import Any

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.protocol.api import Request, RequestStruct, Response
from aiokafka.protocol.types import Array, Int8, Int16, Int32, Schema, String

from tests.broker import Broker

OPERATIONS = {"Read": 3, "Write": 4, "Create": 5, "Describe": 8, "DescribeConfigs": 10}
TOPIC, LITERAL, ALLOW = 2, 3, 3

_ENTRY = (
    ("resource_type", Int8),
    ("resource_name", String("utf-8")),
    ("resource_pattern_type", Int8),
    ("principal", String("utf-8")),
    ("host", String("utf-8")),
    ("operation", Int8),
    ("permission_type", Int8),
)
"""The fields of an entry of an access-control list, or of what is looked for."""


class CreateAclsResponse_v1(Response):  # type: ignore[misc]  # noqa: N801 - aiokafka's way to name them
    API_KEY, API_VERSION = 30, 1
    SCHEMA = Schema(
        ("throttle_time_ms", Int32), ("results", Array(("error_code", Int16), ("error_message", String("utf-8"))))
    )


class CreateAclsRequest_v1(RequestStruct):  # type: ignore[misc]  # noqa: N801
    API_KEY, API_VERSION = 30, 1
    RESPONSE_TYPE = CreateAclsResponse_v1
    SCHEMA = Schema(
        (
            "creations",
            Array(*_ENTRY),
        )
    )


class CreateAclsRequest(Request[CreateAclsRequest_v1]):  # type: ignore[misc]
    API_KEY = 30

    def __init__(self, creations: list[tuple[Any, ...]]) -> None:
        self._creations = creations

    def build(self, request_struct_class: type[CreateAclsRequest_v1]) -> CreateAclsRequest_v1:
        return request_struct_class(self._creations)


class DescribeAclsResponse_v1(Response):  # type: ignore[misc]  # noqa: N801
    API_KEY, API_VERSION = 29, 1
    SCHEMA = Schema(
        ("throttle_time_ms", Int32),
        ("error_code", Int16),
        ("error_message", String("utf-8")),
        (
            "resources",
            Array(
                ("resource_type", Int8),
                ("resource_name", String("utf-8")),
                ("resource_pattern_type", Int8),
                (
                    "acls",
                    Array(
                        ("principal", String("utf-8")),
                        ("host", String("utf-8")),
                        ("operation", Int8),
                        ("permission_type", Int8),
                    ),
                ),
            ),
        ),
    )


class DescribeAclsRequest_v1(RequestStruct):  # type: ignore[misc]  # noqa: N801
    API_KEY, API_VERSION = 29, 1
    RESPONSE_TYPE = DescribeAclsResponse_v1
    SCHEMA = Schema(*_ENTRY)


class DescribeAclsRequest(Request[DescribeAclsRequest_v1]):  # type: ignore[misc]
    API_KEY = 29

    def __init__(self, *wanted: Any) -> None:
        self._wanted = wanted

    def build(self, request_struct_class: type[DescribeAclsRequest_v1]) -> DescribeAclsRequest_v1:
        return request_struct_class(*self._wanted)


async def grant(broker: Broker, principal: str, topic: str, *operations: str) -> None:
    """Allow these operations on a topic, and wait until the broker knows."""
    await grant_at(broker.bootstrap_servers, principal, topic, *operations)


async def grant_at(servers: str, principal: str, topic: str, *operations: str) -> None:
    """The same at an address where anybody may grant rights."""
    admin = AIOKafkaAdminClient(bootstrap_servers=servers)
    await admin.start()
    try:
        wanted = {OPERATIONS[each] for each in operations}
        acls = [(TOPIC, topic, LITERAL, principal, "*", each, ALLOW) for each in wanted]
        created = await admin._client.send(admin._client.get_random_node(), CreateAclsRequest(acls))
        assert [code for code, _ in created.results] == [0] * len(acls), created
        known: set[int] = set()
        while not wanted <= known:
            asked = DescribeAclsRequest(TOPIC, topic, LITERAL, principal, None, 1, 1)
            found = await admin._client.send(admin._client.get_random_node(), asked)
            assert found.error_code == 0, found
            known = {each[2] for resource in found.resources for each in resource[3]}
    finally:
        await admin.close()
