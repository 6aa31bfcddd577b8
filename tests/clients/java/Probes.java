import java.time.Duration;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.UUID;
import java.util.concurrent.Callable;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.TimeUnit;
import java.util.function.BooleanSupplier;
import java.util.stream.Collectors;
import java.util.stream.IntStream;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.AlterConfigOp;
import org.apache.kafka.clients.admin.ConfigEntry;
import org.apache.kafka.clients.admin.NewPartitions;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.admin.RecordsToDelete;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.CooperativeStickyAssignor;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.clients.consumer.RangeAssignor;
import org.apache.kafka.clients.consumer.RoundRobinAssignor;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.clients.producer.RecordMetadata;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.config.ConfigResource;
import org.apache.kafka.common.errors.InvalidRequestException;
import org.apache.kafka.common.errors.ProducerFencedException;
import org.apache.kafka.common.errors.SaslAuthenticationException;
import org.apache.kafka.common.quota.ClientQuotaAlteration;
import org.apache.kafka.common.quota.ClientQuotaEntity;
import org.apache.kafka.common.quota.ClientQuotaFilter;
import org.apache.kafka.common.quota.ClientQuotaFilterComponent;
import org.apache.kafka.common.serialization.StringDeserializer;
import org.apache.kafka.common.serialization.StringSerializer;
import org.apache.kafka.common.utils.AppInfoParser;

/** The official client against the broker in $KAFKA. Each result is one line of JSON. */
public class Probes {
  static final long SECONDS_MAX = 60;
  static final int AT_ONCE = 5;

  /** Ten minutes ago: retention would delete what is older than a week. */
  static final long BEGIN_MS = System.currentTimeMillis() - 600_000;

  static final String CLIENT = "java " + AppInfoParser.getVersion();
  static final Map<String, String> COMMITTED = Map.of("isolation.level", "read_committed");

  interface Probe {
    void run(Admin admin) throws Exception;
  }

  static final Map<String, Probe> PROBES = new LinkedHashMap<>();

  static {
    PROBES.put("the_cluster_is_described", Probes::describeCluster);
    PROBES.put("a_topic_is_created_configured_grown_and_deleted", Probes::administerTopic);
    for (String codec : List.of("none", "gzip", "snappy", "lz4", "zstd")) {
      PROBES.put("records_come_back_" + codec, admin -> roundTrip(admin, codec));
    }
    PROBES.put("client_quotas_are_set_and_told", Probes::quotas);
    PROBES.put("a_group_commits_what_it_has_read", admin -> commit(admin, Map.of()));
    PROBES.put("offsets_are_found_by_time", Probes::offsetsByTime);
    PROBES.put("records_are_deleted_before_an_offset", Probes::deleteRecords);
    PROBES.put("range_shares_out", admin -> share(admin, assignor(RangeAssignor.class)));
    PROBES.put("round_robin_shares_out", admin -> share(admin, assignor(RoundRobinAssignor.class)));
    PROBES.put(
        "cooperative_sticky_shares_out",
        admin -> share(admin, assignor(CooperativeStickyAssignor.class)));
    PROBES.put("the_consumer_protocol_shares_out", admin -> share(admin, consumerProtocol("uniform")));
    PROBES.put("the_consumer_protocol_shares_out_ranges", admin -> share(admin, consumerProtocol("range")));
    PROBES.put(
        "the_consumer_protocol_commits_what_it_has_read", admin -> commit(admin, consumerProtocol("uniform")));
    PROBES.put("groups_are_administered", Probes::administerGroup);
    PROBES.put("a_transaction_lands_or_does_not", Probes::transactions);
    PROBES.put("offsets_land_with_their_transaction", Probes::offsetsInTransaction);
    PROBES.put("a_zombie_is_fenced", Probes::fence);
    PROBES.put("each_mechanism_lets_only_the_right_password_in", Probes::security);
  }

  // Clients.

  static Properties properties(Map<String, String> more) {
    Properties properties = new Properties();
    properties.put("bootstrap.servers", System.getenv("KAFKA"));
    properties.put("default.api.timeout.ms", "15000");
    properties.put("request.timeout.ms", "8000");
    properties.putAll(more);
    return properties;
  }

