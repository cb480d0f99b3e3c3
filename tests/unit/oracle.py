"""A pure world in which environments resolve, build and pass or fail: what bumps are tested on."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from envbuilder.engines.embedded import seal
from envbuilder.model.errors import ResolutionError
from envbuilder.model.image import Image, Layer, canonical_json
from envbuilder.model.lock import Lock, spec_checksum
from envbuilder.model.pylock import lock_checksum
from envbuilder.model.reference import Digest
from envbuilder.model.spec import Spec
from envbuilder.resolve.git.mirror import Refs
from envbuilder.resolve.python.releases import Release
from envbuilder.runtime import Completed
from envbuilder.smoke import Report
from envbuilder.smoke.report import Check, CheckStatus
from envbuilder.storage.ledger import LedgerEntry, now
from envbuilder.workflow.build import BuildResult
from envbuilder.workflow.bump.stages import Stages
from tests.unit.locks import source, wheel


@dataclass
class World:
    """``index`` maps name -> version -> its requirements; ``good`` judges a lock's versions: green,
    or ``otherwise``.
    """

    index: Mapping[str, Mapping[str, str]]
    good: Callable[[dict[str, str]], bool] = lambda _: True
    otherwise: CheckStatus = CheckStatus.FAIL
    history: tuple[str, ...] = ()
    built: list[dict[str, str]] = field(default_factory=list)

    def stages(self) -> Stages:
        return Stages(
            resolve=self.resolve,
            refresh=lambda lock: lock,
            build=self.build,
            run=lambda lock, args: Completed(
                exit_code=int(not self.build(lock).good),
                stdout=args[-1].encode(),
                stderr=b"",
                seconds=0.0,
                peak_memory=None,
            ),
            entry=self.entry,
            needs=lambda lock: {w.name: self.requires(w.name, w.version) for w in lock.wheels},
            releases=lambda name, _: tuple(Release(version=v) for v in self.index.get(name, ())),
            refs=lambda _: Refs(heads={}, tags={}),
            commits=lambda old, new: tuple(
                self.history[
                    self.history.index(old.commit) + 1 : self.history.index(new.commit) + 1
                ]
            ),
            moment=lambda _: "",
            created=lambda _lock, _image: "",
        )

    def requires(self, name: str, version: str) -> tuple[Requirement, ...]:
        text = self.index[name][version]
        return tuple(Requirement(each) for each in text.split(", ") if each)

    def resolve(self, spec: Spec, previous: Lock, release: frozenset[str]) -> Lock:
        """Take held versions where they fit, else the newest; raise where nothing fits."""
        held = {w.name: w.version for w in previous.wheels if w.name not in release}
        chosen: dict[str, str] = {}
        wanted = [*spec.requirements]
        while wanted:
            requirement = wanted.pop(0)
            name = canonicalize_name(requirement.name)
            if name in chosen:
                if chosen[name] not in requirement.specifier:
                    raise ResolutionError(f"{requirement} clashes with {name} {chosen[name]}")
                continue
            fitting = [v for v in self.index.get(name, ()) if v in requirement.specifier]
            if not fitting:
                raise ResolutionError(f"no version of {requirement}")
            newest = max(fitting, key=Version)
            chosen[name] = held[name] if held.get(name) in fitting else newest
            wanted += self.requires(name, chosen[name])
        wheels = tuple(sorted(wheel(*item) for item in chosen.items()))
        sources = tuple(source(name, str(pin.commit)) for name, pin in spec.sources.items())
        return replace(previous, spec=spec, wheels=wheels, sources=sources, seal=None)

    def build(self, lock: Lock) -> BuildResult:
        versions = {each.name: each.version for each in lock.wheels}
        versions |= {each.name: each.commit for each in lock.sources}
        versions |= {each.name: each.version for each in lock.base.packages or ()}
        self.built.append(versions)
        layers = tuple(
            Layer(digest=w.sha256, size=w.size, diff_id=w.sha256, title=f"{w.name} {w.version}")
            for w in lock.wheels
        )
        config = canonical_json({"rootfs": {"diff_ids": [str(each.diff_id) for each in layers]}})
        manifest = canonical_json({"config": str(Digest.of(config))})
        image = Image(manifest=manifest, config=config, layers=layers)
        status = CheckStatus.PASS if self.good(versions) else self.otherwise
        check = Check(name="tokens.video", status=status, expected="729", actual="16384")
        report = Report(subject=lock.spec.name, verdict=status, summary="1 check", checks=(check,))
        return BuildResult(lock=seal(lock, image, engine="embedded"), image=image, report=report)

    def entry(self, outcome: BuildResult) -> LedgerEntry:
        return LedgerEntry(
            time=now(),
            spec=spec_checksum(outcome.lock.spec),
            lock=lock_checksum(outcome.lock),
            image=outcome.image.digest,
            engine="embedded",
            good=outcome.good,
        )
