ARG BASE_IMAGE
FROM ${BASE_IMAGE}
RUN install -d -o redis /data
USER redis
VOLUME /data
CMD ["redis-server"]