  static KafkaProducer<String, String> producer(Map<String, String> more) {
    Properties properties = properties(more);
    properties.put("delivery.timeout.ms", "15000");
    properties.put("max.block.ms", "15000");
    return new KafkaProducer<>(properties, new StringSerializer(), new StringSerializer());
  }

  static KafkaConsumer<String, String> consumer(String group, Map<String, String> more) {
    Properties properties = properties(more);
    properties.put("group.id", group);
    properties.put("auto.offset.reset", "earliest");
    properties.put("enable.auto.commit", "false");
    if (!more.containsKey("group.protocol")) {
      properties.put("session.timeout.ms", "10000");
      properties.put("heartbeat.interval.ms", "500");
    }
    return new KafkaConsumer<>(properties, new StringDeserializer(), new StringDeserializer());
  }

  static Map<String, String> assignor(Class<?> assignor) {
    return Map.of("partition.assignment.strategy", assignor.getName());
  }

  static Map<String, String> consumerProtocol(String assignor) {
    return Map.of("group.protocol", "consumer", "group.remote.assignor", assignor);
  }

  static String fresh(String prefix) {
    return prefix + "-" + UUID.randomUUID().toString().substring(0, 8);
  }

  static String create(Admin admin, int partitions) throws Exception {
    String topic = fresh("java");
    admin.createTopics(List.of(new NewTopic(topic, partitions, (short) 1))).all().get();
    return topic;
  }

  static List<RecordMetadata> send(String topic, int n, Map<String, String> more) throws Exception {
    List<Future<RecordMetadata>> sent = new ArrayList<>();
    try (KafkaProducer<String, String> producer = producer(more)) {
      for (int i = 0; i < n; i++) {
        sent.add(producer.send(new ProducerRecord<>(topic, null, BEGIN_MS + i, "k" + i, "v" + i)));
      }
    }
    List<RecordMetadata> acknowledged = new ArrayList<>();
    for (Future<RecordMetadata> one : sent) {
      acknowledged.add(one.get());
    }
    return acknowledged;
  }

  static List<ConsumerRecord<String, String>> drain(KafkaConsumer<String, String> consumer, int n) {
    List<ConsumerRecord<String, String>> records = new ArrayList<>();
    waitFor(
        () -> {
          consumer.poll(Duration.ofMillis(200)).forEach(records::add);
          return records.size() >= n;
        },
        n + " records");
    return records;
  }

  static List<String> committedValues(String topic, int n) {
    try (KafkaConsumer<String, String> consumer = consumer(fresh("group"), COMMITTED)) {
      consumer.assign(List.of(new TopicPartition(topic, 0)));
      return drain(consumer, n).stream().map(ConsumerRecord::value).collect(Collectors.toList());
    }
  }

  static void waitFor(BooleanSupplier condition, String what) {
    long deadline = System.nanoTime() + TimeUnit.SECONDS.toNanos(25);
    while (!condition.getAsBoolean()) {
      check(System.nanoTime() < deadline, what + " did not come in 25 s");
    }
  }

  static void check(boolean holds, String what) {
    if (!holds) {
      throw new AssertionError(what);
    }
  }

  static void expect(Object found, Object expected) {
    check(found.equals(expected), found + ", expected " + expected);
  }

  // Probes.

  static void describeCluster(Admin admin) throws Exception {
    check(!admin.describeCluster().clusterId().get().isEmpty(), "no cluster id");
    expect(admin.describeCluster().nodes().get().size(), 1);
  }

