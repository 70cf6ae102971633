#include "people_calls.hpp"

#include <algorithm>
#include <memory>
#include <utility>

#include "association.hpp"
#include "floor_geometry.hpp"
#include "matrices.hpp"
#include "presence.hpp"

namespace aisle {

namespace {

struct HeldCoverage {
    static constexpr const char* kName = "aisle_kernels.coverage";

    Coverage coverage;
};

PyObject* deviations(Values values, Py_ssize_t given) {
    Arguments arguments("deviations", values, given, 2);
    const int64_t count = arguments.rows(4 * sizeof(double));
    const double* covariances = arguments.in<double>(4 * count);
    double* results = arguments.out<double>(count);
    for (int64_t m = 0; m < count; ++m)
        results[m] = greatest_deviation({covariances[4 * m], covariances[4 * m + 1], covariances[4 * m + 2], covariances[4 * m + 3]});
    Py_RETURN_NONE;
}

PyObject* inverses(Values values, Py_ssize_t given) {
    Arguments arguments("inverses", values, given, 2);
    const int64_t count = arguments.rows(4 * sizeof(double));
    const double* m = arguments.in<double>(4 * count);
    double* results = arguments.out<double>(4 * count);
    for (int64_t k = 0; k < 4 * count; k += 4) {
        const Matrix2 i = inverse(Matrix2{m[k], m[k + 1], m[k + 2], m[k + 3]});
        results[k] = i.xx, results[k + 1] = i.xy, results[k + 2] = i.yx, results[k + 3] = i.yy;
    }
    Py_RETURN_NONE;
}

PyObject* clusters(Values values, Py_ssize_t given) {
    Arguments arguments("clusters", values, given, 5);
    const double gate = arguments.number();
    const int64_t count = arguments.rows(sizeof(int64_t));
    const int64_t* cameras = arguments.in<int64_t>(count);
    const double* positions = arguments.in<double>(2 * count);
    const double* covariances = arguments.in<double>(4 * count);
    find_clusters(gate, count, cameras, positions, covariances, arguments.out<int64_t>(count));
    Py_RETURN_NONE;
}

PyObject* assign(Values values, Py_ssize_t given) {
    Arguments arguments("assign", values, given, 8);
    const double limit = arguments.number();
    const int64_t persons = arguments.rows(sizeof(bool));
    const bool* asked = arguments.in<bool>(persons);
    const int64_t count = arguments.rows(sizeof(bool));
    const bool* free = arguments.in<bool>(count);
    const int64_t number_of_cameras = arguments.integer();
    const int64_t* cameras = arguments.places(count, number_of_cameras);
    const double* distances = arguments.in<double>(persons * count);
    const double* gains = arguments.in<double>(persons * count);
    int64_t* owner = arguments.out<int64_t>(count);
    aisle::assign({limit, persons, asked, count, free, number_of_cameras, cameras, distances, gains}, owner);
    Py_RETURN_NONE;
}

PyObject* shadows(Values values, Py_ssize_t given) {
    Arguments arguments("shadows", values, given, 6);
    const double limit = arguments.number();
    const int64_t persons = arguments.rows(sizeof(bool));
    const bool* confirmed = arguments.in<bool>(persons);
    const int64_t count = arguments.rows(sizeof(int64_t));
    const int64_t* cameras = arguments.in<int64_t>(count);
    const int64_t* owner = arguments.places(count, persons, -1);
    const double* distances = arguments.in<double>(persons * count);
    bool* results = arguments.out<bool>(count);
    find_shadows(limit, persons, confirmed, count, cameras, owner, distances, results);
    Py_RETURN_NONE;
}

PyObject* near_lines(Values values, Py_ssize_t given) {
    Arguments arguments("near_lines", values, given, 5);
    const double reach = arguments.number();
    const int64_t lines = arguments.rows(2 * sizeof(double));
    const double* starts = arguments.in<double>(2 * lines);
    const double* spans = arguments.in<double>(2 * lines);
    const int64_t points = arguments.rows(2 * sizeof(double));
    const double* positions = arguments.in<double>(2 * points);
    bool* near = arguments.out<bool>(points);
    aisle::near_lines(lines, starts, spans, reach, points, positions, near);
    Py_RETURN_NONE;
}

PyObject* coverage(Values values, Py_ssize_t given) {
    auto held = std::make_unique<Held<HeldCoverage>>("coverage", values, given, 10);
    Arguments& arguments = held->arguments();
    Coverage& c = held->content.coverage;
    c.columns = arguments.integer(), c.rows = arguments.integer();
    c.x = arguments.number(), c.y = arguments.number(), c.cell = arguments.number(), c.radius = arguments.number();
    c.cameras = arguments.rows(2 * sizeof(double));
    c.eyes = arguments.in<double>(2 * c.cameras);
    c.kinds = arguments.rows(sizeof(double));
    c.silence = arguments.in<double>(c.kinds);
    c.hidden = arguments.in<double>(c.kinds);
    const int64_t cells = c.cameras * c.columns * c.rows;
    c.shares = arguments.bytes(cells);
    if (c.columns < 1 || c.rows < 1 || std::any_of(c.shares, c.shares + cells, [&c](uint8_t share) { return share >= c.kinds; })) {
        PyErr_SetString(PyExc_ValueError, "coverage: expected one column and row or more, and shares that are known");
        throw PythonError{};
    }
    return Held<HeldCoverage>::handle(std::move(held));
}

PyObject* silence(Values values, Py_ssize_t given) {
    Arguments arguments("silence", values, given, 3);
    const Coverage& held = Held<HeldCoverage>::of(arguments.object()).coverage;
    const int64_t persons = arguments.rows(2 * sizeof(double));
    const double* positions = arguments.in<double>(2 * persons);
    aisle::silence(held, persons, positions, arguments.out<double>(held.cameras * persons));
    Py_RETURN_NONE;
}

PyObject* judge(Values values, Py_ssize_t given) {
    Arguments arguments("judge", values, given, 10);
    const double* c = arguments.in<double>(7);
    const ExistenceConfig config{c[0], c[1], c[2], c[3], c[4], c[5], c[6]};
    const double dt_s = arguments.number();
    const int64_t stamp_ns = arguments.integer();
    Findings findings{};
    findings.cameras = arguments.rows(sizeof(bool));
    const bool* reporting = arguments.in<bool>(findings.cameras);
    const int64_t persons = arguments.rows(sizeof(bool));
    const bool* at_gate = arguments.in<bool>(persons);
    const double* silence = arguments.in<double>(findings.cameras * persons);
    findings.detections = arguments.rows(sizeof(int64_t));
    findings.camera_of = arguments.places(findings.detections, findings.cameras);
    findings.owner = arguments.places(findings.detections, persons, -1);
    double* log_odds = arguments.out<double>(persons);
    int64_t* seen_ns = arguments.out<int64_t>(persons);
    aisle::judge(config, dt_s, stamp_ns, reporting, findings, persons, silence, at_gate, log_odds, seen_ns);
    Py_RETURN_NONE;
}

PyObject* slow_down(Values values, Py_ssize_t given) {
    Arguments arguments("slow_down", values, given, 4);
    const int64_t before_ns = arguments.integer();
    const double factor = arguments.number();
    const int64_t states = arguments.rows(sizeof(int64_t));
    const int64_t* seen_ns = arguments.in<int64_t>(states);
    const int64_t size = states ? arguments.rows(sizeof(double)) / states : 0;
    double* means = arguments.out<double>(size * states);
    for (int64_t n = 0; n < states; ++n)
        for (int64_t i = size / 2; i < size && seen_ns[n] < before_ns; ++i) means[size * n + i] *= factor;
    Py_RETURN_NONE;
}

PyObject* compare_neighbours(Values values, Py_ssize_t given) {
    Arguments arguments("compare_neighbours", values, given, 9);
    const double radius = arguments.number();
    const int64_t stamp_ns = arguments.integer();
    const int64_t persons = arguments.rows(4 * sizeof(double));
    const double* means = arguments.in<double>(4 * persons);
    Findings findings{};
    findings.cameras = arguments.integer();
    findings.detections = arguments.rows(sizeof(int64_t));
    findings.camera_of = arguments.places(findings.detections, findings.cameras);
    findings.owner = arguments.places(findings.detections, persons, -1);
    int64_t* near_since_ns = arguments.out<int64_t>(persons * persons);
    int64_t* apart_ns = arguments.out<int64_t>(persons * persons);
    int64_t* apart_frames = arguments.out<int64_t>(persons * persons);
    return PyLong_FromLongLong(
        aisle::compare_neighbours(radius, stamp_ns, findings, persons, means, {near_since_ns, apart_ns, apart_frames}));
}

// Where in a row of aisle_perception.packed_tracks points begin, and how many numbers each has: whether it is known, position, covariance.
constexpr int64_t kRowPoints = 20, kRowPoint = 13, kPoints = 3, kRow = kRowPoints + kPoints * kRowPoint;

PyObject* track_rows(Values values, Py_ssize_t given) {
    Arguments arguments("track_rows", values, given, 9);
    const int64_t stamp_ns = arguments.integer();
    const double memory_ns = arguments.number();
    const int64_t persons = arguments.rows(sizeof(bool));
    const bool* wanted = arguments.in<bool>(persons);
    const double* means = arguments.in<double>(4 * persons);
    const double* covariances = arguments.in<double>(16 * persons);
    const int64_t* seen_ns = arguments.in<int64_t>(kPoints * persons);
    const double* point_means = arguments.in<double>(6 * kPoints * persons);
    const double* point_covariances = arguments.in<double>(36 * kPoints * persons);
    double* row = arguments.out<double>(kRow * std::count(wanted, wanted + persons, true));
    for (int64_t n = 0; n < persons; ++n) {
        if (!wanted[n]) continue;
        std::copy_n(means + 4 * n, 4, row);
        std::copy_n(covariances + 16 * n, 16, row + 4);
        row += kRowPoints;
        for (int64_t at = kPoints * n; at < kPoints * (n + 1); ++at, row += kRowPoint) {
            std::fill_n(row, kRowPoint, 0.0);
            if (seen_ns[at] < 0 || static_cast<double>(stamp_ns - seen_ns[at]) > memory_ns) continue;
            row[0] = 1.0;
            std::copy_n(point_means + 6 * at, 3, row + 1);
            for (int64_t i = 0; i < 3; ++i) std::copy_n(point_covariances + 36 * at + 6 * i, 3, row + 4 + 3 * i);
        }
    }
    Py_RETURN_NONE;
}

}  // namespace

PyMethodDef kPeopleMethods[] = {
    method<deviations>("deviations", "deviations(covariances, result)"),
    method<inverses>("inverses", "inverses(matrices, results)"),
    method<clusters>("clusters", "clusters(gate, camera_of, positions, covariances, labels)"),
    method<assign>("assign", "assign(limit, asked, free, cameras, camera_of, distances, gains, owner), the last in place"),
    method<shadows>("shadows", "shadows(limit, confirmed, camera_of, owner, distances, result)"),
    method<near_lines>("near_lines", "near_lines(reach, starts, spans, positions, result)"),
    method<coverage>("coverage", "coverage(columns, rows, x, y, cell, radius, eyes, silence, hidden, shares) -> handle"),
    method<silence>("silence", "silence(coverage, positions, result)"),
    method<judge>("judge", "judge(config, dt, stamp, reporting, at_gate, silence, camera_of, owner, log_odds, seen), the last two in place"),
    method<slow_down>("slow_down", "slow_down(before, factor, seen, means), the last in place"),
    method<compare_neighbours>("compare_neighbours",
                               "compare_neighbours(radius, stamp, means, cameras, camera_of, owner, *pairs in place) -> count"),
    method<track_rows>("track_rows", "track_rows(stamp, memory, wanted, means, covariances, seen, point_means, point_covariances, rows)"),
    {nullptr, nullptr, 0, nullptr},
};

}  // namespace aisle
