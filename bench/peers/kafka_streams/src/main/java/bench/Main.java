package bench;

import java.util.Map;
import java.util.Properties;
import org.apache.kafka.clients.consumer.ConsumerConfig;
import org.apache.kafka.clients.producer.ProducerConfig;
import org.apache.kafka.common.serialization.Serdes;
import org.apache.kafka.streams.KafkaStreams;
import org.apache.kafka.streams.StreamsConfig;
import org.apache.kafka.streams.Topology;
import org.apache.kafka.streams.errors.StreamsUncaughtExceptionHandler.StreamThreadExceptionResponse;
import org.apache.kafka.streams.state.KeyValueBytesStoreSupplier;
import org.apache.kafka.streams.state.Stores;

/** The Kafka Streams peer: {@code Main memory|rocksdb THREADS}. */
public final class Main {
    private Main() {}

    public static void main(String[] arguments) {
        boolean inMemory = arguments[0].equals("memory");
        Work work = Work.fromEnvironment();
        KafkaStreams streams = new KafkaStreams(topology(work, inMemory), settings(work, Integer.parseInt(arguments[1])));
        streams.setUncaughtExceptionHandler(error -> {
            error.printStackTrace();
            return StreamThreadExceptionResponse.SHUTDOWN_APPLICATION;
        });
        Runtime.getRuntime().addShutdownHook(new Thread(streams::close));
        streams.start();
    }

    private static Topology topology(Work work, boolean inMemory) {
        KeyValueBytesStoreSupplier store =
                inMemory ? Stores.inMemoryKeyValueStore(Reserve.STORE) : Stores.persistentKeyValueStore(Reserve.STORE);
        var serde = Serdes.ByteArray();
        return new Topology()
                .addSource("orders", serde.deserializer(), serde.deserializer(), work.input())
                .addProcessor("reserve", () -> new Reserve(work), "orders")
                .addStateStore(Stores.keyValueStoreBuilder(store, Serdes.String(), serde).withCachingEnabled(), "reserve")
                .addSink("outcomes", work.output(), serde.serializer(), serde.serializer(), "reserve");
    }

    private static Properties settings(Work work, int threads) {
        Properties settings = new Properties();
        settings.putAll(Map.of(
                StreamsConfig.APPLICATION_ID_CONFIG, work.group(),
                StreamsConfig.BOOTSTRAP_SERVERS_CONFIG, work.kafka(),
                StreamsConfig.STATE_DIR_CONFIG, work.directory(),
                StreamsConfig.PROCESSING_GUARANTEE_CONFIG, StreamsConfig.EXACTLY_ONCE_V2,
                StreamsConfig.NUM_STREAM_THREADS_CONFIG, threads,
                StreamsConfig.COMMIT_INTERVAL_MS_CONFIG, Integer.parseInt(System.getenv().getOrDefault("BENCH_COMMIT_MS", "300")),
                StreamsConfig.STATESTORE_CACHE_MAX_BYTES_CONFIG, 128L << 20,
                StreamsConfig.BUFFERED_RECORDS_PER_PARTITION_CONFIG, 10_000,
                StreamsConfig.MAX_TASK_IDLE_MS_CONFIG, -1L));
        settings.putAll(Map.of(
                StreamsConfig.consumerPrefix(ConsumerConfig.AUTO_OFFSET_RESET_CONFIG), "earliest",
                StreamsConfig.consumerPrefix(ConsumerConfig.MAX_POLL_RECORDS_CONFIG), 10_000,
                StreamsConfig.consumerPrefix(ConsumerConfig.MAX_PARTITION_FETCH_BYTES_CONFIG), 4 << 20,
                StreamsConfig.producerPrefix(ProducerConfig.LINGER_MS_CONFIG), 50,
                StreamsConfig.producerPrefix(ProducerConfig.BATCH_SIZE_CONFIG), 256 << 10,
                StreamsConfig.producerPrefix(ProducerConfig.BUFFER_MEMORY_CONFIG), 128L << 20,
                StreamsConfig.producerPrefix(ProducerConfig.COMPRESSION_TYPE_CONFIG), "lz4"));
        return settings;
    }
}
