#include "body_points.hpp"

namespace aisle {

namespace {

constexpr int kKeypoints = 17, kPoints = 3;
constexpr double kNanoseconds = 1e9;
constexpr int kRounds = 5;
// Scale of Cauchy's weights in standard deviations: a ray far off (a hand of somebody else, left taken for right) loses its say.
constexpr double kCauchy = 2.0;

// Head, left wrist, right wrist: their COCO keypoints, of which the first group that is wholly seen counts.
struct Group {
    int keypoints[3], count;
};
struct PointModel {
    Group groups[3];
    int count;
    // Where the point may be, given the body: height and greatest distance from the body's axis, m.
    double lowest, highest, farthest;
    // Prior given the body alone: height, m, and horizontal and vertical deviation.
    double height, across, upright;
};
constexpr PointModel kModels[kPoints] = {
    {{{{3, 4, 0}, 2}, {{1, 2, 0}, 2}, {{0, 3, 4}, 3}}, 3, 0.9, 2.1, 0.6, 1.57, 0.2, 0.25},
    {{{{9, 0, 0}, 1}, {{0, 0, 0}, 0}, {{0, 0, 0}, 0}}, 1, 0.0, 2.2, 0.9, 1.1, 0.3, 0.35},
    {{{{10, 0, 0}, 1}, {{0, 0, 0}, 0}, {{0, 0, 0}, 0}}, 1, 0.0, 2.2, 0.9, 1.1, 0.3, 0.35},
};
// Shares of the state in its covariance intersection with what the body says.
constexpr double kIntersectionWeights[] = {1.0, 0.9, 0.75, 0.6, 0.45, 0.3};
// A keypoint's deviation grows as its confidence falls below the first value, at most by the second as factor.
constexpr double kConfident = 0.7, kGreatestDoubt = 3.0;

struct Seen {
    Vector2 pixel;
    double confidence = 0.0;
};

Seen seen_in(const PointModel& model, const double* keypoints, double threshold) {
    for (int g = 0; g < model.count; ++g) {
        const Group& group = model.groups[g];
        Seen seen;
        bool whole = true;
        for (int k = 0; k < group.count && whole; ++k) {
            const double* point = keypoints + 3 * group.keypoints[k];
            whole = point[2] >= threshold;
            seen.pixel = seen.pixel + Vector2{point[0], point[1]};
            seen.confidence += point[2];
        }
        if (whole) return {{seen.pixel.x / group.count, seen.pixel.y / group.count}, seen.confidence / group.count};
    }
    return {};
}

bool plausible(const PointModel& model, Vector3 point, Vector2 body) {
    const double away = std::hypot(point.x - body.x, point.y - body.y);
    return point.z >= model.lowest && point.z <= model.highest && away <= model.farthest;
}

Point prior_of(const PointModel& model, Vector2 body) {
    const double across = model.across * model.across, upright = model.upright * model.upright;
    return {{body.x, body.y, model.height}, Matrix3::diagonal(across, across, upright)};
}

// Covariance intersection of estimates of which nobody knows how far they depend on one another (Julier, Uhlmann, A Non-divergent
// Estimation Algorithm in the Presence of Unknown Correlations, 1997); the weight of least trace.
Point intersected(const Point& first, const Point& second) {
    const Matrix3 one = inverse(first.covariance), other = inverse(second.covariance);
    Matrix3 best;
    double least = std::numeric_limits<double>::infinity(), share = 1.0;
    for (const double weight : kIntersectionWeights) {
        const Matrix3 spread = inverse(weight * one + (1.0 - weight) * other);
        if (spread.trace() < least) best = spread, least = spread.trace(), share = weight;
    }
    return {best * (share * (one * first.position) + (1.0 - share) * (other * second.position)), best};
}

// Mean [6] and covariance [6, 6] of a position and its velocity corrected by what the rays say. Where one camera alone sees a point, its
// depth must not wander off along the ray: the state is held to the body, and not by its product with the body's prior, because what the
// body says has been said in the slots before.
void correct(double* mean, double* covariance, const std::vector<Ray>& rays, const Point& body, double point_deviation) {
    Point state;
    state.position = {mean[0], mean[1], mean[2]};
    for (int i = 0; i < 3; ++i)
        for (int j = 0; j < 3; ++j) state.covariance.e[3 * i + j] = covariance[6 * i + j];
    const Point held = rays.size() == 1 ? intersected(state, body) : state;
    const Point found = triangulate(rays.data(), static_cast<int64_t>(rays.size()), held, point_deviation);
    // The rest of the state follows through its correlation with the position.
    const Matrix3 precision = inverse(state.covariance), gained = found.covariance - state.covariance;
    const Vector3 moved = found.position - state.position;
    double follow[18], half[18];
    for (int i = 0; i < 6; ++i) {
        for (int j = 0; j < 3; ++j) {
            follow[3 * i + j] = covariance[6 * i] * precision.e[j] + covariance[6 * i + 1] * precision.e[3 + j] +
                                covariance[6 * i + 2] * precision.e[6 + j];
        }
        mean[i] += follow[3 * i] * moved.x + follow[3 * i + 1] * moved.y + follow[3 * i + 2] * moved.z;
    }
    for (int i = 0; i < 6; ++i)
        for (int j = 0; j < 3; ++j)
            half[3 * i + j] =
                follow[3 * i] * gained.e[j] + follow[3 * i + 1] * gained.e[3 + j] + follow[3 * i + 2] * gained.e[6 + j];
    for (int i = 0; i < 6; ++i)
        for (int j = 0; j < 6; ++j)
            covariance[6 * i + j] +=
                half[3 * i] * follow[3 * j] + half[3 * i + 1] * follow[3 * j + 1] + half[3 * i + 2] * follow[3 * j + 2];
}

void begin(double* mean, double* covariance, const Point& measured) {
    for (int i = 0; i < 36; ++i) covariance[i] = i % 7 ? 0.0 : 1.0;
    for (int i = 0; i < 3; ++i)
        for (int j = 0; j < 3; ++j) covariance[6 * i + j] = measured.covariance.e[3 * i + j];
    mean[0] = measured.position.x, mean[1] = measured.position.y, mean[2] = measured.position.z;
    mean[3] = mean[4] = mean[5] = 0.0;
}

// Corrects one point by its rays; whether that could be done.
bool update_point(const PointModel& model, const PointConfig& config, Vector2 body, const std::vector<Ray>& rays, bool fresh, double* mean,
                  double* covariance) {
    const Point prior = prior_of(model, body);
    const Point measured = triangulate(rays.data(), static_cast<int64_t>(rays.size()), prior, config.point_deviation);
    Matrix3 spread = measured.covariance;
    for (int i = 0; i < 3; ++i)
        for (int j = 0; j < 3; ++j) spread.e[3 * i + j] += covariance[6 * i + j];
    const Vector3 off = measured.position - Vector3{mean[0], mean[1], mean[2]};
    const double distance = dot(off, inverse(spread) * off);
    // A hand may turn faster than the model expects: what several cameras agree on is believed, a single ray is not.
    const bool sudden = distance > config.point_gate, crossed = rays.size() > 1;
    if (sudden && crossed)
        for (int i = 0; i < 36; ++i) covariance[i] *= distance / config.point_gate;
    if (!plausible(model, measured.position, body)) return false;
    if (!fresh) {
        begin(mean, covariance, measured);
        return true;
    }
    if (sudden && !crossed) return false;
    correct(mean, covariance, rays, prior, config.point_deviation);
    return true;
}

}  // namespace

Point triangulate(const Ray* rays, int64_t count, const Point& prior, double point_deviation) {
    const Matrix3 known = inverse(prior.covariance);
    const Vector3 known_vector = known * prior.position;
    Point found = prior;
    std::vector<double> robust(static_cast<std::size_t>(count)), squared(static_cast<std::size_t>(count));
    for (int64_t k = 0; k < count; ++k) robust[k] = rays[k].weight;
    for (int round = 0; round <= kRounds; ++round) {
        Matrix3 information = known;
        Vector3 vector = known_vector;
        for (int64_t k = 0; k < count; ++k) {
            const Ray& ray = rays[k];
            const Vector3 offset = found.position - ray.origin;
            const double along = dot(ray.direction, offset);
            if (round) {
                // By the depth that the round before went by.
                squared[k] = (dot(offset, offset) - along * along) / squared[k];
                robust[k] = ray.weight / (1.0 + squared[k] / (kCauchy * kCauchy));
            }
            if (round == kRounds) continue;
            const double across = ray.angular_deviation * std::max(along, 0.1);
            const double variance = across * across + point_deviation * point_deviation;
            const Matrix3 plane = Matrix3::diagonal(1.0, 1.0, 1.0) - outer(ray.direction);
            const double weight = robust[k] / variance;
            information = information + weight * plane;
            vector = vector + weight * (plane * ray.origin);
            squared[k] = variance;
        }
        if (round == kRounds) break;
        found.covariance = inverse(information);
        found.position = found.covariance * vector;
    }
    // Rays that miss one another by more than their deviations say: the whole estimate is worse by that much.
    double misfit = 0.0, seen = 0.0;
    for (int64_t k = 0; k < count; ++k) {
        misfit += robust[k] * squared[k];
        seen += rays[k].weight != 0.0;
    }
    if (seen > 1.0) found.covariance = std::max(misfit / std::max(2.0 * seen - 3.0, 1.0), 1.0) * found.covariance;
    return found;
}

void update_points(const Lenses& lenses, const PointConfig& config, const Points& points, int64_t detections, const int64_t* cameras,
                   const double* ages, const double* keypoints, const int64_t* whom, int64_t stamp_ns) {
    std::vector<std::vector<Ray>> rays(static_cast<std::size_t>(kPoints * points.persons));
    for (int64_t m = 0; m < detections; ++m) {
        if (whom[m] < 0) continue;
        const int64_t camera = cameras[m];
        for (int p = 0; p < kPoints; ++p) {
            const Seen seen = seen_in(kModels[p], keypoints + 3 * kKeypoints * m, config.keypoint_threshold);
            if (!(seen.confidence > 0.0)) continue;
            const Vector3 ray = lenses.direction(camera, seen.pixel);
            const double length = std::sqrt(dot(ray, ray));
            if (!std::isfinite(length)) continue;
            const int64_t at = kPoints * whom[m] + p;
            const double* velocity = points.means + 6 * at + 3;
            const double doubt = std::min(std::max(kConfident / std::max(seen.confidence, 1e-9), 1.0), kGreatestDoubt);
            // Moved to the slot's stamp with the point.
            const Vector3 origin = lenses.position(camera) + ages[m] * Vector3{velocity[0], velocity[1], velocity[2]};
            const double deviation = config.keypoint_deviation_px * doubt / lenses.focal_px[camera];
            rays[at].push_back({origin, {ray.x / length, ray.y / length, ray.z / length}, deviation, 1.0});
        }
    }
    const double memory_ns = config.point_memory_s * kNanoseconds;
    for (int64_t at = 0; at < kPoints * points.persons; ++at) {
        const PointModel& model = kModels[at % kPoints];
        const double* body = points.bodies + 4 * (at / kPoints);
        double* mean = points.means + 6 * at;
        int64_t& seen_ns = points.seen_ns[at];
        const bool fresh = seen_ns >= 0 && static_cast<double>(stamp_ns - seen_ns) <= memory_ns;
        if (!rays[at].empty() && update_point(model, config, {body[0], body[1]}, rays[at], fresh, mean, points.covariances + 36 * at))
            seen_ns = stamp_ns;
        if (!plausible(model, {mean[0], mean[1], mean[2]}, {body[0], body[1]})) seen_ns = -1;
    }
}

}  // namespace aisle