  static void administerTopic(Admin admin) throws Exception {
    String topic = create(admin, 2);
    ConfigResource resource = new ConfigResource(ConfigResource.Type.TOPIC, topic);
    ConfigEntry retention = new ConfigEntry("retention.ms", "1234567");
    AlterConfigOp change = new AlterConfigOp(retention, AlterConfigOp.OpType.SET);
    admin.incrementalAlterConfigs(Map.of(resource, List.of(change))).all().get();
    var configs = admin.describeConfigs(List.of(resource)).all().get().get(resource);
    expect(configs.get("retention.ms").value(), "1234567");
    admin.createPartitions(Map.of(topic, NewPartitions.increaseTo(6))).all().get();
    var described = admin.describeTopics(List.of(topic)).allTopicNames().get().get(topic);
    expect(described.partitions().size(), 6);
    admin.deleteTopics(List.of(topic)).all().get();
    check(!admin.listTopics().names().get().contains(topic), "a deleted topic is listed");
  }

  static void quotas(Admin admin) throws Exception {
    String client = fresh("client");
    var entity = new ClientQuotaEntity(Map.of(ClientQuotaEntity.CLIENT_ID, client));
    alterQuota(admin, entity, "producer_byte_rate", 50_000.0);
    var filter = ClientQuotaFilter.containsOnly(
        List.of(ClientQuotaFilterComponent.ofEntity(ClientQuotaEntity.CLIENT_ID, client)));
    var told = admin.describeClientQuotas(filter).entities().get();
    expect(told, Map.of(entity, Map.of("producer_byte_rate", 50_000.0)));
    String topic = create(admin, 1);
    long begin = System.nanoTime();
    // 120 records of 1 KiB: 50 kB at once, the rest at 50 kB a second.
    Map<String, String> settings = Map.of("client.id", client, "batch.size", "10000");
    try (KafkaProducer<String, String> producer = producer(settings)) {
      for (int i = 0; i < 120; i++) {
        producer.send(new ProducerRecord<>(topic, "x".repeat(1024)));
      }
      producer.flush();
    }
    check(System.nanoTime() - begin > 800_000_000L, "the producer was not slowed down");
    expect(committedValues(topic, 120).size(), 120);
    alterQuota(admin, entity, "producer_byte_rate", null);
    expect(admin.describeClientQuotas(filter).entities().get(), Map.of());
    try {
      alterQuota(admin, entity, "request_percentage", 50.0);
      throw new IllegalStateException("a quota that is not offered was set");
    } catch (ExecutionException e) {
      check(e.getCause() instanceof InvalidRequestException, e.toString());
    }
  }

  static void alterQuota(Admin admin, ClientQuotaEntity entity, String key, Double value)
      throws Exception {
    var change = new ClientQuotaAlteration(entity, List.of(new ClientQuotaAlteration.Op(key, value)));
    admin.alterClientQuotas(List.of(change)).all().get();
  }

  static void roundTrip(Admin admin, String codec) throws Exception {
    String topic = create(admin, 1);
    send(topic, 500, Map.of("compression.type", codec, "linger.ms", "10"));
    List<String> expected = IntStream.range(0, 500).mapToObj(i -> "v" + i).collect(Collectors.toList());
    expect(committedValues(topic, 500), expected);
  }

  static void commit(Admin admin, Map<String, String> more) throws Exception {
    String topic = create(admin, 4);
    send(topic, 1000, Map.of());
    String group = fresh("group");
    try (KafkaConsumer<String, String> consumer = consumer(group, more)) {
      consumer.subscribe(List.of(topic));
      expect(drain(consumer, 1000).size(), 1000);
      consumer.commitSync();
      var offsets = consumer.committed(consumer.assignment()).values();
      expect(offsets.stream().mapToLong(OffsetAndMetadata::offset).sum(), 1000L);
    }
    send(topic, 7, Map.of());
    try (KafkaConsumer<String, String> consumer = consumer(group, more)) {
      consumer.subscribe(List.of(topic));
      expect(drain(consumer, 7).size(), 7);
    }
  }

  static void offsetsByTime(Admin admin) throws Exception {
    String topic = create(admin, 1);
    send(topic, 100, Map.of());
    TopicPartition place = new TopicPartition(topic, 0);
    try (KafkaConsumer<String, String> consumer = consumer(fresh("group"), Map.of())) {
      var found = consumer.offsetsForTimes(Map.of(place, BEGIN_MS + 40)).get(place);
      expect(found.offset(), 40L);
      expect(consumer.beginningOffsets(List.of(place)).get(place), 0L);
      expect(consumer.endOffsets(List.of(place)).get(place), 100L);
    }
  }

