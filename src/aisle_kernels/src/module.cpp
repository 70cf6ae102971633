// The Python module: takes arrays as buffers, so that it needs no NumPy to be built and fits every version of it.
#include "arguments.hpp"

#include <memory>
#include <utility>
#include <vector>

#include "bag_calls.hpp"
#include "body_evidence.hpp"
#include "body_points.hpp"
#include "camera.hpp"
#include "event_calls.hpp"
#include "floor_geometry.hpp"
#include "floor_projection.hpp"
#include "frames.hpp"
#include "people_calls.hpp"
#include "record_calls.hpp"
#include "shelf_calls.hpp"

namespace {

using namespace aisle;

struct HeldLenses {
    static constexpr const char* kName = "aisle_kernels.lenses";

    Lenses lenses;
    int64_t cameras;
};

const HeldLenses& held_lenses(PyObject* handle) { return Held<HeldLenses>::of(handle); }

PyObject* lenses(Values values, Py_ssize_t count) {
    auto held = std::make_unique<Held<HeldLenses>>("lenses", values, count, 9);
    Arguments& arguments = held->arguments();
    const int64_t rows = arguments.integer(), columns = arguments.integer();
    const double step_px = arguments.number(), border_px = arguments.number();
    const int64_t cameras = arguments.rows(3 * sizeof(double));
    const double* positions = arguments.in<double>(3 * cameras);
    const double* rotations = arguments.in<double>(9 * cameras);
    const double* sizes = arguments.in<double>(2 * cameras);
    const double* focal_px = arguments.in<double>(cameras);
    const double* table = arguments.in<double>(2 * cameras * rows * columns);
    held->content = {{table, positions, rotations, sizes, focal_px, rows, columns, step_px, border_px}, cameras};
    return Held<HeldLenses>::handle(std::move(held));
}

PyObject* directions(Values values, Py_ssize_t given) {
    Arguments arguments("directions", values, given, 4);
    const HeldLenses& held = held_lenses(arguments.object());
    const int64_t count = arguments.rows(sizeof(int64_t));
    const int64_t* cameras = arguments.places(count, held.cameras);
    const double* pixels = arguments.in<double>(2 * count);
    double* results = arguments.out<double>(3 * count);
    for (int64_t m = 0; m < count; ++m) {
        const Vector3 ray = held.lenses.direction(cameras[m], {pixels[2 * m], pixels[2 * m + 1]});
        results[3 * m] = ray.x, results[3 * m + 1] = ray.y, results[3 * m + 2] = ray.z;
    }
    Py_RETURN_NONE;
}

Body body_of(Arguments& arguments) {
    const double* b = arguments.in<double>(9);
    return {b[0], b[1], b[2], b[3], b[4], b[5], b[6], b[7], b[8]};
}

// Where detections on the floor are written to.
struct FloorPoints {
    FloorPoints(Arguments& arguments, int64_t count)
        : positions(arguments.out<double>(2 * count)),
          covariances(arguments.out<double>(4 * count)),
          information(arguments.out<double>(9 * count)),
          vector(arguments.out<double>(3 * count)),
          reach(arguments.out<double>(2 * count)),
          shares(arguments.out<double>(3 * count)) {}

    void store(const FloorPoint& point, int64_t m) const {
        positions[2 * m] = point.placed.position.x, positions[2 * m + 1] = point.placed.position.y;
        const Matrix2& c = point.placed.covariance;
        covariances[4 * m] = c.xx, covariances[4 * m + 1] = c.xy, covariances[4 * m + 2] = c.yx, covariances[4 * m + 3] = c.yy;
        point.evidence.information.store(information + 9 * m);
        const Vector3& v = point.evidence.vector;
        vector[3 * m] = v.x, vector[3 * m + 1] = v.y, vector[3 * m + 2] = v.z;
        reach[2 * m] = point.reach.x, reach[2 * m + 1] = point.reach.y;
        for (int h = 0; h < 3; ++h) shares[3 * m + h] = point.shares[h];
    }

