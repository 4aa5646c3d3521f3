// Reads outcomes with a stock client and a stock deserializer: node read_outcomes.mjs BROKER TOPIC REGISTRY COUNT
// Prints one JSON object per outcome, then ends. Order IDs have 63 bits and a JavaScript number 53: longs are read as BigInt, printed as strings.
import kafkajs from "kafkajs";
import avro from "avsc";
import lz4 from "lz4js";
import { AvroDeserializer, SchemaRegistryClient, SerdeType } from "@confluentinc/schemaregistry";

const { CompressionCodecs, CompressionTypes, Kafka, logLevel } = kafkajs;
// kafkajs leaves LZ4 to whoever needs it.
CompressionCodecs[CompressionTypes.LZ4] = () => ({
  compress: async (encoder) => Buffer.from(lz4.compress(encoder.buffer)),
  decompress: async (buffer) => Buffer.from(lz4.decompress(buffer)),
});

const long = avro.types.LongType.__with({
  fromBuffer: (buffer) => buffer.readBigInt64LE(),
  toBuffer: (value) => { const buffer = Buffer.alloc(8); buffer.writeBigInt64LE(value); return buffer; },
  fromJSON: BigInt,
  toJSON: Number,
  isValid: (value) => typeof value === "bigint",
  compare: (a, b) => (a === b ? 0 : a < b ? -1 : 1),
});
const [broker, topic, registry, count] = process.argv.slice(2);
const deserializer = new AvroDeserializer(new SchemaRegistryClient({ baseURLs: [registry] }), SerdeType.VALUE, { registry: { long } });
const consumer = new Kafka({ brokers: [broker], logLevel: logLevel.ERROR }).consumer({ groupId: `node-${process.pid}`, readUncommitted: false });

let left = Number(count);
await consumer.connect();
await consumer.subscribe({ topic, fromBeginning: true });
await consumer.run({
  eachMessage: async ({ message }) => {
    const outcome = await deserializer.deserialize(topic, message.value);
    console.log(JSON.stringify(outcome, (_, value) => (typeof value === "bigint" ? value.toString() : value)));
    if (--left === 0) setImmediate(() => consumer.disconnect().then(() => process.exit(0)));
  },
});
