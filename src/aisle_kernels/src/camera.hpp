// OpenCV's camera model: a pinhole with Brown-Conrady distortion (aisle_store.camera_model).
#pragma once

#include <cstdint>

#include "matrices.hpp"

namespace aisle {

struct Distortion {
    double k1, k2, p1, p2, k3;

    // Where the lens shows what a pinhole would show at `point`, in units of depth.
    Vector2 operator()(Vector2 point) const;
    // What that changes by with x and y.
    Matrix2 slopes(Vector2 point) const;
};

// `from_store` [4, 4]: store to optical frame; nothing is said of points wider than `widest` from the axis, in units of depth.
struct Pinhole {
    const double* from_store;
    double focal_x, focal_y, centre_x, centre_y, width, height, widest;
    Distortion distortion;

    bool sees(const double* point) const;
};

// Newton's method for N points [N, 2] at once: `points` are where it begins and where it ends, NaN where that shows at no `distorted` [N, 2]
// to within `tolerance`. Up to `steps`, until all are within the square of it; none goes farther from the axis than `widest`.
void undistort(const Distortion& distortion, double widest, int64_t steps, double tolerance, int64_t count, const double* distorted,
               double* points);

}  // namespace aisle
