"""The chart, as the real helm renders it: what it makes, what it refuses, and where sensitive values go."""

from __future__ import annotations

import importlib.util
import json
import re
import tarfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from strongroom.config import PREFIX, read_settings
from strongroom.secrets_stores.opening import open_external
from tests.canary import CANARY, holds_canary
from tests.deploy.chart import CHART, ROOT, Helm, Refused, Rendered, merged, texts_in
from tests.deploy.programs import KUBERNETES, complaints_of_kubernetes
from tests.environments import NotBuilt

INLINE = {
    "database": {"url": f"postgresql://strongroom:{CANARY}-db@db/strongroom"},
    "encryptionKey": {"value": f"{CANARY}-key"},
    "admin": {"username": "root", "password": f"{CANARY}-admin"},
}
EXISTING = {
    "database": {"existingSecret": {"name": "db-app", "key": "uri"}},
    "encryptionKey": {"existingSecret": {"name": "strongroom-key"}},
    "admin": {"existingSecret": {"name": "strongroom-admin", "usernameKey": "user"}},
}
VAULT = {
    "type": "vault",
    "auth_method": "app-role",
    "vault_addr": "https://vault:8200",
    "auth_config": {"app_role_id": "role", "app_secret_id": f"{CANARY}-secret-id"},
}
STORES: dict[str, dict[str, Any]] = {
    "sql": {"type": "sql"},
    "none": {"type": "none"},
    "vault": VAULT,
    "vault-token": {"type": "hashicorp", "vault_addr": "https://vault:8200", "vault_token": f"{CANARY}-token"},
    "vault-kubernetes": {"type": "vault", "auth_method": "kubernetes", "role": "strongroom", "vault_addr": "https://vault:8200"},
    "aws": {
        "type": "aws",
        "auth_method": "secret-key",
        "account_id": "012345678901",
        "recovery_window_days": 30,
        "tags": {"team": "ml: a/b"},
        "auth_config": {"region": "eu-west-1", "aws_access_key_id": "AKIA", "aws_secret_access_key": f"{CANARY}-aws"},
    },
    "aws-implicit": {"type": "aws", "region": "eu-west-1", "timeout": 20},
    "gcp": {
        "type": "gcp",
        "auth_method": "service-account",
        "replication": ["europe-west3", "europe-west4"],
        "auth_config": {"project_id": "p", "service_account_json": {"type": "service_account", "private_key": f"{CANARY}-gcp"}},
    },
    "azure": {
        "type": "azure",
        "auth_method": "service-principal",
        "key_vault_name": "my-vault",
        "purge": False,
        "auth_config": {"tenant_id": "t", "client_id": "c", "client_secret": f"{CANARY}-azure"},
    },
    "custom": {"type": "custom", "class_path": "my_store:MyStore", "token": f"{CANARY}-custom", "retries": 3},
}
MATRIX: dict[str, dict[str, Any]] = {
    **{f"store-{name}": merged(INLINE, {"secretsStore": store}) for name, store in STORES.items()},
    "backup": merged(INLINE, {"secretsStore": VAULT, "backupSecretsStore": STORES["aws"]}),
    "existing-secrets": merged(
        EXISTING,
        {
            "secretsStore": {
                "type": "vault", "auth_method": "app-role", "vault_addr": "https://vault:8200", "app_role_id": "role",
                "existingSecrets": {"app_secret_id": {"name": "vault-login", "key": "secret-id"}},
            },
            "backupSecretsStore": {"type": "azure", "existingSecrets": {"auth_config": {"name": "azure-login", "key": "json"}}},
        },
    ),
    "sqlite": {"encryptionKey": {"value": f"{CANARY}-key"}, "replicaCount": 1},
    "ingress": merged(
        INLINE,
        {
            "ingress": {
                "enabled": True, "className": "nginx", "hosts": ["strongroom.example.com"],
                "annotations": {"cert-manager.io/cluster-issuer": "letsencrypt"}, "tls": {"enabled": True, "secretName": "web-tls"},
            },
            "server": {"trustedProxies": ["10.0.16.0/20", "10.1.2.3", "fd00:0:0:1::/64", "fd00::1"]},
        },
    ),
    "tls": merged(
        INLINE,
        {
            "server": {"tls": {"enabled": True, "secretName": "server-tls"}},
            "extraCA": {"secret": "our-ca"},
            "serviceMonitor": {"enabled": True, "labels": {"release": "prometheus"}, "tlsConfig": {"serverName": "strongroom"}},
        },
    ),
    "everything-else": merged(
        EXISTING,
        {
            "fullnameOverride": "vault-of-ours",
            "image": {"repository": "registry.example.com/strongroom", "digest": f"sha256:{'0' * 64}"},
            "imagePullSecrets": [{"name": "registry"}],
            "secretsStore": {"type": "custom", "class_path": "my_store:MyStore"},
            "customCode": {"configMap": {"name": "my-store"}},
            "extraCA": {"configMap": "our-ca", "key": "root.pem"},
            "serviceAccount": {"annotations": {"eks.amazonaws.com/role-arn": "arn:aws:iam::123456789012:role/strongroom"}},
            "podLabels": {"azure.workload.identity/use": "true"},
            "podAnnotations": {"example.com/owner": "ml"},
            "networkPolicy": {
                "enabled": True,
                "from": [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "ml"}}}],
                "egress": [{"ports": [{"port": 5432, "protocol": "TCP"}]}],
            },
            "extraEnv": [{"name": "HTTPS_PROXY", "value": "http://proxy:3128"}],
            "extraVolumes": [{"name": "more", "emptyDir": {}}],
            "extraVolumeMounts": [{"name": "more", "mountPath": "/more"}],
            "service": {"type": "LoadBalancer", "port": 443, "annotations": {"a": "b"}},
            "nodeSelector": {"pool": "ml"},
            "tolerations": [{"key": "ml", "operator": "Exists"}],
            "affinity": {"podAntiAffinity": {}},
            "priorityClassName": "high",
            "topologySpreadConstraints": [{"maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": "DoNotSchedule"}],
        },
    ),
}  # fmt: skip


