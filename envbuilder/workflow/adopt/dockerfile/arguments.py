"""The arguments of pip and uv: words, options, and which of these say what is installed."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field

_WITH_VALUE = {
    "-r", "--requirement", "--requirements", "-c", "--constraint", "--constraints",
    "-e", "--editable", "-i", "--index-url",
    "--extra-index-url", "-f", "--find-links", "-t", "--target", "--prefix", "--root",
    "--python", "-p", "--index", "--default-index", "--overrides", "--override",
    "--index-strategy", "--no-binary", "--only-binary", "--trusted-host", "--timeout",
    "--retries", "--cache-dir", "--platform", "--python-version", "--upgrade-strategy",
    "--config-settings", "-C", "--global-option", "--progress-bar", "--exclude-newer",
    "--torch-backend", "--group", "--extra", "--log", "--prerelease", "--link-mode", "--src",
    "-P", "--upgrade-package", "--no-build-package", "--no-group", "--only-group", "--no-extra",
    "--no-install-package", "--package", "--reinstall-package", "--refresh-package", "--resolution",
    "--fork-strategy", "--python-platform", "--abi", "--implementation", "--root-user-action",
    "--default-timeout", "--cert", "--client-cert", "--proxy", "--keyring-provider", "--color",
    "--python-preference", "--build-constraint", "--build-constraints", "-b", "--excludes",
    "--config-setting", "--no-build-isolation-package", "--no-binary-package",
    "--only-binary-package", "--allow-insecure-host", "--use-feature", "--use-deprecated",
    "--install-option", "--report", "--branch", "--tag", "--rev", "--optional", "--directory",
    "--project", "--exists-action",
}  # fmt: skip
_HARMLESS = {  # how an installer works and what it says, or where envbuilder does it anyway
    "-q", "--quiet", "-v", "--verbose", "-y", "--yes", "-U", "--upgrade", "-P",
    "--upgrade-package", "--upgrade-strategy", "-I", "--ignore-installed", "--force-reinstall",
    "--reinstall", "--reinstall-package", "--refresh", "--refresh-package", "--exact", "--inexact",
    "--no-cache", "--no-cache-dir", "-n", "--cache-dir", "--system", "--user", "--src",
    "--break-system-packages", "--python", "-p", "--active", "--compile", "--no-compile",
    "--compile-bytecode", "--no-compile-bytecode", "--link-mode", "--no-warn-script-location",
    "--no-warn-conflicts", "--root-user-action", "--disable-pip-version-check", "--no-input",
    "--no-python-version-warning", "--progress-bar", "--no-progress", "--no-color", "--color",
    "--isolated", "--no-config", "--log", "--timeout", "--default-timeout", "--retries", "--cert",
    "--client-cert", "--proxy", "--native-tls", "--system-certs", "--keyring-provider",
    "--no-clean", "--use-pep517", "--no-use-pep517", "--check-build-dependencies", "--strict",
    "--python-preference", "--no-python-downloads", "--no-managed-python", "--managed-python",
    "--locked", "--frozen", "--no-editable", "--preview", "--no-sync", "--report",
    "--exists-action", "--use-deprecated",
}  # fmt: skip
_REPEATED = re.compile(r"-[qvUnI]+")


def is_harmless(option: str) -> bool:
    """Return whether an option of pip or uv says nothing of what is installed."""
    return option in _HARMLESS or _REPEATED.fullmatch(option) is not None


@dataclass(slots=True, kw_only=True)
class Call:
    """The arguments of an install: plain words, and each option with its values."""

    plain: list[str] = field(default_factory=list)
    options: dict[str, list[str]] = field(default_factory=dict)

    def all(self, *names: str) -> list[str]:
        """Return the values of the options ``names``, those of one name after the other."""
        return [value for name in names for value in self.options.get(name, [])]

    def last(self, *names: str) -> str | None:
        """Return the last of those values."""
        return next(iter(self.all(*names)[-1:]), None)

    def others(self, known: Collection[str]) -> Iterator[tuple[str, str]]:
        """Yield the options that are not ``known``, and may say what is installed."""
        for name, values in self.options.items():
            if name not in known and not is_harmless(name):
                yield from ((name, value) for value in values)


def read_arguments(words: list[str]) -> Call:
    """Tell plain words from options and their values."""
    call, at = Call(), 0
    while at < len(words):
        word = words[at]
        name, equals, value = word.partition("=")
        if word in _WITH_VALUE and at + 1 < len(words):
            call.options.setdefault(word, []).append(words[at + 1])
            at += 1
        elif equals and name.startswith("--"):
            call.options.setdefault(name, []).append(value)
        elif re.match(r"-[rcefi]\S", word):
            call.options.setdefault(word[:2], []).append(word[2:])
        elif word.startswith("-") and len(word) > 1:
            call.options.setdefault(word, []).append("")
        else:
            call.plain.append(word)
        at += 1
    return call
