"""What a data set is: its name and licence, the layouts in which people have it on disk, and how its files pair up."""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

from ccbench.data.joining import Joined, NameRule, PairFiles, join_folders
from ccbench.data.splits import has_split, read_split
from ccbench.errors import DataError
from ccbench.images import is_image_name

RESEARCH_ONLY = "research and education only"


@dataclass(frozen=True)
class Part:
    """One folder of images with its folder of masks.

    Attributes:
        images: relative paths of the folder, tried in order; upper and lower case, spaces, `-` and `_` do not matter.
            `.` is the data set's own folder.
        masks: likewise; the same folder as `images` when both lie together.
        name: goes into the ids and names the part; empty for the only one.
        split: of every pair of the part, where the release itself is split.
    """

    images: tuple[str, ...]
    masks: tuple[str, ...]
    rule: NameRule = field(default_factory=NameRule)
    name: str = ""
    split: str | None = None

    def find(self, root: Path) -> tuple[Path, Path] | None:
        """Return the folders of images and masks under `root`, None where one of them is not there."""
        images, masks = _first_folder(root, self.images), _first_folder(root, self.masks)
        if images is None or masks is None:
            return None
        if images == masks and not all(_holds(images, pattern) for pattern in (self.rule.image, self.rule.mask)):
            return None
        return images, masks


@dataclass(frozen=True)
class Layout:
    """One way in which a data set lies on disk; parts that are absent are left out.

    Attributes:
        title: the folders, as a person writes them.
        telling: the layout alone says which data set it is. sign: otherwise, stems that every image must match.
    """

    title: str
    parts: tuple[Part, ...]
    telling: bool = True
    sign: str | None = None

    def find(self, root: Path) -> list[tuple[Part, Path, Path]]:
        """Return the parts that are there, with their folders of images and masks."""
        found = [(part, part.find(root)) for part in self.parts]
        return [(part, *folders) for part, folders in found if folders is not None]

    def is_told_by(self, root: Path) -> bool:
        """Return whether the files under `root` can only be this layout of this data set."""
        found = self.find(root)
        if self.sign is None or not found:
            return self.telling and bool(found)
        return all(_holds(images, self.sign, every=True) for _, images, _ in found)


@dataclass(frozen=True)
class Listing:
    """What lies in the folder of a data set.

    Attributes:
        root: the folder in which the layout was found, which may lie inside the given one.
    """

    root: Path
    layout: Layout
    files: Joined

    @property
    def pairs(self) -> list[PairFiles]:
        """Image and mask of one id, whether or not other files are alone."""
        return self.files.pairs


def _as_found(root: Path, pairs: list[PairFiles]) -> list[PairFiles]:
    return pairs


@dataclass(frozen=True)
class DataSet:
    """A public data set.

    Attributes:
        prefix: starts every id. aliases: folder names under which it is also found.
        shippable: whether its licence lets images, or weights trained on them, be passed on.
        release_pairs: number of pairs of the whole release; None where there is no release.
        has_negatives: images without a polyp belong to it; otherwise an empty mask is a lost one.
        annotate: adds what other files of the folder tell of the pairs, such as captions.
    """

    name: str
    title: str
    prefix: str
    url: str
    licence: str
    layouts: tuple[Layout, ...]
    aliases: tuple[str, ...] = ()
    shippable: bool = False
    release_pairs: int | None = None
    has_negatives: bool = False
    annotate: Callable[[Path, list[PairFiles]], list[PairFiles]] = _as_found

    @property
    def has_split(self) -> bool:
        """Whether the package splits this data set."""
        return has_split(self.name)

    def find(self, root: Path) -> tuple[Path, Layout] | None:
        """Return the folder and the layout of this data set at `root`, or inside it as archives and data roots have it.

        Looked at are `root`, folders in it with the data set's name, and what is inside a lone folder.
        """
        for folder in self._places(root):
            for layout in self.layouts:
                if layout.find(folder):
                    return folder, layout
        return None

    def scan(self, root: Path) -> Listing:
        """List what lies under `root`, whole or not; nothing is decoded.

        Raises:
            DataError: no layout of the data set is there, or a file beside the images is wrong.
        """
        if not root.is_dir():
            raise DataError(f"{root}: not a folder; give the folder of {self.title}")
        found = self.find(root)
        if found is None:
            wanted = " or ".join(layout.title for layout in self.layouts)
            raise DataError(f"{root}: found no {self.title} there; wanted {wanted}")
        folder, layout = found
        files = Joined()
        for part, images, masks in layout.find(folder):
            prefix = "-".join(filter(None, (self.prefix, part.name)))
            joined = join_folders(images, masks, part.rule, prefix, part.name)
            files.pairs += [replace(pair, split=part.split) for pair in joined.pairs]
            files.images_alone += joined.images_alone
            files.masks_alone += joined.masks_alone
            files.twins += joined.twins
        rows = read_split(self.name) if self.has_split else {}
        split = [
            replace(pair, split=row.split, cluster=row.cluster) if (row := rows.get(pair.id)) else pair
            for pair in files.pairs
        ]
        return Listing(folder, layout, replace(files, pairs=self.annotate(folder, split)))

    def list_pairs(self, root: Path) -> list[PairFiles]:
        """List the pairs of a whole data set, by part and id; nothing is decoded.

        Raises:
            DataError: as `scan`; or a file has no counterpart, two files claim one id, or there is no pair.
        """
        listing = self.scan(root)
        pairs = listing.files.whole()
        if not pairs:
            raise DataError(f"{listing.root}: holds no pair; wanted {listing.layout.title}")
        return pairs

    def _places(self, root: Path) -> Iterator[Path]:
        yield root
        folders = _folders(root)
        names = {plain(name) for name in (self.name, self.title, *self.aliases)}
        yield from (folder for folder in folders if plain(folder.name) in names)
        if len(folders) == 1 and not any(map(is_image_name, root.iterdir())):
            yield from self._places(folders[0])


def plain(name: str) -> str:
    """Return a folder or data set name without upper case, spaces, `-` and `_`."""
    return re.sub(r"[\s_-]", "", name).lower()


def _folders(root: Path) -> list[Path]:
    hidden = ("__MACOSX",)
    return sorted(p for p in root.iterdir() if p.is_dir() and not p.name.startswith(".") and p.name not in hidden)


def _first_folder(root: Path, names: tuple[str, ...]) -> Path | None:
    for name in names:
        folder: Path | None = root
        for step in name.split("/"):
            if folder is not None and step != ".":
                folder = _folder_called(folder, step)
        if folder is not None:
            return folder
    return None


def _folder_called(root: Path, name: str) -> Path | None:
    exact = root / name
    if exact.is_dir():
        return exact
    return next((folder for folder in _folders(root) if plain(folder.name) == plain(name)), None)


def _holds(folder: Path, pattern: str, every: bool = False) -> bool:
    matches = [re.fullmatch(pattern, path.stem) is not None for path in folder.iterdir() if is_image_name(path)]
    return bool(matches) and (all(matches) if every else any(matches))
