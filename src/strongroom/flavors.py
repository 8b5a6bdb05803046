"""The built-in flavors, as rows of data.

A row is enough to register and check components. The class behind it, and the package that the class needs, are imported only by
the process that uses the component.
"""

from __future__ import annotations

from strongroom.models.flavor import Attribute, AttributeKind, AttributeRole, ComponentType, Flavor

CONNECTOR = "connector"
"""The attribute in which a component names its service connector."""


def _flavor(
    component_type: ComponentType,
    name: str,
    source: str,
    description: str,
    *attributes: Attribute,
    extra: str | None = None,
    connector: str | None = None,
    identity_unless: tuple[str, ...] | None = None,
) -> Flavor:
    return Flavor(
        name=name,
        type=component_type,
        source=f"strongroom.{source}",
        attributes=list(attributes),
        description=description,
        extra=extra,
        connector=connector,
        builtin=True,
        identity_unless=None if identity_unless is None else list(identity_unless),
    )


def _text(name: str, description: str, *, required: bool = False, role: AttributeRole | None = None) -> Attribute:
    if required:
        return Attribute(name, description=description, role=role)
    return Attribute(name, default=None, description=description, role=role)


def _hidden(name: str, description: str, *, role: AttributeRole | None = None) -> Attribute:
    return Attribute(name, default=None, sensitive=True, description=description, role=role)


def _flag(name: str, description: str, *, default: bool = False) -> Attribute:
    return Attribute(name, AttributeKind.BOOLEAN, default=default, description=description)


def _number(name: str, description: str) -> Attribute:
    return Attribute(name, AttributeKind.INTEGER, default=None, description=description)


def _list(name: str, description: str) -> Attribute:
    return Attribute(name, AttributeKind.LIST, default=None, description=description)


def connector_attribute(flavor: str) -> Attribute:
    """The attribute in which a component names a service connector of this flavor."""
    return _text(CONNECTOR, f"the service connector, of the flavor {flavor}, whose credentials it uses")


_ADDRESS, _FILE, _PEM = AttributeRole.ADDRESS, AttributeRole.FILE, AttributeRole.PEM
_PLACE, _SERVER = AttributeRole.PLACE, AttributeRole.SERVER

_CA_CERT = _text("ca_cert", "a file of the certificates (PEM) that are trusted instead of the usual ones")
_OPTIONS = Attribute(
    "options",
    AttributeKind.MAPPING,
    default=None,
    sensitive=True,
    description="further arguments of the file system, as JSON",
    role=AttributeRole.DOCUMENT,
)

