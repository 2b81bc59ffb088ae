"""What the runs of a comparison are compared on: conditions, reference and features of their images."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import get_args

import numpy as np
from numpy.typing import NDArray

from ccbench.comparison.compared_runs import ComparedRun, signature_difference
from ccbench.data.split import Split
from ccbench.errors import VerificationError
from ccbench.features import Encoder, open_encoder
from ccbench.features.feature_cache import FeatureCache
from ccbench.features.image_pass import encode_files, encode_set
from ccbench.metrics import SetFamily, set_metric_name
from ccbench.metrics.sets.manifold import ImageFamily, RealFamily
from ccbench.metrics.sets.manifold_influence import ManifoldShares
from ccbench.metrics.sets.set_scores import KERNELS, sign_set
from ccbench.metrics.statistics.influence import Shares, frechet_shares, kernel_shares, mean_shares
from ccbench.metrics.statistics.intervals import cluster_index
from ccbench.pipeline.session import Session
from ccbench.protocols.config import RunConfig
from ccbench.types import Image, PairSequence, Progress, SilentProgress

_SPLITS: tuple[Split, ...] = ("test", "train")


@dataclass(frozen=True, eq=False)
class ScoringData:
    """What the runs were scored against: ids and clusters of the conditions, features and clusters of the reference.

    Attributes:
        reference: features by encoder.
        reference_clusters: one label an image; None, as a whole or for one, stands alone.
    """

    ids: list[str]
    clusters: list[str | None]
    encoders: Sequence[Encoder]
    reference: dict[str, NDArray[np.float32]]
    reference_id: str
    reference_clusters: list[str | None] | None = None

    @property
    def groups(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return the number (n,) of each condition's cluster, and (m,) of each reference image's."""
        m = len(next(iter(self.reference.values())))
        return cluster_index(len(self.ids), self.clusters), cluster_index(m, self.reference_clusters)


def open_scoring_data(config: RunConfig, session: Session) -> ScoringData:
    """Return what a run, and others on the same conditions, were scored against.

    Raises:
        DataError: see `open_split`.
        MissingError: the weights of an encoder are not there.
    """
    protocol = config.protocol
    test, train = (session.split(protocol, split, config.limit_of(split)) for split in _SPLITS)
    names = dict.fromkeys((protocol.set_encoder, protocol.text_encoder))
    return read_scoring_data(
        test.pairs,
        train.pairs,
        f"{protocol.name}-train@{train.manifest_sha256[:12]}",
        [open_encoder(name, device=session.torch_device) for name in names],
        session.cache,
        session.progress,
    )


def read_scoring_data(
    test: PairSequence,
    reference: PairSequence,
    reference_id: str,
    encoders: Sequence[Encoder],
    cache: FeatureCache | None = None,
    progress: Progress = SilentProgress(),
) -> ScoringData:
    """Read the conditions' ids and clusters, and encode the reference."""
    conditions = [test[number].condition for number in range(len(test))]
    known: dict[int, str | None] = {}

    def load(number: int) -> Image:
        pair = reference[number]
        known[number] = pair.condition.cluster
        return pair.image

    encoded = encode_set(
        load,
        len(reference),
        encoders,
        "encoding reference images",
        progress,
        cache=cache,
    )
    ids, clusters = [one.id for one in conditions], [one.cluster for one in conditions]
    reference_clusters = [known[number] for number in range(len(reference))]
    return ScoringData(ids, clusters, encoders, encoded.features, reference_id, reference_clusters)


_TESTED: tuple[SetFamily, ...] = ("fd", *KERNELS, *get_args(ImageFamily), *get_args(RealFamily))


@dataclass(frozen=True, eq=False)
class Panel:
    """The data, and the features of each run's images by encoder, in the order of the conditions."""

    data: ScoringData
    features: dict[int, dict[str, NDArray[np.float32]]]

    def set_family(self, metric: str) -> tuple[SetFamily, Encoder] | None:
        """Return the family and encoder of a set metric."""
        named = {
            set_metric_name(family, encoder.id): (family, encoder)
            for encoder in self.data.encoders
            for family in get_args(SetFamily)
        }
        return named.get(metric)

    def set_metric(self, metric: str) -> tuple[SetFamily, Encoder]:
        """Return the family and encoder of a set metric that is tested."""
        found = self.set_family(metric)
        if found is None:
            raise ValueError(f"{metric} is no set metric of these encoders")
        return found

    def has_column(self, run: ComparedRun, metric: str) -> bool:
        """Return whether a metric is the mean of one value on record for each condition."""
        return metric in run.columns

    def column(self, run: ComparedRun, metric: str) -> NDArray[np.float64]:
        """Return the values (n,) of such a metric in the order of the conditions; NaN where there is none."""
        return np.asarray(run.columns[metric].reindex(self.data.ids), dtype=np.float64)

    def of(self, run: ComparedRun, encoder: Encoder) -> NDArray[np.float32]:
        """Return the features (n, D) of a run's images."""
        return self.features[id(run)][encoder.id]

    def refusal(self, metric: str, runs: Sequence[ComparedRun]) -> str | None:
        """Return why a metric of these runs cannot be tested; None when it can."""
        scores = [run.scores[metric] for run in runs]
        if all(metric in run.columns for run in runs):
            means = [float(np.nanmean(self.column(run, metric))) for run in runs]
            same = np.allclose(means, [score.value or 0.0 for score in scores], rtol=1e-6, atol=1e-9)
            return None if same else "the score is not the mean of its values per image"
        found = self.set_family(metric)
        if found is None or found[0] not in _TESTED:
            return "no paired test of this metric"
        family, encoder = found
        n = f"{len(self.data.ids)}x{len(self.data.reference[encoder.id])}"
        wanted = sign_set(family, encoder.id, encoder.signature, n, self.data.reference_id)
        differs = signature_difference(scores[0].signature, wanted)
        return differs and f"scored otherwise than here, {differs}"

    def shares(self, metric: str, run: ComparedRun, kept: NDArray[np.bool_]) -> Shares:
        """Return the shares of one run's metric; of a mean over the conditions those of the conditions `kept`."""
        if self.has_column(run, metric):
            clusters = [label for label, keep in zip(self.data.clusters, kept, strict=True) if keep]
            return mean_shares(self.column(run, metric)[kept], clusters)
        family, encoder = self.set_metric(metric)
        images, reference = self.of(run, encoder), self.data.reference[encoder.id]
        if family == "fd":
            return frechet_shares(images, reference, *self.data.groups)
        if family in KERNELS:
            return kernel_shares(images, reference, *self.data.groups, KERNELS[family], own=False)
        return ManifoldShares(images, reference, *self.data.groups).of(family)


def encode_run(
    run: ComparedRun, data: ScoringData, cache: FeatureCache | None, progress: Progress
) -> dict[str, NDArray[np.float32]]:
    """Return the features of a run's images, joined to the conditions by id.

    Raises:
        VerificationError: the run has images of other conditions.
    """
    samples = run.folder.samples()
    position = {sample.condition_id: number for number, sample in enumerate(samples)}
    if sorted(position) != sorted(data.ids) or len(samples) != len(data.ids):
        raise VerificationError(
            f"{run.folder.path}: {len(samples)} images of other conditions than the protocol's {len(data.ids)} test "
            "conditions; give the data that the run was scored on"
        )
    name = f"encoding {run.folder.record.run_id}"
    encoded = encode_files(run.folder.image_files(), data.encoders, name, progress, cache=cache)
    return encoded.rows([position[one] for one in data.ids]).features
