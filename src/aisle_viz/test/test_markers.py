from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from aisle_contract.records import (
    NANOSECONDS,
    BodyPoint,
    Cart,
    CartLine,
    CartStatus,
    ShelfEvent,
    ShelfEvents,
    ShelfEventStatus,
    Track,
    Tracks,
)
from aisle_store.camera_model import Camera
from aisle_store.store import Gate, GateKind, Gondola, Plate, Product, Shelf, Store
from aisle_store.store_files import load_store
from aisle_viz.frame_tree import fixed_transforms
from aisle_viz.markers import Kind, MarkerScene, MarkersConfig, Shape, covariance_ellipse, frustum, furniture


def at(x: float, y: float, z: float, yaw: float = 0.0) -> np.ndarray:
    pose = np.eye(4)
    pose[:3, :3] = Rotation.from_euler("z", yaw).as_matrix()
    pose[:3, 3] = (x, y, z)
    return pose


@pytest.fixture
def store() -> Store:
    """One gondola turned by 90 degrees with one shelf of two plates, a camera that looks straight down, a gate along x."""
    shelf_pose = at(1, 2, 0, np.pi / 2) @ at(0.1, 0, 0.5)
    plates = {p: Plate("1", "4", p, shelf_pose @ at(0.1 * i, 0, 0), 0.1, 0.4, 20.0) for i, p in enumerate(("1", "2"))}
    gondola = Gondola("1", at(1, 2, 0, np.pi / 2), 1.0, 0.1, 2.0, {"4": Shelf("1", "4", shelf_pose, 0.2, 0.4, 0.1, plates)})
    down = np.diag([1.0, -1.0, -1.0, 1.0])
    down[:3, 3] = (0, 0, 3)
    camera = Camera("7", 640, 480, np.array([[400.0, 0, 320], [0, 400, 240], [0, 0, 1]]), np.zeros(5), down)
    return Store(
        name="test",
        currency="EUR",
        floor=np.array([[0, 0], [4, 0], [4, 4], [0, 4.0]]),
        zones={},
        gondolas={"1": gondola},
        cameras={"7": camera},
        gates={"door": Gate("door", GateKind.BOTH, np.array([[1.0, 0], [2.0, 0]]))},
        products={"p": Product("p", "Tea", 0.1, 0.001, Decimal("1.50"))},
        planogram={("1", "4", "1"): ("p",)},
    )


def track(name: str, x: float, y: float, **more) -> Track:
    return Track(name, np.array([x, y]), np.array([0.5, 0.0]), np.diag([0.04, 0.01, 1, 1]), 0.9, 0.0, **more)


def names(shapes: list[Shape], kind: Kind | None = None) -> set[str]:
    return {shape.namespace for shape in shapes if kind is None or shape.kind == kind}


def test_the_frame_tree_composes_to_the_stores_poses(store):
    poses = {"store": np.eye(4)}
    for transform in fixed_transforms(store):
        relative = np.eye(4)
        relative[:3, :3] = Rotation.from_quat(transform.rotation).as_matrix()
        relative[:3, 3] = transform.translation
        poses[transform.child] = poses[transform.parent] @ relative
    np.testing.assert_allclose(poses["gondola_1_shelf_4"], store.shelf("1", "4").pose, atol=1e-9)
    np.testing.assert_allclose(poses["camera_7_optical"], store.cameras["7"].pose, atol=1e-9)
    forward = poses["camera_7"][:3, 0]
    np.testing.assert_allclose(forward, [0, 0, -1], atol=1e-9, err_msg="the body's x axis looks where the camera looks")
    np.testing.assert_allclose(poses["gate_door"][:3, 3], [1.5, 0, 0], atol=1e-9)


def test_camera_frames_follow_rep_103():
    """A camera that looks along the store's +y with its picture upright: x forward, y left, z up; optical x right, y down, z forward."""
    pose = np.eye(4)
    pose[:3, :3] = np.array([[1.0, 0, 0], [0, 0, 1], [0, -1, 0]])
    camera = Camera("9", 640, 480, np.array([[400.0, 0, 320], [0, 400, 240], [0, 0, 1]]), np.zeros(5), pose)
    empty = Store("test", "EUR", np.zeros((3, 2)), {}, {}, {"9": camera}, {}, {}, {})
    body, optical = fixed_transforms(empty)
    assert [(body.parent, body.child), (optical.parent, optical.child)] == [("store", "camera_9"), ("camera_9", "camera_9_optical")]
    axes = Rotation.from_quat(body.rotation).as_matrix()
    np.testing.assert_allclose(axes, np.array([[0, -1, 0], [1, 0, 0], [0, 0, 1]]), atol=1e-12)
    np.testing.assert_allclose(axes @ Rotation.from_quat(optical.rotation).as_matrix(), pose[:3, :3], atol=1e-12)
    corners = frustum(camera, 1.0)
    assert (corners[:, 1] > 0.5).all(), "in front of the camera"
    assert corners[0, 0] < 0 < corners[0, 2], "the image's top left is at the left and above"
    assert corners[2, 0] > 0 > corners[2, 2]
    drawn = next(shape for shape in furniture(empty) if shape.namespace == "cameras").points
    assert drawn[:, 2].argmax() == len(drawn) - 3, "nothing is higher than the roof's ridge"


