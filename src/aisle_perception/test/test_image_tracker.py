"""The image-plane tracker: identities through crossings, occlusions and bad detections."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from aisle_perception.image_tracker import BoxDetections, FadingDeleter, ImageTracker, ImageTrackerConfig, ImageTracks

RATE_HZ = 25.0
PERIOD_NS = 40_000_000


def box(x: float, y: float = 300.0, height: float = 200.0) -> np.ndarray:
    """A standing person's box around (x, y)."""
    return np.array([x - 0.2 * height, y - 0.5 * height, x + 0.2 * height, y + 0.5 * height])


def frame(*boxes: np.ndarray, scores: float | list[float] = 0.95, embeddings: np.ndarray | None = None) -> BoxDetections:
    array = np.array(boxes).reshape(-1, 4)
    return BoxDetections(array, np.broadcast_to(np.asarray(scores, dtype=float), len(array)).copy(), embeddings)


def follow(frames: list[BoxDetections], tracker: ImageTracker | None = None) -> list[ImageTracks]:
    tracker = ImageTracker() if tracker is None else tracker
    return [tracker.step(number * PERIOD_NS, detections) for number, detections in enumerate(frames)]


def id_at(tracks: ImageTracks, x: float, y: float = 300.0) -> int:
    """The identity given to the box that stands at (x, y)."""
    centres = (tracks.boxes[:, :2] + tracks.boxes[:, 2:]) / 2
    distance = np.linalg.norm(centres - [x, y], axis=1)
    assert distance.min() < 30.0, f"nobody near {x}, {y}: {centres}"
    return int(tracks.ids[distance.argmin()])


def test_one_walker_keeps_one_identity() -> None:
    rng = np.random.default_rng(1)
    found = follow([frame(box(100 + 5 * k) + rng.normal(0, 4, 4)) for k in range(60)])
    assert [len(tracks) for tracks in found[2:]] == [1] * 58
    assert {int(tracks.ids[0]) for tracks in found[2:]} == {1}
    assert found[-1].existence[0] > 0.9
    error = np.array([tracks.boxes[0] - box(100 + 5 * k) for k, tracks in enumerate(found) if k > 20])
    assert np.sqrt((error**2).mean()) < 4.0


def test_two_who_cross_keep_their_identities() -> None:
    """The nearer one hides the other while they pass."""
    frames = []
    for k in range(60):
        near, far = box(100 + 8 * k, height=220.0), box(580 - 8 * k, y=295.0, height=200.0)
        frames.append(frame(near) if abs(480 - 16 * k) < 50 else frame(near, far))
    found = follow(frames)
    assert id_at(found[20], 100 + 160) == id_at(found[-1], 100 + 8 * 59)
    assert id_at(found[20], 580 - 160) == id_at(found[-1], 580 - 8 * 59)
    assert {number for tracks in found for number in tracks.ids.tolist()} == {1, 2}


def test_somebody_who_comes_out_of_an_occlusion_is_the_same() -> None:
    found = follow([frame(box(100 + 6 * k)) if not 30 <= k < 50 else frame() for k in range(70)])
    assert all(len(tracks) == 0 for tracks in found[31:50])
    assert id_at(found[-1], 100 + 6 * 69) == 1


def test_somebody_who_was_away_for_long_is_new() -> None:
    found = follow([frame(box(100 + k)) if not 30 <= k < 90 else frame() for k in range(100)])
    assert id_at(found[-1], 199) == 2


def test_empty_frames_end_everybody_and_nothing_begins() -> None:
    tracker = ImageTracker()
    follow([frame(box(100)) for _ in range(5)], tracker)
    for number in range(5, 80):
        assert len(tracker.step(number * PERIOD_NS, frame())) == 0
    assert len(tracker.step(80 * PERIOD_NS, frame(), unconfirmed=True)) == 0


def test_a_single_false_detection_is_never_given_out() -> None:
    found = follow([frame(box(100)), *[frame() for _ in range(20)]])
    assert all(len(tracks) == 0 for tracks in found)


def test_confirmation_takes_longer_for_doubtful_detections() -> None:
    first = {
        score: next(number for number, tracks in enumerate(follow([frame(box(100), scores=score)] * 20)) if len(tracks))
        for score in (0.72, 0.99)
    }
    assert first[0.99] == 1
    assert first[0.72] > 2


def test_weak_detections_keep_a_track_but_begin_none() -> None:
    found = follow([frame(box(100 + 3 * k), scores=0.95 if k < 10 else 0.3) for k in range(40)])
    assert all(tracks.ids.tolist() == [1] for tracks in found[2:])
    assert not any(len(tracks) for tracks in follow([frame(box(100), scores=0.3)] * 40))


def test_the_same_whatever_the_frame_rate() -> None:
    """Parameters are per second: every third frame gives the same identities."""
    frames = [frame(box(100 + 4 * k), box(900 - 4 * k, y=320.0)) for k in range(90)]
    tracker = ImageTracker()
    found = [tracker.step(k * PERIOD_NS, frames[k]) for k in range(0, 90, 3)]
    assert id_at(found[5], 160) == id_at(found[-1], 100 + 4 * 87)
    assert {number for tracks in found for number in tracks.ids.tolist()} == {1, 2}


def test_detections_in_another_order_give_the_same_tracks() -> None:
    rng = np.random.default_rng(3)
    frames = [np.array([box(100 + 90 * p + 3 * k, 200 + 40 * p) + rng.normal(0, 3, 4) for p in range(6)]) for k in range(30)]
    one = follow([frame(*boxes) for boxes in frames])
    other = follow([frame(*boxes[::-1]) for boxes in frames])
    for number in (10, 29):
        for person in range(6):
            centre = (frames[number][person][:2] + frames[number][person][2:]) / 2
            assert one[number].boxes[one[number].ids == id_at(one[number], *centre)] == pytest.approx(
                other[number].boxes[other[number].ids == id_at(other[number], *centre)]
            )


