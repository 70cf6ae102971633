#include "floor_projection.hpp"

#include <array>

namespace aisle {

namespace {

constexpr int kKeypoints = 17;

// `height`: share of the stature; deviations in metres of the level's height and of its horizontal place relative to the axis, the latter
// when both of a pair of keypoints are seen and when only one is.
struct Level {
    std::array<int, 5> keypoints;
    int count;
    double height, height_deviation, pair_deviation, single_deviation;
};

// COCO keypoints by level. Deviations allow for strides, leaning and nodding.
constexpr Level kLevels[] = {
    {{15, 16}, 2, 0.045, 0.04, 0.08, 0.14},
    {{13, 14}, 2, 0.285, 0.05, 0.10, 0.14},
    {{11, 12}, 2, 0.530, 0.05, 0.07, 0.11},
    {{5, 6}, 2, 0.815, 0.06, 0.09, 0.20},
    {{0, 1, 2, 3, 4}, 5, 0.925, 0.07, 0.14, 0.16},
};
constexpr int kMostLevels = 5;
// Feet and the head's middle at a box's edges; the trunk is what is seen of a person when the box is cut off above and below.
constexpr Level kBoxLevels[] = {
    {{}, 0, 0.0, 0.02, 0.10, 0.10},
    {{}, 0, 0.925, 0.05, 0.12, 0.12},
    {{}, 0, 0.60, 0.35, 0.15, 0.15},
};
// The lowest pixel of a person is the near end of the nearer shoe, this much nearer to the camera than the body's axis, m: shoes of
// 0.28 m x 0.10 m that stand 0.24 m apart reach 0.20 m far on average over all directions.
constexpr double kShoeM = 0.20;
// The highest pixel is where the ray touches the head, a ball of this radius, m.
constexpr double kHeadRadiusM = 0.12;
// A box edge cut off by the left or right border leaves the middle of the person open by this share of the box's width.
constexpr double kCutSideShare = 0.35;
// The other end of a box that the border cuts off above or below is less certain by this share of the box's height.
constexpr double kCutEndShare = 0.07;
// A body's outline: heights as shares of the stature and half widths as shares of the body's width at some of them.
constexpr int kOutlinePoints = 13;
constexpr double kOutlineTop = 0.98;
constexpr double kHeightsOfWidths[] = {0.0, 0.28, 0.45, 0.60, 0.72, 0.82, 0.87};
constexpr double kHalfWidths[] = {0.33, 0.36, 0.48, 0.5, 0.5, 0.42, 0.2};
// Nearer to the camera's plane nothing is projected, m; and where a step to the side moves the image's u less than this, the sides of a
// box say nothing of it (a camera that looks straight down on somebody).
constexpr double kNearestM = 0.2, kLeastRate = 0.3;
// How often somebody reaches out, how wide boxes get by that at most, m, and how often both sides of a box are equally wrong.
constexpr double kReaching = 0.3, kFarthestReachM = 0.8, kBothSides = 0.02;
// Boxes of successive frames are wrong in the same way: each says less than it would alone, its covariance is greater by this.
constexpr double kSameAgain = 2.5;
// A keypoint's deviation grows as its confidence falls below the first value, at most by the second as factor.
constexpr double kConfident = 0.7, kGreatestDoubt = 3.0;
// What the border leaves of a person seen from above (rays with less run per fall) or from the side may be an arm; the body, m, is off.
constexpr double kCutM = 0.4, kSteep = 0.7;
// Rays flatter than this (fall per length) meet the floor too far away to say anything.
constexpr double kFlattest = 0.03;
constexpr double kFarthestM = 40.0;
// Huber's constant for levels that disagree with the others (a crouching person's head, a foot hidden by furniture).
constexpr double kHuber = 1.5;
constexpr double kStepPx = 1.0;
constexpr double kUseless = 1e-9;
constexpr double kPi = 3.14159265358979323846;

// A level as a camera sees it: its slope g = d_xy / d_z and what that changes by per pixel along u and v; deviations in px, and in metres
// that of the level's horizontal place. What is seen lies `shift` m beside the level and `lift` m above it. `bound`: 1 where the level is
// known to be no nearer to the camera than this, -1 where no farther, 0 where nothing of the kind is known.
struct Sight {
    Vector2 slope, by_u, by_v;
    double deviation_u = 0.0, deviation_v = 0.0, offset_deviation = 0.0;
    bool seen = false;
    Vector2 shift;
    double lift = 0.0, bound = 0.0;