  static void deleteRecords(Admin admin) throws Exception {
    String topic = create(admin, 1);
    send(topic, 10, Map.of());
    TopicPartition place = new TopicPartition(topic, 0);
    var deleted = admin.deleteRecords(Map.of(place, RecordsToDelete.beforeOffset(5)));
    expect(deleted.lowWatermarks().get(place).get().lowWatermark(), 5L);
  }

  /** Two members get half each; the one that stays gets everything. */
  static void share(Admin admin, Map<String, String> more) throws Exception {
    String topic = create(admin, 4);
    String group = fresh("group");
    try (KafkaConsumer<String, String> first = consumer(group, more)) {
      first.subscribe(List.of(topic));
      try (Polled second = new Polled(consumer(group, more), topic)) {
        waitFor(() -> poll(first) == 2 && second.share == 2, "two partitions each");
      }
      waitFor(() -> poll(first) == 4, "four partitions again");
    }
  }

  static int poll(KafkaConsumer<String, String> consumer) {
    consumer.poll(Duration.ofMillis(50));
    return consumer.assignment().size();
  }

  /** A member that polls on a thread of its own: an eager round blocks whoever polls. */
  static class Polled implements AutoCloseable {
    volatile int share;
    private volatile boolean stopping;
    private final Thread thread;

    Polled(KafkaConsumer<String, String> consumer, String topic) {
      thread =
          new Thread(
              () -> {
                try (consumer) {
                  consumer.subscribe(List.of(topic));
                  while (!stopping) {
                    share = poll(consumer);
                  }
                }
              });
      thread.start();
    }

    @Override
    public void close() throws InterruptedException {
      stopping = true;
      thread.join();
    }
  }

  static void administerGroup(Admin admin) throws Exception {
    String topic = create(admin, 1);
    String group = fresh("group");
    send(topic, 10, Map.of());
    TopicPartition place = new TopicPartition(topic, 0);
    try (KafkaConsumer<String, String> consumer = consumer(group, Map.of())) {
      consumer.subscribe(List.of(topic));
      drain(consumer, 10);
      consumer.commitSync(Map.of(place, new OffsetAndMetadata(10, "our word")));
      var described = admin.describeConsumerGroups(List.of(group)).all().get().get(group);
      expect(described.members().size(), 1);
    }
    var offsets = admin.listConsumerGroupOffsets(group).partitionsToOffsetAndMetadata().get();
    expect(offsets.get(place).metadata(), "our word");
    check(
        admin.listConsumerGroups().all().get().stream().anyMatch(one -> one.groupId().equals(group)),
        "not listed");
    admin.alterConsumerGroupOffsets(group, Map.of(place, new OffsetAndMetadata(1))).all().get();
    admin.deleteConsumerGroups(List.of(group)).all().get();
  }

  static void transactions(Admin admin) throws Exception {
    String topic = create(admin, 1);
    try (KafkaProducer<String, String> producer = producer(Map.of("transactional.id", fresh("id")))) {
      producer.initTransactions();
      for (String value : List.of("landed", "aborted", "later")) {
        producer.beginTransaction();
        producer.send(new ProducerRecord<>(topic, value)).get();
        if (value.equals("aborted")) {
          producer.abortTransaction();
        } else {
          producer.commitTransaction();
        }
      }
    }
    expect(committedValues(topic, 2), List.of("landed", "later"));
  }