def test_appearance_tells_who_is_who_where_places_cannot() -> None:
    """Two stop behind a pillar and come out on the sides from which they came: motion alone would swap them."""
    looks = np.array([[1.0, 0.0], [0.0, 1.0]])
    frames = []
    for k in range(80):
        if 25 <= k < 40:
            frames.append(frame(embeddings=np.zeros((0, 2))))
        else:
            step = 4 * min(k, 65 - k)
            frames.append(frame(box(200 + step), box(420 - step, y=305.0), embeddings=looks))
    found = follow(frames)
    assert id_at(found[20], 280) == id_at(found[45], 280)
    assert id_at(found[20], 340, 305) == id_at(found[45], 340, 305)


def _behind_a_pillar(hidden: range, looks: np.ndarray | None) -> list[BoxDetections]:
    """Two walk towards each other, are hidden, and come out on the sides from which they came."""
    frames, middle = [], (hidden.start + hidden.stop) // 2
    for k in range(hidden.stop + 25):
        step = 4 * min(k, 25, 2 * middle - k)
        both = (box(200 + step), box(420 - step, y=305.0))
        frames.append(frame(embeddings=None if looks is None else looks[:0]) if k in hidden else frame(*both, embeddings=looks))
    return frames


def test_looks_bring_back_who_was_hidden_for_seconds() -> None:
    """Motion alone lets go of both after little more than a second."""
    for looks, known in ((np.array([[0.8, 0.6], [-0.6, 0.8]]), True), (None, False)):
        found = follow(_behind_a_pillar(range(25, 125), looks))
        before, after = found[20], found[130]
        same = id_at(before, 280) == id_at(after, 280) and id_at(before, 340, 305) == id_at(after, 340, 305)
        assert same == known
        assert max(found[-1].ids.tolist()) == (2 if known else 4)


def test_somebody_else_who_comes_out_is_somebody_else() -> None:
    looks = np.array([[1.0, 0.0], [0.0, 1.0]])
    frames = [frame(box(200 + 2 * k), embeddings=looks[:1]) for k in range(30)]
    frames += [frame(embeddings=looks[:0]) for _ in range(20)]
    frames += [frame(box(260 + k), embeddings=looks[1:]) for k in range(20)]
    found = follow(frames)
    assert [found[25].ids.tolist(), found[-1].ids.tolist()] == [[1], [2]]


def test_frames_and_persons_without_an_embedding_are_followed_by_place() -> None:
    looks = np.array([[1.0, 0.0], [0.0, 0.0]])
    frames = [frame(box(100 + 3 * k), box(600 - 3 * k), embeddings=looks if k % 3 else None) for k in range(40)]
    assert {number for tracks in follow(frames) for number in tracks.ids.tolist()} == {1, 2}


def test_a_camera_that_jerks_confuses_nobody() -> None:
    """Four stand in a row; the image jumps by the distance between two of them, which without a correction would pass on their names."""
    shift = np.zeros(40)
    shift[20:] = 55.0
    frames = [frame(*(box(200 + 70 * person + shift[k]) for person in range(4))) for k in range(40)]
    found = follow(frames)
    assert [id_at(found[19], 200 + 70 * person) for person in range(4)] == [1, 2, 3, 4]
    steady = follow(frames, ImageTracker(dataclasses.replace(ImageTrackerConfig(), camera_motion=1e6)))
    error = [np.abs(tracks[20].boxes[0] - box(255)).max() for tracks in (found, steady)]
    assert error[0] < 3.0 < error[1]


def test_how_many_and_how_fast_does_not_matter_for_the_arrays() -> None:
    """Hundreds at once, appearing and vanishing: as many identities as people, none twice in a frame."""
    rng = np.random.default_rng(4)
    place = np.column_stack([np.arange(200) % 20 * 150.0, np.arange(200) // 20 * 260.0])
    tracker = ImageTracker()
    for number in range(12):
        seen = rng.random(200) < 0.97
        tracks = tracker.step(number * PERIOD_NS, frame(*(box(*p) + rng.normal(0, 2, 4) for p in place[seen])))
        assert len(set(tracks.ids.tolist())) == len(tracks)
    assert 185 <= len(tracks) <= 200
    assert tracks.ids.max() <= 200


def test_parts_can_be_exchanged() -> None:
    class Patient(FadingDeleter):
        def gone(self, tracks: object) -> np.ndarray:
            return np.zeros(len(tracks), dtype=bool)

    tracker = ImageTracker(deleter=Patient(ImageTrackerConfig()))
    found = follow([frame(box(100)) if not 10 <= k < 200 else frame() for k in range(210)], tracker)
    assert found[-1].ids.tolist() == [1]


def test_predicted_places_are_given_out_where_asked_for() -> None:
    config = dataclasses.replace(ImageTrackerConfig(), shown_s=0.1)
    found = follow([frame(box(100 + 6 * k)) if k < 20 else frame() for k in range(30)], ImageTracker(config))
    assert [len(tracks) for tracks in found[18:24]] == [1, 1, 1, 1, 0, 0]
    assert found[21].detections.tolist() == [-1]
    assert id_at(found[21], 100 + 6 * 21) == 1


def test_a_frame_that_is_not_later_is_refused() -> None:
    tracker = ImageTracker()
    tracker.step(PERIOD_NS, frame(box(100)))
    with pytest.raises(ValueError, match="expected a later one"):
        tracker.step(PERIOD_NS, frame(box(100)))