_AWS = (
    _text(
        "auth_method",
        "implicit (default), secret-key, sts-token, iam-role, session-token, federation-token or web-identity",
    ),
    _text("region", "the region, such as eu-west-1 (implicit finds one by itself)"),
    _text("endpoint_url", "the address of another service that speaks as AWS does"),
    _text("sts_endpoint_url", "the same for STS"),
    _CA_CERT,
    _flag("insecure", "allow plain HTTP to other machines"),
    _text("profile_name", "implicit, iam-role: a profile in the configuration of AWS"),
    _text("aws_access_key_id", "the id of an access key"),
    _hidden("aws_secret_access_key", "its secret"),
    _hidden("aws_session_token", "the token of temporary keys"),
    _text("role_arn", "iam-role, web-identity: the role to assume"),
    _text("external_id", "iam-role: what the role's owner agreed on"),
    _text("role_session_name", "iam-role, web-identity: how AWS's records call it (default: strongroom)"),
    _number("duration_seconds", "how long temporary keys live; they are renewed"),
    _text("federated_user_name", "federation-token: how AWS's records call it (default: strongroom)"),
    _text("policy", "federation-token: what it may do at most, as JSON"),
    _list("policy_arns", "federation-token: the same, by policies that exist"),
    _text("web_identity_token_file", "web-identity: the file with the token"),
)
_AZURE = (
    _text("auth_method", "implicit (default), service-principal, access-token or workload-identity"),
    _text("key_vault_name", "a Key Vault, where it is used for one"),
    _text("vault_url", "the same, by its whole address"),
    _text("authority", "the host that logs in (default: that of Azure's public cloud)"),
    _CA_CERT,
    _flag("verify_challenge_resource", "a vault takes tokens for its own domain", default=True),
    _flag("disable_instance_discovery", "the authority is one that Microsoft does not know"),
    _text("client_id", "an application or a managed identity"),
    _text("tenant_id", "service-principal, workload-identity: the tenant"),
    _hidden("client_secret", "service-principal: the application's secret"),
    _text("client_certificate_path", "service-principal: a file with its certificate and key (PEM or PKCS 12)"),
    _hidden("client_certificate_password", "service-principal: the password of that file"),
    _hidden("token", "access-token: a token for the service that it is used for"),
    _text("token_file_path", "workload-identity: the file with the token (default: where AKS puts it)"),
)
_GCP = (
    _text("auth_method", "implicit (default), user-account, service-account, external-account, oauth2-token or impersonation"),
    _text("project_id", "the project", required=True),
    _text("endpoint", "the address of Secret Manager, where it is used for that"),
    _CA_CERT,
    _flag("insecure", "allow plain HTTP to other machines"),
    _hidden("user_account_json", "the JSON of a person's login"),
    _hidden("service_account_json", "the JSON of a service account's key"),
    _hidden("external_account_json", "the JSON of a workload identity"),
    _hidden("token", "oauth2-token, impersonation: an access token"),
    _text("target_principal", "impersonation: the service account"),
    _list("delegates", "impersonation: the service accounts between"),
    _number("lifetime", "impersonation: how long tokens live, in seconds; they are renewed (default: 3600)"),
    _text("iam_endpoint", "impersonation: where the tokens come from"),
)
_VAULT = (
    _text("auth_method", "token (default), app-role, kubernetes, jwt, userpass or aws"),
    _text("vault_addr", "the address, such as https://vault.example.com:8200", required=True),
    _text("vault_namespace", "the namespace"),
    _CA_CERT,
    _flag("insecure", "allow plain HTTP to other machines"),
    _hidden("vault_token", "token: the token"),
    _text("auth_mount_point", "where the method is enabled (default: under its own name)"),
    _text("app_role_id", "app-role: the id of the role"),
    _hidden("app_secret_id", "app-role: its secret id"),
    _text("username", "userpass: the user"),
    _hidden("password", "userpass: the password"),
    _text("role", "kubernetes, jwt, aws: the role"),
    _hidden("jwt", "jwt: the token"),
    _text("jwt_path", "jwt, kubernetes: a file with the token (kubernetes: default where it is in a pod)"),
    _text("aws_access_key_id", "aws: the id of an access key"),
    _hidden("aws_secret_access_key", "aws: its secret"),
    _hidden("aws_session_token", "aws: the token of temporary keys"),
    _text("aws_region", "aws: the region of the STS that Vault asks (default: us-east-1)"),
    _text("aws_header_value", "aws: what Vault expects in its server id header"),
)

_SCOPES = (
    Attribute("scope", default="component", description="how far its secrets are seen: component, namespace, global or none"),
    _text("namespace", "in the scope namespace: its name"),
    _text("component_id", "in the scope component: another component's id, as it stands in the names of secrets (default: its own)"),
    _text("prefix", "what the names of all its secrets begin with, but in the scope none (default: strongroom)"),
)

