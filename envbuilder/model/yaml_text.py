"""Plain values as YAML that people read: block style, in the order that they were given."""

from __future__ import annotations

import yaml


class _Dumper(yaml.SafeDumper):
    """Indents the items of a list below their key, as hand-written YAML does."""

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:  # noqa: ARG002, FBT001, FBT002 - PyYAML's signature
        super().increase_indent(flow=flow, indentless=False)

    def ignore_aliases(self, data: object) -> bool:  # noqa: ARG002 - PyYAML's signature
        return True


def yaml_text(value: object) -> str:
    """Return plain values (mappings, lists, texts, numbers) as one YAML document."""
    text: str = yaml.dump(value, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=1 << 16)
    return text
