// Detections brought to the floor, one by one (the method: aisle_perception.floor_projection).
#pragma once

#include <cstdint>

#include "body_evidence.hpp"
#include "lens.hpp"

namespace aisle {

// aisle_perception.floor_projection.BodyConfig, and the variance of statures as multiples of the mean.
struct Body {
    double stature, stature_variance, body_width, body_width_deviation, box_deviation_px, box_deviation_share, keypoint_deviation_px,
        keypoint_threshold, border_px;
};

struct FloorPoint {
    Placed placed;
    bool valid;
    Gaussian3 evidence;
    Vector2 reach;
    double shares[3];
};

// `box` [4] and `keypoints` [17, 3] in pixels of the calibration's image size. Keypoints are used where there are any, else the box.
FloorPoint on_floor(const Lenses& lenses, const Body& body, int64_t camera, const double* box, const double* keypoints);

}  // namespace aisle
