#include "event_calls.hpp"

#include <cmath>
#include <cstdint>

namespace aisle {

namespace {

// How loads lie on plates: `patterns` and `reach` [places, spreads, plates].
struct Loads {
    const double* patterns;
    const double* reach;
    int64_t size;
};

// What is compared with them, by plate; `deviation` of a pattern as a share of the load.
struct Change {
    const double* kilograms;
    const double* variance;
    double deviation;
    int64_t plates;
};

// Squared residuals over four variances of two loads (kg) at two places, [spreads, plates].
void misfit(const Change& change, const Loads& loads, const double* masses, double scale, int64_t a, int64_t b, double* found) {
    const double *first = loads.patterns + a * loads.size, *second = loads.patterns + b * loads.size;
    const double *near_first = loads.reach + a * loads.size, *near_second = loads.reach + b * loads.size;
    const double size_a = std::fabs(masses[0]), size_b = std::fabs(masses[1]);
    for (int64_t row = 0; row < loads.size; row += change.plates) {
        for (int64_t p = 0; p < change.plates; ++p) {
            const int64_t k = row + p;
            const double residual = change.kilograms[p] - (masses[0] * first[k] + masses[1] * second[k]) * scale;
            const double off = change.deviation * (size_a * near_first[k] + size_b * near_second[k]);
            found[k] = residual * residual / (4.0 * (change.variance[p] + off * off));
        }
    }
}

PyObject* pair_misfits(Values values, Py_ssize_t given) {
    Arguments arguments("pair_misfits", values, given, 11);
    const double total = arguments.number(), deviation = arguments.number();
    const int64_t spreads = arguments.integer(), plates = arguments.rows(sizeof(double));
    if (spreads < 1 || plates < 1) refuse(PyExc_ValueError, "pair_misfits: expected at least one spread and one plate");
    const double* kilograms = arguments.in<double>(plates);
    const Change change{kilograms, arguments.in<double>(plates), deviation, plates};
    const int64_t size = spreads * plates, places = arguments.rows(static_cast<std::size_t>(size) * sizeof(double));
    const double* patterns = arguments.in<double>(places * size);
    const Loads loads{patterns, arguments.in<double>(places * size), size};
    const int64_t pairs = arguments.rows(2 * sizeof(double));
    const double* masses = arguments.in<double>(2 * pairs);
    const int64_t* counts = arguments.in<int64_t>(2 * pairs);
    const int64_t given_places = arguments.rows(sizeof(int64_t));
    const int64_t* where = arguments.places(given_places, places);
    int64_t left = given_places, rows = 0, fit = 0;
    for (int64_t n = 0; n < pairs; ++n) {
        const int64_t first = counts[2 * n], second = counts[2 * n + 1];
        if (first < 0 || second < 0 || first > left || second > left - first) break;
        left -= first + second;
        rows += first * second;
        fit = n + 1;
    }
    if (fit < pairs || left) refuse(PyExc_ValueError, "pair_misfits: the counts do not add up to the places");
    double* found = arguments.out<double>(rows * size);
    for (int64_t n = 0; n < pairs; ++n, masses += 2) {
        const int64_t first = counts[2 * n], second = counts[2 * n + 1];
        // Loads in one direction are scaled to the measured sum.
        const double scale = masses[0] * masses[1] > 0.0 ? total / (masses[0] + masses[1]) : 1.0;
        for (int64_t a = 0; a < first; ++a)
            for (int64_t b = 0; b < second; ++b, found += size) misfit(change, loads, masses, scale, where[a], where[first + b], found);
        where += first + second;
    }
    Py_RETURN_NONE;
}

}  // namespace

PyMethodDef kEventMethods[] = {
    method<pair_misfits>("pair_misfits", "pair_misfits(total, deviation, spreads, change, variance, patterns, reach, masses, counts, places, result)"),
    {nullptr, nullptr, 0, nullptr},
};

}  // namespace aisle
