"""How a leak audit looks in print: the same tables and sentences on the command line and on a board."""

from collections.abc import Sequence

from ccbench.studies.leak_audit.audit_record import KINDS, Audit, Counts, Kind, Pair
from ccbench.tables.markdown import escape_cells, escape_markdown, markdown_code, markdown_table

COUNT_HEADER = ("sets", "images", *(kind.replace("_", " ") for kind in KINDS), "in one sequence", "shared sequences")
COUNT_LEGEND = (
    "Pairs of images; in brackets how many images of the second set they hold. In one sequence: frames of one known "
    "video or patient within one set, alike by nature and not counted before."
)
PAIR_HEADER = ("kind", "image", "image", "bits", "cosine", "distance", "overlap")
CLUSTER_HEADER = ("shared video sequence or patient", "images", "images")

_PAIRS_SHOWN = 20  # on a board's page; its audit.json lists more


def audit_section(audit: Audit) -> str:
    """Return the markdown of an audit, without a heading."""
    said = escape_markdown(verdict(audit))
    sentence = f"**{said} No run is accepted.**" if audit.leaks else said
    counts = markdown_table(COUNT_HEADER, escape_cells(count_rows(audit)), right=range(1, len(COUNT_HEADER)))
    parts = [f"{sentence} {escape_markdown(known_clusters(audit))}\n", counts, f"{COUNT_LEGEND}\n"]
    if audit.clusters:
        parts.append(markdown_table(CLUSTER_HEADER, escape_cells(cluster_rows(audit))))
    if across := [pair for pair in audit.pairs if pair.is_across]:
        table = markdown_table(PAIR_HEADER, escape_cells(pair_rows(across[:_PAIRS_SHOWN])), right=range(3, 7))
        parts += ["The worst pairs across splits:\n", table]
    manifests = ", ".join(
        f"{escape_markdown(part.name)} {markdown_code(part.manifest_sha256[:12])}" for part in audit.sets
    )
    parts.append(f"{method_text(audit)} Manifests: {manifests}. All figures: [audit.json](audit.json).\n")
    return "\n".join(parts)


def cluster_rows(audit: Audit) -> list[tuple[str, ...]]:
    """Return one row for each video sequence or patient that two sets share, columns `CLUSTER_HEADER`."""
    return [(item.cluster, *(f"{n} in {name}" for name, n in item.counts)) for item in audit.clusters]


def count_rows(audit: Audit) -> list[tuple[str, ...]]:
    """Return one row for each set and each two sets, columns `COUNT_HEADER`."""
    return [_count_row(audit, counts) for counts in audit.counts]


def pair_rows(pairs: Sequence[Pair]) -> list[tuple[str, ...]]:
    """Return one row for each pair, columns `PAIR_HEADER`."""
    return [
        (_words(pair.kind), *(f"{name.id} ({name.set})" for name in (pair.first, pair.second)), *_distances(pair))
        for pair in pairs
    ]


def pair_caption(pair: Pair) -> str:
    """Return what stands under the picture of a pair."""
    *_, distance, overlap = _distances(pair)
    names = " / ".join(f"{name.set}: {name.id}" for name in (pair.first, pair.second))
    return f"{_words(pair.kind)}, distance {distance}, overlap {overlap}; {names}"


def verdict(audit: Audit) -> str:
    """Return in a sentence or two whether the sets may stand side by side."""
    if audit.leaks:
        return f"Leak: {'; '.join(audit.leaks)}."
    near = sum(counts.pairs["near"] for counts in audit.counts if counts.is_across)
    known = any(part.clusters for part in audit.sets)
    clean = f"No image{' and no known video sequence or patient' if known else ''} is in two sets."
    return f"{clean} Near-duplicates across sets: {near} pairs." if len(audit.sets) > 1 else "One set: nothing to leak."


def known_clusters(audit: Audit) -> str:
    """Return of how many images the video sequence or patient is known."""
    known = ", ".join(f"{part.name} {part.n - part.unclustered} of {part.n}" for part in audit.sets)
    return f"Video sequence or patient known of: {known} images."


def method_text(audit: Audit) -> str:
    """Return how the images were compared, with all thresholds."""
    limits = audit.thresholds
    return (
        "Every image is compared with every other, its black border cut away. Distance: the share of the bits of "
        f"{markdown_code(audit.hash)} that differ, of the image or its mirror image, plus the cosine distance of "
        f"{markdown_code(audit.encoder)}. Near: a distance of at most {limits.near:g}. Same frame: a distance of at "
        f"most {limits.candidate:g}, and the fine structure of one, shifted, mirrored or up to a tenth larger or "
        f"smaller, overlaps the other's by at least {limits.overlap:g}. On real frames no two of different videos are "
        "near; rendered phantoms, smoother than mucosa, can be without being copies."
    )


def _count_row(audit: Audit, counts: Counts) -> tuple[str, ...]:
    size = {part.name: part.n for part in audit.sets}
    shared = sum((item.first, item.second) == (counts.first, counts.second) for item in audit.clusters)
    names, images = counts.first, str(size[counts.first])
    if counts.is_across:
        names, images = f"{counts.first} / {counts.second}", f"{size[counts.first]} x {size[counts.second]}"
    cells = [f"{n} ({counts.images[kind]})" if (n := counts.pairs[kind]) else "0" for kind in KINDS]
    last = ("", str(shared)) if counts.is_across else (str(counts.in_sequence), "")
    return (names, images, *cells, *last)


def _distances(pair: Pair) -> tuple[str, str, str, str]:
    return str(pair.hamming), f"{pair.cosine:.3f}", f"{pair.distance:.3f}", f"{pair.overlap:z.2f}"


def _words(kind: Kind) -> str:
    return kind.replace("_", " ")
