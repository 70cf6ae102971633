// Who stands where: on a floor, in whose way, and where he will be next.
#pragma once

#include <cstdint>

namespace aisle {

// Which of N points lie in a simple polygon [K, 2] grown by a margin each, m.
void inside_polygon(int64_t corners, const double* polygon, int64_t points, const double* positions, const double* margins, bool* inside);

// Which of N points [N, 2] lie within `reach` m of any of K lines from `starts` [K, 2] to `starts` + `spans` [K, 2].
void near_lines(int64_t lines, const double* starts, const double* spans, double reach, int64_t points, const double* positions, bool* near);

// Of each of C cameras [C, 2] and N persons [N, 2], result [C, N]: whether somebody stands between them, within `radius` m of the line.
void hidden(int64_t cameras, const double* eyes, int64_t persons, const double* positions, double radius, bool* result);

// N states of `axes` positions and their velocities, moved on by `dt_s` s: white acceleration of spectral density `density` (Bar-Shalom,
// Li, Kirubarajan: Estimation with Applications to Tracking, 6.2.2).
void predict(int64_t states, int64_t axes, double dt_s, double density, double* means, double* covariances);

}  // namespace aisle