def test_a_strongly_distorted_camera_has_a_frustum(store):
    matrix = np.array([[200.0, 0, 320], [0, 200, 240], [0, 0, 1]])
    camera = Camera("9", 640, 480, matrix, np.array([-0.3, 0.0, 0, 0, 0]), store.cameras["7"].pose)
    assert np.isnan(camera.rays(np.array([[0.0, 0.0]]))).all(), "the calibration says nothing about the corners"
    corners = frustum(camera, 1.0)
    np.testing.assert_allclose(np.linalg.norm(corners - camera.position, axis=1), 1.0)
    pixels, _ = camera.project(corners)
    np.testing.assert_allclose(pixels[0] - matrix[:2, 2], -(pixels[2] - matrix[:2, 2]), atol=15)
    assert (np.linalg.norm(pixels - matrix[:2, 2], axis=1) > 100).all()


def test_real_stores_have_finite_shapes():
    stores = sorted((Path(__file__).resolve().parents[3] / "config" / "stores").glob("*/store.yaml"))
    assert stores
    for path in stores:
        assert all(np.isfinite(shape.points).all() and np.isfinite(shape.position).all() for shape in furniture(load_store(path.parent)))


def test_furniture_is_where_the_store_says(store):
    shapes = {(shape.namespace, shape.number): shape for shape in furniture(store)}
    assert shapes["plates", 0].points.shape == (2 * 6, 3)
    np.testing.assert_allclose(shapes["plates", 0].points[:, 2], 0.5)
    frustum = shapes["cameras", 0].points
    assert frustum[:, 2].max() == pytest.approx(3.0)
    assert frustum[:, 2].min() < 3.0 - 0.2, "a camera that looks down has its frustum below it"
    assert shapes["gates", 0].points[:, :2].tolist() == [[1, 0], [2, 0]]


def test_a_person_is_drawn_and_taken_away(store):
    scene = MarkerScene(store, MarkersConfig())
    head = BodyPoint(np.array([1, 1, 1.6]), np.eye(3))
    first = scene.step(Tracks(0, (track("a", 1, 1, head=head), track("b", 3, 3))))
    assert {"people", "velocity", "uncertainty", "labels", "heads"} <= names(first)
    bodies = {shape.number: shape.position[:2].tolist() for shape in first if shape.namespace == "people"}
    assert sorted(bodies.values()) == [[1, 1], [3, 3]]
    second = scene.step(Tracks(NANOSECONDS, (track("b", 3, 2),)))
    drawn_before = {(shape.namespace, shape.number) for shape in first}
    gone = {(shape.namespace, shape.number) for shape in second if shape.kind == Kind.DELETE}
    assert gone == {key for key in drawn_before if key[1] == 0}
    trail = next(shape for shape in second if shape.namespace == "trails")
    np.testing.assert_allclose(trail.points[:, :2], [[3, 3], [3, 2]])


def test_a_wrist_that_is_lost_is_deleted_while_the_person_stays(store):
    scene = MarkerScene(store, MarkersConfig())
    scene.step(Tracks(0, (track("a", 1, 1, left_wrist=BodyPoint(np.ones(3), np.eye(3))),)))
    after = scene.step(Tracks(NANOSECONDS, (track("a", 1, 1),)))
    assert names(after, Kind.DELETE) == {"left wrists", "arms", "body uncertainty"}


def test_wrists_are_drawn_with_arms_and_their_uncertainty(store):
    covariance = np.diag([0.01, 0.0004, 0.0001])
    right = BodyPoint(np.array([1.5, 1.0, 1.1]), covariance)
    shapes = {s.namespace: s for s in MarkerScene(store, MarkersConfig()).step(Tracks(0, (track("a", 1, 1, right_wrist=right),)))}
    np.testing.assert_allclose(shapes["right wrists"].position, right.position)
    assert "left wrists" not in shapes
    np.testing.assert_allclose(shapes["arms"].points[1], right.position)
    np.testing.assert_allclose(shapes["arms"].points[0, :2], [1, 1])
    reach = np.ptp(shapes["body uncertainty"].points, axis=0)
    np.testing.assert_allclose(reach, 2 * 2 * np.sqrt(np.diag(covariance)), atol=1e-9)


def test_a_shelf_event_shows_its_weight_and_fades(store):
    scene = MarkerScene(store, MarkersConfig(event_s=2.0))
    event = ShelfEvent("e", ShelfEventStatus.FINAL, "1", "4", 0, NANOSECONDS, ("1",), np.array([-0.105]), np.array([0.001]))
    shown = scene.step(ShelfEvents(NANOSECONDS, (event,)))
    assert [shape.text for shape in shown if shape.kind == Kind.TEXT] == ["-105 g"]
    assert not names(scene.step(Tracks(2 * NANOSECONDS, ())), Kind.DELETE)
    assert names(scene.step(Tracks(4 * NANOSECONDS, ())), Kind.DELETE) == {"shelf events", "changes"}


def test_a_cart_is_written_above_its_holder_until_it_is_closed(store):
    scene = MarkerScene(store, MarkersConfig())
    lines = (CartLine("p", 2, 0.973, ()), CartLine("unknown", 1, 0.5, ()))
    scene.step(Cart(0, "s", "ada", "a", CartStatus.OPEN, 0, 0, lines))
    labels = {
        shape.text for shape in scene.step(Tracks(1, (track("a", 1, 1), track("b", 2, 2)))) if shape.namespace == "labels" and shape.text
    }
    assert labels == {"track a\nada\n2 x Tea  97%\n1 x unknown  50%", "track b"}
    scene.step(Cart(2, "s", "ada", "a", CartStatus.CLOSED, 0, 2, lines))
    labels = {shape.text for shape in scene.step(Tracks(3, (track("a", 1, 1),))) if shape.namespace == "labels" and shape.text}
    assert labels == {"track a"}


def test_the_ellipse_is_two_deviations_wide():
    outline = covariance_ellipse(track("a", 1, 1))[:, :2] - [1, 1]
    np.testing.assert_allclose(np.abs(outline).max(axis=0), [0.4, 0.2], atol=1e-9)