    double *positions, *covariances, *information, *vector, *reach, *shares;
};

PyObject* project(Values values, Py_ssize_t given) {
    Arguments arguments("project", values, given, 12);
    const HeldLenses& held = held_lenses(arguments.object());
    const Body body = body_of(arguments);
    const int64_t count = arguments.rows(sizeof(int64_t));
    const int64_t* cameras = arguments.places(count, held.cameras);
    const double* boxes = arguments.in<double>(4 * count);
    const double* keypoints = arguments.in<double>(51 * count);
    bool* valid = arguments.out<bool>(count);
    const FloorPoints results(arguments, count);
    for (int64_t m = 0; m < count; ++m) {
        const FloorPoint point = on_floor(held.lenses, body, cameras[m], boxes + 4 * m, keypoints + 51 * m);
        valid[m] = point.valid;
        results.store(point, m);
    }
    Py_RETURN_NONE;
}

PyObject* detections(Values values, Py_ssize_t given) {
    Arguments arguments("detections", values, given, 16);
    const HeldLenses& held = held_lenses(arguments.object());
    const Body body = body_of(arguments);
    const double least_score = arguments.number(), margin = arguments.number();
    const int64_t corners = arguments.rows(2 * sizeof(double));
    const double* polygon = arguments.in<double>(2 * corners);
    PyObject* frames = arguments.object();
    const int64_t room = arguments.rows(sizeof(int64_t));
    int64_t* numbers = arguments.out<int64_t>(room);
    int64_t* cameras = arguments.out<int64_t>(room);
    double* ages = arguments.out<double>(room);
    double* keypoints = arguments.out<double>(51 * room);
    const FloorPoints results(arguments, room);
    int64_t seen = 0, kept = 0;
    for (Py_ssize_t f = 0; f < PyObject_Length(frames); ++f) {
        const std::unique_ptr<PyObject, void (*)(PyObject*)> tuple(PySequence_GetItem(frames, f), [](PyObject* o) { Py_XDECREF(o); });
        if (!tuple) throw PythonError{};
        const Frame frame(tuple.get());
        if (frame.camera < 0 || frame.camera >= held.cameras || seen + frame.count() > room) {
            PyErr_SetString(PyExc_IndexError, "detections: a frame of no such camera, or more detections than there is room for");
            throw PythonError{};
        }
        for (int64_t person = 0; person < frame.count(); ++person, ++seen) {
            if (!(frame.score(person) >= least_score)) continue;
            double box[Frame::kBox];
            double* points = keypoints + 51 * kept;
            frame.read_box(person, box);
            frame.read_keypoints(person, points);
            const FloorPoint point = on_floor(held.lenses, body, frame.camera, box, points);
            const double position[2] = {point.placed.position.x, point.placed.position.y};
            const double slack = margin + 2.0 * greatest_deviation(point.placed.covariance);
            bool inside = point.valid;
            if (inside) aisle::inside_polygon(corners, polygon, 1, position, &slack, &inside);
            if (!inside) continue;
            numbers[kept] = seen, cameras[kept] = frame.camera, ages[kept] = frame.age;
            results.store(point, kept++);
        }
    }
    if (PyErr_Occurred()) throw PythonError{};
    return PyLong_FromLongLong(kept);
}

PyObject* merged(Values values, Py_ssize_t given) {
    Arguments arguments("merged", values, given, 6);
    const int64_t count = arguments.rows(9 * sizeof(double));
    const double* information = arguments.in<double>(9 * count);
    const double* vector = arguments.in<double>(3 * count);
    const double* reach = arguments.in<double>(2 * count);
    const double* shares = arguments.in<double>(3 * count);
    double* merged_information = arguments.out<double>(9 * count);
    double* merged_vector = arguments.out<double>(3 * count);
    for (int64_t m = 0; m < count; ++m) {
        const Gaussian3 own{Matrix3::load(information + 9 * m), {vector[3 * m], vector[3 * m + 1], vector[3 * m + 2]}};
        const Gaussian3 one = aisle::merged(own, {reach[2 * m], reach[2 * m + 1]}, shares + 3 * m);
        one.information.store(merged_information + 9 * m);
        merged_vector[3 * m] = one.vector.x, merged_vector[3 * m + 1] = one.vector.y, merged_vector[3 * m + 2] = one.vector.z;
    }
    Py_RETURN_NONE;
}

PyObject* settled_shares(Values values, Py_ssize_t given) {
    Arguments arguments("settled_shares", values, given, 7);
    const int64_t persons = arguments.rows(9 * sizeof(double));
    const double* expected_information = arguments.in<double>(9 * persons);
    const double* expected_vector = arguments.in<double>(3 * persons);
    const int64_t count = arguments.rows(sizeof(int64_t));
    const int64_t* whose = arguments.places(count, persons);
    const double* information = arguments.in<double>(9 * count);
    const double* vector = arguments.in<double>(3 * count);
    const double* reach = arguments.in<double>(2 * count);
    double* shares = arguments.out<double>(3 * count);
    aisle::settled_shares(count, information, vector, reach, shares, whose, persons, expected_information, expected_vector);
    Py_RETURN_NONE;
}

PyObject* trust(Values values, Py_ssize_t given) {
    Arguments arguments("trust", values, given, 6);
    const int64_t persons = arguments.rows(4 * sizeof(double));
    const double* places = arguments.in<double>(4 * persons);
    const double* means = arguments.in<double>(2 * persons);
    const int64_t count = arguments.rows(sizeof(int64_t));
    const int64_t* whose = arguments.places(count, persons);
    const double* positions = arguments.in<double>(2 * count);
    const double* spreads = arguments.in<double>(4 * count);
    double* weights = arguments.out<double>(count);
    aisle::trust(count, positions, spreads, whose, persons, places, means, weights);
    Py_RETURN_NONE;
}

PyObject* fuse(Values values, Py_ssize_t given) {
    Arguments arguments("fuse", values, given, 6);
    const int64_t persons = arguments.rows(4 * sizeof(double));
    double* means = arguments.out<double>(4 * persons);
    double* covariances = arguments.out<double>(16 * persons);
    const int64_t count = arguments.rows(sizeof(int64_t));
    const int64_t* whose = arguments.places(count, persons);
    const double* positions = arguments.in<double>(2 * count);
    const double* ages = arguments.in<double>(count);
    const double* precisions = arguments.in<double>(4 * count);
    if (!aisle::fuse(persons, means, covariances, count, whose, positions, ages, precisions)) {
        PyErr_SetString(PyExc_ArithmeticError, "fuse: a covariance is singular");
        throw PythonError{};
    }
    Py_RETURN_NONE;
}

// Detections without those that show nobody.
class Shown {
public:
    explicit Shown(const Evidence& all) {
        for (int64_t m = 0; m < all.detections; ++m) {
            if (all.whose[m] < 0) continue;
            whose_.push_back(all.whose[m]);
            for (const auto& [from, to, size] : {Part{all.ages, &ages_, 1}, Part{all.information, &information_, 9},
                                                 Part{all.vector, &vector_, 3}, Part{all.reach, &reach_, 2}, Part{all.shares, &shares_, 3}})
                to->insert(to->end(), from + size * m, from + size * (m + 1));
        }
        const int64_t count = static_cast<int64_t>(whose_.size());
        evidence = {count, whose_.data(), ages_.data(), information_.data(), vector_.data(), reach_.data(), shares_.data()};
    }
    Shown(const Shown&) = delete;
    Shown& operator=(const Shown&) = delete;

