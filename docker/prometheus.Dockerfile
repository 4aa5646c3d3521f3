# As the prom/prometheus image is set up: run by nobody, data in /prometheus.
ARG BASE_IMAGE
FROM ${BASE_IMAGE}
RUN install -d -o nobody /prometheus
USER nobody
VOLUME /prometheus
ENTRYPOINT ["prometheus"]
