package bench;

import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.ByteBuffer;
import org.apache.avro.io.BinaryDecoder;
import org.apache.avro.io.BinaryEncoder;
import org.apache.avro.io.DecoderFactory;
import org.apache.avro.io.EncoderFactory;
import org.apache.kafka.streams.processor.api.Processor;
import org.apache.kafka.streams.processor.api.ProcessorContext;
import org.apache.kafka.streams.processor.api.Record;
import org.apache.kafka.streams.state.KeyValueStore;

/**
 * Reads the product's row, reserves or refuses, writes the row and one outcome. The Avro bodies are read and written
 * field by field, which is quicker than Avro's generic and generated classes; only the fields in use become objects.
 */
final class Reserve implements Processor<byte[], byte[], byte[], byte[]> {
    static final String STORE = "stock";
    private static final int HEADER_BYTES = 5;

    private final Work work;
    private ProcessorContext<byte[], byte[]> context;
    private KeyValueStore<String, byte[]> stock;
    private BinaryDecoder decoder;
    private BinaryEncoder encoder;
    private final ByteArrayOutputStream body = new ByteArrayOutputStream(64);

    Reserve(Work work) {
        this.work = work;
    }

    @Override
    public void init(ProcessorContext<byte[], byte[]> given) {
        context = given;
        stock = given.getStateStore(STORE);
    }

    @Override
    public void process(Record<byte[], byte[]> order) {
        try {
            context.forward(order.withValue(decide(order.value())));
        } catch (IOException error) {
            throw new UncheckedIOException(error);
        }
    }

    private byte[] decide(byte[] value) throws IOException {
        decoder = DecoderFactory.get().binaryDecoder(value, HEADER_BYTES, value.length - HEADER_BYTES, decoder);
        long order = decoder.readLong();
        decoder.readInt(); // line
        decoder.readInt(); // line_count
        String product = decoder.readString();
        long quantity = decoder.readLong();
        byte[] row = stock.get(product);
        long available = row == null ? work.opening(product) : ByteBuffer.wrap(row).getLong(0);
        long reserved = row == null ? 0 : ByteBuffer.wrap(row).getLong(8);
        boolean held = available >= quantity;
        if (held) {
            available -= quantity;
            stock.put(product, ByteBuffer.allocate(16).putLong(available).putLong(reserved + quantity).array());
        }
        return outcome(order, product, quantity, held, available);
    }

    private byte[] outcome(long order, String product, long quantity, boolean held, long available) throws IOException {
        body.reset();
        encoder = EncoderFactory.get().directBinaryEncoder(body, encoder);
        encoder.writeLong(order);
        encoder.writeString(product);
        encoder.writeLong(quantity);
        encoder.writeBoolean(held);
        encoder.writeLong(available);
        return body.toByteArray();
    }
}
