// Cameras as tables (aisle_perception.lens_table.LensTable): viewing directions of pixels without solving for lens distortion each time.
#pragma once

#include <algorithm>
#include <cstdint>

#include "matrices.hpp"

namespace aisle {

struct Lenses {
    const double* table;      // [C * rows * columns, 2] undistorted image coordinates of grid points
    const double* positions;  // [C, 3] m
    const double* rotations;  // [C, 3, 3] optical to store frame
    const double* sizes;      // [C, 2] px
    const double* focal_px;   // [C]
    int64_t rows, columns;
    double step_px, border_px;

    Vector3 position(int64_t camera) const { return {positions[3 * camera], positions[3 * camera + 1], positions[3 * camera + 2]}; }
    const double* rotation(int64_t camera) const { return rotations + 9 * camera; }

    // x / z and y / z in the optical frame of a pixel; NaN where the lens model says nothing.
    Vector2 normalised(int64_t camera, Vector2 pixel) const {
        double x = (pixel.x + border_px) / step_px, y = (pixel.y + border_px) / step_px;
        if (!std::isfinite(x) || !std::isfinite(y)) return {kNaN, kNaN};
        x = std::min(std::max(x, 0.0), static_cast<double>(columns) - 1.001);
        y = std::min(std::max(y, 0.0), static_cast<double>(rows) - 1.001);
        const int64_t column = static_cast<int64_t>(x), row = static_cast<int64_t>(y);
        const double right = x - static_cast<double>(column), down = y - static_cast<double>(row);
        const double* upper = table + 2 * (camera * rows * columns + row * columns + column);
        const double* lower = upper + 2 * columns;
        const double left = 1.0 - right, up = 1.0 - down;
        return {
            (upper[0] * left + upper[2] * right) * up + (lower[0] * left + lower[2] * right) * down,
            (upper[1] * left + upper[3] * right) * up + (lower[1] * left + lower[3] * right) * down,
        };
    }

    // The ray of depth 1 in the store frame.
    Vector3 turned(int64_t camera, Vector2 at) const {
        const double* r = rotation(camera);
        return {r[2] + at.x * r[0] + at.y * r[1], r[5] + at.x * r[3] + at.y * r[4], r[8] + at.x * r[6] + at.y * r[7]};
    }

    Vector3 direction(int64_t camera, Vector2 pixel) const { return turned(camera, normalised(camera, pixel)); }
};

}  // namespace aisle
