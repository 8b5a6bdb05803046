"""Secrets managers, deprecated components that keep secrets by themselves: how far these are seen, and what they are called.

    none        the place itself: `NAME`; whoever looks there sees it, under the same name
    global      `<prefix>/global/NAME`: for all secrets managers with this prefix
    component   `<prefix>/component/<id of the component>/NAME`: for this one alone, unless another one names its id
    namespace   `<prefix>/namespace/<namespace>/NAME`: for all that have this namespace

Where names cannot have slashes, hyphens stand for them. Then a namespace has no hyphen, ids are of one length (those of other
systems of another one, with hyphens), and a name in the scope `none` does not begin as one of the others; so no two scopes ever meet.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from strongroom.errors import InvalidInput
from strongroom.models.secret import check_name

DEFAULT_PREFIX = "strongroom"


class ManagerScope(enum.StrEnum):
    """How far the secrets of a secrets manager are seen."""

    COMPONENT = "component"
    GLOBAL = "global"
    NAMESPACE = "namespace"
    NONE = "none"


@dataclass(frozen=True)
class NameRules:
    """What a back end takes for a name. `names`, `namespaces` and `prefixes` are patterns; the words say them to people."""

    separator: str
    names: str
    words: str
    namespaces: str
    namespace_words: str
    max_length: int
    prefixes: str = r"[a-z][a-z0-9_]{0,39}"
    prefix_words: str = "small letters, digits and '_'"


_ANY, _WORDS = r"[A-Za-z0-9_-]+", "letters, digits, '_' and '-'"

NAME_RULES: Mapping[str, NameRules] = {
    "aws": NameRules("/", _ANY, _WORDS, _ANY, _WORDS, 512),
    "azure": NameRules(
        "-",
        r"[A-Za-z0-9-]+",
        "letters, digits and '-'",
        r"[a-z0-9]+",
        "small letters and digits",
        127,
        r"[a-z][a-z0-9]{0,39}",
        "small letters and digits",
    ),
    "gcp": NameRules("-", _ANY, _WORDS, r"[A-Za-z0-9_]+", "letters, digits and '_'", 255),
    "vault": NameRules("/", _ANY, _WORDS, _ANY, _WORDS, 512),
}
"""By flavor, those that have scopes. Key Vault takes no '_', and does not tell capitals from small letters."""

OWN_ATTRIBUTES = frozenset({"scope", "namespace", "component_id", "prefix", "kms_key_id", "mount_point"})
"""Attributes of these flavors that are none of the login's."""

_ID = re.compile(r"[0-9a-f]{32}|[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.ASCII)


@dataclass(frozen=True)
class ScopedNames:
    """How the secrets of one secrets manager are called in its back end."""

    rules: NameRules
    prefix: str
    scope: ManagerScope
    inner: str
    """The namespace, or the component's id."""

    @property
    def start(self) -> str:
        """What all names begin with; empty for the scope `none`."""
        if self.scope is ManagerScope.NONE:
            return ""
        parts = [self.prefix, self.scope.value, *([self.inner] if self.inner else [])]
        return "".join(f"{part}{self.rules.separator}" for part in parts)

    def of(self, name: str) -> str:
        """The back end's name of a secret. `InvalidInput` for a name that it does not take."""
        check_name(name)
        if not re.fullmatch(self.rules.names, name, re.ASCII):
            raise InvalidInput(f"this secrets manager takes {self.rules.words} in a name", hint="choose another name")
        full = self.start + name
        if len(full) > self.rules.max_length:
            longest = self.rules.max_length - len(self.start)
            raise InvalidInput(f"the name is too long: this secrets manager takes at most {longest} characters")
        if self.scope is ManagerScope.NONE and self._looks_scoped(name):
            raise InvalidInput(f"names that begin with '{self.prefix}-' and a scope belong to that scope", hint="choose another name")
        return full

    def find(self, name: str) -> str | None:
        """The same, or None where no secret can have this name."""
        try:
            return self.of(name)
        except InvalidInput:
            return None

    def name_in(self, full: str) -> str | None:
        """The name of the secret that the back end calls so; None for what is none of this scope."""
        name = full.removeprefix(self.start)
        if not full.startswith(self.start) or not re.fullmatch(self.rules.names, name, re.ASCII) or name == "name":
            return None
        return None if self.scope is ManagerScope.NONE and self._looks_scoped(name) else name

    def _looks_scoped(self, name: str) -> bool:
        scopes = "|".join(each.value for each in ManagerScope)
        return self.rules.separator == "-" and re.match(rf"{self.prefix}-({scopes})-", name) is not None


def scoped_names(flavor: str, own_id: str, configuration: Mapping[str, Any]) -> ScopedNames:
    """What the attributes of a component say of a built-in flavor with scopes. `InvalidInput` if they do not fit together."""
    rules = NAME_RULES[flavor]
    scope, prefix = scope_of(configuration.get("scope"), ManagerScope.COMPONENT), configuration.get("prefix") or DEFAULT_PREFIX
    namespace, component_id = configuration.get("namespace") or "", configuration.get("component_id") or ""
    if not re.fullmatch(rules.prefixes, prefix, re.ASCII):
        raise InvalidInput(
            f"the attribute 'prefix' of the flavor {flavor} takes up to 40 {rules.prefix_words}, a letter first",
            hint=f"leave it out for '{DEFAULT_PREFIX}'",
        )
    if scope is ManagerScope.NAMESPACE:
        if not namespace:
            raise InvalidInput("the scope 'namespace' needs a namespace", hint="give --namespace=...")
        if not re.fullmatch(rules.namespaces, namespace, re.ASCII) or len(namespace) > 63:
            raise InvalidInput(
                f"the attribute 'namespace' of the flavor {flavor} takes up to 63 {rules.namespace_words}",
                hint="choose another namespace",
            )
    elif namespace:
        raise InvalidInput(f"a namespace has no meaning in the scope '{scope}'", hint="give --scope=namespace")
    if component_id and scope is not ManagerScope.COMPONENT:
        raise InvalidInput(f"a component's id has no meaning in the scope '{scope}'", hint="give --scope=component")
    if component_id and not _ID.fullmatch(component_id):
        raise InvalidInput(
            "the attribute 'component_id' is to be an id as it stands in the names of secrets", hint="leave it out for its own"
        )
    own = component_id or own_id.replace("-", "")
    inner = {ManagerScope.NAMESPACE: namespace, ManagerScope.COMPONENT: own}.get(scope, "")
    return ScopedNames(rules, prefix, scope, inner)


def scope_of(given: object, default: ManagerScope) -> ManagerScope:
    """The scope of this name. `InvalidInput`."""
    try:
        return ManagerScope(str(given)) if given else default
    except ValueError:
        raise InvalidInput("there is no such scope of a secrets manager", hint=f"one of: {', '.join(ManagerScope)}") from None