@pytest.fixture(params=MATRIX)
def values(request: pytest.FixtureRequest) -> dict[str, Any]:
    """Each deployment in turn."""
    return MATRIX[request.param]


def test_the_chart_is_without_fault(helm: Helm, values: Mapping[str, Any]) -> None:
    """`helm lint --strict` has nothing to say, and the API of two versions of Kubernetes takes everything, to the last field."""
    helm.lint(values)
    try:
        assert complaints_of_kubernetes(helm.template(values).resources) == ""
    except NotBuilt as error:
        pytest.skip(f"kubernetes-validate cannot be had: {error}")


def test_the_oldest_kubernetes_is_the_one_that_is_checked() -> None:
    """The chart refuses older ones than those that it was checked against."""
    assert f'kubeVersion: ">={KUBERNETES[0]}.0-0"' in (CHART / "Chart.yaml").read_text()


def test_what_kubernetes_would_refuse_is_found(helm: Helm) -> None:
    """The check above is one: a field that there is not is a complaint, for each version."""
    resources = helm.template(MATRIX["sqlite"]).resources
    for each in resources:
        each["spce"] = {}
    try:
        assert complaints_of_kubernetes(resources).count("spce") >= 2
    except NotBuilt as error:
        pytest.skip(f"kubernetes-validate cannot be had: {error}")


def test_sensitive_values_are_in_secrets_only(helm: Helm, values: Mapping[str, Any]) -> None:
    """What is given in the values is in the chart's Secret and in no other resource; what is in Secrets of others is named only."""
    rendered = helm.template(values)
    for each in rendered.resources:
        if each["kind"] != "Secret":
            assert not any(holds_canary(text) for text in texts_in(each)), f"a sensitive value is in a {each['kind']}"
    assert not rendered.of_kind("ConfigMap")
    given = {text for text in texts_in(values) if CANARY in text}
    inside = "".join(rendered.variables(_secrets_of_others(rendered)).values())
    assert all(text in inside for text in given)
    assert not holds_canary(helm.notes(values))


def test_pods_have_no_more_rights_than_they_need(helm: Helm, values: Mapping[str, Any]) -> None:
    """No root, nothing to write but volumes, no capabilities, the runtime's seccomp profile, no token of Kubernetes unless needed."""
    rendered = helm.template(values)
    pod, container = rendered.pod, rendered.container
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["runAsUser"] == 10001
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]},
    }  # fmt: skip
    by_kubernetes = values.get("secretsStore", {}).get("auth_method") == "kubernetes"
    assert pod["automountServiceAccountToken"] is by_kubernetes
    assert container["resources"]["limits"]["memory"]
    assert container["resources"]["requests"]["cpu"]
    mounted = {each["name"] for each in container["volumeMounts"]}
    assert mounted == {each["name"] for each in pod["volumes"]}


