"""3D tasks: depth from two pictures, normals and points of terrain."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy import ndimage
from wheels import elevation

from . import figures
from .codec import in_file, npy, npz, ply, png, xyz
from .core import Instance, Method, Predict, Task, Written, each, rng
from .sources import STEREO, TERRAIN, stereo


def stereo_disparity() -> Task:
    left, right, truth = stereo()
    height, width = left.shape
    reach = 64

    def costs() -> np.ndarray:
        """Squared differences of the left picture and the shifted right one, (reach, h, w)."""
        found = np.full((reach, height, width), 255.0**2)
        for d in range(reach):
            found[d, :, d:] = (left[:, d:].astype(float) - right[:, : width - d]) ** 2
        return found

    def plane() -> np.ndarray:
        """What is lower in the picture is nearer."""
        return np.tile(np.linspace(10, 60, height)[:, None], (1, width))

    def blocks(side: int) -> np.ndarray:
        squares = costs()
        return np.stack([ndimage.uniform_filter(c, side) for c in squares]).argmin(axis=0) + 0.0

    def checked() -> np.ndarray:
        """Blocks of 11, those that the right picture contradicts filled from the left."""
        squares = np.stack([ndimage.uniform_filter(c, 11) for c in costs()])
        ours = squares.argmin(axis=0)
        theirs = np.stack([np.roll(c, -d, axis=1) for d, c in enumerate(squares)]).argmin(axis=0)
        columns = np.arange(width)[None] - ours
        back = np.take_along_axis(theirs, np.maximum(columns, 0), axis=1)
        good = (np.abs(back - ours) <= 1) & (columns >= 0)
        near = ndimage.distance_transform_edt(~good, return_distances=False, return_indices=True)
        return ndimage.median_filter(ours[tuple(near)], 9) + 0.0

    def semi_global() -> np.ndarray:
        import cv2

        matcher = cv2.StereoSGBM_create(
            minDisparity=0, numDisparities=reach, blockSize=5, P1=200, P2=800, uniquenessRatio=5
        )
        found = matcher.compute(left, right).astype(float) / 16
        good = found >= 0
        near = ndimage.distance_transform_edt(~good, return_distances=False, return_indices=True)
        return ndimage.median_filter(found[tuple(near)], 5)

    random = rng("stereo")
    h, w = 48, 64
    instances, places = [], []
    while len(places) < 24:
        y, x = int(random.integers(height - h)), int(random.integers(reach, width - w))
        piece = truth[y : y + h, x : x + w]
        if np.isfinite(piece).mean() > 0.8 and np.nanstd(piece) > 2:
            places.append((y, x))
    for k, (y, x) in enumerate(places, 1):
        files = {
            f"images/{k:03d}_left.png": png(left[y : y + h, x : x + w]),
            f"images/{k:03d}_right.png": png(right[y : y + h, x - reach : x + w]),
        }
        names = list(files)
        shown = {"left": names[0], "right": names[1], "right_starts_at": -reach}
        shown["prompt"] = "Estimate the disparity of the left picture."
        piece = truth[None, None, y : y + h, x : x + w].astype(np.float16)
        instances.append(Instance((y, x), piece, shown, files))

    def cut(whole: Any) -> Predict:
        """The whole picture is matched once, and cut."""

        def answer(instances: Any) -> list[np.ndarray]:
            found = whole().astype(np.float16)
            pieces = [found[y : y + h, x : x + w] for y, x in (i.view for i in instances)]
            return [piece[None, None] for piece in pieces]

        return answer

    return Task(
        title="Stereo Disparity Estimation",
        short_title="Stereo",
        modality="3d",
        paradigm="comprehension",
        folder="Stereo-Disparity-Estimation",
        type="depth estimation",
        skill="Depth Understanding",
        metric="absrel",
        unit="raw",
        direction="lower",
        instances=instances,
        write=in_file("disparities", ".npz", lambda d: npz(disparity=d)),
        write_truth=in_file("references", ".npz", lambda d: npz(disparity=d)),
        methods=(
            Method("the lower the nearer", cut(plane)),
            Method(
                "block matching of 7 x 7",
                cut(lambda: blocks(7)),
                in_file("disparities", ".npy", lambda d: npy(d[0, 0])),
            ),
            Method("block matching checked from both sides", cut(checked)),
        ),
        specialist=Method("semi-global matching (OpenCV)", cut(semi_global)),
        figure=figures.relative_depth_error,
        library="scikit-learn LinearRegression",
        source=STEREO,
        note="crops of one measured scene; NaN where the disparity is unknown",
    )


# --- terrain -------------------------------------------------------------------------------------

#: Metres between two samples, roughly: heights are given in these steps.
_STEP = 90.0


def _patches(side: int, count: int, name: str) -> np.ndarray:
    """Pieces of the terrain, heights in steps of the grid."""
    ground, random = elevation() / _STEP, rng(name)
    spots = [(int(random.integers(s - side)) for s in ground.shape) for _ in range(count)]
    return np.stack([ground[y : y + side, x : x + side] for y, x in spots])


def terrain_normals() -> Task:
    random = rng("normals noise")
    side = 16
    instances = []
    for k, patch in enumerate(_patches(side, 30, "normals"), 1):
        down, right = np.gradient(patch)
        truth = np.stack([-right, -down, np.ones_like(patch)], axis=-1).astype(np.float16)
        noisy = (patch + random.normal(scale=0.1, size=patch.shape)).astype(np.float16)
        path = f"heights/{k:03d}.npy"
        shown = {"heights": path, "prompt": "Estimate the normal at each height."}
        instances.append(Instance(noisy.astype(float), truth, shown, {path: npy(noisy)}))

    def by_gradient(sigma: float) -> Predict:
        def answer(heights: np.ndarray) -> np.ndarray:
            smooth = ndimage.gaussian_filter(heights, sigma, mode="nearest") if sigma else heights
            down, right = np.gradient(smooth)
            return np.stack([-right, -down, np.ones_like(heights)], axis=-1).astype(np.float16)

        return each(answer)

    def by_planes(count: int) -> Predict:
        """Principal components of the nearest points, as on any point cloud."""
        from sklearn.neighbors import NearestNeighbors

        def answer(heights: np.ndarray) -> np.ndarray:
            y, x = np.mgrid[:side, :side]
            points = np.stack([x, y, heights], axis=-1).reshape(-1, 3)
            near = NearestNeighbors(n_neighbors=count).fit(points).kneighbors(points)[1]
            centred = points[near] - points[near].mean(axis=1, keepdims=True)
            normals = np.linalg.svd(centred)[2][:, -1]
            return normals.reshape(side, side, 3).astype(np.float16)

        return each(answer)

    upright = np.tile(np.array([0, 0, 1], dtype=np.float16), (side, side, 1))
    return Task(
        title="Terrain Normal Estimation",
        short_title="Normals",
        modality="3d",
        paradigm="comprehension",
        folder="terrain_normal_estimation",
        type="normal estimation",
        skill="3D Geometry Understanding",
        metric="normal_rmse",
        unit="raw",
        direction="lower",
        instances=instances,
        write=in_file("normals", ".npy", npy),
        write_truth=in_file("references", ".npy", npy),
        methods=(
            Method("all upright", each(lambda heights: upright), lambda name, v: (v.tolist(), {})),
            Method("planes through nine points", by_planes(9)),
            Method("planes through twenty-five points", by_planes(25)),
        ),
        specialist=Method("slopes of a Gaussian-smoothed surface", by_gradient(1.5)),
        figure=figures.normal_rmse,
        library="scikit-learn paired_cosine_distances",
        source=TERRAIN,
        note="noise of a tenth of the grid's step on the heights; the truth has none",
    )


def terrain_completion() -> Task:
    from scipy.interpolate import RBFInterpolator, griddata

    side = 16
    y, x = np.mgrid[:side, :side].astype(float)
    hole = np.hypot(y - 7.5, x - 7.5) < 5.5

    def cloud(heights: np.ndarray) -> np.ndarray:
        return np.stack([x, y, heights], axis=-1).reshape(-1, 3).astype(np.float32)

    places = np.stack([x, y], axis=-1)

    def filled(fill: Any) -> Predict:
        def answer(heights: np.ndarray) -> np.ndarray:
            whole = heights.copy()
            whole[hole] = fill(places[~hole], heights[~hole], places[hole])
            return cloud(whole)

        return each(answer)

    instances = []
    for k, patch in enumerate(_patches(side, 30, "completion"), 1):
        whole = cloud(patch)
        path = f"partial/{k:03d}.npy"
        media = {path: npy(whole[~hole.ravel()])}
        shown = {"points": path, "prompt": "Fill the hole in the middle."}
        instances.append(Instance(patch, whole, shown, media))

    def text(name: str, value: np.ndarray) -> Written:
        path = f"clouds/{name}.xyz"
        return path, {path: xyz(value)}

    return Task(
        title="Terrain Point Completion",
        short_title="Point Compl",
        modality="3d",
        paradigm="generation",
        folder="TerrainPointCompletion",
        type="point cloud completion",
        skill="3D Generation",
        metric="chamfer_distance",
        unit="raw",
        direction="lower",
        instances=instances,
        write=in_file("clouds", ".npy", npy),
        write_truth=in_file("references", ".ply", ply),
        methods=(
            Method(
                "only what is given",
                each(lambda heights: cloud(heights)[~hole.ravel()].astype(float).round(3)),
                text,
            ),
            Method(
                "heights of the nearest given points",
                filled(lambda a, v, b: griddata(a, v, b, method="nearest")),
            ),
            Method(
                "linear interpolation",
                filled(lambda a, v, b: griddata(a, v, b, method="linear")),
                in_file("clouds", ".ply", ply),
            ),
        ),
        specialist=Method("thin-plate spline", filled(lambda a, v, b: RBFInterpolator(a, v)(b))),
        figure=figures.chamfer,
        library="scikit-learn NearestNeighbors",
        source=TERRAIN,
        note="16 x 16 heights with a hole in the middle; unit: a step of the grid, about 90 m",
    )


TASKS = (stereo_disparity, terrain_normals, terrain_completion)