    bool finite() const { return std::isfinite(slope.x + slope.y + by_u.x + by_u.y + by_v.x + by_v.y); }
};

Vector2 slope_of(Vector3 ray) {
    const double fall = -ray.z;
    // Written so that it is false for NaN.
    if (!(fall > kFlattest * std::sqrt(dot(ray, ray)))) return {kNaN, kNaN};
    return {-ray.x / fall, -ray.y / fall};
}

void look_at(const Lenses& lenses, int64_t camera, Vector2 pixel, Sight& sight) {
    // Derivatives numerically: a lens has no simple closed form.
    const Vector2 here = slope_of(lenses.direction(camera, pixel));
    const Vector2 right = slope_of(lenses.direction(camera, {pixel.x + kStepPx, pixel.y}));
    const Vector2 below = slope_of(lenses.direction(camera, {pixel.x, pixel.y + kStepPx}));
    sight.slope = here;
    sight.by_u = (1.0 / kStepPx) * (right - here);
    sight.by_v = (1.0 / kStepPx) * (below - here);
}

bool by_keypoints(const Body& body, const double* keypoints) {
    for (int k = 0; k < kKeypoints; ++k)
        if (keypoints[3 * k + 2] >= body.keypoint_threshold) return true;
    return false;
}

void see_keypoints(const Lenses& lenses, const Body& body, int64_t camera, const double* keypoints, Sight* sights) {
    for (int l = 0; l < kMostLevels; ++l) {
        const Level& level = kLevels[l];
        double sum = 0.0, greatest = 0.0;
        Vector2 middle;
        int number = 0;
        for (int k = 0; k < level.count; ++k) {
            const double* point = keypoints + 3 * level.keypoints[k];
            if (!(point[2] >= body.keypoint_threshold) || point[2] == 0.0) continue;
            middle = middle + point[2] * Vector2{point[0], point[1]};
            sum += point[2];
            greatest = std::max(greatest, point[2]);
            ++number;
        }
        Sight& sight = sights[l];
        if (!number) continue;
        look_at(lenses, camera, {middle.x / sum, middle.y / sum}, sight);
        const double doubt = std::min(std::max(kConfident / greatest, 1.0), kGreatestDoubt);
        sight.deviation_u = sight.deviation_v = body.keypoint_deviation_px * doubt;
        sight.offset_deviation = number >= 2 ? level.pair_deviation : level.single_deviation;
        sight.seen = true;
    }
}

// The slope of the body's axis in an image row. The vertical plane through the camera and the box's middle holds the axis; its ray in a row
// is d + b * down, with d the ray through the middle's column `u` in the middle's row.
Vector2 axis_slope(const Lenses& lenses, int64_t camera, double u, double middle_v, double row) {
    const Vector2 start = lenses.normalised(camera, {u, middle_v});
    const double wanted = lenses.normalised(camera, {u, row}).y;
    const double* r = lenses.rotation(camera);
    const double along = (wanted - start.y) / (-r[7] + wanted * r[8]);
    Vector3 ray = lenses.turned(camera, start);
    ray.z -= along;
    return slope_of(ray);
}

void see_box(const Lenses& lenses, const Body& body, int64_t camera, const double* box, Sight* sights) {
    const double left = box[0], top = box[1], right = box[2], bottom = box[3];
    const double width = lenses.sizes[2 * camera], height = lenses.sizes[2 * camera + 1];
    const bool cut_side = left <= body.border_px || right >= width - 1 - body.border_px;
    const bool cut_top = top <= body.border_px, cut_bottom = bottom >= height - 1 - body.border_px;
    const double deviation_u =
        std::hypot(body.box_deviation_px, (right - left) * (body.box_deviation_share + (cut_side ? kCutSideShare : 0.0)));
    const double deviation_v =
        std::hypot(body.box_deviation_px, (bottom - top) * (body.box_deviation_share + (cut_top || cut_bottom ? kCutEndShare : 0.0)));
    const Vector2 middle{(left + right) / 2, (top + bottom) / 2};
    const double rows[3] = {bottom, top, middle.y};
    const bool seen[3] = {!cut_bottom, !cut_top, cut_top && cut_bottom};
    const double bound[3] = {cut_bottom ? -1.0 : 0.0, cut_top ? 1.0 : 0.0, 0.0};
    double run[3];
    for (int l = 0; l < 3; ++l) {
        Sight& sight = sights[l];
        const Vector2 here = axis_slope(lenses, camera, middle.x, middle.y, rows[l]);
        sight.slope = here;
        sight.by_u = (1.0 / kStepPx) * (axis_slope(lenses, camera, middle.x + kStepPx, middle.y, rows[l]) - here);
        sight.by_v = (1.0 / kStepPx) * (axis_slope(lenses, camera, middle.x, middle.y, rows[l] + kStepPx) - here);
        sight.deviation_u = deviation_u;
        sight.deviation_v = deviation_v;
        sight.seen = seen[l];
        sight.bound = bound[l];
        run[l] = std::sqrt(dot(here, here));
    }
    // Of levels whose ray does not fall all this is not finite and not used.
    sights[0].shift = (-kShoeM / std::max(run[0], 1e-9)) * sights[0].slope;
    // The ray touches the head above its middle and, the steeper it falls, behind it.
    const double length = std::hypot(run[1], 1.0);
    sights[1].shift = (kHeadRadiusM / length / std::max(run[1], 1e-9)) * sights[1].slope;
    sights[1].lift = kHeadRadiusM * run[1] / length;
    const bool partial = cut_side || ((cut_top || cut_bottom) && run[2] < kSteep);
    for (int l = 0; l < 3; ++l) sights[l].offset_deviation = std::hypot(kBoxLevels[l].single_deviation, partial ? kCutM : 0.0);
}

// A level on the floor: `place` + s * `leaning` (s: stature) with `precision`.
struct Trace {
    Vector2 place, leaning;
    Matrix2 precision;
    bool used = false;
};

// Least squares of the levels with `weights`: information and vector on (x, y, s).
Gaussian3 solved(const Trace* traces, const double* weights, int levels) {
    Gaussian3 sum;
    double* e = sum.information.e;
    for (int l = 0; l < levels; ++l) {
        if (!traces[l].used || weights[l] == 0.0) continue;
        const Matrix2 p = weights[l] * traces[l].precision;
        const Vector2 leaning = traces[l].leaning, pulled = p * leaning, pointed = p * traces[l].place;
        e[0] += p.xx, e[1] += p.xy, e[2] += pulled.x;
        e[3] += p.yx, e[4] += p.yy, e[5] += pulled.y;
        e[8] += dot(leaning, pulled);
        sum.vector = sum.vector + Vector3{pointed.x, pointed.y, dot(leaning, pointed)};
    }
    e[6] = e[2], e[7] = e[5];
    return sum;
}

// How far the levels' places are from what the least squares of all of them expect.
void find_misfits(const Trace* traces, const double* weights, int levels, double stature_variance, Vector2* misfits) {
    const Gaussian3 expected = solved(traces, weights, levels);
    const Matrix3 prior = Matrix3::diagonal(kUseless, kUseless, 1.0 / stature_variance);
    const Vector3 solution = inverse(expected.information + prior) * (expected.vector + Vector3{0.0, 0.0, 1.0 / stature_variance});
    for (int l = 0; l < levels; ++l)
        misfits[l] = traces[l].place - Vector2{solution.x, solution.y} - solution.z * traces[l].leaning;
}

// What the levels of a person say, those that disagree with the others with less weight; `any`: whether there is anything.
Gaussian3 solve(const Lenses& lenses, const Body& body, int64_t camera, const Level* levels, const Sight* sights, int count, bool& any) {
    Trace traces[kMostLevels];
    double weights[kMostLevels] = {0.0};
    const Vector3 at = lenses.position(camera);
    bool bounded = false;
    for (int l = 0; l < count; ++l) {
        const Sight& sight = sights[l];
        if (!sight.finite() || !(sight.seen || sight.bound != 0.0)) continue;
        Trace& trace = traces[l];
        const double height = body.stature * levels[l].height, fall = at.z - sight.lift, reach = height - fall;
        const double offset = sight.offset_deviation * sight.offset_deviation;
        const Matrix2 noise = outer((reach * sight.deviation_u) * sight.by_u) + outer((reach * sight.deviation_v) * sight.by_v) +
                              outer(levels[l].height_deviation * sight.slope) + Matrix2{offset, 0.0, 0.0, offset};
        trace.place = Vector2{at.x, at.y} - fall * sight.slope + sight.shift;
        trace.leaning = -height * sight.slope;
        trace.precision = inverse(noise);
        trace.used = true;
        weights[l] = sight.seen ? 1.0 : 0.0;
        bounded |= sight.bound != 0.0;
    }
    Vector2 misfits[kMostLevels];
    find_misfits(traces, weights, count, body.stature_variance, misfits);
    if (bounded) {
        // An edge that the border cuts off is a bound: what is hidden there cannot be inside the image.
        for (int l = 0; l < count; ++l)
            if (traces[l].used && sights[l].bound * dot(misfits[l], sights[l].slope) < 0.0) weights[l] = 1.0;
        find_misfits(traces, weights, count, body.stature_variance, misfits);
    }
    double contradiction = 0.0, seen = 0.0;
    for (int l = 0; l < count; ++l) {
        if (weights[l] == 0.0) continue;
        seen += 1.0;
        const double squared = dot(misfits[l], traces[l].precision * misfits[l]);
        weights[l] = std::min(1.0, kHuber / std::max(std::sqrt(squared), kHuber));
        contradiction += weights[l] * squared;
    }
    any = seen > 0.0;
    // Levels that contradict one another make the whole worse: an arm below the body, say, taken for feet.
    contradiction = std::max(contradiction / std::max(2.0 * seen - 2.0, 1.0), 1.0);
    for (double& weight : weights) weight /= contradiction;
    return solved(traces, weights, count);
}

double half_width(double height) {
    int i = 0;
    const int last = static_cast<int>(std::size(kHalfWidths)) - 1;
    if (height >= kHeightsOfWidths[last]) return kHalfWidths[last];
    while (height >= kHeightsOfWidths[i + 1]) ++i;
    const double share = (height - kHeightsOfWidths[i]) / (kHeightsOfWidths[i + 1] - kHeightsOfWidths[i]);
    return kHalfWidths[i] + share * (kHalfWidths[i + 1] - kHalfWidths[i]);
}

struct SideMisfits {
    double by_left = 0.0, by_right = 0.0;
    Vector2 sideways;
};

// How far a body at `position` would have to step to the right, m, for its left and for its right side to agree with the box's sides, and
// that direction on the floor. Only what lies in the box's rows counts; 0 where that is nothing.
SideMisfits side_misfits(const Lenses& lenses, const Body& body, int64_t camera, const double* box, Vector2 position) {
    const Vector3 at = lenses.position(camera);
    const double* r = lenses.rotation(camera);
    const Vector2 sight = position - Vector2{at.x, at.y};
    SideMisfits found;
    found.sideways = (1.0 / std::max(std::sqrt(dot(sight, sight)), 1e-9)) * Vector2{sight.y, -sight.x};
    const Vector2 middle{(box[0] + box[2]) / 2, (box[1] + box[3]) / 2};
    const double left = lenses.normalised(camera, {box[0], middle.y}).x, right = lenses.normalised(camera, {box[2], middle.y}).x;
    const double top = lenses.normalised(camera, {middle.x, box[1]}).y, bottom = lenses.normalised(camera, {middle.x, box[3]}).y;
    double lowest = std::numeric_limits<double>::infinity(), highest = -lowest, depths = 0.0;
    for (int l = 0; l < kOutlinePoints; ++l) {
        const double height = kOutlineTop * l / (kOutlinePoints - 1);
        const double half = body.body_width * half_width(height);
        for (const double side : {-half, half}) {
            const double x = position.x + side * found.sideways.x - at.x, y = position.y + side * found.sideways.y - at.y;
            const double z = body.stature * height - at.z;
            const double depth = x * r[2] + y * r[5] + z * r[8];
            depths += depth;
            if (!(depth > kNearestM)) continue;
            const double row = (x * r[1] + y * r[4] + z * r[7]) / depth;
            if (!(row >= top && row <= bottom)) continue;
            const double column = (x * r[0] + y * r[3] + z * r[6]) / depth;
            lowest = std::min(lowest, column);
            highest = std::max(highest, column);
        }
    }
    const double centre = (lowest + highest) / 2;
    // A step to the right moves a point of the image by this much.
    const double turned_x = found.sideways.x * r[0] + found.sideways.y * r[3], turned_z = found.sideways.x * r[2] + found.sideways.y * r[5];
    const double rate = turned_x - centre * turned_z;
    if (std::isfinite(centre) && rate > kLeastRate) {
        const double metres = depths / (2 * kOutlinePoints) / rate;
        found.by_left = (left - lowest) * metres;
        found.by_right = (right - highest) * metres;
        if (!std::isfinite(found.by_left)) found.by_left = 0.0;
        if (!std::isfinite(found.by_right)) found.by_right = 0.0;
    }
    return found;
}

// Moves the place so that the outline of a body there agrees with the box's sides, and says what else would explain them.
void fit_sides(const Lenses& lenses, const Body& body, int64_t camera, const double* box, FloorPoint& point) {
    const Vector2 position = located(point.evidence, 1.0, body.stature_variance).position;
    SideMisfits found = side_misfits(lenses, body, camera, box, position);
    const bool cut_left = box[0] <= body.border_px, cut_right = box[2] >= lenses.sizes[2 * camera] - 1 - body.border_px;
    if (cut_left && !cut_right) found.by_left = found.by_right;
    if (cut_right && !cut_left) found.by_right = found.by_left;
    const double middle = std::min(std::max((found.by_left + found.by_right) / 2, -kFarthestReachM), kFarthestReachM);
    const double excess = std::min(std::max(found.by_right - found.by_left, 0.0), 2 * kFarthestReachM);
    const double deviation = body.body_width_deviation, off = excess / deviation;
    const double plain = (1.0 - kReaching) * std::exp(-0.5 * off * off) / (std::sqrt(2 * kPi) * deviation);
    const double one_side = excess > 0.0 ? kReaching / (2.0 * kFarthestReachM) : 0.0;
    const double sum = plain + kBothSides + one_side + one_side;
    const Vector3 moved = point.evidence.information * (middle * found.sideways);
    point.shares[0] = (plain + kBothSides) / sum;
    point.shares[1] = point.shares[2] = one_side / sum;
    point.evidence = {(1.0 / kSameAgain) * point.evidence.information, (1.0 / kSameAgain) * (point.evidence.vector + moved)};
    point.reach = (excess / 2) * found.sideways;
}

}  // namespace

FloorPoint on_floor(const Lenses& lenses, const Body& body, int64_t camera, const double* box, const double* keypoints) {
    Sight sights[kMostLevels];
    FloorPoint point;
    point.shares[0] = 1.0, point.shares[1] = point.shares[2] = 0.0;
    if (by_keypoints(body, keypoints)) {
        see_keypoints(lenses, body, camera, keypoints, sights);
        point.evidence = solve(lenses, body, camera, kLevels, sights, kMostLevels, point.valid);
    } else {
        see_box(lenses, body, camera, box, sights);
        point.evidence = solve(lenses, body, camera, kBoxLevels, sights, 3, point.valid);
        fit_sides(lenses, body, camera, box, point);
    }
    point.placed = located(merged(point.evidence, point.reach, point.shares), 1.0, body.stature_variance);
    const Vector3 at = lenses.position(camera);
    point.valid = point.valid && std::hypot(point.placed.position.x - at.x, point.placed.position.y - at.y) <= kFarthestM;
    return point;
}

}  // namespace aisle