def test_every_start_waits_and_every_end_drains(helm: Helm, values: Mapping[str, Any]) -> None:
    """Probes ask what the server answers, by the scheme that it speaks; a pod that ends has time for what it is answering."""
    rendered = helm.template(values)
    container = rendered.container
    scheme = "HTTPS" if values.get("server", {}).get("tls") else "HTTP"
    for probe, path in (("startupProbe", "/healthz"), ("livenessProbe", "/healthz"), ("readinessProbe", "/readyz")):
        assert container[probe]["httpGet"] == {"path": path, "port": "api", "scheme": scheme}
    (sleep, seconds) = container["lifecycle"]["preStop"]["exec"]["command"]
    assert sleep == "sleep"
    assert rendered.pod["terminationGracePeriodSeconds"] >= int(seconds) + 35
    assert rendered.pod["enableServiceLinks"] is False
    assert ("--tls-cert=/etc/strongroom/tls/tls.crt" in container["args"]) is (scheme == "HTTPS")


def test_several_replicas_are_replaced_one_by_one(helm: Helm) -> None:
    """Without taking one away before the next is ready; on SQLite the only one ends before the next begins."""
    rendered = helm.template(MATRIX["backup"])
    spec = rendered.one("Deployment")["spec"]
    assert spec["replicas"] == 2
    assert spec["strategy"] == {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1}}
    assert rendered.one("PodDisruptionBudget")["spec"]["maxUnavailable"] == 1
    alone = helm.template(MATRIX["sqlite"])
    assert alone.one("Deployment")["spec"]["strategy"] == {"type": "Recreate"}
    assert not alone.of_kind("PodDisruptionBudget")
    claim = alone.one("PersistentVolumeClaim")["metadata"]
    assert claim["annotations"] == {"helm.sh/resource-policy": "keep"}
    state = {"name": "state", "persistentVolumeClaim": {"claimName": claim["name"]}}
    assert state in alone.pod["volumes"]


def test_options_arrive_as_they_were_given(helm: Helm) -> None:
    """Whatever type a value has in YAML, the server reads what was meant: leading zeros, large numbers, JSON, lists, booleans."""
    variables = helm.template(MATRIX["store-aws"]).variables()
    store = read_settings(variables | {f"{PREFIX}ENCRYPTION_KEY": "x"}).secrets_store
    options = dict(store.options)
    assert options["account_id"] == "012345678901"
    assert options["recovery_window_days"] == "30"
    assert options["tags"] == '{"team":"ml: a/b"}'
    assert options["aws_secret_access_key"] == f"{CANARY}-aws"
    large = helm.template(merged(INLINE, {"secretsStore": {"type": "custom", "class_path": "a:B", "number": 123456789012}}))
    assert large.variables()[f"{PREFIX}SECRETS_STORE_NUMBER"] == "123456789012"
    assert helm.template(MATRIX["store-azure"]).variables()[f"{PREFIX}SECRETS_STORE_PURGE"] == "false"
    assert helm.template(MATRIX["store-gcp"]).variables()[f"{PREFIX}SECRETS_STORE_REPLICATION"] == '["europe-west3","europe-west4"]'


ODD_TEXTS = (
    "$(HOSTNAME)", "{{ .Values.x }}", "'\"\\\\`<&>", "é😀\u2028", "two\nlines\n", "\ttab: #no comment", "yes", "null", "0755", " ",
    "- a",
)  # fmt: skip
"""What YAML, Go's templates, shells or Kubernetes might take for something else."""


@pytest.mark.parametrize("number", range(len(ODD_TEXTS)))
def test_odd_texts_arrive_as_they_are(helm: Helm, number: int) -> None:
    """Whatever stands in a sensitive value, it is neither interpreted nor changed on the way."""
    text = CANARY + ODD_TEXTS[number] if number % 2 else ODD_TEXTS[number]
    options = {"type": "vault", "auth_method": "userpass", "vault_addr": "https://v", "username": "u", "password": text}
    variables = helm.template(merged(INLINE, {"admin": {"password": text}, "secretsStore": options})).variables()
    assert variables[f"{PREFIX}ADMIN_PASSWORD"] == text
    assert variables[f"{PREFIX}SECRETS_STORE_PASSWORD"] == text
    nested = {"type": "vault", "auth_config": {"username": "u", "password": text}}
    variables = helm.template(merged(INLINE, {"secretsStore": nested})).variables()
    assert json.loads(variables[f"{PREFIX}SECRETS_STORE_AUTH_CONFIG"])["password"] == text


