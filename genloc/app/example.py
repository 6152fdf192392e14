"""What is clicked on one picture, to be found on others. Pixels as in `genloc.app.picture`."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from genloc.app.picture import PagePicture, Point
from genloc.data.support import Support
from genloc.skeleton import DEFAULT_SIGMA, Skeleton, mirror_pairs
from genloc.visualize.marks import COLOURS, dot, words

MOST_POINTS = 32
LONGEST_NAME = 60


@dataclass(frozen=True, eq=False)
class Example:
    """A picture with the points that were clicked on it.

    Args:
        picture: the picture.
        points: name -> x, y, in the order of the clicks.
    """

    picture: PagePicture
    points: tuple[tuple[str, Point], ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """Of the points."""
        return tuple(name for name, _ in self.points)

    def with_point(self, name: str, at: Point) -> Example:
        """One more; without a name it gets a number. The box is widened where it lies outside.

        Raises:
            ValueError: a name that is taken or too long, or too many points.
        """
        name = " ".join(name.split())
        if not name:
            number = len(self.points) + 1
            while (name := f"point {number}") in self.names:
                number += 1
        if len(name) > LONGEST_NAME:
            raise ValueError(f"A name may have {LONGEST_NAME} letters; this one has {len(name)}.")
        if name in self.names:
            raise ValueError(f"There is a point {name!r} already: give this one another name.")
        if len(self.points) == MOST_POINTS:
            raise ValueError(f"An example may have {MOST_POINTS} points.")
        return Example(self.picture.reaching(at), (*self.points, (name, at)))

    def without_last(self) -> Example:
        """The last click taken back."""
        return replace(self, points=self.points[:-1])

    def support(self) -> Support:
        """As models take it.

        Raises:
            ValueError: no point.
        """
        if not self.points:
            raise ValueError("The example has no point yet: click at least one on its picture.")
        rows = np.array([(*at, 2) for _, at in self.points], np.float32)
        skeleton = Skeleton(
            "example", self.names, (), mirror_pairs(self.names), (DEFAULT_SIGMA,) * len(rows)
        )
        return Support(self.picture.rgb, rows, self.picture.where, skeleton)

    def on_page(self) -> np.ndarray:
        """The picture as the page shows it, with its points and their names."""
        canvas = self.picture.on_page()
        zoom = np.array(canvas.shape[1::-1]) / np.array(self.picture.size)
        for name, at in self.points:
            place = (np.array(at) + 0.5) * zoom - 0.5
            dot(canvas, place, COLOURS["left"], 9)
            words(canvas, name, place + np.array([12, -6]), COLOURS["centre"], 28)
        return canvas
