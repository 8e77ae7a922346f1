{{/* The name of the chart, or what is to stand for it. */}}
{{- define "vipkeeper.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 40 | trimSuffix "-" }}
{{- end }}

{{/* The prefix of every object's name: short enough for "-controller" and the like behind it. */}}
{{- define "vipkeeper.fullname" -}}
{{- if .Values.fullnameOverride }}
{{- .Values.fullnameOverride | trunc 40 | trimSuffix "-" }}
{{- else }}
{{- $name := include "vipkeeper.name" . }}
{{- if contains $name .Release.Name }}
{{- .Release.Name | trunc 40 | trimSuffix "-" }}
{{- else }}
{{- printf "%s-%s" .Release.Name $name | trunc 40 | trimSuffix "-" }}
{{- end }}
{{- end }}
{{- end }}

{{/* Labels that do not change: of (dict "root" $ "component" "agent"). */}}
{{- define "vipkeeper.selectorLabels" -}}
app.kubernetes.io/name: {{ include "vipkeeper.name" .root }}
app.kubernetes.io/instance: {{ .root.Release.Name }}
{{- if .component }}
app.kubernetes.io/component: {{ .component }}
{{- end }}
{{- end }}

{{- define "vipkeeper.labels" -}}
{{ include "vipkeeper.selectorLabels" . }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version | replace "+" "_" }}
{{- with .root.Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{/* The name of a role's service account: of (dict "root" $ "component" "agent"). */}}
{{- define "vipkeeper.serviceAccount" -}}
{{- $account := (index .root.Values .component).serviceAccount }}
{{- if $account.create }}
{{- default (printf "%s-%s" (include "vipkeeper.fullname" .root) .component) $account.name }}
{{- else }}
{{- default "default" $account.name }}
{{- end }}
{{- end }}

{{- define "vipkeeper.image" -}}
{{- if .Values.image.digest -}}
{{ .Values.image.repository }}@{{ .Values.image.digest }}
{{- else -}}
{{ .Values.image.repository }}:{{ default .Chart.AppVersion .Values.image.tag }}
{{- end -}}
{{- end }}

{{/* What every container has of the image and of the log. */}}
{{- define "vipkeeper.container" -}}
image: {{ include "vipkeeper.image" . | quote }}
imagePullPolicy: {{ .Values.image.pullPolicy }}
{{- end }}

{{/* The environment of a container: of (dict "root" $ "port" 9470). What is here can be overridden by an argument. */}}
{{- define "vipkeeper.env" -}}
{{- with .port }}
- name: VIPKEEPER_LISTEN
  value: "[::]:{{ . }}"
{{- end }}
- name: VIPKEEPER_LOG
  value: {{ .root.Values.log.level | quote }}
- name: VIPKEEPER_LOG_FORMAT
  value: {{ .root.Values.log.format | quote }}
- name: NODE_NAME
  valueFrom: {fieldRef: {fieldPath: spec.nodeName}}
- name: POD_NAME
  valueFrom: {fieldRef: {fieldPath: metadata.name}}
- name: POD_NAMESPACE
  valueFrom: {fieldRef: {fieldPath: metadata.namespace}}
{{- end }}

{{/* The security context of a container without rights. */}}
{{- define "vipkeeper.restricted" -}}
allowPrivilegeEscalation: false
capabilities: {drop: [ALL]}
readOnlyRootFilesystem: true
runAsNonRoot: true
runAsUser: 65532
runAsGroup: 65532
seccompProfile: {type: RuntimeDefault}
{{- end }}

{{/* Probes on a port: of (dict "root" $ "port" 9470). */}}
{{- define "vipkeeper.probes" -}}
livenessProbe:
  httpGet: {path: /healthz, port: {{ .port }}}
  {{- toYaml .root.Values.livenessProbe | nindent 2 }}
readinessProbe:
  httpGet: {path: /readyz, port: {{ .port }}}
  {{- toYaml .root.Values.readinessProbe | nindent 2 }}
{{- end }}

{{/* Where a pod may run: of the role's values. */}}
{{- define "vipkeeper.placing" -}}
{{- with .priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- with .nodeSelector }}
nodeSelector: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .tolerations }}
tolerations: {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{/* Affinity, by default to different nodes: of (dict "root" $ "component" "controller"). */}}
{{- define "vipkeeper.apart" -}}
{{- $affinity := (index .root.Values .component).affinity }}
affinity:
{{- if $affinity }}
  {{- toYaml $affinity | nindent 2 }}
{{- else }}
  podAntiAffinity:
    preferredDuringSchedulingIgnoredDuringExecution:
    - weight: 100
      podAffinityTerm:
        topologyKey: kubernetes.io/hostname
        labelSelector:
          matchLabels: {{- include "vipkeeper.selectorLabels" . | nindent 12 }}
{{- end }}
{{- end }}

{{/* Labels and annotations of a pod, without the chart's version, which alone is no reason to restart it: of (dict "root" $ "component" "agent"). */}}
{{- define "vipkeeper.podMetadata" -}}
{{- $role := index .root.Values .component }}
labels:
  {{- include "vipkeeper.selectorLabels" . | nindent 2 }}
  {{- with .root.Values.commonLabels }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
  {{- with $role.podLabels }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- with $role.podAnnotations }}
annotations: {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}
