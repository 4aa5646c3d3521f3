package bench;

/** What the bench tells a peer, from the environment: see bench/peers/README.md. */
record Work(String kafka, String input, String output, String group, String directory, int hot, long hotUnits, long units) {
    static Work fromEnvironment() {
        return new Work(text("KAFKA"), text("INPUT"), text("OUTPUT"), text("GROUP"), text("DIR"), Integer.parseInt(text("HOT")),
                Long.parseLong(text("HOT_UNITS")), Long.parseLong(text("UNITS")));
    }

    private static String text(String name) {
        String value = System.getenv("BENCH_" + name);
        if (value == null) {
            throw new IllegalArgumentException("BENCH_" + name + " is not set: `python -m bench` sets it");
        }
        return value;
    }

    /** Units a product has before the first order. */
    long opening(String product) {
        return Integer.parseInt(product.substring(1)) < hot ? hotUnits : units;
    }
}