    Evidence evidence{};

private:
    struct Part {
        const double* from;
        std::vector<double>* to;
        int64_t size;
    };

    std::vector<int64_t> whose_;
    std::vector<double> ages_, information_, vector_, reach_, shares_;
};

PyObject* correct_bodies(Values values, Py_ssize_t given) {
    Arguments arguments("correct_bodies", values, given, 12);
    const double huber = arguments.number(), pose_share = arguments.number(), least_variance = arguments.number();
    const int64_t persons = arguments.rows(4 * sizeof(double));
    double* means = arguments.out<double>(4 * persons);
    double* covariances = arguments.out<double>(16 * persons);
    double* statures = arguments.out<double>(aisle::kStatures * persons);
    const int64_t count = arguments.rows(sizeof(int64_t));
    const int64_t* whose = arguments.places(count, persons, -1);
    const double* ages = arguments.in<double>(count);
    const double* information = arguments.in<double>(9 * count);
    const double* vector = arguments.in<double>(3 * count);
    const double* reach = arguments.in<double>(2 * count);
    const double* shares = arguments.in<double>(3 * count);
    const Shown shown({count, whose, ages, information, vector, reach, shares});
    if (!aisle::correct_bodies({persons, means, covariances, statures}, shown.evidence, huber, pose_share, least_variance)) {
        PyErr_SetString(PyExc_ArithmeticError, "correct_bodies: a covariance is singular");
        throw PythonError{};
    }
    Py_RETURN_NONE;
}

PyObject* innovations(Values values, Py_ssize_t given) {
    Arguments arguments("innovations", values, given, 7);
    const int64_t persons = arguments.rows(4 * sizeof(double));
    const double* means = arguments.in<double>(4 * persons);
    const double* covariances = arguments.in<double>(16 * persons);
    const int64_t count = arguments.rows(sizeof(double));
    const double* ages = arguments.in<double>(count);
    const double* positions = arguments.in<double>(2 * count);
    const double* spreads = arguments.in<double>(4 * count);
    double* distances = arguments.out<double>(persons * count);
    double* log_determinants = arguments.out<double>(persons * count);
    for (int64_t n = 0; n < persons; ++n)
        for (int64_t m = 0; m < count; ++m)
            innovation(means + 4 * n, covariances + 16 * n, ages[m], positions + 2 * m, spreads + 4 * m, distances[n * count + m],
                       log_determinants[n * count + m]);
    Py_RETURN_NONE;
}

PyObject* triangulate(Values values, Py_ssize_t given) {
    Arguments arguments("triangulate", values, given, 9);
    const double point_deviation = arguments.number();
    const int64_t points = arguments.rows(3 * sizeof(double));
    const double* prior_means = arguments.in<double>(3 * points);
    const double* prior_covariances = arguments.in<double>(9 * points);
    const int64_t count = points ? arguments.rows(sizeof(double)) / points : 0;
    const double* weights = arguments.in<double>(points * count);
    const double* angular_deviation = arguments.in<double>(points * count);
    const double* origins = arguments.in<double>(3 * points * count);
    const double* directions = arguments.in<double>(3 * points * count);
    double* positions = arguments.out<double>(3 * points);
    double* covariances = arguments.out<double>(9 * points);
    std::vector<Ray> rays(static_cast<std::size_t>(count));
    for (int64_t b = 0; b < points; ++b) {
        for (int64_t k = 0; k < count; ++k) {
            const int64_t at = b * count + k;
            const double *o = origins + 3 * at, *d = directions + 3 * at;
            rays[k] = {{o[0], o[1], o[2]}, {d[0], d[1], d[2]}, angular_deviation[at], weights[at]};
        }
        const Point prior{{prior_means[3 * b], prior_means[3 * b + 1], prior_means[3 * b + 2]}, Matrix3::load(prior_covariances + 9 * b)};
        const Point found = aisle::triangulate(rays.data(), count, prior, point_deviation);
        positions[3 * b] = found.position.x, positions[3 * b + 1] = found.position.y, positions[3 * b + 2] = found.position.z;
        found.covariance.store(covariances + 9 * b);
    }
    Py_RETURN_NONE;
}

PyObject* update_points(Values values, Py_ssize_t given) {
    Arguments arguments("update_points", values, given, 11);
    const HeldLenses& held = held_lenses(arguments.object());
    const double* c = arguments.in<double>(5);
    const PointConfig config{c[0], c[1], c[2], c[3], c[4]};
    const int64_t stamp_ns = arguments.integer();
    const int64_t persons = arguments.rows(4 * sizeof(double));
    const double* bodies = arguments.in<double>(4 * persons);
    double* means = arguments.out<double>(18 * persons);
    double* covariances = arguments.out<double>(108 * persons);
    int64_t* seen_ns = arguments.out<int64_t>(3 * persons);
    const int64_t count = arguments.rows(sizeof(int64_t));
    const int64_t* cameras = arguments.places(count, held.cameras);
    const int64_t* whom = arguments.places(count, persons, -1);
    const double* ages = arguments.in<double>(count);
    const double* keypoints = arguments.in<double>(51 * count);
    aisle::update_points(held.lenses, config, {persons, bodies, means, covariances, seen_ns}, count, cameras, ages, keypoints, whom,
                         stamp_ns);
    Py_RETURN_NONE;
}

PyObject* inside_polygon(Values values, Py_ssize_t given) {
    Arguments arguments("inside_polygon", values, given, 4);
    const int64_t corners = arguments.rows(2 * sizeof(double));
    const double* polygon = arguments.in<double>(2 * corners);
    const int64_t points = arguments.rows(2 * sizeof(double));
    const double* positions = arguments.in<double>(2 * points);
    const double* margins = arguments.in<double>(points);
    bool* inside = arguments.out<bool>(points);
    aisle::inside_polygon(corners, polygon, points, positions, margins, inside);
    Py_RETURN_NONE;
}

Distortion distortion_of(Arguments& arguments) {
    const double* k = arguments.in<double>(5);
    return {k[0], k[1], k[2], k[3], k[4]};
}

PyObject* undistort(Values values, Py_ssize_t given) {
    Arguments arguments("undistort", values, given, 6);
    const Distortion distortion = distortion_of(arguments);
    const double widest = arguments.number();
    const int64_t steps = arguments.integer();
    const double tolerance = arguments.number();
    const int64_t count = arguments.rows(2 * sizeof(double));
    const double* distorted = arguments.in<double>(2 * count);
    aisle::undistort(distortion, widest, steps, tolerance, count, distorted, arguments.out<double>(2 * count));
    Py_RETURN_NONE;
}

PyObject* in_view(Values values, Py_ssize_t given) {
    Arguments arguments("in_view", values, given, 8);
    Pinhole camera{};
    camera.from_store = arguments.in<double>(16);
    const double* matrix = arguments.in<double>(9);
    camera.focal_x = matrix[0], camera.centre_x = matrix[2], camera.focal_y = matrix[4], camera.centre_y = matrix[5];
    camera.distortion = distortion_of(arguments);
    camera.widest = arguments.number(), camera.width = arguments.number(), camera.height = arguments.number();
    const int64_t count = arguments.rows(3 * sizeof(double));
    const double* points = arguments.in<double>(3 * count);
    bool* seen = arguments.out<bool>(count);
    for (int64_t n = 0; n < count; ++n) seen[n] = camera.sees(points + 3 * n);
    Py_RETURN_NONE;
}

PyObject* predict(Values values, Py_ssize_t given) {
    Arguments arguments("predict", values, given, 5);
    const int64_t axes = arguments.integer();
    if (axes < 1) {
        PyErr_Format(PyExc_ValueError, "predict: got %lld axes, expected 1 or more", static_cast<long long>(axes));
        throw PythonError{};
    }
    const double dt_s = arguments.number(), density = arguments.number();
    const int64_t states = arguments.rows(2 * static_cast<std::size_t>(axes) * sizeof(double));
    double* means = arguments.out<double>(2 * axes * states);
    double* covariances = arguments.out<double>(4 * axes * axes * states);
    aisle::predict(states, axes, dt_s, density, means, covariances);
    Py_RETURN_NONE;
}

PyMethodDef kMethods[] = {
    method<lenses>("lenses", "lenses(rows, columns, step_px, border_px, positions, rotations, sizes, focal_px, table) -> handle"),
    method<directions>("directions", "directions(lenses, cameras, pixels, result)"),
    method<project>("project", "project(lenses, body, cameras, boxes, keypoints, *results)"),
    method<detections>("detections", "detections(lenses, body, least_score, margin, polygon, frames, *results) -> count"),
    method<merged>("merged", "merged(information, vector, reach, shares, *results)"),
    method<settled_shares>("settled_shares", "settled_shares(expected_information, expected_vector, whose, *evidence), shares in place"),
    method<trust>("trust", "trust(places, means, whose, positions, spreads, result)"),
    method<fuse>("fuse", "fuse(means, covariances, whose, positions, ages, precisions), the first two in place"),
    method<correct_bodies>("correct_bodies", "correct_bodies(huber, share, least, means, covariances, statures, whose, *evidence)"),
    method<innovations>("innovations", "innovations(means, covariances, ages, positions, spreads, *results)"),
    method<triangulate>("triangulate", "triangulate(deviation, means, covariances, weights, angles, origins, directions, *results)"),
    method<update_points>("update_points", "update_points(lenses, config, stamp, bodies, *points, *detections), points in place"),
    method<inside_polygon>("inside_polygon", "inside_polygon(polygon, positions, margins, result)"),
    method<undistort>("undistort", "undistort(distortion, widest, steps, tolerance, distorted, points), the last in place"),
    method<in_view>("in_view", "in_view(from_store, matrix, distortion, widest, width, height, points, result)"),
    method<predict>("predict", "predict(axes, dt_s, density, means, covariances), the last two in place"),
    {nullptr, nullptr, 0, nullptr},
};

PyModuleDef kModule = {PyModuleDef_HEAD_INIT, "_compiled", "See aisle_kernels.", -1, kMethods, nullptr, nullptr, nullptr, nullptr};

}  // namespace

PyMODINIT_FUNC PyInit__compiled() {
    PyObject* module = PyModule_Create(&kModule);
    for (PyMethodDef* methods :
         {aisle::kPeopleMethods, aisle::kShelfMethods, aisle::kEventMethods, aisle::kBagMethods, aisle::kRecordMethods})
        if (module && PyModule_AddFunctions(module, methods) < 0) Py_CLEAR(module);
    return module;
}
