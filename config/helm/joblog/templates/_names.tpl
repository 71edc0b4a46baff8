{{/* The start of all names: at most 50 characters, so that what is put behind it fits. */}}
{{- define "joblog.fullname" -}}
{{- $name := default .Chart.Name .Values.nameOverride -}}
{{- $full := contains $name .Release.Name | ternary .Release.Name (printf "%s-%s" .Release.Name $name) -}}
{{- default $full .Values.fullnameOverride | trunc 50 | trimSuffix "-" -}}
{{- end -}}

{{- define "joblog.leader" -}}{{ include "joblog.fullname" . }}-leader{{- end -}}
{{- define "joblog.agents" -}}{{ include "joblog.fullname" . }}-agents{{- end -}}

{{- define "joblog.watcher" -}}{{ include "joblog.fullname" . }}-watcher{{- end -}}

{{/* Labels by which pods are selected; called with (list $ "component"). They never change. */}}
{{- define "joblog.selector" -}}
{{- $root := index . 0 -}}
app.kubernetes.io/name: {{ default $root.Chart.Name $root.Values.nameOverride }}
app.kubernetes.io/instance: {{ $root.Release.Name }}
app.kubernetes.io/component: {{ index . 1 }}
{{- end -}}

{{/* All labels of an object; called as joblog.selector. */}}
{{- define "joblog.labels" -}}
{{- $root := index . 0 -}}
{{ include "joblog.selector" . }}
app.kubernetes.io/version: {{ $root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ $root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" $root.Chart.Name $root.Chart.Version }}
{{- end -}}

{{- define "joblog.image" -}}
{{- $image := .Values.image -}}
{{- if $image.digest -}}
{{ $image.repository }}@{{ $image.digest }}
{{- else -}}
{{ $image.repository }}:{{ default .Chart.AppVersion $image.tag }}
{{- end -}}
{{- end -}}

{{/* Names in the leader's certificate, besides those of its pod. */}}
{{- define "joblog.leaderNames" -}}
{{- $service := include "joblog.leader" . -}}
{{- $scoped := printf "%s.%s" $service .Release.Namespace -}}
{{- $names := list $service $scoped (printf "%s.svc" $scoped) (printf "%s.svc.%s" $scoped .Values.clusterDomain) -}}
{{- concat $names .Values.leader.tls.names | join "," -}}
{{- end -}}

{{/* The leader's gRPC address for this release's own workers. */}}
{{- define "joblog.leaderAddress" -}}
{{ include "joblog.leader" . }}.{{ .Release.Namespace }}.svc:7080
{{- end -}}
