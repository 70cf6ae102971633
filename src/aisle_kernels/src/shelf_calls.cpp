#include "shelf_calls.hpp"

#include <memory>
#include <optional>
#include <utility>

#include "plate_levels.hpp"
#include "plate_samples.hpp"

namespace aisle {

namespace {

struct HeldBins {
    static constexpr const char* kName = "aisle_kernels.sample_bins";

    std::optional<SampleBins> bins;
};

struct HeldLevels {
    static constexpr const char* kName = "aisle_kernels.plate_levels";

    PlateLevels levels;
};

PyObject* sample_bins(Values values, Py_ssize_t given) {
    auto held = std::make_unique<Held<HeldBins>>("sample_bins", values, given, 3);
    const int64_t width = held->arguments().integer(), bin_ns = held->arguments().integer();
    const double glitch_kg = held->arguments().number();
    if (width < 0 || bin_ns < 1) refuse(PyExc_ValueError, "sample_bins: expected a width of 0 or more and bins of 1 ns or more");
    held->content.bins.emplace(width, bin_ns, glitch_kg);
    return Held<HeldBins>::handle(std::move(held));
}

SampleBins& held_bins(PyObject* handle) { return *Held<HeldBins>::of(handle).bins; }

PyObject* sample_stream(Values values, Py_ssize_t given) {
    Arguments arguments("sample_stream", values, given, 3);
    SampleBins& bins = held_bins(arguments.object());
    const int64_t count = arguments.rows(sizeof(int64_t));
    const int64_t* known = arguments.in<int64_t>(count);
    const int64_t* columns = arguments.places(count, bins.width());
    SampleStream stream;
    stream.known.assign(known, known + count), stream.columns.assign(columns, columns + count);
    bins.streams().push_back(std::move(stream));
    return PyLong_FromSize_t(bins.streams().size() - 1);
}

// Weights in single or double precision, in any order in memory.
class LentWeights {
public:
    LentWeights(PyObject* object, const SampleStream& stream) {
        if (PyObject_GetBuffer(object, &buffer_, PyBUF_FORMAT | PyBUF_STRIDES) < 0) throw PythonError{};
        const char format = buffer_.format && buffer_.format[0] && !buffer_.format[1] ? buffer_.format[0] : '?';
        if (buffer_.ndim != 2 || (format != 'f' && format != 'd'))
            release_and_refuse(PyExc_TypeError, "take_samples: expected weights [samples, plates] of type float32 or float64");
        for (const int64_t column : stream.known)
            if (column < 0 || column >= buffer_.shape[1]) release_and_refuse(PyExc_IndexError, "take_samples: a reading has too few plates");
        weights = {static_cast<const char*>(buffer_.buf), buffer_.shape[0], buffer_.strides[0], buffer_.strides[1], format == 'f'};
    }
    LentWeights(const LentWeights&) = delete;
    LentWeights& operator=(const LentWeights&) = delete;
    ~LentWeights() { PyBuffer_Release(&buffer_); }

    Weights weights{};

private:
    [[noreturn]] void release_and_refuse(PyObject* kind, const char* text) {
        PyBuffer_Release(&buffer_);
        refuse(kind, text);
    }