@pytest.mark.parametrize("network", ["10.0.0.0/8", "10.0.0.0/19", "0.0.0.0/0", "fd00::/63", "::/0", "*", "proxy.example.com"])
def test_wide_networks_are_no_trusted_proxies(helm: Helm, network: str) -> None:
    """The chart refuses what the server would refuse at its start."""
    with pytest.raises(Refused, match="trustedProxies"):
        helm.template(merged(INLINE, {"server": {"trustedProxies": ["10.1.2.3", network]}}))


def test_a_network_policy_is_there_unless_it_is_disabled(helm: Helm) -> None:
    """By default pods are reached at the server's port alone, and `from` says by whom."""
    (rule,) = helm.template(INLINE).one("NetworkPolicy")["spec"]["ingress"]
    assert rule == {"ports": [{"port": "api", "protocol": "TCP"}]}
    who = [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "ingress-nginx"}}}]
    (rule,) = helm.template(merged(INLINE, {"networkPolicy": {"from": who}})).one("NetworkPolicy")["spec"]["ingress"]
    assert rule["from"] == who
    assert helm.template(merged(INLINE, {"networkPolicy": {"enabled": False}})).of_kind("NetworkPolicy") == []


@pytest.mark.parametrize("name", [name for name in MATRIX if name.startswith("store-")])
def test_the_server_understands_each_environment(helm: Helm, name: str) -> None:
    """All variables are ones that there are, and the options make a store of the type (its credentials are not tried)."""
    variables = helm.template(MATRIX[name]).variables()
    settings = read_settings({name: text for name, text in variables.items() if name.startswith(PREFIX)})
    kind = settings.secrets_store.type
    assert kind == MATRIX[name]["secretsStore"]["type"]
    if kind in ("sql", "none", "custom", "gcp"):  # a key of Google's has to be one, and a class to be there
        return
    open_external(settings.secrets_store, "d").close()


REFUSED = {
    "no encryption key": ({"database": INLINE["database"]}, "encryptionKey.existingSecret.name or encryptionKey.value"),
    "two encryption keys": (merged(INLINE, {"encryptionKey": {"existingSecret": {"name": "x"}}}), "not both"),
    "SQLite with several replicas": ({"encryptionKey": {"value": "x"}}, "replicaCount is 2 and the database is SQLite"),
    "SQLite by its URL": (
        {"encryptionKey": {"value": "x"}, "database": {"url": "sqlite:////data/x.db"}, "replicaCount": 3},
        "replicaCount is 3 and the database is SQLite",
    ),
    "two databases": (merged(INLINE, {"database": {"existingSecret": {"name": "x"}}}), "not both"),
    "a name without a password": (merged(INLINE, {"admin": {"password": ""}}), "both admin.username and admin.password"),
    "two administrators": (merged(INLINE, {"admin": {"existingSecret": {"name": "x"}}}), "not both"),
    "TLS without a certificate": (merged(INLINE, {"server": {"tls": {"enabled": True}}}), "server.tls.secretName"),
    "an ingress for nobody": (merged(INLINE, {"ingress": {"enabled": True}}), "set ingress.hosts"),
    "an option given twice": (
        merged(INLINE, {"secretsStore": {**VAULT, "existingSecrets": {"vault_addr": {"name": "x", "key": "y"}}}}),
        "secretsStore.vault_addr is set twice",
    ),
    "no time to drain": (merged(INLINE, {"terminationGracePeriodSeconds": 30}), "preStopSeconds + 35"),
    "an unknown value": (merged(INLINE, {"replicas": 3}), "replicas"),
    "an unknown value below": (merged(INLINE, {"server": {"prot": 8200}}), "prot"),
    "a typo in an option": (merged(INLINE, {"secretsStore": {"type": "vault", "vault_adr": "x"}}), "vault_adr"),
    "an option of another type": (merged(INLINE, {"secretsStore": {"type": "sql", "region": "x"}}), "region"),
    "a typo in a type": (merged(INLINE, {"secretsStore": {"type": "vualt"}}), "type"),
    "a method of another type": (merged(INLINE, {"secretsStore": {"type": "aws", "auth_method": "app-role"}}), "auth_method"),
    "a number for an account": (merged(INLINE, {"secretsStore": {"type": "aws", "account_id": 123}}), "account_id"),
    "a custom store without a class": (merged(INLINE, {"secretsStore": {"type": "custom"}}), "class_path"),
    "an unknown option in a Secret": (
        merged(INLINE, {"secretsStore": {"type": "vault", "existingSecrets": {"vault_tokn": {"name": "x", "key": "y"}}}}),
        "vault_tokn",
    ),
    "a place without a key": (
        merged(INLINE, {"secretsStore": {"type": "vault", "existingSecrets": {"vault_token": {"name": "x"}}}}),
        "existingSecrets",
    ),
    "options of a backup without a type": (merged(INLINE, {"backupSecretsStore": {"region": "x"}}), "region"),
}


