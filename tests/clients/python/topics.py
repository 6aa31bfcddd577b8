"""The cluster, topics, configurations."""

import time

from confluent_kafka import KafkaException, TopicCollection
from confluent_kafka.admin import (
    RESOURCE_BROKER,
    RESOURCE_TOPIC,
    AclBindingFilter,
    AclOperation,
    AclPermissionType,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    NewPartitions,
    NewTopic,
    ResourcePatternType,
    ResourceType,
)

from librdkafka import CLIENT, admin, consumer, create, producer, send, values
from probe import expect, fresh, probe, wait_for


@probe(CLIENT)
def metadata_lists_the_one_broker():
    client = admin()
    found = client.list_topics(timeout=8)
    expect(len(found.brokers), 1, "brokers")
    assert found.cluster_id and found.controller_id in found.brokers


@probe(CLIENT)
def the_cluster_is_described():
    client = admin()
    found = client.describe_cluster(request_timeout=8).result(10)
    assert found.cluster_id and found.controller.id == found.nodes[0].id


@probe(CLIENT)
def a_topic_is_created_with_its_configuration():
    topic = fresh("configured")
    client = create(topic, 6, {"cleanup.policy": "compact", "retention.ms": "3600000"})
    resource = ConfigResource(RESOURCE_TOPIC, topic)
    found = client.describe_configs([resource])[resource].result(10)
    expect(found["cleanup.policy"].value, "compact")
    expect(found["retention.ms"].value, "3600000")
    assert "max.message.bytes" in found and "min.insync.replicas" in found
    return f"{len(found)} configurations"


@probe(CLIENT)
def a_topic_is_described():
    topic = fresh("described")
    client = create(topic, 3)
    found = client.describe_topics(TopicCollection([topic]))[topic].result(10)
    expect(len(found.partitions), 3)
    assert found.topic_id and found.partitions[0].leader.id is not None


@probe(CLIENT)
def a_topic_that_exists_is_not_created_again():
    topic = fresh("twice")
    client = create(topic)
    try:
        client.create_topics([NewTopic(topic, 1, 1)])[topic].result(10)
    except KafkaException as error:
        return expect(error.args[0].name(), "TOPIC_ALREADY_EXISTS")
    raise AssertionError("the second creation is accepted")


@probe(CLIENT)
def a_configuration_is_altered():
    topic = fresh("altered")
    client = create(topic)
    entry = ConfigEntry("retention.ms", "12345678", incremental_operation=AlterConfigOpType.SET)
    change = ConfigResource(RESOURCE_TOPIC, topic, incremental_configs=[entry])
    client.incremental_alter_configs([change])[change].result(10)
    asked = ConfigResource(RESOURCE_TOPIC, topic)
    expect(client.describe_configs([asked])[asked].result(10)["retention.ms"].value, "12345678")


@probe(CLIENT)
def a_topic_gets_more_partitions():
    topic = fresh("grown")
    client = create(topic, 2)
    client.create_partitions([NewPartitions(topic, 5)])[topic].result(10)
    wait_for(lambda: len(client.list_topics(topic, timeout=5).topics[topic].partitions) == 5)


@probe(CLIENT)
def a_topic_is_deleted():
    topic = fresh("deleted")
    client = create(topic, 2)
    client.delete_topics([topic])[topic].result(10)
    wait_for(lambda: topic not in client.list_topics(timeout=5).topics)


@probe(CLIENT)
def an_unknown_topic_is_told():
    client = consumer(**{"allow.auto.create.topics": False})
    client.subscribe([fresh("unknown")])
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        message = client.poll(0.3)
        if message is not None and message.error():
            client.close()
            return expect(message.error().name(), "UNKNOWN_TOPIC_OR_PART")
    raise AssertionError("no error")


@probe(CLIENT)
def producing_creates_a_topic():
    send(producer(), fresh("automatic"), values(b"x"))


@probe(CLIENT)
def what_is_not_offered_is_refused_and_does_not_hang():
    client, refused = admin(), []
    any_acl = AclBindingFilter(
        ResourceType.ANY, None, ResourcePatternType.ANY, None, None, AclOperation.ANY, AclPermissionType.ANY
    )
    for ask in (lambda: client.describe_acls(any_acl), client.describe_user_scram_credentials):
        try:
            ask().result(8)
        except KafkaException as error:
            refused.append(error.args[0].name())
    expect(refused, ["_UNSUPPORTED_FEATURE"] * 2)


@probe(CLIENT)
def the_brokers_configuration_is_described():
    client = admin()
    resource = ConfigResource(RESOURCE_BROKER, str(next(iter(client.list_topics(timeout=5).brokers))))
    found = client.describe_configs([resource])[resource].result(10)
    assert found
    return f"{len(found)} configurations"
