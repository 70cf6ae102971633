// Heads and wrists from rays (the methods: aisle_perception.body_points).
#pragma once

#include <cstdint>
#include <vector>

#include "lens.hpp"

namespace aisle {

struct Ray {
    Vector3 origin, direction;  // m; of unit length
    double angular_deviation;   // rad
    double weight;              // 0: no ray, 1: full trust
};

struct Point {
    Vector3 position;
    Matrix3 covariance;
};

// The point that rays come nearest to, with a prior. `point_deviation` m: how far the cameras' idea of the point differs from view to view
// (a wrist is no mathematical point).
Point triangulate(const Ray* rays, int64_t count, const Point& prior, double point_deviation);

// aisle_perception.body_points.BodyPointConfig.
struct PointConfig {
    double keypoint_threshold, keypoint_deviation_px, point_deviation, point_memory_s, point_gate;
};

// Points of N persons with states `bodies` [N, 4] (x, y, vx, vy): `means` [3N, 6], `covariances` [3N, 6, 6], `seen_ns` [3N].
struct Points {
    int64_t persons;
    const double* bodies;
    double *means, *covariances;
    int64_t* seen_ns;
};

// Corrects the points by a slot's detections [M]: `cameras`, `ages` (s before `stamp_ns`), `keypoints` [M, 17, 3], and whom they show
// (-1: nobody).
void update_points(const Lenses& lenses, const PointConfig& config, const Points& points, int64_t detections, const int64_t* cameras,
                   const double* ages, const double* keypoints, const int64_t* whom, int64_t stamp_ns);

}  // namespace aisle
