{{/* What all objects carry. */}}
{{- define "bartizan.labels" -}}
app.kubernetes.io/part-of: bartizan
app.kubernetes.io/managed-by: {{ .Release.Service }}
app.kubernetes.io/instance: {{ .Release.Name | quote }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | quote }}
{{- end }}

{{/* The host's image, by digest if there is one. */}}
{{- define "bartizan.image" -}}
{{- if .Values.image.digest -}}
{{ printf "%s@%s" .Values.image.repository .Values.image.digest }}
{{- else -}}
{{ printf "%s:%s" .Values.image.repository (.Values.image.tag | default .Chart.AppVersion) }}
{{- end -}}
{{- end }}

{{/* The host's account as the subject of a binding. */}}
{{- define "bartizan.subjects" -}}
- kind: ServiceAccount
  name: bartizan
  namespace: {{ .Release.Namespace | quote }}
{{- end }}
