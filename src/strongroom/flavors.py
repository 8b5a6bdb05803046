"""The built-in flavors, as rows of data.

A row is enough to register and check components. The class behind it, and the package that the class needs, are imported only by
the process that uses the component.
"""

from __future__ import annotations

from strongroom.models.flavor import Attribute, AttributeKind, ComponentType, Flavor


def _flavor(
    component_type: ComponentType, name: str, source: str, description: str, *attributes: Attribute, extra: str | None = None
) -> Flavor:
    return Flavor(
        name=name,
        type=component_type,
        source=f"strongroom.{source}",
        attributes=list(attributes),
        description=description,
        extra=extra,
        builtin=True,
    )


def _text(name: str, description: str, *, required: bool = False) -> Attribute:
    return Attribute(name, description=description) if required else Attribute(name, default=None, description=description)


def _hidden(name: str, description: str) -> Attribute:
    return Attribute(name, default=None, sensitive=True, description=description)


_OPTIONS = Attribute(
    "options", AttributeKind.MAPPING, default=None, sensitive=True, description="further arguments of the file system, as JSON"
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
        _text("address", "the scheduler, tls://host:8786 or tcp://host:8786 (default: a cluster of the run's own on this machine)"),
        Attribute("workers", AttributeKind.INTEGER, default=None, description="processes of its own cluster (default: one per CPU)"),
        _text("server_url", "strongroom's server as the workers reach it (default: as you do)"),
        _text("ca_cert", "the certificates (PEM) that prove the scheduler's identity, or a file with them"),
        _text("cert", "the certificate (PEM) that proves yours, or a file with it"),
        _hidden("key", "its key (PEM), or a file with it"),
        Attribute("insecure", AttributeKind.BOOLEAN, default=False, description="allow a scheduler on another machine without TLS"),
        Attribute("timeout", AttributeKind.INTEGER, default=60, description="how many seconds to wait for scheduler and workers"),
        extra="dask",
    ),
    _flavor(
        ComponentType.ARTIFACT_STORE,
        "local",
        "stacks.artifact_store:LocalArtifactStore",
        "A folder on this machine.",
        _text("path", "the folder (default: 'artifacts' beside the embedded store)"),
    ),
    _flavor(
        ComponentType.ARTIFACT_STORE,
        "s3",
        "stacks.artifact_store:S3ArtifactStore",
        "A bucket of AWS S3, or of anything that speaks its protocol.",
        _text("path", "s3://bucket/prefix", required=True),
        _hidden("key", "the access key id"),
        _hidden("secret", "the secret access key"),
        _hidden("token", "a session token"),
        _text("endpoint_url", "the address of another S3-compatible service"),
        _text("region", "the region"),
        _OPTIONS,
        extra="aws",
    ),
    _flavor(
        ComponentType.ARTIFACT_STORE,
        "gcs",
        "stacks.artifact_store:GCSArtifactStore",
        "A bucket of Google Cloud Storage.",
        _text("path", "gs://bucket/prefix", required=True),
        _text("project", "the project"),
        _hidden("token", "the JSON of a service account key, or 'google_default', 'cloud', 'anon'"),
        _text("endpoint_url", "the address of an emulator"),
        _OPTIONS,
        extra="gcp",
    ),
    _flavor(
        ComponentType.ARTIFACT_STORE,
        "azure",
        "stacks.artifact_store:AzureArtifactStore",
        "A container of Azure Blob Storage.",
        _text("path", "az://container/prefix", required=True),
        _text("account_name", "the storage account"),
        _hidden("account_key", "the account's key"),
        _hidden("connection_string", "a connection string"),
        _hidden("sas_token", "a shared access signature"),
        _text("tenant_id", "the tenant of a service principal"),
        _text("client_id", "the id of a service principal"),
        _hidden("client_secret", "the secret of a service principal"),
        _OPTIONS,
        extra="azure",
    ),
    _flavor(
        ComponentType.ARTIFACT_STORE,
        "fsspec",
        "stacks.artifact_store:FsspecArtifactStore",
        "Any place that fsspec has a file system for.",
        _text("path", "a URL, for example sftp://host/folder or memory://artifacts", required=True),
        _OPTIONS,
    ),
    _flavor(
        ComponentType.EXPERIMENT_TRACKER,
        "mlflow",
        "stacks.experiment_tracker:MLflowTracker",
        "An MLflow tracking server.",
        _text("tracking_uri", "the server's address (default: the folder 'mlruns' here)"),
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
        _text("base_url", "the address of a server of your own"),
        Attribute("mode", default="online", description="online, or offline to keep everything in local files"),
        _text("folder", "where local files go (default: a folder 'wandb' here)"),
        extra="wandb",
    ),
    _flavor(
        ComponentType.CONTAINER_REGISTRY,
        "default",
        "stacks.container_registry:ContainerRegistry",
        "Any registry that speaks the OCI distribution protocol.",
        _text("uri", "the registry and perhaps a namespace, for example registry.example.com/team", required=True),
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
        _text("base_url", "the address of the Slack API, if it is not Slack's own"),
        extra="slack",
    ),
    _flavor(
        ComponentType.MODEL_REGISTRY,
        "mlflow",
        "stacks.model_registry:MLflowModelRegistry",
        "The model registry of an MLflow server.",
        _text("tracking_uri", "the server's address", required=True),
        _hidden("tracking_username", "the user name for basic authentication"),
        _hidden("tracking_password", "the password for basic authentication"),
        _hidden("tracking_token", "a bearer token"),
        extra="mlflow",
    ),
)


def find_builtin(component_type: ComponentType, name: str) -> Flavor | None:
    """The built-in flavor of this type and name, or None."""
    return next((flavor for flavor in BUILTIN_FLAVORS if flavor.type is component_type and flavor.name == name), None)
