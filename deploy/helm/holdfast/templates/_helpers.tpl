{{- define "holdfast.labels" -}}
app.kubernetes.io/name: holdfast
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ .Chart.Name }}-{{ .Chart.Version }}
{{- end }}

{{- define "holdfast.image" -}}
{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end }}

{{- define "holdfast.podSecurity" -}}
runAsNonRoot: true
runAsUser: 10001
runAsGroup: 10001
fsGroup: 10001
seccompProfile: {type: RuntimeDefault}
{{- end }}

{{- define "holdfast.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: {drop: [ALL]}
{{- end }}

{{- define "holdfast.secretEnv" -}}
- name: {{ .name }}
  valueFrom: {secretKeyRef: {name: {{ .secret | quote }}, key: {{ .key | quote }}}}
{{ end }}

{{- define "holdfast.env" -}}
- {name: HOLDFAST_KAFKA, value: {{ .Values.servers.kafka | quote }}}
{{ include "holdfast.secretEnv" (dict "name" "HOLDFAST_MYSQL" "secret" .Values.servers.mysql.secretName "key" .Values.servers.mysql.key) -}}
{{ include "holdfast.secretEnv" (dict "name" "HOLDFAST_REDIS" "secret" .Values.servers.redis.secretName "key" .Values.servers.redis.key) -}}
- {name: HOLDFAST_PARTITIONS, value: {{ .Values.partitions | quote }}}
- {name: HOLDFAST_TOPIC_PREFIX, value: {{ .Values.topicPrefix | quote }}}
- {name: HOLDFAST_ORDER_TIMEOUT, value: {{ .Values.orderTimeoutSeconds | quote }}}
- {name: HOLDFAST_PAYMENT_PROVIDER, value: {{ .Values.payments.provider | quote }}}
- {name: HOLDFAST_PAYMENT_URL, value: {{ .Values.payments.url | quote }}}
{{ with .Values.payments.key }}{{ if .secretName -}}
{{ include "holdfast.secretEnv" (dict "name" "HOLDFAST_PAYMENT_KEY" "secret" .secretName "key" .key) -}}
{{ end }}{{ end -}}
{{ with .Values.security -}}
- {name: HOLDFAST_KAFKA_SECURITY_PROTOCOL, value: {{ .kafkaProtocol | quote }}}
{{ if .kafkaLogin.secretName -}}
- {name: HOLDFAST_KAFKA_SASL_MECHANISM, value: {{ .kafkaMechanism | quote }}}
{{ include "holdfast.secretEnv" (dict "name" "HOLDFAST_KAFKA_SASL_USERNAME" "secret" .kafkaLogin.secretName "key" .kafkaLogin.usernameKey) -}}
{{ include "holdfast.secretEnv" (dict "name" "HOLDFAST_KAFKA_SASL_PASSWORD" "secret" .kafkaLogin.secretName "key" .kafkaLogin.passwordKey) -}}
{{ end -}}
{{ range $name, $file := dict "KAFKA_TLS_CA" .tls.kafkaCa "KAFKA_TLS_CERT" .tls.kafkaCert "KAFKA_TLS_KEY" .tls.kafkaKey "MYSQL_TLS_CA" .tls.mysqlCa }}{{ if $file -}}
- {name: HOLDFAST_{{ $name }}, value: /etc/holdfast/tls/{{ $file }}}
{{ end }}{{ end -}}
{{ end -}}
{{ range $name, $value := .Values.extraEnv -}}
- {name: {{ $name }}, value: {{ $value | quote }}}
{{ end -}}
{{- end }}

{{- define "holdfast.mounts" -}}
- {name: tmp, mountPath: /tmp}
- {name: run, mountPath: /run/holdfast}
{{- if .Values.security.tls.secretName }}
- {name: tls, mountPath: /etc/holdfast/tls, readOnly: true}
{{- end }}
{{- end }}

{{- define "holdfast.volumes" -}}
- {name: tmp, emptyDir: {}}
- {name: run, emptyDir: {}}
{{- with .Values.security.tls.secretName }}
- {name: tls, secret: {secretName: {{ . | quote }}, defaultMode: 0440}}
{{- end }}
{{- end }}

{{- define "holdfast.placing" -}}
{{- with .Values.imagePullSecrets }}
imagePullSecrets: {{ toJson . }}
{{- end }}
{{- with .Values.nodeSelector }}
nodeSelector: {{ toJson . }}
{{- end }}
{{- with .Values.tolerations }}
tolerations: {{ toJson . }}
{{- end }}
{{- end }}
