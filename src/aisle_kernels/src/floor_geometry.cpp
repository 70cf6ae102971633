#include "floor_geometry.hpp"

#include <algorithm>
#include <cmath>
#include <limits>

namespace aisle {

// Signed distance by the crossing number and the nearest edge (O'Rourke, Computational Geometry in C, 7.4).
void inside_polygon(int64_t corners, const double* polygon, int64_t points, const double* positions, const double* margins, bool* inside) {
    for (int64_t n = 0; n < points; ++n) {
        const double x = positions[2 * n], y = positions[2 * n + 1];
        bool within = false;
        double nearest = std::numeric_limits<double>::infinity();
        for (int64_t k = 0; k < corners; ++k) {
            const double *start = polygon + 2 * k, *end = polygon + 2 * ((k + 1) % corners);
            const double edge_x = end[0] - start[0], edge_y = end[1] - start[1];
            if ((start[1] > y) != (end[1] > y) && x < start[0] + (y - start[1]) * edge_x / edge_y) within = !within;
            const double length2 = std::max(edge_x * edge_x + edge_y * edge_y, 1e-12);
            const double along = std::min(std::max(((x - start[0]) * edge_x + (y - start[1]) * edge_y) / length2, 0.0), 1.0);
            const double off_x = x - (start[0] + along * edge_x), off_y = y - (start[1] + along * edge_y);
            nearest = std::min(nearest, off_x * off_x + off_y * off_y);
        }
        const double distance = std::sqrt(nearest);
        inside[n] = (within ? distance : -distance) >= -margins[n];
    }
}

void near_lines(int64_t lines, const double* starts, const double* spans, double reach, int64_t points, const double* positions, bool* near) {
    for (int64_t n = 0; n < points; ++n) {
        near[n] = false;
        for (int64_t k = 0; k < lines && !near[n]; ++k) {
            const double span_x = spans[2 * k], span_y = spans[2 * k + 1];
            double x = positions[2 * n] - starts[2 * k], y = positions[2 * n + 1] - starts[2 * k + 1];
            const double length2 = std::max(span_x * span_x + span_y * span_y, 1e-12);
            const double share = std::min(std::max((x * span_x + y * span_y) / length2, 0.0), 1.0);
            x -= share * span_x, y -= share * span_y;
            near[n] = x * x + y * y <= reach * reach;
        }
    }
}

bool hidden(const double* eye, int64_t person, int64_t persons, const double* positions, double radius) {
    const double x = positions[2 * person] - eye[0], y = positions[2 * person + 1] - eye[1];
    const double length = std::max(std::sqrt(x * x + y * y), 1e-6);
    for (int64_t other = 0; other < persons; ++other) {
        const double other_x = positions[2 * other] - eye[0], other_y = positions[2 * other + 1] - eye[1];
        const double along = (x * other_x + y * other_y) / length, across = std::abs(x * other_y - y * other_x) / length;
        if (along > 0.0 && along < length - radius && across < radius) return true;
    }
    return false;
}

void predict(int64_t states, int64_t axes, double dt_s, double density, double* means, double* covariances) {
    const int64_t size = 2 * axes;
    const double place = density * dt_s * dt_s * dt_s / 3, both = density * dt_s * dt_s / 2, velocity = density * dt_s;
    for (int64_t n = 0; n < states; ++n) {
        double* mean = means + size * n;
        double* covariance = covariances + size * size * n;
        for (int64_t i = 0; i < axes; ++i) mean[i] += dt_s * mean[axes + i];
        // Rows of positions take up those of velocities, then columns do.
        for (int64_t i = 0; i < axes; ++i)
            for (int64_t j = 0; j < size; ++j) covariance[size * i + j] += dt_s * covariance[size * (axes + i) + j];
        for (int64_t i = 0; i < size; ++i)
            for (int64_t j = 0; j < axes; ++j) covariance[size * i + j] += dt_s * covariance[size * i + axes + j];
        for (int64_t i = 0; i < axes; ++i) {
            covariance[size * i + i] += place;
            covariance[size * i + axes + i] += both;
            covariance[size * (axes + i) + i] += both;
            covariance[size * (axes + i) + axes + i] += velocity;
        }
    }
}

}  // namespace aisle
