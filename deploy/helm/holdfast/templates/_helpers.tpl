{{- define "holdfast.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 40 | trimSuffix "-" -}}
{{- end -}}

{{- /* 52: a StatefulSet's name and what is appended to it have to fit into labels. */ -}}
{{- define "holdfast.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 52 | trimSuffix "-" -}}
{{- else if contains (include "holdfast.name" .) .Release.Name -}}
{{- .Release.Name | trunc 52 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name (include "holdfast.name" .) | trunc 52 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{- define "holdfast.selector" -}}
app.kubernetes.io/name: {{ include "holdfast.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "holdfast.labels" -}}
{{ include "holdfast.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end -}}

{{- define "holdfast.serviceAccount" -}}
{{- if .Values.serviceAccount.create -}}
{{- default (include "holdfast.fullname" .) .Values.serviceAccount.name -}}
{{- else -}}
{{- required "serviceAccount.name: which one, when the chart creates none?" .Values.serviceAccount.name -}}
{{- end -}}
{{- end -}}

{{- define "holdfast.image" -}}
{{- if .Values.image.digest -}}
{{- printf "%s@%s" .Values.image.repository .Values.image.digest -}}
{{- else -}}
{{- printf "%s:%s" .Values.image.repository (default .Chart.AppVersion .Values.image.tag) -}}
{{- end -}}
{{- end -}}

{{- /* "yes" when replicas elect a leader by a Lease; a folder's lock needs none. */ -}}
{{- define "holdfast.elects" -}}
{{- if and (not (hasPrefix "file:" .Values.store.uri)) (eq (index .Values.config "election" | default "kubernetes") "kubernetes") -}}yes{{- end -}}
{{- end -}}

{{- /* "yes" when the daemon calls the API server at all. */ -}}
{{- define "holdfast.callsApi" -}}
{{- if or (include "holdfast.elects" .) .Values.orphans.enabled (and .Values.access.enabled .Values.access.tokenReviewAudience) -}}yes{{- end -}}
{{- end -}}

{{- define "holdfast.settings" -}}
{{- $s := dict "listen" (printf "0.0.0.0:%d" (int .Values.service.port)) "store" .Values.store.uri -}}
{{- if include "holdfast.elects" . -}}
{{- $_ := set $s "election" "kubernetes" -}}
{{- $_ := set $s "election.kubernetes.lease" (include "holdfast.fullname" .) -}}
{{- $_ := set $s "election.kubernetes.namespace" .Release.Namespace -}}
{{- end -}}
{{- if and .Values.store.existingSecret .Values.store.credentialsKey (or (hasPrefix "s3:" .Values.store.uri) (hasPrefix "oss:" .Values.store.uri)) -}}
{{- $scheme := ternary "s3" "oss" (hasPrefix "s3:" .Values.store.uri) -}}
{{- $_ := set $s (printf "%s.credentials" $scheme) "file" -}}
{{- $_ := set $s (printf "%s.credentials-file" $scheme) (printf "/etc/holdfast/storage/%s" .Values.store.credentialsKey) -}}
{{- end -}}
{{- if .Values.tls.enabled -}}
{{- $_ := set $s "listen.tls.certificate-file" "/etc/holdfast/tls/tls.crt" -}}
{{- $_ := set $s "listen.tls.key-file" "/etc/holdfast/tls/tls.key" -}}
{{- if .Values.tls.clientCaKey -}}
{{- $_ := set $s "listen.tls.client-ca-file" (printf "/etc/holdfast/tls/%s" .Values.tls.clientCaKey) -}}
{{- $_ := set $s "listen.tls.client-certificate-required" .Values.tls.clientCertificateRequired -}}
{{- end -}}
{{- end -}}
{{- if .Values.access.enabled -}}
{{- $_ := set $s "security.access-file" (printf "/etc/holdfast/access/%s" .Values.access.key) -}}
{{- if .Values.access.tokenReviewAudience -}}
{{- $_ := set $s "security.kubernetes.audience" .Values.access.tokenReviewAudience -}}
{{- end -}}
{{- end -}}
{{- if .Values.allowUnprotected -}}
{{- $_ := set $s "security.allow-unprotected" true -}}
{{- end -}}
{{- if .Values.orphans.enabled -}}
{{- $_ := set $s "orphans.kubernetes" true -}}
{{- $_ := set $s "orphans.policy" .Values.orphans.policy -}}
{{- if .Values.orphans.namespace -}}
{{- $_ := set $s "orphans.kubernetes.namespace" .Values.orphans.namespace -}}
{{- end -}}
{{- if .Values.persistence.enabled -}}
{{- $_ := set $s "orphans.state-dir" "/var/lib/holdfast/orphans" -}}
{{- end -}}
{{- end -}}
{{- if .Values.webhook.enabled -}}
{{- $_ := set $s "admission.policy" .Values.webhook.policy -}}
{{- end -}}
{{- range $key, $value := mergeOverwrite $s (deepCopy .Values.config) }}
{{ $key }}: {{ if kindIs "float64" $value }}{{ int64 $value | toString | quote }}{{ else }}{{ toString $value | quote }}{{ end }}
{{- end }}
{{- end -}}

{{- /* What no schema can say. */ -}}
{{- define "holdfast.check" -}}
{{- if and (gt (int .Values.replicas) 1) (hasPrefix "file:" .Values.store.uri) -}}
{{- fail "replicas: a file:// store serves one replica; give several of them an s3://, oss:// or hdfs:// store" -}}
{{- end -}}
{{- if and (hasPrefix "file:" .Values.store.uri) (not .Values.persistence.enabled) -}}
{{- fail "persistence.enabled: a file:// store without a volume is lost with its pod" -}}
{{- end -}}
{{- if and (not (and .Values.tls.enabled .Values.access.enabled)) (not .Values.allowUnprotected) -}}
{{- fail "allowUnprotected: without tls.enabled and access.enabled whoever reaches the port is served; the daemon starts only when this is true" -}}
{{- end -}}
{{- if and .Values.orphans.enabled (ne .Values.orphans.policy "report") (not .Values.persistence.enabled) -}}
{{- fail (printf "persistence.enabled: orphans.policy %s keeps its archives in a volume" .Values.orphans.policy) -}}
{{- end -}}
{{- if and .Values.webhook.enabled (not (and .Values.orphans.enabled .Values.tls.enabled)) -}}
{{- fail "webhook.enabled: it needs orphans.enabled and tls.enabled" -}}
{{- end -}}
{{- if and .Values.tls.clientCertificateRequired (not .Values.tls.clientCaKey) -}}
{{- fail "tls.clientCaKey: whose certificates are required?" -}}
{{- end -}}
{{- end -}}

{{- /* Gives our service account a Role of a namespace or, without one, a ClusterRole. */ -}}
{{- define "holdfast.binding" -}}
apiVersion: rbac.authorization.k8s.io/v1
kind: {{ .kind }}Binding
metadata:
  name: {{ .name }}
  {{- if .namespace }}
  namespace: {{ .namespace }}
  {{- end }}
  labels: {{- include "holdfast.labels" .root | nindent 4 }}
roleRef:
  apiGroup: rbac.authorization.k8s.io
  kind: {{ .kind }}
  name: {{ .name }}
subjects:
  - kind: ServiceAccount
    name: {{ include "holdfast.serviceAccount" .root }}
    namespace: {{ .root.Release.Namespace }}
{{- end -}}
