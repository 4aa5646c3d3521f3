"""The local stack: Kafka, MariaDB and Redis as real servers, and the pipeline's processes under one supervisor."""
