"""What would take Python or NumPy hundreds of small steps, compiled (``src/*.cpp``): arithmetic of tracker, monitor and events, reading.

Functions write their results into arrays that they are given. All arrays are C-contiguous: float64, int64 for numbers of cameras and
persons, bool where said. Wrong types and sizes raise TypeError or ValueError, numbers of nobody IndexError. M detections, N persons.
The methods are described where they are used, in ``aisle_perception``, ``aisle_fusion`` and ``aisle_bags``.

``lenses(rows, columns, step_px, border_px, positions [C, 3], rotations [C, 3, 3], sizes [C, 2], focal_px [C], table)``
    a handle of C cameras for the functions below (``aisle_perception.lens_table``)
``directions(lenses, cameras [M], pixels [M, 2], ...)``
    rays of depth 1 in the store frame [M, 3], NaN where the lens model says nothing
``project(lenses, body [9], cameras [M], boxes [M, 4], keypoints [M, 17, 3], valid bool [M], ...)``
    detections on the floor (``floor_projection``): positions [M, 2], covariances [M, 2, 2] and the evidence, which is information
    [M, 3, 3], vector [M, 3], reach [M, 2], shares [M, 3]
``detections(lenses, body [9], least_score, margin, polygon [K, 2], frames, numbers [M], cameras [M], ages [M], keypoints, ...)``
    the same of those of M detections that can be used: with a good score, and in the polygon but for ``margin`` and their deviations;
    writes the first rows and returns how many; ``numbers``: which detections they are. ``frames``: a list of (camera, age s, scale across,
    scale down, boxes, scores, keypoints or None), arrays as in ``PersonDetections``, in single or double precision; boxes and keypoints
    are multiplied by the scales
``correct_bodies(huber, pose_share, least_stature_variance, means [N, 4], covariances [N, 4, 4], statures [N, 5], whose [M], ages [M],``
``information, vector, reach, shares)``
    changes means, covariances and statures (``body_updater``), by the three functions below; ArithmeticError for a singular covariance
``merged(information, vector, reach, shares, ...)``
    the same evidence with the sides averaged: information [M, 3, 3], vector [M, 3]
``settled_shares(expected information [N, 3, 3] and vector [N, 3], whose [M], information, vector, reach, shares)``
    changes the shares (``body_updater``)
``trust(places [N, 2, 2], means [N, 2], whose [M], positions [M, 2], spreads [M, 2, 2], ...)``
    weights [M] (``body_updater``)
``deviations(covariances [M, 2, 2], ...)``
    standard deviations along the longest axes [M] (``small_matrices``)
``inverses(matrices [M, 2, 2], ...)``
    their inverses [M, 2, 2] (``small_matrices``)
``clusters(gate, camera_of [M], positions [M, 2], covariances [M, 2, 2], ...)``
    labels [M]: for each detection the first one of its group (``association``)
``assign(limit, asked bool [N], free bool [M], cameras, camera_of [M], distances [N, M], gains [N, M], owner [M])``
    changes owner where something is found (``association``)
``shadows(limit, confirmed bool [N], camera_of [M], owner [M], distances [N, M], ...)``
    bool [M]: who is nobody's and near a person whom the camera shows by no other detection (``floor_tracker``)
``coverage(columns, rows, x, y, cell, radius, eyes [C, 2], silence [K], hidden [K], shares uint8 [C, columns, rows])``
    a handle for the function below: a grid on the floor of ``cell`` m that begins at x, y, and for each of K shares of a body in view
    the logarithm of (1 - probability to be found) in plain view and behind somebody within ``radius`` m of the line of sight
``silence(coverage, positions [N, 2], ...)``
    those logarithms [C, N] (``view_coverage``)
``judge(config [7], dt_s, stamp_ns, reporting bool [C], at_gate bool [N], silence [C, N], camera_of [M], owner [M], log_odds [N],``
``seen_ns [N])``
    changes the last two (``existence``); -1 in ``owner``: nobody's
``compare_neighbours(radius, stamp_ns, means [N, 4], cameras, camera_of [M], owner [M], near_since_ns, apart_ns, apart_frames [N, N])``
    changes the last three (``floor_tracker``); how many pairs are near
``slow_down(before_ns, factor, seen_ns [N], means [N, 2 * axes])``
    multiplies the velocities of those who were last seen before that time
``track_rows(stamp_ns, memory_ns, wanted bool [N], means [N, 4], covariances [N, 4, 4], points_seen_ns [N, 3], point_means [N, 3, 6],``
``point_covariances [N, 3, 6, 6], ...)``
    rows of ``aisle_perception.packed_tracks`` for those who are wanted
``near_lines(reach, starts [K, 2], spans [K, 2], positions [N, 2], ...)``
    bool [N]: within ``reach`` m of any of the lines
``innovations(means [N, 4], covariances [N, 4, 4], ages [M], positions [M, 2], spreads [M, 2, 2], ...)``
    squared distances [N, M] and log determinants [N, M] (``association``)
``fuse(means [N, 4], covariances [N, 4, 4], whose [M], positions [M, 2], ages [M], precisions [M, 2, 2])``
    changes means and covariances (``kalman``); ArithmeticError for a singular covariance
``predict(axes, dt_s, density, means [N, 2 * axes], covariances [N, 2 * axes, 2 * axes])``
    changes means and covariances (``kalman``)
``undistort(distortion [5], widest, steps, tolerance, distorted [N, 2], points [N, 2])``
    changes the points, by Newton's method, into those whose images are ``distorted`` (``aisle_store.camera_model``); NaN where none are
``in_view(from_store [4, 4], matrix [3, 3], distortion [5], widest, width, height, points [N, 3], ...)``
    bool [N]: which points of the store lie in a camera's image (``aisle_store.camera_model``)
``inside_polygon(polygon [K, 2], positions [M, 2], margins [M], ...)``
    inside bool [M] (``aisle_store.store``)
``triangulate(deviation, means [B, 3], covariances [B, 3, 3], weights [B, K], angles [B, K], origins [B, K, 3], directions, ...)``
    points of the body [B, 3] m from up to K rays each, with covariances [B, 3, 3] (``body_points``); weights 0: no ray, 1: full trust
``update_points(lenses, config [5], stamp_ns, bodies [N, 4], means [3N, 6], covariances [3N, 6, 6], seen_ns [3N], cameras [M], whom [M],``
``ages [M], keypoints [M, 17, 3])``
    changes means, covariances and seen_ns (``body_points``); ``whom`` -1: nobody

Samples of plates in bins (``aisle_fusion.shelf_monitor_samples``):

``sample_bins(width, bin_ns, glitch_kg)``
    a handle for those below; ``width``: columns, one for each plate
``sample_stream(bins, known [K], columns [K])``
    a number for readings whose values ``known`` belong into ``columns``
``take_samples(bins, number, stamp_ns, period_ns, weights [samples, plates])``
    puts samples (float32 or float64, in any order in memory) into their bins
``open_bins(bins)``, ``late_samples(bins)``
    the oldest and the newest bin that has samples and was not taken out, or None; how many samples came too late
``pop_means(bins, first, end, ... [end - first, width])``
    writes the mean loads and takes the bins out; False, with nothing written, if no sample is in them

Levels of P plates on S shelves (``aisle_fusion.shelf_monitor_levels``), ``frozen`` bool [P] or None:

``plate_levels(shelves, width, counts, limits, averaging, *arrays)``
    a handle for those below, which work on these arrays (``PlateLevels._for_compiled``)
``add_bins(levels, first, loads [bins, P], present bool [bins, P])``
    takes loads, changes NaN into 0 and writes which are there; how many of the bins pass without a plate leaving its level
``off_level(levels, bin, found [P])``, ``lastingly_off(levels, bin, frozen, found [P])``
    write the plates that have left their level, and return how many
``watch_plates(levels, bin, loads [P], present bool [P], busy, exponents [P], known bool [P])``, ``learn_noise(levels, growth [P], known)``
    what a report's last bin says of who is there and how noisy; the latter is given e to the power of the former's exponents
``track_levels(levels, bin, frozen)``, ``set_thresholds(levels)``
    change levels and their variances, and what follows from them
``still_bins(levels, bin, plates [K], tolerances [K])``
    for how many bins all of the plates have kept within their tolerances

Shelf events (``aisle_fusion.item_likelihood``), patterns of loads at L places with S spreads on P plates:

``pair_misfits(total_kg, deviation, spreads, change [P], variance [P], patterns [L, S, P], reach [L, S, P], masses [N, 2], counts [N, 2],``
``places, ... [R, S, P])``
    squared residuals over four variances of N pairs of loads, each with each of its places: ``counts`` of these for both loads, which
    follow one another in ``places``; R: the counts of each pair multiplied, all together

Bags (``aisle_bags.mcap_chunks``, ``cdr_records``):

``chunk_messages(chunk, offset, wanted)``
    messages of a chunk whose channels' places in ``wanted`` (65536 bytes) are not 0: tuples (log time, ``offset``, channel, data, publish
    time, sequence); ValueError for records that do not fit into it
``record_class(class, names)``
    a handle for those below: a class with ``__slots__``, and its attributes in the order in which they are given. Objects are made as by
    the constructor of a frozen dataclass, at a fifth of the time
``record_form(record class, values, array class, number type, same, counts)``
    a handle for those below: what the messages of a topic have in common. After the stamp come the bytes ``same``, as far as they count
    (bits of ``counts``, as many bytes). The attributes of their records are the stamp, ``values``, then arrays
``plain_record(form, message)``
    the record, without arrays, of a message that ends there; None for a message that is not like that
``scale_reading(form, message)``, ``person_detections(form, message)``
    the record of a message in which follow how many numbers or persons there are, and these, with arrays of its own; None for a message
    that is not like that, or whose persons differ in what they have
``unpacked_tracks(track class, point class, people, known bool [N, 3], positions, velocities, covariances, points, spreads)``
    a tuple of tracks (``aisle_perception.packed_tracks``), whose arrays are the N or 3N of which the last five consist; ``people``: a list
    of N tuples (track, existence, unseen_s)
"""

