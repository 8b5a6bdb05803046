"""The HTTP server: routes from the table of operations, and the only place that is asynchronous."""

METRICS_FOLDER = "PROMETHEUS_MULTIPROC_DIR"
"""The variable that tells prometheus_client, when it is imported, that workers share their measurements in this folder."""

ROOT = "/api/v1"
"""Below it lies the API."""
