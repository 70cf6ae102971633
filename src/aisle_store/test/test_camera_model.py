from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aisle_store.camera_model import WIDEST_RADIUS, Camera

WIDTH, HEIGHT = 640, 360
#: Of shipped cameras: strong without a fold, with a fold inside of the image, nearly none; and one with tangential terms.
DISTORTIONS = {
    "strong": (-0.472161, 0.201042, 0.0, 0.0, 0.0),
    "folding": (-0.483463, 0.0766268, 0.0, 0.0, 0.0),
    "weak": (0.0051786, -0.00057487, 0.0, 0.0, 0.0),
    "tangential": (-0.3, 0.1, 0.004, -0.003, -0.01),
    "none": (0.0, 0.0, 0.0, 0.0, 0.0),
}


def make_camera(distortion: str, pose: np.ndarray | None = None) -> Camera:
    matrix = np.array([[500.0, 0, 318.0], [0, 505.0, 170.0], [0, 0, 1]])
    return Camera("1", WIDTH, HEIGHT, matrix, np.array(DISTORTIONS[distortion]), np.eye(4) if pose is None else pose)


def tilted_pose(yaw: float, pitch: float) -> np.ndarray:
    """A camera 2.5 m up that looks down by ``pitch`` radians."""
    forward = np.array([np.cos(yaw) * np.cos(pitch), np.sin(yaw) * np.cos(pitch), -np.sin(pitch)])
    right = np.array([np.sin(yaw), -np.cos(yaw), 0.0])
    pose = np.eye(4)
    pose[:3, :3] = np.column_stack([right, np.cross(forward, right), forward])
    pose[:3, 3] = [1.0, -2.0, 2.5]
    return pose


@given(
    distortion=st.sampled_from(sorted(DISTORTIONS)),
    u=st.floats(0, WIDTH - 1),
    v=st.floats(0, HEIGHT - 1),
    yaw=st.floats(-3.1, 3.1),
    pitch=st.floats(0.1, 1.4),
    distance=st.floats(0.2, 20.0),
)
def test_a_pixel_leads_to_points_that_project_back_to_it(distortion, u, v, yaw, pitch, distance):
    camera = make_camera(distortion, tilted_pose(yaw, pitch))
    ray = camera.rays(np.array([[u, v]]))
    if distortion == "folding" and np.isnan(ray).all():
        return
    np.testing.assert_allclose(np.linalg.norm(ray), 1.0)
    pixels, depths = camera.project(camera.position + distance * ray)
    np.testing.assert_allclose(pixels, [[u, v]], atol=1e-3)
    assert 0 < depths[0] <= distance * (1 + 1e-9)


@given(
    distortion=st.sampled_from(sorted(DISTORTIONS)), x=st.floats(-5, 5), y=st.floats(-5, 5), z=st.floats(0.01, 5), scale=st.floats(0.1, 10)
)
def test_a_projected_point_lies_on_the_ray_of_its_pixel(distortion, x, y, z, scale):
    camera = make_camera(distortion)
    point = np.array([[x, y, z]])
    pixels, _ = camera.project(point)
    # At the limit itself, tangential distortion on one side of it, a pixel moves no longer with its point, which it cannot tell.
    share = 0.9 if distortion == "tangential" else 0.98
    if np.isnan(pixels).any() or np.hypot(x, y) / z > share * camera.radius_limit:
        return
    np.testing.assert_allclose(camera.rays(pixels)[0], point[0] / np.linalg.norm(point), atol=1e-4)
    np.testing.assert_allclose(camera.project(scale * point)[0], pixels, atol=1e-6)


def test_projection_agrees_with_opencv():
    camera = make_camera("tangential", tilted_pose(0.4, 0.8))
    points = camera.position + camera.rays(np.array([[20.0, 30.0], [300.0, 100.0], [600.0, 350.0]])) * 3.0
    pose = np.linalg.inv(camera.pose)
    expected, _ = cv2.projectPoints(points, cv2.Rodrigues(pose[:3, :3])[0], pose[:3, 3], camera.matrix, camera.distortion)
    np.testing.assert_allclose(camera.project(points)[0], expected.reshape(-1, 2), atol=1e-6)


