{{- define "strongroom.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" -}}
{{- end -}}

{{- define "strongroom.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 63 | trimSuffix "-" -}}
{{- else if contains (include "strongroom.name" .) .Release.Name -}}
{{- .Release.Name | trunc 63 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name (include "strongroom.name" .) | trunc 63 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{- define "strongroom.selector" -}}
app.kubernetes.io/name: {{ include "strongroom.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "strongroom.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name (.Chart.Version | replace "+" "_") }}
{{ include "strongroom.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end -}}

{{- define "strongroom.serviceAccount" -}}
{{- if .Values.serviceAccount.create -}}
{{- default (include "strongroom.fullname" .) .Values.serviceAccount.name -}}
{{- else -}}
{{- default "default" .Values.serviceAccount.name -}}
{{- end -}}
{{- end -}}

{{- define "strongroom.image" -}}
{{- if .Values.image.digest -}}
{{- printf "%s@%s" .Values.image.repository .Values.image.digest -}}
{{- else -}}
{{- printf "%s:%s" .Values.image.repository (default .Chart.AppVersion .Values.image.tag) -}}
{{- end -}}
{{- end -}}

{{/* "true" when the database is SQLite: on a volume, for one replica. */}}
{{- define "strongroom.sqlite" -}}
{{- if not .Values.database.existingSecret.name -}}
{{- if or (not .Values.database.url) (hasPrefix "sqlite" .Values.database.url) -}}true{{- end -}}
{{- end -}}
{{- end -}}

{{/* What the chart's own Secret holds: variables by their names, with what was given in the values. A YAML mapping. */}}
{{- define "strongroom.inline" -}}
{{- if and .Values.database.url (not .Values.database.existingSecret.name) }}
STRONGROOM_DATABASE_URL: {{ .Values.database.url | toJson }}
{{- end }}
{{- if and .Values.encryptionKey.value (not .Values.encryptionKey.existingSecret.name) }}
STRONGROOM_ENCRYPTION_KEY: {{ .Values.encryptionKey.value | toJson }}
{{- end }}
{{- if and .Values.admin.username (not .Values.admin.existingSecret.name) }}
STRONGROOM_ADMIN_USERNAME: {{ .Values.admin.username | toJson }}
STRONGROOM_ADMIN_PASSWORD: {{ .Values.admin.password | toJson }}
{{- end }}
{{- range $family, $store := dict "SECRETS_STORE" .Values.secretsStore "BACKUP_SECRETS_STORE" .Values.backupSecretsStore }}
{{- range $option, $value := omit $store "type" "auth_method" "class_path" "timeout" "existingSecrets" }}
{{- if not (kindIs "invalid" $value) }}
STRONGROOM_{{ $family }}_{{ upper $option }}: {{ include "strongroom.text" $value | toJson }}
{{- end }}
{{- end }}
{{- end }}
{{- end -}}

{{/* An option as the text of a variable: structures as JSON, whole numbers without an exponent. */}}
{{- define "strongroom.text" -}}
{{- if or (kindIs "map" .) (kindIs "slice" .) -}}
{{- toRawJson . -}}
{{- else if and (kindIs "float64" .) (eq (floor .) .) -}}
{{- printf "%.0f" . -}}
{{- else -}}
{{- . -}}
{{- end -}}
{{- end -}}

{{/* A variable that comes from a Secret: a list of variable, Secret and key. */}}
{{- define "strongroom.fromSecret" -}}
- name: {{ index . 0 }}
  valueFrom:
    secretKeyRef:
      name: {{ index . 1 | quote }}
      key: {{ index . 2 | quote }}
{{- end -}}

{{/* All variables of the server. */}}
{{- define "strongroom.environment" -}}
{{- $own := include "strongroom.fullname" . -}}
- name: STRONGROOM_CONFIG_PATH
  value: /var/lib/strongroom
- name: STRONGROOM_CLIENT_TIMEOUT
  value: {{ .Values.server.clientTimeout | int | quote }}
- name: STRONGROOM_DATABASE_TIMEOUT
  value: {{ .Values.database.timeout | int | quote }}
- name: STRONGROOM_KEEP_VERSIONS
  value: {{ .Values.server.keepVersions | int | quote }}
{{- with .Values.server.trustedProxies }}
- name: STRONGROOM_TRUSTED_PROXIES
  value: {{ join "," . | quote }}
{{- end }}
{{- with .Values.database.existingSecret }}
{{- if .name }}
{{ include "strongroom.fromSecret" (list "STRONGROOM_DATABASE_URL" .name .key) }}
{{- end }}
{{- end }}
{{- with .Values.encryptionKey.existingSecret }}
{{- if .name }}
{{ include "strongroom.fromSecret" (list "STRONGROOM_ENCRYPTION_KEY" .name .key) }}
{{- end }}
{{- end }}
{{- with .Values.admin.existingSecret }}
{{- if .name }}
{{ include "strongroom.fromSecret" (list "STRONGROOM_ADMIN_USERNAME" .name .usernameKey) }}
{{ include "strongroom.fromSecret" (list "STRONGROOM_ADMIN_PASSWORD" .name .passwordKey) }}
{{- end }}
{{- end }}
{{- range $family, $store := dict "SECRETS_STORE" .Values.secretsStore "BACKUP_SECRETS_STORE" .Values.backupSecretsStore }}
{{- range $option := list "type" "auth_method" "class_path" "timeout" }}
{{- with get $store $option }}
- name: STRONGROOM_{{ $family }}_{{ upper $option }}
  value: {{ include "strongroom.text" . | quote }}
{{- end }}
{{- end }}
{{- range $option, $place := $store.existingSecrets }}
{{ include "strongroom.fromSecret" (list (printf "STRONGROOM_%s_%s" $family (upper $option)) $place.name $place.key) }}
{{- end }}
{{- end }}
{{- range $name, $_ := include "strongroom.inline" . | fromYaml }}
{{ include "strongroom.fromSecret" (list $name $own $name) }}
{{- end }}
{{- if .Values.customCode }}
- name: PYTHONPATH
  value: /opt/custom
{{- end }}
{{- with .Values.extraEnv }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/* Refuses values that do not go together. */}}
{{- define "strongroom.check" -}}
{{- with .Values.encryptionKey -}}
{{- if and .value .existingSecret.name -}}
{{- fail "set encryptionKey.value or encryptionKey.existingSecret.name, not both" -}}
{{- else if not (or .value .existingSecret.name) -}}
{{- fail "set encryptionKey.existingSecret.name or encryptionKey.value: a server needs an encryption key of yours (make one with: strongroom server generate-key)" -}}
{{- end -}}
{{- end -}}
{{- if and .Values.database.url .Values.database.existingSecret.name -}}
{{- fail "set database.url or database.existingSecret.name, not both" -}}
{{- end -}}
{{- if and (include "strongroom.sqlite" .) (gt (int .Values.replicaCount) 1) -}}
{{- fail (printf "replicaCount is %d and the database is SQLite, which is for one replica: give the URL of a PostgreSQL, MySQL or MariaDB in database.existingSecret or database.url, or set replicaCount to 1" (int .Values.replicaCount)) -}}
{{- end -}}
{{- with .Values.admin -}}
{{- if and .existingSecret.name (or .username .password) -}}
{{- fail "set admin.existingSecret.name, or admin.username and admin.password, not both" -}}
{{- else if ne (empty .username) (empty .password) -}}
{{- fail "set both admin.username and admin.password, or none of them" -}}
{{- end -}}
{{- end -}}
{{- range $name := list "secretsStore" "backupSecretsStore" -}}
{{- $store := get $.Values $name -}}
{{- range $option, $_ := $store.existingSecrets -}}
{{- if hasKey $store $option -}}
{{- fail (printf "%s.%s is set twice: by itself and in %s.existingSecrets" $name $option $name) -}}
{{- end -}}
{{- end -}}
{{- if and (not $store.type) (gt (len (omit $store "type" "existingSecrets")) 0) -}}
{{- fail (printf "set %s.type: there are options and no type" $name) -}}
{{- end -}}
{{- end -}}
{{- if and .Values.server.tls.enabled (not .Values.server.tls.secretName) -}}
{{- fail "server.tls is enabled: set server.tls.secretName to a Secret of type kubernetes.io/tls" -}}
{{- end -}}
{{- if and .Values.ingress.enabled (not .Values.ingress.hosts) -}}
{{- fail "ingress is enabled: set ingress.hosts, such as [strongroom.example.com]" -}}
{{- end -}}
{{- if and .Values.ingress.enabled .Values.ingress.tls.enabled (not .Values.ingress.tls.secretName) -}}
{{- fail "ingress.tls is enabled: set ingress.tls.secretName to a Secret of type kubernetes.io/tls" -}}
{{- end -}}
{{- if hasKey (include "strongroom.inline" . | fromYaml) "Error" -}}
{{- fail "a value that goes into the Secret cannot be represented: look for characters that are no text" -}}
{{- end -}}
{{- if and .Values.extraCA.configMap .Values.extraCA.secret -}}
{{- fail "set extraCA.configMap or extraCA.secret, not both" -}}
{{- end -}}
{{- if lt (int .Values.terminationGracePeriodSeconds) (add (int .Values.preStopSeconds) 35 | int) -}}
{{- fail "terminationGracePeriodSeconds is to be at least preStopSeconds + 35: requests that are being answered take up to 30 seconds" -}}
{{- end -}}
{{- end -}}