@pytest.mark.parametrize("why", REFUSED)
def test_values_that_do_not_go_together_are_refused(helm: Helm, why: str) -> None:
    """By a message that names the value, before anything is installed, and without showing a sensitive one."""
    values, message = REFUSED[why]
    with pytest.raises(Refused) as refusal:
        helm.template(values)
    assert message in str(refusal.value)
    assert not holds_canary(str(refusal.value))


def loaded(path: Path) -> Any:
    """A script as a module."""
    spec = importlib.util.spec_from_file_location("generate", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_reference_names_the_values(helm: Helm) -> None:
    """What the reference says of variables and values of the chart is so: both ways, and by names that there are."""
    import yaml

    told: dict[str, str] = loaded(ROOT / "docs" / "generate.py").HELM
    rendered = {
        name.removeprefix(PREFIX)
        for values in MATRIX.values()
        for name in (each["name"] for each in helm.template(values).container["env"])
        if name.startswith(PREFIX) and "SECRETS_STORE_" not in name
    }
    assert rendered == set(told)
    defaults = yaml.safe_load((CHART / "values.yaml").read_text())
    for text in told.values():
        for path in re.findall(r"`([a-zA-Z.]+)`", text):
            place = defaults
            for part in path.split("."):
                place = place[part]


def test_the_schema_knows_the_options_of_the_code() -> None:
    """`values.schema.json` is what `python deploy/helm/generate.py` would write now."""
    generate = loaded(ROOT / "deploy" / "helm" / "generate.py")
    assert generate.SCHEMA.read_text() == generate.schema(), "run: python deploy/helm/generate.py"


def test_every_value_is_in_the_schema_and_has_a_default(helm: Helm) -> None:
    """The schema and values.yaml name the same values, so that neither promises what the other one lacks."""
    import yaml

    schema = json.loads((CHART / "values.schema.json").read_text())
    defaults = yaml.safe_load((CHART / "values.yaml").read_text())

    def names(described: Mapping[str, Any], given: Any, path: str) -> None:
        if described.get("additionalProperties") is not False:
            return
        assert set(described["properties"]) - {"global", "initialDelaySeconds", "successThreshold"} == set(given), path
        for name, below in described["properties"].items():
            if isinstance(given.get(name), Mapping):
                names(below, given[name], f"{path}.{name}")

    names(schema, defaults, "")
    helm.lint({})


def test_notes_say_what_is_next(helm: Helm) -> None:
    """How to log in, where the first token is, and what is dangerous."""
    assert "setup" in helm.notes(merged(INLINE, {"admin": {"username": "", "password": ""}}))
    assert "WARNING: the database is SQLite without a volume" in helm.notes(
        merged(MATRIX["sqlite"], {"persistence": {"enabled": False}})
    )
    assert "strongroom login https://strongroom.example.com" in helm.notes(MATRIX["ingress"])
    plain = helm.notes(merged(INLINE, {"ingress": {"enabled": True, "hosts": ["a.example"]}}))
    assert "plain HTTP" in plain
    assert "trustedProxies is empty" in plain


def test_a_release_holds_the_chart_and_nothing_else(helm: Helm, tmp_path: Path) -> None:
    """The archive has templates, values, schema and notes; its versions are those of the package."""
    import tomllib

    with tarfile.open(helm.package(tmp_path)) as archive:
        names = {name.removeprefix("strongroom/") for name in archive.getnames()}
    assert {"Chart.yaml", "values.yaml", "values.schema.json", "templates/NOTES.txt"} <= names
    assert all(
        name in ("Chart.yaml", "values.yaml", "values.schema.json", ".helmignore") or name.startswith("templates/") for name in names
    )
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert f'appVersion: "{version}"' in (CHART / "Chart.yaml").read_text()
    assert f"strongroom:${{IMAGE_TAG:-{version}}}" in (ROOT / "deploy" / "docker" / "compose.yaml").read_text()


def _secrets_of_others(rendered: Rendered) -> dict[str, dict[str, str]]:
    """A text for each key of a Secret that is named and not the chart's."""
    own = {each["metadata"]["name"] for each in rendered.of_kind("Secret")}
    found: dict[str, dict[str, str]] = {}
    for each in rendered.container["env"]:
        place = each.get("valueFrom", {}).get("secretKeyRef")
        if place and place["name"] not in own:
            found.setdefault(place["name"], {})[place["key"]] = "theirs"
    return found