  static void offsetsInTransaction(Admin admin) throws Exception {
    String source = create(admin, 2);
    String target = create(admin, 1);
    send(source, 100, Map.of());
    try (KafkaConsumer<String, String> consumer = consumer(fresh("group"), COMMITTED);
        KafkaProducer<String, String> producer = producer(Map.of("transactional.id", fresh("id")))) {
      producer.initTransactions();
      consumer.subscribe(List.of(source));
      Map<TopicPartition, OffsetAndMetadata> offsets = new HashMap<>();
      producer.beginTransaction();
      for (ConsumerRecord<String, String> record : drain(consumer, 100)) {
        producer.send(new ProducerRecord<>(target, record.value()));
        TopicPartition place = new TopicPartition(record.topic(), record.partition());
        offsets.put(place, new OffsetAndMetadata(record.offset() + 1, "moved"));
      }
      producer.sendOffsetsToTransaction(offsets, consumer.groupMetadata());
      producer.commitTransaction();
      var committed = consumer.committed(offsets.keySet());
      expect(committed.values().stream().map(OffsetAndMetadata::metadata).distinct().toList(), List.of("moved"));
      expect(committed.values().stream().mapToLong(OffsetAndMetadata::offset).sum(), 100L);
    }
    expect(committedValues(target, 100).size(), 100);
  }

  static void fence(Admin admin) throws Exception {
    String topic = create(admin, 1);
    Map<String, String> named = Map.of("transactional.id", fresh("id"));
    try (KafkaProducer<String, String> zombie = producer(named);
        KafkaProducer<String, String> successor = producer(named)) {
      zombie.initTransactions();
      zombie.beginTransaction();
      zombie.send(new ProducerRecord<>(topic, "zombie")).get();
      successor.initTransactions();
      try {
        zombie.commitTransaction();
        throw new AssertionError("the zombie commits");
      } catch (ProducerFencedException expected) {
        // That is what is expected.
      }
    }
  }

  static void security(Admin open) throws Exception {
    for (String mechanism : List.of("PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512")) {
      check(getsIn(mechanism, "open sesame"), mechanism + " with the password");
      check(!getsIn(mechanism, "sesame"), mechanism + " with another password");
    }
  }

  static boolean getsIn(String mechanism, String password) throws Exception {
    String module =
        mechanism.equals("PLAIN")
            ? "org.apache.kafka.common.security.plain.PlainLoginModule"
            : "org.apache.kafka.common.security.scram.ScramLoginModule";
    String login = "%s required username=\"probe\" password=\"%s\";".formatted(module, password);
    Map<String, String> guarded =
        Map.of(
            "bootstrap.servers", System.getenv("GUARDED"),
            "security.protocol", "SASL_SSL",
            "sasl.mechanism", mechanism,
            "sasl.jaas.config", login,
            "ssl.truststore.type", "PEM",
            "ssl.truststore.location", System.getenv("CA"));
    try (Admin admin = Admin.create(properties(guarded))) {
      admin.listTopics().names().get();
      return true;
    } catch (ExecutionException error) {
      if (error.getCause() instanceof SaslAuthenticationException) {
        return false;
      }
      throw error;
    }
  }

  // Running.

  static boolean ran(String name, Probe probe) {
    long began = System.nanoTime();
    String detail = "";
    boolean ok = true;
    try (Admin admin = Admin.create(properties(Map.of()))) {
      probe.run(admin);
    } catch (Throwable error) {
      ok = false;
      detail = error.toString();
    }
    double seconds = (System.nanoTime() - began) / 1e9;
    String escaped = detail.replace("\\", "\\\\").replace("\"", "'").replaceAll("\\s+", " ");
    String line = "{\"client\": \"%s\", \"probe\": \"%s\", \"ok\": %s, \"seconds\": %.1f, \"detail\": \"%s\"}";
    System.out.println(line.formatted(CLIENT, name, ok, seconds, escaped));
    return ok;
  }

  public static void main(String[] arguments) throws Exception {
    ExecutorService pool = Executors.newFixedThreadPool(AT_ONCE);
    List<Callable<Boolean>> tasks = new ArrayList<>();
    PROBES.forEach((name, probe) -> tasks.add(() -> ran(name, probe)));
    boolean ok = true;
    for (Future<Boolean> result : pool.invokeAll(tasks, SECONDS_MAX * 4, TimeUnit.SECONDS)) {
      ok &= !result.isCancelled() && result.get();
    }
    System.exit(ok ? 0 : 1);
  }
}
