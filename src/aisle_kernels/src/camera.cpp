#include "camera.hpp"

#include <algorithm>

namespace aisle {

namespace {

// Of a Jacobian's determinant.
constexpr double kLeast = 1e-9;

Vector2 load(const double* from, int64_t n) { return {from[2 * n], from[2 * n + 1]}; }

// NaN if either is.
double greatest(Vector2 v) { return std::abs(v.x) >= std::abs(v.y) || std::isnan(v.x) ? std::abs(v.x) : std::abs(v.y); }

}  // namespace

Vector2 Distortion::operator()(Vector2 point) const {
    const auto [x, y] = point;
    const double r2 = x * x + y * y, radial = 1.0 + r2 * (k1 + r2 * (k2 + r2 * k3));
    return {x * radial + 2.0 * p1 * x * y + p2 * (r2 + 2.0 * x * x), y * radial + p1 * (r2 + 2.0 * y * y) + 2.0 * p2 * x * y};
}

Matrix2 Distortion::slopes(Vector2 point) const {
    const auto [x, y] = point;
    const double r2 = x * x + y * y, radial = 1.0 + r2 * (k1 + r2 * (k2 + r2 * k3));
    const double slope = 2.0 * (k1 + r2 * (2.0 * k2 + 3.0 * k3 * r2)), both = slope * x * y + 2.0 * p1 * x + 2.0 * p2 * y;
    return {radial + slope * x * x + 2.0 * p1 * y + 6.0 * p2 * x, both, both, radial + slope * y * y + 6.0 * p1 * y + 2.0 * p2 * x};
}

bool Pinhole::sees(const double* point) const {
    const auto axis = [&](int i) {
        const double* m = from_store + 4 * i;
        return m[0] * point[0] + m[1] * point[1] + m[2] * point[2] + m[3];
    };
    const double x = axis(0), y = axis(1), depth = axis(2), farthest = widest * depth;
    if (!(depth > 1e-6 && x * x + y * y < farthest * farthest)) return false;
    const Vector2 shown = distortion({x / depth, y / depth});
    const double u = focal_x * shown.x + centre_x, v = focal_y * shown.y + centre_y;
    return u >= -0.5 && v >= -0.5 && u < width - 0.5 && v < height - 0.5;
}

void undistort(const Distortion& distortion, double widest, int64_t steps, double tolerance, int64_t count, const double* distorted,
               double* points) {
    for (int64_t step = 0; step < steps; ++step) {
        bool settled = true;
        for (int64_t n = 0; n < count && settled; ++n)
            settled = greatest(load(distorted, n) - distortion(load(points, n))) < tolerance * tolerance;
        if (settled) break;
        for (int64_t n = 0; n < count; ++n) {
            const Vector2 error = load(distorted, n) - distortion(load(points, n));
            const Matrix2 j = distortion.slopes(load(points, n));
            double determinant = j.xx * j.yy - j.xy * j.yx;
            if (std::abs(determinant) < kLeast) determinant = kLeast;
            const double x = points[2 * n] + (j.yy * error.x - j.xy * error.y) / determinant;
            const double y = points[2 * n + 1] + (j.xx * error.y - j.yx * error.x) / determinant;
            const double share = std::min(1.0, widest / std::max(std::hypot(x, y), 1e-12));
            points[2 * n] = x * share, points[2 * n + 1] = y * share;
        }
    }
    for (int64_t n = 0; n < count; ++n)
        if (!(greatest(distortion(load(points, n)) - load(distorted, n)) < tolerance)) points[2 * n] = points[2 * n + 1] = kNaN;
}

}  // namespace aisle