def test_points_outside_of_the_valid_radius_do_not_fold_into_the_image():
    camera = make_camera("folding")
    assert 0.9 < camera.radius_limit < 1.0
    radius = np.linspace(0.0, 5.0, 501)
    pixels, _ = camera.project(np.column_stack([radius, np.zeros_like(radius), np.ones_like(radius)]))
    inside = radius < camera.radius_limit
    assert np.isfinite(pixels[inside]).all()
    assert np.isnan(pixels[~inside]).all()
    assert (np.diff(pixels[inside, 0]) > 0).all()


@pytest.mark.parametrize(
    ("distortion", "limit"),
    [
        # 1 - 3 r^2 = 0
        ((-1.0, 0.0, 0.0, 0.0, 0.0), 1 / np.sqrt(3)),
        # 1 - 7 r^6 = 0
        ((0.0, 0.0, 0.0, 0.0, -1.0), 7 ** (-1 / 6)),
        ((0.1, 0.0, 0.0, 0.0, 0.0), WIDEST_RADIUS),
        ((0.0, 0.0, 0.0, 0.0, 0.0), WIDEST_RADIUS),
    ],
)
def test_radius_limit_is_the_first_maximum(distortion, limit):
    camera = Camera("1", WIDTH, HEIGHT, np.diag([500.0, 500.0, 1.0]), np.array(distortion), np.eye(4))
    assert camera.radius_limit == pytest.approx(limit, rel=1e-6)


def test_pixels_beyond_the_fold_have_no_direction():
    camera = make_camera("folding")
    rays = camera.rays(np.array([[320.0, 180.0], [5000.0, 180.0]]))
    assert np.isfinite(rays[0]).all()
    assert np.isnan(rays[1]).all()
    assert np.isnan(camera.on_plane(np.array([[5000.0, 180.0]]))).all()


def test_points_behind_the_camera_have_no_pixel():
    pixels, depths = make_camera("none").project(np.array([[0.0, 0.0, -1.0], [0.1, 0.0, 0.0], [0.0, 0.0, 1.0]]))
    assert np.isnan(pixels[:2]).all()
    assert np.isfinite(pixels[2]).all()
    np.testing.assert_allclose(depths, [-1.0, 0.0, 1.0])


def test_no_points_are_fine():
    camera = make_camera("strong")
    assert camera.project(np.zeros((0, 3)))[0].shape == (0, 2)
    assert camera.rays(np.zeros((0, 2))).shape == (0, 3)
    assert camera.on_plane(np.zeros((0, 2))).shape == (0, 2)


@given(u=st.floats(0, WIDTH - 1), v=st.floats(0, HEIGHT - 1), height=st.floats(0.0, 1.7))
def test_on_plane_gives_the_floor_point_below_the_pixel(u, v, height):
    camera = make_camera("weak", tilted_pose(0.3, 1.0))
    point = camera.on_plane(np.array([[u, v]]), height)
    np.testing.assert_allclose(camera.project(np.array([[*point[0], height]]))[0], [[u, v]], atol=1e-3)


def test_on_plane_is_nan_above_the_horizon():
    camera = make_camera("none", tilted_pose(0.0, 0.1))
    above, below = camera.on_plane(np.array([[320.0, 0.0], [320.0, 359.0]]))
    assert np.isnan(above).all()
    assert np.isfinite(below).all()


@pytest.mark.parametrize("distortion", sorted(DISTORTIONS))
def test_in_view_is_what_projects_into_the_image(distortion: str) -> None:
    camera = make_camera(distortion, tilted_pose(0.7, 0.5))
    points = np.random.default_rng(2).uniform([-6.0, -8.0, -1.0], [8.0, 6.0, 4.0], (5000, 3))
    pixels, depths = camera.project(points)
    with np.errstate(invalid="ignore"):
        inside = ((pixels >= -0.5) & (pixels < [WIDTH - 0.5, HEIGHT - 0.5])).all(axis=1) & (depths > 0)
    assert 100 < inside.sum() < 4900
    np.testing.assert_array_equal(camera.in_view(points), inside)
