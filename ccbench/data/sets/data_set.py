"""What a data set is: its name and licence, the layouts in which people have it on disk, and how its files pair up."""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from ccbench.base.image_folders import is_image_name, list_entries
from ccbench.data.captions.caption_files import annotate
from ccbench.data.name_matching import Joined, NameRule, PairFiles, holds_name, join_folders, plain_name
from ccbench.data.sets.foreign import name_layout
from ccbench.data.sets.splits import has_split, read_split
from ccbench.errors import DataError

RESEARCH_ONLY = "research and education only"


@dataclass(frozen=True)
class Part:
    """One folder of images with its folder of masks.

    Attributes:
        images: relative paths of the folder, tried in order; upper and lower case, spaces, `-` and `_` do not matter.
            `.` is the data set's own folder.
        masks: likewise; the same folder as `images` when both lie together.
        rule: how their names relate, where that is not the common rule of `join_folders`.
        name: goes into the ids and names the part; empty for the only one.
        split, cluster: of every pair of the part, where the release itself is split, or a part is one patient.
    """

    images: tuple[str, ...]
    masks: tuple[str, ...]
    rule: NameRule | None = None
    name: str = ""
    split: str | None = None
    cluster: str | None = None

    def find(self, root: Path) -> tuple[Path, Path] | None:
        """Return the folders of images and masks under `root`, None where one of them is not there."""
        images, masks = first_folder(root, self.images), first_folder(root, self.masks)
        if images is None or masks is None:
            return None
        patterns = (self.rule.image, self.rule.mask) if self.rule else (r"(?!)",)
        if images == masks and not all(holds_name(images, pattern) for pattern in patterns):
            return None
        return images, masks


@dataclass(frozen=True)
class Layout:
    """One way in which a data set lies on disk; parts that are absent are left out.

    Attributes:
        title: the folders, as a person writes them.
        parts: a tuple, or what finds them in a folder.
        telling: the layout alone says which data set it is.
        named: the names of its images say so.
        least: parts that must be there.
    """

    title: str
    parts: tuple[Part, ...] | Callable[[Path], tuple[Part, ...]]
    telling: bool = True
    named: bool = False
    least: int = 1

    def find(self, root: Path) -> list[tuple[Part, Path, Path]]:
        """Return the parts that are there, with their folders of images and masks."""
        parts = self.parts(root) if callable(self.parts) else self.parts
        found = [(part, part.find(root)) for part in parts]
        there = [(part, *folders) for part, folders in found if folders is not None]
        return there if len(there) >= self.least else []


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


@dataclass(frozen=True)
class DataSet:
    """A public data set.

    Attributes:
        prefix: starts every id.
        aliases: folder names under which it is also found.
        shippable: whether its licence lets images, or weights trained on them, be passed on.
        release_pairs: number of pairs of the whole release; None where there is no release.
        has_negatives: images without a polyp belong to it; otherwise an empty mask is a lost one.
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

    @property
    def has_split(self) -> bool:
        """Whether the package splits this data set."""
        return has_split(self.name)

    def is_told_by(self, root: Path) -> bool:
        """Return whether the files under `root` can only be this data set, and no other set lies beside them."""
        for layout in self.layouts:
            found = layout.find(root)
            if found and (layout.telling or (layout.named and all(self._lists(images) for _, images, _ in found))):
                return not _others_beside(root, [images for _, images, _ in found])
        return False

    def _lists(self, images: Path) -> bool:
        """Return whether the package's split lists most images of a folder by name."""
        rows = read_split(self.name)
        names = [plain_name(path.stem) for path in list_entries(images) if is_image_name(path)]
        return 2 * sum(f"{self.prefix}-{name}" in rows for name in names) > len(names)

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
            DataError: no layout of the data set is there, it holds no image, or a file beside the images is wrong.
        """
        if not root.is_dir():
            raise DataError(f"{root}: not a folder; give the folder of {self.title}")
        found = self.find(root)
        if found is None:
            wanted = " or ".join(layout.title for layout in self.layouts)
            other = name_layout(root)
            raise DataError(f"{root}: found no {self.title} there{f', but {other}' if other else ''}; wanted {wanted}")
        folder, layout = found
        files = Joined()
        for part, images, masks in layout.find(folder):
            prefix = "-".join(filter(None, (self.prefix, part.name)))
            joined = _join(folder, images, masks, part, prefix)
            files.pairs += [replace(pair, split=part.split, cluster=part.cluster) for pair in joined.pairs]
            files.images_alone += joined.images_alone
            files.masks_alone += joined.masks_alone
            files.twins += joined.twins
            files.reworded += joined.reworded
            files.notes += joined.notes
        rows = read_split(self.name) if self.has_split else {}
        split = [
            replace(pair, split=row.split, cluster=row.cluster) if (row := rows.get(pair.id)) else pair
            for pair in files.pairs
        ]
        pairs, notes = annotate(folder, split)
        return Listing(folder, layout, replace(files, pairs=pairs, notes=[*files.notes, *notes]))

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
    return [path for path in list_entries(root) if path.is_dir()]


def _join(root: Path, images: Path, masks: Path, part: Part, prefix: str) -> Joined:
    try:
        return join_folders(images, masks, part.rule, prefix, part.name)
    except DataError as error:
        if other := name_layout(root):
            raise DataError(f"{error}; found {other}") from error
        raise


def _others_beside(root: Path, known: list[Path]) -> bool:
    """Return whether a folder of `root` that holds none of the known folders is a set of its own."""
    return any(
        first_folder(folder, ("images", "image")) and first_folder(folder, ("masks", "mask"))
        for folder in _folders(root)
        if not any(path.is_relative_to(folder) for path in known)
    )


def first_folder(root: Path, names: tuple[str, ...]) -> Path | None:
    """Return the first of these relative paths that is a folder of `root`; see `Part.images`."""
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
