"""YAML as people mean it in a list of credentials: scalars are text as written, but for null and booleans (YAML 1.2).

So `NO` is no boolean, `1.10` keeps its zero, `0123` its first one, and a date stays text.
"""

from __future__ import annotations

import re
from collections.abc import Hashable
from typing import Any

import yaml

from strongroom.errors import InvalidInput
from strongroom.models.secret import check_key


class PlainLoader(yaml.SafeLoader):
    """Loads mappings, lists and scalars; refuses a key that stands twice in a mapping."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        """The mapping, none of whose keys stands twice, else `InvalidInput`."""
        """The mapping; `InvalidInput` when a key stands in it twice."""
        seen: set[str] = set()
        for key_node, _ in node.value:
            if isinstance(key_node, yaml.ScalarNode):
                if key_node.value in seen:
                    raise InvalidInput(f"the key '{check_key(key_node.value)}' is given twice")
                seen.add(key_node.value)
        return super().construct_mapping(node, deep)


PlainLoader.yaml_implicit_resolvers = {}
PlainLoader.add_implicit_resolver("tag:yaml.org,2002:null", re.compile(r"(?:~|null|Null|NULL|)$"), ["~", "n", "N", ""])
PlainLoader.add_implicit_resolver("tag:yaml.org,2002:bool", re.compile(r"(?:true|True|TRUE|false|False|FALSE)$"), list("tTfF"))
