"""The variables that Kubernetes sets in pods for each Service of their namespace."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from strongroom.config import read_settings
from strongroom.errors import ConfigurationError

ADDRESSES = st.ip_addresses(v=4).map(str) | st.ip_addresses(v=6).map(str)
PORT_NAMES = st.from_regex(r"[a-z]([a-z0-9-]{0,13}[a-z0-9])?", fullmatch=True)


def variables(service: str, address: str, ports: dict[str, tuple[int, str]]) -> dict[str, str]:
    """What a kubelet sets for a Service (`pkg/kubelet/envvars/envvars.go`)."""

    def name_of(text: str) -> str:
        return text.upper().replace("-", "_")

    name, host = name_of(service), f"[{address}]" if ":" in address else address
    first = next(iter(ports.values()))
    result = {f"{name}_SERVICE_HOST": address, f"{name}_SERVICE_PORT": str(first[0])}
    result |= {f"{name}_SERVICE_PORT_{name_of(port)}": str(number) for port, (number, _) in ports.items() if port}
    result[f"{name}_PORT"] = f"{first[1].lower()}://{host}:{first[0]}"
    for number, protocol in ports.values():
        prefix = f"{name}_PORT_{number}_{protocol}"
        result |= {prefix: f"{protocol.lower()}://{host}:{number}", f"{prefix}_PROTO": protocol.lower()}
        result |= {f"{prefix}_PORT": str(number), f"{prefix}_ADDR": address}
    return result


@given(
    st.sampled_from(["strongroom", "strongroom-server", "strongroom-postgresql", "strongroom-api-key", "strongroom-port"]),
    ADDRESSES,
    st.dictionaries(PORT_NAMES, st.tuples(st.integers(1, 65535), st.sampled_from(["TCP", "UDP", "SCTP"])), min_size=1, max_size=4)
    | st.just({"": (8200, "TCP")}),
)
def test_services_are_no_settings(service: str, address: str, ports: dict[str, tuple[int, str]]) -> None:
    """Whatever ports a Service has and however they are named, a pod beside it starts with the settings that it was given."""
    found = variables(service, address, ports)
    assert all(name.startswith("STRONGROOM_") for name in found)
    mine = {"STRONGROOM_KEEP_VERSIONS": "7"}
    assert read_settings({**found, **mine}) == read_settings(mine)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("PORT", "8200"),
        ("PORT", ""),
        ("PORT", "https://10.0.0.1:8200"),
        ("PORTS", "tcp://10.0.0.1:8200"),
        ("SERVICE_HOSTS", "10.0.0.1"),
        ("SERVICE_HOST", "example.com"),
        ("SERVICE_PORT", "http"),
        ("SERVICE", "10.0.0.1"),
        ("HOST", "10.0.0.1"),
        ("PORT_TCP", "tcp://10.0.0.1:8200"),
        ("PORT_8200_HTTP", "tcp://10.0.0.1:8200"),
        ("PORT_8200_TCP_NAME", "x"),
        ("PORT_8200_TCP_PROTO", "http"),
        ("SECRET_STORE_PORT", "5432"),
    ],
)
def test_what_only_looks_so_is_a_typo(name: str, text: str) -> None:
    """What Kubernetes does not set is refused, as any name that is no setting."""
    with pytest.raises(ConfigurationError, match=rf"unknown setting STRONGROOM_{name}\b"):
        read_settings({f"STRONGROOM_{name}": text})


def test_options_of_stores_come_first() -> None:
    """A custom store may have options of such names."""
    prefix = "STRONGROOM_SECRETS_STORE_"
    given = {f"{prefix}TYPE": "custom", f"{prefix}SERVICE_HOST": "10.0.0.1", f"{prefix}PORT": "5432"}
    assert dict(read_settings(given).secrets_store.options) == {"service_host": "10.0.0.1", "port": "5432"}