BUILTIN_FLAVORS: tuple[Flavor, ...] = (
    _flavor(
        ComponentType.ORCHESTRATOR,
        "local",
        "pipelines.orchestrators.local:LocalOrchestrator",
        "Runs steps one after another in the process that calls the pipeline.",
    ),
    _flavor(
        ComponentType.ORCHESTRATOR,
        "dask",
        "pipelines.orchestrators.dask:DaskOrchestrator",
        "Runs steps side by side on a Dask cluster. Needs a server.",
        _text(
            "address",
            "the scheduler, tls://host:8786 or tcp://host:8786 (default: a cluster of the run's own on this machine)",
            role=_PLACE,
        ),
        Attribute("workers", AttributeKind.INTEGER, default=None, description="processes of its own cluster (default: one per CPU)"),
        _text("server_url", "strongroom's server as the workers reach it (default: as you do)", role=_PLACE),
        _text("ca_cert", "the certificates (PEM) that prove the scheduler's identity, or a file with them", role=_PEM),
        _text("cert", "the certificate (PEM) that proves yours, or a file with it", role=_PEM),
        _hidden("key", "its key (PEM), or a file with it", role=_PEM),
        Attribute("insecure", AttributeKind.BOOLEAN, default=False, description="allow a scheduler on another machine without TLS"),
        Attribute("timeout", AttributeKind.INTEGER, default=60, description="how many seconds to wait for scheduler and workers"),
        extra="dask",
    ),
    _flavor(
        ComponentType.ARTIFACT_STORE,
        "local",
        "stacks.artifact_store:LocalArtifactStore",
        "A folder on this machine.",
        _text("path", "the folder (default: 'artifacts' beside the embedded store)", role=_PLACE),
    ),
    _flavor(
        ComponentType.ARTIFACT_STORE,
        "s3",
        "stacks.artifact_store:S3ArtifactStore",
        "A bucket of AWS S3, or of anything that speaks its protocol.",
        _text("path", "s3://bucket/prefix", required=True, role=_PLACE),
        _hidden("key", "the access key id"),
        _hidden("secret", "the secret access key"),
        _hidden("token", "a session token"),
        _text("endpoint_url", "the address of another S3-compatible service", role=_ADDRESS),
        _text("region", "the region"),
        connector_attribute("aws"),
        _OPTIONS,
        extra="aws",
        connector="aws",
        identity_unless=("key", "connector"),
    ),
    _flavor(
        ComponentType.ARTIFACT_STORE,
        "gcs",
        "stacks.artifact_store:GCSArtifactStore",
        "A bucket of Google Cloud Storage.",
        _text("path", "gs://bucket/prefix", required=True, role=_PLACE),
        _text("project", "the project"),
        _hidden("token", "the JSON of a service account key, or 'google_default', 'cloud', 'anon'", role=AttributeRole.DOCUMENT),
        _text("endpoint_url", "the address of an emulator", role=_ADDRESS),
        connector_attribute("gcp"),
        _OPTIONS,
        extra="gcp",
        connector="gcp",
        identity_unless=("token", "connector"),
    ),
    _flavor(
        ComponentType.ARTIFACT_STORE,
        "azure",
        "stacks.artifact_store:AzureArtifactStore",
        "A container of Azure Blob Storage.",
        _text("path", "az://container/prefix", required=True, role=_PLACE),
        _text("account_name", "the storage account"),
        _hidden("account_key", "the account's key"),
        _hidden("connection_string", "a connection string"),
        _hidden("sas_token", "a shared access signature"),
        _text("tenant_id", "the tenant of a service principal"),
        _text("client_id", "the id of a service principal"),
        _hidden("client_secret", "the secret of a service principal"),
        connector_attribute("azure"),
        _OPTIONS,
        extra="azure",
        connector="azure",
        identity_unless=("account_key", "connection_string", "sas_token", "client_secret", "connector"),
    ),
    _flavor(
        ComponentType.ARTIFACT_STORE,
        "fsspec",
        "stacks.artifact_store:FsspecArtifactStore",
        "Any place that fsspec has a file system for.",
        _text("path", "a URL, for example sftp://host/folder or memory://artifacts", required=True, role=_PLACE),
        _OPTIONS,
    ),
    _flavor(
        ComponentType.EXPERIMENT_TRACKER,
        "mlflow",
        "stacks.experiment_tracker:MLflowTracker",
        "An MLflow tracking server.",
        _text("tracking_uri", "the server's address (default: the folder 'mlruns' here)", role=_SERVER),
        _hidden("tracking_username", "the user name for basic authentication"),
        _hidden("tracking_password", "the password for basic authentication"),
        _hidden("tracking_token", "a bearer token"),
        _text("experiment_name", "the experiment (default: the name of the pipeline)"),
        Attribute("tracking_insecure_tls", AttributeKind.BOOLEAN, default=False, description="accept any certificate"),
        extra="mlflow",
    ),
    _flavor(
        ComponentType.EXPERIMENT_TRACKER,
        "wandb",
        "stacks.experiment_tracker:WandbTracker",
        "Weights & Biases.",
        _hidden("api_key", "the API key"),
        _text("project_name", "the project (default: the name of the pipeline)"),
        _text("entity", "the user or team"),
        _text("base_url", "the address of a server of your own", role=_ADDRESS),
        Attribute("mode", default="online", description="online, or offline to keep everything in local files"),
        _text("folder", "where local files go (default: a folder 'wandb' here)", role=_FILE),
        extra="wandb",
        identity_unless=("api_key",),
    ),
    _flavor(
        ComponentType.CONTAINER_REGISTRY,
        "default",
        "stacks.container_registry:ContainerRegistry",
        "Any registry that speaks the OCI distribution protocol.",
        _text("uri", "the registry and perhaps a namespace, for example registry.example.com/team", required=True, role=_ADDRESS),
        _hidden("username", "the user name"),
        _hidden("password", "the password or token"),
        Attribute("insecure", AttributeKind.BOOLEAN, default=False, description="speak plain HTTP"),
    ),
    _flavor(
        ComponentType.ALERTER,
        "slack",
        "stacks.alerter:SlackAlerter",
        "Posts to a Slack channel.",
        _hidden("slack_token", "a bot token"),
        _text("channel", "the channel's id or name", required=True),
        _text("base_url", "the address of the Slack API, if it is not Slack's own", role=_ADDRESS),
        extra="slack",
    ),
    _flavor(
        ComponentType.MODEL_REGISTRY,
        "mlflow",
        "stacks.model_registry:MLflowModelRegistry",
        "The model registry of an MLflow server.",
        _text("tracking_uri", "the server's address", required=True, role=_SERVER),
        _hidden("tracking_username", "the user name for basic authentication"),
        _hidden("tracking_password", "the password for basic authentication"),
        _hidden("tracking_token", "a bearer token"),
        extra="mlflow",
    ),
    _flavor(
        ComponentType.SECRETS_MANAGER,
        "local",
        "secrets_managers.local:LocalSecretsManager",
        "A file on this machine. Deprecated, as all secrets managers: use strongroom secret.",
        Attribute("scope", default="none", description="none: it is seen where the file is"),
        _text("path", "the file (default: one of its own beside the embedded store)", role=_FILE),
        identity_unless=(),
    ),
    _flavor(
        ComponentType.SECRETS_MANAGER,
        "aws",
        "secrets_managers.aws:AwsSecretsManager",
        "AWS Secrets Manager. Deprecated.",
        *_SCOPES,
        *_AWS,
        _text("kms_key_id", "the key that new secrets are encrypted with (default: that of the account)"),
        extra="aws",
    ),
    _flavor(
        ComponentType.SECRETS_MANAGER,
        "azure",
        "secrets_managers.azure:AzureSecretsManager",
        "Azure Key Vault. Deprecated.",
        *_SCOPES,
        *_AZURE,
        extra="azure",
    ),
    _flavor(
        ComponentType.SECRETS_MANAGER,
        "gcp",
        "secrets_managers.gcp:GcpSecretsManager",
        "Google Secret Manager. Deprecated.",
        *_SCOPES,
        *_GCP,
        extra="gcp",
    ),
    _flavor(
        ComponentType.SECRETS_MANAGER,
        "vault",
        "secrets_managers.vault:VaultSecretsManager",
        "HashiCorp Vault or OpenBao, engine KV version 2. Deprecated.",
        *_SCOPES,
        _text("mount_point", "where the engine is mounted (default: secret)"),
        *_VAULT,
        extra="vault",
    ),
    _flavor(
        ComponentType.SERVICE_CONNECTOR,
        "aws",
        "stacks.service_connector:AwsConnector",
        "A login to AWS.",
        *_AWS,
        extra="aws",
    ),
    _flavor(
        ComponentType.SERVICE_CONNECTOR,
        "azure",
        "stacks.service_connector:AzureConnector",
        "A login to Azure.",
        *_AZURE,
        extra="azure",
    ),
    _flavor(
        ComponentType.SERVICE_CONNECTOR,
        "gcp",
        "stacks.service_connector:GcpConnector",
        "A login to Google Cloud.",
        *_GCP,
        extra="gcp",
    ),
    _flavor(
        ComponentType.SERVICE_CONNECTOR,
        "vault",
        "stacks.service_connector:VaultConnector",
        "A login to HashiCorp Vault or OpenBao.",
        *_VAULT,
        extra="vault",
    ),
)


def find_builtin(component_type: ComponentType, name: str) -> Flavor | None:
    """The built-in flavor of this type and name, or None."""
    return next((flavor for flavor in BUILTIN_FLAVORS if flavor.type is component_type and flavor.name == name), None)