    Py_buffer buffer_{};
};

PyObject* take_samples(Values values, Py_ssize_t given) {
    Arguments arguments("take_samples", values, given, 5);
    SampleBins& bins = held_bins(arguments.object());
    const int64_t number = arguments.integer(), stamp_ns = arguments.integer(), period_ns = arguments.integer();
    if (number < 0 || number >= static_cast<int64_t>(bins.streams().size())) refuse(PyExc_IndexError, "take_samples: no such stream");
    if (period_ns < 1) refuse(PyExc_ValueError, "take_samples: expected a period of 1 ns or more");
    SampleStream& stream = bins.streams()[static_cast<std::size_t>(number)];
    const LentWeights lent(arguments.object(), stream);
    bins.take(stream, stamp_ns, period_ns, lent.weights);
    Py_RETURN_NONE;
}

PyObject* open_bins(Values values, Py_ssize_t given) {
    Arguments arguments("open_bins", values, given, 1);
    int64_t oldest = 0, newest = 0;
    if (!held_bins(arguments.object()).open(oldest, newest)) Py_RETURN_NONE;
    return Py_BuildValue("LL", static_cast<long long>(oldest), static_cast<long long>(newest));
}

PyObject* late_samples(Values values, Py_ssize_t given) {
    Arguments arguments("late_samples", values, given, 1);
    return PyLong_FromLongLong(held_bins(arguments.object()).too_late());
}

PyObject* pop_means(Values values, Py_ssize_t given) {
    Arguments arguments("pop_means", values, given, 4);
    SampleBins& bins = held_bins(arguments.object());
    const int64_t first = arguments.integer(), end = arguments.integer();
    if (end < first) refuse(PyExc_ValueError, "pop_means: expected an end that is not before the first bin");
    return PyBool_FromLong(bins.pop(first, end, arguments.out<double>((end - first) * bins.width())));
}

PyObject* plate_levels(Values values, Py_ssize_t given) {
    auto held = std::make_unique<Held<HeldLevels>>("plate_levels", values, given, 26);
    Arguments& arguments = held->arguments();
    PlateLevels& levels = held->content.levels;
    const int64_t shelves = levels.shelves = arguments.integer(), width = levels.width = arguments.integer();
    const int64_t* c = arguments.in<int64_t>(sizeof(LevelCounts) / sizeof(int64_t));
    levels.counts = {c[0], c[1], c[2], c[3], c[4], c[5], c[6], c[7], c[8], c[9], c[10]};
    for (std::size_t k = 0; k < sizeof(LevelCounts) / sizeof(int64_t); ++k)
        if (c[k] < 1 || (k > 0 && k < 6 && c[k] >= c[0])) refuse(PyExc_ValueError, "plate_levels: windows must fit into the history");
    const double* l = arguments.in<double>(sizeof(LevelLimits) / sizeof(double));
    levels.limits = {l[0], l[1], l[2], l[3], l[4], l[5], l[6], l[7], l[8], l[9], l[10], l[11], l[12], l[13], l[14], l[15], l[16]};
    const int64_t rows = levels.counts.history, plates = shelves * width;
    levels.averaging = arguments.in<double>(rows + 1);
    levels.sums = arguments.out<double>(rows * plates);
    levels.samples = arguments.out<double>(rows * plates);
    levels.means = arguments.out<double>(rows * plates);
    levels.unrest = arguments.out<double>(rows * shelves);
    levels.restlessness = arguments.out<double>(rows * shelves);
    levels.shaking = arguments.out<double>(rows * shelves);
    levels.settling = arguments.in<double>(shelves);
    levels.noise = arguments.out<double>(plates);
    levels.level = arguments.out<double>(plates);
    levels.level_variance = arguments.out<double>(plates);
    levels.blocks = arguments.out<double>(plates);
    levels.error = arguments.out<double>(plates);
    levels.steady_range = arguments.out<double>(plates);
    levels.per_noise = arguments.out<double>(plates);
    levels.squared_noise = arguments.out<double>(plates);
    levels.squared_level = arguments.out<double>(plates);
    levels.last_load = arguments.out<double>(plates);
    levels.idle = arguments.in<bool>(plates);
    levels.start_bin = arguments.in<int64_t>(plates);
    levels.last_present_bin = arguments.out<int64_t>(plates);
    levels.unchanged_bins = arguments.out<int64_t>(plates);
    return Held<HeldLevels>::handle(std::move(held));
}

const PlateLevels& held_levels(PyObject* handle) { return Held<HeldLevels>::of(handle).levels; }

// Where something goes on nearby; None for nowhere.
const bool* frozen_plates(Arguments& arguments, const PlateLevels& levels) {
    if (!arguments.is_none()) return arguments.in<bool>(levels.plates());
    arguments.object();
    return nullptr;
}

PyObject* add_bins(Values values, Py_ssize_t given) {
    Arguments arguments("add_bins", values, given, 4);
    const PlateLevels& levels = held_levels(arguments.object());
    const int64_t first = arguments.integer();
    const int64_t count = levels.plates() ? arguments.rows(static_cast<std::size_t>(levels.plates()) * sizeof(double)) : 0;
    double* loads = arguments.out<double>(count * levels.plates());
    return PyLong_FromLongLong(levels.add(first, count, loads, arguments.out<bool>(count * levels.plates())));
}

PyObject* off_level(Values values, Py_ssize_t given) {
    Arguments arguments("off_level", values, given, 3);
    const PlateLevels& levels = held_levels(arguments.object());
    const int64_t bin = arguments.integer();
    return PyLong_FromLongLong(levels.off_level(bin, arguments.out<int64_t>(levels.plates())));
}

PyObject* lastingly_off(Values values, Py_ssize_t given) {
    Arguments arguments("lastingly_off", values, given, 4);
    const PlateLevels& levels = held_levels(arguments.object());
    const int64_t bin = arguments.integer();
    const bool* frozen = frozen_plates(arguments, levels);
    return PyLong_FromLongLong(levels.lastingly_off(bin, frozen, arguments.out<int64_t>(levels.plates())));
}

PyObject* watch_plates(Values values, Py_ssize_t given) {
    Arguments arguments("watch_plates", values, given, 7);
    const PlateLevels& levels = held_levels(arguments.object());
    const int64_t bin = arguments.integer();
    const double* loads = arguments.in<double>(levels.plates());
    const bool* present = arguments.in<bool>(levels.plates());
    const int64_t number_busy = arguments.rows(sizeof(int64_t));
    const int64_t* busy = arguments.places(number_busy, levels.plates());
    double* exponents = arguments.out<double>(levels.plates());
    levels.watch(bin, loads, present, number_busy, busy, exponents, arguments.out<bool>(levels.plates()));
    Py_RETURN_NONE;
}

PyObject* learn_noise(Values values, Py_ssize_t given) {
    Arguments arguments("learn_noise", values, given, 3);
    const PlateLevels& levels = held_levels(arguments.object());
    const double* growth = arguments.in<double>(levels.plates());
    levels.learn_noise(growth, arguments.in<bool>(levels.plates()));
    Py_RETURN_NONE;
}

PyObject* track_levels(Values values, Py_ssize_t given) {
    Arguments arguments("track_levels", values, given, 3);
    const PlateLevels& levels = held_levels(arguments.object());
    const int64_t bin = arguments.integer();
    levels.track_levels(bin, frozen_plates(arguments, levels));
    Py_RETURN_NONE;
}

PyObject* set_thresholds(Values values, Py_ssize_t given) {
    Arguments arguments("set_thresholds", values, given, 1);
    held_levels(arguments.object()).set_thresholds();
    Py_RETURN_NONE;
}

PyObject* still_bins(Values values, Py_ssize_t given) {
    Arguments arguments("still_bins", values, given, 4);
    const PlateLevels& levels = held_levels(arguments.object());
    const int64_t bin = arguments.integer();
    const int64_t count = arguments.rows(sizeof(int64_t));
    const int64_t* plates = arguments.places(count, levels.plates());
    return PyLong_FromLongLong(levels.still(bin, count, plates, arguments.in<double>(count)));
}

}  // namespace

PyMethodDef kShelfMethods[] = {
    method<sample_bins>("sample_bins", "sample_bins(width, bin_ns, glitch_kg) -> handle"),
    method<sample_stream>("sample_stream", "sample_stream(bins, known, columns) -> number"),
    method<take_samples>("take_samples", "take_samples(bins, number, stamp_ns, period_ns, weights)"),
    method<open_bins>("open_bins", "open_bins(bins) -> (oldest, newest) or None"),
    method<late_samples>("late_samples", "late_samples(bins) -> int"),
    method<pop_means>("pop_means", "pop_means(bins, first, end, result) -> bool"),
    method<plate_levels>("plate_levels", "plate_levels(shelves, width, counts, limits, averaging, *arrays) -> handle"),
    method<add_bins>("add_bins", "add_bins(levels, first, loads, present) -> int, loads in place"),
    method<off_level>("off_level", "off_level(levels, bin, result) -> int"),
    method<lastingly_off>("lastingly_off", "lastingly_off(levels, bin, frozen, result) -> int"),
    method<watch_plates>("watch_plates", "watch_plates(levels, bin, loads, present, busy, *results)"),
    method<learn_noise>("learn_noise", "learn_noise(levels, growth, known)"),
    method<track_levels>("track_levels", "track_levels(levels, bin, frozen)"),
    method<set_thresholds>("set_thresholds", "set_thresholds(levels)"),
    method<still_bins>("still_bins", "still_bins(levels, bin, plates, tolerances) -> int"),
    {nullptr, nullptr, 0, nullptr},
};

}  // namespace aisle