from aisle_kernels._compiled import (
    add_bins,
    assign,
    chunk_messages,
    clusters,
    compare_neighbours,
    correct_bodies,
    coverage,
    detections,
    deviations,
    directions,
    fuse,
    in_view,
    innovations,
    inside_polygon,
    inverses,
    judge,
    lastingly_off,
    late_samples,
    learn_noise,
    lenses,
    merged,
    near_lines,
    off_level,
    open_bins,
    pair_misfits,
    person_detections,
    plain_record,
    plate_levels,
    pop_means,
    predict,
    project,
    record_class,
    record_form,
    sample_bins,
    sample_stream,
    scale_reading,
    set_thresholds,
    settled_shares,
    shadows,
    silence,
    slow_down,
    still_bins,
    take_samples,
    track_levels,
    track_rows,
    triangulate,
    trust,
    undistort,
    unpacked_tracks,
    update_points,
    watch_plates,
)

__all__ = [
    "add_bins",
    "assign",
    "chunk_messages",
    "clusters",
    "compare_neighbours",
    "correct_bodies",
    "coverage",
    "detections",
    "deviations",
    "directions",
    "fuse",
    "in_view",
    "innovations",
    "inside_polygon",
    "inverses",
    "judge",
    "lastingly_off",
    "late_samples",
    "learn_noise",
    "lenses",
    "merged",
    "near_lines",
    "off_level",
    "open_bins",
    "pair_misfits",
    "person_detections",
    "plain_record",
    "plate_levels",
    "pop_means",
    "predict",
    "project",
    "record_class",
    "record_form",
    "sample_bins",
    "sample_stream",
    "scale_reading",
    "set_thresholds",
    "settled_shares",
    "shadows",
    "silence",
    "slow_down",
    "still_bins",
    "take_samples",
    "track_levels",
    "track_rows",
    "triangulate",
    "trust",
    "undistort",
    "unpacked_tracks",
    "update_points",
    "watch_plates",
]
