// Samples of plates put together into time bins.
#pragma once

#include <cstdint>
#include <map>
#include <vector>

namespace aisle {

// Readings of the same plates, one after the other: which values of a reading are taken, and to which columns.
struct SampleStream {
    std::vector<int64_t> known, columns;
    int64_t bin = -1, slot = 0;
};

// Weights [rows, columns] as Python lends them; strides in bytes. Single or double precision.
struct Weights {
    const char* data;
    int64_t rows, row_stride, column_stride;
    bool single;

    double at(int64_t row, int64_t column) const {
        const char* place = data + row * row_stride + column * column_stride;
        return single ? static_cast<double>(*reinterpret_cast<const float*>(place)) : *reinterpret_cast<const double*>(place);
    }
};

// See aisle_fusion.shelf_monitor_samples. Times in ns, loads in kg; NaN where there is no sample.
class SampleBins {
public:
    SampleBins(int64_t width, int64_t bin_ns, double glitch_kg);

    int64_t width() const { return width_; }
    int64_t too_late() const { return too_late_; }
    std::vector<SampleStream>& streams() { return streams_; }

    // Bins that have samples and are not taken out; whether there are any.
    bool open(int64_t& oldest, int64_t& newest) const;
    void take(SampleStream& stream, int64_t stamp_ns, int64_t period_ns, const Weights& weights);
    // Means [end - first, width] of bins that are taken out; false, with nothing written, if there are no samples in them.
    bool pop(int64_t first, int64_t end, double* means);

private:
    // Rows of [width]: a bin's first, second, ... samples of all plates.
    using Table = std::vector<double>;

    Table& with_room(int64_t bin, int64_t slots);
    // Adds the places of a plate's samples that are glitches.
    void find_glitches(int64_t first, int64_t end, int64_t column, std::vector<const double*>& found) const;

    int64_t width_, bin_ns_;
    double glitch_kg_;
    std::map<int64_t, Table> tables_;
    std::vector<Table> spare_;
    std::vector<SampleStream> streams_;
    // What each plate gave last; infinite if it never did.
    std::vector<double> last_load_;
    int64_t first_open_ = 0, too_late_ = 0;
};

}  // namespace aisle
