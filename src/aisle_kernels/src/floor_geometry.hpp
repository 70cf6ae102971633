// Who stands where: on a floor, in whose way, and where he will be next.
#pragma once

#include <cstdint>

namespace aisle {

// Which of N points lie in a simple polygon [K, 2] grown by a margin each, m.
void inside_polygon(int64_t corners, const double* polygon, int64_t points, const double* positions, const double* margins, bool* inside);

// Which of N points [N, 2] lie within `reach` m of any of K lines from `starts` [K, 2] to `starts` + `spans` [K, 2].
void near_lines(int64_t lines, const double* starts, const double* spans, double reach, int64_t points, const double* positions, bool* near);

// Whether somebody stands between a camera at `eye` [2] and one of N persons at `positions` [N, 2], within `radius` m of the line.
bool hidden(const double* eye, int64_t person, int64_t persons, const double* positions, double radius);

// N states of `axes` positions and their velocities, moved on by `dt_s` s: white acceleration of spectral density `density` (Bar-Shalom,
// Li, Kirubarajan: Estimation with Applications to Tracking, 6.2.2).
void predict(int64_t states, int64_t axes, double dt_s, double density, double* means, double* covariances);

}  // namespace aisle
